//! What an apply would change, by the server's own dry run of each object. Changes nothing.

use futures_util::{StreamExt as _, stream};
use gix::ObjectId;
use serde_json::Value;

use super::marks::{self, MANAGER, Set};
use super::place::Place;
use super::refusal::{self, Refusal};
use super::request::{self, Patch, Sender, Target, View};
use crate::cluster::{ClusterError, Preview, UnitScope};
use crate::manifest::Rendered;
use crate::model::{CommitId, ObjectRef};
use crate::plan::Mark;

/// How many objects are asked about at once.
const IN_FLIGHT: usize = 8;

/// What would change of each object, in their order; then what would no longer be asked for.
///
/// # Errors
/// As an apply: what the server refuses of it.
pub(super) async fn preview(
    place: &Place,
    set: &Set,
    sender: &Sender<'_>,
    unit: &UnitScope,
    desired: &Rendered,
    surplus: Vec<ObjectRef>,
) -> Result<Vec<Preview>, ClusterError> {
    let wanted = desired
        .objects
        .iter()
        .map(|object| object.reference.clone());
    let all: Vec<ObjectRef> = wanted.chain(surplus).collect();
    let asked: Vec<_> = all
        .iter()
        .map(|reference| one(place, set, sender, unit, desired, reference))
        .collect();
    let seen: Vec<_> = stream::iter(asked).buffered(IN_FLIGHT).collect().await;
    let (mut previews, mut errors) = (Vec::new(), Vec::new());
    for (reference, seen) in all.iter().zip(seen) {
        match seen {
            Ok(preview) => previews.push(preview),
            Err(refusal) => {
                let found = desired.objects.iter().find(|it| it.reference == *reference);
                let place_of = found.map(|object| &object.place);
                errors.push(super::apply::error(
                    &place.name,
                    reference,
                    place_of,
                    refusal,
                ));
            }
        }
    }
    super::apply::worst(errors).map(|()| previews)
}

async fn one(
    place: &Place,
    set: &Set,
    sender: &Sender<'_>,
    unit: &UnitScope,
    desired: &Rendered,
    reference: &ObjectRef,
) -> Result<Preview, Refusal> {
    let objects = &desired.objects;
    let found = objects.binary_search_by(|object| object.reference.cmp(reference));
    let object = found.ok().map(|index| &objects[index]);
    let stated = object.map(|object| object.value());
    let preview = |before: Option<Value>, after: Option<Value>, untried: Option<String>| Preview {
        reference: reference.clone(),
        before,
        after,
        secret: object.is_some_and(|object| object.is_encrypted()),
        untried,
    };
    let kind = place.kinds.find(&reference.group, &reference.kind).await;
    let Some(kind) = kind.map_err(request::unanswered)? else {
        let name = reference.group_kind();
        return match object {
            Some(_) if defines(desired, reference) => {
                let why = format!("the definition of {name} comes with it");
                Ok(preview(None, stated, Some(why)))
            }
            Some(_) => Err(Refusal::Prevented(refusal::not_served(&name))),
            None => Ok(preview(None, None, None)),
        };
    };
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
    let body = dressed.to_string().into_bytes();
    match sender.apply(&target, patch, body).await {
        Ok(reply) => Ok(preview(before, Some(reply.value), None)),
        Err(Refusal::Prevented(_) | Refusal::Missing) if brings_namespace(desired, reference) => {
            let why = "its namespace comes with it".to_owned();
            Ok(preview(before, Some(dressed), Some(why)))
        }
        Err(refusal) => Err(refusal),
    }
}

/// Whether the object's kind is defined by another of these objects.
fn defines(desired: &Rendered, reference: &ObjectRef) -> bool {
    let definitions = desired.objects.iter().filter(|object| {
        let of = &object.reference;
        of.kind == "CustomResourceDefinition" && of.group == "apiextensions.k8s.io"
    });
    definitions.map(|object| object.value()).any(|definition| {
        let spec = &definition["spec"];
        spec["group"] == *reference.group && spec["names"]["kind"] == *reference.kind
    })
}

/// Whether the object's namespace is another of these objects.
fn brings_namespace(desired: &Rendered, reference: &ObjectRef) -> bool {
    desired.objects.iter().any(|object| {
        let of = &object.reference;
        of.kind == "Namespace"
            && of.group.is_empty()
            && Some(&of.name) == reference.namespace.as_ref()
    })
}
