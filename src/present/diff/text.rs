//! Values as YAML, line by line, for people: every text can be shown safely and read back.

use std::fmt::Write as _;

use serde_json::Value;

use crate::shown::is_deceptive;

/// A text longer than this is shown in part.
const SHOWN_MAX: usize = 240;

/// How much of a long text is shown before the first character that differs.
const SHOWN_BEFORE: usize = 60;

/// A value that takes one line: a scalar, an empty map or list.
pub(super) fn inline(value: &Value) -> Option<String> {
    match value {
        Value::Object(map) => map.is_empty().then(|| "{}".to_owned()),
        Value::Array(list) => list.is_empty().then(|| "[]".to_owned()),
        Value::String(text) if block(text).is_some() => None,
        Value::String(text) => Some(scalar(text, 0)),
        other => Some(other.to_string()),
    }
}

/// A text of one line. Of a long one, what stands around the character at which it differs.
pub(super) fn scalar(text: &str, differs_at: usize) -> String {
    let length = text.chars().count();
    if length <= SHOWN_MAX {
        return quoted(text);
    }
    let begin = differs_at
        .saturating_sub(SHOWN_BEFORE)
        .min(length - SHOWN_MAX);
    let part: String = text.chars().skip(begin).take(SHOWN_MAX).collect();
    let before = if begin > 0 { "… " } else { "" };
    let after = if begin + SHOWN_MAX < length {
        " …"
    } else {
        ""
    };
    format!("{before}{}{after} ({length} characters)", quoted(&part))
}

/// A text of several lines: its indicator and its lines, where YAML's block form can show it as it is.
pub(super) fn block(text: &str) -> Option<(&'static str, Vec<&str>)> {
    let plain = |c: char| c == '\n' || c == '\t' || !is_deceptive(c);
    let first = text.lines().next()?;
    if !text.contains('\n') || first.starts_with([' ', '\t']) || first.is_empty() {
        return None;
    }
    if !text.chars().all(plain) {
        return None;
    }
    let (indicator, body) = match text.strip_suffix('\n') {
        None => ("|-", text),
        Some(body) if body.ends_with('\n') => ("|+", body),
        Some(body) => ("|", body),
    };
    Some((indicator, body.split('\n').collect()))
}

/// The key of a map.
pub(super) fn key(key: &str) -> String {
    scalar(key, 0)
}

/// A path, for people.
pub(super) fn path(path: &str) -> String {
    match path.is_empty() {
        true => String::new(),
        false => quoted(path),
    }
}

/// How many characters two texts begin with in common.
pub(super) fn common(before: &str, after: &str) -> usize {
    let pairs = before.chars().zip(after.chars());
    pairs.take_while(|(a, b)| a == b).count()
}

fn quoted(text: &str) -> String {
    if text.chars().any(is_deceptive) || text.contains('\n') {
        return escaped(text);
    }
    // Kubernetes reads these as truth values (YAML 1.1), the writer does not know them.
    let truth = ["y", "n", "yes", "no", "on", "off"];
    if truth.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return escaped(text);
    }
    let yaml = serde_yaml::to_string(text).unwrap_or_default();
    match yaml.trim_end_matches('\n') {
        line if !line.is_empty() && !line.contains('\n') => line.to_owned(),
        _ => escaped(text),
    }
}

/// In double quotes; what a terminal would act on, or a reader not see, by its number.
fn escaped(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if is_deceptive(c) && u32::from(c) > 0xffff => {
                write!(quoted, "\\U{:08x}", u32::from(c))
                    .expect("writing into a string cannot fail");
            }
            c if is_deceptive(c) => {
                write!(quoted, "\\u{:04x}", u32::from(c))
                    .expect("writing into a string cannot fail");
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
