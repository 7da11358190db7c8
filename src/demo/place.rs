//! Where the demo happens: a directory with bare repositories, clones and configuration, a git
//! server and a registry over them. All of it is gone with this, unless it is kept.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::checkout::Checkout;
use super::example::{self, Addresses, OnGitHub};
use super::git_server::GitServer;
use super::ground::Ground;
use super::image::Image;
use super::manifests::{self, APPLICATION};
use super::registry::{Access, DemoRegistry, Notify};
use super::site::{self, Site};
use crate::http::{self, HttpSettings};
use crate::model::{ImageRepository, Webhooks};
use crate::serve::{self, Hooks};

/// The environments of the example, upstream first.
pub const ENVIRONMENTS: [&str; 3] = ["staging", "qa", "production"];

/// Where the demo plays but for this machine: on a real cluster, with images that its nodes can pull.
pub struct Abroad {
    /// Its namespaces there.
    pub ground: Ground,
    /// The images of the releases, oldest first.
    pub images: VecDeque<Image>,
}

/// Whether the directory stays, and which it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// It is removed at the end.
    Nothing,
    /// A new temporary directory stays.
    Temporary,
    /// This one stays. It must be new or empty.
    At(PathBuf),
}

/// See the module.
pub struct Place {
    root: PathBuf,
    /// Removes the directory when dropped.
    temporary: Option<TempDir>,
    /// The git server.
    pub git: GitServer,
    /// The registry.
    pub registry: DemoRegistry,
    /// Takes the servers' webhooks, as it does for `run`.
    pub hooks: Hooks,
    /// Where it takes them: `http://127.0.0.1:6000/hooks/`.
    pub hooks_url: Url,
    stop: CancellationToken,
    abroad: Option<Abroad>,
    site: Option<Site>,
    /// What CI and people ask the registry with.
    pub client: reqwest::Client,
}

impl Place {
    /// Makes the directory, starts the servers, writes the configuration: of simulated clusters, or of a
    /// real one, to which this changes nothing. Production's repository may lie on a simulated GitHub.
    ///
    /// # Errors
    /// A directory that is not empty or cannot be written, or no free port.
    pub async fn open(
        keep: &Keep,
        abroad: Option<Abroad>,
        on_github: bool,
    ) -> anyhow::Result<Self> {
        let (root, temporary) = directory(keep)?;
        let client = http::client(&HttpSettings::default())?;
        let no_port = "no port of 127.0.0.1 can be had";
        let admitted = match on_github {
            true => Site::webhooks(&root),
            false => Webhooks::new(),
        };
        let git = GitServer::start(&root.join("git")).await.context(no_port)?;
        let (hooks, stop) = (Hooks::open_and(admitted), CancellationToken::new());
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let bound = serve::listen(any, hooks.clone(), stop.clone())
            .await
            .context(no_port)?;
        let hooks_url: Url = format!("http://{bound}/hooks/").parse()?;
        let notify = Notify {
            client: client.clone(),
            url: hooks_url.join("registry")?,
            host: abroad
                .as_ref()
                .map(|it| it.ground.chosen.images.host().to_owned()),
            authorization: None,
        };
        let registry = DemoRegistry::start(Access::Open, Some(notify))
            .await
            .context(no_port)?;
        let site = match on_github {
            true => Some(Site::start(&root, client.clone(), &hooks_url).await?),
            false => None,
        };
        let this = Self {
            root,
            temporary,
            git,
            registry,
            hooks,
            hooks_url,
            stop,
            abroad,
            site,
            client,
        };
        example::write(&this.configuration(), &this.addresses()?)?;
        Ok(this)
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The configuration's folder.
    pub fn configuration(&self) -> PathBuf {
        self.root.join("environments")
    }

    /// Where mirrors and simulated clusters are kept.
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// The clone of a repository that a person works in.
    pub fn checkout(&self, repository: &str) -> PathBuf {
        self.root.join("checkouts").join(repository)
    }

    /// The application's image repository, as manifests name it. The demo's registry has it under the
    /// same path.
    ///
    /// # Errors
    /// Never for the addresses of this machine.
    pub fn image_repository(&self) -> anyhow::Result<ImageRepository> {
        match &self.abroad {
            Some(abroad) => Ok(abroad.ground.chosen.images.clone()),
            None => Ok(self.registry.repository(&format!("acme/{APPLICATION}"))?),
        }
    }

    /// The namespaces of a real cluster, where it plays in these.
    pub fn ground(&self) -> Option<&Ground> {
        self.abroad.as_ref().map(|abroad| &abroad.ground)
    }

    /// The simulated GitHub that production's repository lies on, if it does.
    pub fn site(&self) -> Option<&Site> {
        self.site.as_ref()
    }

    /// Where the bare repository of this name lies, from the directory.
    pub fn bare(&self, repository: &str) -> String {
        match self.on_github(repository) {
            Some(_) => site::bare(),
            None => format!("git/{repository}.git"),
        }
    }

    fn on_github(&self, repository: &str) -> Option<&Site> {
        let is_there = repository == infra_name(ENVIRONMENTS[2]);
        self.site.as_ref().filter(|_| is_there)
    }

    /// The images of another registry that are to be its releases, oldest first.
    pub fn lent(&self) -> Option<VecDeque<Image>> {
        self.abroad.as_ref().map(|abroad| abroad.images.clone())
    }

    /// Makes a repository and a clone of it, whose first commit is the caller's to make.
    ///
    /// # Errors
    /// Says what `git` answers.
    pub async fn repository(&self, name: &str, person: &str) -> anyhow::Result<Checkout> {
        let url = match self.on_github(name) {
            Some(site) => site.url_of_reviewer(),
            None => {
                let made = self.git.create(name).await;
                made.with_context(|| format!("{name} cannot be made"))?;
                self.git.url(name)
            }
        };
        Checkout::begin(&self.checkout(name), &url, person).await
    }

    /// Makes the infra repository of an environment, whose manifests name this image.
    ///
    /// # Errors
    /// Says what `git` answers.
    pub async fn infra(&self, environment: &str, image: &str) -> anyhow::Result<Checkout> {
        let checkout = self.repository(&infra_name(environment), "Kim").await?;
        let files = match self.abroad {
            Some(_) => manifests::abroad(environment, image),
            None => manifests::files(environment, image),
        };
        checkout
            .commit(&files, &format!("The manifests of {environment}"))
            .await?;
        checkout
            .git(&["push", "--quiet", "origin", "master"])
            .await?;
        Ok(checkout)
    }

    /// Stops the servers; the directory stays until this is dropped.
    pub async fn stop(self) -> Option<TempDir> {
        self.stop.cancel();
        self.git.stop().await;
        self.temporary
    }

    fn addresses(&self) -> anyhow::Result<Addresses> {
        Ok(Addresses {
            git: format!("http://{}", self.git.address()),
            registry: self.registry.address().to_string(),
            images: self.image_repository()?,
            chosen: self.ground().map(|ground| ground.chosen.clone()),
            github: self.site.as_ref().map(|site| OnGitHub {
                host: site.host(),
                url: site.url(),
                token: site.token_of_towpath(),
            }),
        })
    }
}

/// The name of an environment's infra repository.
pub fn infra_name(environment: &str) -> String {
    format!("{APPLICATION}-infra-{environment}")
}

fn directory(keep: &Keep) -> anyhow::Result<(PathBuf, Option<TempDir>)> {
    let temporary = || {
        tempfile::Builder::new()
            .prefix("towpath-demo-")
            .tempdir()
            .context("no temporary directory can be made: set TMPDIR to one that is writable")
    };
    match keep {
        Keep::Nothing => {
            let temporary = temporary()?;
            Ok((temporary.path().to_owned(), Some(temporary)))
        }
        Keep::Temporary => Ok((temporary()?.keep(), None)),
        Keep::At(path) => {
            std::fs::create_dir_all(path)
                .with_context(|| format!("{} cannot be made", path.display()))?;
            let path = std::path::absolute(path)
                .with_context(|| format!("{} has no absolute path", path.display()))?;
            let mut entries = std::fs::read_dir(&path)
                .with_context(|| format!("{} cannot be read", path.display()))?;
            if entries.next().is_some() {
                bail!("{} is not empty: name a new directory", path.display());
            }
            Ok((path, None))
        }
    }
}
