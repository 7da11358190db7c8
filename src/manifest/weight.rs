//! Whether an object is larger than any cluster stores.

use serde_json::Value;

use super::error::Problem;
use super::limits;
use crate::model::ObjectRef;

/// What is wrong with the size of an object, given its JSON.
pub(super) fn fault(reference: &ObjectRef, json: &str) -> Option<Problem> {
    if json.len() <= limits::CONFIG_BYTES {
        return None;
    }
    let object = Box::new(reference.clone());
    if json.len() > limits::OBJECT_BYTES {
        return Some(Problem::TooHeavy {
            object,
            what: "JSON",
            bytes: json.len(),
            most: limits::OBJECT_BYTES,
            instead: "split it, or keep what is large in an image or a volume",
        });
    }
    let is_config =
        reference.group.is_empty() && matches!(reference.kind.as_str(), "ConfigMap" | "Secret");
    let bytes = match is_config {
        true => values(&serde_json::from_str(json).ok()?),
        false => 0,
    };
    (bytes > limits::CONFIG_BYTES).then_some(Problem::TooHeavy {
        object,
        what: "data",
        bytes,
        most: limits::CONFIG_BYTES,
        instead: "split it over several, or keep what is large in an image or a volume",
    })
}

/// The bytes of all values, those in base64 decoded, as the server counts them.
fn values(object: &Value) -> usize {
    let is_secret = object.get("kind").is_some_and(|kind| kind == "Secret");
    let of = |field: &str, encoded: bool| -> usize {
        let entries = object.get(field).and_then(Value::as_object);
        let texts = entries
            .into_iter()
            .flatten()
            .filter_map(|(_, value)| value.as_str());
        texts
            .map(|text| match encoded {
                true => decoded(text),
                false => text.len(),
            })
            .sum()
    };
    of("data", is_secret) + of("binaryData", true) + of("stringData", false)
}

/// How many bytes a base64 text stands for.
fn decoded(text: &str) -> usize {
    let digits = text
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=');
    digits.count() * 3 / 4
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Identity;
    use serde_json::json;

    #[test]
    fn what_no_cluster_stores_is_told_with_its_size() {
        const MIB: usize = 1 << 20;
        for (kind, field, bytes, expected) in [
            ("ConfigMap", "data", MIB, None),
            (
                "ConfigMap",
                "data",
                MIB + 1,
                Some("ConfigMap x is too large (1048577 bytes of data, at most 1048576)"),
            ),
            ("ConfigMap", "binaryData", MIB + MIB / 4, None),
            (
                "ConfigMap",
                "binaryData",
                MIB * 11 / 8,
                Some("bytes of data"),
            ),
            ("Secret", "data", MIB + MIB / 4, None),
            (
                "Secret",
                "stringData",
                MIB + MIB / 4,
                Some("Secret x is too large"),
            ),
            ("Widget", "data", MIB * 5 / 4, None),
            (
                "Widget",
                "data",
                MIB * 3 / 2,
                Some("bytes of JSON, at most 1572864)"),
            ),
        ] {
            let object = json!({ "kind": kind, field: { "x": "a".repeat(bytes) } });
            let reference = ObjectRef::from(Identity {
                group: String::new(),
                kind: kind.to_owned(),
                namespace: None,
                name: "x".to_owned(),
            });
            let found = fault(&reference, &object.to_string()).map(|problem| problem.to_string());
            match (&found, expected) {
                (Some(found), Some(expected)) => assert!(found.contains(expected), "{found}"),
                _ => assert_eq!(found.as_deref(), expected, "{kind} {field} {bytes}"),
            }
        }
    }
}
