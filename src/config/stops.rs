//! The keys `hold` and `freeze`: what an environment's file stops, and when.

use std::time::Duration;

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde_json::{Value as Json, json};

use super::environment::values;
use super::form::{Form, Reading, Text, Wrong, a_second_or_more, misformed, text};
use super::list::{List, any_list};
use super::problem::quote;
use super::section::{Fields, Section};
use super::yaml::{Node, Value};
use crate::model::StatedHold;
use crate::model::freeze::{LONGEST, Rule, Times, Window, frozen, zone};

/// The key `hold`: a reason, or a reason and an end.
pub(super) struct HoldForm;

const HOLD: Fields<StatedHold> = Fields {
    sample: "{ reason: \"the database moves\", until: 2026-11-23T08:00:00Z }",
    read: hold,
};

impl Form for HoldForm {
    type Value = StatedHold;

    fn read(&self, node: &Node, reading: &mut Reading) -> Option<StatedHold> {
        match &node.value {
            Value::Text(_) => {
                let reason = reason().read(node, reading)?;
                Some(StatedHold {
                    reason,
                    until: None,
                    place: node.place.to_string(),
                })
            }
            Value::Map(_) => HOLD.read(node, reading),
            _ => {
                misformed(self, node, reading);
                None
            }
        }
    }

    fn schema(&self) -> Json {
        json!({ "oneOf": [reason().schema(), HOLD.schema()] })
    }

    fn wanted(&self) -> String {
        "a reason, or a mapping".to_owned()
    }

    fn sample(&self) -> String {
        reason().sample()
    }
}

fn reason() -> Text<String> {
    text("a reason", "\"the database moves\"")
}

fn hold(section: &mut Section<'_>) -> Option<StatedHold> {
    let reason = section.required("reason", "Why, for those who find it.", reason());
    let until = section.optional(
        "until",
        "When it ends by itself, with its offset or zone. Left out: once it is taken out of the file.",
        moment(),
    );
    Some(StatedHold {
        reason: reason?.value,
        until: until.map(|until| until.value),
        place: section.place.to_string(),
    })
}

fn moment() -> Text<Timestamp> {
    Text {
        wanted: "a moment",
        sample: "2026-11-23T08:00:00Z",
        parse: |text| {
            let zoned = || text.parse::<Zoned>().map(|zoned| zoned.timestamp());
            text.parse::<Timestamp>().or_else(|_| zoned()).map_err(|_| {
                Wrong::new(
                    format!("{} is not a moment", quote(text)),
                    "write it like `2026-11-23T08:00:00Z`, `2026-11-23T09:00:00+01:00` or `2026-11-23T09:00[Europe/Rome]`",
                )
            })
        },
        schema: || json!({ "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]" }),
    }
}

/// Reads one entry of `freeze`.
pub(super) fn window(section: &mut Section<'_>) -> Option<Window> {
    section.hint("until", "write `to: …`");
    section.hint("duration", "write `for: 8h`");
    section.hint("timezone", "write `zone: Europe/Rome`");
    let days = section.optional(
        "days",
        "Weekly: the days on which it begins.",
        List {
            item: weekday(),
            empty: false,
            alone: true,
        },
    );
    let rule = section.optional(
        "rule",
        "The days on which it begins, as a recurrence rule of RFC 5545: `FREQ`, `INTERVAL`, `COUNT`, `UNTIL`, `BYMONTH`, `BYMONTHDAY`, `BYDAY`.",
        text("a rule", "FREQ=MONTHLY;BYDAY=-1FR"),
    );
    let start = section.optional(
        "start",
        "With `rule`: the day from which it counts.",
        date(),
    );
    let from = section.optional(
        "from",
        "When it begins: with `days` and `rule` a time of day (left out: 00:00), else a date, or a date and time.",
        when(),
    );
    let to = section.optional(
        "to",
        "When it ends, itself no longer in it: with `days` a time of day, or a day and time such as `mon 08:00`; without `days` a date, or a date and time.",
        when(),
    );
    let length = section.optional("for", "With `rule`: for how long.", a_second_or_more());
    let zone = section.or(
        "zone",
        "The time zone in which all that is meant, by its name in the IANA database.",
        named_zone(),
        "UTC",
    );
    let reason = section.or(
        "reason",
        "Why, for those who find it.",
        text("a reason", "\"no changes at weekends\""),
        "\"a freeze window of the environment\"",
    );
    section.not_with("rule", "days", "keep one of them");
    section.not_with("to", "rule", "write how long: `for: 8h`");
    let from = from.map(|at| at.value);
    let to = to.map(|at| at.value);
    let times = match (days, rule) {
        (Some(days), None) => weekly(section, values(days.value), from, to),
        (None, Some(rule)) => {
            let (start, length) = (start.map(|at| at.value), length.map(|at| at.value));
            by_rule(section, &rule.value, start, from, length)
        }
        (None, None) if section.has("days") || section.has("rule") => None,
        (None, None) => once(section, from, to),
        (Some(_), Some(_)) => None,
    }?;
    let window = Window {
        times,
        zone: zone?.value,
        reason: reason?.value,
        place: section.place.to_string(),
    };
    if !opens(std::slice::from_ref(&window)) {
        let what = "this freeze never opens: it follows itself without a gap";
        let place = section.place.clone();
        section.reading.problems.error(&place, what, SHORTEN);
        return None;
    }
    Some(window)
}

const SHORTEN: &str = "shorten it, or write `hold: REASON` where nothing is to come at all";

fn wrong<T>(section: &mut Section<'_>, key: &str, what: &str, instead: &str) -> Option<T> {
    let place = section.key_place(key);
    section.reading.problems.error(&place, what, instead);
    None
}

/// When a window begins that comes again on days: with `with`, at a time of the day.
fn time_of_day(
    section: &mut Section<'_>,
    with: &str,
    from: Option<When>,
    sample: &str,
) -> Option<Time> {
    match from {
        None if section.has("from") => None,
        None => Some(Time::midnight()),
        Some(When::Time(time)) => Some(time),
        Some(_) => {
            let what = format!("with `{with}`, `from` takes a time of day");
            wrong(section, "from", &what, sample)
        }
    }
}

fn weekly(
    section: &mut Section<'_>,
    days: Vec<Weekday>,
    from: Option<When>,
    to: Option<When>,
) -> Option<Times> {
    let sample = "write `{ days: [fri], from: \"16:00\", to: \"mon 08:00\" }`";
    let from = time_of_day(section, "days", from, sample)?;
    let to = match to {
        None if section.has("to") => return None,
        None => return wrong(section, "to", "`to` is missing", sample),
        Some(When::Time(time)) => (None, time),
        Some(When::Weekday(day, time)) => (Some(day), time),
        Some(_) => {
            let what = "with `days`, `to` takes a time of day, or a day and time";
            return wrong(section, "to", what, sample);
        }
    };
    Some(Times::Weekly { days, from, to })
}

fn once(section: &mut Section<'_>, from: Option<When>, to: Option<When>) -> Option<Times> {
    let sample = "write `{ from: 2026-12-20, to: 2027-01-04 }`, or name `days` or a `rule`";
    let mut end = |key: &str, when: Option<When>| match when {
        None if section.has(key) => None,
        None => wrong(section, key, &format!("`{key}` is missing"), sample),
        Some(When::Date(date)) => Some(date.to_datetime(Time::midnight())),
        Some(When::DateTime(at)) => Some(at),
        Some(When::Time(_) | When::Weekday(..)) => {
            let what = format!("without `days`, `{key}` takes a date, or a date and time");
            wrong(section, key, &what, sample)
        }
    };
    let (from, to) = (end("from", from), end("to", to));
    let (from, to) = (from?, to?);
    match from < to {
        true => Some(Times::Once { from, to }),
        false => wrong(section, "to", "it ends before it begins", sample),
    }
}

fn by_rule(
    section: &mut Section<'_>,
    rule: &str,
    start: Option<Date>,
    from: Option<When>,
    length: Option<Duration>,
) -> Option<Times> {
    let sample =
        "write `{ rule: FREQ=MONTHLY;BYDAY=-1FR, start: 2026-01-01, from: \"16:00\", for: 8h }`";
    let Some(start) = start else {
        return match section.has("start") {
            true => None,
            false => wrong(section, "rule", "`start` is missing", sample),
        };
    };
    let Some(length) = length else {
        return match section.has("for") {
            true => None,
            false => wrong(section, "rule", "`for` is missing", sample),
        };
    };
    let from = time_of_day(section, "rule", from, sample)?;
    if length > LONGEST {
        return wrong(
            section,
            "for",
            "a window that comes again takes 31 days at most",
            sample,
        );
    }
    match Rule::new(rule, start) {
        Ok(rule) => Some(Times::Rule { rule, from, length }),
        Err(error) => wrong(
            section,
            "rule",
            &format!("{} is no rule: {error}", quote(rule)),
            sample,
        ),
    }
}

/// Whether there is any moment without a freeze. One that comes again and again and never ends would be a hold.
fn opens(windows: &[Window]) -> bool {
    const LOOKED_AT: [i64; 2] = [1_767_571_200, 1_784_073_600]; // 2026-01-05 and 2026-07-15, UTC
    let year = Duration::from_secs(366 * 24 * 60 * 60);
    let once = |window: &Window| matches!(window.times, Times::Once { .. });
    if windows.iter().all(once) {
        return true;
    }
    LOOKED_AT.iter().all(|at| {
        let mut at = Timestamp::from_second(*at).unwrap_or(Timestamp::MAX);
        let last = at.checked_add(year).unwrap_or(Timestamp::MAX);
        // Each look joins what follows without a gap.
        while at < last {
            match frozen(windows, at) {
                Some((_, interval)) if interval.to > at => at = interval.to,
                _ => return true,
            }
        }
        false
    })
}

/// When a window begins or ends.
#[derive(Debug, Clone, Copy)]
enum When {
    Time(Time),
    Weekday(Weekday, Time),
    Date(Date),
    DateTime(DateTime),
}

fn when() -> Text<When> {
    Text {
        wanted: "a time of day, a day and time, or a date",
        sample: "\"16:00\"",
        parse: |text| {
            let time = |text: &str| {
                let shaped = text.len() == 5 && text.as_bytes().get(2) == Some(&b':');
                shaped.then(|| text.parse::<Time>().ok()).flatten()
            };
            let weekday = || {
                let (day, at) = text.split_once(' ')?;
                Some(When::Weekday(day_of(day)?, time(at)?))
            };
            let date = || (text.len() == 10).then(|| text.parse().ok().map(When::Date))?;
            let datetime = || {
                let shaped =
                    text.len() == 16 && matches!(text.as_bytes().get(10), Some(b'T' | b' '));
                shaped.then(|| text.parse().ok().map(When::DateTime))?
            };
            let found = time(text).map(When::Time).or_else(weekday).or_else(date);
            found.or_else(datetime).ok_or_else(|| {
                Wrong::new(
                    format!("{} is neither a time of day nor a date", quote(text)),
                    "write it like `\"16:00\"`, `\"mon 08:00\"`, `2026-12-20` or `2026-12-20T16:00`",
                )
            })
        },
        schema: || json!({ "minLength": 5 }),
    }
}

fn date() -> Text<Date> {
    Text {
        wanted: "a date",
        sample: "2026-01-01",
        parse: |text| {
            let date = (text.len() == 10).then(|| text.parse().ok()).flatten();
            date.ok_or_else(|| {
                Wrong::new(
                    format!("{} is not a date", quote(text)),
                    "write it like `2026-01-01`",
                )
            })
        },
        schema: || json!({ "format": "date" }),
    }
}

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

fn day_of(text: &str) -> Option<Weekday> {
    let mut days = DAYS.iter();
    days.find(|(name, _)| *name == text).map(|(_, day)| *day)
}

fn weekday() -> super::form::Words<Weekday> {
    super::form::Words(&DAYS)
}

fn named_zone() -> Text<TimeZone> {
    Text {
        wanted: "a time zone",
        sample: "Europe/Rome",
        parse: |text| {
            zone(text).ok_or_else(|| {
                Wrong::new(
                    format!("{} is not a time zone", quote(text)),
                    "write its name in the IANA database, such as `Europe/Rome` or `UTC`",
                )
            })
        },
        schema: || json!({ "minLength": 1 }),
    }
}

/// The key `freeze`: a list of windows that leave moments without a freeze.
pub(super) struct FreezeForm;

impl FreezeForm {
    fn windows() -> List<Fields<Window>> {
        any_list(Fields {
            sample: "{ days: [fri], from: \"16:00\", to: \"mon 08:00\", zone: Europe/Rome }",
            read: window,
        })
    }
}

impl Form for FreezeForm {
    type Value = Vec<Window>;

    fn read(&self, node: &Node, reading: &mut Reading) -> Option<Vec<Window>> {
        let windows = values(Self::windows().read(node, reading)?);
        if !opens(&windows) {
            let what = "these freezes never open: they follow each other without a gap";
            reading.problems.error(&node.place, what, SHORTEN);
            return None;
        }
        Some(windows)
    }

    fn schema(&self) -> Json {
        Self::windows().schema()
    }

    fn wanted(&self) -> String {
        Self::windows().wanted()
    }

    fn sample(&self) -> String {
        Self::windows().sample()
    }

    fn is_leaf(&self) -> bool {
        Self::windows().is_leaf()
    }
}
