//! Commits that GitHub makes and signs (`commit: { via: github-api }`), on the simulated site: the whole way from a
//! tag to production, processes that end in between, and what GitHub says where it makes none.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use towpath::cli::setup::Setup;
use towpath::clock;
use towpath::config::Location;
use towpath::demo::github::{Actors, Exchange, Fault, Protection, Rule};
use towpath::demo::image::ImageSpec;
use towpath::demo::registry::{Access, DemoRegistry};
use towpath::model::record::Verdict;
use towpath::plan::Decision;
use towpath::reconcile::Reconciler;

use crate::github::{APP_KEY, Site};

const REPOSITORY: &str = "acme/infra";
const SCRATCH: &str = "towpath/_scratch/production/shop";
const SCRATCH_QA: &str = "towpath/_scratch/qa/shop";
const PROPOSAL: &str = "towpath/production/shop";
const PATIENCE: Duration = Duration::from_secs(90);

struct Bed {
    site: Site,
    registry: DemoRegistry,
    setup: Setup,
    _folder: TempDir,
}

impl Bed {
    /// QA and production in one repository, whose commits an App has GitHub make. Both run v1.0.0.
    async fn start() -> Self {
        let site = Site::start_at(clock::now().as_second()).await;
        let registry = DemoRegistry::start(Access::Open, None).await.unwrap();
        let folder = TempDir::new().unwrap();
        let write = |path: &str, text: String| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let (host, api) = (site.github.address(), site.github.url());
        write("app.pem", APP_KEY.to_owned());
        write(
            "towpath.yaml",
            format!(
                "cache: cache\nforges:\n  \"{host}\":\n    api: \"{api}\"\n    app: {{ id: {}, key: {{ file: app.pem }} }}\n    \
                 commit: {{ via: github-api }}\n",
                site.app
            ),
        );
        for (name, more) in [
            ("qa", "follow: { tags: '>=1.0.0' }\ngate: none"),
            (
                "production",
                "follow: { environment: qa, soak: 0s }\ngate: pull-request",
            ),
        ] {
            write(
                &format!("{name}/environment.yaml"),
                format!(
                    "repository: {{ url: \"{}\", branch: master, forge: github }}\nmanifests: [{name}]\n\
                     cluster: {{ simulated: {{ ready-after: 0s }} }}\n{more}\n",
                    site.github.clone_url(REPOSITORY)
                ),
            );
        }
        let image = format!("{}/acme/shop", registry.address());
        write(
            "applications/shop.yaml",
            format!(
                "applications:\n  - name: shop\n    images: [{{ repository: {image}, release-tag: '{{tag}}' }}]\n    \
                 environments: [qa, production]\n"
            ),
        );
        let setup = Setup::load(Location::Folder(folder.path().to_owned()))
            .await
            .unwrap();
        let bed = Self {
            site,
            registry,
            setup,
            _folder: folder,
        };
        bed.release("v1.0.0", 0);
        let manifest = |name: &str| {
            let text = format!(
                "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: shop-{name} }}\nspec:\n  replicas: 1\n  \
                 selector: {{ matchLabels: {{ app: shop }} }}\n  template:\n    metadata: {{ labels: {{ app: shop }} }}\n    \
                 spec:\n      containers:\n        - name: web\n          image: \"{image}:v1.0.0\"\n"
            );
            (format!("{name}/web.yaml"), text)
        };
        for (path, text) in [manifest("qa"), manifest("production")] {
            let ann = bed.site.token("ann").expose();
            let pushed = bed.site.try_commit(ann, "master", None, (&path, &text));
            pushed.await.unwrap();
        }
        bed
    }

    fn release(&self, tag: &str, minutes: i64) {
        let image = ImageSpec {
            content: tag.to_owned(),
            created: Some(
                clock::now() - SignedDuration::from_hours(1) + SignedDuration::from_mins(minutes),
            ),
            ..ImageSpec::default()
        };
        self.registry
            .show("acme/shop", tag, &image.build())
            .unwrap();
    }

    /// A process that knows nothing.
    fn process(&self) -> Arc<Reconciler> {
        self.setup.reconciler(&[], clock::now()).unwrap()
    }

    /// Tows until this is so.
    async fn tow(&self, process: &Arc<Reconciler>, what: &str, is: impl AsyncFn() -> bool) {
        let began = Instant::now();
        loop {
            round(&self.setup, process).await;
            if is().await {
                return;
            }
            let late = began.elapsed() > PATIENCE;
            assert!(!late, "{what}: not within {PATIENCE:?}: {}", said(process));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn ann(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let token = Some(self.site.token("ann").expose());
        let path = format!("/repos/{REPOSITORY}/{path}");
        let answer = self.site.ask(method, &path, token, &[], body.as_ref());
        answer.await.json().await.unwrap_or_default()
    }

    /// Where a branch stands.
    async fn head(&self, branch: &str) -> Option<String> {
        let path = format!("git/ref/heads/{branch}");
        let answer = self.ann(Method::GET, &path, None).await;
        answer["object"]["sha"].as_str().map(str::to_owned)
    }

    async fn appears(&self, branch: &str) {
        let began = Instant::now();
        while self.head(branch).await.is_none() {
            assert!(began.elapsed() < PATIENCE, "there is no branch {branch}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn commit(&self, id: &str) -> Value {
        self.ann(Method::GET, &format!("commits/{id}"), None).await
    }

    /// GitHub made and signed it, in the App's name.
    async fn is_signed(&self, id: &str) {
        let commit = self.commit(id).await;
        assert_eq!(
            commit["commit"]["verification"]["verified"], true,
            "{commit}"
        );
        assert_eq!(commit["commit"]["committer"]["name"], "GitHub", "{commit}");
        assert_eq!(commit["commit"]["author"]["name"], "tow[bot]", "{commit}");
    }

    /// The open request.
    async fn request(&self) -> Option<Value> {
        let open = self.ann(Method::GET, "pulls?state=open", None).await;
        open.as_array().unwrap().first().cloned()
    }

    /// Both environments run this, healthy.
    fn runs(process: &Reconciler, tag: &str) -> [bool; 2] {
        let runs = |environment: &str| {
            let environment = environment.parse().unwrap();
            process.board().all().into_iter().any(|posted| {
                let records = posted.records.get(&environment);
                let newest = records.and_then(|records| records.deployment.as_ref());
                newest.is_some_and(|it| {
                    let verdict = it.verdict.as_ref().map(|it| &it.verdict);
                    let release = it.release.as_ref().is_some_and(|it| it.name == tag);
                    release && matches!(verdict, Some(Verdict::Healthy { .. }))
                })
            })
        };
        ["qa", "production"].map(runs)
    }

    /// Production may propose v1.1.0 from now on, and nothing of it was asked for yet.
    async fn before_the_proposal(&self, process: &Arc<Reconciler>) {
        self.tow(process, "v1.0.0", async || {
            Self::runs(process, "v1.0.0") == [true; 2]
        })
        .await;
        self.release("v1.1.0", 1);
    }
}

async fn round(setup: &Setup, process: &Arc<Reconciler>) {
    let now = clock::now();
    process
        .observatory()
        .read_all(&setup.pipelines(), now)
        .await;
    process.round(now).await;
}

async fn forever(setup: &Setup, process: &Arc<Reconciler>) {
    loop {
        round(setup, process).await;
    }
}

/// What keeps the units.
fn said(process: &Reconciler) -> String {
    let all = process.board().all();
    let units = all.iter().flat_map(|posted| &posted.plan.units);
    let told = units.map(|unit| match &unit.decision {
        Decision::Step(step) => format!("{}: {step}\n", unit.environment),
        Decision::Waiting(waiting) => format!("{}: {}\n", unit.environment, waiting.reason),
    });
    told.collect()
}

/// How often GitHub was asked for a commit.
fn asked(exchanges: &[Exchange]) -> usize {
    let for_commits = |it: &&Exchange| it.request.to_string().contains("createCommitOnBranch");
    exchanges.iter().filter(for_commits).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_tag_to_production_every_commit_is_githubs() {
    let bed = Bed::start().await;
    // What git makes here would not be taken.
    let signed = Protection {
        required_signatures: true,
        enforce_admins: Some(true),
        ..Protection::default()
    };
    bed.site
        .github
        .protect(REPOSITORY, "master", Some(signed))
        .await;
    let process = bed.process();
    bed.before_the_proposal(&process).await;
    let before = bed.head("master").await.unwrap();
    bed.tow(&process, "a request", async || {
        bed.request().await.is_some()
    })
    .await;

    let written = bed.head("master").await.unwrap();
    assert_eq!(bed.commit(&written).await["parents"][0]["sha"], before);
    let request = bed.request().await.unwrap();
    let proposed = request["head"]["sha"].as_str().unwrap();
    assert_eq!(bed.head(PROPOSAL).await.as_deref(), Some(proposed));
    assert_eq!(bed.commit(proposed).await["parents"][0]["sha"], written);
    bed.is_signed(&written).await;
    bed.is_signed(proposed).await;
    let message = bed.commit(proposed).await["commit"]["message"].clone();
    let message = message.as_str().unwrap();
    assert!(
        message.starts_with("production: propose shop v1.1.0\n\nTowpath-Application: shop\n"),
        "{message}"
    );
    assert_eq!(bed.head(SCRATCH).await, None);
    assert_eq!(asked(&bed.site.github.take_exchanges()), 2);

    let merge = json!({ "merge_method": "merge", "sha": proposed });
    let path = format!("pulls/{}/merge", request["number"]);
    bed.ann(Method::PUT, &path, Some(merge)).await;
    bed.tow(&process, "v1.1.0", async || {
        Bed::runs(&process, "v1.1.0") == [true; 2]
    })
    .await;

    // All is settled: nothing is written, by this process or by one that knows nothing.
    for process in [process, bed.process()] {
        for _ in 0..3 {
            round(&bed.setup, &process).await;
        }
        bed.site.github.take_exchanges();
        round(&bed.setup, &process).await;
        let exchanges = bed.site.github.take_exchanges();
        let mut writes = exchanges.iter().filter(|it| it.method != "GET");
        assert!(writes.next().is_none(), "{exchanges:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_ends_in_between_leaves_what_the_next_goes_on_with() {
    let bed = Bed::start().await;
    let process = bed.process();
    bed.before_the_proposal(&process).await;
    let base = bed.head("master").await;

    // Ended while GitHub is asked: the scratch branch is there, and nothing on it.
    bed.site.github.add_fault(Rule {
        method: "POST",
        path: "/graphql".to_owned(),
        times: 1,
        fault: Fault::Hang,
    });
    tokio::select! {
        () = forever(&bed.setup, &process) => {}
        () = bed.appears(SCRATCH_QA) => {}
    }
    assert_eq!(bed.head(SCRATCH_QA).await, base);
    drop(process);
    bed.site.github.clear_faults();
    bed.site.github.take_exchanges();

    // Ended once the commit is made, before it is where it belongs: nobody may push that branch.
    let locked = Protection {
        restrictions: Some(Actors::default()),
        enforce_admins: Some(true),
        ..Protection::default()
    };
    bed.site
        .github
        .protect(REPOSITORY, PROPOSAL, Some(locked))
        .await;
    let process = bed.process();
    bed.tow(
        &process,
        "a commit that stays where it was made",
        async || {
            let scratch = bed.head(SCRATCH).await;
            scratch.is_some() && scratch != bed.head("master").await
        },
    )
    .await;
    assert_eq!(bed.head(SCRATCH_QA).await, None);
    let made = bed.head(SCRATCH).await.unwrap();
    assert_eq!(bed.head(PROPOSAL).await, None);
    drop(process);

    bed.site.github.protect(REPOSITORY, PROPOSAL, None).await;
    let process = bed.process();
    bed.tow(&process, "a request", async || {
        bed.request().await.is_some()
    })
    .await;
    assert_eq!(bed.head(PROPOSAL).await, Some(made));
    assert_eq!(bed.head(SCRATCH).await, None);
    // QA's and this one.
    assert_eq!(asked(&bed.site.github.take_exchanges()), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_api_cannot_write_is_told_before_anything_is_written() {
    let bed = Bed::start().await;
    bed.site
        .set_executable("ann", "master", "production/web.yaml")
        .await;
    let process = bed.process();
    bed.before_the_proposal(&process).await;
    bed.tow(&process, "it is told", async || {
        said(&process).contains("executable")
    })
    .await;
    assert!(
        said(&process)
            .contains("the commit was not made: production/web.yaml is an executable file"),
        "{}",
        said(&process)
    );
    assert_eq!(bed.head(SCRATCH).await, None);
    assert_eq!(bed.head(PROPOSAL).await, None);
    // QA's.
    assert_eq!(asked(&bed.site.github.take_exchanges()), 1);
}
