//! Recurrence rules of days: a subset of RFC 5545, section 3.3.10, read strictly.
//!
//! Taken are `FREQ` of `DAILY`, `WEEKLY`, `MONTHLY` and `YEARLY`, `INTERVAL`, `UNTIL` (a date), `COUNT`,
//! `BYMONTH`, `BYMONTHDAY` and `BYDAY`. Weeks begin on Monday, as they do there. Everything else is refused: a
//! part that is not understood would change the days that are meant.

use std::collections::BTreeSet;

use jiff::civil::{Date, Weekday};

/// More of them are better written without an end.
const COUNT_MAX: u32 = 1000;

/// Every rule comes within this many years, or never: the calendar repeats its weekdays after 28, and 2100
/// is no leap year.
const YEARS: i16 = 48;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    start: Date,
    every: Every,
    interval: i32,
    end: End,
    months: BTreeSet<i8>,
    month_days: BTreeSet<i8>,
    days: Vec<(Option<i8>, Weekday)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Every {
    Day,
    Week,
    Month,
    Year,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Never,
    Until(Date),
    Count(u32),
}

/// What is wrong with a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRule {
    /// A part that is not of this subset, or not of a rule at all.
    #[error("`{0}` is not understood")]
    Part(String),
    /// A part that stands twice.
    #[error("`{0}` stands in it twice")]
    Twice(String),
    /// `FREQ` is missing.
    #[error("`FREQ` is missing")]
    Frequency,
    /// Parts that do not go together.
    #[error("{0}")]
    Together(&'static str),
    /// No day is ever meant.
    #[error("no day is ever meant by it")]
    Never,
}

impl Rule {
    /// Reads a rule, such as `FREQ=MONTHLY;BYDAY=-1FR`, that begins on this day.
    ///
    /// # Errors
    /// [`InvalidRule`] says what is wrong.
    pub fn new(text: &str, start: Date) -> Result<Self, InvalidRule> {
        let mut rule = Self {
            start,
            every: Every::Day,
            interval: 1,
            end: End::Never,
            months: BTreeSet::new(),
            month_days: BTreeSet::new(),
            days: Vec::new(),
        };
        let mut seen = BTreeSet::new();
        for part in text.split(';') {
            let unknown = || InvalidRule::Part(part.to_owned());
            let (name, value) = part.split_once('=').ok_or_else(unknown)?;
            if !seen.insert(name) {
                return Err(InvalidRule::Twice(name.to_owned()));
            }
            rule.part(name, value).ok_or_else(unknown)?;
        }
        rule.judge(&seen)?;
        Ok(rule)
    }

    fn part(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            "FREQ" => {
                self.every = match value {
                    "DAILY" => Every::Day,
                    "WEEKLY" => Every::Week,
                    "MONTHLY" => Every::Month,
                    "YEARLY" => Every::Year,
                    _ => return None,
                }
            }
            "INTERVAL" => self.interval = number(value, 1, 1000)?,
            "COUNT" => {
                let most = i32::try_from(COUNT_MAX).ok()?;
                self.end = End::Count(u32::try_from(number(value, 1, most)?).ok()?);
            }
            "UNTIL" => {
                let is_date = value.len() == 8 && value.bytes().all(|it| it.is_ascii_digit());
                let date = is_date.then(|| Date::strptime("%Y%m%d", value).ok())??;
                self.end = End::Until(date);
            }
            "BYMONTH" => self.months = numbers(value, 1, 12)?,
            "BYMONTHDAY" => {
                self.month_days = numbers(value, -31, 31)?;
                (!self.month_days.contains(&0)).then_some(())?;
            }
            "BYDAY" => self.days = value.split(',').map(day).collect::<Option<_>>()?,
            _ => return None,
        }
        Some(())
    }

    fn judge(&self, seen: &BTreeSet<&str>) -> Result<(), InvalidRule> {
        let wrong = |why| Err(InvalidRule::Together(why));
        let ordinal = self.days.iter().any(|(ordinal, _)| ordinal.is_some());
        if !seen.contains("FREQ") {
            return Err(InvalidRule::Frequency);
        }
        if seen.contains("COUNT") && seen.contains("UNTIL") {
            return wrong("`COUNT` and `UNTIL` do not go together");
        }
        if self.every == Every::Week && !self.month_days.is_empty() {
            return wrong("`BYMONTHDAY` does not go together with `FREQ=WEEKLY`");
        }
        let in_months = self.every == Every::Month || self.every == Every::Year;
        if ordinal && !in_months {
            return wrong("a day with a number, such as `-1FR`, takes `FREQ=MONTHLY` or `YEARLY`");
        }
        if self.every == Every::Year && !self.days.is_empty() && self.months.is_empty() {
            return wrong("with `FREQ=YEARLY`, `BYDAY` takes `BYMONTH`");
        }
        let years = std::iter::successors(Some(self.start), |date| date.tomorrow().ok());
        let last = self.start.year().saturating_add(YEARS);
        let mut days = years.take_while(|date| date.year() <= last);
        match days.any(|date| self.is_of(date)) {
            true => Ok(()),
            false => Err(InvalidRule::Never),
        }
    }

    /// Whether this day is meant.
    pub fn matches(&self, date: Date) -> bool {
        self.is_of(date)
            && match self.end {
                End::Count(count) => {
                    let days = std::iter::successors(Some(self.start), |day| day.tomorrow().ok());
                    let before = days.take_while(|day| *day < date);
                    let most = usize::try_from(count).unwrap_or(usize::MAX);
                    before.filter(|day| self.is_of(*day)).take(most).count() < most
                }
                End::Never | End::Until(_) => true,
            }
    }

    /// The same without `COUNT`.
    fn is_of(&self, date: Date) -> bool {
        if date < self.start || matches!(self.end, End::Until(until) if date > until) {
            return false;
        }
        self.is_turn(date) && self.is_month(date) && self.is_day(date)
    }

    /// Whether it is the turn of the day's week, month or year.
    fn is_turn(&self, date: Date) -> bool {
        let passed = match self.every {
            Every::Day => days_between(self.start, date),
            Every::Week => days_between(monday(self.start), monday(date)) / 7,
            Every::Month => {
                let years = i32::from(date.year()) - i32::from(self.start.year());
                years * 12 + i32::from(date.month()) - i32::from(self.start.month())
            }
            Every::Year => i32::from(date.year()) - i32::from(self.start.year()),
        };
        passed % self.interval == 0
    }

    fn is_month(&self, date: Date) -> bool {
        match (self.every, self.months.is_empty()) {
            (_, false) => self.months.contains(&date.month()),
            // What is not said is as the start has it.
            (Every::Year, true) if self.month_days.is_empty() => date.month() == self.start.month(),
            (_, true) => true,
        }
    }

    fn is_day(&self, date: Date) -> bool {
        if self.days.is_empty() && self.month_days.is_empty() {
            return match self.every {
                Every::Day => true,
                Every::Week => date.weekday() == self.start.weekday(),
                Every::Month | Every::Year => date.day() == self.start.day(),
            };
        }
        let last = date.days_in_month();
        let of_month = || {
            self.month_days.contains(&date.day())
                || self.month_days.contains(&(date.day() - last - 1))
        };
        let nth = (date.day() - 1) / 7 + 1;
        let from_end = -((last - date.day()) / 7 + 1);
        let of_days = || {
            let mut days = self.days.iter();
            days.any(|(ordinal, day)| {
                *day == date.weekday() && ordinal.is_none_or(|it| it == nth || it == from_end)
            })
        };
        (self.month_days.is_empty() || of_month()) && (self.days.is_empty() || of_days())
    }
}

fn number(text: &str, least: i32, most: i32) -> Option<i32> {
    let number: i32 = text.parse().ok()?;
    (least..=most).contains(&number).then_some(number)
}

fn numbers(text: &str, least: i32, most: i32) -> Option<BTreeSet<i8>> {
    let numbers = text.split(',').map(|it| number(it, least, most));
    numbers
        .map(|it| i8::try_from(it?).ok())
        .collect::<Option<_>>()
}

fn day(text: &str) -> Option<(Option<i8>, Weekday)> {
    let at = text.len().checked_sub(2).filter(|_| text.is_ascii())?;
    let (ordinal, day) = text.split_at(at);
    let day = match day {
        "MO" => Weekday::Monday,
        "TU" => Weekday::Tuesday,
        "WE" => Weekday::Wednesday,
        "TH" => Weekday::Thursday,
        "FR" => Weekday::Friday,
        "SA" => Weekday::Saturday,
        "SU" => Weekday::Sunday,
        _ => return None,
    };
    let ordinal = match ordinal {
        "" => None,
        text => Some(i8::try_from(number(text, -5, 5).filter(|it| *it != 0)?).ok()?),
    };
    Some((ordinal, day))
}

fn days_between(from: Date, to: Date) -> i32 {
    from.until(to).map_or(0, |span| span.get_days())
}

fn monday(date: Date) -> Date {
    let back = i64::from(date.weekday().to_monday_zero_offset());
    date.checked_sub(jiff::Span::new().days(back))
        .unwrap_or(date)
}
