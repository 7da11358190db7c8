//! The forges of a configuration: who serves each repository, and who we are there.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use url::Url;

use crate::config::{Config, ForgeSettings};
use crate::forge::SharedForge;
use crate::forge::github::{self, Access, Budget, Connection, GitHub, Identity};
use crate::model::{Credential, Environment, ForgeKind, Gate, Pipeline, RepositoryUrl};

/// Makes them. Asks nothing.
pub(super) struct Forges<'a> {
    config: &'a Config,
    client: &'a reqwest::Client,
    /// By API and identity: what is asked of one counts for all its repositories.
    budgets: Vec<(Url, Identity, Arc<Budget>)>,
    made: BTreeMap<RepositoryUrl, SharedForge>,
}

/// The forges of all repositories that need one.
///
/// # Errors
/// An address of an API that is none.
pub(super) fn all(
    config: &Config,
    client: &reqwest::Client,
) -> Result<BTreeMap<RepositoryUrl, SharedForge>> {
    let mut forges = Forges {
        config,
        client,
        budgets: Vec::new(),
        made: BTreeMap::new(),
    };
    for pipeline in &config.pipelines {
        for environment in &pipeline.environments {
            forges.of_infra(environment)?;
        }
        forges.of_source(pipeline)?;
    }
    Ok(forges.made)
}

impl Forges<'_> {
    fn of_infra(&mut self, environment: &Environment) -> Result<()> {
        let url = &environment.repository;
        let needed = environment.gate == Gate::PullRequest || self.settings(url).statuses;
        match environment.forge.filter(|_| needed) {
            Some(kind) => self.make(kind, url, &environment.credential),
            None => Ok(()),
        }
    }

    fn of_source(&mut self, pipeline: &Pipeline) -> Result<()> {
        let Some(source) = &pipeline.application.source else {
            return Ok(());
        };
        // What serves a host is known from its name, or from an environment there.
        let host = source.url.host();
        let environments = self.config.pipelines.iter().flat_map(|it| &it.environments);
        let mut there = environments.filter(|it| it.repository.host() == host);
        let kind = host.and_then(ForgeKind::of_host);
        let kind = kind.or_else(|| there.find_map(|it| it.forge));
        match kind.filter(|_| self.settings(&source.url).deployments) {
            Some(kind) => self.make(kind, &source.url, &source.credential),
            None => Ok(()),
        }
    }

    fn settings(&self, url: &RepositoryUrl) -> ForgeSettings {
        let forges = &self.config.settings.forges;
        let with_port = url.parts().map(|(host, _)| host);
        let of = |host: Option<&str>| forges.get(host?);
        let found = of(with_port).or_else(|| of(url.host()));
        found.cloned().unwrap_or_default()
    }

    fn make(
        &mut self,
        kind: ForgeKind,
        url: &RepositoryUrl,
        credential: &Credential,
    ) -> Result<()> {
        if self.made.contains_key(url) {
            return Ok(());
        }
        let settings = self.settings(url);
        let forge: SharedForge = match kind {
            ForgeKind::GitHub => Arc::new(self.github(url, &settings, credential)?),
            // Its requests are told to be unreadable.
            ForgeKind::Gitea => return Ok(()),
        };
        self.made.insert(url.clone(), forge);
        Ok(())
    }

    fn github(
        &mut self,
        url: &RepositoryUrl,
        settings: &ForgeSettings,
        credential: &Credential,
    ) -> Result<GitHub> {
        let api = match &settings.api {
            Some(api) => api.clone(),
            None => {
                let address = github::api(url.host().unwrap_or_default());
                let api = address.parse();
                api.with_context(|| format!("{address} is no address of an API"))?
            }
        };
        let identity = match (&settings.app, &settings.credential) {
            (Some(app), _) => Identity::App {
                id: app.id,
                key: app.key.clone(),
            },
            (None, Credential::Default) => Identity::Token(credential.clone()),
            (None, named) => Identity::Token(named.clone()),
        };
        let budget = self.budget(&api, &identity);
        let access = Access::new(self.client.clone(), api.clone(), url.clone(), identity);
        Ok(GitHub::new(Connection {
            client: self.client.clone(),
            api,
            repository: url.clone(),
            access: Arc::new(access),
            budget,
        }))
    }

    fn budget(&mut self, api: &Url, identity: &Identity) -> Arc<Budget> {
        let mut known = self.budgets.iter();
        let same = known.find(|(its_api, its, _)| its_api == api && its == identity);
        if let Some((_, _, budget)) = same {
            return budget.clone();
        }
        let budget = Arc::new(Budget::default());
        let kept = (api.clone(), identity.clone(), budget.clone());
        self.budgets.push(kept);
        budget
    }
}
