//! What an expression's parts come to: mostly borrowed from the object.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::rc::Rc;

use serde_json::{Map, Value as Json};

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Cow<'a, str>),
    /// A list of the object.
    Items(&'a [Json]),
    /// A list that the expression made.
    List(Rc<Vec<Value<'a>>>),
    Map(&'a Map<String, Json>),
}

impl<'a> From<&'a Json> for Value<'a> {
    fn from(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(it) => Self::Bool(*it),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(it), _) => Self::Int(it),
                (None, it) => Self::Double(it.unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::Text(Cow::Borrowed(text)),
            Json::Array(items) => Self::Items(items),
            Json::Object(map) => Self::Map(map),
        }
    }
}

impl<'a> Value<'a> {
    /// What people call it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::Double(_) => "a double",
            Self::Text(_) => "a text",
            Self::Items(_) | Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }

    /// How many elements or bytes must be looked at to copy or compare it, not counting what stands
    /// in its elements.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Text(text) => text.len() / 16,
            Self::Items(items) => items.len(),
            Self::List(items) => items.len(),
            Self::Map(map) => map.len(),
            _ => 0,
        }
    }

    /// The elements of a list, the keys of a map; `None` for what has no parts.
    pub(super) fn elements(&self) -> Option<Vec<Value<'a>>> {
        match self {
            Self::Items(items) => Some(items.iter().map(Value::from).collect()),
            Self::List(items) => Some(items.as_ref().clone()),
            Self::Map(map) => {
                let keys = map.keys().map(|key| Self::Text(Cow::Borrowed(key)));
                Some(keys.collect())
            }
            _ => None,
        }
    }

    /// The order of two numbers, texts or booleans; `None` for everything else, and for NaN.
    pub(super) fn order(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(one), Value::Bool(other)) => Some(one.cmp(other)),
            (Self::Text(one), Value::Text(other)) => Some(one.as_ref().cmp(other.as_ref())),
            (Self::Int(one), Value::Int(other)) => Some(one.cmp(other)),
            (one, other) => one.number()?.partial_cmp(&other.number()?),
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            #[expect(
                clippy::cast_precision_loss,
                reason = "an integer beside a double is compared as one"
            )]
            Self::Int(it) => Some(*it as f64),
            Self::Double(it) => Some(*it),
            _ => None,
        }
    }
}
