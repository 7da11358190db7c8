//! Jobs: one that runs is not done, whatever kstatus says.

use super::seen::Seen;
use super::workload;
use crate::model::Health;

pub(super) fn health(seen: &Seen<'_>) -> Health {
    let has = |kind| {
        seen.condition(kind)
            .filter(|condition| condition.is("True"))
    };
    if has("Complete").is_some() {
        return Health::Current;
    }
    // The target is known before the last pods have stopped.
    if let Some(failed) = has("Failed").or_else(|| has("FailureTarget")) {
        return match workload::reason(seen) {
            Some(reason) => seen.failed(format!("{}; {reason}", failed.why())),
            None => seen.failed(failed.why()),
        };
    }
    if seen.is_true("/spec/suspend") {
        return seen.not_exercised("suspended");
    }
    let active = seen.number("/status/active");
    let wanted = seen.count("/spec/completions").unwrap_or(1);
    let mut progress = format!("{}/{wanted} succeeded", seen.number("/status/succeeded"));
    for (count, what) in [
        (active, "running"),
        (seen.number("/status/failed"), "failed"),
    ] {
        if count > 0 {
            progress = format!("{progress}, {count} {what}");
        }
    }
    let refusal = seen.evidence.refusal.as_deref();
    workload::unfinished_job(seen, &progress, refusal.filter(|_| active == 0))
}
