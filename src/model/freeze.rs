//! Freezes: windows in which an environment takes no automatic change, written as weekly times, dates or
//! recurrence rules in a named time zone. Evaluated from what was written and the moment alone.

mod rule;
mod zone;

use std::time::Duration;

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

pub use rule::{InvalidRule, Rule};
pub use zone::zone;

/// Windows that follow each other without a gap are told as one, so many at most.
const JOINED: usize = 100;

/// A window in which nothing comes by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// When it is.
    pub times: Times,
    /// The zone in which its times are meant.
    pub zone: TimeZone,
    /// Why, for people.
    pub reason: String,
    /// Where it is written, for people.
    pub place: String,
}

/// When a window is.
#[derive(Debug, Clone, PartialEq)]
pub enum Times {
    /// Every week.
    Weekly {
        /// The days on which it begins. Never empty.
        days: Vec<Weekday>,
        /// When it begins on them.
        from: Time,
        /// When it ends: the next such moment.
        to: (Option<Weekday>, Time),
    },
    /// Once.
    Once {
        /// From this moment.
        from: DateTime,
        /// To this one, which is no longer in it.
        to: DateTime,
    },
    /// On the days of a rule, for a while.
    Rule {
        /// Which days.
        rule: Rule,
        /// When it begins on them.
        from: Time,
        /// For how long.
        length: Duration,
    },
}

/// A piece of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// From this moment.
    pub from: Timestamp,
    /// To this one, which is no longer in it.
    pub to: Timestamp,
}

/// The longest that a window that comes again and again may be.
pub const LONGEST: Duration = Duration::from_secs(31 * 24 * 60 * 60);

impl Window {
    /// The piece of time in which it is in force at this moment.
    pub fn at(&self, now: Timestamp) -> Option<Interval> {
        let local = now.to_zoned(self.zone.clone());
        let holds = |it: &Interval| it.from <= now && now < it.to;
        match &self.times {
            Times::Once { from, to } => {
                let interval = self.interval(*from, *to)?;
                holds(&interval).then_some(interval)
            }
            Times::Weekly { days, from, to } => {
                let begins = |date: Date| days.contains(&date.weekday());
                self.recurring(&local, 8, begins, |date| {
                    self.interval(date.to_datetime(*from), weekly_end(date, *from, *to)?)
                })
                .find(holds)
            }
            Times::Rule { rule, from, length } => {
                let back = length.as_secs() / (24 * 60 * 60) + 2;
                let begins = |date: Date| rule.matches(date);
                self.recurring(&local, back, begins, |date| {
                    let from = self.moment(date.to_datetime(*from))?;
                    let to = from.checked_add(*length).ok()?;
                    Some(Interval { from, to })
                })
                .find(holds)
            }
        }
    }

    /// The intervals that begin on one of the last days, the newest first.
    fn recurring<'a>(
        &'a self,
        now: &Zoned,
        back: u64,
        begins: impl Fn(Date) -> bool + 'a,
        interval: impl Fn(Date) -> Option<Interval> + 'a,
    ) -> impl Iterator<Item = Interval> + 'a {
        let days = std::iter::successors(Some(now.date()), |date| date.yesterday().ok());
        let days = days.take(usize::try_from(back).unwrap_or(usize::MAX));
        days.filter(move |date| begins(*date)).filter_map(interval)
    }

    fn interval(&self, from: DateTime, to: DateTime) -> Option<Interval> {
        let (from, to) = (self.moment(from)?, self.moment(to)?);
        Some(Interval { from, to })
    }

    /// What a clock on the wall means: of two moments the first, of none the one after the gap.
    fn moment(&self, local: DateTime) -> Option<Timestamp> {
        let zoned = local.to_zoned(self.zone.clone()).ok()?;
        Some(zoned.timestamp())
    }
}

/// The next such moment after the beginning.
fn weekly_end(date: Date, from: Time, (day, time): (Option<Weekday>, Time)) -> Option<DateTime> {
    let days = match day {
        Some(day) => i64::from(date.weekday().until(day)),
        None => 0,
    };
    let days = match (days, day) {
        (0, Some(_)) if time <= from => 7,
        (0, None) if time <= from => 1,
        (days, _) => days,
    };
    let end = date.checked_add(Span::new().days(days)).ok()?;
    Some(end.to_datetime(time))
}

/// The freeze that is in force, with the windows that follow without a gap; its reason is that of the first
/// that was written.
pub fn frozen(windows: &[Window], now: Timestamp) -> Option<(&Window, Interval)> {
    let (window, mut interval) = windows
        .iter()
        .find_map(|window| Some((window, window.at(now)?)))?;
    for _ in 0..JOINED {
        let next = windows.iter().filter_map(|it| it.at(interval.to));
        match next.map(|it| it.to).max() {
            Some(to) if to > interval.to => interval.to = to,
            _ => break,
        }
    }
    Some((window, interval))
}

#[cfg(test)]
mod tests;
