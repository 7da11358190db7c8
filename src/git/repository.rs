//! One kept mirror of a server's repository.
//!
//! Owns what is here of it (objects, the refs last seen) and when the server is asked: never for
//! what is already here. All of it may be lost at any time and is fetched again.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use gix::ObjectId;

use super::draft::Draft;
use super::object::{Commit, Kind, Object, Tag};
use super::objects::{Change, Found, Objects};
use super::remote::{Depth, FetchRequest, Filter, Ref, Refs, Remote};
use super::tree::Tree;
use super::{GitError, Signer, locked};
use crate::model::CommitId;

/// Commits named to the server as "already here". More would cost more than they save.
const HAVES_MAX: usize = 128;

/// Refs remembered before those that are gone from the server are forgotten.
const TIPS_MAX: usize = 20_000;

/// Values of refs remembered as our own.
const OWN_MAX: usize = 256;

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

/// A mirror of one repository. A clone is the same mirror.
#[derive(Clone)]
pub struct Repository {
    pub(super) inner: Arc<Inner>,
    /// Who signs its new commits.
    pub(super) signer: Option<Arc<Signer>>,
}

pub(super) struct Inner {
    pub(super) remote: Arc<dyn Remote>,
    pub(super) objects: Arc<Objects>,
    seen: Mutex<Refs>,
    /// Refs whose commit is here with all it leads to: what the server need not send again.
    tips: Mutex<BTreeMap<String, ObjectId>>,
    /// The newest values that pushes of ours gave to refs.
    own: Mutex<VecDeque<ObjectId>>,
    /// One fetch at a time: a second that wants the same finds it done.
    pub(super) fetching: Arc<tokio::sync::Mutex<()>>,
    /// Whether the server moves several refs as one, once it told, or a push was refused for it.
    pub(super) atomic: Mutex<Option<bool>>,
}

impl Repository {
    /// A mirror below this directory. Several processes may name the same one.
    ///
    /// # Errors
    /// [`GitError::Disk`] where the directory cannot be made or written.
    pub fn on_disk(remote: Arc<dyn Remote>, directory: &Path) -> Result<Self, GitError> {
        let objects = Objects::on_disk(remote.address(), directory)?;
        Ok(Self::new(remote, objects))
    }

    /// A mirror that lives as long as the process, for simulation and tests.
    pub fn in_memory(remote: Arc<dyn Remote>) -> Self {
        let objects = Objects::in_memory(remote.address());
        Self::new(remote, objects)
    }

    /// Another mirror of the same, in memory: what is read of it for another purpose does not change how deep this
    /// one goes.
    pub fn beside(&self) -> Self {
        Self::in_memory(self.inner.remote.clone())
    }

    fn new(remote: Arc<dyn Remote>, objects: Objects) -> Self {
        let tips = objects.tips();
        Self {
            inner: Arc::new(Inner {
                remote,
                objects: Arc::new(objects),
                seen: Mutex::default(),
                tips: Mutex::new(tips),
                own: Mutex::default(),
                fetching: Arc::default(),
                atomic: Mutex::default(),
            }),
            signer: None,
        }
    }

    /// The repository's address, for people.
    pub fn address(&self) -> &str {
        self.inner.remote.address()
    }

    /// Asks whether we may push. Nothing is sent.
    ///
    /// # Errors
    /// Any [`GitError`] of the way there; [`GitError::Forbidden`] and its like where we may not.
    pub async fn receives(&self) -> Result<(), GitError> {
        self.inner.remote.receives().await.map(drop)
    }

    /// Whether the server moves several refs as one, as far as it tells us: whoever may not push is not told, and
    /// then it is not known to. Asked once.
    ///
    /// # Errors
    /// Any [`GitError`] that goes by.
    pub async fn is_atomic(&self) -> Result<bool, GitError> {
        let known = *locked(&self.inner.atomic);
        if let Some(atomic) = known {
            return Ok(atomic);
        }
        let atomic = match self.inner.remote.receives().await {
            Ok(atomic) => atomic,
            Err(error) if error.is_transient() => return Err(error),
            Err(_) => return Ok(false),
        };
        Ok(*locked(&self.inner.atomic).get_or_insert(atomic))
    }

    /// Asks the server for the refs under these prefixes, and remembers them.
    ///
    /// # Errors
    /// Any [`GitError`] of the way there.
    pub async fn look(&self, prefixes: &[String]) -> Result<Refs, GitError> {
        let refs = self.inner.remote.advertise(prefixes).await?;
        let mut seen = locked(&self.inner.seen);
        seen.retain(|name, _| {
            !prefixes
                .iter()
                .any(|prefix| name.starts_with(prefix.as_str()))
        });
        seen.extend(refs.iter().map(|(name, shown)| (name.clone(), *shown)));
        Ok(refs)
    }

    /// The refs as they were last seen, or moved by our own pushes since. No request.
    pub fn seen(&self) -> Refs {
        locked(&self.inner.seen).clone()
    }

    /// Where a ref stood when what it leads to was last brought here, also by an earlier process. No request.
    pub fn remembered(&self, name: &str) -> Option<ObjectId> {
        locked(&self.inner.tips).get(name).copied()
    }

    /// One of [`Self::seen`].
    pub fn seen_at(&self, name: &str) -> Option<Ref> {
        locked(&self.inner.seen).get(name).copied()
    }

    /// Sees to it that these objects are here, with as much of what they lead to as `reach` says. No
    /// request when they are.
    ///
    /// # Errors
    /// Any [`GitError`] of the way there, [`GitError::Disk`] where the mirror cannot be written.
    pub async fn fetch(&self, wants: &[ObjectId], reach: Reach) -> Result<(), GitError> {
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

    /// Lets go of what the mirror's disk can give again. For a repository in which nothing happens.
    pub async fn rest(&self) {
        if self.inner.objects.is_at_rest() {
            return;
        }
        // Where something is fetched it does not rest.
        let Ok(_alone) = self.inner.fetching.try_lock() else {
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
        loop {
            let request = FetchRequest {
                wants: wants.clone(),
                haves: self.haves(filter),
                shallow: self.inner.objects.shallow(),
                depth,
                filter,
                spool: self.inner.objects.spool(),
            };
            let fetched = self.inner.remote.fetch(&request).await?;
            let taken = self
                .blocking(move |inner| inner.objects.take(fetched))
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

    /// Runs file work where it cannot hold up others. A mirror without files has none.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, GitError> + Send + 'static,
    ) -> Result<T, GitError> {
        let inner = Arc::clone(&self.inner);
        if inner.objects.is_in_memory() {
            return work(&inner);
        }
        match tokio::task::spawn_blocking(move || work(&inner)).await {
            Ok(done) => done,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
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

    /// Whether a push of ours gave this value to a ref, as far as is remembered.
    pub fn is_own(&self, id: ObjectId) -> bool {
        locked(&self.inner.own).contains(&id)
    }

    /// Notes what a push of ours moved.
    pub(super) fn moved(&self, name: &str, to: Option<ObjectId>) {
        let mut seen = locked(&self.inner.seen);
        let mut own = locked(&self.inner.own);
        own.extend(to);
        let surplus = own.len().saturating_sub(OWN_MAX);
        own.drain(..surplus);
        drop(own);
        match to {
            Some(id) => {
                let peeled = self.inner.objects.tag(&id).ok().map(|tag| tag.target);
                seen.insert(name.to_owned(), Ref { id, peeled });
                locked(&self.inner.tips).insert(name.to_owned(), id);
            }
            None => {
                seen.remove(name);
            }
        }
    }

    /// An object of any kind.
    ///
    /// # Errors
    /// [`GitError::Missing`] where it is not here.
    pub fn object(&self, id: ObjectId) -> Result<Object, GitError> {
        self.inner.objects.object(&id)
    }

    /// A commit.
    ///
    /// # Errors
    /// [`GitError::Missing`] where it is not here, [`GitError::Object`] where it is no commit.
    pub fn commit(&self, id: CommitId) -> Result<Commit, GitError> {
        self.inner.objects.commit(id)
    }

    /// An annotated tag.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn tag(&self, id: ObjectId) -> Result<Tag, GitError> {
        self.inner.objects.tag(&id)
    }

    /// A directory. The ones read last are kept parsed.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn tree(&self, id: ObjectId) -> Result<Arc<Tree>, GitError> {
        self.inner.objects.tree(&id)
    }

    /// A file's content.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn blob(&self, id: ObjectId) -> Result<Bytes, GitError> {
        self.inner.objects.blob(&id)
    }

    /// What stands at a path below a directory; the empty path is the directory itself.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn lookup(&self, tree: ObjectId, path: &str) -> Result<Option<Found>, GitError> {
        self.inner.objects.lookup(tree, path)
    }

    /// The files that differ between two directories, by path; only directories that differ are read.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn changed(
        &self,
        old: Option<ObjectId>,
        new: Option<ObjectId>,
    ) -> Result<Vec<Change>, GitError> {
        self.inner.objects.changed(old, new)
    }

    /// Keeps what was drafted, for whoever reads it here.
    pub(super) fn keep(&self, draft: Draft) {
        self.inner.objects.keep(draft.into_objects());
    }

    /// A place for new objects.
    pub fn draft(&self) -> Draft {
        Draft::over(Arc::clone(&self.inner.objects))
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
