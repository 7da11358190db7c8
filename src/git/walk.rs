//! Going back in history. Owns the rule that nothing is decided across a shallow boundary: a commit
//! whose parents are not here is a reason to fetch, never an end.

use std::collections::HashSet;

use super::GitError;
use super::object::Commit;
use super::repository::Repository;
use crate::model::CommitId;

/// Commits asked for at first when a walk meets the boundary; each further request doubles.
const DEEPEN_MIN: u32 = 32;

/// Why a walk ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The last commit is the one that the caller was looking for.
    Stop,
    /// The last commit has no parent.
    Root,
    /// As many commits as the caller allowed.
    Limit,
}

/// A piece of history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walk {
    /// Newest first.
    pub commits: Vec<Commit>,
    /// Why there are no more.
    pub end: End,
}

impl Repository {
    /// First parents from the tip backwards, up to and including the first commit where `stop` says
    /// so, but not more than `limit`. Fetches what is missing.
    ///
    /// # Errors
    /// Any [`GitError`] of the way to the server.
    pub async fn first_parents(
        &self,
        tip: CommitId,
        stop: &(dyn Fn(&Commit) -> bool + Send + Sync),
        limit: usize,
    ) -> Result<Walk, GitError> {
        let mut commits = Vec::new();
        let mut next = Some(tip);
        let mut depth = DEEPEN_MIN;
        while let Some(id) = next {
            if commits.len() == limit {
                return Ok(Walk {
                    commits,
                    end: End::Limit,
                });
            }
            let commit = match self.commit(id) {
                Ok(commit) => commit,
                Err(GitError::Missing { .. }) => {
                    let walked = u32::try_from(commits.len()).unwrap_or(u32::MAX);
                    depth = depth.max(walked.saturating_add(1)).saturating_mul(2);
                    self.deepen(tip, depth).await?;
                    self.commit(id)?
                }
                Err(error) => return Err(error),
            };
            let stopped = stop(&commit);
            next = commit.parents.first().copied();
            commits.push(commit);
            if stopped {
                return Ok(Walk {
                    commits,
                    end: End::Stop,
                });
            }
        }
        Ok(Walk {
            commits,
            end: End::Root,
        })
    }

    /// Whether `descendant` is `ancestor` or was made after it. Fetches the history that is missing.
    ///
    /// # Errors
    /// Any [`GitError`] of the way to the server.
    pub async fn is_ancestor(
        &self,
        ancestor: CommitId,
        descendant: CommitId,
    ) -> Result<bool, GitError> {
        match self.search(ancestor, descendant)? {
            Some(answer) => Ok(answer),
            None => {
                self.deepen_fully(descendant).await?;
                // After all history was asked for, what is still missing is the server's fault.
                self.search(ancestor, descendant)?
                    .ok_or_else(|| GitError::Protocol {
                        url: self.address().to_owned(),
                        detail: format!(
                            "the history of {descendant} was asked for and came with gaps"
                        ),
                    })
            }
        }
    }

    /// The answer, or nothing where the boundary hides it.
    fn search(&self, ancestor: CommitId, descendant: CommitId) -> Result<Option<bool>, GitError> {
        let mut open = vec![descendant];
        let mut seen = HashSet::from([descendant]);
        let mut hidden = false;
        while let Some(id) = open.pop() {
            if id == ancestor {
                return Ok(Some(true));
            }
            match self.commit(id) {
                Ok(commit) => open.extend(commit.parents.into_iter().filter(|id| seen.insert(*id))),
                Err(GitError::Missing { .. }) => hidden = true,
                Err(error) => return Err(error),
            }
        }
        Ok((!hidden).then_some(false))
    }
}
