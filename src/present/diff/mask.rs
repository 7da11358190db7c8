//! Hides values that nobody may read: only which keys there are, and that one changed, is shown.
//!
//! What stands in a value's place says nothing of it, its length included.

use serde_json::Value;

use crate::model::ObjectRef;

/// Stands where a value is, the same on both sides or there on one alone.
const HIDDEN: &str = "(hidden)";

/// Stands where the value was another one.
const BEFORE: &str = "(hidden, before)";

/// Stands where the value is another one.
const AFTER: &str = "(hidden, after)";

/// What a Secret says openly.
const OPEN_IN_SECRETS: [&str; 5] = ["apiVersion", "kind", "metadata", "type", "immutable"];

/// What an object of an encrypted document says openly: which one it is.
const OPEN_IN_ENCRYPTED: [&str; 2] = ["apiVersion", "kind"];

/// The same below `metadata`.
const OPEN_IN_ENCRYPTED_METADATA: [&str; 2] = ["name", "namespace"];

/// Hides what must be hidden in the two versions of an object.
pub(super) fn hide(
    reference: &ObjectRef,
    secret: bool,
    before: Option<&mut Value>,
    after: Option<&mut Value>,
) {
    if reference.group.is_empty() && reference.kind == "Secret" {
        entries(before, after, &|key| match OPEN_IN_SECRETS.contains(&key) {
            true => Depth::Open,
            false => Depth::Hidden,
        });
    } else if secret {
        entries(before, after, &|key| match key {
            "metadata" => Depth::Below(&OPEN_IN_ENCRYPTED_METADATA),
            key if OPEN_IN_ENCRYPTED.contains(&key) => Depth::Open,
            _ => Depth::Hidden,
        });
    }
}

/// How much of an entry is hidden.
enum Depth {
    /// Nothing.
    Open,
    /// All but these of its own entries.
    Below(&'static [&'static str]),
    /// All.
    Hidden,
}

fn entries(
    mut before: Option<&mut Value>,
    mut after: Option<&mut Value>,
    depth: &dyn Fn(&str) -> Depth,
) {
    for key in keys(before.as_deref(), after.as_deref()) {
        let before = before.as_deref_mut().and_then(|map| map.get_mut(&key));
        let after = after.as_deref_mut().and_then(|map| map.get_mut(&key));
        match depth(&key) {
            Depth::Open => {}
            Depth::Below(open) => entries(before, after, &|key| match open.contains(&key) {
                true => Depth::Open,
                false => Depth::Hidden,
            }),
            Depth::Hidden => pair(before, after),
        }
    }
}

/// Hides two versions of a value: equal ones stay equal, others stay apart.
fn pair(before: Option<&mut Value>, after: Option<&mut Value>) {
    match (before, after) {
        (Some(before), Some(after)) if before == after => {
            all(before, HIDDEN);
            all(after, HIDDEN);
        }
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            for (key, before) in before.iter_mut() {
                pair(Some(before), after.get_mut(key));
            }
            let added = after
                .iter_mut()
                .filter(|(key, _)| !before.contains_key(*key));
            added.for_each(|(_, after)| all(after, HIDDEN));
        }
        (Some(before), Some(after)) => {
            all(before, BEFORE);
            all(after, AFTER);
        }
        (one, other) => one.into_iter().chain(other).for_each(|it| all(it, HIDDEN)),
    }
}

/// Hides every value in this one; maps keep their keys.
fn all(value: &mut Value, mask: &str) {
    match value {
        Value::Object(map) => map.values_mut().for_each(|value| all(value, mask)),
        // How many there are may be telling too.
        value => *value = Value::String(mask.to_owned()),
    }
}

fn keys(before: Option<&Value>, after: Option<&Value>) -> Vec<String> {
    let maps = [before, after].into_iter().flatten();
    let mut keys: Vec<String> = maps
        .filter_map(Value::as_object)
        .flat_map(|map| map.keys().cloned())
        .collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}
