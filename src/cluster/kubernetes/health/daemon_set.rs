//! DaemonSets: done when every node that it wants has a pod of the newest template, available.

use super::seen::Seen;
use super::workload;
use crate::model::Health;

pub(super) fn health(seen: &Seen<'_>) -> Health {
    if !seen.was_observed() {
        return seen.in_progress("its controller has not seen it yet");
    }
    let wanted = seen.number("/status/desiredNumberScheduled");
    let scheduled = seen.number("/status/currentNumberScheduled");
    let updated = seen.number("/status/updatedNumberScheduled");
    let ready = seen.number("/status/numberReady");
    let available = seen.number("/status/numberAvailable");
    if wanted == 0 {
        return seen.not_exercised("no node fits it");
    }
    let by_hand = seen.text("/spec/updateStrategy/type") == Some("OnDelete");
    let target = if by_hand { 0 } else { wanted };
    // Where all that there are have the newest template, the others are to be made, not replaced.
    let progress = if updated < target && updated < scheduled {
        format!("{updated}/{wanted} updated, {ready}/{wanted} ready")
    } else if ready < wanted {
        format!("{ready}/{wanted} ready")
    } else if available < wanted {
        format!("{available}/{wanted} available")
    } else if updated < wanted {
        return seen.not_exercised(format!("OnDelete, {updated}/{wanted} updated"));
    } else {
        return Health::Current;
    };
    let refusal = seen.evidence.refusal.as_deref();
    workload::unfinished(seen, &progress, refusal.filter(|_| scheduled < wanted))
}
