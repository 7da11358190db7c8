//! New objects, made in memory: blobs, trees, commits and tags that a push sends.
//!
//! Owns what does not exist anywhere else yet. Never touches a work tree, a disk or a server.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use gix::ObjectId;

use super::GitError;
use super::delta::Delta;
use super::object::{Commit, CommitDraft, Kind, Object, Tag, TagDraft};
use super::objects::{Found, Objects};
use super::remote::NewObject;
use super::tree::{Mode, Tree};
use crate::model::CommitId;

/// New objects over those of a repository. Reading goes through: own objects first.
pub struct Draft {
    base: Arc<Objects>,
    objects: HashMap<ObjectId, Object>,
    trees: HashMap<ObjectId, Arc<Tree>>,
    /// The object that stood where the new one stands.
    replaced: HashMap<ObjectId, ObjectId>,
}

/// One path to write (`Some`) or to remove (`None`).
pub type Edit = (String, Option<Bytes>);

impl Draft {
    pub(super) fn over(base: Arc<Objects>) -> Self {
        Self {
            base,
            objects: HashMap::new(),
            trees: HashMap::new(),
            replaced: HashMap::new(),
        }
    }

    /// The directory with one file written. A file keeps its mode; a new one is plain.
    ///
    /// # Errors
    /// [`GitError::Path`] for a path that cannot stand in a tree, [`GitError::Missing`] where the
    /// directory is not here.
    pub fn put(
        &mut self,
        tree: Option<ObjectId>,
        path: &str,
        content: impl Into<Bytes>,
    ) -> Result<ObjectId, GitError> {
        self.edit(tree, vec![(path.to_owned(), Some(content.into()))])
    }

    /// The directory with one file removed; directories that become empty go too.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub fn remove(&mut self, tree: ObjectId, path: &str) -> Result<ObjectId, GitError> {
        self.edit(Some(tree), vec![(path.to_owned(), None)])
    }

    /// The directory with many files written or removed: each directory on the way is made once.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub fn edit(
        &mut self,
        tree: Option<ObjectId>,
        edits: impl IntoIterator<Item = Edit>,
    ) -> Result<ObjectId, GitError> {
        let mut root = Directory::default();
        for (path, content) in edits {
            root.insert(&path, content)?;
        }
        match self.apply(tree, root)? {
            Some(id) => Ok(id),
            None => Ok(self.add(Object::new(Kind::Tree, Bytes::new()))),
        }
    }

    /// Makes a commit.
    pub fn commit(&mut self, commit: &CommitDraft) -> CommitId {
        CommitId(self.add(commit.build()))
    }

    /// Makes an annotated tag; its ref is made by a push.
    ///
    /// # Errors
    /// [`GitError::Malformed`] where the name cannot be a tag's.
    pub fn tag(&mut self, tag: &TagDraft) -> Result<ObjectId, GitError> {
        Ok(self.add(tag.build()?))
    }

    /// Takes a ready object, such as a commit signed elsewhere.
    pub fn add(&mut self, object: Object) -> ObjectId {
        let id = object.id;
        self.objects.insert(id, object);
        id
    }

    /// The new objects.
    pub(super) fn into_objects(self) -> impl Iterator<Item = Object> {
        self.objects.into_values()
    }

    /// An object, own or the repository's.
    ///
    /// # Errors
    /// [`GitError::Missing`] where it is in neither.
    pub fn object(&self, id: ObjectId) -> Result<Object, GitError> {
        match self.objects.get(&id) {
            Some(object) => Ok(object.clone()),
            None => self.base.object(&id),
        }
    }

    /// A commit, own or the repository's.
    ///
    /// # Errors
    /// As [`Self::object`], and [`GitError::Object`] where it is no commit.
    pub fn read_commit(&self, id: CommitId) -> Result<Commit, GitError> {
        Commit::parse(&self.object(id.0)?)
    }

    /// A directory, own or the repository's.
    ///
    /// # Errors
    /// As [`Self::object`], and [`GitError::Object`] where it is no tree.
    pub fn tree(&self, id: ObjectId) -> Result<Arc<Tree>, GitError> {
        if let Some(tree) = self.trees.get(&id) {
            return Ok(Arc::clone(tree));
        }
        match self.objects.get(&id) {
            Some(object) => Ok(Arc::new(Tree::parse(object)?)),
            None => self.base.tree(&id),
        }
    }

    /// A file's content, own or the repository's.
    ///
    /// # Errors
    /// As [`Self::object`], and [`GitError::Object`] where it is no blob.
    pub fn blob(&self, id: ObjectId) -> Result<Bytes, GitError> {
        match self.objects.get(&id) {
            Some(object) if object.kind == Kind::Blob => Ok(object.data.clone()),
            _ => self.base.blob(&id),
        }
    }

    /// What stands at a path of a directory, own or the repository's.
    ///
    /// # Errors
    /// As [`Self::tree`].
    pub fn lookup(&self, tree: ObjectId, path: &str) -> Result<Option<Found>, GitError> {
        let mut found = Found {
            mode: Mode::Directory,
            id: tree,
        };
        for name in path.split('/').filter(|name| !name.is_empty()) {
            if found.mode != Mode::Directory {
                return Ok(None);
            }
            let tree = self.tree(found.id)?;
            let Some(entry) = tree.get(name.as_bytes()) else {
                return Ok(None);
            };
            found = Found {
                mode: entry.mode,
                id: entry.id,
            };
        }
        Ok(Some(found))
    }

    /// Own objects that these ids lead to, commits last; nothing else needs to be sent.
    pub(super) fn reachable(
        &self,
        tips: impl IntoIterator<Item = ObjectId>,
    ) -> Result<Vec<NewObject>, GitError> {
        let mut seen = HashSet::new();
        let mut open: Vec<ObjectId> = tips.into_iter().collect();
        let mut found = Vec::new();
        while let Some(id) = open.pop() {
            let Some(object) = self.objects.get(&id).filter(|_| seen.insert(id)) else {
                continue;
            };
            match object.kind {
                Kind::Commit => {
                    let commit = Commit::parse(object)?;
                    open.extend(commit.parents.iter().map(|parent| parent.0));
                    open.push(commit.tree);
                }
                Kind::Tag => open.push(Tag::parse(object)?.target),
                Kind::Tree => open.extend(
                    self.tree(id)?
                        .entries()
                        .map(|entry| entry.id)
                        .filter(|id| self.objects.contains_key(id)),
                ),
                Kind::Blob => {}
            }
            found.push(object);
        }
        found.reverse();
        Ok(found
            .into_iter()
            .map(|object| NewObject {
                object: object.clone(),
                delta: self.delta(object),
            })
            .collect())
    }

    /// Lets the repository keep directories that were parsed here.
    pub(super) fn parsed(&self) -> impl Iterator<Item = &Arc<Tree>> {
        self.trees.values()
    }

    fn delta(&self, object: &Object) -> Option<Delta> {
        // A base made here would have to be sent too: the one before it is as good.
        let mut base = *self.replaced.get(&object.id)?;
        // An edit and its reverse replace each other: the chain may be a circle.
        let mut steps = self.replaced.len();
        while self.objects.contains_key(&base) && steps > 0 {
            base = *self.replaced.get(&base)?;
            steps -= 1;
        }
        if self.objects.contains_key(&base) {
            return None;
        }
        Delta::between(&self.base.find(&base)?, object)
    }

    fn apply(
        &mut self,
        old: Option<ObjectId>,
        edits: Directory,
    ) -> Result<Option<ObjectId>, GitError> {
        let tree = match old {
            Some(id) => self.tree(id)?,
            None => Arc::new(Tree::empty()),
        };
        let mut changes: Vec<(String, Option<(Mode, ObjectId)>)> = Vec::new();
        for (name, edit) in edits.names {
            let before = tree
                .get(name.as_bytes())
                .map(|entry| (entry.mode, entry.id));
            let after = match edit {
                Node::Directory(edits) => {
                    let old = before.filter(|(mode, _)| *mode == Mode::Directory);
                    // Removing below what is no directory removes nothing.
                    if old.is_none() && edits.only_removes() {
                        continue;
                    }
                    self.apply(old.map(|(_, id)| id), edits)?
                        .map(|id| (Mode::Directory, id))
                }
                Node::Write(content) => {
                    let old = before.filter(|(mode, _)| mode.is_blob());
                    let mode = match old {
                        Some((Mode::Executable, _)) => Mode::Executable,
                        _ => Mode::File,
                    };
                    let id = self.add(Object::new(Kind::Blob, content));
                    if let Some((_, old)) = old
                        && old != id
                    {
                        self.replaced.insert(id, old);
                    }
                    Some((mode, id))
                }
                Node::Remove => None,
            };
            if before != after {
                changes.push((name, after));
            }
        }
        if changes.is_empty() {
            return Ok(old.filter(|_| !tree.is_empty()));
        }
        let changes: Vec<_> = changes
            .iter()
            .map(|(name, after)| (name.as_bytes(), *after))
            .collect();
        let new = tree.edited(&changes);
        if new.is_empty() {
            return Ok(None);
        }
        let id = self.add(new.object());
        if id != tree.id() && !tree.is_empty() {
            self.replaced.insert(id, tree.id());
        }
        self.trees.insert(id, Arc::new(new));
        Ok(Some(id))
    }
}

/// Edits by name, nested as the directories are.
#[derive(Default)]
struct Directory {
    names: BTreeMap<String, Node>,
}

enum Node {
    Directory(Directory),
    Write(Bytes),
    Remove,
}

impl Directory {
    fn insert(&mut self, path: &str, content: Option<Bytes>) -> Result<(), GitError> {
        let refuse = |detail| GitError::Path {
            path: path.to_owned(),
            detail,
        };
        let (directories, file) = path.rsplit_once('/').unwrap_or(("", path));
        let mut directory = self;
        for name in directories.split('/').filter(|_| !directories.is_empty()) {
            check_name(name).map_err(refuse)?;
            let node = directory
                .names
                .entry(name.to_owned())
                .or_insert_with(|| Node::Directory(Self::default()));
            match node {
                Node::Directory(next) => directory = next,
                _ => {
                    return Err(refuse(
                        "another edit makes a file of one of its directories",
                    ));
                }
            }
        }
        check_name(file).map_err(refuse)?;
        if let Some(Node::Directory(_)) = directory.names.get(file) {
            return Err(refuse("another edit makes a directory of it"));
        }
        let node = content.map_or(Node::Remove, Node::Write);
        directory.names.insert(file.to_owned(), node);
        Ok(())
    }

    fn only_removes(&self) -> bool {
        self.names.values().all(|node| match node {
            Node::Directory(directory) => directory.only_removes(),
            Node::Write(_) => false,
            Node::Remove => true,
        })
    }
}

/// What `git fsck --strict` would refuse is never made.
fn check_name(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("a name in it is empty"),
        "." | ".." => Err("`.` and `..` are no names"),
        _ if name.eq_ignore_ascii_case(".git") => Err("`.git` is no name in a repository"),
        _ if name.contains('\0') => Err("it holds a NUL"),
        _ => Ok(()),
    }
}
