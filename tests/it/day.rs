//! The operator's day: every command that looks, or says something, against real git repositories on a server, a
//! registry, and a story of which the times are given.
//!
//! `fixtures/day/*.txt` are transcripts like those of `fixtures/cli`, run in the order of their names on one and the
//! same story. Ids and moments are written as `x`, which keeps columns where they are; `TOWPATH_UPDATE=1`
//! records anew. A line `$ attach v1.6.0 NAME RESULT by KEY` is not the program's: it attaches evidence to that image of
//! the shop, signed with a key of `fixtures/keys` or, `by nobody`, not at all.

#![allow(
    clippy::disallowed_methods,
    reason = "these programs run one after the other, and nothing waits beside them"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::ChildStdout;
use towpath::cli::setup::Setup;
use towpath::clock;
use towpath::config::Location;
use towpath::demo::git_server::{GitServer, commit_first};
use towpath::demo::image::{Image, ImageSpec};
use towpath::demo::registry::{Access, DemoRegistry};
use towpath::git::Signature;
use towpath::model::Digest;
use towpath::plan::Decision;
use towpath::reconcile::Reconciler;

use crate::cli;
use crate::registry::referrers::{EVIDENCE, SIGNATURE, attach_to};

mod signed;

/// The loop settles in fewer rounds than this at one moment.
const ROUNDS: usize = 20;

/// A change is seen within seconds; this long only where it never is.
const WATCHED_MAX: Duration = Duration::from_secs(60);

pub(crate) struct Day {
    pub(crate) folder: TempDir,
    git: GitServer,
    registry: DemoRegistry,
    begun: Timestamp,
    /// How many pieces of evidence were attached.
    attached: AtomicI64,
}

impl Day {
    /// Two applications; QA takes tags, production follows it behind a gate.
    async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let day = Self {
            git: GitServer::start(&folder.path().join("git")).await.unwrap(),
            registry: DemoRegistry::start(Access::Open, None).await.unwrap(),
            folder,
            // Half a minute into a minute: what is told as minutes is the same however long the test takes.
            begun: clock::now().round(jiff::Unit::Second).unwrap()
                - SignedDuration::from_secs(3 * 3600 + 3),
            attached: AtomicI64::new(0),
        };
        let old = day.at(-24 * 60);
        for name in ["shop", "cart"] {
            day.push(name, "v1.3.0", old);
        }
        for (environment, replicas, more) in [
            ("qa", 1, "follow: { tags: '>=1.0.0' }"),
            (
                "production",
                3,
                "follow: { environment: qa, soak: 10m }\ngate: branch",
            ),
        ] {
            day.environment(environment, replicas, more).await;
        }
        let application = |name: &str, labels: &str| {
            format!(
                "  - name: {name}\n    labels: {labels}\n    images: [{{ repository: {}/acme/{name}, release-tag: '{{tag}}' }}]\n    environments: [qa, production]\n",
                day.registry.address()
            )
        };
        let applications = format!(
            "applications:\n{}{}",
            application("shop", "{ team: payments, tier: front }"),
            application("cart", "{ team: payments }")
        );
        let keyed = day.keys().await;
        for (folder, more) in [
            ("config", ""),
            ("keyed", keyed.as_str()),
            // The same, as somebody would have it who asks for evidence.
            (
                "strict",
                "evidence: [{ rule: scan.critical == 0, max-age: 7d }, { rule: acceptance }]\n",
            ),
        ] {
            day.write(&format!("{folder}/applications/all.yaml"), &applications);
            let mut settings = "cache: cache\npoll: { git: 1s }\n".to_owned();
            if folder == "keyed" {
                settings.push_str(signed::SETTINGS);
            }
            day.write(&format!("{folder}/towpath.yaml"), &settings);
            for name in ["qa", "production"] {
                let path = format!("{folder}/{name}/environment.yaml");
                let text = fs::read_to_string(day.path(&format!("{name}.yaml"))).unwrap();
                let more = if name == "production" { more } else { "" };
                day.write(&path, &format!("{text}{more}"));
            }
        }
        day
    }

    async fn environment(&self, name: &str, replicas: u32, more: &str) {
        let path = self.git.create(name).await.unwrap();
        let mut files = Vec::new();
        for application in ["shop", "cart"] {
            let image = format!("{}/acme/{application}:v1.3.0", self.registry.address());
            let manifests = format!(
                "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: {application} }}\nspec:\n  replicas: {replicas}\n  selector: {{ matchLabels: {{ app: {application} }} }}\n  template:\n    metadata: {{ labels: {{ app: {application} }} }}\n    spec:\n      containers:\n        - name: web\n          image: \"{image}\"\n---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{ name: {application} }}\nspec:\n  tls: [{{ hosts: [{application}.{name}.example.com] }}]\n  rules: [{{ host: {application}.{name}.example.com, http: {{ paths: [{{ path: /, pathType: Prefix, backend: {{ service: {{ name: {application}, port: {{ number: 80 }} }} }} }}] }} }}]\n---\napiVersion: v1\nkind: Secret\nmetadata: {{ name: {application} }}\nstringData: {{ password: of-{name} }}\n"
            );
            files.push((format!("{application}/all.yaml"), manifests.into_bytes()));
        }
        let by = Signature {
            name: "Ann".to_owned(),
            email: "ann@example.com".to_owned(),
            time: self.at(-60),
        };
        commit_first(&path, files, "first", &by).await.unwrap();
        let url = self.git.url(name);
        self.write(
            &format!("{name}.yaml"),
            &format!(
                "repository: {{ url: '{url}', branch: master }}\nmanifests: ['{{application}}']\ncluster: {{ simulated: {{ ready-after: 10s, fail: [v1.5.0] }} }}\n{more}\n"
            ),
        );
    }

    /// So many minutes after the story began.
    fn at(&self, minutes: i64) -> Timestamp {
        self.begun + SignedDuration::from_mins(minutes)
    }

    fn push(&self, application: &str, tag: &str, at: Timestamp) {
        let repository = format!("acme/{application}");
        self.registry
            .show(&repository, tag, &image(application, tag, at))
            .unwrap();
    }

    /// What transcripts call images: the one of `v1.6.0`, which waits, and one that nobody made.
    fn images(&self) -> [(&'static str, String); 2] {
        let waiting = image("shop", "v1.6.0", self.at(150)).digest();
        [
            ("$DIGEST", waiting.to_string()),
            ("$OTHER", Digest::of(b"nobody made it").to_string()),
        ]
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    async fn tow(&self) -> Towing<'_> {
        let config: Location = self.path("config").display().to_string().parse().unwrap();
        let mut setup = Setup::load(config).await.unwrap();
        setup.config.settings.cache = Some(self.path("config/cache"));
        let reconciler = setup.reconciler(&[], self.begun).unwrap();
        Towing {
            day: self,
            setup,
            reconciler,
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Merges a proposal as a person does.
    async fn merge(&self, environment: &str, application: &str, at: Timestamp) {
        let clone = self.path(&format!("clone-{}", at.as_second()));
        let git = |directory: &Path, arguments: Vec<String>| {
            let mut git = tokio::process::Command::new("git");
            git.current_dir(directory)
                .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.com"])
                .args(arguments)
                .env("GIT_AUTHOR_DATE", at.to_string())
                .env("GIT_COMMITTER_DATE", at.to_string())
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .kill_on_drop(true);
            git
        };
        let words = |text: String| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let url = self.git.url(environment);
        let name = clone.display().to_string();
        for (directory, arguments) in [
            (self.folder.path(), format!("clone -q {url} {name}")),
            (
                clone.as_path(),
                format!("merge -q --no-ff --no-edit origin/towpath/{environment}/{application}"),
            ),
            (clone.as_path(), "push -q origin master".to_owned()),
        ] {
            let output = git(directory, words(arguments)).output().await.unwrap();
            assert!(output.status.success(), "{output:?}");
        }
    }

    /// What is the same in every run.
    fn normalised(&self, text: &str) -> String {
        let text = text
            .replace(&self.registry.address().to_string(), "REGISTRY")
            .replace(&self.git.address().to_string(), "GIT")
            .replace(&self.folder.path().display().to_string(), "HERE");
        let mut done = String::new();
        let mut word = String::new();
        for c in text.chars().chain(['\n']) {
            match c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.') {
                true => word.push(c),
                false => {
                    done.push_str(&plain(&std::mem::take(&mut word)));
                    done.push(c);
                }
            }
        }
        done.pop();
        done
    }
}

fn image(application: &str, tag: &str, at: Timestamp) -> Image {
    let revision = "0123456789abcdef0123456789abcdef01234567".to_owned();
    let image = ImageSpec {
        content: format!("{application} {tag}"),
        created: Some(at),
        labels: [("org.opencontainers.image.revision".to_owned(), revision)].into(),
        ..ImageSpec::default()
    };
    image.build()
}

/// A word without what differs from run to run, of the same length.
fn plain(word: &str) -> String {
    if word.trim_end_matches('.').parse::<Timestamp>().is_ok() {
        let figures = |c: char| if c.is_ascii_digit() { 'x' } else { c };
        return word.chars().map(figures).collect();
    }
    let parts = word.split_inclusive([':', '.', '-']);
    parts.map(figures_hidden).collect()
}

fn figures_hidden(part: &str) -> String {
    let text = part.trim_end_matches([':', '.', '-']);
    let is_hex = text
        .bytes()
        .all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
    // The length of a commit or digest, whole or shortened for people.
    if is_hex && matches!(text.len(), 7 | 12 | 40 | 64) {
        return format!("{}{}", "x".repeat(text.len()), &part[text.len()..]);
    }
    let is_moments_ago =
        text.len() == 2 && text.ends_with('s') && text.as_bytes()[0].is_ascii_digit();
    match is_moments_ago {
        true => format!("0s{}", &part[2..]),
        false => part.to_owned(),
    }
}

struct Towing<'a> {
    day: &'a Day,
    setup: Setup,
    reconciler: Arc<Reconciler>,
}

impl Towing<'_> {
    /// Looks and acts until nothing is left to do at this moment.
    async fn until(&self, minutes: i64) {
        // In steps: a rollout takes ten seconds, and a soak ten minutes.
        for seconds in [0, 15, 30] {
            let now = self.day.at(minutes) + SignedDuration::from_secs(seconds);
            self.settle(now).await;
        }
    }

    async fn settle(&self, now: Timestamp) {
        let observatory = self.reconciler.observatory();
        let pipelines = self.setup.pipelines();
        for _ in 0..ROUNDS {
            observatory.read_all(&pipelines, now).await;
            self.reconciler.round(now).await;
            let posted = self.reconciler.board().all();
            let mut units = posted.iter().flat_map(|it| &it.plan.units);
            if !units.any(|unit| matches!(unit.decision, Decision::Step(_))) {
                return;
            }
        }
        panic!("it does not settle");
    }
}

/// The story: 1.4.0 goes through, 1.5.0 fails in QA, 1.6.0 waits for a person before production.
pub(crate) async fn told() -> Day {
    let day = Day::start().await;
    let towing = day.tow().await;
    towing.until(0).await;
    day.push("shop", "v1.4.0", day.at(60));
    towing.until(60).await;
    towing.until(75).await;
    day.merge("production", "shop", day.at(90)).await;
    towing.until(90).await;
    day.push("shop", "v1.5.0", day.at(120));
    towing.until(120).await;
    day.push("shop", "v1.6.0", day.at(150));
    towing.until(150).await;
    towing.until(165).await;
    drop(towing);
    day
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_of_the_day_says_what_is_recorded() {
    let day = told().await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/day");
    let mut pages: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    pages.sort();
    let mut wrong = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        let (title, _) = text.split_once("\n\n").unwrap();
        let mut now = format!("{title}\n");
        for command in text.lines().filter_map(|line| line.strip_prefix("$ ")) {
            now.push('\n');
            let program = towpath(&day);
            let mut command = command.to_owned();
            let images = day.images();
            let mut named = images.iter();
            let named = named.find(|(name, _)| command.contains(name));
            if let Some((name, digest)) = named {
                command = command.replace(name, digest);
            }
            let mut said = match command.strip_prefix("attach ") {
                Some(words) => day.attach(words).await,
                None => {
                    let said = move || cli::transcript_of(program, &command);
                    tokio::task::spawn_blocking(said).await.unwrap()
                }
            };
            if let Some((name, digest)) = named {
                said = said.replacen(digest, name, 1);
            }
            now.push_str(&day.normalised(&said));
        }
        wrong.extend(cli::compare(&page, &now));
    }
    assert!(
        wrong.is_empty(),
        "{}\nTOWPATH_UPDATE=1 records what is now",
        wrong.join("\n")
    );
    watched(&day).await;
}

/// What is watched changes once, when a person holds it, and the watching ends with Ctrl-C.
async fn watched(day: &Day) {
    // Whatever is wrong, this test ends, and what it started with it.
    let told = tokio::time::timeout(WATCHED_MAX, watch(day)).await;
    let (before, after, code) = told.unwrap();
    assert_eq!((before.len(), code), (2, Some(0)), "{before:?}");
    // An empty line, the heading, and the unit as it is now: nothing was written in between.
    assert_eq!(after.len(), 3, "{after:?}");
}

/// What is told at first, what once it is held, and the exit code.
async fn watch(day: &Day) -> (Vec<String>, Vec<String>, Option<i32>) {
    let mut child = tokio::process::Command::from(towpath(day))
        .args(["status", "shop", "--environment", "production", "--watch"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let before = until(&mut lines, " production ").await;
    let reason = ["--reason", "the database moves"];
    let held = tokio::process::Command::from(towpath(day))
        .args(["hold", "shop", "production"])
        .args(reason)
        .kill_on_drop(true)
        .status();
    assert!(held.await.unwrap().success());
    let after = until(&mut lines, " held ").await;
    let kill = Command::new("kill")
        .args(["-INT", &child.id().unwrap().to_string()])
        .status();
    assert!(kill.unwrap().success());
    (before, after, child.wait().await.unwrap().code())
}

/// The lines up to the first with this part.
async fn until(lines: &mut Lines<BufReader<ChildStdout>>, part: &str) -> Vec<String> {
    let mut seen = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        seen.push(line);
        if seen.last().unwrap().contains(part) {
            return seen;
        }
    }
    panic!("it ended: {seen:?}");
}

/// The program, where the story's configuration is.
pub(crate) fn towpath(day: &Day) -> Command {
    let mut command = cli::towpath(day.folder.path());
    command
        .current_dir(day.path("config"))
        .env("TOWPATH_CONFIG", ".")
        .env("GIT_AUTHOR_EMAIL", "bob@example.com")
        .env("GIT_CONFIG_GLOBAL", "/dev/null");
    command
}
