//! How two environments' desired states of one application differ, other than by the release: is the one a copy of
//! the other?
//!
//! Left out is what being two environments implies: which of the application's images run, and the namespace that
//! objects get which name none. All else is told, by object and by path; what Secrets and encrypted documents hold is hidden.

use std::collections::BTreeMap;

use serde_json::Value;

use super::diff::{Change, ObjectDiff, Versions, compare};
use crate::manifest::{Object, Rendered};
use crate::model::{ImageRepository, ObjectRef};

/// One environment's desired state.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// What it asks for.
    pub rendered: &'a Rendered,
    /// The namespace of objects that name none.
    pub namespace: &'a str,
}

/// The objects that differ, by name: those that the first alone has are `Deleted`, those that the second alone has
/// `Created`. `images` are the application's own.
pub fn unlike(first: Side<'_>, second: Side<'_>, images: &[ImageRepository]) -> Vec<ObjectDiff> {
    let (here, there) = (by_name(first), by_name(second));
    let mut names: Vec<&ObjectRef> = here.keys().chain(there.keys()).collect();
    names.sort();
    names.dedup();
    let of = |name: &ObjectRef| {
        let (before, after) = (here.get(name).copied(), there.get(name).copied());
        if before.map(Object::hash) == after.map(Object::hash) {
            return None;
        }
        let secret =
            before.is_some_and(Object::is_encrypted) || after.is_some_and(Object::is_encrypted);
        let value = |object: &Object, side: Side<'_>| plain(object, side.namespace, images);
        let before = before.map(|it| value(it, first));
        let after = after.map(|it| value(it, second));
        let diff = compare(Versions {
            reference: name,
            before: before.as_ref(),
            after: after.as_ref(),
            secret,
        });
        (diff.change != Change::Unchanged).then_some(diff)
    };
    names.into_iter().filter_map(of).collect()
}

/// Objects by what they are called where the default namespace has no name.
fn by_name(side: Side<'_>) -> BTreeMap<ObjectRef, &Object> {
    let objects = side.rendered.objects.iter().map(|object| {
        let mut name = object.reference.clone();
        if name.namespace.as_deref() == Some(side.namespace) {
            name.namespace = None;
        }
        (name, object.as_ref())
    });
    objects.collect()
}

/// The object with the application's images named by their repositories alone, and without the environment's own
/// namespace.
fn plain(object: &Object, namespace: &str, images: &[ImageRepository]) -> Value {
    let mut value = object.value();
    if let Some(Value::Object(metadata)) = value.get_mut("metadata")
        && metadata.get("namespace").and_then(Value::as_str) == Some(namespace)
    {
        metadata.remove("namespace");
    }
    for image in &object.images {
        let repository = image.image.repository.as_ref();
        if let Some(repository) = repository.filter(|it| images.contains(it))
            && let Some(field) = value.pointer_mut(&image.image.pointer)
        {
            *field = Value::String(repository.to_string());
        }
    }
    value
}
