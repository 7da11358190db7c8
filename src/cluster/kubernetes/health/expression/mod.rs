//! The part of CEL that health rules need: parsed once, evaluated against objects of strangers within
//! a fixed number of steps. Never calls out, never panics, never runs long.
//!
//! What is accepted means what the language definition says
//! (<https://github.com/google/cel-spec/blob/master/doc/langdef.md>), so that expressions written for
//! other engines' health checks can be taken over; the rest is refused when the configuration is read:
//! regular expressions, bytes, maps, timestamps, type names, optionals.
//!
//! It is our own because the interpreter of the whole language is large, and does not bound how long
//! an evaluation takes (`docs/decisions/0006-stricter-than-kstatus.md`).

mod evaluate;
mod lexer;
mod parser;
mod value;

use std::fmt;

use serde_json::Value as Json;

pub(super) use evaluate::Fault;
use parser::Node;

/// A parsed expression.
#[derive(Debug)]
pub(super) struct Expression(Node);

/// Why a text is not an expression that can be evaluated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Invalid {
    /// Where, in characters from the beginning, counted from 1.
    column: usize,
    /// What is wrong there.
    what: String,
}

impl Expression {
    /// Parses an expression.
    ///
    /// # Errors
    /// [`Invalid`] where it is none, or none that is supported.
    pub(super) fn parse(text: &str) -> Result<Self, Invalid> {
        parser::parse(text).map(Self)
    }

    /// Whether it holds for an object, whose top-level fields are its variables.
    ///
    /// # Errors
    /// [`Fault`] where it asks for what is not there, or cannot be computed.
    pub(super) fn holds(&self, object: &Json) -> Result<bool, Fault> {
        evaluate::holds(&self.0, object)
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.what)
    }
}

#[cfg(test)]
mod tests;
