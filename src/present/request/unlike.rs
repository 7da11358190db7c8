//! How the proposal is no copy of the environment that the release comes from: the reviewer's "what was not tried
//! there". As much as there is room for, below a line that counts it.

use super::quote::{code, html};
use super::sections::{counted, folded};
use super::{About, Unlike};
use crate::model::RequestDiff;
use crate::present::diff::{Change, FieldDiff};

/// How long the section may be, in bytes: what would change in the cluster matters more.
const ROOM: usize = 6_000;

/// How long one name, path and value may be, in bytes.
const NAME_MAX: usize = 200;
const VALUE_MAX: usize = 80;

/// The section; `None` where nothing differs.
pub(super) fn section(about: &About) -> Option<String> {
    let unlike = about.unlike.as_ref()?;
    let count = unlike.objects.len();
    let differ = if count == 1 { "differs" } else { "differ" };
    let title = format!(
        "{} {differ} from {} besides the image",
        counted(count, "object"),
        html(unlike.environment.as_str(), NAME_MAX)
    );
    let command = format!(
        "towpath compare {} {} {}",
        unlike.environment, about.environment, about.application
    );
    let see = format!("All of it: {}.", code(&command, NAME_MAX));
    let lines = match about.diff {
        RequestDiff::None => Vec::new(),
        form => lines(about, unlike, form),
    };
    let mut shown = String::new();
    let mut left_out = 0;
    for line in &lines {
        match shown.len() + line.len() < ROOM {
            true => shown.push_str(&format!("{line}\n")),
            false => left_out += 1,
        }
    }
    if left_out > 0 {
        shown.push_str(&format!("- and {left_out} more\n"));
    }
    Some(folded(&title, &format!("{shown}\n{see}")))
}

fn lines(about: &About, unlike: &Unlike, form: RequestDiff) -> Vec<String> {
    let mut lines = Vec::new();
    for object in &unlike.objects {
        let reference = code(&object.reference.to_string(), NAME_MAX);
        match object.change {
            Change::Created => lines.push(format!(
                "- {reference} is in {} alone",
                code(about.environment.as_str(), NAME_MAX)
            )),
            Change::Deleted => lines.push(format!(
                "- {reference} is in {} alone",
                code(unlike.environment.as_str(), NAME_MAX)
            )),
            Change::Changed | Change::Unchanged => {
                lines.push(format!("- {reference}"));
                lines.extend(object.fields.iter().map(|it| field(it, form)));
            }
        }
    }
    lines
}

/// The path, and where values may be shown both of them.
fn field(field: &FieldDiff, form: RequestDiff) -> String {
    let path = code(&field.path, NAME_MAX);
    let value = |value: &Option<serde_json::Value>| match value {
        None => "nothing".to_owned(),
        Some(value) => code(&value.to_string(), VALUE_MAX),
    };
    match form {
        RequestDiff::Full => {
            format!(
                "  - {path}: {} → {}",
                value(&field.before),
                value(&field.after)
            )
        }
        RequestDiff::Fields | RequestDiff::None => format!("  - {path}"),
    }
}
