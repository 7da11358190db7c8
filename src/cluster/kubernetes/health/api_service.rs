//! Aggregated APIs: done when the server behind them answers.

use super::seen::Seen;
use crate::model::Health;

pub(super) fn health(seen: &Seen<'_>) -> Health {
    match seen.condition("Available") {
        Some(available) if available.is("True") => Health::Current,
        Some(available) => seen.in_progress(format!("not available: {}", available.why())),
        None => seen.in_progress("not available yet"),
    }
}
