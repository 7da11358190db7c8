//! An environment's branch beside its records: what was deployed since, what never reached the
//! branch, whether it went backwards, and whether the records are still those that were made.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use gix::ObjectId;
use jiff::Timestamp;

use super::infra::{Anchor, InfraReader, Place};
use crate::git::notes::{self, NotesError, records_ref};
use crate::git::{Commit, End, GitError, Repository};
use crate::model::record::{Cause, Standing, Statement, Verdict};
use crate::model::{ApplicationName, CommitId, EnvironmentName};

/// The furthest that is walked back for recorded deployments.
const WALK_MAX: usize = 10_000;

/// The furthest that records are walked back to what a tag names: it was made a few records ago.
const ANCHOR_MAX: usize = 1_000;

/// How many commits are at hand in any case: who changed what is then told for a unit that was not
/// looked at for a while, too.
const HISTORY_MIN: usize = 64;

/// Commits remembered as behind the head, beyond those that are walked anyway.
const BEHIND_MAX: usize = 4096;

/// One environment of a repository.
#[derive(Debug, PartialEq)]
pub(super) struct EnvironmentSeen {
    pub(super) head: CommitId,
    /// The head's root directory.
    pub(super) tree: ObjectId,
    pub(super) head_since: Timestamp,
    pub(super) records_head: Option<CommitId>,
    pub(super) records_tree: Option<ObjectId>,
    pub(super) standing: Result<Arc<Standing>, String>,
    /// The applications that the records tell of.
    pub(super) recorded: Arc<BTreeSet<ApplicationName>>,
    /// First parents from the head to the oldest deployment that matters, newest first.
    pub(super) history: Vec<Commit>,
    pub(super) behind: Arc<BTreeSet<CommitId>>,
    pub(super) went_back: bool,
    /// Recorded deployments that never reached the branch: a server without atomic push took the
    /// records, and then the push broke off.
    pub(super) unlanded: BTreeSet<CommitId>,
    /// Those of the open deployments that were seen at the head.
    landed: BTreeSet<CommitId>,
}

/// How the branch lies to the deployments that matter.
struct History {
    commits: Vec<Commit>,
    /// Those that are not on the branch.
    missing: BTreeSet<CommitId>,
}

impl InfraReader {
    pub(super) async fn environment(
        &self,
        name: &EnvironmentName,
        place: &Place,
        head: CommitId,
        records: Option<CommitId>,
        before: Option<&Arc<EnvironmentSeen>>,
        now: Timestamp,
    ) -> Result<Arc<EnvironmentSeen>, GitError> {
        if let Some(before) = before.filter(|it| it.head == head && it.records_head == records) {
            return Ok(before.clone());
        }
        let counted = match records {
            Some(records) => self.counted(name, place, records).await?.map(Some),
            None => Ok(None),
        };
        // What does not count is still told of by its name.
        let records_tree = match (&counted, records) {
            (Ok(tree), _) => *tree,
            (Err(_), Some(records)) => Some(self.repository.commit(records)?.tree),
            (Err(_), None) => None,
        };
        let recorded = match (before, records_tree) {
            (Some(before), _) if before.records_tree == records_tree => before.recorded.clone(),
            (before, Some(tree)) => {
                let before = before.and_then(|it| Some((it.records_tree?, it.recorded.clone())));
                notes::recorded(&self.repository, tree, before)?
            }
            (_, None) => Arc::default(),
        };
        let standing = match (self.are_those(name, records).await?, counted) {
            (Ok(()), Ok(_)) => read_standing(&self.repository, records_tree),
            (Err(why), _) | (Ok(()), Err(why)) => Err(why),
        };
        let wanted: BTreeSet<CommitId> = standing.iter().flat_map(|it| matters(it)).collect();
        let history = self.history(head, wanted.clone(), before).await?;
        let mut landed: BTreeSet<CommitId> = before
            .into_iter()
            .flat_map(|before| before.landed.iter().copied().chain([before.head]))
            .collect();
        landed.insert(head);
        landed.retain(|commit| wanted.contains(commit) || *commit == head);
        let (mut unlanded, mut gone) = (BTreeSet::new(), BTreeSet::new());
        for commit in history.missing {
            // Where a push moves all or nothing, what was recorded was there: somebody took it away.
            let never = !landed.contains(&commit)
                && is_only_recorded(&self.repository, records_tree, commit)?
                && !self.repository.is_atomic().await?;
            let found = if never { &mut unlanded } else { &mut gone };
            found.insert(commit);
        }
        let newest = standing.as_ref().ok().and_then(|standing| standing.newest);
        let head_since = match before {
            Some(before) if before.head == head => before.head_since,
            _ => now,
        };
        Ok(Arc::new(EnvironmentSeen {
            head,
            tree: self.repository.commit(head)?.tree,
            head_since,
            records_head: records,
            records_tree,
            standing,
            recorded,
            behind: Arc::new(behind(&history.commits, before.map(Arc::as_ref))),
            history: history.commits,
            went_back: newest.is_some_and(|newest| gone.contains(&newest)),
            unlanded,
            landed,
        }))
    }

    /// The tree of the records that count; why nothing is promoted any more, where none does.
    async fn counted(
        &self,
        name: &EnvironmentName,
        place: &Place,
        records: CommitId,
    ) -> Result<Result<ObjectId, String>, GitError> {
        let authority = &place.authority;
        let judge = || notes::counted(&self.repository, name, records, authority);
        let mut judged = judge();
        // What others put on top since may go back further than what is here.
        if let Err(NotesError::Git(GitError::Missing { .. })) = judged {
            let (repository, trusted) = (self.repository.clone(), authority.clone());
            let stop = move |commit: &Commit| {
                notes::accepted_by(&repository, commit.id, &trusted).is_some()
            };
            let walk = self
                .repository
                .first_parents(records, &stop, notes::OPEN_MAX);
            walk.await?;
            judged = judge();
        }
        match judged {
            Ok(tree) => Ok(Ok(tree)),
            Err(NotesError::Git(error)) => Err(error),
            Err(error) => Ok(Err(error.to_string())),
        }
    }

    /// The directory of the records that counted at an earlier head.
    ///
    /// # Errors
    /// Why they cannot be told.
    pub async fn records_at(
        &self,
        environment: &EnvironmentName,
        records: CommitId,
    ) -> Result<ObjectId, String> {
        let Some(place) = self.places.get(environment) else {
            return Err(format!("{environment} is not read here"));
        };
        let counted = self.counted(environment, place, records).await;
        counted.map_err(|error| error.to_string())?
    }

    /// As whom the newest records are signed that were accepted as a whole.
    pub(super) fn accepted_by(&self, name: &EnvironmentName, records: CommitId) -> Option<String> {
        let authority = &self.places.get(name)?.authority;
        let mut next = Some(records);
        for _ in 0..notes::OPEN_MAX {
            let commit = self.repository.commit(next?).ok()?;
            if let Some(who) = notes::accepted_by(&self.repository, commit.id, authority) {
                return Some(who.who.clone());
            }
            next = commit.parents.first().copied();
        }
        None
    }

    /// First parents back to every deployment that matters.
    async fn history(
        &self,
        head: CommitId,
        wanted: BTreeSet<CommitId>,
        before: Option<&Arc<EnvironmentSeen>>,
    ) -> Result<History, GitError> {
        let known = before.map(|before| before.head);
        let open = Mutex::new(wanted.clone());
        let stop = |commit: &Commit| {
            let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
            open.remove(&commit.id);
            open.is_empty() || Some(commit.id) == known
        };
        let mut walk = self.repository.first_parents(head, &stop, WALK_MAX).await?;
        // What lies behind the head that was seen before is known from then.
        if let Some(before) = before
            && walk.commits.last().map(|commit| commit.id) == known
        {
            walk.commits.extend(before.history.iter().skip(1).cloned());
        }
        let mut missing = wanted;
        let mut needed = 0;
        for (index, commit) in walk.commits.iter().enumerate() {
            if missing.remove(&commit.id) {
                needed = index;
            }
        }
        if !missing.is_empty() && walk.end == End::Stop {
            let open = Mutex::new(missing.clone());
            let stop = |commit: &Commit| {
                let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
                open.remove(&commit.id);
                open.is_empty()
            };
            walk = self.repository.first_parents(head, &stop, WALK_MAX).await?;
            missing = open.into_inner().unwrap_or_else(PoisonError::into_inner);
            needed = walk.commits.len();
        }
        // Beyond the limit nothing is known, so nothing is called missing.
        if walk.end == End::Limit {
            missing.clear();
        }
        let oldest = walk.commits.last().map(|commit| commit.id);
        if let Some(oldest) = oldest.filter(|_| walk.commits.len() < HISTORY_MIN) {
            let left = HISTORY_MIN - walk.commits.len() + 1;
            let more = self
                .repository
                .first_parents(oldest, &|_| false, left)
                .await?;
            walk.commits.extend(more.commits.into_iter().skip(1));
        }
        if missing.is_empty() {
            walk.commits.truncate((needed + 1).max(HISTORY_MIN));
        }
        Ok(History {
            commits: walk.commits,
            missing,
        })
    }

    /// Whether the records descend from what was seen of them, or from what the newest deployment
    /// tag names; if not, why nothing is promoted any more.
    async fn are_those(
        &self,
        name: &EnvironmentName,
        records: Option<CommitId>,
    ) -> Result<Result<(), String>, GitError> {
        let anchor = self.anchor(name);
        let reference = records_ref(name);
        let Some(records) = records else {
            return Ok(match anchor {
                Some(Anchor { records, named_by }) => Err(format!(
                    "{reference} is gone, though {named_by} tells of records {}",
                    records.short()
                )),
                None => Ok(()),
            });
        };
        if let Some(anchor) = anchor.filter(|anchor| anchor.records != records) {
            let sought = anchor.records;
            let stop = move |commit: &Commit| commit.id == sought;
            let walk = self
                .repository
                .first_parents(records, &stop, ANCHOR_MAX)
                .await?;
            if walk.end == End::Root {
                return Ok(Err(format!(
                    "{reference} was rewritten: it does not hold records {}, of which {} tells",
                    sought.short(),
                    anchor.named_by
                )));
            }
        }
        let named_by = "an earlier look".to_owned();
        self.trust(name, Anchor { records, named_by });
        Ok(Ok(()))
    }
}

fn read_standing(repository: &Repository, tree: Option<ObjectId>) -> Result<Arc<Standing>, String> {
    let Some(tree) = tree else {
        return Ok(Arc::default());
    };
    let standing = notes::read_standing(repository, tree).map_err(|error| error.to_string())?;
    Ok(Arc::new(standing))
}

/// Commits known to be behind the head, itself included: also those that were behind a head which is
/// behind this one.
fn behind(history: &[Commit], before: Option<&EnvironmentSeen>) -> BTreeSet<CommitId> {
    let mut behind: BTreeSet<CommitId> = history.iter().map(|commit| commit.id).collect();
    let parent = history.last().and_then(|oldest| oldest.parents.first());
    behind.extend(parent);
    if let Some(before) = before
        && before.behind.len() < BEHIND_MAX
        && behind.contains(&before.head)
    {
        behind.extend(before.behind.iter());
    }
    behind
}

/// The newest deployment, and those whose end is not settled.
fn matters(standing: &Standing) -> impl Iterator<Item = CommitId> + '_ {
    let open = standing.open.iter().map(|open| open.commit);
    open.chain(standing.newest)
}

/// Whether all that is known of a deployment is that Towpath was about to write it.
fn is_only_recorded(
    repository: &Repository,
    tree: Option<ObjectId>,
    commit: CommitId,
) -> Result<bool, GitError> {
    let Some(tree) = tree else {
        return Ok(false);
    };
    let Ok(note) = notes::read_note(repository, tree, commit) else {
        return Ok(false);
    };
    let planned = |statement: &Statement| {
        matches!(
            statement,
            Statement::Deployment {
                cause: Cause::Automation | Cause::Rollback,
                ..
            } | Statement::Verdict {
                verdict: Verdict::Superseded,
                ..
            }
        )
    };
    Ok(!note.is_empty() && note.iter().all(|record| planned(&record.statement)))
}
