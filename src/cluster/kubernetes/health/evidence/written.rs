//! When an object was written, from its managed fields: every writer leaves a time there.

use jiff::Timestamp;
use serde_json::Value;

use super::super::seen::text_at;

/// When the spec was last written, to the second, by the server's clock. Later where the same writer
/// changed something else since. `None` where the object does not tell.
pub(super) fn spec_at(object: &Value) -> Option<Timestamp> {
    newest(object, |entry| {
        text_at(entry, "/subresource").is_none() && owns(entry, "f:spec")
    })
}

/// Whether the status was written in the same second as the spec or later. A status that came out
/// the same leaves no trace.
pub(super) fn is_answered(object: &Value, spec_at: Option<Timestamp>) -> bool {
    let status_at = newest(object, |entry| owns(entry, "f:status"));
    status_at.is_some_and(|status| spec_at.is_none_or(|spec| status >= spec))
}

fn newest(object: &Value, counts: impl Fn(&Value) -> bool) -> Option<Timestamp> {
    let entries = object.pointer("/metadata/managedFields");
    let entries = entries.and_then(Value::as_array)?.iter();
    entries
        .filter(|entry| counts(entry))
        .filter_map(|entry| text_at(entry, "/time")?.parse().ok())
        .max()
}

fn owns(entry: &Value, field: &str) -> bool {
    entry
        .get("fieldsV1")
        .and_then(|fields| fields.get(field))
        .is_some()
}
