//! Definitions of custom resources: done when their resources can be written.

use super::seen::Seen;
use crate::model::Health;

pub(super) fn health(seen: &Seen<'_>) -> Health {
    match (
        seen.condition("NamesAccepted"),
        seen.condition("Established"),
    ) {
        (Some(names), _) if names.is("False") => {
            seen.failed(format!("its names are not accepted: {}", names.why()))
        }
        (_, Some(established)) if established.is("True") => Health::Current,
        (_, Some(established)) => {
            seen.in_progress(format!("not established yet: {}", established.why()))
        }
        _ => seen.in_progress("not established yet"),
    }
}
