//! Moments, and the pieces of time that they are found in.

use super::*;

fn window(times: Times, name: &str) -> Window {
    Window {
        times,
        zone: zone(name).unwrap(),
        reason: "a reason".to_owned(),
        place: "a place".to_owned(),
    }
}

fn time(text: &str) -> Time {
    text.parse().unwrap()
}

fn weekend() -> Window {
    let times = Times::Weekly {
        days: vec![Weekday::Friday],
        from: time("16:00"),
        to: (Some(Weekday::Monday), time("08:00")),
    };
    window(times, "europe/rome")
}

fn nights() -> Window {
    let times = Times::Weekly {
        days: vec![Weekday::Monday, Weekday::Tuesday],
        from: time("22:00"),
        to: (None, time("06:00")),
    };
    window(times, "UTC")
}

fn rule(text: &str, start: &str, from: &str, hours: u64) -> Window {
    let times = Times::Rule {
        rule: Rule::new(text, start.parse().unwrap()).unwrap(),
        from: time(from),
        length: Duration::from_secs(hours * 3600),
    };
    window(times, "America/New_York")
}

#[test]
fn moments_are_found_in_their_windows() {
    let dates = window(
        Times::Once {
            from: "2026-12-20T00:00".parse().unwrap(),
            to: "2027-01-04T00:00".parse().unwrap(),
        },
        "Asia/Kolkata",
    );
    let month_end = || rule("FREQ=MONTHLY;BYMONTHDAY=-1", "2026-01-01", "18:00", 12);
    let friday = || rule("FREQ=MONTHLY;BYDAY=2FR", "2026-01-01", "00:00", 24);
    let fortnight = || rule("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO", "2026-01-05", "00:00", 24);
    let thrice = || rule("FREQ=DAILY;COUNT=3", "2026-01-05", "00:00", 24);
    for (window, now, expected) in [
        // Friday 16:00 in Rome is 15:00 UTC in winter.
        (weekend(), "2026-11-20T14:59:59Z", None),
        (
            weekend(),
            "2026-11-20T15:00:00Z",
            Some(("2026-11-20T15:00:00Z", "2026-11-23T07:00:00Z")),
        ),
        (
            weekend(),
            "2026-11-23T06:59:59Z",
            Some(("2026-11-20T15:00:00Z", "2026-11-23T07:00:00Z")),
        ),
        (weekend(), "2026-11-23T07:00:00Z", None),
        // The clock goes back on Sunday: an hour longer.
        (
            weekend(),
            "2026-10-24T00:00:00Z",
            Some(("2026-10-23T14:00:00Z", "2026-10-26T07:00:00Z")),
        ),
        (
            nights(),
            "2026-11-17T05:59:00Z",
            Some(("2026-11-16T22:00:00Z", "2026-11-17T06:00:00Z")),
        ),
        (nights(), "2026-11-18T23:00:00Z", None),
        (
            dates.clone(),
            "2026-12-19T18:30:00Z",
            Some(("2026-12-19T18:30:00Z", "2027-01-03T18:30:00Z")),
        ),
        (dates, "2027-01-03T18:30:00Z", None),
        (
            month_end(),
            "2026-03-01T00:00:00Z",
            Some(("2026-02-28T23:00:00Z", "2026-03-01T11:00:00Z")),
        ),
        (month_end(), "2026-03-01T11:00:00Z", None),
        (
            friday(),
            "2026-11-13T12:00:00Z",
            Some(("2026-11-13T05:00:00Z", "2026-11-14T05:00:00Z")),
        ),
        (friday(), "2026-11-20T12:00:00Z", None),
        (fortnight(), "2026-01-12T12:00:00Z", None),
        (
            fortnight(),
            "2026-01-19T12:00:00Z",
            Some(("2026-01-19T05:00:00Z", "2026-01-20T05:00:00Z")),
        ),
        (
            thrice(),
            "2026-01-07T12:00:00Z",
            Some(("2026-01-07T05:00:00Z", "2026-01-08T05:00:00Z")),
        ),
        (thrice(), "2026-01-08T12:00:00Z", None),
    ] {
        let found = window.at(now.parse().unwrap());
        let found = found.map(|it| (it.from.to_string(), it.to.to_string()));
        let expected = expected.map(|(from, to)| (from.to_owned(), to.to_owned()));
        assert_eq!(found, expected, "{:?} {now}", window.times);
    }
}

#[test]
fn windows_without_a_gap_are_one() {
    let monday = window(
        Times::Weekly {
            days: vec![Weekday::Monday],
            from: time("07:30"),
            to: (None, time("12:00")),
        },
        "Europe/Rome",
    );
    let windows = [weekend(), monday];
    let (window, interval) = frozen(&windows, "2026-11-21T00:00:00Z".parse().unwrap()).unwrap();
    assert_eq!(window, &windows[0]);
    assert_eq!(interval.to.to_string(), "2026-11-23T11:00:00Z");
    assert_eq!(
        frozen(&windows, "2026-11-24T00:00:00Z".parse().unwrap()),
        None
    );
}

#[test]
fn a_rule_means_its_days() {
    for (text, start, days) in [
        (
            "FREQ=WEEKLY",
            "2026-11-25",
            ["2026-11-25", "2026-12-02", "2026-12-09", "2026-12-16"],
        ),
        (
            "FREQ=WEEKLY;BYDAY=TU,WE,SA,SU",
            "2026-11-25",
            ["2026-11-25", "2026-11-28", "2026-11-29", "2026-12-01"],
        ),
        (
            "FREQ=MONTHLY;INTERVAL=5",
            "2026-03-15",
            ["2026-03-15", "2026-08-15", "2027-01-15", "2027-06-15"],
        ),
        (
            "FREQ=MONTHLY;BYDAY=-1FR,-2SA",
            "2026-11-01",
            ["2026-11-21", "2026-11-27", "2026-12-19", "2026-12-25"],
        ),
        (
            "FREQ=YEARLY;INTERVAL=3",
            "2026-11-27",
            ["2026-11-27", "2029-11-27", "2032-11-27", "2035-11-27"],
        ),
        // Without a month these days of each.
        (
            "FREQ=YEARLY;BYMONTHDAY=1",
            "2026-03-10",
            ["2026-04-01", "2026-05-01", "2026-06-01", "2026-07-01"],
        ),
        // The first comes as late as it may.
        (
            "FREQ=YEARLY;INTERVAL=48;BYMONTH=1;BYMONTHDAY=1,2",
            "2026-02-01",
            ["2074-01-01", "2074-01-02", "2122-01-01", "2122-01-02"],
        ),
    ] {
        let start: Date = start.parse().unwrap();
        let rule = Rule::new(text, start).unwrap();
        let all = std::iter::successors(Some(start), |date| date.tomorrow().ok());
        let found = all.filter(|date| rule.matches(*date)).take(days.len());
        let found: Vec<String> = found.map(|date| date.to_string()).collect();
        assert_eq!(found, days, "{text}");
    }
}

#[test]
fn a_window_ends_at_the_next_such_moment() {
    let friday = Some(Weekday::Friday);
    for (to, ends) in [
        ((friday, "18:00"), "2026-11-20T18:00:00Z"),
        ((friday, "16:00"), "2026-11-27T16:00:00Z"),
        ((friday, "08:00"), "2026-11-27T08:00:00Z"),
        ((None, "18:00"), "2026-11-20T18:00:00Z"),
        ((None, "16:00"), "2026-11-21T16:00:00Z"),
        ((None, "08:00"), "2026-11-21T08:00:00Z"),
    ] {
        let times = Times::Weekly {
            days: vec![Weekday::Friday],
            from: time("16:00"),
            to: (to.0, time(to.1)),
        };
        let found = window(times, "UTC").at("2026-11-20T17:00:00Z".parse().unwrap());
        let found = found.map(|it| it.to.to_string());
        assert_eq!(found.as_deref(), Some(ends), "{to:?}");
    }
}

#[test]
fn what_is_no_rule_is_refused() {
    let start = "2026-01-01".parse().unwrap();
    for (text, expected) in [
        ("", "`` is not understood"),
        ("BYDAY=MO", "`FREQ` is missing"),
        ("FREQ=HOURLY", "`FREQ=HOURLY` is not understood"),
        ("FREQ=DAILY;BYSETPOS=1", "`BYSETPOS=1` is not understood"),
        ("FREQ=DAILY;FREQ=DAILY", "`FREQ` stands in it twice"),
        ("FREQ=DAILY;INTERVAL=0", "`INTERVAL=0` is not understood"),
        (
            "FREQ=DAILY;COUNT=1;UNTIL=20260201",
            "`COUNT` and `UNTIL` do not go together",
        ),
        (
            "FREQ=DAILY;UNTIL=20260230",
            "`UNTIL=20260230` is not understood",
        ),
        (
            "FREQ=WEEKLY;BYDAY=1MO",
            "a day with a number, such as `-1FR`, takes `FREQ=MONTHLY` or `YEARLY`",
        ),
        ("FREQ=WEEKLY;BYDAY=XX", "`BYDAY=XX` is not understood"),
        (
            "FREQ=MONTHLY;BYMONTHDAY=0",
            "`BYMONTHDAY=0` is not understood",
        ),
        (
            "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
            "no day is ever meant by it",
        ),
        ("FREQ=DAILY;UNTIL=20251231", "no day is ever meant by it"),
        (
            "FREQ=DAILY;UNTIL=2026021",
            "`UNTIL=2026021` is not understood",
        ),
        (
            "FREQ=YEARLY;BYDAY=1MO",
            "with `FREQ=YEARLY`, `BYDAY` takes `BYMONTH`",
        ),
        ("freq=daily", "`freq=daily` is not understood"),
    ] {
        let refused = Rule::new(text, start).unwrap_err();
        assert_eq!(refused.to_string(), expected, "{text}");
    }
    for text in [
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29",
        "FREQ=YEARLY;BYMONTH=11;BYDAY=4TH",
        "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13",
    ] {
        assert!(Rule::new(text, start).is_ok(), "{text}");
    }
}

#[test]
fn zones_are_built_in() {
    assert!(zone("Europe/Rome").is_some());
    assert!(zone("Europe/Atlantis").is_none());
}
