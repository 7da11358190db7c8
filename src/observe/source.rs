//! One thing of the outside world: what was last read of it, when, and when to read it again.
//!
//! A source is read in the background, never by a round: what a slow one keeps waiting is itself.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::backoff::backoff;
use crate::plan::{Observed, Unreadable};

/// How soon a source that failed is read again, the first time; doubled each further time.
const RETRY_MIN: Duration = Duration::from_secs(1);

/// The longest that a failing source is left alone, unless it asks for more.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// How long a source is looked at more often that changed without anybody telling.
const LIVELY: Duration = Duration::from_secs(600);

/// How much more often.
const LIVELY_RATE: u32 = 3;

/// But not more often than this, unless it is asked for.
const LIVELY_MIN: Duration = Duration::from_secs(1);

/// By how much of its interval a source may be looked at early, so that not all are at once.
const SPREAD: f64 = 0.2;

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
    /// Whether it was when it was last read.
    heard: AtomicBool,
    /// When it last turned out to have changed without anybody telling, in seconds; 0: never.
    surprised: AtomicI64,
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

    /// It is read now: what changes from here on makes it stale again. Gives whether it was.
    pub fn clear(&self) -> bool {
        let heard = self.is.swap(false, Ordering::AcqRel);
        self.heard.store(heard, Ordering::Relaxed);
        heard
    }

    /// Whether something was heard of it before it was last read.
    pub(super) fn was_heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }

    /// How long it may be left alone: where it changes and nobody tells, a third as long.
    fn pace(&self, interval: Duration, now: Timestamp) -> Duration {
        let since = now.as_second() - self.surprised.load(Ordering::Relaxed);
        match u64::try_from(since) {
            Ok(since) if since < LIVELY.as_secs() => {
                (interval / LIVELY_RATE).max(LIVELY_MIN).min(interval)
            }
            _ => interval,
        }
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
    /// The longest that it is left alone while it fails.
    retry_max: Duration,
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
            retry_max: RETRY_MAX,
            answering_since: None,
        };
        Self {
            name,
            kept: Mutex::new(kept),
            stale: Stale::default(),
        }
    }

    /// It is read so often: while it fails, it is left alone no longer than that, unless it asks for more. One that
    /// answers again is then seen within one interval.
    pub fn retry_within(&self, interval: Duration) {
        self.kept().retry_max = RETRY_MAX.min(interval);
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

    /// Takes note of a look: one that found news of which nobody told has the source looked at more
    /// often for a while.
    pub fn looked(&self, before: &Observed<T>, news: bool, now: Timestamp) {
        let heard = self.stale.was_heard();
        let seen = |observed: &Observed<T>| matches!(observed, Observed::Seen { .. });
        if news && !heard && seen(before) && seen(&self.kept().observed) {
            self.stale
                .surprised
                .store(now.as_second(), Ordering::Relaxed);
        }
    }

    /// How long it may be left alone, unless it becomes stale: never longer than the interval.
    pub fn rest(&self, interval: Duration, now: Timestamp) -> Duration {
        match &self.kept().observed {
            Observed::Seen { .. } => spread(&self.name, self.stale.pace(interval, now)),
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
                let wait = failed
                    .retry_after
                    .unwrap_or_else(|| backoff(RETRY_MIN, kept.failures, kept.retry_max));
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

/// An interval, shortened by a part that only the name decides: the same at every run.
fn spread(name: &str, interval: Duration) -> Duration {
    // FNV-1a (http://www.isthe.com/chongo/tech/comp/fnv/), and the end of MurmurHash3
    // (https://github.com/aappleby/smhasher/wiki/MurmurHash3), which spreads names that are much alike.
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let mixed = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    let mixed = (mixed ^ (mixed >> 13)).wrapping_mul(0xc2b2_ae35);
    let part = f64::from(mixed ^ (mixed >> 16)) / f64::from(u32::MAX);
    interval.mul_f64(1.0 - SPREAD * part)
}

fn until(retry: Option<Timestamp>, now: Timestamp) -> Duration {
    let left = retry.map(|retry| retry.duration_since(now));
    left.and_then(|left| Duration::try_from(left).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// One look that finds this value.
    fn look(source: &Source<u32>, value: u32, second: i64) {
        source.stale().clear();
        let before = source.observed();
        let news = source.keep(Ok(value), at(second));
        source.looked(&before, news, at(second));
    }

    #[test]
    fn no_rest_is_longer_than_the_interval_nor_the_same_for_all() {
        let mut rests = Vec::new();
        for number in 0..200 {
            let source = Source::new(
                format!("https://git.example.com/acme/infra-{number}"),
                at(0),
            );
            look(&source, 1, 0);
            rests.push(source.rest(INTERVAL, at(0)));
        }
        let (least, most) = (rests.iter().min().unwrap(), rests.iter().max().unwrap());
        assert!(
            *most <= INTERVAL && *most > INTERVAL.mul_f64(0.98),
            "{most:?}"
        );
        assert!(
            *least >= INTERVAL.mul_f64(0.8) && *least < INTERVAL.mul_f64(0.82),
            "{least:?}"
        );
        // Told by the name alone, so that a run can be had again.
        let again = Source::new("https://git.example.com/acme/infra-0".to_owned(), at(9));
        look(&again, 7, 9);
        assert_eq!(again.rest(INTERVAL, at(9)), rests[0]);
    }

    #[test]
    fn what_fails_is_asked_again_within_one_interval() {
        for (interval, expected) in [
            (1, [1, 1, 1, 1]),
            (30, [1, 16, 30, 30]),
            (3600, [1, 16, 60, 60]),
        ] {
            let source = Source::<u32>::new("shop", at(0));
            source.retry_within(Duration::from_secs(interval));
            let mut rests = Vec::new();
            for _ in 0..20 {
                let failed = Failed {
                    why: "gone".to_owned(),
                    retry_after: None,
                };
                source.keep(Err(failed), at(0));
                rests.push(source.rest(Duration::from_secs(interval), at(0)).as_secs());
            }
            assert_eq!(
                [rests[0], rests[4], rests[6], rests[19]],
                expected,
                "{interval} s"
            );
        }
    }

    #[test]
    fn what_changes_untold_is_looked_at_more_often_for_a_while() {
        let source = Source::new("shop", at(0));
        look(&source, 1, 0);
        let usual = source.rest(INTERVAL, at(0));
        look(&source, 1, 30);
        assert_eq!(source.rest(INTERVAL, at(30)), usual, "nothing changed");
        source.mark_stale();
        look(&source, 2, 40);
        assert_eq!(source.rest(INTERVAL, at(40)), usual, "somebody told");
        look(&source, 3, 60);
        let lively = source.rest(INTERVAL, at(60));
        assert!(lively <= INTERVAL / 3, "{lively:?}");
        assert_eq!(source.rest(INTERVAL, at(60 + 600)), usual, "for a while");
        let second = Duration::from_secs(1);
        assert!(source.rest(second, at(60)) <= second);
        assert!(source.rest(second, at(60)) >= second.mul_f64(0.8));
        let failed = Failed {
            why: "gone".to_owned(),
            retry_after: None,
        };
        assert!(source.keep(Err(failed), at(70)));
        assert_eq!(
            source.rest(INTERVAL, at(70)),
            RETRY_MIN,
            "a failure has its own pace"
        );
    }
}
