//! Lints a finished plan against the invariants, independently of how it was made.
//!
//! A finding is a bug of the planner. The loop refuses to act on a plan with findings, and tests
//! assert that there are none.

use std::fmt;

use jiff::Timestamp;

use super::{Apply, Decision, Plan, Prune, Step, World};
use crate::manifest::{Rendered, carries};
use crate::model::record::{Cause, Deployment, Hold, Statement, UnitRecords};
use crate::model::{
    Attachment, Digests, Environment, EnvironmentName, EvidenceRule, Follow, Gate, NotExercised,
    OnFailure, Pipeline, Release, Right, Rollback, Weighed,
};

/// A step that would break an invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The invariant's number, as in `docs/architecture.md`.
    pub invariant: &'static str,
    /// The unit's environment.
    pub environment: EnvironmentName,
    /// What the step would do.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} in {}: {}",
            self.invariant, self.environment, self.detail
        )
    }
}

/// Every step of the plan that would break an invariant.
pub fn check(pipeline: &Pipeline, world: &World, plan: &Plan, now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    for unit in &plan.units {
        let Decision::Step(step) = &unit.decision else {
            continue;
        };
        let Some(environment) = pipeline.environment(&unit.environment) else {
            continue;
        };
        let subject = Subject {
            pipeline,
            world,
            environment,
            now,
        };
        findings.extend(
            subject
                .check(step)
                .into_iter()
                .map(|(invariant, detail)| Finding {
                    invariant,
                    environment: environment.name.clone(),
                    detail,
                }),
        );
    }
    findings
}

struct Subject<'a> {
    pipeline: &'a Pipeline,
    world: &'a World,
    environment: &'a Environment,
    now: Timestamp,
}

type Broken = (&'static str, String);

impl Subject<'_> {
    fn check(&self, step: &Step) -> Vec<Broken> {
        let mut broken = Vec::new();
        let Some(records) = self.records(&self.environment.name) else {
            broken.push((
                "I6",
                "a step was planned on records that were not read".to_owned(),
            ));
            return broken;
        };
        if self.is_held(records) && !states_a_hold(step) {
            broken.push(("I5", "a step was planned under a hold".to_owned()));
        }
        match step {
            Step::Write(write) => {
                let rollback = write.cause == Cause::Rollback;
                self.proven(&write.release, rollback, records, &mut broken);
                self.gated(&write.release, rollback, records, &mut broken);
                self.forward(&write.release, rollback, records, &mut broken);
                let digests = write.release.digests();
                if records.failure(&digests, &write.state).is_some() && !rollback {
                    broken.push((
                        "I4",
                        format!("{} failed here with this state", write.release),
                    ));
                }
                if records.pin.is_some() && !is_chosen(records, &digests) {
                    broken.push(("I5", format!("{} would overwrite a pin", write.release)));
                }
            }
            Step::Propose(propose) => {
                let rollback = goes_back(records, &propose.release.digests());
                self.proven(&propose.release, rollback, records, &mut broken);
                self.forward(&propose.release, rollback, records, &mut broken);
            }
            Step::Open(open) => {
                let rollback = goes_back(records, &open.release.digests());
                self.proven(&open.release, rollback, records, &mut broken);
                let view = self.world.units.get(&self.environment.name);
                let open = view.and_then(|view| view.request.read().ok()?.as_ref());
                if let Some(request) = open.filter(|it| it.is_open()) {
                    broken.push(("I9", format!("{} is open already", request.name)));
                }
            }
            Step::Close(close) => {
                if records.proposal.is_some() {
                    let name = &close.request.name;
                    broken.push(("I9", format!("{name} is about what is still proposed")));
                }
            }
            Step::Apply(apply) => {
                let release = records.running();
                if let Some(release) = release.filter(|_| !apply.change.is_empty()) {
                    Self::applies(&apply.rendered, release, &mut broken);
                }
                let deployment = records.deployment.as_ref();
                let applies = !apply.change.is_empty();
                if applies && deployment.is_some_and(Deployment::is_abandoned) {
                    let number = apply.number;
                    broken.push((
                        "I4",
                        format!("deployment {number} failed before it was applied"),
                    ));
                }
                self.prunes(apply, records, &mut broken);
            }
            Step::Merge(_) => broken.push(("I2", "a merge is a person's".to_owned())),
            Step::Withdraw(_) | Step::Disarm(_) | Step::Record(_) | Step::Smoke(_) => {}
        }
        broken
    }

    /// Whether a person stopped the unit, wherever that was said.
    fn is_held(&self, records: &UnitRecords) -> bool {
        let Some(view) = self.world.units.get(&self.environment.name) else {
            return false;
        };
        let holds = |hold: &Hold| hold.holds(self.now);
        let braked = || {
            let live = view.live.as_ref().and_then(|live| live.read().ok());
            live.is_some_and(|live| live.brake.is_some())
        };
        let everywhere = || {
            let infra = view.infra.read().ok();
            infra.is_some_and(|infra| infra.standing.hold.as_ref().is_some_and(holds))
        };
        let stated = self.environment.hold.as_ref();
        let stated = stated.is_some_and(|hold| hold.holds(self.now));
        stated || records.hold.as_ref().is_some_and(holds) || everywhere() || braked()
    }

    /// I8: only what is ours, is not asked for and may go is deleted, and no more than may go at once.
    fn prunes(&self, apply: &Apply, records: &UnitRecords, broken: &mut Vec<Broken>) {
        let view = self.world.units.get(&self.environment.name);
        let live = view.and_then(|view| view.live.as_ref()?.read().ok());
        let found = |prune: &Prune| live.and_then(|live| live.objects.get(&prune.reference));
        let approved = records.approved_prune == Some(apply.number);
        let limits = &self.environment.prune;
        for prune in &apply.prune {
            let wrong = match found(prune) {
                None => Some("was not seen"),
                Some(it) if it.uid != prune.uid => Some("is another object than was seen"),
                Some(it) if it.mark.is_none() => Some("is not ours"),
                Some(it) if it.kept.is_some() => Some("is kept"),
                Some(it) if it.claimed.is_some() => Some("is asked for by another unit"),
                Some(it)
                    if !approved && limits.asks(&prune.reference, it.service_type.as_deref()) =>
                {
                    Some("needs a person's yes")
                }
                Some(_) => None,
            };
            let asked = apply.rendered.objects.iter();
            let wrong = match asked.clone().any(|it| it.reference == prune.reference) {
                true => Some("is asked for"),
                false => wrong,
            };
            if let Some(wrong) = wrong {
                broken.push((
                    "I8",
                    format!("{} would be deleted: it {wrong}", prune.reference),
                ));
            }
        }
        let set = live.map_or(0, |live| live.objects.len());
        if !approved && apply.prune.len() > limits.limit_of(set) {
            let count = apply.prune.len();
            broken.push(("I8", format!("{count} objects would be deleted at once")));
        }
    }

    fn records(&self, environment: &EnvironmentName) -> Option<&UnitRecords> {
        let infra = self.world.units.get(environment)?.infra.read().ok()?;
        // What was recorded and never reached the branch does not run.
        infra
            .records
            .as_deref()
            .ok()
            .map(|records| infra.unlanded.as_deref().unwrap_or(records))
    }

    /// I1: only what a healthy run upstream stands behind goes on, or what a person named and forced.
    fn proven(
        &self,
        release: &Release,
        rollback: bool,
        records: &UnitRecords,
        broken: &mut Vec<Broken>,
    ) {
        let digests = release.digests();
        let healthy_here = rollback && records.ran(&digests);
        let forced = records
            .forced(&digests, &self.environment.authority)
            .is_some();
        let gone_back_to = is_chosen(records, &digests) && records.ran(&digests);
        if !healthy_here && !forced && !gone_back_to {
            let unbacked = self.unbacked(&digests, records);
            broken.extend(unbacked.map(|why| ("I1", format!("{release} comes without {why}"))));
        }
        let Follow::Environments { all, .. } = &self.environment.follow else {
            return;
        };
        let proven = |environment: &EnvironmentName| {
            self.records(environment).is_some_and(|records| {
                let mut runs = records.runs.iter().filter(|run| run.release.is(&digests));
                let counts = self.counts_unexercised(environment);
                runs.any(|run| run.spoiled.is_none() && (run.exercised || counts))
            })
        };
        if !healthy_here && !forced && !all.iter().all(proven) {
            broken.push(("I1", format!("{release} is not proven upstream")));
        }
    }

    /// A rule of the environment that what was last found out about an image does not meet.
    fn unbacked(&self, digests: &Digests, records: &UnitRecords) -> Option<String> {
        let mut rules = self.environment.evidence.iter();
        let authority = &self.environment.authority;
        let counts = |it: &&Attachment, rule: &EvidenceRule| {
            let signer = it.signer.as_ref().and_then(|key| authority.of(key));
            let is_trusted = authority.is_open() || rule.from.is_some();
            is_trusted || signer.is_some_and(|it| it.may(Right::Evidence))
        };
        let unmet = |rule: &&EvidenceRule| {
            digests.iter().any(|(repository, digest)| {
                let mut said = records.evidence.iter().rev();
                let last =
                    said.find(|it| it.digest == *digest && it.finding.name == rule.asks.name);
                let last = last.filter(|_| rule.from.is_none());
                let last = last.map(|it| (&it.finding, it.at));
                let key = (rule.place(repository), *digest);
                let attached = self.world.attached.get(&key);
                let attached = attached.and_then(|it| it.read().ok()).into_iter();
                let attached = attached
                    .flat_map(|it| it.found.iter())
                    .filter(|it| counts(it, rule));
                let attached = attached
                    .filter(|it| it.finding.name == rule.asks.name && it.at <= self.now)
                    .map(|it| (&it.finding, it.at));
                // Of two that are as old the record counts.
                let last = attached.chain(last).max_by_key(|(_, at)| *at);
                rule.weigh(last, self.now) != Weighed::Holds
            })
        };
        rules.find(unmet).map(|rule| format!("`{}`", rule.asks))
    }

    fn counts_unexercised(&self, environment: &EnvironmentName) -> bool {
        let environment = self.pipeline.environment(environment);
        environment.is_some_and(|it| it.health.not_exercised == NotExercised::Proven)
    }

    /// I2: a gated branch is written only to go back, and only where that is allowed.
    fn gated(
        &self,
        release: &Release,
        rollback: bool,
        records: &UnitRecords,
        broken: &mut Vec<Broken>,
    ) {
        if self.environment.gate == Gate::None {
            return;
        }
        let direct = rollback
            && self.environment.rollback == Rollback::Direct
            && records.ran(&release.digests());
        if !direct {
            broken.push(("I2", format!("{release} would be written past the gate")));
        }
    }

    /// I3: nothing older replaces what runs, unless a person asked for it, or the environment goes back
    /// after failures.
    fn forward(
        &self,
        release: &Release,
        rollback: bool,
        records: &UnitRecords,
        broken: &mut Vec<Broken>,
    ) {
        let after_failure = rollback && self.environment.on_failure == OnFailure::Rollback;
        let allowed = after_failure || is_chosen(records, &release.digests());
        let older = records
            .running()
            .is_some_and(|running| !release.is_newer_than(running));
        if older && !allowed {
            broken.push(("I3", format!("{release} is not newer than what runs")));
        }
    }

    /// What is applied carries the digests that were recorded for it.
    fn applies(rendered: &Rendered, release: &Release, broken: &mut Vec<Broken>) {
        let digests = release.digests();
        let pinned_by_digest = carries(rendered, &digests).is_ok();
        let mut images = digests.keys().flat_map(|it| rendered.images(it));
        let by_tag = images.any(|image| image.digest.is_none());
        if !pinned_by_digest && !by_tag {
            broken.push(("I6", format!("what would be applied is not {release}")));
        }
    }
}

/// Whether it only states that a person stopped the environment, or lifted that.
fn states_a_hold(step: &Step) -> bool {
    let Step::Record(record) = step else {
        return false;
    };
    let mut statements = record.statements.iter();
    statements.all(|it| matches!(it, Statement::Held { .. } | Statement::Resumed { .. }))
}

/// Whether a person chose this release.
fn is_chosen(records: &UnitRecords, digests: &Digests) -> bool {
    records.pin.as_ref().is_some_and(|pin| pin.is_on(digests))
}

/// Whether proposing this goes back: to what a person chose, or after a failure; to what was healthy here.
fn goes_back(records: &UnitRecords, digests: &Digests) -> bool {
    let deployment = records.deployment.as_ref();
    let failed = deployment.is_some_and(|deployment| deployment.failed().is_some());
    (failed || is_chosen(records, digests)) && records.ran(digests)
}

#[cfg(test)]
mod attached;
#[cfg(test)]
mod careful;
#[cfg(test)]
pub(super) mod tests;
