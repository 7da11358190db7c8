//! When each of some sources is read: those that something was heard of first, then those whose time has
//! come, only so many at a time. Moments are given, so that a simulated clock does as well.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// Sources of one outside system that are read at a time. It has its own limits besides.
const AT_A_TIME: usize = 64;

/// What is due within this is read together: to wake for each of a thousand sources costs more than it is
/// worth. Nothing is read later for it.
const TOGETHER: Duration = Duration::from_millis(100);

/// What rests for less has a moment of its own.
const RESTS_LONG: Duration = Duration::from_secs(5);

/// Where each source stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// Until then, as far as is known.
    Rests(Instant),
    Queued,
    IsRead,
}

/// See the module. Sources are known by their number.
pub(super) struct Timetable {
    begin: Instant,
    stands: Vec<Stand>,
    timers: BTreeSet<(Instant, usize)>,
    queue: VecDeque<usize>,
    read: usize,
}

impl Timetable {
    /// So many sources, all of which are due.
    pub(super) fn new(count: usize, begin: Instant) -> Self {
        Self {
            begin,
            stands: vec![Stand::Rests(begin); count],
            timers: (0..count).map(|it| (begin, it)).collect(),
            queue: VecDeque::new(),
            read: 0,
        }
    }

    /// Something was heard of a source. One that is read at this very moment is looked after when that is
    /// done.
    pub(super) fn hear(&mut self, source: usize) {
        if let Stand::Rests(due) = self.stands[source] {
            self.timers.remove(&(due, source));
            self.stands[source] = Stand::Queued;
            // Of this one something was heard, of others nothing.
            self.queue.push_front(source);
        }
    }

    /// A source that is to be read now; it is being read from here on.
    pub(super) fn next(&mut self, now: Instant) -> Option<usize> {
        while let Some((_, source)) = self.timers.first().copied().filter(|(due, _)| *due <= now) {
            self.timers.pop_first();
            self.stands[source] = Stand::Queued;
            self.queue.push_back(source);
        }
        if self.read == AT_A_TIME {
            return None;
        }
        let source = self.queue.pop_front()?;
        self.stands[source] = Stand::IsRead;
        self.read += 1;
        Some(source)
    }

    /// A source was read, and may rest so long; `None`: something was heard of it meanwhile.
    pub(super) fn read(&mut self, source: usize, rest: Option<Duration>, now: Instant) {
        self.read -= 1;
        match rest {
            None => {
                self.stands[source] = Stand::Queued;
                self.queue.push_front(source);
            }
            Some(rest) => {
                let due = self.due_after(rest, now);
                self.stands[source] = Stand::Rests(due);
                self.timers.insert((due, source));
            }
        }
    }

    /// When a source is due that may rest so long.
    fn due_after(&self, rest: Duration, now: Instant) -> Instant {
        let due = now + rest;
        if rest < RESTS_LONG {
            return due;
        }
        let since = due.saturating_duration_since(self.begin).as_nanos();
        let beyond = u64::try_from(since % TOGETHER.as_nanos()).unwrap_or(0);
        due.checked_sub(Duration::from_nanos(beyond)).unwrap_or(due)
    }

    /// Whether any source is being read.
    pub(super) fn is_reading(&self) -> bool {
        self.read > 0
    }

    /// When the next one is due, as far as is known.
    pub(super) fn due(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _)| *due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_of_goes_first_and_nothing_is_read_twice_at_a_time() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let rest = |seconds| Some(Duration::from_secs(seconds));
        let mut table = Timetable::new(3, begin);
        assert_eq!(table.next(begin), Some(0));
        table.hear(2);
        // It is read already: whoever reads it asks when that is done.
        table.hear(0);
        let order: Vec<_> = std::iter::from_fn(|| table.next(begin)).collect();
        assert_eq!(order, [1, 2]);
        assert!(table.due().is_none() && table.is_reading());
        table.read(0, None, begin);
        assert_eq!(table.next(begin), Some(0), "it was heard of meanwhile");
        for (source, seconds) in [(0, 30), (1, 10), (2, 20)] {
            table.read(source, rest(seconds), begin);
        }
        assert!(!table.is_reading());
        assert_eq!(table.due(), Some(at(10)));
        assert_eq!(table.next(at(9)), None);
        table.hear(0);
        let order: Vec<_> = std::iter::from_fn(|| table.next(at(20))).collect();
        assert_eq!(order, [0, 1, 2]);
    }

    #[test]
    fn what_rests_long_is_due_together_and_never_later() {
        let begin = Instant::now();
        let mut table = Timetable::new(3, begin);
        while table.next(begin).is_some() {}
        let milliseconds = |count| begin + Duration::from_millis(count);
        for (source, rest) in [(0, 30_010), (1, 30_099), (2, 4_999)] {
            table.read(source, Some(Duration::from_millis(rest)), begin);
        }
        assert_eq!(table.due(), Some(milliseconds(4_999)));
        assert_eq!(table.next(milliseconds(4_999)), Some(2));
        assert_eq!(table.next(milliseconds(29_999)), None);
        let order: Vec<_> = std::iter::from_fn(|| table.next(milliseconds(30_000))).collect();
        assert_eq!(order, [0, 1]);
    }

    #[test]
    fn only_so_many_are_read_at_a_time() {
        let begin = Instant::now();
        let mut table = Timetable::new(AT_A_TIME + 1, begin);
        let first = std::iter::from_fn(|| table.next(begin)).count();
        assert_eq!(first, AT_A_TIME);
        table.read(0, Some(Duration::from_secs(1)), begin);
        assert_eq!(table.next(begin), Some(AT_A_TIME));
    }
}
