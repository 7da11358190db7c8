//! One thing of the outside world: what was last read of it, when, and when to read it again.
//!
//! A source is read in the background, never by a round: what a slow one keeps waiting is itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
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
    name: Arc<str>,
    kept: Mutex<Kept<T>>,
    stale: Stale,
}

/// Whether something may have changed since it was last read.
#[derive(Default)]
pub struct Stale {
    is: AtomicBool,
    bell: OnceLock<(Arc<Bell>, usize)>,
}

/// Tells whoever reads sources which of them are stale.
#[derive(Default)]
pub struct Bell {
    stale: Mutex<Vec<usize>>,
    rung: Notify,
}

impl Stale {
    /// Rings this bell, as the source of that number, each time it becomes stale. Only the first bell
    /// counts.
    pub fn ring(&self, bell: &Arc<Bell>, number: usize) {
        drop(self.bell.set((bell.clone(), number)));
        if self.is() {
            bell.ring(number);
        }
    }

    /// Whether it is.
    pub fn is(&self) -> bool {
        self.is.load(Ordering::Acquire)
    }

    /// It is read now: what changes from here on makes it stale again.
    pub fn clear(&self) {
        self.is.store(false, Ordering::Release);
    }

    fn set(&self) {
        if !self.is.swap(true, Ordering::AcqRel)
            && let Some((bell, number)) = self.bell.get()
        {
            bell.ring(*number);
        }
    }
}

impl Bell {
    /// Returns once a source became stale since this last returned.
    pub async fn rung(&self) {
        self.rung.notified().await;
    }

    /// The sources that became stale since this was last asked.
    pub fn take(&self) -> Vec<usize> {
        std::mem::take(&mut *self.stale.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn ring(&self, number: usize) {
        let mut stale = self.stale.lock().unwrap_or_else(PoisonError::into_inner);
        stale.push(number);
        drop(stale);
        self.rung.notify_one();
    }
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
    pub fn new(name: impl Into<Arc<str>>, now: Timestamp) -> Self {
        let name = name.into();
        let observed = Observed::Unreadable(Unreadable {
            source: name.to_string(),
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
            stale: Stale::default(),
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
        self.stale.set();
    }

    /// Whether it may have changed.
    pub fn stale(&self) -> &Stale {
        &self.stale
    }

    /// How long it may be left alone, unless it becomes stale.
    pub fn rest(&self, interval: Duration, now: Timestamp) -> Duration {
        match &self.kept().observed {
            Observed::Seen { .. } => interval,
            Observed::Unreadable(unreadable) => until(unreadable.retry, now),
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
                    source: self.name.to_string(),
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
