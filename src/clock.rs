//! The one place that reads the clock. Everything else takes `now` as an argument.

use jiff::Timestamp;

/// The present moment, UTC.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the clock"
)]
pub fn now() -> Timestamp {
    Timestamp::now()
}
