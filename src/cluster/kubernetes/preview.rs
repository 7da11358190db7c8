//! What an apply would change, by the server's own dry run of each object. Changes nothing.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use gix::ObjectId;
use serde_json::Value;

use super::marks::{self, MANAGER, Set};
use super::place::Place;
use super::refusal::Refusal;
use super::request::{self, Patch, Sender, Target, View};
use crate::cluster::{ClusterError, Preview, UnitScope};
use crate::manifest::{Object, Rendered};
use crate::model::{CommitId, ObjectRef};
use crate::plan::Mark;

/// How many objects are asked about at once.
const IN_FLIGHT: usize = 8;

/// What the server keeps about an object, which is not what it asks for.
const KEPT: [&str; 6] = [
    "creationTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// What would change of each object, in their order; then what would no longer be asked for.
pub(super) async fn preview(
    place: &Place,
    set: &Set,
    sender: &Sender<'_>,
    unit: &UnitScope,
    desired: &Rendered,
    surplus: Vec<ObjectRef>,
) -> Result<Vec<Preview>, ClusterError> {
    let wanted = desired.objects.iter().cloned();
    let wanted = wanted.map(|object| (object.reference.clone(), Some(object)));
    let all = wanted.chain(surplus.into_iter().map(|reference| (reference, None)));
    let asked = stream::iter(all).map(|(reference, object)| async move {
        let seen = one(place, set, sender, unit, &reference, object.as_ref()).await;
        seen.map_err(|refusal| super::apply::error(&place.name, &reference, None, refusal))
    });
    let seen: Vec<_> = asked.buffered(IN_FLIGHT).collect().await;
    seen.into_iter().collect()
}

async fn one(
    place: &Place,
    set: &Set,
    sender: &Sender<'_>,
    unit: &UnitScope,
    reference: &ObjectRef,
    object: Option<&Arc<Object>>,
) -> Result<Preview, Refusal> {
    let is_secret = reference.kind == "Secret" && reference.group.is_empty();
    let secret = is_secret || object.is_some_and(|object| object.is_secret());
    let preview = |before: Option<Value>, after: Option<Value>, note: Option<String>| Preview {
        reference: reference.clone(),
        before: before.map(shown),
        after: after.map(shown),
        secret,
        note,
    };
    let found = place.kinds.find(&reference.group, &reference.kind).await;
    let Some(kind) = found.map_err(request::unanswered)? else {
        let stated = object.map(|object| object.value());
        let note = "the cluster does not serve its kind yet".to_owned();
        return Ok(preview(None, stated, Some(note)));
    };
    let stated = object.map(|object| object.value());
    let version = stated.as_ref().and_then(|it| it["apiVersion"].as_str());
    let version = version.and_then(|version| version.rsplit('/').next());
    let target = Target::new(&kind, version, reference);
    let before = sender.get(&target, View::Whole).await?;
    let Some(object) = object else {
        return Ok(preview(before, None, None));
    };
    let mark = Mark {
        application: unit.application.clone(),
        environment: unit.environment.clone(),
        hash: object.hash(),
        commit: CommitId(ObjectId::null(gix::hash::Kind::Sha1)),
    };
    let dressed = marks::dressed(object, kind.namespaced, &mark, set);
    let patch = Patch {
        manager: MANAGER,
        dry_run: true,
        force: true,
        view: View::Whole,
    };
    match sender
        .apply(&target, patch, dressed.to_string().into_bytes())
        .await
    {
        Ok(reply) => Ok(preview(before, Some(reply.value), None)),
        Err(refusal @ Refusal::Unavailable { .. }) => Err(refusal),
        Err(refusal) => {
            let error = super::apply::error(&place.name, reference, Some(&object.place), refusal);
            Ok(preview(before, Some(dressed), Some(error.to_string())))
        }
    }
}

/// An object as people compare it.
fn shown(mut object: Value) -> Value {
    if let Some(object) = object.as_object_mut() {
        object.shift_remove("status");
    }
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return object;
    };
    for key in KEPT {
        metadata.shift_remove(key);
    }
    if let Some(annotations) = metadata
        .get_mut("annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.shift_remove(marks::HASH);
        annotations.shift_remove(marks::COMMIT);
        if annotations.is_empty() {
            metadata.shift_remove("annotations");
        }
    }
    object
}
