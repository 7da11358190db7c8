//! Two environments whose servers are separate, a fault proxy in front of one of these servers, and a Towpath
//! that knows the proxy alone.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use jiff::{SignedDuration, Timestamp};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use towpath::cli::explain;
use towpath::cli::setup::Setup;
use towpath::clock;
use towpath::config::Location;
use towpath::demo::git_server::{GitServer, commit_first};
use towpath::demo::github::{GitHub, Role};
use towpath::demo::image::{ImageSpec, Target};
use towpath::demo::registry::{Access, DemoRegistry};
use towpath::git::Signature;
use towpath::http::{HttpSettings, client};
use towpath::model::record::Verdict;
use towpath::plan::{Decision, Reason, Waiting};
use towpath::reconcile::{Posted, Reconciler};
use towpath::secret::Secret;
use url::Url;

use super::proxy::Proxy;
use crate::kube;
use crate::registry::DockerRegistry;

/// What anything takes at most that comes at all, on a machine that does other things at the same time.
const WAIT: Duration = Duration::from_secs(90);

/// How often servers are asked whether something has come.
const ASK: Duration = Duration::from_millis(20);

/// The poll interval of every source.
pub(super) const POLL: Duration = Duration::from_secs(1);

/// The environment whose server is struck, and the one that is to go on.
pub(super) const NEAR: &str = "near";
pub(super) const FAR: &str = "far";

/// The server in front of which the proxy stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    Git,
    Registry,
    Forge,
    Cluster,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Git => "git",
            Self::Registry => "registry",
            Self::Forge => "forge",
            Self::Cluster => "cluster",
        })
    }
}

/// See the module.
pub(super) struct Site {
    pub(super) server: Server,
    pub(super) proxy: Proxy,
    pub(super) folder: TempDir,
    near: Near,
    far: GitServer,
    registry: DemoRegistry,
    struck_registry: Option<DockerRegistry>,
    http: Client,
    idle_timeout: Duration,
    begun: Timestamp,
}

/// Who serves the struck environment's repository.
enum Near {
    Git(GitServer),
    GitHub { github: Box<GitHub>, ann: Secret },
}

impl Site {
    /// The servers, with the first release in both environments and nobody who tows. `None` where a server is not
    /// installed.
    pub(super) async fn start(server: Server, idle_timeout: Duration) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let struck_registry = match server {
            Server::Registry => Some(DockerRegistry::start(false).await?),
            _ => None,
        };
        let bed = match server {
            Server::Cluster => Some(kube::shared()?),
            _ => None,
        };
        let near = match server {
            Server::Forge => github(&folder).await,
            _ => {
                let git = GitServer::start(&folder.path().join("near-git")).await;
                Near::Git(git.unwrap())
            }
        };
        let far = GitServer::start(&folder.path().join("far-git")).await;
        let (far, registry) = (
            far.unwrap(),
            DemoRegistry::start(Access::Open, None).await.unwrap(),
        );
        let mut kubeconfig = match bed {
            Some(bed) => bed.plane.kubeconfig(NEAR, &kube::Plane::admin()).unwrap(),
            None => String::new(),
        };
        let behind: SocketAddr = match (server, &near) {
            (Server::Git, Near::Git(git)) => git.address(),
            (_, Near::GitHub { github, .. }) => github.address(),
            (Server::Registry, _) => authority(&struck_registry.as_ref().unwrap().url),
            _ => {
                let (_, rest) = kubeconfig.split_once("https://").unwrap();
                rest.lines().next().unwrap().trim().parse().unwrap()
            }
        };
        let proxy = Proxy::start(behind).await.unwrap();
        kubeconfig = kubeconfig.replace(&behind.to_string(), &proxy.address().to_string());
        let site = Self {
            server,
            proxy,
            near,
            far,
            registry,
            struck_registry,
            http: client(&HttpSettings::default()).unwrap(),
            idle_timeout,
            begun: clock::now() - SignedDuration::from_hours(24),
            folder,
        };
        site.write("kubeconfig", &kubeconfig);
        let namespace = match bed {
            Some(bed) => bed.namespace(&bed.admin().await, "wires").await,
            None => "default".to_owned(),
        };
        site.release(0).await;
        site.configure(&namespace).await;
        Some(site)
    }

    /// What the near environment runs.
    pub(super) fn near_application(&self) -> &'static str {
        "shop"
    }

    /// What the far one runs: where registries are struck, an application that has its own.
    pub(super) fn far_application(&self) -> &'static str {
        match self.server {
            Server::Registry => "cart",
            _ => "shop",
        }
    }

    /// How people are told of the struck server.
    pub(super) fn struck_name(&self) -> String {
        match self.server {
            Server::Cluster => format!("cluster of context `{NEAR}`"),
            // The forge is told of as the requests of a repository that is named itself.
            Server::Forge => "acme/near".to_owned(),
            Server::Git | Server::Registry => self.proxy.address().to_string(),
        }
    }

    /// How the reason begins that is told of the struck server.
    pub(super) fn sentence(&self) -> String {
        let name = self.struck_name();
        match self.server {
            Server::Git => format!("http://{name}/{NEAR}.git cannot be reached: "),
            Server::Registry => format!("{name}/acme/shop: the registry is unavailable: "),
            Server::Forge | Server::Cluster => format!("{name} does not answer: "),
        }
    }

    /// The bare repository of an environment.
    pub(super) fn bare(&self, environment: &str) -> PathBuf {
        match (environment, &self.near) {
            (FAR, _) => self.far.path(FAR),
            (_, Near::Git(git)) => git.path(NEAR),
            (_, Near::GitHub { github, .. }) => github.path("acme/near"),
        }
    }

    /// Pushes the images of a release.
    pub(super) async fn release(&self, number: u64) {
        let created = self.begun + SignedDuration::from_mins(number.cast_signed());
        for application in ["shop", "cart"] {
            let image = ImageSpec {
                content: format!("{application} {number}"),
                created: Some(created),
                ..ImageSpec::default()
            };
            let (repository, tag) = (format!("acme/{application}"), tag(number));
            match &self.struck_registry {
                Some(registry) if application == "shop" => {
                    let target = Target {
                        registry: &registry.url,
                        repository: &repository,
                        tag: &tag,
                        authorization: None,
                    };
                    let pushed = image.build().push(&self.http, &target).await;
                    assert!(pushed.is_ok(), "{pushed:?}");
                }
                _ => {
                    let shown = self.registry.show(&repository, &tag, &image.build());
                    assert!(shown.is_ok(), "{shown:?}");
                }
            }
        }
    }

    fn image(&self, application: &str) -> String {
        match application {
            "shop" if self.struck_registry.is_some() => {
                format!("{}/acme/shop", self.proxy.address())
            }
            _ => format!("{}/acme/{application}", self.registry.address()),
        }
    }

    async fn configure(&self, namespace: &str) {
        let cluster = match self.server {
            Server::Cluster => format!(
                "{{ context: {NEAR}, kubeconfig: ../kubeconfig, namespace: {namespace}, timeout: {}ms }}",
                self.idle_timeout.as_millis()
            ),
            _ => SIMULATED.to_owned(),
        };
        let (url, more) = match &self.near {
            Near::Git(git) => {
                let url = match self.server {
                    Server::Git => format!("http://{}/{NEAR}.git", self.proxy.address()),
                    _ => git.url(NEAR),
                };
                (url, "gate: none\n")
            }
            Near::GitHub { github, .. } => (github.clone_url("acme/near"), "gate: pull-request\n"),
        };
        let credential = match self.server {
            Server::Forge => "forge: github, credential: { file: ../token, user: towpath }, ",
            _ => "",
        };
        self.environment(NEAR, &url, credential, &cluster, more)
            .await;
        let url = self.far.url(FAR);
        self.environment(FAR, &url, "", SIMULATED, "gate: none\n")
            .await;
        let mut applications = "applications:\n".to_owned();
        for (name, environments) in match self.server {
            Server::Registry => vec![("shop", NEAR), ("cart", FAR)],
            _ => vec![("shop", "near, far")],
        } {
            applications += &format!(
                "  - name: {name}\n    images: [{{ repository: {}, release-tag: '{{tag}}' }}]\n    environments: [{environments}]\n",
                self.image(name)
            );
        }
        self.write("config/applications/all.yaml", &applications);
        let mut settings = format!(
            "poll: {{ git: {0}ms, registry: {0}ms, forge: {0}ms }}\ncache: ../cache\n",
            POLL.as_millis()
        );
        if let Near::GitHub { github, .. } = &self.near {
            settings += &format!(
                "forges: {{ '{}': {{ api: 'http://{}/' }} }}\n",
                github.address(),
                self.proxy.address()
            );
        }
        self.write("config/towpath.yaml", &settings);
    }

    async fn environment(&self, name: &str, url: &str, more: &str, cluster: &str, gate: &str) {
        self.write(
            &format!("config/{name}/environment.yaml"),
            &format!(
                "repository: {{ url: '{url}', {more}branch: master }}\nmanifests: ['{{application}}']\n\
                 cluster: {cluster}\nfollow: {{ tags: '>=1.0.0' }}\n{gate}"
            ),
        );
        let bare = self.bare(name);
        match (name, &self.near) {
            (NEAR, Near::GitHub { .. }) => {}
            (NEAR, Near::Git(git)) => drop(git.create(NEAR).await.unwrap()),
            _ => drop(self.far.create(FAR).await.unwrap()),
        }
        let application = match name {
            NEAR => self.near_application(),
            _ => self.far_application(),
        };
        let image = format!("{}:{}", self.image(application), tag(0));
        let manifest = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: {application} }}\nspec:\n  replicas: 1\n  \
             selector: {{ matchLabels: {{ app: {application} }} }}\n  template:\n    metadata: {{ labels: {{ app: {application} }} }}\n    \
             spec:\n      containers:\n        - name: web\n          image: \"{image}\"\n"
        );
        let by = Signature {
            name: "Ann".to_owned(),
            email: "ann@example.com".to_owned(),
            time: self.begun,
        };
        let files = vec![(format!("{application}/web.yaml"), manifest.into_bytes())];
        commit_first(&bare, files, "first", &by).await.unwrap();
    }

    pub(super) fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// The configuration, read anew.
    pub(super) async fn setup(&self) -> Setup {
        let folder = self.folder.path().join("config").display().to_string();
        let location: Location = folder.parse().unwrap();
        let mut setup = Setup::load(location).await.unwrap();
        setup.idle_timeout = self.idle_timeout;
        setup
    }

    /// Starts a Towpath.
    pub(super) async fn tow(&self) -> Towing {
        let reconciler = self.setup().await.reconciler(&[], clock::now()).unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(Arc::clone(&reconciler).run(stop.clone()));
        Towing {
            reconciler,
            stop,
            task,
        }
    }

    /// What `towpath explain` says of the near environment.
    pub(super) async fn explained(&self) -> String {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: explain::Args,
        }
        let line = Line::parse_from(["explain", self.near_application(), NEAR]);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let setup = self.setup().await;
        let said = explain::run(&line.args, &setup, &mut out, &mut err).await;
        assert!(said.is_ok(), "{said:?}");
        String::from_utf8(out).unwrap()
    }

    /// What Ann asks of the forge, past the proxy; `None`: there is no forge.
    pub(super) async fn ann(
        &self,
        method: Method,
        rest: &str,
        body: &Value,
    ) -> Option<(u16, Value)> {
        let Near::GitHub { github, ann } = &self.near else {
            return None;
        };
        let url = format!("http://{}/repos/acme/near/{rest}", github.address());
        let asked = self.http.request(method, url).bearer_auth(ann.expose());
        let answer = asked.json(body).send().await.unwrap();
        let status = answer.status().as_u16();
        Some((status, answer.json().await.unwrap_or_default()))
    }

    /// All requests there ever were: title, and whether it was merged; none where there is no forge.
    pub(super) async fn requests(&self) -> Vec<(String, bool)> {
        let Some((_, all)) = self
            .ann(Method::GET, "pulls?state=all&per_page=100", &Value::Null)
            .await
        else {
            return Vec::new();
        };
        let all = all.as_array().unwrap();
        let told = all.iter().map(|it| {
            let title = it["title"].as_str().unwrap().to_owned();
            (title, it["merged_at"].is_string())
        });
        told.collect()
    }

    /// Where a person is asked for: waits for the request about this release, and merges it.
    pub(super) async fn merge(&self, towing: &Towing, number: u64) {
        if !matches!(self.near, Near::GitHub { .. }) {
            return;
        }
        let title = format!("near: shop {}", tag(number));
        if self.requests().await.contains(&(title.clone(), true)) {
            return;
        }
        let merged = async || {
            let open = self
                .ann(Method::GET, "pulls?state=open", &Value::Null)
                .await;
            let (_, open) = open.unwrap();
            let open = open.as_array().unwrap();
            let Some(open) = open.iter().find(|it| it["title"] == *title) else {
                return false;
            };
            let merge = format!("pulls/{}/merge", open["number"]);
            let how = json!({ "merge_method": "merge", "sha": open["head"]["sha"] });
            let (status, _) = self.ann(Method::PUT, &merge, &how).await.unwrap();
            status == 200
        };
        let what = format!("the request `{title}` is merged");
        towing.until(&what, merged).await;
    }
}

const SIMULATED: &str = "{ simulated: { ready-after: 0s } }";

fn authority(url: &Url) -> SocketAddr {
    let authority = &url.as_str()["http://".len()..];
    authority.trim_end_matches('/').parse().unwrap()
}

async fn github(folder: &TempDir) -> Near {
    let github = GitHub::start(&folder.path().join("github"), Arc::new(clock::now)).await;
    let github = github.unwrap();
    github.add_organization("acme").await;
    github.add_repository("acme/near", "private").await.unwrap();
    for login in ["towpath", "ann"] {
        github.add_user(login).await;
        github.set_role("acme/near", login, Some(Role::Write)).await;
    }
    let token = github.token("towpath").await;
    std::fs::write(folder.path().join("token"), token.expose()).unwrap();
    let ann = github.token("ann").await;
    Near::GitHub {
        github: Box::new(github),
        ann,
    }
}

/// What a release is called.
pub(super) fn tag(number: u64) -> String {
    format!("v1.{number}.0")
}

/// A running Towpath.
pub(super) struct Towing {
    pub(super) reconciler: Arc<Reconciler>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Towing {
    pub(super) async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(WAIT, self.task)
            .await
            .unwrap()
            .unwrap();
    }

    /// Waits until this is so.
    pub(super) async fn until(&self, what: &str, mut is: impl AsyncFnMut() -> bool) {
        let began = Instant::now();
        while !is().await {
            let late = began.elapsed() > WAIT;
            assert!(!late, "{what}: not within {WAIT:?}{}", self.all());
            tokio::time::sleep(ASK).await;
        }
    }

    fn posted(&self, application: &str) -> Option<Arc<Posted>> {
        let mut all = self.reconciler.board().all().into_iter();
        all.find(|it| it.pipeline.application.name.as_str() == application)
    }

    /// Says that there are new images, as a registry's webhook does.
    pub(super) fn hears_of_images(&self) {
        for repository in self.reconciler.observatory().tags.keys() {
            self.reconciler.hear_of_images(repository, None);
        }
    }

    /// Whether the newest deployment is of this release, and healthy.
    pub(super) fn runs(&self, application: &str, environment: &str, number: u64) -> bool {
        let environment = environment.parse().unwrap();
        self.posted(application).is_some_and(|posted| {
            let records = posted.records.get(&environment);
            let newest = records.and_then(|records| records.deployment.as_ref());
            newest.is_some_and(|it| {
                let verdict = it.verdict.as_ref().map(|it| &it.verdict);
                it.release.as_ref().is_some_and(|it| it.name == tag(number))
                    && matches!(verdict, Some(Verdict::Healthy { .. }))
            })
        })
    }

    /// What the near unit waits for, where that is a server.
    pub(super) fn struck(&self, site: &Site) -> Option<Waiting> {
        let posted = self.posted(site.near_application())?;
        let unit = posted.plan.unit(&NEAR.parse().unwrap())?;
        let Decision::Waiting(waiting) = &unit.decision else {
            return None;
        };
        let is = matches!(
            waiting.reason,
            Reason::Unreadable(_) | Reason::Retrying { .. }
        );
        is.then(|| waiting.clone())
    }

    /// What each unit was decided on, for who wonders why something does not come.
    fn all(&self) -> String {
        let mut told = String::new();
        for posted in self.reconciler.board().all() {
            for unit in &posted.plan.units {
                let said = match &unit.decision {
                    Decision::Waiting(waiting) => waiting.reason.to_string(),
                    Decision::Step(step) => format!("{step:?}").chars().take(80).collect(),
                };
                told += &format!("\n  {}: {said} (busy: {})", unit.environment, posted.busy);
            }
        }
        told
    }
}
