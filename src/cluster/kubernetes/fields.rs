//! Which fields a manager owns: `metadata.managedFields[].fieldsV1`, as sets.
//!
//! Owns reading and writing [`FieldsV1`](https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management),
//! union and difference, and how a path reads to people, which is how the server itself writes it in
//! conflicts. Knows no schema: what a path leads to is the server's business.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A set of fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct FieldSet {
    /// Whether the field itself is in the set, and not only something in it.
    itself: bool,
    /// What is in the set below, by the step there as FieldsV1 writes it: `f:name`, `k:{"name":"web"}`,
    /// `v:"value"`, `i:0`.
    below: BTreeMap<String, FieldSet>,
}

/// What stands for the field itself where something below it is in the set too.
const ITSELF: &str = ".";

impl FieldSet {
    /// Reads FieldsV1. What is no object holds no field.
    pub(super) fn parse(fields: &Value) -> Self {
        let mut set = Self::read(fields);
        // The object as a whole is nobody's.
        set.itself = false;
        set
    }

    fn read(fields: &Value) -> Self {
        let mut set = Self::default();
        let Some(map) = fields.as_object() else {
            return set;
        };
        set.itself = map.is_empty() || map.contains_key(ITSELF);
        for (step, inner) in map.iter().filter(|(step, _)| *step != ITSELF) {
            set.below.insert(step.clone(), Self::read(inner));
        }
        set
    }

    /// As FieldsV1.
    pub(super) fn to_value(&self) -> Value {
        let mut map = Map::new();
        if self.itself && !self.below.is_empty() {
            map.insert(ITSELF.to_owned(), Value::Object(Map::new()));
        }
        for (step, inner) in &self.below {
            map.insert(step.clone(), inner.to_value());
        }
        Value::Object(map)
    }

    /// Whether nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        !self.itself && self.below.is_empty()
    }

    /// Adds what is in the other set.
    pub(super) fn unite(&mut self, other: Self) {
        self.itself |= other.itself;
        for (step, inner) in other.below {
            self.below.entry(step).or_default().unite(inner);
        }
    }

    /// What is in this set and not in the other.
    pub(super) fn without(&self, other: &Self) -> Self {
        let mut left = Self {
            itself: self.itself && !other.itself,
            below: BTreeMap::new(),
        };
        for (step, inner) in &self.below {
            let inner = match other.below.get(step) {
                Some(taken) => inner.without(taken),
                None => inner.clone(),
            };
            if !inner.is_empty() {
                left.below.insert(step.clone(), inner);
            }
        }
        left
    }

    /// The fields as people and the server write them, such as
    /// `.spec.template.spec.containers[name="web"].image`: those with nothing of the set below them,
    /// and where these are more than `most`, the shortest paths that stand for all of them.
    pub(super) fn paths(&self, most: usize) -> Vec<String> {
        let mut depth = self.depth();
        loop {
            let mut paths = Vec::new();
            self.walk(&mut String::new(), depth, &mut paths);
            if paths.len() <= most || depth <= 1 {
                return paths;
            }
            depth -= 1;
        }
    }

    fn depth(&self) -> usize {
        let below = self.below.values().map(Self::depth).max();
        below.map_or(0, |below| below + 1)
    }

    fn walk(&self, path: &mut String, depth: usize, paths: &mut Vec<String>) {
        if depth == 0 || self.below.is_empty() {
            if !path.is_empty() {
                paths.push(path.clone());
            }
            return;
        }
        for (step, inner) in &self.below {
            let before = path.len();
            path.push_str(&readable(step));
            inner.walk(path, depth - 1, paths);
            path.truncate(before);
        }
    }
}

/// One step of a path, as structured-merge-diff prints it in conflicts.
fn readable(step: &str) -> String {
    match step.split_at_checked(2) {
        Some(("f:", name)) => format!(".{name}"),
        Some(("i:", index)) => format!("[{index}]"),
        Some(("v:", value)) => format!("[={value}]"),
        Some(("k:", keys)) => match serde_json::from_str::<BTreeMap<String, Value>>(keys) {
            Ok(keys) => {
                let pairs = keys.iter().map(|(key, value)| format!("{key}={value}"));
                format!("[{}]", pairs.collect::<Vec<_>>().join(","))
            }
            Err(_) => format!("[{keys}]"),
        },
        _ => format!(".{step}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment() -> Value {
        json!({
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {
                "f:replicas": {},
                "f:template": {"f:spec": {"f:containers": {
                    "k:{\"name\":\"web\"}": {
                        ".": {}, "f:image": {}, "f:name": {},
                        "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}},
                    },
                }}},
            },
        })
    }

    #[test]
    fn what_is_read_is_written_again() {
        for fields in [
            deployment(),
            json!({}),
            json!({"f:metadata": {"f:finalizers": {"v:\"a/b\"": {}}}, "f:spec": {"f:list": {"i:0": {}}}}),
        ] {
            assert_eq!(FieldSet::parse(&fields).to_value(), fields);
        }
        for none in [json!(null), json!("x"), json!([1])] {
            assert!(FieldSet::parse(&none).is_empty());
        }
    }

    #[test]
    fn sets_are_united_and_taken_apart() {
        let ab = json!({"f:a": {".": {}, "f:b": {}}});
        let a = json!({"f:a": {}});
        let b = json!({"f:a": {"f:b": {}}});
        let c = json!({"f:c": {}});
        for (one, other, union, difference) in [
            (&a, &b, &ab, &a),
            (&b, &a, &ab, &b),
            (&ab, &b, &ab, &a),
            (&ab, &ab, &ab, &json!({})),
            (&a, &c, &json!({"f:a": {}, "f:c": {}}), &a),
            (&json!({}), &ab, &ab, &json!({})),
        ] {
            let (one, other) = (FieldSet::parse(one), FieldSet::parse(other));
            assert_eq!(one.without(&other).to_value(), *difference);
            let mut both = one;
            both.unite(other);
            assert_eq!(both.to_value(), *union);
        }
    }

    #[test]
    fn paths_read_as_in_the_servers_conflicts() {
        for (fields, most, expected) in [
            (
                deployment(),
                9,
                vec![
                    ".metadata.labels.app",
                    ".spec.replicas",
                    ".spec.template.spec.containers[name=\"web\"].image",
                    ".spec.template.spec.containers[name=\"web\"].name",
                    ".spec.template.spec.containers[name=\"web\"].ports[containerPort=80,protocol=\"TCP\"].containerPort",
                ],
            ),
            (
                deployment(),
                3,
                vec![
                    ".metadata.labels.app",
                    ".spec.replicas",
                    ".spec.template.spec.containers[name=\"web\"]",
                ],
            ),
            (deployment(), 1, vec![".metadata", ".spec"]),
            (
                json!({"f:finalizers": {"v:\"a/b\"": {}}, "f:list": {"i:7": {}}}),
                9,
                vec![".finalizers[=\"a/b\"]", ".list[7]"],
            ),
            (json!({"odd": {}, "k:[": {}}), 9, vec!["[[]", ".odd"]),
            (json!({}), 9, vec![]),
        ] {
            assert_eq!(FieldSet::parse(&fields).paths(most), expected);
        }
    }
}
