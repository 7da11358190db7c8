//! Which ConfigMaps and Secrets a workload's pods use, and the hash by which a change of them replaces
//! the pods.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::model::{Digest, Identity, ObjectRef};

/// On the pod template: the hash of the configuration it uses.
pub(super) const STAMP: &str = "towpath.dev/config-hash";

/// The hashes of the ConfigMaps and Secrets of a unit.
pub(super) type Configs = BTreeMap<ObjectRef, Digest>;

/// Whether an object is configuration that pods use.
pub(super) fn is_config(reference: &ObjectRef) -> bool {
    reference.group.is_empty() && matches!(reference.kind.as_str(), "ConfigMap" | "Secret")
}

/// The stamp of a workload: made of the names and hashes of the unit's configuration that it uses.
/// `None` where it uses none, so that nothing would ever be restarted.
pub(super) fn stamp(reference: &ObjectRef, workload: &Value, configs: &Configs) -> Option<String> {
    let mut used = BTreeSet::new();
    if let Some(pod) = workload.pointer("/spec/template/spec") {
        collect(pod, &mut used);
    }
    let found = used.into_iter().filter_map(|(kind, name)| {
        let config = ObjectRef::from(Identity {
            group: String::new(),
            kind: kind.to_owned(),
            namespace: reference.namespace.clone(),
            name: name.to_owned(),
        });
        let hash = configs.get(&config)?;
        Some(serde_json::json!([kind, name, hash.to_string()]))
    });
    let found: Vec<Value> = found.collect();
    if found.is_empty() {
        return None;
    }
    let hash = Sha256::digest(Value::from(found).to_string());
    Some(hash.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Writes the stamp on the pod template. `false` where the template has no place for it.
pub(super) fn put(workload: &mut Value, stamp: String) -> bool {
    let template = workload.pointer_mut("/spec/template");
    let Some(template) = template.and_then(Value::as_object_mut) else {
        return false;
    };
    let annotations = entry(template, "metadata").and_then(|it| entry(it, "annotations"));
    let Some(annotations) = annotations else {
        return false;
    };
    annotations.insert(STAMP.to_owned(), stamp.into());
    true
}

/// The map under a key, made where there is none.
fn entry<'a>(map: &'a mut Map<String, Value>, key: &str) -> Option<&'a mut Map<String, Value>> {
    let value = map.entry(key).or_insert(Value::Null);
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut()
}

/// The kind and name of everything that a pod takes its configuration from.
fn collect<'a>(pod: &'a Value, used: &mut BTreeSet<(&'static str, &'a str)>) {
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in entries(pod, list) {
            for from in entries(container, "envFrom") {
                used.extend(named("ConfigMap", from, "/configMapRef/name"));
                used.extend(named("Secret", from, "/secretRef/name"));
            }
            for variable in entries(container, "env") {
                used.extend(named(
                    "ConfigMap",
                    variable,
                    "/valueFrom/configMapKeyRef/name",
                ));
                used.extend(named("Secret", variable, "/valueFrom/secretKeyRef/name"));
            }
        }
    }
    for volume in entries(pod, "volumes") {
        used.extend(named("ConfigMap", volume, "/configMap/name"));
        used.extend(named("Secret", volume, "/secret/secretName"));
        let Some(projected) = volume.get("projected") else {
            continue;
        };
        for source in entries(projected, "sources") {
            used.extend(named("ConfigMap", source, "/configMap/name"));
            used.extend(named("Secret", source, "/secret/name"));
        }
    }
}

fn entries<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn named<'a>(
    kind: &'static str,
    value: &'a Value,
    pointer: &str,
) -> Option<(&'static str, &'a str)> {
    Some((kind, value.pointer(pointer)?.as_str()?))
}
