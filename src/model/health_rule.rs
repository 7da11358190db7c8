//! How the health of a kind is told that Towpath does not know by itself, as the configuration states
//! it. Only the statement: it is checked and compiled where health is read.

use serde_json::Value;

/// One rule for one kind of object.
///
/// The tests are asked in this order, once the object's controller has seen its newest generation:
/// `in_progress`, `failed`, `current`. The first that holds decides; where none holds, the object is
/// in progress.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthRule {
    /// The API group; empty for the core group.
    pub group: String,
    /// The kind, as in `Certificate`.
    pub kind: String,
    /// It does what its manifest asks for.
    pub current: HealthTest,
    /// It is on its way.
    pub in_progress: Option<HealthTest>,
    /// It will not get there by itself.
    pub failed: Option<HealthTest>,
    /// A JSON pointer (RFC 6901) to the text in the object that tells people why it is not current,
    /// such as `/status/message`.
    pub message: Option<String>,
}

/// What must hold for a rule's answer.
#[derive(Debug, Clone, PartialEq)]
pub enum HealthTest {
    /// A CEL expression over the object's top-level fields, with a boolean outcome:
    /// `status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')`.
    Expression(String),
    /// Fields that must all have one of their values. Never empty.
    Fields(Vec<HealthField>),
}

/// A field and the values that count.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthField {
    /// A JSON pointer (RFC 6901) into the object: `/status/phase`.
    pub pointer: String,
    /// Any of these texts, numbers or booleans. Never empty.
    pub values: Vec<Value>,
}
