//! What else there is to say of a unit: it blocks nothing, and is said beside the one decision.

use std::sync::Arc;

use super::difference::Difference;
use super::{Decision, Frozen, Live, Observed, Reason, Step, Unit, evidence, promotion};
use crate::manifest::Object;
use crate::model::record::{UnitRecords, Verdict};
use crate::model::{ObjectRef, Release};

/// One sentence each.
pub(super) fn notes(
    unit: &Unit<'_>,
    records: Option<&UnitRecords>,
    frozen: Option<&Frozen>,
    decision: &Decision,
) -> Vec<String> {
    let mut notes = Vec::new();
    let Some(records) = records else {
        return notes;
    };
    recorded(unit, records, &mut notes);
    let is_said = matches!(
        decision,
        Decision::Waiting(waiting) if matches!(waiting.reason, Reason::SecondWord { .. })
    );
    notes.extend(promotion::pending(unit, records).filter(|_| !is_said));
    notes.extend(brought(decision).and_then(|release| evidence::note(unit, release)));
    let infra = unit.view.infra.read().ok();
    let is_told = matches!(
        decision,
        Decision::Waiting(waiting) if matches!(waiting.reason, Reason::Frozen { .. })
    );
    notes.extend(frozen.filter(|_| !is_told).map(Frozen::notice));
    let of_all = infra.iter().flat_map(|it| &it.standing.refused);
    notes.extend(records.refused.iter().chain(of_all).cloned());
    let live = unit.view.live.as_ref().map(Observed::read);
    if let (Some(Ok(desired)), Some(Ok(live))) = (infra.map(|it| it.desired.as_ref()), live) {
        let objects = &desired.rendered.objects;
        left_alone(unit, objects, live, &mut notes);
        if let Some(deployment) = &records.deployment {
            let difference = Difference::of(unit, records, deployment, objects, live);
            let hidden = difference.reported.iter().map(|waiting| &waiting.reason);
            let hidden = hidden.filter(|reason| !is_shown(decision, reason));
            notes.extend(hidden.map(ToString::to_string));
        }
    }
    notes
}

/// What goes on, or waits for a person to let it.
fn brought(decision: &Decision) -> Option<&Release> {
    match decision {
        Decision::Step(step) => match &**step {
            Step::Write(write) => Some(&write.release),
            Step::Propose(propose) => Some(&propose.release),
            Step::Open(open) => Some(&open.release),
            _ => None,
        },
        Decision::Waiting(waiting) => match &waiting.reason {
            Reason::Gate { release, .. } => Some(release),
            _ => None,
        },
    }
}

fn is_shown(decision: &Decision, reason: &Reason) -> bool {
    matches!(decision, Decision::Waiting(waiting) if waiting.reason == *reason)
}

fn recorded(unit: &Unit<'_>, records: &UnitRecords, notes: &mut Vec<String>) {
    let authority = &unit.environment.authority;
    notes.extend(
        records
            .promotion
            .as_ref()
            .and_then(|it| it.notice(authority)),
    );
    let Some(deployment) = &records.deployment else {
        return;
    };
    let number = deployment.number;
    match deployment.verdict.as_ref().map(|judged| &judged.verdict) {
        Some(Verdict::Healthy { exercised: false }) => notes.push(format!(
            "deployment {number} is healthy, but none of its workloads ran: it proves nothing by itself"
        )),
        Some(Verdict::Failed { applied: false, .. }) => notes.push(format!(
            "deployment {number} failed before all of it was applied: what ran before still runs"
        )),
        _ => {}
    }
    let taken = records.taken.iter();
    notes.extend(taken.map(|taken| format!("deployment {number} took {taken}")));
}

/// Objects that carry the unit's mark and are nevertheless left alone.
fn left_alone(unit: &Unit<'_>, objects: &[Arc<Object>], live: &Live, notes: &mut Vec<String>) {
    let is_desired = |reference: &ObjectRef| {
        let found = objects.binary_search_by(|object| object.reference.cmp(reference));
        found.is_ok()
    };
    let (application, environment) = (&unit.pipeline.application.name, &unit.environment.name);
    for (reference, found) in &live.objects {
        if !found.is_of(application, environment) {
            continue;
        }
        match (is_desired(reference), &found.claimed, &found.kept) {
            (true, Some(other), _) => notes.push(format!("{reference}: {other} asks for it, too")),
            (false, Some(other), _) => {
                notes.push(format!(
                    "{reference} is handed over to {other}, not deleted"
                ));
            }
            (false, None, Some(why)) => notes.push(format!(
                "{reference} is no longer asked for, and kept: {why}"
            )),
            (true, None, _) | (false, None, None) => {}
        }
    }
}
