//! Git objects as values: parsing and serialising, nothing else.
//!
//! Commits and tags are read and written by gix; directories have a module of their own.

use std::fmt;

use bytes::Bytes;
use gix::ObjectId;
use gix::bstr::ByteSlice as _;
pub use gix::objs::Kind;
use jiff::Timestamp;

use super::GitError;
use crate::model::{Author, CommitId};

/// Any object, as its kind and bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Object {
    /// The hash of kind and bytes.
    pub id: ObjectId,
    /// Blob, tree, commit or tag.
    pub kind: Kind,
    /// What stands in it.
    pub data: Bytes,
}

impl Object {
    /// An object with its id computed.
    pub fn new(kind: Kind, data: impl Into<Bytes>) -> Self {
        let data = data.into();
        let id = gix::objs::compute_hash(gix::hash::Kind::Sha1, kind, &data)
            .expect("our own data is not a SHA-1 collision attack");
        Self { id, kind, data }
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({} bytes)", self.kind, self.id, self.data.len())
    }
}

/// Who wrote something, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The name people read.
    pub name: String,
    /// The mail address.
    pub email: String,
    /// The moment; written in UTC, whole seconds.
    pub time: Timestamp,
}

impl Signature {
    /// An author at a moment.
    pub fn of(author: &Author, time: Timestamp) -> Self {
        Self {
            name: author.name.clone(),
            email: author.email.clone(),
            time,
        }
    }

    fn read(raw: gix::actor::SignatureRef<'_>) -> Self {
        let seconds = raw.time().map_or(0, |time| time.seconds);
        Self {
            name: raw.name.to_str_lossy().into_owned(),
            email: raw.email.to_str_lossy().into_owned(),
            time: Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH),
        }
    }

    fn write(&self) -> gix::actor::Signature {
        // These bytes delimit the fields of the line, so they cannot stand in one.
        let clean = |text: &str| text.replace(['<', '>', '\n', '\0'], "").trim().into();
        gix::actor::Signature {
            name: clean(&self.name),
            email: clean(&self.email),
            time: gix::date::Time {
                seconds: self.time.as_second(),
                offset: 0,
            },
        }
    }
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its id.
    pub id: CommitId,
    /// Its directory.
    pub tree: ObjectId,
    /// The commits it follows; the first is the branch it was made on.
    pub parents: Vec<CommitId>,
    /// Who wrote the change.
    pub author: Signature,
    /// Who made the commit.
    pub committer: Signature,
    /// The message, invalid UTF-8 replaced.
    pub message: String,
}

impl Commit {
    /// Reads a commit object.
    ///
    /// # Errors
    /// [`GitError::Object`] where it is none.
    pub fn parse(object: &Object) -> Result<Self, GitError> {
        expect_kind(object, Kind::Commit)?;
        let raw = gix::objs::CommitRef::from_bytes(&object.data, gix::hash::Kind::Sha1)
            .map_err(|error| malformed(object, &error))?;
        let signature = |raw: gix::Result<gix::actor::SignatureRef<'_>>| {
            raw.map(Signature::read)
                .map_err(|error| malformed(object, &error))
        };
        Ok(Self {
            id: object.id.into(),
            tree: raw.tree(),
            parents: raw.parents().map(CommitId).collect(),
            author: signature(raw.author())?,
            committer: signature(raw.committer())?,
            message: raw.message.to_str_lossy().into_owned(),
        })
    }

    /// The message's first line.
    pub fn subject(&self) -> &str {
        self.message.lines().next().unwrap_or_default()
    }
}

/// A commit to be made; see [`super::Draft::commit`].
#[derive(Debug, Clone)]
pub struct CommitDraft {
    /// The directory.
    pub tree: ObjectId,
    /// The commits it follows.
    pub parents: Vec<CommitId>,
    /// Who wrote the change.
    pub author: Signature,
    /// Who makes the commit.
    pub committer: Signature,
    /// The message; a final newline is added where it lacks one.
    pub message: String,
}

impl CommitDraft {
    pub(super) fn build(&self) -> Object {
        let commit = gix::objs::Commit {
            tree: self.tree,
            parents: self.parents.iter().map(|id| id.0).collect(),
            author: self.author.write(),
            committer: self.committer.write(),
            encoding: None,
            message: terminated(&self.message).into(),
            extra_headers: Vec::new(),
        };
        serialised(Kind::Commit, &commit)
    }
}

/// An annotated tag to be made; see [`super::Draft::tag`].
#[derive(Debug, Clone)]
pub struct TagDraft {
    /// The tag's name, without `refs/tags/`.
    pub name: String,
    /// The commit it marks.
    pub target: CommitId,
    /// Who marks it.
    pub tagger: Signature,
    /// The message; a final newline is added where it lacks one.
    pub message: String,
}

impl TagDraft {
    pub(super) fn build(&self) -> Result<Object, GitError> {
        if gix::validate::tag::name(self.name.as_str().into()).is_err() {
            return Err(GitError::Malformed(format!(
                "`{}` is no tag's name",
                self.name
            )));
        }
        let tag = gix::objs::Tag {
            target: self.target.0,
            target_kind: Kind::Commit,
            name: self.name.as_str().into(),
            tagger: Some(self.tagger.write()),
            message: terminated(&self.message).into(),
            signature: None,
        };
        Ok(serialised(Kind::Tag, &tag))
    }
}

/// An annotated tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// The tag's name, without `refs/tags/`.
    pub name: String,
    /// What it marks.
    pub target: ObjectId,
    /// The kind of what it marks.
    pub target_kind: Kind,
    /// Who marked it; very old tags have none.
    pub tagger: Option<Signature>,
    /// The message, invalid UTF-8 replaced.
    pub message: String,
}

impl Tag {
    /// Reads a tag object.
    ///
    /// # Errors
    /// [`GitError::Object`] where it is none.
    pub fn parse(object: &Object) -> Result<Self, GitError> {
        expect_kind(object, Kind::Tag)?;
        let raw = gix::objs::TagRef::from_bytes(&object.data, gix::hash::Kind::Sha1)
            .map_err(|error| malformed(object, &error))?;
        let tagger = raw.tagger().map_err(|error| malformed(object, &error))?;
        Ok(Self {
            name: raw.name.to_str_lossy().into_owned(),
            target: raw.target(),
            target_kind: raw.target_kind,
            tagger: tagger.map(Signature::read),
            message: raw.message.to_str_lossy().into_owned(),
        })
    }
}

fn terminated(message: &str) -> String {
    // A NUL would end the message for git, and `git fsck` refuses it.
    let message = message.replace('\0', "");
    match message.ends_with('\n') {
        true => message,
        false => message + "\n",
    }
}

fn serialised(kind: Kind, object: &dyn gix::objs::WriteTo) -> Object {
    let mut data = Vec::new();
    object
        .write_to(&mut data)
        .expect("writing to memory does not fail, and the fields were cleaned and checked");
    Object::new(kind, data)
}

pub(super) fn expect_kind(object: &Object, kind: Kind) -> Result<(), GitError> {
    match object.kind == kind {
        true => Ok(()),
        false => Err(GitError::Object {
            id: object.id,
            detail: format!("is a {}, not a {kind}", object.kind),
        }),
    }
}

pub(super) fn malformed(object: &Object, error: &dyn fmt::Display) -> GitError {
    GitError::Object {
        id: object.id,
        detail: format!("is malformed: {error}"),
    }
}
