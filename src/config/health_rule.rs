//! The entries of `health.rules`: how the health of a kind is told that Towpath does not know.
//!
//! Judges their form alone. Whether an expression is one is told where health is read.

use serde_json::{Value as Json, json};

use super::environment::values;
use super::form::{At, Form, Reading, Text, Wrong, any_text, misformed, text};
use super::list::{List, Table};
use super::problem::quote;
use super::section::Section;
use super::yaml::{Node, Value};
use crate::model::{HealthField, HealthRule, HealthTest};

/// Reads one entry of `health.rules`.
pub(super) fn rule(section: &mut Section<'_>) -> Option<HealthRule> {
    let kind = section.required("kind", "The object's kind.", text("a kind", "Certificate"));
    let group = section.or(
        "group",
        "The object's API group; empty for the core group.",
        any_text("an API group", "cert-manager.io"),
        "\"\"",
    );
    let in_progress = section.optional(
        "in-progress",
        "When it is on its way; asked first.",
        TestForm,
    );
    let failed = section.optional(
        "failed",
        "When it will not get there by itself; asked second.",
        TestForm,
    );
    let current = section.required(
        "current",
        "When it does what its manifest asks for; asked last. A CEL expression over the object's top-level fields, or fields with the values that count: `{ /status/phase: [Ready] }`.",
        TestForm,
    );
    let message = section.optional(
        "message",
        "A JSON pointer to the text in the object that says why it is not current.",
        pointer(),
    );
    Some(HealthRule {
        group: group?.value,
        kind: kind?.value,
        current: current?.value,
        in_progress: in_progress.map(|at| at.value),
        failed: failed.map(|at| at.value),
        message: message.map(|at| at.value),
    })
}

/// An expression, or fields and their values.
struct TestForm;

impl Form for TestForm {
    type Value = HealthTest;

    fn read(&self, node: &Node, reading: &mut Reading) -> Option<HealthTest> {
        match &node.value {
            Value::Text(_) => expression().read(node, reading).map(HealthTest::Expression),
            Value::Map(entries) if !entries.is_empty() => {
                let read = fields().read(node, reading)?;
                let read = read.into_iter().map(|(pointer, values)| HealthField {
                    pointer: pointer.value,
                    values: values
                        .into_iter()
                        .flat_map(|at| meanings(&at.value))
                        .collect(),
                });
                Some(HealthTest::Fields(read.collect()))
            }
            _ => {
                misformed(self, node, reading);
                None
            }
        }
    }

    fn schema(&self) -> Json {
        json!({ "oneOf": [expression().schema(), fields().schema()] })
    }

    fn wanted(&self) -> String {
        "a CEL expression, or fields with their values".to_owned()
    }

    fn sample(&self) -> String {
        fields().sample()
    }
}

fn expression() -> Text<String> {
    text("a CEL expression", "status.phase == 'Ready'")
}

fn fields() -> Table<String, List<Text<String>>> {
    Table {
        key: pointer(),
        value: List {
            item: Text {
                schema: || json!({ "type": ["string", "number", "boolean"] }),
                ..any_text("a value", "Ready")
            },
            empty: false,
            alone: true,
        },
    }
}

/// What a value may be in the object: configuration does not tell `1` from `"1"`.
fn meanings(text: &str) -> Vec<Json> {
    let scalar = serde_json::from_str(text).ok();
    let scalar = scalar.filter(|value: &Json| value.is_number() || value.is_boolean());
    [Json::from(text)].into_iter().chain(scalar).collect()
}

fn pointer() -> Text<String> {
    Text {
        wanted: "a JSON pointer",
        sample: "/status/phase",
        parse: |text| {
            // `~` begins an escape, and there are two of them.
            let escapes = text
                .split('~')
                .skip(1)
                .all(|rest| rest.starts_with(['0', '1']));
            match text.starts_with('/') && text.len() > 1 && escapes {
                true => Ok(text.to_owned()),
                false => Err(Wrong::new(
                    format!("{} is not a JSON pointer", quote(text)),
                    "write it as `/status/phase`; `/` in a key is `~1`, and `~` is `~0`",
                )),
            }
        },
        schema: || json!({ "pattern": "^/." }),
    }
}

/// The rules in their order; a second one for a kind is reported.
pub(super) fn once(rules: Vec<At<HealthRule>>, section: &mut Section<'_>) -> Vec<HealthRule> {
    for (index, At { place, value: rule }) in rules.iter().enumerate() {
        let earlier = rules.iter().take(index);
        let mut same =
            earlier.filter(|at| (&at.value.kind, &at.value.group) == (&rule.kind, &rule.group));
        if same.next().is_some() {
            let what = format!("there are two rules for {}", quote(&rule.kind));
            section
                .reading
                .problems
                .error(place, what, "keep one of them");
        }
    }
    values(rules)
}
