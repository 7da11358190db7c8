//! One thing of the outside world: what was last read of it, when, and when to read it again.
//!
//! A source is read in the background, never by a round: what a slow one keeps waiting is itself.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::plan::{Observed, Unreadable};

/// How soon a source that failed is read again, the first time; doubled each further time.
const RETRY_MIN: Duration = Duration::from_secs(1);

/// The longest that a failing source is left alone, unless it asks for more.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Why a source could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// What it answered.
    pub why: String,
    /// How long it asks to wait.
    pub retry_after: Option<Duration>,
}

/// See the module.
pub struct Source<T> {
    name: String,
    kept: Mutex<Kept<T>>,
    stale: Notify,
}

struct Kept<T> {
    observed: Observed<T>,
    /// Whether it was ever tried.
    tried: bool,
    failures: u32,
    /// Since when it answers again, if it failed before.
    answering_since: Option<Timestamp>,
}

impl<T: Clone + PartialEq> Source<T> {
    /// A source that was not read yet.
    pub fn new(name: impl Into<String>, now: Timestamp) -> Self {
        let name = name.into();
        let observed = Observed::Unreadable(Unreadable {
            source: name.clone(),
            why: "it was not read yet".to_owned(),
            since: now,
            retry: Some(now),
        });
        let kept = Kept {
            observed,
            tried: false,
            failures: 0,
            answering_since: None,
        };
        Self {
            name,
            kept: Mutex::new(kept),
            stale: Notify::new(),
        }
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What was last read.
    pub fn observed(&self) -> Observed<T> {
        self.kept().observed.clone()
    }

    /// Whether it was ever tried.
    pub fn is_tried(&self) -> bool {
        self.kept().tried
    }

    /// Since when it answers again, if it failed before; where it answers now, at `now`.
    pub fn answering_since(&self, now: Timestamp) -> Option<Timestamp> {
        let kept = self.kept();
        match kept.failures {
            0 => kept.answering_since,
            _ => Some(now),
        }
    }

    /// Says that it may have changed. Carries no data: it is read again.
    pub fn mark_stale(&self) {
        self.stale.notify_one();
    }

    /// Returns when it is to be read again: it was marked stale, or its time has come.
    pub async fn due(&self, interval: Duration, now: Timestamp) {
        let wait = match &self.kept().observed {
            Observed::Seen { .. } => interval,
            Observed::Unreadable(unreadable) => until(unreadable.retry, now),
        };
        tokio::select! {
            () = self.stale.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }

    /// Keeps what was read; says whether that is news.
    pub fn keep(&self, read: Result<T, Failed>, now: Timestamp) -> bool {
        let mut kept = self.kept();
        kept.tried = true;
        match read {
            Ok(value) => {
                let news = !matches!(&kept.observed, Observed::Seen { value: before, .. } if *before == value);
                if kept.failures > 0 {
                    tracing::info!(source = %self.name, "answers again");
                    kept.answering_since = Some(now);
                }
                kept.failures = 0;
                kept.observed = Observed::Seen { value, at: now };
                news
            }
            Err(failed) => {
                let since = match &kept.observed {
                    Observed::Unreadable(before) if kept.failures > 0 => before.since,
                    _ => now,
                };
                let wait = failed.retry_after.unwrap_or_else(|| backoff(kept.failures));
                tracing::warn!(source = %self.name, why = %failed.why, "cannot be read");
                kept.failures = kept.failures.saturating_add(1);
                let unreadable = Unreadable {
                    source: self.name.clone(),
                    why: failed.why,
                    since,
                    retry: now.checked_add(wait).ok(),
                };
                kept.observed = Observed::Unreadable(unreadable);
                true
            }
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept<T>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn backoff(failures: u32) -> Duration {
    RETRY_MIN
        .saturating_mul(2_u32.saturating_pow(failures))
        .min(RETRY_MAX)
}

fn until(retry: Option<Timestamp>, now: Timestamp) -> Duration {
    let left = retry.map(|retry| retry.duration_since(now));
    left.and_then(|left| Duration::try_from(left).ok())
        .unwrap_or_default()
}
