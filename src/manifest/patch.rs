//! Patches: what an environment changes in the manifests of its directories.
//!
//! A patch file holds YAML documents, each with a `target` and either `patch:` (a list of
//! operations, [RFC 6902](https://www.rfc-editor.org/rfc/rfc6902)) or `merge:` (a map,
//! [RFC 7396](https://www.rfc-editor.org/rfc/rfc7396)):
//!
//! ```yaml
//! target: { kind: Deployment, name: web }      # kind, name, namespace, labelSelector: all that are given must match
//! patch:
//!   - { op: replace, path: /spec/replicas, value: 5 }
//!   - { op: replace, path: "/spec/template/spec/containers/[name=web]/env/[name=LOG]/value", value: debug }
//! ---
//! target: { kind: Ingress.networking.k8s.io, labelSelector: "app=web,tier in (front,edge)" }
//! merge:
//!   metadata: { annotations: { example.com/region: eu } }
//! ```

use std::sync::Arc;

use json_patch::{PatchErrorKind, PatchOperation};
use serde_json::{Map, Value};

use super::canonical::Canonical;
use super::error::{ManifestError, Place, Problem};
use super::{by_key, limits, yaml};
use crate::model::{Digest, InvalidSelector, LabelSelector, ObjectRef};

/// One patch file.
#[derive(Debug)]
pub struct PatchFile {
    pub(super) patches: Vec<Patch>,
}

#[derive(Debug)]
pub(super) struct Patch {
    pub(super) place: Place,
    pub(super) target: Target,
    /// The hash of all it says.
    pub(super) hash: Digest,
    change: Change,
}

/// What a patch applies to: all that is given must match.
#[derive(Debug, Default)]
pub(super) struct Target {
    /// `Deployment` or `Deployment.apps`.
    kind: Option<String>,
    name: Option<String>,
    namespace: Option<String>,
    labels: Option<(String, LabelSelector)>,
}

#[derive(Debug)]
enum Change {
    /// Each with where its path stands.
    Operations(Vec<(PatchOperation, Place)>),
    Merge(Value),
}

/// Reads a patch file. A file without documents is an empty one.
pub fn parse_patches(path: &str, bytes: &[u8]) -> Result<PatchFile, ManifestError> {
    let path: Arc<str> = path.into();
    let text = yaml::text(&path, bytes)?;
    let documents = yaml::read(&path, text, &|key| key == "path")?;
    let patches = documents.into_iter().map(patch);
    Ok(PatchFile {
        patches: patches.collect::<Result<_, ManifestError>>()?,
    })
}

fn patch(document: yaml::RawDocument) -> Result<Patch, ManifestError> {
    let yaml::RawDocument {
        value,
        scalars,
        place,
        ..
    } = document;
    let hash = Canonical::new(&value).hash;
    let refused = |reason: String| place.error(Problem::Format(reason));
    let (target, change) = parts(value).map_err(refused)?;
    let change = match change {
        Stated::Merge(merge) => Change::Merge(merge),
        Stated::Operations(entries) => {
            let operations = entries.into_iter().enumerate().map(|(index, entry)| {
                let place = scalars
                    .get(&format!("/patch/{index}/path"))
                    .map_or(&place, |scalar| &scalar.place);
                let operation = serde_json::from_value(entry).map_err(|error| {
                    place.error(Problem::Format(format!("operation {} of `patch` is malformed: {error} — write it as `{{ op: replace, path: /spec/replicas, value: 3 }}`", index + 1)))
                })?;
                Ok((operation, place.clone()))
            });
            Change::Operations(operations.collect::<Result<_, ManifestError>>()?)
        }
    };
    Ok(Patch {
        place,
        target,
        hash,
        change,
    })
}

/// What a patch changes, as it is written.
enum Stated {
    Operations(Vec<Value>),
    Merge(Value),
}

fn parts(value: Value) -> Result<(Target, Stated), String> {
    let mut map = as_map(value, "a patch document")?;
    if map.contains_key("sops") {
        return Err(
            "a patch cannot be encrypted by sops — put what is secret into an encrypted manifest"
                .to_owned(),
        );
    }
    known_keys(&map, &["target", "patch", "merge"])?;
    let target = map
        .remove("target")
        .ok_or("the patch has no `target` — add one with `kind` and `name`")?;
    let change = match (map.remove("patch"), map.remove("merge")) {
        (Some(Value::Array(operations)), None) => Stated::Operations(operations),
        (Some(_), None) => return Err("`patch` is not a list — write RFC 6902 operations such as `- { op: replace, path: /spec/replicas, value: 3 }`".to_owned()),
        (None, Some(merge @ Value::Object(_))) => Stated::Merge(merge),
        (None, Some(_)) => return Err("`merge` is not a map — write the fields to change".to_owned()),
        _ => return Err("a patch has either `patch` (a list of operations) or `merge` (a map) — write one of them".to_owned()),
    };
    Ok((target_of(target)?, change))
}

fn target_of(value: Value) -> Result<Target, String> {
    let map = as_map(value, "`target`")?;
    known_keys(&map, &["kind", "name", "namespace", "labelSelector"])?;
    if map.is_empty() {
        return Err("`target` is empty — name at least a `kind`".to_owned());
    }
    let mut target = Target::default();
    for (key, value) in map {
        let Value::String(text) = value else {
            return Err(format!("`target.{key}` is not text — quote it"));
        };
        match key.as_str() {
            "kind" => target.kind = Some(text),
            "name" => target.name = Some(text),
            "namespace" => target.namespace = Some(text),
            _ => {
                let selector = text.parse();
                let selector = selector.map_err(|error: InvalidSelector| error.to_string())?;
                target.labels = Some((text, selector));
            }
        }
    }
    Ok(target)
}

fn as_map(value: Value, what: &str) -> Result<Map<String, Value>, String> {
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(format!(
            "{what} is not a map — write `target:` and `patch:` or `merge:`"
        )),
    }
}

fn known_keys(map: &Map<String, Value>, known: &[&str]) -> Result<(), String> {
    match map.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(format!(
            "`{key}` is not known here — write one of {}",
            known.join(", ")
        )),
        None => Ok(()),
    }
}

impl Target {
    /// The object itself is asked for only where labels decide.
    pub(super) fn matches(&self, reference: &ObjectRef, object: impl FnOnce() -> Value) -> bool {
        let same = |wanted: &Option<String>, actual: Option<&str>| {
            wanted
                .as_deref()
                .is_none_or(|wanted| Some(wanted) == actual)
        };
        let kind = self
            .kind
            .as_deref()
            .is_none_or(|wanted| match wanted.split_once('.') {
                Some((kind, group)) => kind == reference.kind && group == reference.group,
                None => wanted == reference.kind,
            });
        kind && same(&self.name, Some(&reference.name))
            && same(&self.namespace, reference.namespace.as_deref())
            && self.labels.as_ref().is_none_or(|(_, selector)| {
                let object = object();
                let labels = object.get("metadata").and_then(|it| it.get("labels"));
                selector.matches(|key| labels?.get(key)?.as_str())
            })
    }

    pub(super) fn describe(&self) -> String {
        let labels = self.labels.as_ref().map(|(text, _)| text);
        [
            ("kind", self.kind.as_ref()),
            ("name", self.name.as_ref()),
            ("namespace", self.namespace.as_ref()),
            ("labelSelector", labels),
        ]
        .into_iter()
        .filter_map(|(key, value)| value.map(|value| format!("{key}: {value}")))
        .collect::<Vec<_>>()
        .join(", ")
    }
}

impl Patch {
    /// Changes an object; on an error it may be changed in part.
    ///
    /// # Errors
    /// Where in the file, and why.
    pub(super) fn apply(&self, object: &mut Value) -> Result<(), (Place, String)> {
        match &self.change {
            Change::Merge(merge) => json_patch::merge(object, merge),
            Change::Operations(operations) => {
                for (index, (operation, place)) in operations.iter().enumerate() {
                    operate(operation, object).map_err(|why| {
                        let at = format!("operation {}, `{}`", index + 1, operation.path());
                        (place.clone(), format!("{at}: {why}"))
                    })?;
                }
            }
        }
        Ok(())
    }
}

fn operate(operation: &PatchOperation, object: &mut Value) -> Result<(), String> {
    let resolved;
    let operation = match by_key::is_needed(operation) {
        true => {
            resolved = by_key::resolve(operation, object)?;
            &resolved
        }
        false => operation,
    };
    json_patch::patch(object, std::slice::from_ref(operation)).map_err(|error| {
        match error.kind {
            PatchErrorKind::InvalidPointer => {
                "there is no such path (`merge` makes missing parents, `patch` does not)".to_owned()
            }
            kind => kind.to_string(),
        }
    })?;
    // `copy` can double an object with every operation.
    match bounded(object, limits::DEPTH, &mut limits::PATCHED_BYTES.clone()) {
        true => Ok(()),
        false => Err("the object grows beyond all bounds".to_owned()),
    }
}

/// Whether a value is no deeper, and takes no more of what is left: its texts, and something for each value.
fn bounded(value: &Value, depth: usize, left: &mut usize) -> bool {
    let takes = match value {
        Value::String(text) => text.len(),
        Value::Object(map) => map.keys().map(String::len).sum(),
        _ => 0,
    };
    let Some(rest) = left.checked_sub(takes + limits::VALUE_BYTES) else {
        return false;
    };
    *left = rest;
    match value {
        Value::Array(entries) => {
            depth > 0 && entries.iter().all(|value| bounded(value, depth - 1, left))
        }
        Value::Object(map) => {
            depth > 0 && map.values().all(|value| bounded(value, depth - 1, left))
        }
        _ => true,
    }
}
