//! The configuration's own rules for kinds that Towpath does not know, or is to read otherwise:
//! checked and compiled once.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::expression::{Expression, Fault};
use super::seen::{Seen, text_at};
use super::workload;
use super::{BUILT_IN, custom, text};
use crate::model::{Health, HealthRule, HealthTest};

/// Compiled rules; cheap to clone. The default: none.
#[derive(Debug, Clone, Default)]
pub struct Rules(Arc<[Rule]>);

/// A rule that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct InvalidRule {
    /// Which of the rules given, counted from 0.
    pub index: usize,
    /// Which of its keys: `kind`, `current`, `in-progress`, `failed`, `message`.
    pub key: &'static str,
    /// What is wrong, and where in the text.
    pub what: String,
}

impl fmt::Display for InvalidRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "health rule {}, `{}`: {}",
            self.index + 1,
            self.key,
            self.what
        )
    }
}

impl Rules {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks and compiles rules. A kind of Kubernetes' own may be among them: its rule then takes
    /// the place of what is known of that kind; pods that cannot start fail it all the same.
    ///
    /// # Errors
    /// Every [`InvalidRule`] there is.
    pub fn new(rules: &[HealthRule]) -> Result<Self, Vec<InvalidRule>> {
        let mut compiled: Vec<Rule> = Vec::new();
        let mut mistakes = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            let mut wrong = |key, what| mistakes.push(InvalidRule { index, key, what });
            if compiled.iter().any(|it| it.is_for(&rule.group, &rule.kind)) {
                wrong("kind", "there is a rule for this kind already".to_owned());
            }
            if rule.kind.is_empty() {
                wrong("kind", "a kind is needed".to_owned());
            }
            if let Some(pointer) = rule.message.as_deref().filter(|it| !is_pointer(it)) {
                wrong("message", not_a_pointer(pointer));
            }
            let mut test = |key, test: Option<&HealthTest>| {
                let test = test?;
                Test::new(test).map_err(|what| wrong(key, what)).ok()
            };
            compiled.push(Rule {
                group: rule.group.clone(),
                kind: rule.kind.clone(),
                in_progress: test("in-progress", rule.in_progress.as_ref()),
                failed: test("failed", rule.failed.as_ref()),
                // Without it the rule is among the mistakes, and never used.
                current: test("current", Some(&rule.current)).unwrap_or(Test::Fields(Vec::new())),
                message: rule.message.clone(),
            });
        }
        if mistakes.is_empty() {
            Ok(Self(compiled.into()))
        } else {
            Err(mistakes)
        }
    }

    /// The rule for an object, if there is one.
    pub(super) fn of(&self, seen: &Seen<'_>) -> Option<&Rule> {
        self.0
            .iter()
            .find(|rule| rule.is_for(seen.group(), seen.kind()))
    }
}

/// A compiled rule.
#[derive(Debug)]
pub(super) struct Rule {
    group: String,
    kind: String,
    in_progress: Option<Test>,
    failed: Option<Test>,
    current: Test,
    message: Option<String>,
}

impl Rule {
    fn is_for(&self, group: &str, kind: &str) -> bool {
        self.kind == kind && self.group == group
    }

    pub(super) fn health(&self, seen: &Seen<'_>) -> Health {
        let outcome = match self.outcome(seen) {
            Ok(outcome) => outcome,
            Err((key, fault)) => {
                let what = format!("`{key}` of its health rule cannot be evaluated: {fault}");
                return seen.in_progress(what);
            }
        };
        if let Outcome::InProgress = outcome {
            let why = self.message(seen, "not current by its health rule");
            return workload::unfinished(seen, &why, None);
        }
        // Kubernetes' own controllers say which generation they saw where it matters.
        if !BUILT_IN.contains(&seen.group())
            && let Some(unsettled) = custom::unsettled(seen, &[])
        {
            return unsettled;
        }
        match outcome {
            Outcome::Failed => {
                seen.failed(self.message(seen, "its health rule says that it failed"))
            }
            _ => Health::Current,
        }
    }

    fn outcome(&self, seen: &Seen<'_>) -> Result<Outcome, (&'static str, Fault)> {
        let tests = [
            (
                "in-progress",
                self.in_progress.as_ref(),
                Outcome::InProgress,
            ),
            ("failed", self.failed.as_ref(), Outcome::Failed),
            ("current", Some(&self.current), Outcome::Current),
        ];
        for (key, test, outcome) in tests {
            match test.map_or(Ok(false), |test| test.holds(seen.object)) {
                Ok(true) => return Ok(outcome),
                // What is not there yet has not happened yet.
                Ok(false) | Err(Fault::Missing(_)) => {}
                Err(fault) => return Err((key, fault)),
            }
        }
        Ok(Outcome::InProgress)
    }

    fn message(&self, seen: &Seen<'_>, otherwise: &str) -> String {
        let told = self
            .message
            .as_ref()
            .and_then(|pointer| text_at(seen.object, pointer));
        told.map_or_else(|| otherwise.to_owned(), text::clean)
    }
}

enum Outcome {
    InProgress,
    Failed,
    Current,
}

#[derive(Debug)]
enum Test {
    Expression(Expression),
    Fields(Vec<(String, Vec<Value>)>),
}

impl Test {
    fn new(test: &HealthTest) -> Result<Self, String> {
        let fields = match test {
            HealthTest::Expression(text) => {
                let parsed = Expression::parse(text).map_err(|invalid| invalid.to_string())?;
                return Ok(Self::Expression(parsed));
            }
            HealthTest::Fields(fields) => fields,
        };
        if fields.is_empty() {
            return Err("name at least one field".to_owned());
        }
        for field in fields {
            if !is_pointer(&field.pointer) {
                return Err(not_a_pointer(&field.pointer));
            }
            if field.values.is_empty() {
                return Err(format!("`{}` needs a value", field.pointer));
            }
            if field
                .values
                .iter()
                .any(|value| value.is_array() || value.is_object())
            {
                let pointer = &field.pointer;
                return Err(format!(
                    "`{pointer}` is compared with texts, numbers and booleans only"
                ));
            }
        }
        let fields = fields
            .iter()
            .map(|it| (it.pointer.clone(), it.values.clone()));
        Ok(Self::Fields(fields.collect()))
    }

    fn holds(&self, object: &Value) -> Result<bool, Fault> {
        match self {
            Self::Expression(expression) => expression.holds(object),
            Self::Fields(fields) => Ok(fields.iter().all(|(pointer, values)| {
                object
                    .pointer(pointer)
                    .is_some_and(|found| values.contains(found))
            })),
        }
    }
}

/// RFC 6901: nothing, or parts that each begin with a slash; `~` only as `~0` and `~1`.
fn is_pointer(text: &str) -> bool {
    text.starts_with('/')
        && text
            .split('~')
            .skip(1)
            .all(|rest| rest.starts_with(['0', '1']))
}

fn not_a_pointer(text: &str) -> String {
    format!("`{text}` is not a JSON pointer, such as `/status/phase`")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::HealthField;

    fn expression(text: &str) -> HealthTest {
        HealthTest::Expression(text.to_owned())
    }

    fn fields(pointer: &str, values: Vec<Value>) -> HealthTest {
        HealthTest::Fields(vec![HealthField {
            pointer: pointer.to_owned(),
            values,
        }])
    }

    fn rule(kind: &str, current: HealthTest) -> HealthRule {
        HealthRule {
            group: "acme.example.com".to_owned(),
            kind: kind.to_owned(),
            current,
            in_progress: None,
            failed: None,
            message: None,
        }
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let good = rule("Database", expression("status.phase == 'Running'"));
        let rules = [
            good.clone(),
            rule("Database", fields("/status/phase", vec![json!("Running")])),
            HealthRule {
                failed: Some(expression("status.phase = 'Lost'")),
                in_progress: Some(HealthTest::Fields(Vec::new())),
                message: Some("status.message".to_owned()),
                ..rule("", expression("true &&"))
            },
            rule("Cache", fields("/status~2", vec![json!(1)])),
            rule("Queue", fields("/status", Vec::new())),
            rule("Topic", fields("/status", vec![json!({})])),
        ];
        let mistakes = Rules::new(&rules).unwrap_err();
        let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "health rule 2, `kind`: there is a rule for this kind already",
                "health rule 3, `kind`: a kind is needed",
                "health rule 3, `message`: `status.message` is not a JSON pointer, such as `/status/phase`",
                "health rule 3, `in-progress`: name at least one field",
                "health rule 3, `failed`: column 14: `=` means nothing here",
                "health rule 3, `current`: column 8: the expression ends too early",
                "health rule 4, `current`: `/status~2` is not a JSON pointer, such as `/status/phase`",
                "health rule 5, `current`: `/status` needs a value",
                "health rule 6, `current`: `/status` is compared with texts, numbers and booleans only",
            ]
        );
        assert!(Rules::new(&[good]).is_ok());
    }
}
