//! What differs without anybody having asked for it: what servers and controllers write of their own
//! accord, and Towpath's own books.

use serde_json::{Map, Value};

use crate::manifest::drop_cluster_fields;

/// Annotations that follow from the rest of the object, or from where it came.
const ANNOTATIONS: [&str; 4] = [
    // A whole copy of the object, the values of Secrets included.
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/revision",
    "towpath.dev/hash",
    "towpath.dev/commit",
];

/// Labels that follow from whose the object is.
const LABELS: [&str; 1] = ["applyset.kubernetes.io/part-of"];

/// The object without them.
pub(super) fn without(object: &Value) -> Value {
    let mut object = object.clone();
    drop_cluster_fields(&mut object);
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        drop_entries(metadata, "annotations", &ANNOTATIONS);
        drop_entries(metadata, "labels", &LABELS);
    }
    object
}

fn drop_entries(metadata: &mut Map<String, Value>, section: &str, keys: &[&str]) {
    let Some(Value::Object(entries)) = metadata.get_mut(section) else {
        return;
    };
    for key in keys {
        entries.shift_remove(*key);
    }
    if entries.is_empty() {
        metadata.shift_remove(section);
    }
}
