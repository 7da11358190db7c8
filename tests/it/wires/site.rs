//! Two environments whose servers are separate, a fault proxy in front of one of these servers, and a Towpath
//! that knows the proxy alone.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use jiff::{SignedDuration, Timestamp};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;
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
use towpath::secret::Secret;
use url::Url;

use super::proxy::Proxy;
use super::towing::Towing;
use crate::gitea::{Clone, Person};
use crate::kube;
use crate::registry::DockerRegistry;

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
    pub(super) folder: TempDir,
    proxy: Option<Proxy>,
    /// Where the struck server is met: at the proxy, where there is one.
    door: SocketAddr,
    near: Near,
    far: GitServer,
    registry: DemoRegistry,
    struck_registry: Option<Url>,
    http: Client,
    idle_timeout: Duration,
    begun: Timestamp,
    _registry: Option<DockerRegistry>,
}

/// Who serves the struck environment's repository.
pub(super) enum Near {
    Git(GitServer),
    GitHub {
        github: Box<GitHub>,
        ann: Secret,
    },
    /// A git server that is a process of its own.
    Process {
        bare: PathBuf,
    },
    Gitea(Box<Gitea>),
}

/// A repository on a Gitea, and who works there.
pub(super) struct Gitea {
    /// `acme/NAME`.
    pub(super) repository: String,
    pub(super) bare: PathBuf,
    pub(super) towpath: Person,
    pub(super) ann: Person,
    /// Ann's.
    pub(super) clone: Clone,
}

/// A cluster: how to get at it, and the namespace of the application.
pub(super) struct Place {
    pub(super) kubeconfig: String,
    pub(super) namespace: String,
}

/// A server that somebody else runs, and ends.
pub(super) struct Given {
    pub(super) server: Server,
    /// Where it is met.
    pub(super) door: SocketAddr,
    pub(super) near: Option<Near>,
    pub(super) place: Option<Place>,
}

impl Site {
    /// The servers, with the first release in both environments and nobody who tows. `None` where a server is not
    /// installed.
    pub(super) async fn start(server: Server, idle_timeout: Duration) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let registry = match server {
            Server::Registry => Some(DockerRegistry::start(false).await?),
            _ => None,
        };
        let mut place = match server {
            Server::Cluster => Some(cluster(kube::shared()?).await),
            _ => None,
        };
        let near = match server {
            Server::Forge => github(&folder).await,
            _ => own_git(&folder).await,
        };
        let behind: SocketAddr = match (server, &near) {
            (Server::Git, Near::Git(git)) => git.address(),
            (_, Near::GitHub { github, .. }) => github.address(),
            (Server::Registry, _) => authority(registry.as_ref().unwrap().url.as_str()),
            _ => place.as_ref().unwrap().address(),
        };
        let proxy = Proxy::start(behind).await.unwrap();
        let door = proxy.address();
        if let Some(place) = &mut place {
            let kubeconfig = &mut place.kubeconfig;
            *kubeconfig = kubeconfig.replace(&behind.to_string(), &door.to_string());
        }
        let given = Given {
            server,
            door,
            near: Some(near),
            place,
        };
        let direct = registry.as_ref().map(|it| it.url.clone());
        let mut site = Self::before(given, direct, folder, idle_timeout).await;
        (site.proxy, site._registry) = (Some(proxy), registry);
        Some(site)
    }

    /// The same around a server that is there already, with nothing before it.
    pub(super) async fn around(given: Given, idle_timeout: Duration) -> Self {
        let direct = format!("http://{}/", given.door).parse().unwrap();
        let direct = (given.server == Server::Registry).then_some(direct);
        Self::before(given, direct, TempDir::new().unwrap(), idle_timeout).await
    }

    async fn before(
        given: Given,
        struck_registry: Option<Url>,
        folder: TempDir,
        idle_timeout: Duration,
    ) -> Self {
        let near = match given.near {
            Some(near) => near,
            None => own_git(&folder).await,
        };
        let far = GitServer::start(&folder.path().join("far-git")).await;
        let site = Self {
            server: given.server,
            proxy: None,
            door: given.door,
            near,
            far: far.unwrap(),
            registry: DemoRegistry::start(Access::Open, None).await.unwrap(),
            struck_registry,
            http: client(&HttpSettings::default()).unwrap(),
            idle_timeout,
            begun: clock::now() - SignedDuration::from_hours(24),
            folder,
            _registry: None,
        };
        if let Some(place) = &given.place {
            site.write("kubeconfig", &place.kubeconfig);
        }
        if let Near::Gitea(gitea) = &site.near {
            site.write("token", gitea.towpath.token.expose());
        }
        assert!(site.release(0).await, "the first release");
        let namespace = given.place.as_ref().map(|it| it.namespace.as_str());
        site.configure(namespace.unwrap_or("default")).await;
        site
    }

    /// The proxy before the struck server.
    pub(super) fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("it was started with one")
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
            Server::Git | Server::Registry => self.door.to_string(),
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
            (_, Near::Process { bare }) => bare.clone(),
            (_, Near::Gitea(gitea)) => gitea.bare.clone(),
        }
    }

    /// Pushes the images of a release; whether all are there now.
    pub(super) async fn release(&self, number: u64) -> bool {
        let mut all = true;
        // In a long run as well none is of the future, which is not old enough yet.
        let created = self.begun + SignedDuration::from_secs(number.cast_signed());
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
                        registry,
                        repository: &repository,
                        tag: &tag,
                        authorization: None,
                    };
                    all &= image.build().push(&self.http, &target).await.is_ok();
                }
                _ => {
                    let shown = self.registry.show(&repository, &tag, &image.build());
                    assert!(shown.is_ok(), "{shown:?}");
                }
            }
        }
        all
    }

    fn image(&self, application: &str) -> String {
        match application {
            "shop" if self.struck_registry.is_some() => {
                format!("{}/acme/shop", self.door)
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
        let forge = |kind: &str, login: &str| {
            format!("forge: {kind}, credential: {{ file: ../token, user: {login} }}, ")
        };
        let door = self.door;
        let (url, credential, more) = match &self.near {
            Near::Git(git) if self.server == Server::Git => (
                git.url(NEAR)
                    .replace(&git.address().to_string(), &door.to_string()),
                String::new(),
                "gate: none\n",
            ),
            Near::Git(git) => (git.url(NEAR), String::new(), "gate: none\n"),
            Near::Process { .. } => (
                format!("http://{door}/{NEAR}.git"),
                String::new(),
                "gate: none\n",
            ),
            Near::GitHub { github, .. } => (
                github.clone_url("acme/near"),
                forge("github", "towpath"),
                "gate: pull-request\n",
            ),
            Near::Gitea(gitea) => (
                format!("http://{door}/{}.git", gitea.repository),
                forge("gitea", &gitea.towpath.login),
                "gate: pull-request\n",
            ),
        };
        self.environment(NEAR, &url, &credential, &cluster, more)
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
        match &self.near {
            Near::GitHub { github, .. } => {
                let at = github.address();
                settings += &format!("forges: {{ '{at}': {{ api: 'http://{door}/' }} }}\n");
            }
            Near::Gitea(_) => {
                settings += &format!("forges: {{ '{door}': {{ api: 'http://{door}/api/v1' }} }}\n");
            }
            Near::Git(_) | Near::Process { .. } => {}
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
        match (name, &self.near) {
            (NEAR, Near::GitHub { .. } | Near::Process { .. }) => {}
            (NEAR, Near::Gitea(gitea)) => {
                // Its disk is another user's.
                let path = format!("{application}/web.yaml");
                gitea.clone.commit_first(&path, &manifest).await;
                return;
            }
            (NEAR, Near::Git(git)) => drop(git.create(NEAR).await.unwrap()),
            _ => drop(self.far.create(FAR).await.unwrap()),
        }
        let by = Signature {
            name: "Ann".to_owned(),
            email: "ann@example.com".to_owned(),
            time: self.begun,
        };
        let files = vec![(format!("{application}/web.yaml"), manifest.into_bytes())];
        let committed = commit_first(&self.bare(name), files, "first", &by).await;
        committed.unwrap();
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
        Towing::start(reconciler)
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

    /// What Ann asks of the forge, past the proxy; `None`: there is no forge, or it does not answer.
    pub(super) async fn ann(
        &self,
        method: Method,
        rest: &str,
        body: &Value,
    ) -> Option<(u16, Value)> {
        let (url, token) = match &self.near {
            Near::GitHub { github, ann } => {
                (format!("http://{}/repos/acme/near", github.address()), ann)
            }
            Near::Gitea(gitea) => (
                format!("http://{}/api/v1/repos/{}", self.door, gitea.repository),
                &gitea.ann.token,
            ),
            Near::Git(_) | Near::Process { .. } => return None,
        };
        let asked = self.http.request(method, format!("{url}/{rest}"));
        let answer = asked.bearer_auth(token.expose()).json(body).send().await;
        let answer = answer.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.json().await.unwrap_or_default()))
    }

    /// All requests there ever were: title, and whether it was merged; none where there is no forge.
    pub(super) async fn requests(&self) -> Vec<(String, bool)> {
        let Some((_, all)) = self
            .ann(
                Method::GET,
                "pulls?state=all&per_page=100&limit=50",
                &Value::Null,
            )
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
        if matches!(self.near, Near::Git(_) | Near::Process { .. }) {
            return;
        }
        let title = format!("near: shop {}", tag(number));
        if self.requests().await.contains(&(title.clone(), true)) {
            return;
        }
        let merged = async || {
            self.merge_open(Some(&title)).await
                || self.requests().await.contains(&(title.clone(), true))
        };
        let what = format!("the request `{title}` is merged");
        towing.until(&what, merged).await;
    }

    /// Merges the request that is open, where it has this title; whether it did.
    pub(super) async fn merge_open(&self, title: Option<&str>) -> bool {
        let open = self
            .ann(Method::GET, "pulls?state=open", &Value::Null)
            .await;
        let open = open.map(|(_, it)| it).unwrap_or_default();
        let mut open = open.as_array().into_iter().flatten();
        let Some(open) = open.find(|it| title.is_none_or(|title| it["title"] == *title)) else {
            return false;
        };
        let merge = format!("pulls/{}/merge", open["number"]);
        let sha = &open["head"]["sha"];
        let (method, how) = match &self.near {
            Near::Gitea(_) => (
                Method::POST,
                json!({ "Do": "merge", "head_commit_id": sha }),
            ),
            _ => (Method::PUT, json!({ "merge_method": "merge", "sha": sha })),
        };
        let merged = self.ann(method, &merge, &how).await;
        merged.is_some_and(|(status, _)| status == 200)
    }
}

impl Place {
    /// Where it is met.
    pub(super) fn address(&self) -> SocketAddr {
        let (_, rest) = self.kubeconfig.split_once("https://").unwrap();
        authority(rest.lines().next().unwrap().trim())
    }
}

/// A namespace of its own on this plane, as its administrator.
pub(super) async fn cluster(bed: &kube::Bed) -> Place {
    Place {
        kubeconfig: bed.plane.kubeconfig(NEAR, &kube::Plane::admin()).unwrap(),
        namespace: bed.namespace(&bed.admin().await, "wires").await,
    }
}

const SIMULATED: &str = "{ simulated: { ready-after: 0s } }";

/// The address in a URL.
pub(super) fn authority(url: &str) -> SocketAddr {
    let authority = url.trim_start_matches("http://").trim_end_matches('/');
    authority.parse().unwrap()
}

async fn own_git(folder: &TempDir) -> Near {
    let git = GitServer::start(&folder.path().join("near-git")).await;
    Near::Git(git.unwrap())
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
