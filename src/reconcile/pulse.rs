//! Whether the loops still turn, and what they counted.
//!
//! Each loop says until when it rests at most. One that is not back by then, a while later, is stalled:
//! it computes without end, waits for a lock that nobody gives back, or is gone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The end of a loop that ended as it should.
const NEVER: u64 = u64::MAX;

/// The loops of a reconciler.
pub struct Pulse {
    base: Instant,
    /// How long a turn may take.
    turn: Duration,
    beats: Mutex<Vec<Arc<Beating>>>,
    races_lost: AtomicU64,
    heard: AtomicU64,
    polled: AtomicU64,
}

struct Beating {
    whose: String,
    /// By when it must turn again, in milliseconds since the base.
    due: AtomicU64,
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pushes that somebody else was faster than.
    pub races_lost: u64,
    /// Sources read because something was heard of them.
    pub heard: u64,
    /// Sources read because their time had come.
    pub polled: u64,
}

impl Counts {
    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self {
            races_lost: self.races_lost + other.races_lost,
            heard: self.heard + other.heard,
            polled: self.polled + other.polled,
        }
    }
}

/// A loop that does not turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stalled {
    /// Which.
    pub whose: String,
    /// For how long beyond what it may take.
    pub late: Duration,
}

/// One loop's own end of the pulse.
pub(super) struct Beat {
    pulse: Arc<Pulse>,
    beating: Arc<Beating>,
}

impl Pulse {
    /// Of loops each turn of which may take so long.
    pub(super) fn new(turn: Duration) -> Self {
        Self {
            base: Instant::now(),
            turn,
            beats: Mutex::default(),
            races_lost: AtomicU64::default(),
            heard: AtomicU64::default(),
            polled: AtomicU64::default(),
        }
    }

    /// The loops that do not turn, the longest late first.
    pub fn stalled(&self, now: Instant) -> Vec<Stalled> {
        let now = self.milliseconds(now);
        let beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stalled: Vec<_> = beats
            .iter()
            .filter_map(|it| {
                let late = now.checked_sub(it.due.load(Ordering::Relaxed))?;
                Some(Stalled {
                    whose: it.whose.clone(),
                    late: Duration::from_millis(late),
                })
            })
            .collect();
        stalled.sort_by_key(|it| std::cmp::Reverse(it.late));
        stalled
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        Counts {
            races_lost: self.races_lost.load(Ordering::Relaxed),
            heard: self.heard.load(Ordering::Relaxed),
            polled: self.polled.load(Ordering::Relaxed),
        }
    }

    pub(super) fn lost_a_race(&self) {
        self.races_lost.fetch_add(1, Ordering::Relaxed);
    }

    /// A loop that begins now.
    pub(super) fn of(self: &Arc<Self>, whose: String) -> Beat {
        let due = AtomicU64::new(NEVER);
        let beating = Arc::new(Beating { whose, due });
        let mut beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        beats.push(beating.clone());
        drop(beats);
        let beat = Beat {
            pulse: self.clone(),
            beating,
        };
        beat.turns();
        beat
    }

    fn milliseconds(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.base).as_millis();
        u64::try_from(since).unwrap_or(NEVER)
    }
}

impl Beat {
    /// It does something that should not take long.
    pub(super) fn turns(&self) {
        self.rests(Duration::ZERO);
    }

    /// How long a turn may take.
    pub(super) fn turn(&self) -> Duration {
        self.pulse.turn
    }

    /// It rests, no longer than this.
    pub(super) fn rests(&self, at_most: Duration) {
        let now = self.pulse.milliseconds(Instant::now());
        let rest = u64::try_from(at_most.saturating_add(self.pulse.turn).as_millis());
        let due = now.saturating_add(rest.unwrap_or(NEVER));
        self.beating.due.store(due, Ordering::Relaxed);
    }

    /// It ends, as it should.
    pub(super) fn ends(&self) {
        self.beating.due.store(NEVER, Ordering::Relaxed);
    }

    /// It read a source, because something was heard of it or because its time had come.
    pub(super) fn read(&self, heard: bool) {
        let count = match heard {
            true => &self.pulse.heard,
            false => &self.pulse.polled,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_is_not_back_in_time_is_named() {
        let pulse = Arc::new(Pulse::new(Duration::from_secs(60)));
        let rounds = pulse.of("the rounds of shop".to_owned());
        let look = pulse.of("the look at registry.example.com".to_owned());
        let in_ = |seconds| Instant::now() + Duration::from_secs(seconds);
        let stalled = |seconds| {
            let stalled = pulse.stalled(in_(seconds)).into_iter();
            stalled.map(|it| it.whose).collect::<Vec<_>>()
        };
        assert!(stalled(59).is_empty(), "a turn may take a while");
        assert_eq!(stalled(61).len(), 2);
        look.rests(Duration::from_secs(30));
        rounds.rests(Duration::from_secs(3600));
        assert!(stalled(89).is_empty());
        assert_eq!(stalled(91), ["the look at registry.example.com"]);
        assert_eq!(
            stalled(3661).first().unwrap(),
            "the look at registry.example.com"
        );
        look.ends();
        assert_eq!(stalled(3661), ["the rounds of shop"]);
        rounds.rests(Duration::MAX);
        assert!(stalled(1_000_000).is_empty());
        rounds.turns();
        // Whatever became of the loop, it is missed.
        drop(rounds);
        assert_eq!(stalled(61), ["the rounds of shop"]);
    }

    #[test]
    fn looks_and_lost_races_are_counted() {
        let pulse = Arc::new(Pulse::new(Duration::from_secs(60)));
        let beat = pulse.of("a loop".to_owned());
        beat.read(true);
        beat.read(false);
        beat.read(false);
        pulse.lost_a_race();
        let expected = Counts {
            races_lost: 1,
            heard: 1,
            polled: 2,
        };
        assert_eq!(pulse.counts(), expected);
        assert_eq!(pulse.counts().and(expected).polled, 4);
    }
}
