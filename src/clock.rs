//! The one place that reads the clock. Everything else takes `now` as an argument.

use std::time::Duration;

use jiff::Timestamp;

/// The present moment, UTC.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the clock"
)]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// The moment so long after another; the last one there is where that would be beyond it.
pub(crate) fn after(at: Timestamp, time: Duration) -> Timestamp {
    at.checked_add(time).unwrap_or(Timestamp::MAX)
}
