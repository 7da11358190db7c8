//! Disruption budgets: done when their controller could compute them. Whether a disruption is allowed
//! now says nothing about the budget.

use super::seen::Seen;
use crate::model::Health;

pub(super) fn health(seen: &Seen<'_>) -> Health {
    if !seen.was_observed() {
        return seen.in_progress("its controller has not seen it yet");
    }
    match seen.condition("DisruptionAllowed") {
        Some(allowed) if allowed.reason == "SyncFailed" => seen.in_progress(allowed.why()),
        _ => Health::Current,
    }
}
