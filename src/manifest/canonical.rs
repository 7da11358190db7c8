//! One byte form per JSON value, so that equal values have equal hashes.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::model::Digest;

/// A value as canonical JSON, and the hash of that text.
///
/// Objects are kept as this text, not as values: it takes a tenth of the memory, and thousands of
/// them are only ever compared by their hash.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Canonical {
    pub(super) json: Arc<str>,
    pub(super) hash: Digest,
    /// Whether nothing of it may be shown; then the hash is not that of the text.
    pub(super) sealed: bool,
}

/// Never what the value says: it may be secret.
impl fmt::Debug for Canonical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Canonical({})", self.hash)
    }
}

impl Canonical {
    /// No white space, keys sorted by their bytes.
    pub(super) fn new(value: &Value) -> Self {
        let mut bytes = Vec::with_capacity(1024);
        write(value, &mut bytes);
        let hash = Digest::of(&bytes);
        let json = String::from_utf8(bytes)
            .expect("JSON is written as UTF-8")
            .into();
        Self {
            json,
            hash,
            sealed: false,
        }
    }

    /// The same of a value that nobody may learn about, by a hash that says nothing of it.
    pub(super) fn sealed(value: &Value, seal: Digest) -> Self {
        Self {
            hash: seal,
            sealed: true,
            ..Self::new(value)
        }
    }

    pub(super) fn value(&self) -> Value {
        serde_json::from_str(&self.json)
            .expect("the text was written from a value, of less depth than the reader's limit")
    }
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => write_map(map, out),
        Value::Array(entries) => {
            out.push(b'[');
            for (index, entry) in entries.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(entry, out);
            }
            out.push(b']');
        }
        scalar => write_scalar(scalar, out),
    }
}

fn write_map(map: &Map<String, Value>, out: &mut Vec<u8>) {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| key.as_str());
    out.push(b'{');
    for (index, (key, value)) in entries.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_scalar(key, out);
        out.push(b':');
        write(value, out);
    }
    out.push(b'}');
}

fn write_scalar(scalar: &(impl serde::Serialize + ?Sized), out: &mut Vec<u8>) {
    serde_json::to_writer(out, scalar)
        .expect("writing a string, number or literal into memory cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_order_of_keys_does_not_matter_and_values_do() {
        let one = json!({"b": [1, {"y": null, "x": "ü\n"}], "a": 1.5});
        let other = json!({"a": 1.5, "b": [1, {"x": "ü\n", "y": null}]});
        let mut bytes = Vec::new();
        write(&one, &mut bytes);
        assert_eq!(
            bytes,
            "{\"a\":1.5,\"b\":[1,{\"x\":\"ü\\n\",\"y\":null}]}".as_bytes()
        );
        assert_eq!(Canonical::new(&one), Canonical::new(&other));
        assert_eq!(Canonical::new(&one).value(), one);
        let third = json!({"a": 1.5, "b": [{"x": "ü\n", "y": null}, 1]});
        assert_ne!(Canonical::new(&one).hash, Canonical::new(&third).hash);
    }
}
