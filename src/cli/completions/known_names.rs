//! The names that are known on this machine: from the configuration's folder, and from the records in the mirrors. No
//! server is asked, nothing is waited for, and what cannot be read is left out in silence: somebody is typing.

use std::ffi::OsString;
use std::sync::Arc;

use crate::cli::setup;
use crate::config::{Config, Location};
use crate::git::notes::{self, records_ref};
use crate::model::record::{Standing, UnitRecords};
use crate::model::{CommitId, Environment, Pipeline, RepositoryUrl};

/// How many deployments of an environment are offered, the newest.
const DEPLOYMENTS: u64 = 10;

/// See the module.
pub(super) struct KnownNames {
    config: Config,
    /// What is typed so far, without the program's name.
    words: Vec<String>,
}

impl KnownNames {
    /// Those of the configuration that the command line being typed names.
    pub(super) fn asked() -> Option<Self> {
        // The shell's function calls `towpath -- towpath WORD…`.
        let typed = std::env::args_os().skip_while(|word| word != "--").skip(2);
        let words: Vec<String> = typed
            .filter_map(|word: OsString| word.into_string().ok())
            .collect();
        let location = configured(&words)
            .or_else(|| std::env::var("TOWPATH_CONFIG").ok())
            .unwrap_or_else(|| "environments".to_owned());
        let Ok(Location::Folder(folder)) = location.parse() else {
            return None;
        };
        let config = Config::load(&folder).ok()?;
        Some(Self { config, words })
    }

    pub(super) fn applications(&self) -> Vec<String> {
        let pipelines = self.config.pipelines.iter();
        pipelines
            .map(|it| it.application.name.to_string())
            .collect()
    }

    /// Those that a named application goes to; all where none is named.
    pub(super) fn environments(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for environment in self.pipelines().flat_map(|it| &it.environments) {
            let name = environment.name.to_string();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Newest first.
    pub(super) fn releases(&self) -> Vec<String> {
        let mut releases = Vec::new();
        for pipeline in self.pipelines() {
            for environment in &pipeline.environments {
                let unit = self.read(&environment.repository, environment, |repository, tree| {
                    notes::read_unit(repository, tree, &pipeline.application.name).ok()
                });
                releases.extend(unit.iter().flat_map(told));
            }
        }
        releases.sort_by_key(|(built, _)| std::cmp::Reverse(*built));
        let mut names: Vec<String> = Vec::new();
        for (_, name) in releases {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Newest first, by environment.
    pub(super) fn deployments(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for environment in self.pipelines().flat_map(|it| &it.environments) {
            let standing = self.read(&environment.repository, environment, |repository, tree| {
                notes::read_standing(repository, tree).ok()
            });
            let newest = standing.map_or(0, |it: Standing| it.number);
            let numbers = (newest.saturating_sub(DEPLOYMENTS) + 1..=newest).rev();
            for number in numbers {
                let name = format!("{}/deployment-{number:04}", environment.name);
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names
    }

    pub(super) fn releases_and_deployments(&self) -> Vec<String> {
        let mut names = self.releases();
        names.extend(self.deployments());
        names
    }

    /// Those that are named on the command line; all where none is.
    fn pipelines(&self) -> impl Iterator<Item = &Arc<Pipeline>> {
        let named = |it: &Pipeline| {
            let name = it.application.name.as_str();
            self.words.iter().any(|word| word == name)
        };
        let any = self.config.pipelines.iter().any(|it| named(it));
        let all = self.config.pipelines.iter();
        all.filter(move |it| !any || named(it))
    }

    /// Something from the records of an environment as the mirror has them.
    fn read<T>(
        &self,
        url: &RepositoryUrl,
        environment: &Environment,
        read: impl FnOnce(&crate::git::Repository, gix::ObjectId) -> Option<T>,
    ) -> Option<T> {
        let mirror = setup::kept(&self.config, url)?;
        let head = mirror.remembered(&records_ref(&environment.name))?;
        let tree = mirror.commit(CommitId(head)).ok()?.tree;
        read(&mirror, tree)
    }
}

/// What follows `-c` or `--config`.
fn configured(words: &[String]) -> Option<String> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if matches!(word.as_str(), "-c" | "--config") {
            return words.next().cloned();
        }
        if let Some(value) = word.strip_prefix("--config=") {
            return Some(value.to_owned());
        }
    }
    None
}

/// The releases that a unit's records name, with when they were built.
fn told(unit: &UnitRecords) -> Vec<(jiff::Timestamp, String)> {
    let declined = unit.declined.iter().map(|it| &it.release);
    let proposed = unit.proposal.iter().map(|it| &it.release);
    let all = unit.deployed().chain(declined).chain(proposed);
    all.map(|it| (it.rank.built, it.name.clone())).collect()
}
