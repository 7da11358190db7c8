//! The forms that values take. A form both reads a value and describes it as JSON Schema, so that
//! what is read and what editors are told cannot differ.
//!
//! Knows nothing of environments or applications; never touches files.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::duration;
use super::problem::{Place, Problems, nearest, one_of, quote};
use super::yaml::{Node, Value};

/// A value and where it was stated, or where it would have been.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct At<T> {
    pub(super) place: Place,
    pub(super) value: T,
}

/// A stated or default value, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// The key from the file's top, such as `health.timeout`.
    pub key: String,
    /// The value on one line.
    pub value: String,
    /// Where it is stated; `None`: it is the default.
    pub place: Option<Place>,
}

/// What reading a file fills.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) problems: Problems,
    pub(super) values: Vec<Effective>,
    /// The keys that lead to the value being read.
    pub(super) path: Vec<String>,
}

impl Reading {
    /// Reads `node` as the value of `key`, noting what it says.
    pub(super) fn within<F: Form>(
        &mut self,
        key: String,
        node: &Node,
        stated: bool,
        form: &F,
    ) -> Option<F::Value> {
        self.path.push(key);
        if form.is_leaf() {
            self.values.push(Effective {
                key: self.path.join("."),
                value: node.one_line(),
                place: stated.then(|| node.place.clone()),
            });
        }
        let value = form.read(node, self);
        self.path.pop();
        value
    }
}

/// How a value is written.
pub(super) trait Form {
    /// What it becomes.
    type Value;

    /// Reads the value; `None` once what is wrong was reported.
    fn read(&self, node: &Node, reading: &mut Reading) -> Option<Self::Value>;

    /// The value's JSON Schema.
    fn schema(&self) -> Json;

    /// What is wanted, as in "takes …".
    fn wanted(&self) -> String;

    /// A value of this form, to be written after `key: `.
    fn sample(&self) -> String;

    /// Whether the value is shown as one, not key by key.
    fn is_leaf(&self) -> bool {
        true
    }
}

/// Says that the value has another form.
pub(super) fn misformed(form: &impl Form, node: &Node, reading: &mut Reading) {
    if matches!(node.value, Value::Refused) {
        return;
    }
    let subject = match reading.path.last() {
        Some(key) => format!("`{key}` takes {}", form.wanted()),
        None => format!("this file takes {}", form.wanted()),
    };
    let instead = match reading.path.last() {
        Some(key) if !key.ends_with(']') => format!("write `{key}: {}`", form.sample()),
        _ => format!("write `{}`", form.sample()),
    };
    let what = format!("{subject}, not {}", node.kind());
    reading.problems.error(&node.place, what, instead);
}

/// What is wrong with a text and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) what: String,
    pub(super) instead: String,
}

impl Wrong {
    pub(super) fn new(what: impl Into<String>, instead: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            instead: instead.into(),
        }
    }
}

/// A single value that `parse` understands.
pub(super) struct Text<T> {
    /// What is wanted, such as `a branch`.
    pub(super) wanted: &'static str,
    /// One such value, as written in YAML.
    pub(super) sample: &'static str,
    pub(super) parse: fn(&str) -> Result<T, Wrong>,
    /// What JSON Schema can say of it beyond its type; `{}` for nothing.
    pub(super) schema: fn() -> Json,
}

impl<T> Form for Text<T> {
    type Value = T;

    fn read(&self, node: &Node, reading: &mut Reading) -> Option<T> {
        let Value::Text(text) = &node.value else {
            misformed(self, node, reading);
            return None;
        };
        match (self.parse)(text) {
            Ok(value) => Some(value),
            Err(wrong) => {
                reading
                    .problems
                    .error(&node.place, wrong.what, wrong.instead);
                None
            }
        }
    }

    fn schema(&self) -> Json {
        let mut schema = json!({ "type": "string" });
        merge(&mut schema, (self.schema)());
        schema
    }

    fn wanted(&self) -> String {
        self.wanted.to_owned()
    }

    fn sample(&self) -> String {
        self.sample.to_owned()
    }
}

/// Adds the second object's members to the first, replacing equal ones.
pub(super) fn merge(schema: &mut Json, more: Json) {
    if let (Json::Object(schema), Json::Object(more)) = (schema, more) {
        schema.extend(more);
    }
}

/// Any text but the empty one.
pub(super) fn text(wanted: &'static str, sample: &'static str) -> Text<String> {
    Text {
        wanted,
        sample,
        parse: |text| match text.trim().is_empty() {
            true => Err(Wrong::new(
                "this is empty",
                "write a value, or remove the key",
            )),
            false => Ok(text.to_owned()),
        },
        schema: || json!({ "minLength": 1 }),
    }
}

/// Any text, also none.
pub(super) fn any_text(wanted: &'static str, sample: &'static str) -> Text<String> {
    Text {
        wanted,
        sample,
        parse: |text| Ok(text.to_owned()),
        schema: || json!({}),
    }
}

/// A length of time.
pub(super) fn duration() -> Text<Duration> {
    Text {
        wanted: "a length of time",
        sample: "10m",
        parse: duration::parse,
        schema: || json!({ "pattern": duration::PATTERN }),
    }
}

/// A length of time that is at least a second: what is waited for, or repeated.
pub(super) fn a_second_or_more() -> Text<Duration> {
    Text {
        parse: |text| match duration::parse(text)? {
            short if short < Duration::from_secs(1) => Err(Wrong::new(
                format!("{} is too short", quote(text)),
                "write `1s` or more",
            )),
            long => Ok(long),
        },
        ..duration()
    }
}

/// `true` or `false`.
pub(super) struct Flag;

impl Form for Flag {
    type Value = bool;

    fn read(&self, node: &Node, reading: &mut Reading) -> Option<bool> {
        match &node.value {
            Value::Text(text) if text == "true" => Some(true),
            Value::Text(text) if text == "false" => Some(false),
            Value::Text(text) => {
                let what = format!("{} is neither true nor false", quote(text));
                reading
                    .problems
                    .error(&node.place, what, "write `true` or `false`");
                None
            }
            _ => {
                misformed(self, node, reading);
                None
            }
        }
    }

    fn schema(&self) -> Json {
        json!({ "type": "boolean" })
    }

    fn wanted(&self) -> String {
        "true or false".to_owned()
    }

    fn sample(&self) -> String {
        "true".to_owned()
    }
}

/// A whole number from 0.
pub(super) fn count() -> Number {
    Number
}

/// See [`count`].
pub(super) struct Number;

impl Form for Number {
    type Value = usize;

    fn read(&self, node: &Node, reading: &mut Reading) -> Option<usize> {
        let Value::Text(text) = &node.value else {
            misformed(self, node, reading);
            return None;
        };
        // Bounded so that arithmetic on it cannot overflow anywhere.
        match text.parse::<u32>() {
            Ok(number) => Some(number as usize),
            Err(_) => {
                let what = format!("{} is not a whole number from 0", quote(text));
                reading
                    .problems
                    .error(&node.place, what, "write a number such as `10`");
                None
            }
        }
    }

    fn schema(&self) -> Json {
        json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX })
    }

    fn wanted(&self) -> String {
        "a whole number".to_owned()
    }

    fn sample(&self) -> String {
        "10".to_owned()
    }
}

/// One of a few words.
pub(super) struct Words<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Clone> Form for Words<T> {
    type Value = T;

    fn read(&self, node: &Node, reading: &mut Reading) -> Option<T> {
        let Value::Text(text) = &node.value else {
            misformed(self, node, reading);
            return None;
        };
        let known = self.0.iter().find(|(word, _)| word == text);
        if known.is_none() {
            let what = format!("{} is not known here", quote(text));
            let instead = match nearest(text, self.0.iter().map(|(word, _)| *word)) {
                Some(word) => format!("write `{word}`"),
                None => format!("write {}", self.alternatives()),
            };
            reading.problems.error(&node.place, what, instead);
        }
        known.map(|(_, value)| value.clone())
    }

    fn schema(&self) -> Json {
        let words: Vec<&str> = self.0.iter().map(|(word, _)| *word).collect();
        json!({ "enum": words })
    }

    fn wanted(&self) -> String {
        self.alternatives()
    }

    fn sample(&self) -> String {
        self.0
            .first()
            .map_or_else(String::new, |(word, _)| (*word).to_owned())
    }
}

impl<T> Words<T> {
    fn alternatives(&self) -> String {
        one_of(self.0.iter().map(|(word, _)| *word))
    }
}

/// The form of the first where it is a word of it, else of the second: `all` or a number.
pub(super) struct WordOr<T: 'static, F>(pub(super) Words<T>, pub(super) F);

impl<T: Clone, F: Form<Value = T>> Form for WordOr<T, F> {
    type Value = T;

    fn read(&self, node: &Node, reading: &mut Reading) -> Option<T> {
        match &node.value {
            Value::Text(text) if self.0.0.iter().any(|(word, _)| word == text) => {
                self.0.read(node, reading)
            }
            Value::Text(text) => {
                let mut other = Reading::default();
                let value = self.1.read(node, &mut other);
                if value.is_none() {
                    let what = format!("{} is not {}", quote(text), self.wanted());
                    let instead = format!("write {}", self.wanted());
                    reading.problems.error(&node.place, what, instead);
                }
                value
            }
            _ => {
                misformed(self, node, reading);
                None
            }
        }
    }

    fn schema(&self) -> Json {
        json!({ "oneOf": [self.0.schema(), self.1.schema()] })
    }

    fn wanted(&self) -> String {
        let words: Vec<String> = self
            .0
            .0
            .iter()
            .map(|(word, _)| format!("`{word}`"))
            .collect();
        format!("{} or {}", words.join(", "), self.1.wanted())
    }

    fn sample(&self) -> String {
        self.0.sample()
    }
}
