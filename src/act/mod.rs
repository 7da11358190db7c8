//! Turns one step into one effect. Nothing is decided here: a step that no longer fits the world
//! changes nothing and is planned again.

mod batch;
mod message;
mod moves;
mod scratch;
mod tags;
mod told;
mod writer;

use std::time::Duration;

pub use writer::{Order, Writer};

use crate::event::EventKind;
use crate::model::record::Record;
use crate::model::{CommitId, Release};

/// What came of a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It took effect; these things happened by it.
    Done(Vec<Happened>),
    /// The world moved on since it was planned: nothing was changed.
    Lost,
    /// It did not take effect.
    Failed(Failure),
}

/// Something that happened by a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Happened {
    /// What.
    pub kind: EventKind,
    /// With which release.
    pub release: Option<Release>,
    /// In which infra commit.
    pub commit: Option<CommitId>,
    /// As which deployment.
    pub number: Option<u64>,
    /// What else there is to say.
    pub reason: Option<String>,
}

/// What steps would write, if they were pushed now.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rehearsal {
    /// The records, in order.
    pub records: Vec<Record>,
    /// The commits on branches.
    pub commits: Vec<Committed>,
    /// The refs that would move.
    pub refs: Vec<Moved>,
}

/// A commit that would be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// On which branch: its full ref name.
    pub branch: String,
    /// The first line of its message.
    pub subject: String,
    /// The files that it changes.
    pub files: Vec<String>,
}

/// A ref that would move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Its full name.
    pub name: String,
    /// Where it stands; `None`: it is made.
    pub from: Option<CommitId>,
    /// Whether it goes away.
    pub is_deleted: bool,
}

/// Why a step did not take effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which system answered.
    pub source: String,
    /// What it said.
    pub why: String,
    /// How long it asks to wait.
    pub retry_after: Option<Duration>,
    /// Whether somebody must change something there first, such as a right or a quota.
    pub prevented: bool,
}
