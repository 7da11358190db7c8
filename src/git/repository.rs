//! One kept mirror of a server's repository.
//!
//! Owns what is here of it (objects, the refs last seen) and when the server is asked: never for
//! what is already here. All of it may be lost at any time and is fetched again.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use gix::ObjectId;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::draft::Draft;
use super::meanwhile::{Look, Meanwhile};
use super::object::{Commit, Object, Tag};
use super::objects::{Change, Found, Objects};
use super::remote::{Ref, RefUpdate, Refs, Remote};
use super::tree::Tree;
use super::{Committer, GitError, Signer, locked};
use crate::model::CommitId;

/// Values of refs remembered as our own.
const OWN_MAX: usize = 256;

/// A mirror of one repository. A clone is the same mirror.
#[derive(Clone)]
pub struct Repository {
    pub(super) inner: Arc<Inner>,
    /// Who signs its new commits.
    pub(super) signer: Option<Arc<Signer>>,
    /// Who makes its new commits on branches, where we do not.
    pub(super) committer: Option<Arc<dyn Committer>>,
    /// Where the ends of its pushes are read.
    pub(super) ends: Option<TaskTracker>,
}

pub(super) struct Inner {
    pub(super) remote: Arc<dyn Remote>,
    pub(super) objects: Arc<Objects>,
    pub(super) seen: Mutex<Refs>,
    /// Refs whose commit is here with all it leads to: what the server need not send again.
    pub(super) tips: Mutex<BTreeMap<String, ObjectId>>,
    /// The newest values that pushes of ours gave to refs.
    own: Mutex<VecDeque<ObjectId>>,
    /// What pushes of ours move while the server is asked where its refs are.
    meanwhile: Mutex<Meanwhile>,
    /// One fetch at a time: a second that wants the same finds it done.
    pub(super) fetching: tokio::sync::Mutex<()>,
    /// One at a time puts to disk what is in memory.
    pub(super) settling: Arc<tokio::sync::Mutex<()>>,
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
                meanwhile: Mutex::default(),
                fetching: tokio::sync::Mutex::default(),
                settling: Arc::default(),
                atomic: Mutex::default(),
            }),
            signer: None,
            committer: None,
            ends: None,
        }
    }

    /// The same mirror, whose pushes are done once the server has reported so. What it still says then is
    /// read there: whoever ends waits for that, or a server may break off what follows a push.
    #[must_use]
    pub fn ending_in(mut self, ends: TaskTracker) -> Self {
        self.ends = Some(ends);
        self
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
        let began = Instant::now();
        let look = Look::begin(&self.inner.meanwhile);
        let mut refs = self.inner.remote.advertise(prefixes).await?;
        tracing::trace!(repository = self.address(), refs = refs.len(), took = ?began.elapsed(), "refs were read");
        let mut seen = locked(&self.inner.seen);
        look.catch_up(&mut refs, prefixes);
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

    /// Those of [`Self::seen`] whose names begin so.
    pub fn seen_below(&self, prefix: &str) -> Refs {
        let seen = locked(&self.inner.seen);
        let below = seen.range(prefix.to_owned()..);
        let below = below.take_while(|(name, _)| name.starts_with(prefix));
        below.map(|(name, shown)| (name.clone(), *shown)).collect()
    }

    /// One of [`Self::seen`].
    pub fn seen_at(&self, name: &str) -> Option<Ref> {
        locked(&self.inner.seen).get(name).copied()
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

    /// Whether a push of ours gave this value to a ref, as far as is remembered.
    pub fn is_own(&self, id: ObjectId) -> bool {
        locked(&self.inner.own).contains(&id)
    }

    /// Notes what a push of ours moved.
    pub(super) fn moved(&self, update: &RefUpdate) {
        let (name, to) = (&update.name, update.new);
        let mut seen = locked(&self.inner.seen);
        let mut own = locked(&self.inner.own);
        own.extend(to);
        let surplus = own.len().saturating_sub(OWN_MAX);
        own.drain(..surplus);
        drop(own);
        let new = to.map(|id| {
            let peeled = self.inner.objects.tag(&id).ok().map(|tag| tag.target);
            Ref { id, peeled }
        });
        locked(&self.inner.meanwhile).note(update, new);
        match new {
            Some(shown) => {
                seen.insert(name.clone(), shown);
                locked(&self.inner.tips).insert(name.clone(), shown.id);
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

    /// Reads much of it at once, which keeps what many objects are made from until then.
    pub(super) fn reading_much<T>(&self, read: impl FnOnce() -> T) -> T {
        self.inner.objects.reading_much(read)
    }

    /// A place for new objects.
    pub fn draft(&self) -> Draft {
        Draft::over(Arc::clone(&self.inner.objects))
    }
}
