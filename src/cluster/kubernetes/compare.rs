//! What of an object is not as we applied it, as far as the object itself tells.
//!
//! A server-side apply owns the fields that it states
//! ([field management](https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management)).
//! Whoever changes one to another value takes it over, whoever removes one removes it from its owner,
//! and nobody else's fields are ours. So a stated field that we no longer own is one that somebody
//! touched, and the rest is as it was, whatever values look like after defaulting. Lists are matched by
//! the keys that stand in the ownership itself: no schema is needed, for custom resources neither.
//!
//! What is found is a suspicion; whether an apply would change it back only the server knows.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::{Map, Value};

/// A stated field that is not ours (any more), and does not hold what we state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Touched {
    path: String,
    /// What stands there now, hashed.
    value: u64,
}

impl Touched {
    /// The path, as the server writes paths: `.spec.replicas`,
    /// `.spec.template.spec.containers[name="web"].image`.
    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

/// One number for what was touched and what stands there.
pub(super) fn fingerprint(touched: &[Touched]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for Touched { path, value } in touched {
        (path, value).hash(&mut hasher);
    }
    hasher.finish()
}

/// What the manifest states and `owned` (FieldsV1 of our apply) no longer holds. Where the live object
/// is given, only what differs from it in value too.
pub(super) fn touched(desired: &Value, owned: &Value, live: Option<&Value>) -> Vec<Touched> {
    let mut walk = Walk::default();
    let Some(desired) = desired.as_object() else {
        return Vec::new();
    };
    for (key, value) in desired {
        match key.as_str() {
            // The identity is nobody's, and a status is not applied.
            "apiVersion" | "kind" | "status" => {}
            "metadata" => walk.metadata(value, owned.get("f:metadata"), live),
            _ => walk.field(key, value, owned, live),
        }
    }
    walk.found
}

#[derive(Default)]
struct Walk {
    path: String,
    found: Vec<Touched>,
}

impl Walk {
    fn metadata(&mut self, desired: &Value, owned: Option<&Value>, live: Option<&Value>) {
        let Some(desired) = desired.as_object() else {
            return;
        };
        let nothing = Value::Object(Map::new());
        let live = live.and_then(|live| live.get("metadata"));
        let end = self.path.len();
        self.path.push_str(".metadata");
        for key in ["labels", "annotations", "finalizers", "ownerReferences"] {
            if let Some(value) = desired.get(key) {
                // An empty FieldsV1 stands for the whole; here nothing at all is meant.
                match owned {
                    Some(owned) => self.field(key, value, owned, live),
                    None => self.missing_in(key, value, live.unwrap_or(&nothing)),
                }
            }
        }
        self.path.truncate(end);
    }

    fn missing_in(&mut self, key: &str, value: &Value, live: &Value) {
        let end = self.path.len();
        self.path.push('.');
        self.path.push_str(key);
        self.missing(value, live.get(key));
        self.path.truncate(end);
    }

    fn field(&mut self, key: &str, value: &Value, owned: &Value, live: Option<&Value>) {
        let end = self.path.len();
        self.path.push('.');
        self.path.push_str(key);
        let owned = owned.get(format!("f:{key}"));
        self.value(value, owned, live.map(|live| live.get(key)));
        self.path.truncate(end);
    }

    /// `live`: `None` where it is not known, `Some(None)` where nothing stands there.
    fn value(&mut self, desired: &Value, owned: Option<&Value>, live: Option<Option<&Value>>) {
        let Some(owned) = owned else {
            return match live {
                Some(live) => self.missing(desired, live),
                None => self.suspect(desired, None),
            };
        };
        // Owned as a whole: a scalar, or what is always replaced as one.
        if owned.as_object().is_none_or(Map::is_empty) {
            return;
        }
        match desired {
            Value::Object(map) => {
                for (key, value) in map {
                    // Nothing is stated where nothing stands.
                    if !value.is_null() {
                        self.field(key, value, owned, flatten(live));
                    }
                }
            }
            Value::Array(items) => self.items(items, owned, flatten(live)),
            _ => {}
        }
    }

    fn items(&mut self, items: &[Value], owned: &Value, live: Option<&Value>) {
        let Some(owned) = owned.as_object() else {
            return;
        };
        for (index, item) in items.iter().enumerate() {
            let step = owned.iter().find(|(step, _)| leads_to(step, index, item));
            let end = self.path.len();
            let key = step.and_then(|(step, _)| step.strip_prefix("k:"));
            let key = key.and_then(|key| serde_json::from_str::<Map<String, Value>>(key).ok());
            self.path.push_str(&bracketed(key.as_ref(), index, item));
            let found = live.and_then(Value::as_array).map(|live| {
                let same = |it: &&Value| match &key {
                    Some(key) => key.iter().all(|(name, value)| it.get(name) == Some(value)),
                    None => is_same_item(it, item),
                };
                live.iter().find(same)
            });
            self.value(item, step.map(|(_, owned)| owned), found);
            self.path.truncate(end);
        }
    }

    /// A stated value that is not ours: touched, unless it holds all the same.
    fn missing(&mut self, desired: &Value, live: Option<&Value>) {
        if !live.is_some_and(|live| holds(desired, live)) {
            self.suspect(desired, live);
        }
    }

    fn suspect(&mut self, desired: &Value, live: Option<&Value>) {
        if desired.is_null() {
            return;
        }
        let mut hasher = DefaultHasher::new();
        live.map(Value::to_string).hash(&mut hasher);
        self.found.push(Touched {
            path: self.path.clone(),
            value: hasher.finish(),
        });
    }
}

/// Within a live value that is not there, nothing is there either; within an unknown one nothing is
/// known.
fn flatten(live: Option<Option<&Value>>) -> Option<&Value> {
    match live {
        Some(None) => Some(&Value::Null),
        Some(live) => live,
        None => None,
    }
}

/// Whether a step of FieldsV1 leads to this item of a list.
fn leads_to(step: &str, index: usize, item: &Value) -> bool {
    match step.split_at_checked(2) {
        Some(("k:", key)) => match serde_json::from_str::<Map<String, Value>>(key) {
            // A key that the item does not state has its default there.
            Ok(key) => key
                .iter()
                .all(|(name, value)| item.get(name).is_none_or(|stated| stated == value)),
            Err(_) => false,
        },
        Some(("v:", value)) => serde_json::from_str::<Value>(value).is_ok_and(|it| it == *item),
        Some(("i:", number)) => number.parse() == Ok(index),
        _ => false,
    }
}

/// Items of a list whose keys are not known: by the names that most lists go by.
fn is_same_item(a: &Value, b: &Value) -> bool {
    let keys = [
        "name",
        "key",
        "ip",
        "type",
        "containerPort",
        "port",
        "mountPath",
    ];
    let key = keys.iter().find(|key| b.get(**key).is_some());
    match key {
        Some(key) => a.get(*key) == b.get(*key),
        None => a == b,
    }
}

fn bracketed(key: Option<&Map<String, Value>>, index: usize, item: &Value) -> String {
    if let Some(key) = key {
        let pairs = key.iter().map(|(name, value)| format!("{name}={value}"));
        return format!("[{}]", pairs.collect::<Vec<_>>().join(","));
    }
    match item.get("name").and_then(Value::as_str) {
        Some(name) => format!("[name=\"{name}\"]"),
        None => format!("[{index}]"),
    }
}

/// Whether all that is stated stands there.
fn holds(desired: &Value, live: &Value) -> bool {
    match (desired, live) {
        (Value::Object(desired), Value::Object(live)) => desired
            .iter()
            .filter(|(_, value)| !value.is_null())
            .all(|(key, value)| live.get(key).is_some_and(|live| holds(value, live))),
        (Value::Array(desired), Value::Array(live)) => {
            desired.len() == live.len()
                && desired
                    .iter()
                    .zip(live)
                    .all(|(desired, live)| holds(desired, live))
        }
        (Value::Number(desired), Value::Number(live)) => desired.as_f64() == live.as_f64(),
        _ => desired == live,
    }
}

/// The fields in which two versions of one object differ, as paths. What is kept by the server about an
/// object is left out: its status, its version, who wrote it.
pub(super) fn differences(before: &Value, after: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let empty = Map::new();
    let before = before.as_object().unwrap_or(&empty);
    let after = after.as_object().unwrap_or(&empty);
    let keys = |map: &Map<String, Value>| map.keys().cloned().collect::<Vec<_>>();
    for key in union(keys(before), keys(after)) {
        let (before, after) = (before.get(&key), after.get(&key));
        match key.as_str() {
            "apiVersion" | "kind" | "status" => {}
            "metadata" => {
                for key in ["labels", "annotations", "finalizers", "ownerReferences"] {
                    let (before, after) = (
                        before.and_then(|it| it.get(key)),
                        after.and_then(|it| it.get(key)),
                    );
                    different(&format!(".metadata.{key}"), before, after, &mut found);
                }
            }
            _ => different(&format!(".{key}"), before, after, &mut found),
        }
    }
    found
}

fn different(path: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<String>) {
    match (before, after) {
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let keys = |map: &Map<String, Value>| map.keys().cloned().collect::<Vec<_>>();
            for key in union(keys(before), keys(after)) {
                let path = format!("{path}.{key}");
                different(&path, before.get(&key), after.get(&key), found);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            let named = |items: &[Value]| items.iter().all(|item| item.get("name").is_some());
            if named(before) && named(after) {
                named_items(path, before, after, found);
            } else if before.len() == after.len() {
                for (index, (before, after)) in before.iter().zip(after).enumerate() {
                    let path = format!("{path}[{index}]");
                    different(&path, Some(before), Some(after), found);
                }
            } else {
                found.push(path.to_owned());
            }
        }
        (None | Some(Value::Null), None | Some(Value::Null)) => {}
        (before, after) if before == after => {}
        _ => found.push(path.to_owned()),
    }
}

/// Items are one and the same by their name, wherever they stand.
fn named_items(path: &str, before: &[Value], after: &[Value], found: &mut Vec<String>) {
    let name_of = |item: &Value| item["name"].to_string();
    let names = |items: &[Value]| -> Vec<String> { items.iter().map(name_of).collect() };
    let item = |items: &[Value], name: &str| -> Option<Value> {
        items.iter().find(|item| name_of(item) == name).cloned()
    };
    let (before_names, after_names) = (names(before), names(after));
    for name in union(before_names.clone(), after_names.clone()) {
        let path = format!("{path}[name={name}]");
        different(
            &path,
            item(before, &name).as_ref(),
            item(after, &name).as_ref(),
            found,
        );
    }
    let kept = |names: &[String], others: &[String]| -> Vec<String> {
        names
            .iter()
            .filter(|name| others.contains(name))
            .cloned()
            .collect()
    };
    if kept(&before_names, &after_names) != kept(&after_names, &before_names) {
        found.push(path.to_owned());
    }
}

fn union(mut keys: Vec<String>, others: Vec<String>) -> Vec<String> {
    for other in others {
        if !keys.contains(&other) {
            keys.push(other);
        }
    }
    keys
}

/// Who holds one of these fields by `managedFields`, and since when: the newest of them.
pub(super) fn holder(paths: &[String], managed: &Value) -> Option<String> {
    let entries = managed.as_array()?;
    let holds = |entry: &&Value| {
        let is_ours = entry["manager"] == super::marks::MANAGER && entry["operation"] == "Apply";
        let fields = &entry["fieldsV1"];
        !is_ours && entry.get("subresource").is_none() && paths.iter().any(|it| reaches(fields, it))
    };
    let newest = entries
        .iter()
        .filter(holds)
        .max_by_key(|entry| entry["time"].as_str());
    Some(newest?["manager"].as_str()?.to_owned())
}

/// Whether FieldsV1 hold something at a path, judged by the names on it.
fn reaches(fields: &Value, path: &str) -> bool {
    let mut place = fields;
    for step in path.split('.').filter(|step| !step.is_empty()) {
        let (name, bracket) = step.split_once('[').unwrap_or((step, ""));
        let Some(inner) = place.get(format!("f:{name}")) else {
            // A name with dots in it, such as a label's, ends the path.
            return path_ends_in(place, path);
        };
        place = inner;
        if !bracket.is_empty() {
            let value = bracket.trim_end_matches(']').rsplit('=').next();
            let items = place.as_object().into_iter().flatten();
            let item = items
                .filter(|(step, _)| step.starts_with("k:"))
                .find(|(step, _)| value.is_some_and(|value| step.contains(value)));
            match item {
                Some((_, inner)) => place = inner,
                // Held as a whole.
                None => return place.as_object().is_some_and(Map::is_empty),
            }
        }
    }
    true
}

fn path_ends_in(place: &Value, path: &str) -> bool {
    let names = place.as_object().into_iter().flatten();
    names
        .filter_map(|(step, _)| step.strip_prefix("f:"))
        .any(|name| name.contains('.') && path.ends_with(&format!(".{name}")))
        || place.as_object().is_some_and(Map::is_empty)
}

#[cfg(test)]
mod tests;
