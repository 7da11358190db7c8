//! Lengths of time as people write them: `10m`, `1h30m`, `500ms`.

use std::time::Duration;

use super::form::Wrong;
use super::problem::quote;

/// What a length of time looks like, as a regular expression for JSON Schema.
pub(super) const PATTERN: &str = "^([0-9]+(ms|s|m|h|d))+$";

/// Longer than anything that is waited for; bounded so that adding it to a time cannot overflow.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

const UNITS: [(&str, u64); 5] = [
    ("d", 24 * 60 * 60 * 1000),
    ("h", 60 * 60 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];

/// Reads a length of time: numbers with their units, largest unit first.
pub(super) fn parse(text: &str) -> Result<Duration, Wrong> {
    let wrong = || {
        Wrong::new(
            format!("{} is not a length of time", quote(text)),
            "write it like `10m`, `1h30m` or `500ms` (units d, h, m, s, ms, largest first)",
        )
    };
    let mut rest = text;
    let mut total = Duration::ZERO;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let unit = tail.len()
            - tail
                .trim_start_matches(|c: char| c.is_ascii_lowercase())
                .len();
        let (unit, tail) = tail.split_at(unit);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let (_, milliseconds) = units.find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let part = number.checked_mul(*milliseconds).ok_or_else(wrong)?;
        total = total
            .checked_add(Duration::from_millis(part))
            .filter(|total| *total <= LONGEST)
            .ok_or_else(|| {
                let what = format!("{} is longer than a year", quote(text));
                Wrong::new(what, "write `366d` or less")
            })?;
        rest = tail;
    }
    match text.is_empty() {
        true => Err(wrong()),
        false => Ok(total),
    }
}

/// Writes a length of time as the configuration takes it (`1h30m`), exact to the millisecond.
pub fn in_words(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, milliseconds) in UNITS {
        if rest >= milliseconds {
            text.push_str(&format!("{}{unit}", rest / milliseconds));
            rest %= milliseconds;
        }
    }
    match text.is_empty() {
        true => "0s".to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_and_written() {
        for (text, milliseconds) in [
            ("0s", 0),
            ("500ms", 500),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("1d1s1ms", 86_401_001),
        ] {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(parse(text), Ok(duration), "{text}");
            assert_eq!(in_words(duration), text);
        }
    }

    #[test]
    fn what_is_no_length_of_time_is_refused() {
        for text in [
            "",
            "10",
            "m",
            "10 m",
            "-1s",
            "1s1m",
            "1m1m",
            "1.5h",
            "10M",
            "1y",
            "367d",
            "99999999999999999999s",
            "9999999999999999999d",
            "１s",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
