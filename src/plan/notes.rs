//! What else there is to say of a unit: it blocks nothing, and is said beside the one decision.

use super::Observed;
use super::Unit;
use crate::model::ObjectRef;
use crate::model::record::{UnitRecords, Verdict};

/// One sentence each.
pub(super) fn notes(unit: &Unit<'_>, records: Option<&UnitRecords>) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(records) = records {
        recorded(records, &mut notes);
    }
    live(unit, &mut notes);
    notes
}

fn recorded(records: &UnitRecords, notes: &mut Vec<String>) {
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
fn live(unit: &Unit<'_>, notes: &mut Vec<String>) {
    let Some(Ok(live)) = unit.view.live.as_ref().map(Observed::read) else {
        return;
    };
    let infra = unit.view.infra.read().ok();
    let Some(desired) = infra.and_then(|infra| infra.desired.as_ref().ok()) else {
        return;
    };
    let objects = &desired.rendered.objects;
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
