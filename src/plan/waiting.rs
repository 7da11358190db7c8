//! Why a unit is idle: one reason, since when, and when it is looked at next. The sentences that say
//! so to people stand in [`super::sentence`].

use jiff::Timestamp;

use super::Scope;
use super::evidence::Proved;
use super::freeze::Frozen;
use super::upstream::Unproven;
use super::world::Unreadable;
use crate::model::{CommitId, EnvironmentName, ImageRepository, Rate, Release};

/// Why a unit is idle.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// The one reason.
    pub reason: Reason,
    /// Since when.
    pub since: Option<Timestamp>,
    /// When it changes by itself, if time alone can change it.
    pub next: Option<Timestamp>,
}

/// The one thing that blocks. Declared in the order in which they are shown: the first that
/// matches is the reason.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// Another Towpath acts for this environment.
    NotOurs,
    /// A source cannot be read.
    Unreadable(Unreadable),
    /// A step was carried out and did not take effect.
    Retrying {
        /// What was answered.
        failed: Unreadable,
        /// Whether it is somebody's to change what prevents it, such as a right or a quota.
        prevented: bool,
    },
    /// The records cannot be read.
    UnreadableRecords(String),
    /// The manifests cannot be rendered.
    BrokenManifests(String),
    /// The branch went back behind what was recorded; a second read must confirm it.
    WentBack,
    /// A commit is known elsewhere that the branch was not yet seen to have.
    Behind {
        /// Which.
        commit: CommitId,
        /// What told of it, such as `the cluster runs`.
        seen: String,
    },
    /// A person stopped everything here.
    Held {
        /// What was said.
        reason: String,
        /// Who said it.
        by: String,
        /// What it stops.
        scope: Scope,
        /// Where it stands, if that is a file.
        place: Option<String>,
    },
    /// Live objects that are not ours would be changed.
    Adopting {
        /// What would be taken over, and from whom.
        objects: Vec<String>,
    },
    /// A person chose what runs.
    Pinned {
        /// What runs.
        release: Option<Release>,
        /// What was seen or said.
        reason: String,
    },
    /// What runs, or what would come next, failed here.
    Failed {
        /// What failed.
        release: Option<Release>,
        /// Why.
        reason: String,
    },
    /// The cluster will not take what runs as its manifests state it now.
    Refused {
        /// What it said, and of which object.
        reason: String,
    },
    /// A sibling failed, and the environment stops the line.
    LineStopped {
        /// What failed.
        reason: String,
    },
    /// The release cannot be written.
    Unwritable {
        /// Which.
        release: Release,
        /// Why.
        why: String,
    },
    /// The environment takes nothing that comes by itself.
    Frozen {
        /// What waits, where that is known.
        release: Option<Release>,
        /// The freeze.
        frozen: Frozen,
    },
    /// A person closed the proposal.
    Declined {
        /// Of which release.
        release: Release,
    },
    /// A person asked for what is not proven, and it takes two.
    SecondWord {
        /// Which.
        release: Release,
        /// Who asked.
        by: String,
    },
    /// A release lacks images.
    Incomplete {
        /// Which.
        name: String,
        /// Where it is missing.
        missing: Vec<ImageRepository>,
    },
    /// A release lacks evidence that the environment asks for.
    Evidence {
        /// Which.
        release: Release,
        /// What: never empty.
        lacks: Vec<Proved>,
    },
    /// It must run healthy a while longer upstream.
    Soaking {
        /// Which.
        release: Release,
        /// Where.
        environment: EnvironmentName,
        /// Until when.
        until: Timestamp,
    },
    /// The next release is not proven upstream.
    Upstream {
        /// Where it is held up.
        environment: EnvironmentName,
        /// Which release.
        release: Option<Release>,
        /// What is the matter with it there.
        why: Unproven,
    },
    /// The next release is not old enough.
    Young {
        /// Which.
        release: Release,
        /// When it is.
        until: Timestamp,
    },
    /// The running release must be proven or have failed first.
    Paced {
        /// What waits.
        release: Release,
    },
    /// As many deployments as may came of late.
    Rate {
        /// What waits.
        release: Release,
        /// How many may come.
        rate: Rate,
        /// When the next one may.
        until: Timestamp,
    },
    /// A person asked for it, not before a moment.
    Scheduled {
        /// Which.
        release: Release,
        /// Who asked.
        by: String,
        /// The moment.
        until: Timestamp,
    },
    /// A person must merge the proposal.
    Gate {
        /// What is proposed.
        release: Release,
        /// The request, or the branch.
        request: String,
        /// Whether it is the branch.
        is_branch: bool,
        /// Who or what may merge it at any moment.
        armed: Option<String>,
        /// A newer release that is proposed once this one is merged or closed.
        follows: Option<Release>,
    },
    /// The rollout is on its way.
    Converging {
        /// What is rolled out.
        release: Option<Release>,
        /// What the cluster says.
        progress: String,
        /// When it has failed.
        deadline: Timestamp,
    },
    /// Releases come faster than they can be proven.
    Outpaced {
        /// How many in a row were superseded.
        count: usize,
    },
    /// More objects would be deleted than may be at once. All else goes on.
    PruneLimit {
        /// How many would go.
        count: usize,
        /// How many may.
        limit: usize,
        /// The deployment that no longer asks for them.
        number: u64,
    },
    /// Objects wait for a person's yes before they are deleted. All else goes on.
    Confirm {
        /// Which.
        objects: Vec<String>,
        /// The deployment that no longer asks for them.
        number: u64,
    },
    /// Live objects were set back several times, and somebody keeps changing them.
    Contested {
        /// Which, and who.
        objects: Vec<String>,
    },
    /// Live objects differ from what was applied, and are only reported.
    Drifted {
        /// Which, how, and who changed them.
        objects: Vec<String>,
    },
    /// The configuration no longer takes the application here, and it is left running.
    Removed {
        /// What is there of it.
        objects: Vec<String>,
    },
    /// No release exists yet.
    NothingReleased,
    /// What should run runs.
    UpToDate {
        /// What runs.
        release: Option<Release>,
    },
}

impl Waiting {
    /// Waits for this, with no moment known at which time alone would change it.
    pub fn on(reason: Reason) -> Self {
        Self {
            reason,
            since: None,
            next: None,
        }
    }

    /// Adds since when.
    pub fn since(mut self, since: Timestamp) -> Self {
        self.since = Some(since);
        self
    }

    /// Adds when time alone changes it.
    pub fn until(mut self, next: Timestamp) -> Self {
        self.next = Some(next);
        self
    }

    /// The one to show of two: the reason declared first. The earlier moment counts for both.
    pub fn or(self, other: Self) -> Self {
        let next = match (self.next, other.next) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let shown = if other.reason.order() < self.reason.order() {
            other
        } else {
            self
        };
        Self { next, ..shown }
    }
}

impl Reason {
    /// The names of all reasons, in the order in which they are shown.
    pub const NAMES: [&str; 35] = [
        "not-ours",
        "unreadable",
        "retrying",
        "unreadable-records",
        "broken-manifests",
        "went-back",
        "behind",
        "held",
        "adopting",
        "pinned",
        "failed",
        "refused",
        "line-stopped",
        "unwritable",
        "frozen",
        "declined",
        "second-word",
        "incomplete",
        "evidence",
        "soaking",
        "upstream",
        "young",
        "paced",
        "rate",
        "scheduled",
        "gate",
        "outpaced",
        "converging",
        "prune-limit",
        "confirm",
        "contested",
        "drifted",
        "removed",
        "nothing-released",
        "up-to-date",
    ];

    /// The name of the reason, stable for scripts.
    pub fn name(&self) -> &'static str {
        Self::NAMES[self.order()]
    }

    /// Where it stands among reasons: the lowest is shown.
    fn order(&self) -> usize {
        match self {
            Self::NotOurs => 0,
            Self::Unreadable(_) => 1,
            Self::Retrying { .. } => 2,
            Self::UnreadableRecords(_) => 3,
            Self::BrokenManifests(_) => 4,
            Self::WentBack => 5,
            Self::Behind { .. } => 6,
            Self::Held { .. } => 7,
            Self::Adopting { .. } => 8,
            Self::Pinned { .. } => 9,
            Self::Failed { .. } => 10,
            Self::Refused { .. } => 11,
            Self::LineStopped { .. } => 12,
            Self::Unwritable { .. } => 13,
            Self::Frozen { .. } => 14,
            Self::Declined { .. } => 15,
            Self::SecondWord { .. } => 16,
            Self::Incomplete { .. } => 17,
            Self::Evidence { .. } => 18,
            Self::Soaking { .. } => 19,
            Self::Upstream { .. } => 20,
            Self::Young { .. } => 21,
            Self::Paced { .. } => 22,
            Self::Rate { .. } => 23,
            Self::Scheduled { .. } => 24,
            Self::Gate { .. } => 25,
            Self::Outpaced { .. } => 26,
            Self::Converging { .. } => 27,
            Self::PruneLimit { .. } => 28,
            Self::Confirm { .. } => 29,
            Self::Contested { .. } => 30,
            Self::Drifted { .. } => 31,
            Self::Removed { .. } => 32,
            Self::NothingReleased => 33,
            Self::UpToDate { .. } => 34,
        }
    }

    /// Whether only a person can lift it.
    pub fn needs_person(&self) -> bool {
        matches!(
            self,
            Self::UnreadableRecords(_)
                | Self::BrokenManifests(_)
                | Self::Held { .. }
                | Self::Adopting { .. }
                | Self::Pinned { .. }
                | Self::Failed { .. }
                | Self::Refused { .. }
                | Self::LineStopped { .. }
                | Self::Unwritable { .. }
                | Self::Declined { .. }
                | Self::SecondWord { .. }
                | Self::Gate { .. }
                | Self::PruneLimit { .. }
                | Self::Confirm { .. }
                | Self::Contested { .. }
                | Self::Drifted { .. }
                | Self::Removed { .. }
        )
    }

    /// Whether it only asks for patience, or is what a person decided: nothing that somebody should be told of
    /// because it lasts.
    pub fn is_patient(&self) -> bool {
        matches!(
            self,
            Self::NotOurs
                | Self::WentBack
                | Self::Held { .. }
                | Self::Pinned { .. }
                | Self::Frozen { .. }
                | Self::Declined { .. }
                | Self::Soaking { .. }
                // Where it is held up, that is told.
                | Self::Upstream { .. }
                | Self::Young { .. }
                | Self::Paced { .. }
                | Self::Rate { .. }
                | Self::Scheduled { .. }
                // It has a deadline, and a verdict then.
                | Self::Converging { .. }
                | Self::NothingReleased
                | Self::UpToDate { .. }
        )
    }

    /// Whether something is held or failed: what `run --once` reports with exit code 3.
    pub fn is_stopped(&self) -> bool {
        matches!(
            self,
            Self::UnreadableRecords(_)
                | Self::BrokenManifests(_)
                | Self::Held { .. }
                | Self::Adopting { .. }
                | Self::Failed { .. }
                | Self::Refused { .. }
                | Self::LineStopped { .. }
                | Self::Unwritable { .. }
                | Self::PruneLimit { .. }
                | Self::Confirm { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::check::tests::release;

    #[test]
    fn who_lifts_a_reason_and_whether_it_is_one_to_tell_of() {
        let held = Reason::Held {
            reason: "an audit".to_owned(),
            by: "ann".to_owned(),
            scope: Scope::Unit,
            place: None,
        };
        let stopped = Reason::LineStopped {
            reason: "cart failed".to_owned(),
        };
        let declined = Reason::Declined {
            release: release(1),
        };
        let asked = Reason::SecondWord {
            release: release(1),
            by: "ann".to_owned(),
        };
        let paced = Reason::Paced {
            release: release(1),
        };
        // A person's, no matter of concern, stopped.
        for (reason, expected) in [
            (held, (true, true, true)),
            (stopped, (true, false, true)),
            (declined, (true, true, false)),
            (asked, (true, false, false)),
            (paced, (false, true, false)),
            (Reason::Outpaced { count: 3 }, (false, false, false)),
            (Reason::NothingReleased, (false, true, false)),
        ] {
            let is = (
                reason.needs_person(),
                reason.is_patient(),
                reason.is_stopped(),
            );
            assert_eq!(is, expected, "{reason}");
        }
    }
}
