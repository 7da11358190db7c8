//! From a merge on a forge to what runs: the simulated GitHub tells of it by a signed webhook, and the plane's
//! audit log tells when the object was applied. In a repository of few files, and of many.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use kube::api::Api;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Child;
use tokio::sync::watch;
use tokio::task::JoinSet;
use towpath::clock;
use towpath::demo::git_server::commit_first;
use towpath::demo::github::{GitHub, Role};
use towpath::git::Signature;
use towpath::secret::Secret;

use super::audit::Log;
use super::plane::Plane;
use super::pods;
use super::site::{between, create, resource};
use crate::fixture::{Fixture, applications};
use crate::outside::free_port;
use crate::process::{is_settled, towpath, write};
use crate::scale::directories;
use crate::table::{self, Samples};

const TIMES: usize = 30;
const WARM_UP: usize = 4;
const DEADLINE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(5);
const REPOSITORY: &str = "acme/infra";
const ENVIRONMENT: &str = "production";
const SECRET: &str = "It's a Secret to Everybody";

pub(super) async fn measure(binary: &Path) -> Result<()> {
    let plane = Plane::start(binary).await?;
    let client = plane.client(&Plane::faker()).await?;
    pods::make_node(client.clone(), &plane.node()).await?;
    let (_rules, given) = watch::channel(Vec::new());
    let mut faker = JoinSet::new();
    faker.spawn(pods::fake(client, plane.node(), given));
    let mut rows = Vec::new();
    for files in [100, 20_000] {
        let mut site = Site::start(&plane, files).await?;
        let mut samples = Samples::default();
        for number in 1..=WARM_UP + TIMES {
            let took = site.release(number).await?;
            if number > WARM_UP {
                samples.add(took);
            }
            table::progress(&format!("merged, {files} files"), number, WARM_UP + TIMES);
        }
        rows.push([vec![format!("{files} files")], samples.row()].concat());
    }
    table::print(
        "Request merged on the simulated GitHub → object applied, by its webhook",
        &[&[""], &table::ROW[..]].concat(),
        rows,
    );
    Ok(())
}

struct Site {
    fixture: Fixture,
    github: GitHub,
    /// The token of the person who merges.
    ann: Secret,
    image: String,
    namespace: String,
    hooks: u16,
    log: Log,
    _towpath: Child,
}

impl Site {
    async fn start(plane: &Plane, files: usize) -> Result<Self> {
        let fixture = Fixture::start_with(false).await?;
        let folder = fixture.folder.path().to_owned();
        let hooks = free_port()?;
        let digest = fixture.push_image("acme/shop", "v1.0.0", 0).await?;
        let image = fixture.image("acme/shop");
        let mut made = directories(files)(&format!("{image}:v1.0.0@{digest}"));
        // A real server takes no Service without ports and no Ingress without rules.
        let refused = ["service.yaml", "ingress.yaml"].map(|it| format!("kubernetes/shop/{it}"));
        made.retain(|(path, _)| !refused.contains(path));
        let github = forge(&folder, made, hooks).await?;
        let ann = github.token("ann").await;
        let namespace = format!("files-{files}");
        let (log, kubeconfig) = cluster(plane, &namespace, &folder).await?;
        std::fs::write(folder.join("secret"), SECRET)?;
        std::fs::write(folder.join("token"), github.token("towpath").await.expose())?;
        let configuration = folder.join("configuration");
        let environment = format!(
            "repository: {{ url: {}, branch: master, forge: github, credential: {{ file: ../token, user: towpath }} }}\n\
             manifests: ['kubernetes/{{application}}']\n\
             cluster: {{ context: bench, kubeconfig: {}, namespace: {namespace} }}\n\
             follow: {{ tags: '>=1.0.0' }}\ngate: pull-request\n",
            github.clone_url(REPOSITORY),
            kubeconfig.display(),
        );
        let settings = format!(
            "poll: {{ git: 1h, registry: 1h, forge: 1h }}\n\
             forges: {{ \"{}\": {{ api: \"{}\" }} }}\n\
             webhooks: {{ github: {{ secrets: [{{ file: ../secret }}] }}, generic: {{ unauthenticated: true }} }}\n",
            github.address(),
            github.url(),
        );
        let files = [
            (format!("{ENVIRONMENT}/environment.yaml"), environment),
            applications([("shop".to_owned(), image.clone())], &[ENVIRONMENT]),
            ("towpath.yaml".to_owned(), settings),
        ];
        write(&configuration, &files)?;
        let address = format!("127.0.0.1:{hooks}");
        let mut site = Self {
            _towpath: towpath(&folder, &configuration, &address)?,
            fixture,
            github,
            ann,
            image,
            namespace,
            hooks,
            log,
        };
        site.settle(1).await?;
        Ok(site)
    }

    /// Proves a release, merges its request and waits until it is applied: from the moment in which the
    /// branch moved.
    async fn release(&mut self, number: usize) -> Result<Duration> {
        let tag = format!("v1.{number}.0");
        self.fixture.push_image("acme/shop", &tag, number).await?;
        let told = json!({ "images": [format!("{}:{tag}", self.image)] });
        let hook = format!("http://127.0.0.1:{}/hooks/generic", self.hooks);
        let told = self.fixture.client.post(hook).body(told.to_string());
        ensure!(told.send().await?.status() == 202, "the webhook");
        let pull = self.mergeable(&tag).await?;
        // What is shown on the request is shown.
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.log.news()?;
        // Nobody reads them here.
        drop(self.github.take_exchanges());
        let merge = format!("{pull}/merge");
        let body = json!({ "merge_method": "merge" });
        self.ask(Method::PUT, &merge, Some(body)).await?;
        let head = self.github.path(REPOSITORY).join("refs/heads/master");
        let merged = Timestamp::try_from(std::fs::metadata(head)?.modified()?)?;
        let applied = self.applied().await?;
        self.settle(number + 1).await?;
        Ok(between(merged, Some(applied)))
    }

    /// Waits until the request about a release can be merged.
    async fn mergeable(&self, tag: &str) -> Result<String> {
        let began = Instant::now();
        loop {
            let open = self.ask(Method::GET, "pulls?state=open", None).await?;
            let open = open.as_array().and_then(|it| it.first()).cloned();
            let title = |it: &Value| it["title"].as_str().is_some_and(|it| it.contains(tag));
            if let Some(open) = open.filter(title) {
                let pull = format!("pulls/{}", open["number"]);
                let seen = self.ask(Method::GET, &pull, None).await?;
                if seen["mergeable"] == json!(true) {
                    return Ok(pull);
                }
            }
            ensure!(
                began.elapsed() < DEADLINE,
                "{tag} is not proposed\n{}",
                self.words()
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits for the object; gives when the API server had answered.
    async fn applied(&mut self) -> Result<Timestamp> {
        let began = Instant::now();
        let object = (self.namespace.clone(), "shop".to_owned());
        loop {
            let (answers, _) = self.log.news()?;
            let mut applied = answers
                .into_iter()
                .filter(|it| it.verb == "patch" && !it.dry_run && it.object == object);
            if let Some(applied) = applied.next() {
                return Ok(applied.at);
            }
            ensure!(
                began.elapsed() < DEADLINE,
                "it is not applied\n{}",
                self.words()
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until that many deployments have their verdicts and tags.
    async fn settle(&mut self, deployments: usize) -> Result<()> {
        let repository = self.github.path(REPOSITORY);
        let tag = format!("refs/tags/deployment-{deployments:04}");
        let arguments = ["rev-parse", "-q", "--verify", &tag];
        let began = Instant::now();
        while crate::fixture::run(&repository, "git", &arguments)
            .await
            .is_err()
            || !is_settled(&repository, ENVIRONMENT, 1).await?
        {
            ensure!(began.elapsed() < DEADLINE, "no {tag}\n{}", self.words());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn ask(&self, method: Method, rest: &str, body: Option<Value>) -> Result<Value> {
        let url = self
            .github
            .url()
            .join(&format!("repos/{REPOSITORY}/{rest}"))?;
        let mut request = self.fixture.client.request(method, url);
        request = request.bearer_auth(self.ann.expose());
        if let Some(body) = body {
            request = request.json(&body);
        }
        Ok(request.send().await?.error_for_status()?.json().await?)
    }

    /// The end of what Towpath said.
    fn words(&self) -> String {
        let log = std::fs::read_to_string(self.fixture.folder.path().join("towpath.log"));
        let log = log.unwrap_or_default();
        log.lines().rev().take(20).collect::<Vec<_>>().join("\n")
    }
}

/// A GitHub with the one repository, which tells of pushes and requests.
async fn forge(folder: &Path, files: Vec<(String, Vec<u8>)>, hooks: u16) -> Result<GitHub> {
    let github = GitHub::start(&folder.join("forge"), Arc::new(clock::now)).await?;
    github.add_organization("acme").await;
    let path = github.add_repository(REPOSITORY, "private").await?;
    for login in ["towpath", "ann"] {
        github.add_user(login).await;
        github.set_role(REPOSITORY, login, Some(Role::Write)).await;
    }
    let by = Signature {
        name: "Ada".to_owned(),
        email: "ada@example.com".to_owned(),
        time: clock::now(),
    };
    commit_first(&path, files, "first", &by).await?;
    github.look(REPOSITORY, "ann").await?;
    let url = format!("http://127.0.0.1:{hooks}/hooks/github");
    let secret = Secret::new(SECRET);
    let events = ["push", "pull_request"];
    github
        .add_hook(REPOSITORY, &url, Some(&secret), &events)
        .await;
    Ok(github)
}

/// A namespace, and who may do everything there: what they ask, and how they log in.
async fn cluster(plane: &Plane, namespace: &str, folder: &Path) -> Result<(Log, PathBuf)> {
    let user = plane.new_user();
    let client = plane.client(&Plane::admin()).await?;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": { "name": namespace },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user.name }],
    });
    let made =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
    for object in [&binding, &made] {
        create(&Api::all_with(client.clone(), &resource(object)), object).await?;
    }
    let kubeconfig = folder.join("kubeconfig");
    let text = plane.kubeconfig("bench", &user).context("a kubeconfig")?;
    std::fs::write(&kubeconfig, text)?;
    Ok((Log::new(plane.audit_log(), user), kubeconfig))
}
