//! CronJobs: exercised by a run that succeeded since they were written. A run that did not proves
//! nothing either way: it may have been the last release's, and the next may succeed.

use super::seen::Seen;
use super::text;
use crate::model::Health;

pub(super) fn health(seen: &Seen<'_>) -> Health {
    if seen.is_true("/spec/suspend") {
        return seen.not_exercised("suspended");
    }
    let since_written = |pointer| {
        let at = seen.time(pointer)?;
        seen.is_since_written(Some(at)).then_some(at)
    };
    // A run's time is the one it was due at, which is before it began.
    let begun = since_written("/status/lastScheduleTime");
    let is_running = !seen.list("/status/active").is_empty();
    match since_written("/status/lastSuccessfulTime") {
        Some(ended) if is_running || begun.is_none_or(|begun| ended >= begun) => Health::Current,
        _ if is_running => seen.not_exercised("its run has not ended"),
        _ => match begun {
            Some(begun) => seen.not_exercised(format!("its run of {begun} did not succeed")),
            None => {
                let schedule = text::clean(seen.text("/spec/schedule").unwrap_or_default());
                seen.not_exercised(format!(
                    "has not run since it was written; due `{schedule}`"
                ))
            }
        },
    }
}
