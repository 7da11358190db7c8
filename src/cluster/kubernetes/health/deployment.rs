//! Deployments: done when every replica is of the newest template and available, and no other is left.

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
    let updated = seen.number("/status/updatedReplicas");
    let ready = seen.number("/status/readyReplicas");
    let available = seen.number("/status/availableReplicas");
    if wanted == 0 {
        return match replicas {
            0 => seen.not_exercised("no replicas are wanted"),
            left => seen.in_progress(format!("{left} to stop")),
        };
    }
    if updated >= wanted && available >= wanted && replicas <= updated {
        return Health::Current;
    }
    if seen.is_true("/spec/paused") {
        return seen.not_exercised(format!("paused, {updated}/{wanted} updated"));
    }
    // Where all that there are have the newest template, the others are to be made, not replaced.
    let progress = if updated < wanted && updated < replicas {
        format!("{updated}/{wanted} updated, {ready}/{wanted} ready")
    } else if ready < wanted {
        format!("{ready}/{wanted} ready")
    } else if available < wanted {
        format!("{available}/{wanted} available")
    } else {
        format!("{} old to stop", replicas.saturating_sub(updated))
    };
    if let Some(not_made) = not_made(seen) {
        return not_made;
    }
    let refusal = (updated < wanted).then(|| refusal(seen)).flatten();
    let unfinished = workload::unfinished(seen, &progress, refusal.as_ref());
    match (&unfinished, timed_out(seen)) {
        (Health::InProgress(_), Some(why)) => {
            let reason = workload::reason(seen).unwrap_or(progress);
            seen.failed(format!("{why}; {reason}"))
        }
        _ => unfinished,
    }
}

/// The ReplicaSet of the newest template was refused. The controller says so before it says that it
/// has seen that template.
pub(super) fn not_made(seen: &Seen<'_>) -> Option<Health> {
    if (seen.group(), seen.kind()) != ("apps", "Deployment") {
        return None;
    }
    let progressing = seen.condition("Progressing")?;
    let is_refused = progressing.is("False") && progressing.reason == "ReplicaSetCreateError";
    let since = progressing.since?;
    if !is_refused || !seen.is_since_written(Some(since)) {
        return None;
    }
    let refusal = Warning::standing(progressing.reason, &progressing.message(), since);
    let refused = workload::refused(seen, &refusal);
    Some(refused.unwrap_or_else(|| seen.in_progress(progressing.why())))
}

/// What the ReplicaSet says is about the newest template by construction; what the Deployment says
/// may still be about the one before, and is only believed if it was said since.
fn refusal(seen: &Seen<'_>) -> Option<Warning> {
    if let Some(refusal) = &seen.evidence.refusal {
        return Some(refusal.as_ref().clone());
    }
    let failure = seen
        .condition("ReplicaFailure")
        .filter(|it| it.is("True"))?;
    let since = failure
        .since
        .filter(|since| seen.is_since_written(Some(*since)))?;
    Some(Warning::standing(failure.reason, &failure.message(), since))
}

/// The Deployment's own deadline. After a rollback the controller may still show the former
/// rollout's.
fn timed_out(seen: &Seen<'_>) -> Option<String> {
    let progressing = seen.condition("Progressing")?;
    let is_over = progressing.is("False") && progressing.reason == "ProgressDeadlineExceeded";
    (is_over && seen.is_since_written(progressing.since)).then(|| progressing.why())
}
