//! What an application's source repository says of its releases: which commit descends from which, and
//! which one a tag names.
//!
//! Commits only, where the server can filter. A release built from a commit ranks below every
//! release of a descendant, whenever it was built.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use super::source::Failed;
use crate::git::{Commit, GitError, Reach, Repository};
use crate::model::CommitId;

/// A source repository's commits, and which of them are tagged.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    commits: BTreeMap<CommitId, Node>,
    tags: BTreeMap<String, CommitId>,
}

/// The commits that one commit has behind it and another has not.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Between {
    /// The newest of them, newest first.
    pub newest: Vec<Commit>,
    /// How many there are in all.
    pub count: usize,
}

#[derive(Debug, Clone, PartialEq)]
struct Node {
    parents: Vec<CommitId>,
    at: Timestamp,
}

impl History {
    /// The commit that this (maybe shortened) id names, if exactly one does.
    pub fn find(&self, id: &str) -> Option<CommitId> {
        if let Ok(id) = id.parse::<CommitId>() {
            return self.commits.contains_key(&id).then_some(id);
        }
        // The least id that begins so; what begins so follows it.
        let least = format!("{id:0<40}").parse::<CommitId>().ok()?;
        let mut found = self
            .commits
            .range(least..)
            .map(|(commit, _)| *commit)
            .take_while(|commit| commit.to_string().starts_with(id));
        let first = found.next();
        first.filter(|_| found.next().is_none())
    }

    /// The commit that a tag of the repository points to.
    pub fn tagged(&self, tag: &str) -> Option<CommitId> {
        self.tags.get(tag).copied()
    }

    /// When a commit was made.
    pub fn time(&self, id: CommitId) -> Option<Timestamp> {
        self.commits.get(&id).map(|node| node.at)
    }

    /// The commits that `after` has behind it, itself included, and `before` has not: newest first.
    fn between(&self, before: CommitId, after: CommitId) -> Vec<CommitId> {
        let old: HashSet<CommitId> = self
            .newest_first(std::iter::once(before))
            .into_iter()
            .collect();
        let mut new = self.newest_first(std::iter::once(after));
        new.retain(|commit| !old.contains(commit));
        // Where branches met, by their time; a child that is dated before its parent stays before it
        // only by chance, which people can live with.
        new.sort_by_key(|commit| std::cmp::Reverse(self.time(*commit)));
        new
    }

    /// For each of these commits, just before the oldest time at which a descendant of it was built.
    pub fn bounds(&self, built: &BTreeMap<CommitId, Timestamp>) -> BTreeMap<CommitId, Timestamp> {
        let mut bounds: HashMap<CommitId, Timestamp> = HashMap::new();
        for commit in self.newest_first(built.keys().copied()) {
            let inherited = bounds.get(&commit).copied();
            let own = built.get(&commit).copied();
            let passed_on = match (inherited, own) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            let (Some(passed_on), Some(node)) = (passed_on, self.commits.get(&commit)) else {
                continue;
            };
            for parent in &node.parents {
                let bound = bounds.entry(*parent).or_insert(passed_on);
                *bound = passed_on.min(*bound);
            }
        }
        let just_before = |at: Timestamp| {
            at.checked_sub(jiff::SignedDuration::from_nanos(1))
                .unwrap_or(at)
        };
        built
            .keys()
            .filter_map(|commit| Some((*commit, just_before(*bounds.get(commit)?))))
            .collect()
    }

    /// These commits and all behind them, children before parents (Kahn's algorithm).
    fn newest_first(&self, tips: impl Iterator<Item = CommitId>) -> Vec<CommitId> {
        let mut children: HashMap<CommitId, usize> = HashMap::new();
        let mut open: Vec<CommitId> = tips.collect();
        for tip in &open {
            children.insert(*tip, 0);
        }
        let mut reached = open.clone();
        while let Some(commit) = open.pop() {
            for parent in self
                .commits
                .get(&commit)
                .into_iter()
                .flat_map(|node| &node.parents)
            {
                match children.entry(*parent) {
                    std::collections::hash_map::Entry::Occupied(mut entry) => *entry.get_mut() += 1,
                    std::collections::hash_map::Entry::Vacant(entry) => {
                        entry.insert(1);
                        open.push(*parent);
                        reached.push(*parent);
                    }
                }
            }
        }
        let mut free: Vec<CommitId> = reached
            .iter()
            .filter(|commit| children.get(*commit) == Some(&0))
            .copied()
            .collect();
        let mut order = Vec::with_capacity(reached.len());
        while let Some(commit) = free.pop() {
            order.push(commit);
            for parent in self
                .commits
                .get(&commit)
                .into_iter()
                .flat_map(|node| &node.parents)
            {
                if let Some(left) = children.get_mut(parent) {
                    *left -= 1;
                    if *left == 0 {
                        free.push(*parent);
                    }
                }
            }
        }
        order
    }
}

/// Reads a source repository.
pub struct HistoryReader {
    repository: Repository,
    known: Mutex<Arc<History>>,
}

impl HistoryReader {
    /// Reads this repository.
    pub fn new(repository: Repository) -> Self {
        Self {
            repository,
            known: Mutex::default(),
        }
    }

    /// The mirror.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// What was read so far; `None`: nothing.
    pub fn known(&self) -> Option<Arc<History>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        (!known.commits.is_empty()).then(|| known.clone())
    }

    /// The source commits between two that are known, the newest `most` of them in full.
    pub fn between(&self, before: CommitId, after: CommitId, most: usize) -> Between {
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let commits = known.between(before, after);
        let newest = commits.iter().take(most);
        Between {
            newest: newest
                .filter_map(|id| self.repository.commit(*id).ok())
                .collect(),
            count: commits.len(),
        }
    }

    /// Looks at branches and tags and brings what is new.
    ///
    /// # Errors
    /// Says what the server, or the mirror, answered.
    pub async fn read(&self) -> Result<Arc<History>, Failed> {
        let failed = |error: GitError| Failed {
            why: error.to_string(),
            retry_after: error.retry_after(),
        };
        let prefixes = ["refs/heads/".to_owned(), "refs/tags/".to_owned()];
        let refs = self.repository.look(&prefixes).await.map_err(failed)?;
        let tips: Vec<CommitId> = refs.values().map(|shown| shown.commit()).collect();
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let tagged = refs.iter().filter_map(|(name, shown)| {
            let tag = name.strip_prefix("refs/tags/")?;
            Some((tag.to_owned(), shown.commit()))
        });
        let tags: BTreeMap<String, CommitId> = tagged.collect();
        let unknown: Vec<_> = tips
            .iter()
            .filter(|tip| !known.commits.contains_key(tip))
            .collect();
        if unknown.is_empty() && tags == known.tags {
            return Ok(known);
        }
        if !unknown.is_empty() {
            let wants: Vec<_> = unknown.iter().map(|tip| tip.0).collect();
            let fetched = self.repository.fetch(&wants, Reach::Commits);
            fetched.await.map_err(failed)?;
        }
        let mut history = History::clone(&known);
        history.tags = tags;
        let mut open: Vec<CommitId> = unknown.into_iter().copied().collect();
        while let Some(id) = open.pop() {
            // A tag of something else than a commit builds nothing.
            let Ok(commit) = self.repository.commit(id) else {
                continue;
            };
            let node = Node {
                parents: commit.parents.clone(),
                at: commit.committer.time,
            };
            if history.commits.insert(id, node).is_none() {
                open.extend(
                    commit
                        .parents
                        .iter()
                        .filter(|it| !history.commits.contains_key(it)),
                );
            }
        }
        let history = Arc::new(history);
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = history.clone();
        Ok(history)
    }
}

#[cfg(test)]
mod tests;
