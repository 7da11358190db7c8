//! The seam to a git server: show refs, hand out objects, take objects and move refs.
//!
//! Owns the questions and answers, not how they travel: [`super::http`], [`super::pipe`] (ssh and
//! files) and [`super::memory`] do.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use gix::ObjectId;
use tokio_util::task::TaskTracker;

use super::object::Object;
use super::{GitError, delta::Delta};
use crate::model::CommitId;

/// One ref as the server shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ref {
    /// What the ref holds: what a push expects as the old value.
    pub id: ObjectId,
    /// For an annotated tag, the commit it marks.
    pub peeled: Option<ObjectId>,
}

impl Ref {
    /// The commit the ref leads to, through an annotated tag where there is one.
    pub fn commit(&self) -> CommitId {
        CommitId(self.peeled.unwrap_or(self.id))
    }
}

/// Full ref names and what they hold.
pub type Refs = BTreeMap<String, Ref>;

/// A git server's repository. Implementations keep capabilities, credentials and connections between
/// calls, and hold no state that a restart would miss.
#[async_trait]
pub trait Remote: Send + Sync {
    /// The repository's address, for people.
    fn address(&self) -> &str;

    /// The refs whose full names begin with one of the prefixes.
    ///
    /// # Errors
    /// Any [`GitError`] of the way there.
    async fn advertise(&self, prefixes: &[String]) -> Result<Refs, GitError>;

    /// The objects that the wants lead to and the haves do not.
    ///
    /// # Errors
    /// Any [`GitError`] of the way there.
    async fn fetch(&self, request: &FetchRequest) -> Result<Fetched, GitError>;

    /// Sends objects and asks for the updates, each only from its old value.
    ///
    /// # Errors
    /// [`GitError::NotAtomic`] before anything was sent, or any [`GitError`] of the way there; refusals
    /// of the server are in the report.
    async fn push(&self, request: &PushRequest) -> Result<PushReport, GitError>;

    /// Asks whether we may push, and sends nothing: what it says first to one who wants to is the answer. Gives
    /// whether it moves several refs as one.
    ///
    /// # Errors
    /// Any [`GitError`] of the way there; [`GitError::Forbidden`] and its like where we may not.
    async fn receives(&self) -> Result<bool, GitError>;
}

/// What to leave out of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Nothing.
    None,
    /// All trees and blobs: commits and tags remain (`filter tree:0`).
    Trees,
}

/// How much history a fetch asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// All that leads from what we have.
    Unlimited,
    /// That many commits from each want, the shallow boundary moved accordingly.
    Commits(u32),
}

/// A question for objects.
#[derive(Debug, Clone)]
pub struct FetchRequest {
    /// What is to be had afterwards.
    pub wants: Vec<ObjectId>,
    /// Commits that are here with all they lead to, up to the shallow boundary.
    pub haves: Vec<ObjectId>,
    /// Commits that are here without their parents.
    pub shallow: Vec<ObjectId>,
    /// How deep to go.
    pub depth: Depth,
    /// What to leave out, where the server can.
    pub filter: Filter,
    /// Where a large pack may be put while it arrives; the system's temporary directory otherwise.
    pub spool: Option<PathBuf>,
}

/// An answer with objects.
#[derive(Debug)]
pub struct Fetched {
    /// The objects.
    pub objects: Received,
    /// Commits that came without their parents.
    pub shallow: Vec<ObjectId>,
    /// Commits whose parents are no longer missing.
    pub unshallow: Vec<ObjectId>,
}

/// Objects as they came.
#[derive(Debug)]
pub enum Received {
    /// A pack, possibly thin, at its beginning.
    Pack(tempfile::SpooledTempFile),
    /// Objects one by one.
    Objects(Vec<Object>),
}

/// A ref to move, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefUpdate {
    /// The full ref name.
    pub name: String,
    /// What it must hold before; `None`: it must not exist.
    pub old: Option<ObjectId>,
    /// What it shall hold; the same as `old`: it is only verified; `None`: it is deleted.
    pub new: Option<ObjectId>,
}

impl RefUpdate {
    /// Whether the ref is only verified.
    pub fn is_verification(&self) -> bool {
        self.old == self.new
    }
}

/// An object to send.
#[derive(Debug, Clone)]
pub struct NewObject {
    /// The object itself.
    pub object: Object,
    /// A shorter way to say it, relative to an object which the server has.
    pub delta: Option<Delta>,
}

/// Objects to take and refs to move.
#[derive(Debug, Clone)]
pub struct PushRequest {
    /// The refs, in the order in which the server gets them.
    pub updates: Vec<RefUpdate>,
    /// What the new values need and the server may lack.
    pub objects: Vec<NewObject>,
    /// All updates or none; refused with [`GitError::NotAtomic`] where the server cannot.
    pub atomic: bool,
    /// Where the end of an answer may still be read once it has reported everything as done: a server goes on
    /// for a while then, with its hooks and its housekeeping. `None`: it is waited for.
    pub ends: Option<TaskTracker>,
}

/// What the server said to a push, ref by ref.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PushReport {
    /// Why the objects were not taken.
    pub unpack: Option<String>,
    /// Per ref: nothing for done, else the reason. A ref that is not here was not reported: not done.
    pub refs: BTreeMap<String, Option<String>>,
    /// What hooks and the server wrote for people.
    pub messages: String,
}

impl PushReport {
    /// Whether nothing that it tells of failed.
    pub fn is_clean(&self) -> bool {
        self.unpack.is_none() && self.refs.values().all(Option::is_none)
    }

    /// Whether the objects and every one of these updates were taken.
    pub fn is_ok(&self, updates: &[RefUpdate]) -> bool {
        self.unpack.is_none()
            && updates
                .iter()
                .all(|update| matches!(self.refs.get(&update.name), Some(None)))
    }
}
