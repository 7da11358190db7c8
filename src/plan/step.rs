//! A step: one effect, with everything it was planned on.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::edit::FileEdit;
use super::world::Request;
use crate::manifest::Rendered;
use crate::model::record::{Cause, Statement};
use crate::model::{Author, CommitId, Digest, ObjectRef, Release, SmokeTest};

/// One effect on the outside world. What carries it out is left nothing to decide.
#[derive(Debug, Clone)]
pub enum Step {
    /// Commit a release into the environment's branch, together with its deployment record.
    Write(Write),
    /// Put a release on the proposal branch, and record it as proposed.
    Propose(Propose),
    /// Take the proposal back, and record why.
    Withdraw(Withdraw),
    /// Merge the proposal into the environment's branch, as a person does.
    Merge(Merge),
    /// Open the request about the proposal.
    Open(Open),
    /// Close a request that has no purpose any more, saying why.
    Close(Close),
    /// Take back what lets a request be merged at any moment: approvals, the queue, auto-merge.
    Disarm(Disarm),
    /// State what has happened.
    Record(Statements),
    /// Make the cluster run what the head asks for.
    Apply(Apply),
    /// Ask what was deployed whether it answers as expected.
    Smoke(Smoke),
}

/// The refs a git write was planned on: it lands only if they still stand there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedOn {
    /// The head of the environment's branch.
    pub head: CommitId,
    /// The head of the environment's records.
    pub records: Option<CommitId>,
    /// The head of the proposal branch.
    pub proposal: Option<CommitId>,
}

/// See [`Step::Write`].
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// What is written.
    pub release: Release,
    /// The files that change.
    pub files: Vec<FileEdit>,
    /// The desired state that the unit then has.
    pub state: Digest,
    /// Why it is written.
    pub cause: Cause,
    /// Whether a person asked for this very release.
    pub asked: bool,
    /// Where the release comes from, for the message: an environment, a branch, a tag.
    pub from: String,
    /// What else is stated with it, such as that the deployment before it is superseded.
    pub records: Vec<Statement>,
    /// The refs it was planned on.
    pub planned_on: PlannedOn,
}

/// See [`Step::Propose`].
#[derive(Debug, Clone, PartialEq)]
pub struct Propose {
    /// What is proposed.
    pub release: Release,
    /// What runs now.
    pub instead_of: Option<Release>,
    /// The files that change, against `onto`.
    pub files: Vec<FileEdit>,
    /// The commit that the proposal's commit stands on: the head, or a person's commit on the proposal branch.
    pub onto: CommitId,
    /// Where the release comes from, for the message.
    pub from: String,
    /// The refs it was planned on.
    pub planned_on: PlannedOn,
}

/// See [`Step::Withdraw`].
#[derive(Debug, Clone, PartialEq)]
pub struct Withdraw {
    /// What was proposed.
    pub release: Release,
    /// The proposal's commit.
    pub proposal: CommitId,
    /// Why it is taken back.
    pub reason: String,
    /// Whether the branch stays for now: its request is to be closed first, saying why.
    pub keeps_branch: bool,
    /// The refs it was planned on.
    pub planned_on: PlannedOn,
}

/// See [`Step::Merge`]. Never planned: a person says it.
#[derive(Debug, Clone, PartialEq)]
pub struct Merge {
    /// What is proposed.
    pub release: Release,
    /// The proposal's head.
    pub proposal: CommitId,
    /// The commit of the environment's branch that the proposal was made on.
    pub base: CommitId,
    /// Whose commit it is.
    pub by: Author,
    /// The refs it was planned on.
    pub planned_on: PlannedOn,
}

/// See [`Step::Open`].
#[derive(Debug, Clone, PartialEq)]
pub struct Open {
    /// What is proposed.
    pub release: Release,
    /// What runs now.
    pub instead_of: Option<Release>,
    /// The proposal branch.
    pub branch: String,
    /// Its head.
    pub head: CommitId,
    /// The branch that it is to be merged into.
    pub base: String,
}

/// See [`Step::Close`].
#[derive(Debug, Clone, PartialEq)]
pub struct Close {
    /// Which.
    pub request: Request,
    /// Why.
    pub reason: String,
}

/// See [`Step::Disarm`].
#[derive(Debug, Clone, PartialEq)]
pub struct Disarm {
    /// Which.
    pub request: Request,
    /// Why.
    pub reason: String,
}

/// See [`Step::Record`].
#[derive(Debug, Clone, PartialEq)]
pub struct Statements {
    /// What is stated, in order. All are about `commit`. Nothing: only the proposal branch goes.
    pub statements: Vec<Statement>,
    /// The commit they speak of.
    pub commit: CommitId,
    /// Who states them: Towpath itself, or a person.
    pub by: String,
    /// What they are about.
    pub scope: Scope,
    /// Whether the proposal branch has served and goes away with it.
    pub closes_proposal: bool,
    /// The refs it was planned on.
    pub planned_on: PlannedOn,
}

/// What a statement is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The unit.
    Unit,
    /// The whole environment. Stated once, whichever unit's round comes first.
    Environment,
}

/// See [`Step::Apply`].
#[derive(Debug, Clone)]
pub struct Apply {
    /// The deployment's number.
    pub number: u64,
    /// When the deployment was recorded, or asked for again.
    pub asked_at: Timestamp,
    /// The deployment's commit.
    pub commit: CommitId,
    /// What is deployed.
    pub release: Option<Release>,
    /// The unit's desired state: every object, so that what is wanted and what is not are both known.
    pub rendered: Arc<Rendered>,
    /// What is applied now: objects that differ from what the cluster runs, each with the live
    /// version it was planned on.
    pub change: Vec<Change>,
    /// What a later step applies: the cluster must be willing to take it too, or nothing of `change`
    /// is applied.
    pub later: Vec<Change>,
    /// Ours, and no longer asked for.
    pub prune: Vec<Prune>,
}

impl Apply {
    /// Whether it only runs hooks.
    pub fn only_runs_hooks(&self) -> bool {
        self.prune.is_empty() && self.change.iter().all(|change| change.anew)
    }
}

/// An object to apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub reference: ObjectRef,
    /// The live version it was planned on; `None`: there was none.
    pub version: Option<String>,
    /// What its mark then says: the hash of its own manifest; of a hook, that with what it is run for.
    pub hash: Digest,
    /// Whether it is made anew: what is there of it is deleted first. So hooks are run again.
    pub anew: bool,
}

/// An object to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prune {
    /// Which.
    pub reference: ObjectRef,
    /// The server's id of the very object that was seen.
    pub uid: String,
}

/// See [`Step::Smoke`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Smoke {
    /// The deployment's number.
    pub number: u64,
    /// When the rollout began that is asked about.
    pub begun: Timestamp,
    /// The tests, in order; all must pass.
    pub tests: Vec<SmokeTest>,
}

impl Step {
    /// Every kind of step, by name.
    pub const KINDS: [&str; 11] = [
        "write", "propose", "withdraw", "merge", "open", "close", "disarm", "record", "apply",
        "smoke", "prune",
    ];

    /// What kind it is; an apply that only deletes is a `prune`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Write(_) => "write",
            Self::Propose(_) => "propose",
            Self::Withdraw(_) => "withdraw",
            Self::Merge(_) => "merge",
            Self::Open(_) => "open",
            Self::Close(_) => "close",
            Self::Disarm(_) => "disarm",
            Self::Record(_) => "record",
            Self::Apply(apply) if apply.change.is_empty() => "prune",
            Self::Apply(_) => "apply",
            Self::Smoke(_) => "smoke",
        }
    }
}

/// One line for people: what would be done.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(write) => match write.cause {
                Cause::Rollback => write!(f, "roll back to {}", write.release),
                _ => write!(f, "write {}", write.release),
            },
            Self::Propose(propose) => write!(f, "propose {}", propose.release),
            Self::Withdraw(withdraw) => {
                let Withdraw {
                    release, reason, ..
                } = withdraw;
                write!(f, "withdraw the proposal of {release}: {reason}")
            }
            Self::Merge(merge) => write!(f, "merge the proposal of {}", merge.release),
            Self::Open(open) => write!(f, "open a request for {}", open.release),
            Self::Close(close) => write!(f, "close {}: {}", close.request.name, close.reason),
            Self::Disarm(disarm) => {
                write!(f, "disarm {}: {}", disarm.request.name, disarm.reason)
            }
            Self::Record(record) if record.statements.is_empty() => {
                f.write_str("delete the proposal branch")
            }
            Self::Record(record) => {
                let statements = record.statements.iter().map(ToString::to_string);
                write!(f, "record {}", statements.collect::<Vec<_>>().join(", "))
            }
            Self::Apply(apply) => {
                let objects = |count: usize| match count {
                    1 => "1 object".to_owned(),
                    count => format!("{count} objects"),
                };
                if apply.only_runs_hooks() {
                    let hooks = apply.change.iter().map(|hook| hook.reference.to_string());
                    return write!(f, "run {}", hooks.collect::<Vec<_>>().join(", "));
                }
                write!(f, "apply {}", objects(apply.change.len()))?;
                if !apply.prune.is_empty() {
                    write!(f, ", delete {}", objects(apply.prune.len()))?;
                }
                Ok(())
            }
            Self::Smoke(smoke) => {
                let asked = smoke.tests.iter().map(|test| test.get.to_string());
                write!(f, "ask {}", asked.collect::<Vec<_>>().join(", "))
            }
        }
    }
}
