//! The forges of a configuration: who serves each repository, and who we are there.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use url::Url;

use crate::config::{CommitVia, Config, ForgeSettings};
use crate::forge::gitea::{self, Gitea};
use crate::forge::github::{self, Access, Budget, GitHub, Identity};
use crate::forge::{SharedForge, SharedReadForge};
use crate::git::Committer;
use crate::http::Meter;
use crate::model::{
    Credential, Environment, EvidenceSource, ForgeKind, Gate, Pipeline, RepositoryUrl, Scheme,
};

/// Makes them. Asks nothing.
pub(super) struct Forges<'a> {
    config: &'a Config,
    client: &'a reqwest::Client,
    meter: &'a Meter,
    /// By API and identity: what is asked of one counts for all its repositories.
    budgets: Vec<(Url, Identity, Arc<Budget>)>,
    made: Made,
}

/// What was made of a configuration's forges.
#[derive(Default)]
pub(super) struct Made {
    /// Of each repository that needs one.
    pub(super) forges: BTreeMap<RepositoryUrl, SharedForge>,
    /// Of source repositories that are only asked for checks: nothing is shown there.
    pub(super) asked: BTreeMap<RepositoryUrl, SharedReadForge>,
    /// Apps let git in, too, where a repository names no credential of its own.
    pub(super) tokens: BTreeMap<RepositoryUrl, Arc<Access>>,
    /// Who makes commits, where git does not.
    pub(super) committers: BTreeMap<RepositoryUrl, Arc<dyn Committer>>,
}

/// The forges of all repositories that need one.
///
/// # Errors
/// An address of an API that is none.
pub(super) fn all(config: &Config, client: &reqwest::Client, meter: &Meter) -> Result<Made> {
    let mut forges = Forges::new(config, client, meter);
    for pipeline in &config.pipelines {
        for environment in &pipeline.environments {
            forges.lets_git_in(&environment.repository, &environment.credential)?;
            forges.of_infra(environment)?;
            forges.of_commits(environment)?;
        }
        if let Some(source) = &pipeline.application.source {
            forges.lets_git_in(&source.url, &source.credential)?;
        }
        forges.of_source(pipeline)?;
    }
    for pipeline in &config.pipelines {
        forges.of_checks(pipeline)?;
    }
    Ok(forges.made)
}

/// A forge to look at, and of which kind it is.
pub(super) type KnownForge = (ForgeKind, SharedReadForge);

/// The forges of all repositories whose forge is known, whether they need one or not.
///
/// # Errors
/// As [`all`].
pub(super) fn known(
    config: &Config,
    client: &reqwest::Client,
    meter: &Meter,
) -> Result<BTreeMap<RepositoryUrl, KnownForge>> {
    let mut known = BTreeMap::new();
    let mut forges = Forges::new(config, client, meter);
    for pipeline in &config.pipelines {
        for environment in &pipeline.environments {
            let url = &environment.repository;
            if let Some(kind) = environment.forge {
                forges.make(kind, url, &environment.credential)?;
                known.insert(url.clone(), kind);
            }
        }
        if let Some(source) = &pipeline.application.source
            && let Some(kind) = source.forge
        {
            forges.make(kind, &source.url, &source.credential)?;
            known.insert(source.url.clone(), kind);
        }
    }
    let made = forges.made.forges.into_iter();
    let with_kind = made.filter_map(|(url, forge)| {
        let kind = *known.get(&url)?;
        Some((url, (kind, forge as SharedReadForge)))
    });
    Ok(with_kind.collect())
}

/// How the forge of a repository is reached, and what is shown there.
pub(super) fn settings(config: &Config, url: &RepositoryUrl) -> ForgeSettings {
    let forges = &config.settings.forges;
    let found = url.servers().find_map(|host| forges.get(host));
    found.cloned().unwrap_or_default()
}

impl<'a> Forges<'a> {
    fn new(config: &'a Config, client: &'a reqwest::Client, meter: &'a Meter) -> Self {
        Self {
            config,
            client,
            meter,
            budgets: Vec::new(),
            made: Made::default(),
        }
    }

    fn of_infra(&mut self, environment: &Environment) -> Result<()> {
        let url = &environment.repository;
        let needed = environment.gate == Gate::PullRequest || self.settings(url).statuses;
        match environment.forge.filter(|_| needed) {
            Some(kind) => self.make(kind, url, &environment.credential),
            None => Ok(()),
        }
    }

    /// GitHub makes commits also where nothing else is asked of it.
    fn of_commits(&mut self, environment: &Environment) -> Result<()> {
        let url = &environment.repository;
        let settings = self.settings(url);
        let wanted = settings.commit == CommitVia::GitHubApi
            && environment.forge == Some(ForgeKind::GitHub)
            && !self.made.committers.contains_key(url);
        if wanted {
            let github = self.github(url, &settings, &environment.credential)?;
            self.made.committers.insert(url.clone(), Arc::new(github));
        }
        Ok(())
    }

    fn of_source(&mut self, pipeline: &Pipeline) -> Result<()> {
        let Some(source) = &pipeline.application.source else {
            return Ok(());
        };
        let shows = self.settings(&source.url).deployments;
        match source.forge.filter(|_| shows) {
            Some(kind) => self.make(kind, &source.url, &source.credential),
            None => Ok(()),
        }
    }

    /// Where rules ask for checks of the source's commits; once all else that is needed is made.
    fn of_checks(&mut self, pipeline: &Pipeline) -> Result<()> {
        let environments = pipeline.environments.iter();
        let mut rules = environments.flat_map(|it| &it.evidence);
        let asks = rules.any(|rule| matches!(rule.from, Some(EvidenceSource::Check(_))));
        let Some(source) = pipeline.application.source.as_ref().filter(|_| asks) else {
            return Ok(());
        };
        let (url, credential) = (&source.url, &source.credential);
        let made = self.made.forges.contains_key(url) || self.made.asked.contains_key(url);
        let Some(kind) = source.forge.filter(|_| !made) else {
            return Ok(());
        };
        let forge: SharedReadForge = self.forge(kind, url, credential)?;
        self.made.asked.insert(url.clone(), forge);
        Ok(())
    }

    /// The App's tokens for a repository that is reached over HTTP and names no credential of its own.
    fn lets_git_in(&mut self, url: &RepositoryUrl, credential: &Credential) -> Result<()> {
        let unnamed = *credential == Credential::Default && url.scheme() == Scheme::Http;
        let settings = self.settings(url);
        if unnamed && settings.app.is_some() && !self.made.tokens.contains_key(url) {
            let api = api(url, &settings, github::api)?;
            let identity = identity(&settings, credential);
            let access = Access::new(self.client.clone(), api, url.clone(), identity);
            self.made.tokens.insert(url.clone(), Arc::new(access));
        }
        Ok(())
    }

    fn settings(&self, url: &RepositoryUrl) -> ForgeSettings {
        settings(self.config, url)
    }

    fn make(
        &mut self,
        kind: ForgeKind,
        url: &RepositoryUrl,
        credential: &Credential,
    ) -> Result<()> {
        if self.made.forges.contains_key(url) {
            return Ok(());
        }
        let forge = self.forge(kind, url, credential)?;
        self.made.forges.insert(url.clone(), forge);
        Ok(())
    }

    fn forge(
        &mut self,
        kind: ForgeKind,
        url: &RepositoryUrl,
        credential: &Credential,
    ) -> Result<SharedForge> {
        let settings = self.settings(url);
        Ok(match kind {
            ForgeKind::GitHub => Arc::new(self.github(url, &settings, credential)?),
            ForgeKind::Gitea => Arc::new(self.gitea(url, &settings, credential)?),
        })
    }

    fn github(
        &mut self,
        url: &RepositoryUrl,
        settings: &ForgeSettings,
        credential: &Credential,
    ) -> Result<GitHub> {
        let api = api(url, settings, github::api)?;
        let identity = identity(settings, credential);
        let budget = self.budget(&api, &identity);
        // One token serves the API and git.
        let access = self.made.tokens.get(url).cloned().unwrap_or_else(|| {
            let access = Access::new(self.client.clone(), api.clone(), url.clone(), identity);
            Arc::new(access)
        });
        Ok(GitHub::new(github::Connection {
            client: self.client.clone(),
            api,
            repository: url.clone(),
            access,
            budget,
        }))
    }

    fn gitea(
        &self,
        url: &RepositoryUrl,
        settings: &ForgeSettings,
        credential: &Credential,
    ) -> Result<Gitea> {
        let host = url.host().unwrap_or_default();
        if settings.app.is_some() {
            bail!(
                "Gitea has no Apps: write `credential` instead of `app` in `forges: {{ {host}: … }}`"
            );
        }
        let api = api(url, settings, gitea::api)?;
        let identity = token(settings, credential);
        let access = Access::new(self.client.clone(), api.clone(), url.clone(), identity);
        Ok(Gitea::new(gitea::Connection {
            client: self.client.clone(),
            api,
            repository: url.clone(),
            access: Arc::new(access),
        }))
    }

    fn budget(&mut self, api: &Url, identity: &Identity) -> Arc<Budget> {
        let mut known = self.budgets.iter();
        let same = known.find(|(its_api, its, _)| its_api == api && its == identity);
        if let Some((_, _, budget)) = same {
            return budget.clone();
        }
        let budget = Arc::new(Budget::metered(self.meter.clone()));
        let kept = (api.clone(), identity.clone(), budget.clone());
        self.budgets.push(kept);
        budget
    }
}

/// Where the API is: as configured, or as is usual on the host.
fn api(url: &RepositoryUrl, settings: &ForgeSettings, usual: fn(&str) -> String) -> Result<Url> {
    if let Some(api) = &settings.api {
        return Ok(api.clone());
    }
    let address = usual(url.host().unwrap_or_default());
    let api = address.parse();
    api.with_context(|| format!("{address} is no address of an API"))
}

/// The App, or else a token.
fn identity(settings: &ForgeSettings, of_repository: &Credential) -> Identity {
    match &settings.app {
        Some(app) => Identity::App {
            id: app.id,
            key: app.key.clone(),
        },
        None => token(settings, of_repository),
    }
}

/// The forge's own token, or else that of the repository.
fn token(settings: &ForgeSettings, of_repository: &Credential) -> Identity {
    Identity::Token(match &settings.credential {
        Credential::Default => of_repository.clone(),
        named => named.clone(),
    })
}
