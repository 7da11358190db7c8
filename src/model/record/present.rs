//! What is true now: the fold over a unit's records, and which records may be left out of it.
//!
//! The present of a unit is itself a list of records, kept short by [`UnitRecords::standing`], so
//! that reading it costs the same after 100,000 records as after 10.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Cause, Record, Statement, Verdict};
use crate::model::{ApplicationName, CommitId, Digest, Digests, Release};

/// How many healthy runs are remembered: what a rollback may go back to without asking history.
const RUNS: usize = 5;

/// How many failed and how many declined releases are remembered. An older one than these is not
/// taken by itself anyway: only what is newer than every one of them is.
const STOPPED: usize = 10;

/// The count of deployments superseded in a row ends here: more of them say nothing new.
const OUTPACED_MAX: usize = 10;

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
    /// The commit of the last proposal that was taken back or merged: its branch has served.
    pub served: Option<CommitId>,
    /// The pin that holds.
    pub pin: Option<Pin>,
    /// The hold on this unit.
    pub hold: Option<Hold>,
    /// How many deployments in a row were superseded before they were judged.
    pub outpaced: usize,
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
    /// When it was recorded.
    pub at: Timestamp,
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
    /// The commit of the environment's branch that it was made on.
    pub base: CommitId,
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
    /// What was seen or said.
    pub reason: String,
    /// When it was recorded.
    pub at: Timestamp,
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
    /// Applications whose newest deployment failed, and why.
    pub failed: BTreeMap<ApplicationName, String>,
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
            Verdict::Failed { reason } => Some(reason),
            Verdict::Healthy | Verdict::Superseded => None,
        }
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

    fn apply(&mut self, record: &Record) {
        let at = record.at;
        match &record.statement {
            Statement::Adopted { .. } => self.adopted = true,
            Statement::Deployment {
                number,
                release,
                state,
                cause,
            } => {
                self.deploy(Deployment {
                    number: *number,
                    commit: record.commit,
                    release: release.clone(),
                    state: *state,
                    cause: *cause,
                    at,
                    verdict: None,
                });
            }
            Statement::Verdict {
                number,
                release,
                state,
                verdict,
            } => {
                let judged = (*number, record.commit);
                self.judge(judged, release.as_ref(), state, verdict, at);
            }
            Statement::Degraded { number, reason, .. } => {
                if let Some(run) = self.runs.iter_mut().find(|run| run.number == *number) {
                    run.spoiled.get_or_insert_with(|| reason.clone());
                }
            }
            Statement::Proposed { release, proposal } => {
                self.served = None;
                self.proposal = Some(Proposed {
                    release: release.clone(),
                    commit: *proposal,
                    base: record.commit,
                    at,
                });
                self.declined
                    .retain(|declined| !declined.release.is(&release.digests()));
            }
            Statement::Withdrawn {
                release,
                proposal: Some(proposal),
                ..
            } => {
                self.served = Some(*proposal);
                self.close_proposal(release);
            }
            Statement::Withdrawn {
                release,
                proposal: None,
                reason,
            } => {
                for run in &mut self.runs {
                    if run.release.is(&release.digests()) {
                        run.spoiled.get_or_insert_with(|| reason.clone());
                    }
                }
            }
            Statement::Declined { release } => {
                self.close_proposal(release);
                self.declined.push(Declined {
                    release: release.clone(),
                    at,
                });
                let surplus = self.declined.len().saturating_sub(STOPPED);
                self.declined.drain(..surplus);
            }
            Statement::Pinned {
                release,
                over,
                reason,
            } => {
                self.pin = Some(Pin {
                    release: release.clone(),
                    over: over.clone(),
                    reason: reason.clone(),
                    at,
                });
            }
            Statement::Unpinned { .. } => self.pin = None,
            Statement::Held { reason } => {
                self.hold = Some(Hold {
                    reason: reason.clone(),
                    by: record.by.clone(),
                    at,
                });
            }
            Statement::Resumed { .. } => self.hold = None,
            Statement::Retried { release } => {
                let digests = release.digests();
                // Its verdict is open again, and its time begins anew.
                if let Some(deployment) = &mut self.deployment
                    && deployment.failed().is_some()
                    && deployment
                        .release
                        .as_ref()
                        .is_some_and(|it| it.is(&digests))
                {
                    deployment.verdict = None;
                    deployment.at = at;
                }
                self.failures
                    .retain(|failure| !failure.release.is(&digests));
                self.declined
                    .retain(|declined| !declined.release.is(&digests));
            }
            Statement::Ungated { .. } => {}
        }
    }

    fn deploy(&mut self, deployment: Deployment) {
        if let Some(run) = self.runs.last_mut() {
            run.ended.get_or_insert((deployment.at, deployment.number));
        }
        if let (Some(open), Some(release)) = (&self.proposal, &deployment.release)
            && open.release.is(&release.digests())
        {
            self.served = Some(open.commit);
            self.proposal = None;
        }
        self.before = self.deployment.replace(deployment);
    }

    fn judge(
        &mut self,
        (number, commit): (u64, CommitId),
        release: Option<&Release>,
        state: &Digest,
        verdict: &Verdict,
        at: Timestamp,
    ) {
        if let Some(deployment) = &mut self.deployment
            && deployment.number == number
        {
            // The first verdict counts.
            if deployment.verdict.is_some() {
                return;
            }
            deployment.verdict = Some(Judged {
                verdict: verdict.clone(),
                at,
            });
            self.before = None;
        }
        match verdict {
            Verdict::Superseded => self.outpaced = (self.outpaced + 1).min(OUTPACED_MAX),
            Verdict::Healthy => {
                self.outpaced = 0;
                let Some(release) = release else { return };
                self.failures
                    .retain(|failure| failure.release.is_newer_than(release));
                self.declined
                    .retain(|declined| declined.release.is_newer_than(release));
                self.runs.push(Run {
                    number,
                    commit,
                    release: release.clone(),
                    state: *state,
                    healthy_at: at,
                    ended: None,
                    spoiled: None,
                });
                let surplus = self.runs.len().saturating_sub(RUNS);
                self.runs.drain(..surplus);
            }
            Verdict::Failed { reason } => {
                self.outpaced = 0;
                let Some(release) = release else { return };
                self.failures.push(Failure {
                    number,
                    release: release.clone(),
                    state: *state,
                    reason: reason.clone(),
                    at,
                });
                let surplus = self.failures.len().saturating_sub(STOPPED);
                self.failures.drain(..surplus);
            }
        }
    }

    fn close_proposal(&mut self, release: &Release) {
        if self
            .proposal
            .as_ref()
            .is_some_and(|open| open.release.is(&release.digests()))
        {
            self.proposal = None;
        }
    }
}

#[cfg(test)]
mod tests;
