//! Why a unit is idle: one reason, since when, when it is looked at next, and what would unblock it.
//!
//! `plan`, `status`, `explain`, logs and pages all say these very sentences.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use super::world::Unreadable;
use crate::model::{CommitId, EnvironmentName, ImageRepository, Release};

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
    Retrying(Unreadable),
    /// The records cannot be read.
    UnreadableRecords(String),
    /// The manifests cannot be rendered.
    BrokenManifests(String),
    /// The branch went back behind what was recorded; a second read must confirm it.
    WentBack,
    /// The cluster runs a commit that the branch was not yet seen to have.
    Behind {
        /// Which.
        commit: CommitId,
    },
    /// A person stopped everything here.
    Held {
        /// What was said.
        reason: String,
        /// Who said it.
        by: String,
    },
    /// Live objects that are not ours would be changed.
    Adopting {
        /// What would be taken over, and from whom.
        objects: Vec<String>,
    },
    /// More objects would be pruned than may be.
    PruneLimit {
        /// How many would go.
        count: usize,
        /// How many may.
        limit: usize,
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
    /// A person closed the proposal.
    Declined {
        /// Of which release.
        release: Release,
    },
    /// A release lacks images.
    Incomplete {
        /// Which.
        name: String,
        /// Where it is missing.
        missing: Vec<ImageRepository>,
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
        why: String,
    },
    /// The running release must be proven or have failed first.
    Paced {
        /// What waits.
        release: Release,
    },
    /// A person must merge the proposal.
    Gate {
        /// What is proposed.
        release: Release,
        /// The request, or the branch.
        request: String,
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
    /// Live objects differ from what was applied, and are only reported.
    Drifted {
        /// Which.
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
    pub const NAMES: [&str; 25] = [
        "not-ours",
        "unreadable",
        "retrying",
        "unreadable-records",
        "broken-manifests",
        "went-back",
        "behind",
        "held",
        "adopting",
        "prune-limit",
        "pinned",
        "failed",
        "line-stopped",
        "unwritable",
        "declined",
        "incomplete",
        "soaking",
        "upstream",
        "paced",
        "gate",
        "outpaced",
        "converging",
        "drifted",
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
            Self::Retrying(_) => 2,
            Self::UnreadableRecords(_) => 3,
            Self::BrokenManifests(_) => 4,
            Self::WentBack => 5,
            Self::Behind { .. } => 6,
            Self::Held { .. } => 7,
            Self::Adopting { .. } => 8,
            Self::PruneLimit { .. } => 9,
            Self::Pinned { .. } => 10,
            Self::Failed { .. } => 11,
            Self::LineStopped { .. } => 12,
            Self::Unwritable { .. } => 13,
            Self::Declined { .. } => 14,
            Self::Incomplete { .. } => 15,
            Self::Soaking { .. } => 16,
            Self::Upstream { .. } => 17,
            Self::Paced { .. } => 18,
            Self::Gate { .. } => 19,
            Self::Outpaced { .. } => 20,
            Self::Converging { .. } => 21,
            Self::Drifted { .. } => 22,
            Self::NothingReleased => 23,
            Self::UpToDate { .. } => 24,
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
                | Self::PruneLimit { .. }
                | Self::Pinned { .. }
                | Self::Failed { .. }
                | Self::LineStopped { .. }
                | Self::Unwritable { .. }
                | Self::Declined { .. }
                | Self::Gate { .. }
                | Self::Drifted { .. }
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
                | Self::PruneLimit { .. }
                | Self::Failed { .. }
                | Self::LineStopped { .. }
                | Self::Unwritable { .. }
        )
    }

    /// What would unblock it, in one sentence; `None` where nothing is blocked.
    pub fn unblock(&self) -> Option<String> {
        let text = match self {
            Self::NotOurs => "the Towpath that runs with `--only` for it acts".to_owned(),
            Self::Unreadable(unreadable) => {
                format!("make {} readable; it is asked again by itself", unreadable.source)
            }
            Self::Retrying(unreadable) => {
                format!("what {} says; it is tried again by itself", unreadable.source)
            }
            Self::UnreadableRecords(_) => "use the Towpath that wrote them, or restore the records ref".to_owned(),
            Self::BrokenManifests(_) => "commit a fix to the infra repository".to_owned(),
            Self::Behind { .. } => "a fresh look at the branch".to_owned(),
            Self::WentBack => "a second look 30 s after the first".to_owned(),
            Self::Held { .. } => "a person who lifts the hold".to_owned(),
            Self::Adopting { .. } => {
                "set `adopt: auto` in the environment, or name the engines whose objects may be taken over".to_owned()
            }
            Self::PruneLimit { .. } => "raise `prune: { limit }`, or put the manifests back".to_owned(),
            Self::Pinned { .. } => "commit a newer release yourself, or merge its proposal".to_owned(),
            Self::Failed { .. } => "a newer release, or a changed manifest".to_owned(),
            Self::LineStopped { .. } => "the failed unit's recovery".to_owned(),
            Self::Unwritable { .. } => "commit a fix to the infra repository".to_owned(),
            Self::Declined { .. } => "a newer release".to_owned(),
            Self::Incomplete { .. } => "push the missing images".to_owned(),
            Self::Soaking { until, .. } => format!("time: it is proven at {}", clock(*until)),
            Self::Upstream { environment, .. } => format!("`towpath explain APPLICATION {environment}`"),
            Self::Paced { .. } => "the running release's proof or failure".to_owned(),
            Self::Gate { request, .. } => format!("merge {request}, or delete it to decline"),
            Self::Converging { deadline, .. } => {
                format!("the rollout's end; it has failed at {}", clock(*deadline))
            }
            Self::Outpaced { .. } => "set `pace: proven` in the environment".to_owned(),
            Self::Drifted { .. } => "set `drift: correct`, or undo the change in the cluster".to_owned(),
            Self::NothingReleased => "push an image whose tag the environment follows".to_owned(),
            Self::UpToDate { .. } => return None,
        };
        Some(text)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |release: &Option<Release>| {
            release
                .as_ref()
                .map_or_else(|| "an unknown image".to_owned(), ToString::to_string)
        };
        match self {
            Self::NotOurs => f.write_str("another Towpath acts for this environment"),
            // Most sources name themselves in what they say.
            Self::Unreadable(it) if it.why.starts_with(&it.source) => f.write_str(&it.why),
            Self::Unreadable(it) => write!(f, "{} cannot be read: {}", it.source, it.why),
            Self::Retrying(it) => write!(f, "{}: {}", it.source, it.why),
            Self::UnreadableRecords(why) => write!(f, "the records cannot be read: {why}"),
            Self::BrokenManifests(why) => f.write_str(why),
            Self::Behind { commit } => {
                write!(
                    f,
                    "the cluster runs {}, which the branch does not show yet",
                    commit.short()
                )
            }
            Self::WentBack => {
                f.write_str("the branch went back behind the newest recorded deployment")
            }
            Self::Held { reason, by } => write!(f, "held by {by}: {reason}"),
            Self::Adopting { objects } => {
                write!(
                    f,
                    "live objects that are not ours would be changed: {}",
                    objects.join(", ")
                )
            }
            Self::PruneLimit { count, limit } => {
                write!(f, "{count} objects would be pruned, {limit} may be")
            }
            Self::Pinned { release, reason } => write!(f, "pinned to {}: {reason}", shown(release)),
            Self::Failed { release, reason } => write!(f, "{} failed: {reason}", shown(release)),
            Self::LineStopped { reason } => write!(f, "the line is stopped: {reason}"),
            Self::Unwritable { release, why } => write!(f, "{release} cannot be written: {why}"),
            Self::Declined { release } => write!(f, "{release} was declined"),
            Self::Incomplete { name, missing } => {
                let missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
                match missing.is_empty() {
                    true => write!(f, "{name} lacks an image"),
                    false => write!(f, "{name} lacks its image in {}", missing.join(", ")),
                }
            }
            Self::Soaking {
                release,
                environment,
                until,
            } => {
                write!(
                    f,
                    "{release} soaks in {environment} until {}",
                    clock(*until)
                )
            }
            Self::Upstream {
                environment,
                release,
                why,
            } => match release {
                Some(release) => write!(f, "{release} is not proven in {environment}: {why}"),
                None => write!(f, "nothing newer is proven in {environment}: {why}"),
            },
            Self::Paced { release } => write!(f, "{release} waits for the running release's proof"),
            Self::Gate { release, request } => {
                write!(f, "{release} waits for a person to merge {request}")
            }
            Self::Converging {
                release, progress, ..
            } => {
                write!(f, "{} rolls out: {progress}", shown(release))
            }
            Self::Outpaced { count } => {
                write!(
                    f,
                    "{count} releases in a row were superseded before they were proven"
                )
            }
            Self::Drifted { objects } => write!(f, "drifted: {}", objects.join(", ")),
            Self::NothingReleased => f.write_str("no release yet"),
            Self::UpToDate { release } => match release {
                Some(release) => write!(f, "{release} runs, nothing newer is released"),
                None => f.write_str("nothing newer is released"),
            },
        }
    }
}

/// A moment for people: seconds are enough.
fn clock(at: Timestamp) -> String {
    at.round(jiff::Unit::Second).unwrap_or(at).to_string()
}

/// A deadline that never overflows.
pub(super) fn after(at: Timestamp, duration: Duration) -> Timestamp {
    at.checked_add(duration).unwrap_or(Timestamp::MAX)
}
