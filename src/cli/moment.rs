//! Moments that people give on the command line.

use std::str::FromStr as _;
use std::time::Duration;

use anyhow::{Result, anyhow};
use jiff::{SignedDuration, Span, Timestamp, Zoned};

/// A moment, or how long from now.
#[derive(Debug, Clone, Copy)]
pub(super) enum Moment {
    /// This very one.
    At(Timestamp),
    /// So long from now.
    In(Span),
}

/// Reads `2h`, `2026-11-23T08:00:00Z` or `2026-11-23T09:00[Europe/Rome]`.
///
/// # Errors
/// What it should look like.
pub(super) fn parse(text: &str) -> Result<Moment> {
    let span = || Span::from_str(text).ok().filter(|span| span.is_positive());
    let zoned = || Zoned::from_str(text).ok();
    match (Timestamp::from_str(text), zoned(), span()) {
        (Ok(at), _, _) => Ok(Moment::At(at)),
        (_, Some(zoned), _) => Ok(Moment::At(zoned.timestamp())),
        (_, _, Some(span)) => Ok(Moment::In(span)),
        _ => Err(anyhow!(
            "write how long, as `2h` or `3d`, or when, as `2026-11-23T08:00:00Z` or `2026-11-23T09:00[Europe/Rome]`"
        )),
    }
}

/// Reads a length of time, such as `1h30m`.
///
/// # Errors
/// What it should look like.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let span: SignedDuration = text
        .parse()
        .map_err(|_| format!("`{text}` is no duration: write 30s, 2m or 1h30m"))?;
    Duration::try_from(span).map_err(|_| format!("`{text}` is negative"))
}

impl Moment {
    /// The moment, where a length of time is so long ago.
    ///
    /// # Errors
    /// It is out of all bounds.
    pub(super) fn before(self, now: Timestamp) -> Result<Timestamp> {
        match self {
            Self::At(at) => Ok(at),
            Self::In(span) => Self::In(-span).at(now),
        }
    }

    /// The moment, if it is now `now`. Days are days in UTC.
    ///
    /// # Errors
    /// It is out of all bounds.
    pub(super) fn at(self, now: Timestamp) -> Result<Timestamp> {
        match self {
            Self::At(at) => Ok(at),
            Self::In(span) => {
                let now = now.to_zoned(jiff::tz::TimeZone::UTC);
                let at = now.checked_add(span).map_err(|error| anyhow!(error))?;
                // Nobody means fractions of a second.
                Ok(Timestamp::from_second(at.timestamp().as_second())?)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read() {
        let now: Timestamp = "2026-11-20T17:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2h", "2026-11-20T19:00:00Z"),
            ("3d", "2026-11-23T17:00:00Z"),
            ("2026-11-23T08:00:00Z", "2026-11-23T08:00:00Z"),
            ("2026-11-23T09:00[Europe/Rome]", "2026-11-23T08:00:00Z"),
        ] {
            let at = parse(text).unwrap().at(now).unwrap();
            assert_eq!(at.to_string(), expected, "{text}");
        }
        for text in [
            "",
            "tomorrow",
            "-2h",
            "2026-11-23T09:00[Europe/Atlantis]",
            "10",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
