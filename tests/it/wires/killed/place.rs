//! The reference pipeline on servers behind eyes: qa on plain git and a cluster, production behind requests on a
//! forge; somebody who is asked whether it answers, and somebody who is told.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::{SignedDuration, Timestamp};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::Command;
use towpath::clock;
use towpath::demo::git_server::{GitServer, commit_first};
use towpath::demo::github::{GitHub, Role};
use towpath::demo::image::ImageSpec;
use towpath::demo::registry::{Access, DemoRegistry};
use towpath::git::Signature;
use towpath::http::{HttpSettings, client};
use towpath::secret::Secret;

use super::super::ledger::{self, Found, Had};
use super::super::site::tag;
use super::eye::{Effect, Eye, Trap};
use crate::kube;

/// What anything takes at most that comes at all.
const WAIT: Duration = Duration::from_secs(120);

/// How often it is started for one release, killed or not.
const STARTS: usize = 8;

/// How long a watch may be silent.
const SILENCE: Duration = Duration::from_secs(300);

pub(super) const QA: &str = "qa";
pub(super) const PRODUCTION: &str = "production";

/// How production says yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// A person merges a request.
    Request,
    /// A person says `towpath approve`.
    Command,
}

/// See the module.
pub(super) struct Place {
    gate: Gate,
    /// Releases that a newer one took the place of before they were merged.
    passed: Vec<u64>,
    pub(super) trap: Arc<Trap>,
    pub(super) has_cluster: bool,
    folder: TempDir,
    git: GitServer,
    github: GitHub,
    registry: DemoRegistry,
    ann: Secret,
    http: Client,
    begun: Timestamp,
    /// Keys of what was told, each as often as it was.
    told: Arc<Mutex<Vec<String>>>,
    /// What stands before the servers.
    eyes: Vec<Eye>,
}

impl Place {
    pub(super) async fn start(gate: Gate) -> Self {
        let folder = TempDir::new().unwrap();
        let git = GitServer::start(&folder.path().join("git")).await.unwrap();
        let served = folder.path().join("github");
        let github = GitHub::start(&served, Arc::new(clock::now)).await.unwrap();
        github.add_organization("acme").await;
        for name in ["acme/production", "acme/shop"] {
            github.add_repository(name, "private").await.unwrap();
        }
        for login in ["towpath", "ann"] {
            github.add_user(login).await;
            for name in ["acme/production", "acme/shop"] {
                github.set_role(name, login, Some(Role::Write)).await;
            }
        }
        let mut place = Self {
            gate,
            passed: Vec::new(),
            trap: Arc::default(),
            has_cluster: false,
            git,
            ann: github.token("ann").await,
            github,
            registry: DemoRegistry::start(Access::Open, None).await.unwrap(),
            http: client(&HttpSettings::default()).unwrap(),
            begun: clock::now() - SignedDuration::from_hours(24),
            told: Arc::default(),
            eyes: Vec::new(),
            folder,
        };
        place.write("token", place.github.token("towpath").await.expose());
        place.write("secret", "a secret of a test");
        place.configure().await;
        place
    }

    async fn configure(&mut self) {
        let git = self.eye(&format!("http://{}", self.git.address())).await;
        let forge = self.eye(&format!("http://{}", self.github.address())).await;
        let ends = self.ends().await;
        let ends = self.eye(&ends).await;
        let cluster = self.cluster().await;
        self.first(QA).await;
        self.first(PRODUCTION).await;
        self.release(0).await;
        let credential = "forge: github, credential: { file: ../token, user: towpath }, ";
        for (name, url, more, cluster, rest) in [
            (
                QA,
                format!("http://{git}/{QA}.git"),
                "",
                cluster.as_str(),
                format!(
                    "follow: {{ tags: '>=1.0.0' }}\nmark-source: true\nsmoke: [{{ get: 'http://{ends}/smoke' }}]\n"
                ),
            ),
            (
                PRODUCTION,
                format!("http://{forge}/acme/{PRODUCTION}.git"),
                credential,
                "{ simulated: { ready-after: 0s } }",
                match self.gate {
                    Gate::Request => format!(
                        "follow: {{ environment: {QA} }}\ngate: pull-request\nrequest: {{ on-newer: replace }}\n"
                    ),
                    Gate::Command => format!("follow: {{ environment: {QA} }}\ngate: branch\n"),
                },
            ),
        ] {
            self.write(
                &format!("config/{name}/environment.yaml"),
                &format!("repository: {{ url: '{url}', {more}branch: master }}\nmanifests: [shop]\ncluster: {cluster}\n{rest}"),
            );
        }
        self.write(
            "config/applications/all.yaml",
            &format!(
                "applications:\n  - name: shop\n    source: {{ url: 'http://{forge}/acme/shop.git', credential: {{ file: ../token, user: towpath }} }}\n    \
                 images: [{{ repository: {}/acme/shop, release-tag: '{{tag}}' }}]\n    environments: [{QA}, {PRODUCTION}]\n",
                self.registry.address()
            ),
        );
        self.write(
            "config/towpath.yaml",
            &format!(
                "poll: {{ git: 1s, registry: 1s, forge: 1s }}\ncache: ../cache\noutward: {{ allow: [loopback] }}\n\
                 forges: {{ '{forge}': {{ api: 'http://{forge}/', deployments: true }} }}\n\
                 notifications:\n  - {{ name: ops, webhook: {{ url: 'http://{ends}/told', secret: {{ file: ../secret }} }}, on: [proposed, healthy] }}\n"
            ),
        );
    }

    /// Puts an eye before a server; gives where.
    async fn eye(&mut self, server: &str) -> String {
        let eye = Eye::start(server, self.http.clone(), &self.trap).await;
        let address = eye.address().to_string();
        self.eyes.push(eye);
        address
    }

    /// The cluster of qa: a real one where there is one.
    async fn cluster(&mut self) -> String {
        let Some(bed) = kube::shared() else {
            return "{ simulated: { ready-after: 0s } }".to_owned();
        };
        self.has_cluster = true;
        let kubeconfig = bed.plane.kubeconfig(QA, &kube::Plane::admin()).unwrap();
        let after = |name: &str| {
            let (_, rest) = kubeconfig.split_once(name).unwrap();
            rest.lines().next().unwrap().trim().to_owned()
        };
        let authority = after("certificate-authority-data:");
        let pem = BASE64_STANDARD.decode(authority.trim_matches('"')).unwrap();
        let file = self.folder.path().join("ca.pem");
        std::fs::write(&file, pem).unwrap();
        let settings = HttpSettings {
            ca_file: Some(file),
            idle_timeout: SILENCE,
            ..HttpSettings::default()
        };
        let server = after("server:");
        let eye = Eye::start(&server, client(&settings).unwrap(), &self.trap).await;
        let seen = format!("http://{}", eye.address());
        self.eyes.push(eye);
        self.write("kubeconfig", &kubeconfig.replace(&server, &seen));
        let namespace = bed.namespace(&bed.admin().await, "killed").await;
        format!("{{ context: {QA}, kubeconfig: ../kubeconfig, namespace: {namespace} }}")
    }

    /// Those who are asked and told.
    async fn ends(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tell = async |State(told): State<Arc<Mutex<Vec<String>>>>, headers: HeaderMap| {
            let key = headers["idempotency-key"].to_str().unwrap().to_owned();
            told.lock().unwrap().push(key);
        };
        let router = Router::new()
            .route("/smoke", get(async || "well"))
            .route("/told", post(tell))
            .with_state(Arc::clone(&self.told));
        tokio::spawn(axum::serve(listener, router).into_future());
        format!("http://{address}")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn bare(&self, environment: &str) -> PathBuf {
        match environment {
            QA => self.git.path(QA),
            _ => self.github.path(&format!("acme/{environment}")),
        }
    }

    async fn first(&self, environment: &str) {
        let bare = self.bare(environment);
        if environment == QA {
            self.git.create(QA).await.unwrap();
        }
        let image = format!("{}/acme/shop:{}", self.registry.address(), tag(0));
        let deployment = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: shop }}\nspec:\n  replicas: 1\n  \
             selector: {{ matchLabels: {{ app: shop }} }}\n  template:\n    metadata: {{ labels: {{ app: shop }} }}\n    \
             spec:\n      containers:\n        - name: web\n          image: \"{image}\"\n"
        );
        let by = Signature {
            name: "Ann".to_owned(),
            email: "ann@example.com".to_owned(),
            time: self.begun,
        };
        let files = vec![
            ("shop/web.yaml".to_owned(), deployment.into_bytes()),
            ("shop/old-0.yaml".to_owned(), old(0).into_bytes()),
        ];
        commit_first(&bare, files, "first", &by).await.unwrap();
    }

    /// Tags the source and pushes the image.
    pub(super) async fn release(&self, number: u64) {
        let source = self.bare("shop");
        if number == 0 {
            let by = Signature {
                name: "Ann".to_owned(),
                email: "ann@example.com".to_owned(),
                time: self.begun,
            };
            let files = vec![("main.rs".to_owned(), b"fn main() {}\n".to_vec())];
            commit_first(&source, files, "first", &by).await.unwrap();
        }
        let script = "c=$(git commit-tree -p master -m \"$0\" 'master^{tree}') && git update-ref refs/heads/master $c && git tag \"$0\" $c";
        self.sh(&source, script, &[&tag(number)]).await;
        let image = ImageSpec {
            content: format!("shop {number}"),
            created: Some(self.begun + SignedDuration::from_mins(number.cast_signed())),
            ..ImageSpec::default()
        };
        let shown = self
            .registry
            .show("acme/shop", &tag(number), &image.build());
        assert!(shown.is_ok(), "{shown:?}");
    }

    /// A person takes one object out of qa and puts another in.
    pub(super) async fn exchange(&self, number: u64) {
        let script = "git clone -q --branch master \"$1\" \"$2\" && cd \"$2\" && git rm -q shop/old-*.yaml \
            && printf '%s' \"$3\" > shop/old-$0.yaml && git add . && git commit -q -m \"exchange $0\" && git push -q origin HEAD:master";
        self.clone_and(script, QA, number, &old(number)).await;
    }

    /// A person puts what is proposed on the branch past the request.
    async fn by_hand(&self, number: u64) {
        let script = "git clone -q --branch master \"$1\" \"$2\" && cd \"$2\" && git merge -q --squash origin/towpath/production/shop \
            && git commit -q -m \"by hand $0\" && git push -q origin HEAD:master";
        self.clone_and(script, PRODUCTION, number, "").await;
    }

    async fn clone_and(&self, script: &str, environment: &str, number: u64, text: &str) {
        let work = self
            .folder
            .path()
            .join(format!("work-{environment}-{number}"));
        let from = match environment {
            QA => self.git.url(QA),
            _ => {
                let url = self.github.clone_url("acme/production");
                url.replace("http://", &format!("http://ann:{}@", self.ann.expose()))
            }
        };
        let arguments = [&number.to_string(), &from, work.to_str().unwrap(), text];
        self.sh(self.folder.path(), script, &arguments).await;
    }

    async fn sh(&self, at: &std::path::Path, script: &str, arguments: &[&str]) {
        let output = Command::new("sh")
            .args(["-c", script])
            .args(arguments)
            .current_dir(at)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .envs([
                ("GIT_AUTHOR_NAME", "Ann"),
                ("GIT_AUTHOR_EMAIL", "a@example.com"),
            ])
            .envs([
                ("GIT_COMMITTER_NAME", "Ann"),
                ("GIT_COMMITTER_EMAIL", "a@example.com"),
            ])
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{script}: {output:?}");
    }

    async fn ann(&self, method: Method, rest: &str, body: &Value) -> (u16, Value) {
        let url = format!("http://{}/repos/acme/{rest}", self.github.address());
        let asked = self
            .http
            .request(method, url)
            .bearer_auth(self.ann.expose());
        let answer = asked.json(body).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    fn towpath(&self, arguments: &[&str]) -> Command {
        let log = self.folder.path().join("log");
        let log = std::fs::File::options().create(true).append(true).open(log);
        let mut command = Command::new(env!("CARGO_BIN_EXE_towpath"));
        command
            .arg("--config")
            .arg(self.folder.path().join("config"))
            .args(arguments)
            .env("HOME", self.folder.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .envs([
                ("GIT_AUTHOR_NAME", "Ann"),
                ("GIT_AUTHOR_EMAIL", "a@example.com"),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.unwrap())
            .kill_on_drop(true);
        command
    }

    /// Runs until all is settled, or killed; the exit code.
    pub(super) async fn once(&self) -> Option<i32> {
        self.to_its_end(&["run", "--once", "--wait", "30s"]).await
    }

    async fn to_its_end(&self, arguments: &[&str]) -> Option<i32> {
        let mut child = self.towpath(arguments).spawn().unwrap();
        self.trap.watch(child.id());
        let ended = tokio::time::timeout(WAIT, child.wait()).await;
        self.trap.watch(None);
        ended.unwrap().unwrap().code()
    }

    /// Starts it again and again until both environments run the release and all is at rest; gives how often it was
    /// killed. What is proposed is merged, or put there by hand.
    pub(super) async fn until(&self, number: u64, by_hand: bool) -> usize {
        let (mut killed, mut reviewed) = (0, number == 0);
        for _ in 0..STARTS {
            let code = self.once().await;
            killed += usize::from(code.is_none());
            if !reviewed && self.gate == Gate::Command {
                killed += usize::from(self.say_yes(number).await);
                let runs = ledger::asks_for(&self.bare(PRODUCTION), "shop").await;
                reviewed = runs.contains(&format!(":{}@", tag(number)));
            }
            reviewed = reviewed || self.review(number, by_hand).await;
            let left = self.left(number).await;
            if reviewed && self.trap.has_sprung() && left == Found::default() {
                return killed;
            }
        }
        let log = self.log();
        let log: Vec<_> = log.lines().rev().take(30).collect();
        panic!(
            "{} does not come: reviewed {reviewed}, sprung {}, {:#?}\n{log:#?}",
            tag(number),
            self.trap.has_sprung(),
            self.left(number).await
        );
    }

    /// What all processes have logged.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// A person's command; whether it was killed.
    async fn say_yes(&self, number: u64) -> bool {
        let arguments = ["approve", "shop", PRODUCTION, &tag(number)];
        self.to_its_end(&arguments).await.is_none()
    }

    /// A person approves the request about this release, and does not merge it: the next one takes its place.
    pub(super) async fn approve(&mut self, number: u64) {
        assert_eq!(self.once().await, Some(0));
        let open = self.open(number).await.unwrap();
        let reviews = format!("{PRODUCTION}/pulls/{}/reviews", open["number"]);
        let (status, said) = self
            .ann(Method::POST, &reviews, &json!({ "event": "APPROVE" }))
            .await;
        assert_eq!(status, 200, "{said}");
        self.passed.push(number);
    }

    /// The open request about a release.
    async fn open(&self, number: u64) -> Option<Value> {
        let title = format!("{PRODUCTION}: shop {}", tag(number));
        let pulls = format!("{PRODUCTION}/pulls?state=open");
        let (_, open) = self.ann(Method::GET, &pulls, &Value::Null).await;
        let open = open.as_array().unwrap();
        open.iter().find(|it| it["title"] == *title).cloned()
    }

    async fn review(&self, number: u64, by_hand: bool) -> bool {
        let Some(open) = self.open(number).await else {
            return false;
        };
        if by_hand {
            self.by_hand(number).await;
            return true;
        }
        let how = json!({ "merge_method": "merge", "sha": open["head"]["sha"] });
        let merge = format!("{PRODUCTION}/pulls/{}/merge", open["number"]);
        self.ann(Method::PUT, &merge, &how).await.0 == 200
    }

    /// What is not as releases up to this one imply.
    pub(super) async fn left(&self, number: u64) -> Found {
        let mut found = Found::default();
        for environment in [QA, PRODUCTION] {
            let bare = self.bare(environment);
            let had = match environment {
                PRODUCTION => Had::EachBut(&self.passed),
                _ => Had::Each,
            };
            found.add(ledger::compare(&bare, environment, number, had).await);
            found.left.extend(ledger::proposals(&bare).await);
        }
        let source = self.bare("shop");
        found.add(ledger::marks(&source, number).await);
        let pulls = format!("{PRODUCTION}/pulls?state=all&per_page=100");
        let (_, all) = self.ann(Method::GET, &pulls, &Value::Null).await;
        let all = all.as_array().unwrap();
        for one in all.iter().filter(|it| it["state"] == "open") {
            found.left.push(format!("the request {}", one["title"]));
        }
        let asked = (1..=number).filter(|it| !self.passed.contains(it));
        for number in asked.filter(|_| self.gate == Gate::Request) {
            let title = format!("{PRODUCTION}: shop {}", tag(number));
            match all.iter().filter(|it| it["title"] == *title).count() {
                1 => {}
                0 => found.lost.push(format!("the request `{title}`")),
                many => found.doubled.push(format!("{many} requests `{title}`")),
            }
        }
        // Proposed and healthy: whoever is told twice is told so under the same key.
        let mut keys = self.told.lock().unwrap().clone();
        keys.sort();
        keys.dedup();
        let wanted = usize::try_from(number).unwrap() * 2 - self.passed.len();
        if keys.len() < wanted {
            found
                .lost
                .push(format!("{} of {wanted} messages", keys.len()));
        }
        if keys.len() > wanted {
            found
                .doubled
                .push(format!("{} messages, not {wanted}", keys.len()));
        }
        for ((effect, what), times) in self.trap.done() {
            // A status is told again by who does not know that it was: the newest counts, and it is the same.
            let once = matches!(effect, Effect::Apply | Effect::Prune | Effect::Open);
            if once && times > 1 {
                found
                    .doubled
                    .push(format!("{effect} {what}: {times} times"));
            }
        }
        found
    }

    /// What git finds wrong with its repositories.
    pub(super) async fn broken(&self) -> String {
        let mut told = String::new();
        for name in [QA, PRODUCTION, "shop"] {
            told += &ledger::broken(&self.bare(name)).await;
        }
        told
    }

    /// Everything that stands in git, for who asks whether anything was written.
    pub(super) async fn refs(&self) -> String {
        let mut told = String::new();
        for name in [QA, PRODUCTION, "shop"] {
            told += &ledger::refs(&self.bare(name)).await;
        }
        told
    }
}

/// An object that comes and goes.
fn old(number: u64) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: old-{number} }}\ndata: {{ key: value }}\n"
    )
}
