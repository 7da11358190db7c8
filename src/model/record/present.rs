//! What is true now: the fold over a unit's records, and which records may be left out of it.
//!
//! The present of a unit is itself a list of records, kept short by [`UnitRecords::standing`], so
//! that reading it costs the same after 100,000 records as after 10.

mod fold;

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Cause, Promoted, Record, Taken, Verdict};
use crate::model::{
    ApplicationName, Authority, CommitId, Digest, Digests, EnvironmentName, EvidenceName, Finding,
    Release,
};

/// How many healthy runs are remembered: what a rollback may go back to without asking history.
const RUNS: usize = 5;

/// How many failed and how many declined releases are remembered. An older one than these is not
/// taken by itself anyway: only what is newer than every one of them is.
const STOPPED: usize = 10;

/// How many commits of one proposal are remembered, for a request that was closed while it moved.
const EARLIER: usize = 3;

/// The count of deployments superseded in a row ends here: more of them say nothing new.
const OUTPACED_MAX: usize = 10;

/// How many fields' former managers are remembered, by object and manager; all stand in the notes.
const TAKEN: usize = 20;

/// How many findings are remembered, of all images together: the newest of each image and name. Some ten releases
/// of one image and five rules.
const EVIDENCE: usize = 50;

/// How many statements without effect are remembered, until the next deployment; all stand in the notes.
pub(super) const REFUSED: usize = 3;

/// How many people are remembered who asked for the same.
const PROMOTERS: usize = 10;

/// Adds to what is remembered, and forgets the oldest beyond so many.
pub(super) fn keep_newest<T>(kept: &mut Vec<T>, newest: T, most: usize) {
    kept.push(newest);
    let surplus = kept.len().saturating_sub(most);
    kept.drain(..surplus);
}

/// What the records say of a unit now.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UnitRecords {
    /// Whether the unit was adopted.
    pub adopted: bool,
    /// The newest deployment.
    pub deployment: Option<Deployment>,
    /// The one before it, as long as the newest is not judged: it holds where the newest turns out
    /// never to have reached the branch.
    before: Option<Deployment>,
    /// Healthy runs, oldest first; the last one may still run.
    pub runs: Vec<Run>,
    /// Releases that failed here and may not be tried again by themselves.
    pub failures: Vec<Failure>,
    /// Releases a person declined.
    pub declined: Vec<Declined>,
    /// The proposal that is open.
    pub proposal: Option<Proposed>,
    /// The last proposal that was taken back or merged: its branch has served.
    pub served: Option<Served>,
    /// The pin that holds.
    pub pin: Option<Pin>,
    /// What a person asked for: it is to come next, or it is what runs.
    pub promotion: Option<Promotion>,
    /// The hold on this unit.
    pub hold: Option<Hold>,
    /// How many deployments in a row were superseded before they were judged.
    pub outpaced: usize,
    /// What the newest deployment took from other managers.
    pub taken: Vec<Taken>,
    /// The deployment whose deletions a person said yes to.
    pub approved_prune: Option<u64>,
    /// The desired state for which a person said yes to taking over live objects.
    pub approved_adoption: Option<Digest>,
    /// What was found out about its images, the newest last.
    pub evidence: Vec<Found>,
    /// What was stated of it since the newest deployment and has no effect, a sentence each.
    pub refused: Vec<String>,
    /// The records that say all this, oldest first.
    records: Vec<Record>,
}

/// A deployment of a unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    /// Its number in the environment.
    pub number: u64,
    /// The commit that changed the unit's desired state.
    pub commit: CommitId,
    /// What it deploys, where its images are known.
    pub release: Option<Release>,
    /// The unit's desired state.
    pub state: Digest,
    /// How it came.
    pub cause: Cause,
    /// When it was recorded, or asked for again.
    pub at: Timestamp,
    /// When a person asked for it again, if one did.
    pub retried: Option<Timestamp>,
    /// Its verdict, once it is in.
    pub verdict: Option<Judged>,
}

/// A verdict and when it was recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// How the deployment ended.
    pub verdict: Verdict,
    /// When that was recorded.
    pub at: Timestamp,
}

/// A release that was healthy here, and for how long it ran.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The deployment's number.
    pub number: u64,
    /// Its commit.
    pub commit: CommitId,
    /// What ran.
    pub release: Release,
    /// The unit's desired state.
    pub state: Digest,
    /// When it was seen healthy.
    pub healthy_at: Timestamp,
    /// Whether any of its workloads ran.
    pub exercised: bool,
    /// When the next deployment replaced it, and that deployment's number.
    pub ended: Option<(Timestamp, u64)>,
    /// Why it no longer counts: health lost while soaking, or the release was withdrawn.
    pub spoiled: Option<String>,
}

/// A release that failed with a desired state.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The deployment's number.
    pub number: u64,
    /// What failed.
    pub release: Release,
    /// With which desired state.
    pub state: Digest,
    /// Why.
    pub reason: String,
    /// When that was recorded.
    pub at: Timestamp,
}

/// A release that a person closed unmerged.
#[derive(Debug, Clone, PartialEq)]
pub struct Declined {
    /// Which.
    pub release: Release,
    /// When that was recorded.
    pub at: Timestamp,
}

/// The open proposal.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposed {
    /// What is proposed.
    pub release: Release,
    /// The proposal's commit.
    pub commit: CommitId,
    /// Commits that proposed the same before, newest first: the base moved since.
    pub earlier: Vec<CommitId>,
    /// The commit of the environment's branch that it was made on.
    pub base: CommitId,
    /// When it was recorded.
    pub at: Timestamp,
}

/// A proposal that was taken back or merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Its commit.
    pub commit: CommitId,
    /// Why it was taken back; `None`: it was merged.
    pub reason: Option<String>,
}

/// What was found out about an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Which image.
    pub digest: Digest,
    /// What.
    pub finding: Finding,
    /// Who said so.
    pub by: String,
    /// When it was recorded.
    pub at: Timestamp,
}

/// A release that a person chose.
#[derive(Debug, Clone, PartialEq)]
pub struct Pin {
    /// What was chosen.
    pub release: Option<Release>,
    /// The newest release it was chosen over.
    pub over: Option<Release>,
    /// The environment that it is to be proven for.
    pub serves: Option<EnvironmentName>,
    /// What was seen or said.
    pub reason: String,
    /// When it was recorded.
    pub at: Timestamp,
}

/// What a person asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Promotion {
    /// What was said.
    pub promoted: Promoted,
    /// Who.
    pub by: String,
    /// Others who asked for the same before, though it is not proven.
    pub also: Vec<String>,
    /// When it was recorded.
    pub at: Timestamp,
}

impl Pin {
    /// Whether this very release was chosen.
    pub fn is_on(&self, digests: &Digests) -> bool {
        self.release.as_ref().is_some_and(|it| it.is(digests))
    }
}

/// A person's stop.
#[derive(Debug, Clone, PartialEq)]
pub struct Hold {
    /// What was said.
    pub reason: String,
    /// Who.
    pub by: String,
    /// When it was recorded.
    pub at: Timestamp,
    /// When it ends by itself; `None`: a person ends it.
    pub until: Option<Timestamp>,
}

impl Promotion {
    /// Everybody who asked for it.
    pub fn who(&self) -> String {
        match self.also.is_empty() {
            true => self.by.clone(),
            false => format!("{} and {}", self.also.join(", "), self.by),
        }
    }

    /// Who else asked for this, unproven as it is, where now this person does.
    fn by_others(self, promoted: &Promoted, by: &str) -> Vec<String> {
        let same = self.promoted.release.is(&promoted.release.digests());
        if !(same && self.promoted.unproven && promoted.unproven) {
            return Vec::new();
        }
        let mut others = self.also;
        keep_newest(&mut others, self.by, PROMOTERS);
        others.retain(|it| it != by);
        others
    }

    /// Whether it comes though it is not proven.
    pub fn is_forced(&self, authority: &Authority) -> bool {
        self.promoted.unproven && authority.lets_unproven(&self.by, &self.also)
    }

    /// What is said of a release that comes though it is not proven, wherever it is shown.
    pub fn notice(&self, authority: &Authority) -> Option<String> {
        let Promoted {
            release, reason, ..
        } = &self.promoted;
        let notice = || {
            let by = self.who();
            format!("{release} was promoted unproven by {by}: {reason}")
        };
        self.is_forced(authority).then(notice)
    }
}

impl Hold {
    /// Whether it holds now.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// What the records say of a whole environment now.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Standing {
    /// The number of the newest deployment; 0 when there was none.
    pub number: u64,
    /// The commit of the newest deployment.
    pub newest: Option<CommitId>,
    /// Deployments that have no tag yet.
    pub open: Vec<OpenDeployment>,
    /// The hold on the environment.
    pub hold: Option<Hold>,
    /// What a person said of the environment's freeze.
    pub freeze: Option<Hold>,
    /// When the newest deployments were recorded, oldest first: as many as a rate may count.
    pub recent: Vec<Timestamp>,
    /// Applications whose newest deployment failed, and why.
    pub failed: BTreeMap<ApplicationName, String>,
    /// What was stated of it since the newest deployment and has no effect, a sentence each.
    pub refused: Vec<String>,
}

/// A deployment that has no tag yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenDeployment {
    /// Its number.
    pub number: u64,
    /// Its commit.
    pub commit: CommitId,
}

impl Deployment {
    /// Why it failed, if it did.
    pub fn failed(&self) -> Option<&str> {
        match &self.verdict.as_ref()?.verdict {
            Verdict::Failed { reason, .. } => Some(reason),
            Verdict::Healthy { .. } | Verdict::Superseded => None,
        }
    }

    /// Whether it failed before all of it was applied. What is missing of it is not applied by itself.
    pub fn is_abandoned(&self) -> bool {
        let judged = self.verdict.as_ref().map(|judged| &judged.verdict);
        matches!(judged, Some(Verdict::Failed { applied: false, .. }))
    }

    /// Whether it was judged healthy.
    pub fn is_healthy(&self) -> bool {
        let judged = self.verdict.as_ref().map(|judged| &judged.verdict);
        matches!(judged, Some(Verdict::Healthy { .. }))
    }
}

impl UnitRecords {
    /// Folds records, oldest first.
    pub fn fold(records: impl IntoIterator<Item = Record>) -> Self {
        let mut present = Self::default();
        for record in records {
            present.take(record);
        }
        present
    }

    /// The same without the records themselves: for whoever only reads what they say, and keeps it.
    #[must_use]
    pub fn at_rest(mut self) -> Self {
        self.records = Vec::new();
        // A deployment and its run were read from two records, which name one release.
        if let Some(release) = self.deployment.as_ref().and_then(|it| it.release.as_ref()) {
            for run in self.runs.iter_mut().filter(|run| run.release == *release) {
                run.release = release.clone();
            }
        }
        self.runs.shrink_to_fit();
        self
    }

    /// Takes one more record in.
    pub fn take(&mut self, record: Record) {
        self.apply(&record);
        self.records.push(record);
    }

    /// The records that say what is true now, oldest first: those that no longer matter are left
    /// out. Each is left out only if the others say the very same without it; as what a further
    /// record does depends on nothing else, what follows is the same too.
    pub fn standing(&self) -> Vec<Record> {
        let present = Self {
            records: Vec::new(),
            ..self.clone()
        };
        let mut kept: Vec<&Record> = self.records.iter().collect();
        let mut index = 0;
        while let Some(record) = kept.get(index).copied() {
            kept.remove(index);
            let mut without = Self::default();
            kept.iter().for_each(|record| without.apply(record));
            if without != present {
                kept.insert(index, record);
                index += 1;
            }
        }
        kept.into_iter().cloned().collect()
    }

    /// The same without the newest deployment, which never reached the branch.
    pub fn without_newest(&self) -> Self {
        let mut without = self.clone();
        if let Some(newest) = &self.deployment {
            for run in &mut without.runs {
                run.ended = run.ended.filter(|(_, by)| *by != newest.number);
            }
        }
        without.deployment = without.before.take();
        without
    }

    /// Whether this release failed with this desired state.
    pub fn failure(&self, digests: &Digests, state: &Digest) -> Option<&Failure> {
        self.failures
            .iter()
            .find(|failure| failure.state == *state && failure.release.is(digests))
    }

    /// The release that runs according to the records.
    pub fn running(&self) -> Option<&Release> {
        self.deployment.as_ref()?.release.as_ref()
    }

    /// The word of people by which this release may come though it is not proven: of two, where that is asked for.
    pub fn forced(&self, digests: &Digests, authority: &Authority) -> Option<&Promotion> {
        let promotion = self.promotion.as_ref()?;
        let is_it = promotion.is_forced(authority) && promotion.promoted.release.is(digests);
        is_it.then_some(promotion)
    }

    /// Whether this release was ever judged healthy here.
    pub fn ran(&self, digests: &Digests) -> bool {
        self.runs.iter().any(|run| run.release.is(digests))
    }

    /// Whether a proposal of this release was declined, and nobody asked for it again since.
    pub fn has_declined(&self, digests: &Digests) -> bool {
        self.declined.iter().any(|it| it.release.is(digests))
    }

    /// What was last found out of that name about an image.
    pub fn found(&self, digest: &Digest, name: &EvidenceName) -> Option<&Found> {
        let mut newest = self.evidence.iter().rev();
        newest.find(|it| it.digest == *digest && it.finding.name == *name)
    }

    /// The releases that came here, as far as they are remembered: what runs, healthy runs, failures. One may stand
    /// there more than once.
    pub fn deployed(&self) -> impl Iterator<Item = &Release> {
        let runs = self.runs.iter().map(|run| &run.release);
        let failed = self.failures.iter().map(|failure| &failure.release);
        self.running().into_iter().chain(runs).chain(failed)
    }

    /// Whether this commit is a deployment of the unit that is remembered.
    pub fn knows(&self, commit: CommitId) -> bool {
        let deployments = self.deployment.iter().chain(&self.before);
        deployments.map(|it| it.commit).any(|it| it == commit)
            || self.runs.iter().any(|run| run.commit == commit)
    }

    /// The last release that was healthy here, other than this one.
    pub fn last_healthy_but(&self, digests: &Digests) -> Option<&Run> {
        self.runs.iter().rev().find(|run| !run.release.is(digests))
    }
}

#[cfg(test)]
mod tests;
