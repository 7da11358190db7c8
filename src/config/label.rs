//! The keys and values of labels, as Kubernetes has them.

use serde_json::json;

use super::form::{Text, Wrong};
use super::problem::quote;
use crate::model::{is_label_key, is_label_value};

/// A label's key.
pub(super) fn key() -> Text<String> {
    Text {
        wanted: "a label's key",
        sample: "team",
        parse: |text| match is_label_key(text) {
            true => Ok(text.to_owned()),
            false => Err(Wrong::new(
                format!("{} is not a label's key", quote(text)),
                "use 1 to 63 letters, digits, `-`, `_` and `.`, beginning and ending with a letter or digit, with `DNS-NAME/` before them or not",
            )),
        },
        schema: || json!({ "pattern": "^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$" }),
    }
}

/// A label's value.
pub(super) fn value() -> Text<String> {
    Text {
        wanted: "a label's value",
        sample: "payments",
        parse: |text| match is_label_value(text) {
            true => Ok(text.to_owned()),
            false => Err(Wrong::new(
                format!("{} is not a label's value", quote(text)),
                "use up to 63 letters, digits, `-`, `_` and `.`, beginning and ending with a letter or digit",
            )),
        },
        schema: || json!({ "pattern": "^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$" }),
    }
}
