//! Everything that the records of an environment say, for people who ask what happened. No decision reads it.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;
use jiff::Timestamp;

use super::branch::EnvironmentSeen;
use super::{InfraSource, Observatory};
use crate::git::notes::{self, Verified};
use crate::model::record::Record;
use crate::model::{EnvironmentName, RepositoryUrl};
use crate::plan::{Reason, Unreadable};

impl InfraSource {
    /// Every record of an environment as of the last look, in the order in which they were stated.
    ///
    /// # Errors
    /// Why they cannot be read or are not believed, in one sentence.
    pub fn records(&self, environment: &EnvironmentName) -> Result<Vec<Record>, String> {
        let Some(seen) = self.believed(environment)? else {
            return Ok(Vec::new());
        };
        let Some(tree) = seen.records_tree else {
            return Ok(Vec::new());
        };
        let repository = self.reader.repository();
        notes::read_all(repository, tree).map_err(|error| error.to_string())
    }

    /// Whether the records of an environment as of the last look are whole; and as whom the newest that was accepted
    /// is signed, where the environment lists keys.
    ///
    /// # Errors
    /// As [`Self::records`].
    pub fn verify(
        &self,
        environment: &EnvironmentName,
    ) -> Result<(Verified, Option<String>), String> {
        let Some(seen) = self.believed(environment)? else {
            return Ok(Default::default());
        };
        let (Some(tree), Some(head)) = (seen.records_tree, seen.records_head) else {
            return Ok(Default::default());
        };
        let found = notes::verify(self.reader.repository(), environment, tree);
        let found = found.map_err(|error| error.to_string())?;
        Ok((found, self.reader.accepted_by(environment, head)))
    }

    /// The environment as of the last look, if there is any; why its records are not believed.
    fn believed(
        &self,
        environment: &EnvironmentName,
    ) -> Result<Option<Arc<EnvironmentSeen>>, String> {
        let observed = self.source.observed();
        let unreadable = |it: &Unreadable| Reason::Unreadable(it.clone()).to_string();
        let snapshot = observed.read().map_err(unreadable)?;
        let Some(seen) = snapshot.environments.get(environment) else {
            return Ok(None);
        };
        seen.standing.as_ref().map_err(Clone::clone)?;
        Ok(Some(seen.clone()))
    }
}

impl Observatory {
    /// Reads these infra repositories alone, each once.
    pub async fn read_infra<'a>(
        &self,
        urls: impl IntoIterator<Item = &'a RepositoryUrl>,
        now: Timestamp,
    ) {
        let urls: BTreeSet<_> = urls.into_iter().collect();
        let sources = urls.into_iter().filter_map(|url| self.infra.get(url));
        join_all(sources.map(|source| source.read(now))).await;
    }

    /// Reads what releases are known by: registries, source repositories, and the records of every environment.
    pub async fn read_releases(&self, now: Timestamp) {
        let infra = join_all(self.infra.values().map(|source| source.read(now)));
        let tags = join_all(self.tags.values().map(|source| source.read(now)));
        let histories = join_all(self.histories.values().map(|source| source.read(now)));
        drop(tokio::join!(infra, tags, histories));
    }
}
