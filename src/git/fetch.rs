//! What a mirror fetches: only what is not here, named by what the server need not send.
//!
//! Owns when news goes to the mirror's disk. Never decides what is wanted.

use std::collections::{BTreeSet, HashSet};

use gix::ObjectId;
use tokio::time::Instant;

use super::object::{Commit, Kind, Tag};
use super::remote::{Depth, FetchRequest, Filter};
use super::repository::Repository;
use super::{GitError, locked};
use crate::model::CommitId;

/// Commits named to the server as "already here". More would cost more than they save.
const HAVES_MAX: usize = 128;

/// Refs remembered before those that are gone from the server are forgotten.
const TIPS_MAX: usize = 20_000;

/// A depth that no history has (git's own `INFINITE_DEPTH`).
const DEPTH_ALL: u32 = 0x7fff_ffff;

/// How much a fetch brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The commits named, with their trees and files.
    Tip,
    /// That many commits back from each named one, with their trees and files.
    Depth(u32),
    /// All history, commits only where the server can filter. For mirrors that ask for nothing else.
    Commits,
}

impl Repository {
    /// Sees to it that these objects are here, with as much of what they lead to as `reach` says. No
    /// request when they are.
    ///
    /// # Errors
    /// Any [`GitError`] of the way there, [`GitError::Disk`] where the mirror cannot be written.
    pub async fn fetch(&self, wants: &[ObjectId], reach: Reach) -> Result<(), GitError> {
        self.fetch_alone(wants, reach).await?;
        self.settle_soon();
        Ok(())
    }

    async fn fetch_alone(&self, wants: &[ObjectId], reach: Reach) -> Result<(), GitError> {
        // Nobody waits for what is here.
        let is_spent = self.inner.objects.is_spent();
        if !is_spent && wants.iter().all(|id| self.is_here(id, reach)) {
            return Ok(());
        }
        let _fetching = self.inner.fetching.lock().await;
        if self.blocking(|inner| inner.objects.tidy()).await? {
            locked(&self.inner.tips).clear();
        }
        let wants: Vec<ObjectId> = {
            let distinct: BTreeSet<ObjectId> = wants.iter().copied().collect();
            distinct
                .into_iter()
                .filter(|id| !self.is_here(id, reach))
                .collect()
        };
        if wants.is_empty() {
            return Ok(());
        }
        let (depth, filter) = match reach {
            Reach::Tip => (Depth::Commits(1), Filter::None),
            Reach::Depth(depth) => (Depth::Commits(depth.max(1)), Filter::None),
            Reach::Commits if self.inner.objects.shallow().is_empty() => {
                (Depth::Unlimited, Filter::Trees)
            }
            Reach::Commits => (Depth::Commits(DEPTH_ALL), Filter::Trees),
        };
        self.request(wants, depth, filter).await
    }

    /// Has the few objects that news bring stay in memory, until [`Self::settle`].
    pub fn hold_news(&self) {
        self.inner.objects.hold(true);
    }

    /// Puts what is in memory to the mirror's disk, so that the next process need not fetch it; from here on
    /// everything goes there at once.
    pub async fn settle(&self) {
        self.inner.objects.hold(false);
        let _alone = self.inner.fetching.lock().await;
        if let Err(error) = self.blocking(|inner| inner.objects.settle()).await {
            tracing::warn!(repository = self.address(), %error, "the next process fetches again");
        }
    }

    /// Lets go of what the mirror's disk can give again. For a repository in which nothing happens.
    pub async fn rest(&self) {
        if self.inner.objects.is_at_rest() {
            return;
        }
        let Ok(_alone) = self.inner.settling.try_lock() else {
            return;
        };
        if let Err(error) = self.blocking(|inner| inner.objects.rest()).await {
            tracing::warn!(repository = self.address(), %error, "own objects stay in memory");
        }
    }

    /// Moves the shallow boundary: at least that many commits of the tip's history are here afterwards,
    /// or all of it.
    pub(super) async fn deepen(&self, tip: CommitId, depth: u32) -> Result<(), GitError> {
        let _fetching = self.inner.fetching.lock().await;
        let filter = match self.is_complete(&tip.0, true) {
            true => Filter::None,
            false => Filter::Trees,
        };
        self.request(vec![tip.0], Depth::Commits(depth), filter)
            .await
    }

    /// All of the tip's history, see [`Self::deepen`].
    pub(super) async fn deepen_fully(&self, tip: CommitId) -> Result<(), GitError> {
        self.deepen(tip, DEPTH_ALL).await
    }

    async fn request(
        &self,
        wants: Vec<ObjectId>,
        depth: Depth,
        filter: Filter,
    ) -> Result<(), GitError> {
        let mut anew = false;
        // A mirror of commits alone has no end: it goes to disk as it comes.
        let stays = filter == Filter::None;
        loop {
            let request = FetchRequest {
                wants: wants.clone(),
                haves: self.haves(filter),
                shallow: self.inner.objects.shallow(),
                depth,
                filter,
                spool: self.inner.objects.spool(),
            };
            let began = Instant::now();
            let fetched = self.inner.remote.fetch(&request).await?;
            tracing::trace!(repository = self.address(), ?depth, took = ?began.elapsed(), "objects came");
            let taken = self
                .blocking(move |inner| inner.objects.take(fetched, stays))
                .await;
            match taken {
                Ok(()) => break,
                Err(error) if anew || is_hopeless(&error) => return Err(error),
                // A mirror that cannot take a good pack has lost something: begin anew, once.
                Err(error) => {
                    tracing::warn!(repository = self.address(), %error, "the mirror is made anew");
                    self.blocking(|inner| inner.objects.begin_anew()).await?;
                    locked(&self.inner.tips).clear();
                    anew = true;
                }
            }
        }
        if let Some(id) = wants.iter().find(|id| !self.inner.objects.contains(id)) {
            return Err(GitError::Protocol {
                url: self.address().to_owned(),
                detail: format!("asked for {id}, the answer does not hold it"),
            });
        }
        self.remember_tips(filter);
        let tips = locked(&self.inner.tips).clone();
        self.blocking(move |inner| inner.objects.remember_tips(&tips))
            .await
    }

    /// Whether the object and what `reach` asks of it is here.
    fn is_here(&self, id: &ObjectId, reach: Reach) -> bool {
        match reach {
            Reach::Tip => self.is_complete(id, true),
            Reach::Commits => {
                self.is_complete(id, false) && self.inner.objects.shallow().is_empty()
            }
            Reach::Depth(depth) => self.is_deep(id, depth),
        }
    }

    /// Whether a commit (or a tag of one) is here, with its directory where that is asked. What is
    /// below a directory came with it, too.
    fn is_complete(&self, id: &ObjectId, with_tree: bool) -> bool {
        let objects = &self.inner.objects;
        // What a commit or tag alone leads to came with it.
        if !with_tree {
            return objects.contains(id);
        }
        let Some(object) = objects.find(id) else {
            return false;
        };
        match object.kind {
            Kind::Commit => {
                Commit::parse(&object).is_ok_and(|commit| objects.contains(&commit.tree))
            }
            Kind::Tag => Tag::parse(&object).is_ok_and(|tag| self.is_complete(&tag.target, true)),
            _ => true,
        }
    }

    fn is_deep(&self, id: &ObjectId, depth: u32) -> bool {
        let mut level = vec![*id];
        let mut seen = HashSet::new();
        for _ in 0..depth {
            let mut parents = Vec::new();
            for id in level {
                if !self.is_complete(&id, true) {
                    return false;
                }
                if let Ok(commit) = self.inner.objects.commit(CommitId(id)) {
                    parents.extend(
                        commit
                            .parents
                            .iter()
                            .map(|id| id.0)
                            .filter(|id| seen.insert(*id)),
                    );
                }
            }
            if parents.is_empty() {
                return true;
            }
            level = parents;
        }
        true
    }

    /// Commits the server need not send: the newest that are here of each ref.
    fn haves(&self, filter: Filter) -> Vec<ObjectId> {
        let tips: BTreeSet<ObjectId> = locked(&self.inner.tips).values().copied().collect();
        tips.into_iter()
            .filter(|id| self.is_complete(id, filter == Filter::None))
            .take(HAVES_MAX)
            .collect()
    }

    /// Notes which of the refs seen are here.
    fn remember_tips(&self, filter: Filter) {
        let seen = locked(&self.inner.seen).clone();
        let names: HashSet<String> = seen.keys().cloned().collect();
        let mut tips = locked(&self.inner.tips);
        for (name, shown) in seen {
            let known = tips.get(&name) == Some(&shown.id);
            if !known && self.is_complete(&shown.id, filter == Filter::None) {
                tips.insert(name, shown.id);
            }
        }
        if tips.len() > TIPS_MAX {
            tips.retain(|name, _| names.contains(name));
        }
    }
}

/// Errors that a new mirror would meet again.
fn is_hopeless(error: &GitError) -> bool {
    use std::io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match error {
        GitError::Disk { source, .. } => matches!(
            source.kind(),
            PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull
        ),
        _ => false,
    }
}
