//! What the units of an environment would be, were something merged into its branch: people's own requests,
//! and what a merge queue is about to merge. Brings what is missing; decides nothing.

use std::sync::Arc;

use gix::ObjectId;
use jiff::Timestamp;

use super::desired::{Inputs, Unknown};
use super::infra::{InfraReader, Snapshot};
use crate::git::{Commit, End, GitError, Merged, Reach};
use crate::manifest::Rendered;
use crate::model::{CommitId, Environment, EnvironmentName};

/// The furthest that people's commits are followed back to where they left the branch.
const AWAY_MAX: usize = 200;

/// What a unit would be.
#[derive(Debug, Clone)]
pub enum WouldBe {
    /// What it is: nothing that it is made from would change.
    Same,
    /// This.
    Asks(Arc<Rendered>),
    /// Nothing that can be rendered: why.
    Broken(String),
    /// That cannot be told now: why.
    Unknown(String),
}

impl InfraReader {
    /// The branch's directory once this commit, which stands elsewhere, is merged into it.
    ///
    /// # Errors
    /// [`GitError`] where the commit is not to be had.
    pub async fn merged(
        &self,
        environment: &EnvironmentName,
        snapshot: &Snapshot,
        commit: CommitId,
    ) -> Result<Option<Merged>, GitError> {
        let Some(seen) = snapshot.environments.get(environment) else {
            return Ok(None);
        };
        self.repository.fetch(&[commit.0], Reach::Tip).await?;
        let behind = seen.behind.clone();
        let stop = move |commit: &Commit| behind.contains(&commit.id);
        let walk = self
            .repository
            .first_parents(commit, &stop, AWAY_MAX)
            .await?;
        let left = walk.commits.last().filter(|_| walk.end == End::Stop);
        let (Some(left), Some(tip)) = (left, walk.commits.first()) else {
            return Ok(None);
        };
        // Of what the branch was then, only the newest directories are here.
        self.repository.fetch(&[left.id.0], Reach::Tip).await?;
        let merged = self.repository.merged(left.tree, seen.tree, tip.tree)?;
        Ok(Some(merged))
    }

    /// The directory of a commit that stands on the branch's head already.
    ///
    /// # Errors
    /// As [`Self::merged`].
    pub async fn queued(&self, commit: CommitId) -> Result<ObjectId, GitError> {
        self.repository.fetch(&[commit.0], Reach::Tip).await?;
        Ok(self.repository.commit(commit)?.tree)
    }

    /// What a unit would be in this directory, as its branch was last seen.
    ///
    /// # Errors
    /// [`GitError`] where the directory is not here.
    pub fn would_be(
        &self,
        environment: &Environment,
        snapshot: &Snapshot,
        tree: ObjectId,
        now: Timestamp,
    ) -> Result<WouldBe, GitError> {
        let Some(seen) = snapshot.environments.get(&environment.name) else {
            return Ok(WouldBe::Unknown("its branch is not there".to_owned()));
        };
        let inputs = self.inputs(environment, tree)?;
        if inputs == self.inputs(environment, seen.tree)? {
            return Ok(WouldBe::Same);
        }
        let made = self.make(environment, tree, &inputs, &Inputs::default(), None, now);
        Ok(match made {
            Ok(desired) => WouldBe::Asks(desired.rendered),
            Err(Unknown::Broken(why)) => WouldBe::Broken(why),
            Err(Unknown::Sealed(sealed)) => WouldBe::Unknown(sealed.why),
            Err(Unknown::Git(error)) => return Err(error),
        })
    }
}
