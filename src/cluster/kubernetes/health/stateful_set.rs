//! StatefulSets: done when every replica is ready, and of the newest revision down to the partition.

use super::seen::Seen;
use super::trouble::PodTrouble;
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
    // Servers before 1.22 do not count what is available.
    let available = seen.count("/status/availableReplicas").unwrap_or(ready);
    if wanted == 0 {
        return match replicas {
            0 => seen.not_exercised("no replicas are wanted"),
            left => seen.in_progress(format!("{left} to stop")),
        };
    }
    let by_hand = seen.text("/spec/updateStrategy/type") == Some("OnDelete");
    let target = if by_hand { 0 } else { target(seen, wanted) };
    // Where all that there are have the newest revision, the others are to be made, not replaced.
    let replaces = updated < target && updated < replicas;
    let progress = if replaces {
        format!("{updated}/{target} updated, {ready}/{wanted} ready")
    } else if ready < wanted {
        format!("{ready}/{wanted} ready")
    } else if available < wanted {
        format!("{available}/{wanted} available")
    } else if replicas > wanted {
        format!("{} to stop", replicas.saturating_sub(wanted))
    } else if updated < wanted && by_hand {
        return seen.not_exercised(format!("OnDelete, {updated}/{wanted} updated"));
    } else if updated == 0 && target == 0 && is_new(seen) {
        return seen.not_exercised(format!("its partition keeps all {wanted} as they were"));
    } else {
        return Health::Current;
    };
    let refusal = seen.evidence.refusal.as_deref();
    let refusal = refusal.filter(|_| replicas < wanted);
    let blocking = seen.evidence.former.as_deref();
    match blocking.filter(|_| replaces && refusal.is_none()) {
        Some(former) if seen.evidence.pods.is_empty() => {
            workload::unfinished(seen, &format!("{progress}; {}", blocked(former)), None)
        }
        _ => workload::unfinished(seen, &progress, refusal),
    }
}

/// The controller replaces no pod while another is not ready, even if that other one is what the new
/// revision would mend (<https://github.com/kubernetes/kubernetes/issues/67250>).
fn blocked(former: &PodTrouble) -> String {
    let told = former.told();
    let told = told.unwrap_or_else(|| format!("pod {}: not ready", former.pod));
    format!(
        "{told}; it is of the former revision, and the rollout goes on once it is ready or deleted"
    )
}

/// How many pods a rolling update replaces: those whose ordinal is not below the partition.
fn target(seen: &Seen<'_>, wanted: i64) -> i64 {
    let partition = seen.number("/spec/updateStrategy/rollingUpdate/partition");
    let kept = partition.saturating_sub(seen.number("/spec/ordinals/start"));
    wanted.saturating_sub(kept.max(0)).max(0)
}

fn is_new(seen: &Seen<'_>) -> bool {
    seen.text("/status/updateRevision") != seen.text("/status/currentRevision")
}
