//! The table of units, as wide as there is room.

use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;

use crate::cli::releases;
use crate::cli::view;
use crate::plan::{Plan, UnitPlan};

/// Narrower than this, a unit is told on two lines.
const NARROW: u16 = 80;

/// How many columns there are, where that is known: elsewhere lines are as long as they are.
pub(super) fn columns() -> Option<u16> {
    let told = std::env::var("COLUMNS").ok();
    told.and_then(|it| it.parse().ok())
        .or_else(|| Table::new().width())
}

/// The units in the order given, a line feed at the end.
pub(super) fn of(
    units: &[(&Plan, &UnitPlan)],
    wide: bool,
    columns: Option<u16>,
    now: Timestamp,
) -> String {
    match columns {
        Some(columns) if columns < NARROW && !wide => narrow(units, columns, now),
        _ => table(units, wide, columns, now),
    }
}

fn table(units: &[(&Plan, &UnitPlan)], wide: bool, columns: Option<u16>, now: Timestamp) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    if let Some(columns) = columns.filter(|_| !wide) {
        table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(columns);
    }
    let mut header = vec!["APPLICATION", "ENVIRONMENT", "RELEASE", "AGE"];
    if wide {
        header.extend(["DIGEST", "COMMIT"]);
    }
    header.extend(["DEPLOYMENT", "STATE", "SINCE"]);
    if wide {
        header.push("NEXT");
    }
    header.push("REASON");
    if wide {
        header.push("UNBLOCKED BY");
    }
    table.set_header(header);
    for (plan, unit) in units {
        let dash = || "–".to_owned();
        let waiting = view::waiting(unit);
        let release = unit.release.as_ref();
        let mut row = vec![
            plan.application.to_string(),
            unit.environment.to_string(),
            release.map_or_else(dash, ToString::to_string),
            age(unit, now),
        ];
        if wide {
            row.push(release.map_or_else(dash, |it| it.short_digest()));
            let commit = release.and_then(|it| it.commit.as_deref());
            row.push(commit.map_or_else(dash, |it| releases::short(it).to_owned()));
        }
        row.extend([
            unit.number.map_or_else(dash, |number| number.to_string()),
            state(unit),
            waiting
                .and_then(|it| it.since)
                .map_or_else(dash, |since| view::ago(since, now)),
        ]);
        if wide {
            let next = waiting.and_then(|it| it.next);
            row.push(next.map_or_else(dash, |next| view::moment(next).to_string()));
        }
        row.push(view::cell(unit, now));
        if wide {
            let unblock =
                waiting.and_then(|it| it.reason.unblock(&plan.application, &unit.environment));
            row.push(unblock.unwrap_or_else(dash));
        }
        table.add_row(row);
    }
    format!("{}\n", table.trim_fmt())
}

/// Two lines a unit: what it is, then why.
fn narrow(units: &[(&Plan, &UnitPlan)], columns: u16, now: Timestamp) -> String {
    let mut text = String::new();
    for (plan, unit) in units {
        let release = unit.release.as_ref();
        let release = release.map_or_else(|| "–".to_owned(), ToString::to_string);
        let since = view::waiting(unit).and_then(|it| it.since);
        let since = since.map(|since| format!(" {}", view::ago(since, now)));
        let line = format!(
            "{} {} {release}  {}{}",
            plan.application,
            unit.environment,
            state(unit),
            since.unwrap_or_default()
        );
        text.push_str(&format!("{line}\n"));
        for part in folded(&view::cell(unit, now), usize::from(columns).max(20) - 2) {
            text.push_str(&format!("  {part}\n"));
        }
    }
    text
}

/// Lines of at most so many characters, broken between words where that is possible.
fn folded(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let mut rest: Vec<char> = word.chars().collect();
        if used > 0 && used + 1 + rest.len() > width {
            lines.push(String::new());
            used = 0;
        }
        while !rest.is_empty() {
            if used >= width {
                lines.push(String::new());
                used = 0;
            }
            let Some(line) = lines.last_mut() else {
                break;
            };
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            let fits = rest.len().min(width - used.min(width));
            line.extend(rest.drain(..fits));
            used += fits;
        }
    }
    lines
}

fn state(unit: &UnitPlan) -> String {
    let style = view::style(unit);
    format!("{style}{}{style:#}", view::state(unit))
}

/// How long ago the release was built.
fn age(unit: &UnitPlan, now: Timestamp) -> String {
    let release = unit.release.as_ref();
    release.map_or_else(|| "–".to_owned(), |it| releases::built(it.rank.built, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_folded_between_words() {
        for (text, expected) in [
            ("", vec![""]),
            ("a few words", vec!["a few", "words"]),
            (
                "sha256:0123456789 is long",
                vec!["sha256:012", "3456789 is", "long"],
            ),
        ] {
            assert_eq!(folded(text, 10), expected, "{text}");
        }
    }
}
