//! ReplicaSets and ReplicationControllers that nobody else controls: done when all replicas are
//! available. Neither replaces pods of an older template.

use super::evidence::Warning;
use super::seen::Seen;
use super::workload;
use crate::model::Health;

pub(super) fn health(seen: &Seen<'_>) -> Health {
    if !seen.was_observed() {
        return seen.in_progress("its controller has not seen it yet");
    }
    let wanted = seen.count("/spec/replicas").unwrap_or(1);
    let replicas = seen.number("/status/replicas");
    let ready = seen.number("/status/readyReplicas");
    let available = seen.number("/status/availableReplicas");
    if wanted == 0 && replicas == 0 {
        return seen.not_exercised("no replicas are wanted");
    }
    let progress = if replicas > wanted {
        format!("{} to stop", replicas.saturating_sub(wanted))
    } else if ready < wanted {
        format!("{ready}/{wanted} ready")
    } else if available < wanted {
        format!("{available}/{wanted} available")
    } else {
        return Health::Current;
    };
    let refusal = (replicas < wanted).then(|| refusal(seen)).flatten();
    workload::unfinished(seen, &progress, refusal.as_ref())
}

fn refusal(seen: &Seen<'_>) -> Option<Warning> {
    let failure = seen.condition("ReplicaFailure")?;
    let is_about_making = failure.is("True") && failure.reason == "FailedCreate";
    is_about_making
        .then(|| {
            Some(Warning::standing(
                failure.reason,
                &failure.message(),
                failure.since?,
            ))
        })
        .flatten()
}
