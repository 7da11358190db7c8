//! What the configuration no longer has. Applications that it no longer takes somewhere: the records of an
//! environment still tell of them, and maybe its cluster runs them. And whole environments, which took their
//! clusters along: only their records tell of them, where another environment has the same repository.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError};

use futures_util::future::join_all;
use jiff::Timestamp;

use super::{LiveSource, Observatory};
use crate::model::{
    Application, ApplicationName, Environment, EnvironmentName, Pipeline, Release, RepositoryUrl,
};
use crate::plan::Observed;

/// An environment that records tell of, and the configuration does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftBehind {
    /// Its name.
    pub environment: EnvironmentName,
    /// Where its records are.
    pub repository: RepositoryUrl,
    /// What ran there, where they can be read.
    pub ran: Vec<(ApplicationName, Option<Release>)>,
}

/// What can be told of it, in one sentence: it may also be another Towpath's.
impl fmt::Display for LeftBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            environment,
            repository,
            ..
        } = self;
        write!(f, "{repository} has records of {environment}")?;
        let ran = self.ran.iter().map(|(application, release)| match release {
            Some(release) => format!("{application} {release}"),
            None => application.to_string(),
        });
        let ran: Vec<String> = ran.collect();
        if !ran.is_empty() {
            write!(f, " ({})", ran.join(", "))?;
        }
        write!(
            f,
            ", which the configuration does not have: if it was taken out, what ran there is left running, and `prune: {{ removed: true }}` cannot reach it (docs/kubernetes.md)"
        )
    }
}

impl Observatory {
    /// The environments that the records of known repositories tell of, and the configuration does not have.
    pub fn left_behind(&self) -> Vec<(EnvironmentName, RepositoryUrl)> {
        let mut left = Vec::new();
        for (url, source) in &self.infra {
            let snapshot = source.source.observed();
            let Ok(snapshot) = snapshot.read() else {
                continue;
            };
            let others = snapshot.others.iter();
            let others = others.filter(|name| !self.taken.contains_key(*name));
            left.extend(others.map(|name| (name.clone(), url.clone())));
        }
        left
    }

    /// The same, with what ran there.
    pub async fn read_left_behind(&self) -> Vec<LeftBehind> {
        let mut left = Vec::new();
        for (environment, repository) in self.left_behind() {
            let mut ran = Vec::new();
            if let Some(source) = self.infra.get(&repository) {
                let told = source.reader.told_of(&environment).await;
                ran = told.unwrap_or_default();
            }
            left.push(LeftBehind {
                environment,
                repository,
                ran,
            });
        }
        left
    }

    /// One pipeline for each such application, of the environments where it runs something. Read what
    /// runs there first, with [`Self::read_removed`].
    pub fn removed(&self) -> Vec<Arc<Pipeline>> {
        let mut gone: BTreeMap<ApplicationName, Vec<Environment>> = BTreeMap::new();
        for (environment, application) in self.told_of_alone() {
            let live = self.live_of_unit(&environment.name, &application);
            let runs = live.is_some_and(|live| match live.source.observed() {
                Observed::Seen { value, .. } => value
                    .objects
                    .values()
                    .any(|found| found.is_of(&application, &environment.name)),
                // What ran may still run.
                Observed::Unreadable(_) => live.source.is_tried(),
            });
            if runs {
                gone.entry(application)
                    .or_default()
                    .push(environment.clone());
            }
        }
        let pipelines = gone.into_iter().map(|(name, environments)| {
            let images = Vec::new();
            Arc::new(Pipeline {
                application: Application {
                    name,
                    labels: BTreeMap::new(),
                    source: None,
                    images,
                },
                environments,
                removed: true,
            })
        });
        pipelines.collect()
    }

    /// Lists what such applications still run.
    pub async fn read_removed(&self, now: Timestamp) {
        let mut sources = Vec::new();
        for (environment, application) in self.told_of_alone() {
            let Some(cluster) = self.clusters.get(&environment.name) else {
                continue;
            };
            let key = (environment.name.clone(), application.clone());
            let mut removed = self
                .live_removed
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let source = removed.entry(key).or_insert_with(|| {
                Arc::new(LiveSource::new(
                    &application,
                    &environment.name,
                    cluster,
                    now,
                ))
            });
            sources.push(source.clone());
        }
        join_all(sources.iter().map(|source| source.read(now))).await;
    }

    /// Whether every repository was tried: until then nothing is known of such applications.
    pub fn knows_removed(&self) -> bool {
        let mut infra = self.infra.values();
        infra.all(|source| source.source.is_tried())
    }

    /// The units that records tell of and the configuration does not, where this process acts.
    fn told_of_alone(&self) -> Vec<(&Environment, ApplicationName)> {
        let mut alone = Vec::new();
        for (url, source) in &self.infra {
            let snapshot = source.source.observed();
            let Ok(snapshot) = snapshot.read() else {
                continue;
            };
            for name in self.clusters.keys() {
                let Some(recorded) = snapshot.recorded(name) else {
                    continue;
                };
                // Asked every few seconds, and nearly always there is none.
                let mut gone = match self.taken.get(name) {
                    Some(taken) => recorded.difference(taken).peekable(),
                    None => continue,
                };
                if gone.peek().is_none() {
                    continue;
                }
                let mut there = self.taken_to(name);
                let Some(environment) = there.find(|it| it.repository == *url) else {
                    continue;
                };
                alone.extend(gone.map(|application| (environment, application.clone())));
            }
        }
        alone
    }

    /// An environment as each application that the configuration takes to it has it.
    fn taken_to<'a>(&'a self, name: &'a EnvironmentName) -> impl Iterator<Item = &'a Environment> {
        let pipelines = self.configured.iter();
        pipelines.filter_map(|pipeline| pipeline.environment(name))
    }
}
