//! Volume claims: done when bound, or when only a pod's need would bind them.

use super::seen::Seen;
use crate::model::Health;

pub(super) fn health(seen: &Seen<'_>) -> Health {
    let phase = seen.text("/status/phase").unwrap_or("Pending");
    match phase {
        "Bound" => Health::Current,
        "Lost" => seen.failed("the volume it was bound to is gone"),
        // Once a pod needs it, the scheduler writes the node here, and the wait begins.
        _ if seen.evidence.waits_for_consumer && !has_node(seen) => Health::Current,
        _ => match &seen.evidence.warning {
            Some(warning) => seen.in_progress(format!("not bound yet: {}", warning.told())),
            None => seen.in_progress("not bound yet"),
        },
    }
}

fn has_node(seen: &Seen<'_>) -> bool {
    seen.text("/metadata/annotations/volume.kubernetes.io~1selected-node")
        .is_some()
}
