//! From a configuration to the outside systems it names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;

use super::clusters::Clusters;
use super::forges::{self, KnownForge, Made};
use super::names;
use crate::cluster::{self, SharedCluster, SharedReadCluster};
use crate::config::{Config, ForgeSettings, Location, Problems, default_cache, files};
use crate::evidence::HttpEvidence;
use crate::forge;
use crate::git::memory::MemoryRemote;
use crate::git::{self, Access, Given, Mode, Reach, Repository, Signer};
use crate::http::{self, HttpSettings, Meter, Outward};
use crate::model::{CommitId, Credential, Digest, EnvironmentName, Pipeline, RepositoryUrl};
use crate::notifications::{Notifier, Pace, Standings, Told};
use crate::observe::{Intervals, Outside};
use crate::reconcile::Reconciler;
use crate::registry::{CredentialSource, HostSettings, HttpRegistry, RegistrySettings};
use crate::smoke::HttpProbe;

/// Where the configuration is read from, and what was read.
pub struct Setup {
    /// Where from.
    pub location: Location,
    /// What was read.
    pub config: Config,
    /// Counts what git servers and registries are asked.
    pub meter: Meter,
    /// Counts how it goes with those who are told of news.
    pub told: Standings,
    /// How long git servers, registries and forges may send nothing. Clusters have `cluster.timeout`.
    pub idle_timeout: Duration,
}

/// Why there is no configuration to work with.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// It has mistakes.
    #[error("{0}")]
    Problems(Problems),
    /// It could not be read at all.
    #[error("the configuration at {location} cannot be read")]
    Unreadable {
        /// Where.
        location: String,
        /// Why.
        #[source]
        source: anyhow::Error,
    },
}

impl Setup {
    /// Reads the configuration.
    ///
    /// # Errors
    /// [`SetupError`] holds every mistake, or why it cannot be read.
    pub async fn load(location: Location) -> Result<Self, SetupError> {
        let config = match &location {
            Location::Folder(folder) => Config::load(folder),
            Location::Git {
                url,
                reference,
                path,
            } => {
                let files = from_git(url, reference.as_deref(), path)
                    .await
                    .map_err(|source| SetupError::Unreadable {
                        location: location.to_string(),
                        source,
                    })?;
                Config::parse(&files)
            }
        };
        let config = config.map_err(SetupError::Problems)?;
        Ok(Self {
            location,
            config,
            meter: Meter::default(),
            told: Standings::default(),
            idle_timeout: HttpSettings::default().idle_timeout,
        })
    }

    /// How often sources are read.
    fn intervals(&self) -> Intervals {
        let poll = &self.config.settings.poll;
        Intervals {
            git: poll.git,
            registry: poll.registry,
            forge: poll.forge,
            ..Intervals::default()
        }
    }

    /// The pipelines, shared.
    pub fn pipelines(&self) -> Vec<Arc<Pipeline>> {
        self.config.pipelines.clone()
    }

    /// What tows them, acting for these environments alone (for all where none is named).
    ///
    /// # Errors
    /// As [`Self::outside`].
    pub fn reconciler(&self, only: &[EnvironmentName], now: Timestamp) -> Result<Arc<Reconciler>> {
        self.reconciler_signing(only, self.signer().map(Arc::new), now)
    }

    /// The same, which signs with this.
    ///
    /// # Errors
    /// As [`Self::outside`].
    pub(super) fn reconciler_signing(
        &self,
        only: &[EnvironmentName],
        signer: Option<Arc<Signer>>,
        now: Timestamp,
    ) -> Result<Arc<Reconciler>> {
        let clusters = self.clusters(only)?;
        let made = self.forges()?;
        let mut outside = self.outside_with(cluster::reading(&clusters), &made)?;
        for (url, repository) in &mut outside.repositories {
            let committer = made.committers.get(url).cloned();
            let signing = repository.clone().signing(signer.clone());
            *repository = signing.committing(committer);
        }
        Ok(Arc::new(Reconciler::new(
            self.pipelines(),
            &outside,
            clusters,
            made.forges,
            &self.config.settings.author,
            self.intervals(),
            now,
        )))
    }

    /// The outside systems, to look at, with the clusters of these environments alone (of all where
    /// none is named). Commands that only look hold nothing else.
    ///
    /// # Errors
    /// Where the HTTP client, a mirror or a cluster's file cannot be made, or an environment that is
    /// named does not exist.
    pub fn outside(&self, only: &[EnvironmentName]) -> Result<Outside> {
        let clusters = cluster::reading(&self.clusters(only)?);
        self.outside_with(clusters, &self.forges()?)
    }

    /// The outside systems, to look at, without clusters: for what git and registries tell.
    ///
    /// # Errors
    /// Where the HTTP client or a mirror cannot be made.
    pub fn outside_clusters_apart(&self) -> Result<Outside> {
        self.outside_with(BTreeMap::new(), &self.forges()?)
    }

    /// The cluster of one environment, to look at.
    ///
    /// # Errors
    /// Where it cannot be made, or no such environment exists.
    pub(super) fn cluster(&self, name: &EnvironmentName) -> Result<SharedReadCluster> {
        let mut clusters = cluster::reading(&self.clusters(std::slice::from_ref(name))?);
        let cluster = clusters.remove(name);
        cluster.with_context(|| format!("no application runs in {name}"))
    }

    fn clusters(
        &self,
        only: &[EnvironmentName],
    ) -> Result<BTreeMap<EnvironmentName, SharedCluster>> {
        names::environments(self, only)?;
        let cache = self.cache();
        let mut made = Clusters::new(&self.config, &cache);
        let mut clusters = BTreeMap::new();
        for pipeline in &self.config.pipelines {
            for environment in &pipeline.environments {
                let acts = only.is_empty() || only.contains(&environment.name);
                if acts && !clusters.contains_key(&environment.name) {
                    clusters.insert(environment.name.clone(), made.of(environment)?);
                }
            }
        }
        Ok(clusters)
    }

    fn forges(&self) -> Result<Made> {
        let client = http::client(&self.connections())?;
        forges::all(&self.config, &client, &self.meter)
    }

    /// The forges of all repositories whose forge is known, to look at, also where nothing needs it.
    ///
    /// # Errors
    /// As [`Self::outside`].
    pub(super) fn known_forges(&self) -> Result<BTreeMap<RepositoryUrl, KnownForge>> {
        let client = http::client(&self.connections())?;
        forges::known(&self.config, &client, &self.meter)
    }

    /// How the forge of a repository is reached, and what is shown there.
    pub(super) fn forge_settings(&self, url: &RepositoryUrl) -> ForgeSettings {
        forges::settings(&self.config, url)
    }

    fn connections(&self) -> HttpSettings {
        let settings = &self.config.settings;
        HttpSettings {
            ca_file: settings.ca_file.clone(),
            proxy: settings.proxy.clone(),
            idle_timeout: self.idle_timeout,
            ..HttpSettings::default()
        }
    }

    /// What connects where the configuration's authors say.
    ///
    /// # Errors
    /// Where the HTTP client cannot be made.
    pub(super) fn outward(&self) -> Result<Outward> {
        http::outward(&self.connections(), self.config.settings.outward)
    }

    /// What tells of what this reconciler does; `None`: nobody is to be told.
    ///
    /// # Errors
    /// As [`Self::outward`].
    pub fn notifier(
        &self,
        reconciler: &Arc<Reconciler>,
        pace: Pace,
    ) -> Result<Option<Arc<Notifier>>> {
        let settings = &self.config.settings;
        if settings.notifications.is_empty() {
            return Ok(None);
        }
        let told = Told {
            notifications: settings.notifications.clone(),
            outward: self.outward()?,
            author: settings.author.clone(),
            pace,
            standings: self.told.clone(),
        };
        let notifier = Notifier::new(reconciler, &self.config.pipelines, told);
        Ok(Some(Arc::new(notifier)))
    }

    fn outside_with(
        &self,
        clusters: BTreeMap<EnvironmentName, SharedReadCluster>,
        made: &Made,
    ) -> Result<Outside> {
        let connections = self.connections();
        let client = http::client(&connections)?;
        let outward = self.outward()?;
        let cache = self.cache();
        let door = |url: &RepositoryUrl, credential: &Credential| {
            let mut access = access(&client, credential, &self.meter);
            access.idle_timeout = self.idle_timeout;
            if let Some(tokens) = made.tokens.get(url)
                && *credential == Credential::Default
            {
                access.credential = git::Credential::Given(Given(tokens.clone()));
            }
            access
        };
        let registry = HttpRegistry::new(client.clone(), self.registries());
        let mut repositories = BTreeMap::new();
        for pipeline in &self.config.pipelines {
            if let Some(source) = &pipeline.application.source {
                let access = door(&source.url, &source.credential);
                add(&mut repositories, access, &cache, &source.url)?;
            }
            for environment in &pipeline.environments {
                let access = door(&environment.repository, &environment.credential);
                add(&mut repositories, access, &cache, &environment.repository)?;
            }
        }
        let mut forges = forge::reading(&made.forges);
        forges.extend(made.asked.clone());
        Ok(Outside {
            registry: Arc::new(registry),
            repositories,
            clusters,
            forges,
            probe: Arc::new(HttpProbe::new(outward.clone())),
            evidence: Arc::new(HttpEvidence::new(outward)),
        })
    }

    /// Who signs commits.
    pub(super) fn signer(&self) -> Option<Signer> {
        let key = self.config.settings.commit.sign.clone();
        key.map(Signer::new)
    }

    fn cache(&self) -> PathBuf {
        cache(&self.config)
    }

    fn registries(&self) -> RegistrySettings {
        let hosts = self
            .config
            .settings
            .registries
            .iter()
            .map(|(host, settings)| {
                let credential = match &settings.credential {
                    Credential::Default => CredentialSource::default(),
                    Credential::Environment { variable, user } => CredentialSource::Variable {
                        variable: variable.clone(),
                        user: user.clone(),
                    },
                    Credential::File { path, user } => CredentialSource::File {
                        path: path.clone(),
                        user: user.clone(),
                    },
                };
                let plain_http = settings.plain_http.then_some(true);
                (
                    host.clone(),
                    HostSettings {
                        credential,
                        plain_http,
                        mirror: settings.mirror.clone(),
                        ..HostSettings::default()
                    },
                )
            });
        RegistrySettings {
            hosts: hosts.collect(),
            meter: self.meter.clone(),
            ..RegistrySettings::default()
        }
    }
}

fn add(
    repositories: &mut BTreeMap<RepositoryUrl, Repository>,
    access: Access,
    cache: &Path,
    url: &RepositoryUrl,
) -> Result<()> {
    if repositories.contains_key(url) {
        return Ok(());
    }
    let remote = git::remote(url, &access)?;
    let folder = mirror(cache, url);
    let repository = Repository::on_disk(remote, &folder)
        .with_context(|| format!("the mirror of {url} cannot be kept in {}", folder.display()))?;
    repositories.insert(url.clone(), repository);
    Ok(())
}

/// What is kept of a repository on this disk, with no way to its server; `None` where nothing is.
pub(super) fn kept(config: &Config, url: &RepositoryUrl) -> Option<Repository> {
    let folder = mirror(&cache(config), url);
    if !folder.exists() {
        return None;
    }
    let nowhere = Arc::new(MemoryRemote::new(url.as_str()));
    Repository::on_disk(nowhere, &folder).ok()
}

fn mirror(cache: &Path, url: &RepositoryUrl) -> PathBuf {
    cache
        .join("mirrors")
        .join(Digest::of(url.as_str().as_bytes()).short())
}

fn cache(config: &Config) -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let asked = config.settings.cache.clone();
    asked.unwrap_or_else(|| default_cache(variable))
}

fn access(client: &reqwest::Client, credential: &Credential, meter: &Meter) -> Access {
    let (credential, user) = match credential {
        Credential::Default => (git::Credential::Helper, None),
        Credential::Environment { variable, user } => {
            (git::Credential::Environment(variable.clone()), user.clone())
        }
        Credential::File { path, user } => (git::Credential::File(path.clone()), user.clone()),
    };
    Access {
        credential,
        user,
        meter: meter.clone(),
        ..Access::new(client.clone())
    }
}

/// The configuration's files at a commit of a repository.
async fn from_git(
    url: &RepositoryUrl,
    reference: Option<&str>,
    path: &str,
) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let client = http::client(&HttpSettings::default())?;
    let remote = git::remote(
        url,
        &access(&client, &Credential::Default, &Meter::default()),
    )?;
    let repository = Repository::in_memory(remote);
    let names: Vec<String> = match reference {
        Some(reference) => {
            vec![
                format!("refs/heads/{reference}"),
                format!("refs/tags/{reference}"),
            ]
        }
        None => vec!["refs/heads/main".to_owned(), "refs/heads/master".to_owned()],
    };
    let refs = repository.look(&names).await?;
    let Some(found) = names.iter().find_map(|name| refs.get(name)) else {
        bail!("{url} has none of {}", names.join(", "));
    };
    repository.fetch(&[found.id], Reach::Tip).await?;
    let commit = repository.commit(CommitId(found.commit().0))?;
    let Some(folder) = repository.lookup(commit.tree, path.trim_matches('/'))? else {
        bail!("{url} has no folder `{path}`");
    };
    let mut read = Vec::new();
    for change in repository.changed(None, Some(folder.id))? {
        let file = PathBuf::from(&change.path);
        let Some((mode, blob)) = change.new.filter(|_| files::is_wanted(&file)) else {
            continue;
        };
        match mode {
            Mode::File | Mode::Executable => read.push((file, repository.blob(blob)?.to_vec())),
            Mode::Symlink => bail!(
                "{url}: `{path}/{}` is a symbolic link, which is not followed: commit the file itself there",
                file.display()
            ),
            Mode::Directory | Mode::Submodule => {}
        }
    }
    Ok(read)
}
