//! Turns one step into one effect. Nothing is decided here: a step that no longer fits the world
//! changes nothing and is planned again.

mod batch;
mod message;
mod moves;
mod tags;
mod told;
mod writer;

use std::time::Duration;

pub use writer::{Order, Writer};

use crate::event::EventKind;
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
