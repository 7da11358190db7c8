//! What one more record makes of the present.

use jiff::Timestamp;

use super::{
    Declined, Deployment, EARLIER, EVIDENCE, Failure, Found, Hold, Judged, OUTPACED_MAX, Pin,
    Promotion, Proposed, REFUSED, RUNS, Run, STOPPED, Served, TAKEN, UnitRecords, keep_newest,
};
use crate::model::record::{Record, Statement, Taken, Verdict};
use crate::model::{CommitId, Digest, Release};

impl UnitRecords {
    pub(super) fn apply(&mut self, record: &Record) {
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
                    retried: None,
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
                let before = self.proposal.take();
                let same = before.filter(|it| it.release.is(&release.digests()));
                let mut earlier: Vec<_> = same
                    .into_iter()
                    .flat_map(|same| [vec![same.commit], same.earlier].concat())
                    .collect();
                earlier.truncate(EARLIER);
                self.proposal = Some(Proposed {
                    release: release.clone(),
                    commit: *proposal,
                    earlier,
                    base: record.commit,
                    at,
                });
                self.declined
                    .retain(|declined| !declined.release.is(&release.digests()));
            }
            Statement::Withdrawn {
                release,
                proposal: Some(proposal),
                reason,
            } => {
                self.served = Some(Served {
                    commit: *proposal,
                    reason: Some(reason.clone()),
                });
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
                let asked = self.promotion.take();
                let digests = release.digests();
                self.promotion = asked.filter(|asked| !asked.promoted.release.is(&digests));
                let newest = Declined {
                    release: release.clone(),
                    at,
                };
                keep_newest(&mut self.declined, newest, STOPPED);
            }
            Statement::Pinned {
                release,
                over,
                serves,
                reason,
            } => {
                self.promotion = None;
                self.pin = Some(Pin {
                    release: release.clone(),
                    over: over.clone(),
                    serves: serves.clone(),
                    reason: reason.clone(),
                    at,
                });
            }
            Statement::Unpinned { .. } => self.pin = None,
            Statement::Held { reason, until } => {
                self.hold = Some(Hold {
                    reason: reason.clone(),
                    by: record.by.clone(),
                    at,
                    until: *until,
                });
            }
            Statement::Resumed { .. } => self.hold = None,
            // Of whole environments, which keep that themselves.
            Statement::Frozen { .. } | Statement::Thawed { .. } => {}
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
                    deployment.retried = Some(at);
                }
                self.failures
                    .retain(|failure| !failure.release.is(&digests));
                self.declined
                    .retain(|declined| !declined.release.is(&digests));
            }
            Statement::Promoted(promoted) => {
                self.pin = None;
                let before = self.promotion.take();
                self.promotion = Some(Promotion {
                    promoted: promoted.clone(),
                    by: record.by.clone(),
                    also: before.map_or_else(Vec::new, |it| it.by_others(promoted, &record.by)),
                    at,
                });
            }
            Statement::Ungated { .. } | Statement::Annotated { .. } => {}
            Statement::Took { number, taken } => self.took(*number, taken),
            Statement::ApprovedPrune { number } => self.approved_prune = Some(*number),
            Statement::ApprovedAdoption { state } => self.approved_adoption = Some(*state),
            Statement::Evidence { digest, finding } => {
                let newest = Found {
                    digest: *digest,
                    finding: finding.clone(),
                    by: record.by.clone(),
                    at,
                };
                let same = |it: &Found| it.digest == *digest && it.finding.name == finding.name;
                self.evidence.retain(|it| !same(it));
                keep_newest(&mut self.evidence, newest, EVIDENCE);
            }
            Statement::Refused { .. } => {
                keep_newest(&mut self.refused, record.statement.to_string(), REFUSED);
            }
        }
    }

    /// Remembered for the newest deployment, each once.
    fn took(&mut self, number: u64, taken: &[Taken]) {
        let newest = self.deployment.as_ref().map(|newest| newest.number);
        if newest != Some(number) {
            return;
        }
        for taken in taken {
            if self.taken.len() < TAKEN && !self.taken.contains(taken) {
                self.taken.push(taken.clone());
            }
        }
    }

    fn deploy(&mut self, deployment: Deployment) {
        if let Some(run) = self.runs.last_mut() {
            run.ended.get_or_insert((deployment.at, deployment.number));
        }
        if let (Some(open), Some(release)) = (&self.proposal, &deployment.release)
            && open.release.is(&release.digests())
        {
            self.served = Some(Served {
                commit: open.commit,
                reason: None,
            });
            self.proposal = None;
        }
        // What was asked for has come and gone once something newer comes.
        let comes = deployment.release.as_ref();
        let asked = self.promotion.take();
        self.promotion = asked.filter(|asked| {
            let asked = &asked.promoted.release;
            comes.is_some_and(|comes| comes.is(&asked.digests()) || asked.is_newer_than(comes))
        });
        // A yes is about what was seen when it was said.
        self.approved_prune = None;
        self.approved_adoption = self.approved_adoption.filter(|it| *it == deployment.state);
        self.taken.clear();
        self.refused.clear();
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
            Verdict::Healthy { exercised } => {
                self.outpaced = 0;
                let Some(release) = release else { return };
                self.failures
                    .retain(|failure| failure.release.is_newer_than(release));
                // What a person chose to go back to, and declined then, is not asked for again by itself.
                let chosen = self.pin.as_ref().and_then(|pin| pin.release.as_ref());
                let chosen = chosen.filter(|it| !it.is(&release.digests()));
                self.declined.retain(|declined| {
                    let stopped = &declined.release;
                    let is_chosen = chosen.is_some_and(|it| it.is(&stopped.digests()));
                    is_chosen || stopped.is_newer_than(release)
                });
                // From here on this run speaks for the release, not one that was spoiled.
                let digests = release.digests();
                self.runs
                    .retain(|run| run.spoiled.is_none() || !run.release.is(&digests));
                let newest = Run {
                    number,
                    commit,
                    release: release.clone(),
                    state: *state,
                    healthy_at: at,
                    exercised: *exercised,
                    ended: None,
                    spoiled: None,
                };
                keep_newest(&mut self.runs, newest, RUNS);
            }
            Verdict::Failed { reason, .. } => {
                self.outpaced = 0;
                let Some(release) = release else { return };
                // Also once the failure is forgotten, because somebody asks again or it is mended: what ran before
                // it proves nothing any more.
                let digests = release.digests();
                for run in self.runs.iter_mut().filter(|it| it.release.is(&digests)) {
                    run.spoiled
                        .get_or_insert_with(|| "it failed later".to_owned());
                }
                let newest = Failure {
                    number,
                    release: release.clone(),
                    state: *state,
                    reason: reason.clone(),
                    at,
                };
                keep_newest(&mut self.failures, newest, STOPPED);
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
