//! Records: what happened, and what people decided, each a self-contained statement.
//!
//! [`line`] is the written form; [`present`] folds the records of a unit into what is true now.
//! Where records are kept is `git::notes`' business.

mod history;
mod line;
mod present;
mod standing;
mod words;

use std::fmt;

use jiff::Timestamp;

pub use history::{Happening, Noted, PastDeployment, Summary, deployments, history, summary};
pub use line::{InvalidRecord, NUMBER_MAX};
pub use present::{
    Declined, Deployment, Failure, Found, Hold, Judged, OpenDeployment, Pin, Promotion, Proposed,
    Run, Served, Standing, UnitRecords,
};

/// Who states what Towpath itself did or saw.
pub const TOWPATH: &str = "towpath";

/// Who states what a person said on the cluster, with an annotation.
pub const BRAKE: &str = "kubectl: towpath.dev/hold";

/// Who states what a person said with a label on the request.
pub const LABEL: &str = "label: towpath/hold";

/// The label that is a hold on the unit whose request carries it.
pub const HOLD_LABEL: &str = "towpath/hold";

/// Who states that a person opened the request of a declined release again.
pub const REOPENED: &str = "forge: opened again";

use super::{ApplicationName, CommitId, Digest, EnvironmentName, Finding, Release, Right};

/// One self-contained statement about an environment.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// When it was stated.
    pub at: Timestamp,
    /// The environment it is about.
    pub environment: EnvironmentName,
    /// The application it is about; `None`: the whole environment.
    pub application: Option<ApplicationName>,
    /// Who stated it: [`TOWPATH`], [`BRAKE`], [`LABEL`], [`REOPENED`], or a person's git identity.
    pub by: String,
    /// The infra commit it speaks of; its note holds the record.
    pub commit: CommitId,
    /// What is stated.
    pub statement: Statement,
}

/// What a record states.
#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    /// The unit was met without records; what its branch names is the baseline.
    Adopted {
        /// What runs, where its images could be resolved.
        release: Option<Release>,
    },
    /// A commit changed the unit's desired state.
    Deployment {
        /// The deployment's number in its environment. The writer takes it: 0 until then.
        number: u64,
        /// What it deploys, where its images are known.
        release: Option<Release>,
        /// The unit's desired state.
        state: Digest,
        /// How it came.
        cause: Cause,
    },
    /// How a deployment ended. Recorded once.
    Verdict {
        /// The deployment's number.
        number: u64,
        /// What it deployed.
        release: Option<Release>,
        /// The unit's desired state.
        state: Digest,
        /// How it ended.
        verdict: Verdict,
    },
    /// Health was lost while the release soaked.
    Degraded {
        /// The deployment's number.
        number: u64,
        /// What it deployed.
        release: Option<Release>,
        /// What was seen.
        reason: String,
    },
    /// A release stands on the proposal branch.
    Proposed {
        /// What is proposed.
        release: Release,
        /// The proposal's commit.
        proposal: CommitId,
    },
    /// The proposal was taken back, or the release itself was rolled away from.
    Withdrawn {
        /// Which release.
        release: Release,
        /// The proposal that was taken back; `None`: the release no longer counts as proven.
        proposal: Option<CommitId>,
        /// Why.
        reason: String,
    },
    /// A person closed the proposal unmerged.
    Declined {
        /// What was proposed.
        release: Release,
    },
    /// A release that a person chose; automation does not overwrite it.
    Pinned {
        /// What was chosen, where its images are known.
        release: Option<Release>,
        /// The newest release it was chosen over: only newer ones are proposed.
        over: Option<Release>,
        /// The environment that it is to be proven for: it ends once the release came there.
        serves: Option<EnvironmentName>,
        /// What was seen or said.
        reason: String,
    },
    /// The pin ended.
    Unpinned {
        /// What was said.
        reason: String,
    },
    /// A person stopped everything Towpath does in this scope.
    Held {
        /// What was said.
        reason: String,
        /// When it ends by itself; `None`: a person ends it.
        until: Option<Timestamp>,
    },
    /// The hold ended.
    Resumed {
        /// What was said.
        reason: String,
    },
    /// A person stopped what comes by itself to an environment.
    Frozen {
        /// What was said.
        reason: String,
        /// When it opens by itself; `None`: a person thaws it.
        until: Option<Timestamp>,
    },
    /// The freeze ended.
    Thawed {
        /// What was said.
        reason: String,
    },
    /// A person asks for a failed or declined release to be tried again.
    Retried {
        /// Which.
        release: Release,
    },
    /// A person asked for a release to come next.
    Promoted(Promoted),
    /// A commit changed a gated branch's images without a merged proposal.
    Ungated {
        /// What it deploys, where its images are known.
        release: Option<Release>,
    },
    /// An apply took fields from other managers.
    Took {
        /// The number of the deployment that was applied.
        number: u64,
        /// Whose, and which.
        taken: Vec<Taken>,
    },
    /// A person said yes to everything that a deployment deletes.
    ApprovedPrune {
        /// The deployment's number.
        number: u64,
    },
    /// A person said yes to taking over the live objects that a desired state names and that are not
    /// ours.
    ApprovedAdoption {
        /// The unit's desired state.
        state: Digest,
    },
    /// A person notes what a deployment's trouble came from, and what mended it.
    Annotated {
        /// The deployment's number.
        number: u64,
        /// What it came from, as far as that is known.
        cause: Option<String>,
        /// What mended it.
        fix: Option<String>,
    },
    /// Something was found out about an image.
    Evidence {
        /// Which image.
        digest: Digest,
        /// What.
        finding: Finding,
    },
    /// Somebody stated what nobody may state without a key of the environment's `authority`: it has no
    /// effect.
    Refused {
        /// Who said what, in which commit of the records.
        said: String,
        /// Why it does not count.
        reason: String,
    },
}

impl Statement {
    /// What it takes for the statement to count where an environment lists keys; `None`: nothing, for it only
    /// stops, or says something that nothing is decided on.
    pub fn right(&self) -> Option<Right> {
        match self {
            Self::Held { .. }
            | Self::Frozen { .. }
            | Self::Declined { .. }
            | Self::Annotated { .. } => None,
            Self::Resumed { .. }
            | Self::Thawed { .. }
            | Self::Unpinned { .. }
            | Self::Retried { .. } => Some(Right::Resume),
            Self::Promoted(_) => Some(Right::Promote),
            // To go back says both: what is chosen, and that what it was chosen over no longer counts.
            Self::Pinned { .. } | Self::Withdrawn { proposal: None, .. } => Some(Right::RollBack),
            Self::Evidence { .. } => Some(Right::Evidence),
            Self::ApprovedPrune { .. } | Self::ApprovedAdoption { .. } => Some(Right::Approve),
            Self::Adopted { .. }
            | Self::Deployment { .. }
            | Self::Verdict { .. }
            | Self::Degraded { .. }
            | Self::Proposed { .. }
            | Self::Withdrawn { .. }
            | Self::Ungated { .. }
            | Self::Took { .. }
            | Self::Refused { .. } => Some(Right::Record),
        }
    }
}

/// A release that a person asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promoted {
    /// Which.
    pub release: Release,
    /// What was said.
    pub reason: String,
    /// Whether it comes though it is not proven.
    pub unproven: bool,
    /// Whether it comes though the environment is frozen.
    pub during_freeze: bool,
    /// The moment before which it does not come.
    pub not_before: Option<Timestamp>,
}

/// Fields that an apply took from another manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Of which object, for people: `Deployment.apps default/shop`.
    pub object: String,
    /// Whose they were.
    pub manager: String,
    /// Which, as paths: `.spec.replicas`.
    pub fields: Vec<String>,
}

/// How a deployment came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It was there when the unit was adopted.
    Baseline,
    /// Towpath wrote the release.
    Automation,
    /// A proposal was merged.
    Merge,
    /// A person wrote the branch.
    Hand,
    /// Towpath went back after a failure.
    Rollback,
}

/// How a deployment ended for a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every object became current.
    Healthy {
        /// Whether any of its workloads ran. What nothing ran proves nothing.
        exercised: bool,
    },
    /// It did not, and why.
    Failed {
        /// What the cluster said, or how long it was waited for.
        reason: String,
        /// Whether all of it was applied: what the cluster refused, or what a job that runs before
        /// stopped, is not.
        applied: bool,
    },
    /// A newer deployment came before it was judged.
    Superseded,
}

/// One line for people: what is stated, without where and when.
impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |release: &Option<Release>| {
            release
                .as_ref()
                .map_or_else(|| "an unknown image".to_owned(), |it| it.name.clone())
        };
        match self {
            Self::Adopted { release } => write!(f, "adopted {}", shown(release)),
            Self::Deployment { release, cause, .. } => {
                write!(f, "deployment of {} ({})", shown(release), cause.as_str())
            }
            Self::Verdict {
                release, verdict, ..
            } => match verdict {
                Verdict::Failed { reason, .. } => {
                    write!(f, "{} failed: {reason}", shown(release))
                }
                Verdict::Healthy { exercised: false } => {
                    write!(f, "{} healthy, not exercised", shown(release))
                }
                other => write!(f, "{} {}", shown(release), other.as_str()),
            },
            Self::Degraded {
                release, reason, ..
            } => write!(f, "{} degraded: {reason}", shown(release)),
            Self::Proposed { release, .. } => write!(f, "proposed {release}"),
            Self::Withdrawn {
                release, reason, ..
            } => write!(f, "withdrawn {release}: {reason}"),
            Self::Declined { release } => write!(f, "declined {release}"),
            Self::Pinned {
                release, reason, ..
            } => write!(f, "pinned {}: {reason}", shown(release)),
            Self::Unpinned { reason } => write!(f, "unpinned: {reason}"),
            Self::Held {
                reason,
                until: None,
            } => write!(f, "held: {reason}"),
            Self::Held {
                reason,
                until: Some(until),
            } => write!(f, "held until {until}: {reason}"),
            Self::Resumed { reason } => write!(f, "resumed: {reason}"),
            Self::Frozen {
                reason,
                until: None,
            } => write!(f, "frozen: {reason}"),
            Self::Frozen {
                reason,
                until: Some(until),
            } => write!(f, "frozen until {until}: {reason}"),
            Self::Thawed { reason } => write!(f, "thawed: {reason}"),
            Self::Retried { release } => write!(f, "retried {release}"),
            Self::Promoted(promoted) => write!(f, "promoted {promoted}"),
            Self::Ungated { release } => write!(f, "ungated {}", shown(release)),
            Self::Took { taken, .. } => {
                let taken = taken.iter().map(ToString::to_string);
                write!(f, "took {}", taken.collect::<Vec<_>>().join("; "))
            }
            Self::ApprovedPrune { number } => {
                write!(f, "approved what deployment {number} deletes")
            }
            Self::ApprovedAdoption { .. } => f.write_str("approved the adoption of live objects"),
            Self::Evidence { digest, finding } => {
                write!(
                    f,
                    "evidence {} of {}: {finding}",
                    finding.name,
                    digest.short()
                )
            }
            Self::Refused { said, reason } => write!(f, "without effect: {said}: {reason}"),
            Self::Annotated { number, cause, fix } => {
                write!(f, "of deployment {number}:")?;
                if let Some(cause) = cause {
                    write!(f, " cause: {cause}")?;
                }
                let and = if cause.is_some() { ";" } else { "" };
                match fix {
                    Some(fix) => write!(f, "{and} fix: {fix}"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// `v1.5.0 unproven: the fix cannot wait`.
impl fmt::Display for Promoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.release)?;
        if self.unproven {
            f.write_str(" unproven")?;
        }
        if self.during_freeze {
            f.write_str(" during a freeze")?;
        }
        if let Some(at) = self.not_before {
            write!(f, " not before {at}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// `.spec.replicas of Deployment.apps default/shop from kubectl`.
impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = self.fields.join(", ");
        write!(f, "{fields} of {} from {}", self.object, self.manager)
    }
}
