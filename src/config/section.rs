//! A mapping with known keys, read by asking for them one by one.
//!
//! The function that asks is at once the mapping's description: run on a section that only
//! describes, it yields the JSON Schema. A key that is never asked for is unknown.

use std::path::Path;

use serde_json::{Map, Value as Json, json};

use super::form::{At, Form, Reading, misformed};
use super::problem::{Place, listed, nearest, quote};
use super::yaml::{self, Entry, Node, Value};

/// A mapping that is being read or described.
pub(super) struct Section<'a> {
    /// Where it begins.
    pub(super) place: Place,
    pub(super) reading: &'a mut Reading,
    entries: &'a [Entry],
    asked: Vec<&'static str>,
    /// Keys that must be there and are not, or of which one must be and none is, with what may stand there.
    missing: Vec<(Vec<&'static str>, String)>,
    hints: Vec<(&'static str, &'static str)>,
    description: Option<Description>,
}

/// What a section's reader says of it.
#[derive(Default)]
struct Description {
    properties: Map<String, Json>,
    required: Vec<&'static str>,
    alternatives: Vec<Json>,
}

/// The form of a mapping that `read` reads.
pub(super) struct Fields<T> {
    /// The mapping as a sample, such as `{ context: production }`.
    pub(super) sample: &'static str,
    pub(super) read: fn(&mut Section<'_>) -> Option<T>,
}

impl<T> Form for Fields<T> {
    type Value = T;

    fn read(&self, node: &Node, reading: &mut Reading) -> Option<T> {
        let Value::Map(entries) = &node.value else {
            misformed(self, node, reading);
            return None;
        };
        self.read_entries(node.place.clone(), entries, reading)
    }

    fn schema(&self) -> Json {
        let mut reading = Reading::default();
        let mut section = Section {
            place: nowhere(),
            reading: &mut reading,
            entries: &[],
            asked: Vec::new(),
            missing: Vec::new(),
            hints: Vec::new(),
            description: Some(Description::default()),
        };
        (self.read)(&mut section);
        section.description.unwrap_or_default().schema()
    }

    fn wanted(&self) -> String {
        "a mapping".to_owned()
    }

    fn sample(&self) -> String {
        self.sample.to_owned()
    }

    fn is_leaf(&self) -> bool {
        false
    }
}

impl<T> Fields<T> {
    /// Reads a whole file, of which nothing at all is an empty mapping.
    pub(super) fn read_file(&self, root: &Node, reading: &mut Reading) -> Option<T> {
        match root.value {
            Value::Nothing => self.read_entries(root.place.clone(), &[], reading),
            _ => self.read(root, reading),
        }
    }

    fn read_entries(&self, place: Place, entries: &[Entry], reading: &mut Reading) -> Option<T> {
        let mut section = Section {
            place,
            reading,
            entries,
            asked: Vec::new(),
            missing: Vec::new(),
            hints: Vec::new(),
            description: None,
        };
        let value = (self.read)(&mut section);
        section.refuse_unknown();
        value
    }
}

impl<'a> Section<'a> {
    /// The value of a key that must be there.
    pub(super) fn required<F: Form>(
        &mut self,
        key: &'static str,
        about: &str,
        form: F,
    ) -> Option<At<F::Value>> {
        if let Some(description) = &mut self.description {
            description.required.push(key);
        }
        if !self.has(key) {
            self.missing.push((vec![key], form.sample()));
        }
        self.optional(key, about, form)
    }

    /// The value of a key that may be left out. `None` also where it is wrong, which was reported.
    pub(super) fn optional<F: Form>(
        &mut self,
        key: &'static str,
        about: &str,
        form: F,
    ) -> Option<At<F::Value>> {
        self.describe(key, about, &form, None);
        let entry = self.entry(key)?;
        let value = self
            .reading
            .within(key.to_owned(), &entry.value, true, &form)?;
        let place = entry.value.place.clone();
        Some(At { place, value })
    }

    /// The value of a key, or of `default`, written as in the file, where it is left out.
    pub(super) fn or<F: Form>(
        &mut self,
        key: &'static str,
        about: &str,
        form: F,
        default: &str,
    ) -> Option<At<F::Value>> {
        if self.has(key) {
            return self.optional(key, about, form);
        }
        let node = self.default_node(default);
        self.describe(key, about, &form, Some(&node));
        let value = self.reading.within(key.to_owned(), &node, false, &form)?;
        let place = self.place.clone();
        Some(At { place, value })
    }

    /// Whether the key stands here.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Where the key stands, or else where the section begins.
    pub(super) fn key_place(&self, key: &str) -> Place {
        let place = self.entry(key).map(|entry| &entry.key_place);
        place.unwrap_or(&self.place).clone()
    }

    /// The keys that stand here and were asked for.
    pub(super) fn stated(&self) -> Vec<At<&'static str>> {
        let known = |key: &&'static str| {
            let entry = self.entry(key)?;
            let place = entry.key_place.clone();
            Some(At { place, value: *key })
        };
        self.asked.iter().filter_map(known).collect()
    }

    /// Requires exactly one of these keys; says whether that is so.
    pub(super) fn exactly_one(&mut self, keys: &[&'static str], sample: &str) -> bool {
        if let Some(description) = &mut self.description {
            let one = |key: &&str| json!({ "required": [key] });
            description.alternatives = keys.iter().map(one).collect();
        }
        let stated: Vec<&str> = keys.iter().copied().filter(|key| self.has(key)).collect();
        match stated.as_slice() {
            [_] => true,
            [] => {
                self.missing.push((keys.to_vec(), sample.to_owned()));
                false
            }
            [first, second, ..] => {
                let what = format!("`{second}` does not go together with `{first}`");
                let place = self.key_place(second);
                self.reading
                    .problems
                    .error(&place, what, "keep one of them");
                false
            }
        }
    }

    /// Refuses `key` beside `other`.
    pub(super) fn not_with(&mut self, key: &str, other: &str, instead: &str) {
        if self.has(key) && self.has(other) {
            let what = format!("`{key}` does not go together with `{other}`");
            let place = self.key_place(key);
            self.reading.problems.error(&place, what, instead);
        }
    }

    /// Requires a key where another one stands.
    pub(super) fn needs(&mut self, key: &'static str, sample: &str) {
        if !self.has(key) {
            self.missing.push((vec![key], sample.to_owned()));
        }
    }

    /// What to say of a key that does not belong here but is often looked for here.
    pub(super) fn hint(&mut self, key: &'static str, instead: &'static str) {
        self.hints.push((key, instead));
    }

    fn entry(&self, key: &str) -> Option<&'a Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    fn describe<F: Form>(
        &mut self,
        key: &'static str,
        about: &str,
        form: &F,
        default: Option<&Node>,
    ) {
        self.asked.push(key);
        let Some(description) = &mut self.description else {
            return;
        };
        let mut property = Map::new();
        property.insert("description".to_owned(), about.into());
        if let Json::Object(schema) = form.schema() {
            property.extend(schema);
        }
        if let Some(default) = default {
            property.insert("default".to_owned(), json_of(default));
        }
        description
            .properties
            .insert(key.to_owned(), Json::Object(property));
    }

    /// Defaults are written in YAML, as in the files; their place is the section's.
    fn default_node(&self, default: &str) -> Node {
        let mut problems = super::problem::Problems::default();
        let node = yaml::parse(&self.place.file, default.as_bytes(), &mut problems);
        Node {
            place: self.place.clone(),
            value: node.map_or(Value::Nothing, |node| node.value),
        }
    }

    fn refuse_unknown(&mut self) {
        let mut meant = Vec::new();
        for entry in self.entries {
            let key = entry.key.as_str();
            if self.asked.contains(&key) {
                continue;
            }
            let what = format!("{} is not a key here", quote(key));
            let instead = self.instead_of(key);
            self.reading.problems.error(&entry.key_place, what, instead);
            meant.extend(nearest(key, self.asked.iter().copied()));
        }
        // What is there under a name that is nearly its own is told of once.
        self.missing
            .retain(|(keys, _)| !keys.iter().any(|key| meant.contains(key)));
        for (keys, sample) in &self.missing {
            let (what, instead) = match keys.as_slice() {
                [key] => (
                    format!("`{key}` is missing"),
                    format!("write `{key}: {sample}`"),
                ),
                keys => (
                    format!("none of {} stands here", listed(keys.iter().copied())),
                    format!("write one of them, as {}", quote(sample)),
                ),
            };
            self.reading.problems.error(&self.place, what, instead);
        }
    }

    fn instead_of(&self, key: &str) -> String {
        const SECRETS: [&str; 4] = ["auth", "password", "secret", "token"];
        if let Some((_, instead)) = self.hints.iter().find(|(hinted, _)| *hinted == key) {
            return (*instead).to_owned();
        }
        if SECRETS.contains(&key) {
            return "secrets never stand in these files: name one with `credential: { env: NAME }` \
                    or `credential: { file: PATH }`"
                .to_owned();
        }
        match nearest(key, self.asked.iter().copied()) {
            Some(known) => format!("write `{known}`"),
            None => format!("the keys here are {}", listed(self.asked.iter().copied())),
        }
    }
}

impl Description {
    fn schema(self) -> Json {
        let mut schema = Map::new();
        schema.insert("type".to_owned(), "object".into());
        schema.insert("additionalProperties".to_owned(), false.into());
        if !self.required.is_empty() {
            schema.insert("required".to_owned(), json!(self.required));
        }
        if !self.alternatives.is_empty() {
            schema.insert("oneOf".to_owned(), Json::Array(self.alternatives));
        }
        schema.insert("properties".to_owned(), Json::Object(self.properties));
        Json::Object(schema)
    }
}

/// The place of what is described and never read.
fn nowhere() -> Place {
    Place::whole(Path::new(""))
}

/// A default as JSON: YAML's own scalars keep their type.
fn json_of(node: &Node) -> Json {
    match &node.value {
        Value::Nothing | Value::Refused => Json::Null,
        Value::Text(text) => match serde_json::from_str(text) {
            Ok(scalar @ (Json::Bool(_) | Json::Number(_))) => scalar,
            _ => text.as_str().into(),
        },
        Value::List(items) => items.iter().map(json_of).collect(),
        Value::Map(entries) => entries
            .iter()
            .map(|entry| (entry.key.clone(), json_of(&entry.value)))
            .collect(),
    }
}
