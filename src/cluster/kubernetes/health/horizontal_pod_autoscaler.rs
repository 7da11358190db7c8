//! Autoscalers: done unless what they scale cannot be scaled. Metrics that are not there yet hold
//! nothing up: they lag behind every rollout.

use super::seen::Seen;
use crate::model::Health;

pub(super) fn health(seen: &Seen<'_>) -> Health {
    match seen.condition("AbleToScale") {
        Some(able) if able.is("False") => {
            seen.in_progress(format!("not able to scale: {}", able.why()))
        }
        _ => Health::Current,
    }
}
