//! The objects of one repository that are here: what was fetched, and what Towpath made itself.
//!
//! Owns reading (with a small bounded cache of directories) and taking objects in. Objects that
//! Towpath made live in memory until they are many, until much is fetched, or until nothing happens; with
//! them, while Towpath tows, the few that a small fetch brings. A mirror's disk therefore sees no write
//! between the news of a commit and what follows from it. Lost with the process, they are fetched again.
//! Never talks to a server.

#[cfg(test)]
mod tests;
mod trees;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use bytes::Bytes;
use gix::ObjectId;
use tempfile::SpooledTempFile;

use super::mirror::Mirror;
use super::object::{Commit, Kind, Object, Tag};
use super::remote::{Fetched, Received};
use super::tree::{Entry, Mode, Tree};
use super::{GitError, locked, read, written};
use crate::model::CommitId;
use trees::TreeCache;

/// Own objects kept in memory before they go to the mirror's disk, in bytes.
const OWN_BYTES_MAX: usize = 4 << 20;

/// The largest pack whose objects stay in memory with them, and what those may take, in bytes.
const SMALL_PACK: u64 = 128 << 10;
const SMALL_OBJECTS: u64 = 2 << 20;

/// The same of a repository in which nothing happens.
const TREE_CACHE_BYTES_AT_REST: usize = 256 << 10;
const OWN_BYTES_AT_REST: usize = 64 << 10;

/// A path whose blob differs between two directories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The path, `/` between names, invalid UTF-8 replaced.
    pub path: String,
    /// The blob before, unless it is new.
    pub old: Option<(Mode, ObjectId)>,
    /// The blob after, unless it is gone.
    pub new: Option<(Mode, ObjectId)>,
}

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub mode: Mode,
    /// Its object.
    pub id: ObjectId,
}

/// See the module.
pub(super) struct Objects {
    address: String,
    own: RwLock<Own>,
    mirror: Option<Mirror>,
    /// Held while own objects go to the mirror's disk, and while that begins anew: what is written there leads to
    /// what is there.
    settling: Mutex<()>,
    trees: Mutex<TreeCache>,
    /// Whether what is small stays in memory.
    holds: AtomicBool,
}

#[derive(Default)]
struct Own {
    objects: HashMap<ObjectId, Object>,
    bytes: usize,
    /// What of the shallow boundary is not on disk.
    shallow: BTreeSet<ObjectId>,
    /// The server's refs, as the disk shall remember them once it has their objects.
    tips: Option<BTreeMap<String, ObjectId>>,
}

impl Objects {
    /// Nothing yet, in memory for ever.
    pub(super) fn in_memory(address: &str) -> Self {
        Self::new(address, None)
    }

    /// What the mirror below this directory holds; an unusable mirror begins anew.
    pub(super) fn on_disk(address: &str, directory: &Path) -> Result<Self, GitError> {
        let mirror = Mirror::open(directory)?;
        Ok(Self::new(address, Some(mirror)))
    }

    fn new(address: &str, mirror: Option<Mirror>) -> Self {
        Self {
            address: address.to_owned(),
            own: RwLock::default(),
            mirror,
            settling: Mutex::default(),
            trees: Mutex::default(),
            holds: AtomicBool::new(false),
        }
    }

    /// An object, if it is here.
    pub(super) fn find(&self, id: &ObjectId) -> Option<Object> {
        if let Some(object) = read(&self.own).objects.get(id) {
            return Some(object.clone());
        }
        self.mirror.as_ref()?.find(id)
    }

    /// Reads much of what is here at once.
    pub(super) fn reading_much<T>(&self, read: impl FnOnce() -> T) -> T {
        let keep_bases = |keeps| {
            if let Some(mirror) = &self.mirror {
                mirror.keep_bases(keeps);
            }
        };
        keep_bases(true);
        let read = read();
        keep_bases(false);
        read
    }

    /// Whether an object is here.
    pub(super) fn contains(&self, id: &ObjectId) -> bool {
        if read(&self.own).objects.contains_key(id) {
            return true;
        }
        self.mirror
            .as_ref()
            .is_some_and(|mirror| mirror.contains(id))
    }

    pub(super) fn object(&self, id: &ObjectId) -> Result<Object, GitError> {
        self.find(id).ok_or_else(|| GitError::Missing {
            url: self.address.clone(),
            id: *id,
        })
    }

    /// A tree or blob. What leads to it came with it, so a mirror that lacks it has lost it, and begins
    /// anew with the next fetch.
    fn content(&self, id: &ObjectId) -> Result<Object, GitError> {
        let object = self.object(id);
        if let (Err(GitError::Missing { .. }), Some(mirror)) = (&object, &self.mirror) {
            mirror.distrust();
        }
        object
    }

    pub(super) fn commit(&self, id: CommitId) -> Result<Commit, GitError> {
        Commit::parse(&self.object(&id.0)?)
    }

    pub(super) fn tag(&self, id: &ObjectId) -> Result<Tag, GitError> {
        Tag::parse(&self.object(id)?)
    }

    pub(super) fn blob(&self, id: &ObjectId) -> Result<Bytes, GitError> {
        let object = self.content(id)?;
        match object.kind {
            Kind::Blob => Ok(object.data),
            kind => Err(GitError::Object {
                id: *id,
                detail: format!("is a {kind}, not a blob"),
            }),
        }
    }

    pub(super) fn tree(&self, id: &ObjectId) -> Result<Arc<Tree>, GitError> {
        if let Some(tree) = locked(&self.trees).get(id) {
            return Ok(tree);
        }
        // The well-known empty tree need not be stored anywhere.
        if *id == ObjectId::empty_tree(gix::hash::Kind::Sha1) {
            return Ok(Arc::new(Tree::empty()));
        }
        let tree = Arc::new(Tree::parse(&self.content(id)?)?);
        self.remember(&tree);
        Ok(tree)
    }

    /// Keeps a parsed directory for the next reader.
    pub(super) fn remember(&self, tree: &Arc<Tree>) {
        locked(&self.trees).put(tree);
    }

    pub(super) fn lookup(&self, tree: ObjectId, path: &str) -> Result<Option<Found>, GitError> {
        let mut found = Found {
            mode: Mode::Directory,
            id: tree,
        };
        for name in path.split('/').filter(|name| !name.is_empty()) {
            if found.mode != Mode::Directory {
                return Ok(None);
            }
            match self.tree(&found.id)?.get(name.as_bytes()) {
                Some(Entry { mode, id, .. }) => found = Found { mode, id },
                None => return Ok(None),
            }
        }
        Ok(Some(found))
    }

    /// Which blobs differ, by path; equal directories are never opened.
    pub(super) fn changed(
        &self,
        old: Option<ObjectId>,
        new: Option<ObjectId>,
    ) -> Result<Vec<Change>, GitError> {
        let mut changes = Vec::new();
        // A stack instead of recursion: the depth of a tree is the server's to choose.
        let mut open = vec![(String::new(), old, new)];
        while let Some((prefix, old, new)) = open.pop() {
            if old == new {
                continue;
            }
            let (old, new) = (self.tree_or_empty(old)?, self.tree_or_empty(new)?);
            for [old, new] in old.differences(&new) {
                let Some(either) = new.or(old) else { continue };
                let path = format!("{prefix}{}", either.name_lossy());
                let [old, new] = [old, new].map(|entry| entry.map(|entry| (entry.mode, entry.id)));
                if either.mode == Mode::Directory {
                    open.push((
                        format!("{path}/"),
                        old.map(|old| old.1),
                        new.map(|new| new.1),
                    ));
                } else {
                    changes.push(Change { path, old, new });
                }
            }
        }
        changes.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(changes)
    }

    fn tree_or_empty(&self, id: Option<ObjectId>) -> Result<Arc<Tree>, GitError> {
        match id {
            Some(id) => self.tree(&id),
            None => Ok(Arc::new(Tree::empty())),
        }
    }

    /// Takes own objects in: to memory, at once.
    pub(super) fn keep(&self, objects: impl IntoIterator<Item = Object>) {
        let mut own = written(&self.own);
        for object in objects {
            let size = object.data.len();
            if own.objects.insert(object.id, object).is_none() {
                own.bytes += size;
            }
        }
    }

    /// Whether own objects in memory should go to disk.
    fn is_full(&self) -> bool {
        self.mirror.is_some() && read(&self.own).bytes > OWN_BYTES_MAX
    }

    /// Whether there is no disk that it is kept on.
    pub(super) fn is_in_memory(&self) -> bool {
        self.mirror.is_none()
    }

    /// Whether [`Self::rest`] would let go of something.
    pub(super) fn is_at_rest(&self) -> bool {
        self.mirror.is_none()
            || (read(&self.own).bytes <= OWN_BYTES_AT_REST
                && locked(&self.trees).is_within(TREE_CACHE_BYTES_AT_REST))
    }

    /// Lets go of what a mirror's disk can give again: own objects go there, directories are parsed
    /// anew. Blocking.
    pub(super) fn rest(&self) -> Result<(), GitError> {
        if read(&self.own).bytes > OWN_BYTES_AT_REST {
            self.settle()?;
        }
        if self.mirror.is_some() {
            locked(&self.trees).keep_within(TREE_CACHE_BYTES_AT_REST);
        }
        Ok(())
    }

    /// Whether the few objects that a small fetch brings stay in memory from here on.
    pub(super) fn hold(&self, holds: bool) {
        self.holds.store(holds, Ordering::Relaxed);
    }

    /// Takes in what a server sent. Blocking: reads and writes files.
    ///
    /// Own objects are put to disk first, so that nothing on disk ever leads to an object that is only
    /// in memory. What is small may stay in memory, as they do.
    pub(super) fn take(&self, fetched: Fetched, stays: bool) -> Result<(), GitError> {
        let Some(mirror) = &self.mirror else {
            let objects = match fetched.objects {
                Received::Objects(objects) => objects,
                Received::Pack(mut pack) => self.unpack(&mut pack, u64::MAX)?.unwrap_or_default(),
            };
            self.keep(objects);
            let mut own = written(&self.own);
            own.shallow.extend(&fetched.shallow);
            for id in &fetched.unshallow {
                own.shallow.remove(id);
            }
            return Ok(());
        };
        match fetched.objects {
            Received::Pack(mut pack) => {
                let small = stays
                    && self.holds.load(Ordering::Relaxed)
                    && fetched.unshallow.is_empty()
                    && super::mirror::size(&mut pack)? <= SMALL_PACK;
                let objects = match small {
                    true => self.unpack(&mut pack, SMALL_OBJECTS)?,
                    false => None,
                };
                if let Some(objects) = objects {
                    written(&self.own).shallow.extend(&fetched.shallow);
                    self.keep(objects);
                    return Ok(());
                }
                self.settle()?;
                mirror.ingest(pack)?;
            }
            Received::Objects(objects) => {
                self.settle()?;
                mirror.write(&objects)?;
            }
        }
        mirror.move_boundary(&fetched.shallow, &fetched.unshallow)
    }

    /// A pack's objects, if they are not larger than this.
    fn unpack(
        &self,
        pack: &mut SpooledTempFile,
        bytes_max: u64,
    ) -> Result<Option<Vec<Object>>, GitError> {
        let objects = super::mirror::unpack(pack, bytes_max, |id| self.find(id));
        objects.map_err(super::mirror::disk(&std::env::temp_dir()))
    }

    /// Puts own objects to disk, if there is one. Blocking.
    pub(super) fn settle(&self) -> Result<(), GitError> {
        let Some(mirror) = &self.mirror else {
            return Ok(());
        };
        let _settling = locked(&self.settling);
        // What comes in meanwhile is told of by the next.
        let (objects, shallow, tips) = {
            let own = read(&self.own);
            let objects: Vec<Object> = own.objects.values().cloned().collect();
            let shallow: Vec<ObjectId> = own.shallow.iter().copied().collect();
            (objects, shallow, own.tips.clone())
        };
        // Killed in between, a commit that ends there is never taken for one whose parents are here.
        if !shallow.is_empty() {
            mirror.move_boundary(&shallow, &[])?;
        }
        if !objects.is_empty() {
            mirror.write(&objects)?;
        }
        if let Some(tips) = &tips {
            mirror.remember_tips(tips)?;
        }
        let mut own = written(&self.own);
        own.shallow.retain(|id| !shallow.contains(id));
        if own.tips == tips {
            own.tips = None;
        }
        for object in objects {
            if own.objects.remove(&object.id).is_some() {
                own.bytes -= object.data.len();
            }
        }
        own.objects.shrink_to_fit();
        Ok(())
    }

    /// Commits that are here without their parents.
    pub(super) fn shallow(&self) -> Vec<ObjectId> {
        let mut shallow = read(&self.own).shallow.clone();
        if let Some(mirror) = &self.mirror {
            shallow.extend(mirror.shallow());
        }
        shallow.into_iter().collect()
    }

    /// What the disk remembers of the server's refs.
    pub(super) fn tips(&self) -> BTreeMap<String, ObjectId> {
        match &self.mirror {
            Some(mirror) => mirror.tips(),
            None => BTreeMap::new(),
        }
    }

    /// Lets the disk remember the server's refs.
    pub(super) fn remember_tips(&self, tips: &BTreeMap<String, ObjectId>) -> Result<(), GitError> {
        let Some(mirror) = &self.mirror else {
            return Ok(());
        };
        let mut own = written(&self.own);
        // Of what is only in memory the disk is told when it has it.
        if self.holds.load(Ordering::Relaxed) && !own.objects.is_empty() {
            own.tips = Some(tips.clone());
            return Ok(());
        }
        own.tips = None;
        drop(own);
        mirror.remember_tips(tips)
    }

    /// Begins the mirror anew. What is in memory goes with it: it leads to what was on disk.
    pub(super) fn begin_anew(&self) -> Result<(), GitError> {
        let Some(mirror) = &self.mirror else {
            return Ok(());
        };
        let _settling = locked(&self.settling);
        mirror.begin_anew()?;
        *written(&self.own) = Own::default();
        Ok(())
    }

    /// Keeps the mirror within its bounds. Says whether it began anew: then all it held is gone.
    pub(super) fn tidy(&self) -> Result<bool, GitError> {
        let Some(mirror) = &self.mirror else {
            return Ok(false);
        };
        mirror.measure();
        let is_spent = mirror.is_spent();
        if is_spent {
            self.begin_anew()?;
        }
        Ok(is_spent)
    }

    /// Whether the next [`Self::tidy`] makes the mirror anew, as far as is known.
    pub(super) fn is_spent(&self) -> bool {
        self.mirror.as_ref().is_some_and(Mirror::is_spent)
    }

    /// Whether [`Self::put_in_order`] has something to do.
    pub(super) fn is_untidy(&self) -> bool {
        self.is_full() || self.mirror.as_ref().is_some_and(Mirror::is_crowded)
    }

    /// Puts own objects to disk where they are many, and packs together. Blocking, and others read, fetch little and
    /// push meanwhile.
    pub(super) fn put_in_order(&self) -> Result<(), GitError> {
        while self.is_full() {
            self.settle()?;
        }
        if let Some(mirror) = self.mirror.as_ref().filter(|it| it.is_crowded()) {
            mirror.join();
        }
        Ok(())
    }

    /// Where large packs may be put while they arrive.
    pub(super) fn spool(&self) -> Option<std::path::PathBuf> {
        self.mirror
            .as_ref()
            .map(|mirror| mirror.directory().to_owned())
    }
}
