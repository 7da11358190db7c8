//! Whom news of an infra repository may concern, so that nobody else's round is run for it.

use std::collections::{BTreeMap, BTreeSet};

use super::infra::{InfraReader, Snapshot};
use crate::model::{ApplicationName, Environment, EnvironmentName};

/// Whom a change of an infra repository may concern.
pub enum Concerned {
    /// Everybody who has an environment there.
    All,
    /// Units by their directories or their records.
    Some {
        /// Changed files, by environment.
        paths: BTreeMap<EnvironmentName, Vec<String>>,
        /// Units whose records or proposal changed.
        units: BTreeSet<(EnvironmentName, ApplicationName)>,
    },
}

impl Concerned {
    /// Whether this unit is concerned.
    pub fn is(&self, environment: &Environment, application: &ApplicationName) -> bool {
        let Self::Some { paths, units } = self else {
            return true;
        };
        let directories = environment.manifests.iter().chain(&environment.patches);
        let below = |path: &String| {
            directories.clone().any(|directory| {
                path.strip_prefix(directory.as_str())
                    .is_some_and(|rest| rest.starts_with('/'))
            })
        };
        units.contains(&(environment.name.clone(), application.clone()))
            || paths
                .get(&environment.name)
                .is_some_and(|paths| paths.iter().any(below))
    }
}

impl InfraReader {
    /// Whom the change from one snapshot to the next may concern.
    pub fn concerned(&self, before: &Snapshot, after: &Snapshot) -> Concerned {
        self.try_concerned(before, after).unwrap_or(Concerned::All)
    }

    fn try_concerned(&self, before: &Snapshot, after: &Snapshot) -> Option<Concerned> {
        let (mut paths, mut units) = (BTreeMap::new(), BTreeSet::new());
        for environment in self.places.keys() {
            let old = before.environments.get(environment)?;
            let new = after.environments.get(environment)?;
            if old.standing.as_ref().ok()?.hold != new.standing.as_ref().ok()?.hold
                || old.standing.as_ref().ok()?.failed != new.standing.as_ref().ok()?.failed
                || old.went_back != new.went_back
                || old.unlanded != new.unlanded
            {
                return None;
            }
            if old.head != new.head {
                let old = self.repository.commit(old.head).ok()?.tree;
                let new = self.repository.commit(new.head).ok()?.tree;
                let changed = self.repository.changed(Some(old), Some(new)).ok()?;
                paths.insert(
                    environment.clone(),
                    changed.into_iter().map(|it| it.path).collect(),
                );
            }
            if old.records_tree != new.records_tree {
                let changed = self
                    .repository
                    .changed(old.records_tree, new.records_tree)
                    .ok()?;
                let present = changed
                    .iter()
                    .filter_map(|it| it.path.strip_prefix("present/applications/"));
                units.extend(
                    present.filter_map(|name| Some((environment.clone(), name.parse().ok()?))),
                );
            }
            let prefix = format!("refs/heads/towpath/{environment}/");
            for name in before.refs.keys().chain(after.refs.keys()) {
                if let Some(application) = name.strip_prefix(&prefix)
                    && before.refs.get(name) != after.refs.get(name)
                {
                    units.insert((environment.clone(), application.parse().ok()?));
                }
            }
        }
        Some(Concerned::Some { paths, units })
    }
}
