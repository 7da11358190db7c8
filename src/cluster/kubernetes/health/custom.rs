//! Custom resources, by the conditions that their controllers agree on. One that nobody has looked at
//! yet is not current: unlike kstatus, an empty status is not taken for a good one.

use std::time::Duration;

use serde_json::Value;

use super::evidence::Definition;
use super::seen::{Condition, Seen, conditions};
use super::text;
use crate::model::Health;

/// A controller that has written nothing for so long is taken for one that never does.
const STATUS_GRACE: Duration = Duration::from_secs(30);

/// A status that does not say which generation it is about is believed this long after the spec was
/// written, unless it was written since.
const UPDATE_GRACE: Duration = Duration::from_secs(10);

/// Conditions that are `True` when all is well, and sum up the object where it has no `Ready`.
const GOOD: [&str; 9] = [
    "Available",
    "Healthy",
    "Programmed",
    "Accepted",
    "ResolvedRefs",
    "Established",
    "Reconciled",
    "Synced",
    "Succeeded",
];

pub(super) fn health(seen: &Seen<'_>) -> Health {
    if seen.evidence.definition == Definition::NoStatus {
        return Health::Current;
    }
    if !has_status(seen) {
        let has_waited = seen
            .written_at()
            .is_none_or(|at| seen.moment.has_passed(at, STATUS_GRACE));
        return if has_waited {
            Health::Current
        } else {
            seen.in_progress("its controller has not answered yet")
        };
    }
    let deciding = deciding(seen);
    if let Some(stale) = deciding.iter().find(|it| is_stale(seen, it)) {
        return seen.in_progress(format!(
            "{} is about an older spec",
            text::clean(stale.kind)
        ));
    }
    if let Some(unsettled) = unsettled(seen, &deciding) {
        return unsettled;
    }
    let has = |kind| seen.condition(kind).filter(|it| it.is("True"));
    if let Some(stalled) = has("Stalled") {
        return seen.failed(format!("stalled: {}", stalled.why()));
    }
    if let Some(reconciling) = has("Reconciling") {
        return seen.in_progress(reconciling.why());
    }
    match deciding.iter().find(|it| !it.is("True")) {
        Some(bad) => seen.in_progress(format!("not {}: {}", text::clean(bad.kind), bad.why())),
        None => Health::Current,
    }
}

/// In progress, if its status may be about the spec before the newest one.
pub(super) fn unsettled(seen: &Seen<'_>, deciding: &[Condition<'_>]) -> Option<Health> {
    let tells = !deciding.is_empty() && deciding.iter().all(|it| it.observed.is_some());
    if seen.was_observed() || tells || seen.evidence.is_answered || !has_status(seen) {
        return None;
    }
    let written = seen.written_at()?;
    (!seen.moment.has_passed(written, UPDATE_GRACE))
        .then(|| seen.in_progress("its controller may not have seen its newest spec yet"))
}

fn has_status(seen: &Seen<'_>) -> bool {
    match seen.object.get("status") {
        None | Some(Value::Null) => false,
        Some(Value::Object(status)) => !status.is_empty(),
        Some(_) => true,
    }
}

/// Not `Ready` alone: where a controller reports `Synced` too, a spec that it could not carry out
/// shows only there. Routes have their conditions per parent.
fn deciding<'a>(seen: &Seen<'a>) -> Vec<Condition<'a>> {
    let own: Vec<_> = conditions(seen.list("/status/conditions")).collect();
    let has_ready = own.iter().any(|it| it.kind == "Ready");
    let parents = seen.list("/status/parents").iter();
    let of_parents = parents.flat_map(|parent| {
        let list = parent.get("conditions").and_then(Value::as_array);
        conditions(list.map_or(&[], Vec::as_slice))
    });
    let counts = |kind: &str| match has_ready {
        true => matches!(kind, "Ready" | "Synced"),
        false => GOOD.contains(&kind),
    };
    let own = own.into_iter().filter(|it| counts(it.kind));
    own.chain(of_parents.filter(|it| GOOD.contains(&it.kind)))
        .collect()
}

fn is_stale(seen: &Seen<'_>, condition: &Condition<'_>) -> bool {
    match (condition.observed, seen.generation()) {
        (Some(observed), Some(generation)) => observed != generation,
        _ => false,
    }
}
