//! What an apply would change, by the server's own dry run of each object. Changes nothing.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use gix::ObjectId;
use serde_json::Value;

use super::apply::{Brought, is_made_anew};
use super::kinds::Kind;
use super::marks::{self, MANAGER, Set};
use super::place::Place;
use super::refusal::{Refusal, not_served};
use super::request::{self, Patch, Sender, Target, View};
use crate::cluster::{ClusterError, Preview, UnitScope};
use crate::manifest::{Object, Rendered};
use crate::model::{CommitId, ObjectRef};
use crate::plan::Mark;
use crate::present::diff::Trial;

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
    let trying = Trying {
        place,
        set,
        sender,
        unit,
    };
    let wanted = desired.objects.iter().cloned();
    let wanted = wanted.map(|object| (object.reference.clone(), Some(object)));
    let surplus = surplus.into_iter().map(|reference| (reference, None));
    let looked = stream::iter(wanted.chain(surplus))
        .map(|(reference, object)| trying.look(reference, object))
        .buffered(IN_FLIGHT)
        .collect::<Vec<_>>();
    let found: Vec<Found> = looked.await.into_iter().collect::<Result<_, _>>()?;
    let mut brought = Brought::default();
    for found in &found {
        if let Some(object) = found.object.as_ref().filter(|_| !found.is_applied()) {
            brought.add(object, found.before.is_none());
        }
    }
    let tried = stream::iter(found)
        .map(|found| trying.attempt(found, &brought))
        .buffered(IN_FLIGHT)
        .collect::<Vec<_>>();
    tried.await.into_iter().collect()
}

/// An object as it is, and as it is to be.
struct Found {
    reference: ObjectRef,
    /// `None`: it is no longer asked for.
    object: Option<Arc<Object>>,
    /// `None`: the cluster does not serve its kind.
    kind: Option<Arc<Kind>>,
    before: Option<Value>,
}

impl Found {
    /// Whether what is asked for is what was applied last.
    fn is_applied(&self) -> bool {
        let before = self.before.as_ref();
        let hash = before.and_then(|it| it["metadata"]["annotations"][marks::HASH].as_str());
        let wanted = self.object.as_ref().map(|object| object.hash().to_string());
        hash.is_some() && hash == wanted.as_deref()
    }

    /// The version that its manifest states.
    fn version(&self) -> Option<String> {
        let stated = self.object.as_ref()?.value();
        let version = stated["apiVersion"].as_str()?.rsplit('/').next();
        version.map(str::to_owned)
    }
}

/// Who tries.
struct Trying<'a> {
    place: &'a Place,
    set: &'a Set,
    sender: &'a Sender<'a>,
    unit: &'a UnitScope,
}

impl Trying<'_> {
    /// Reads an object as it is.
    async fn look(
        &self,
        reference: ObjectRef,
        object: Option<Arc<Object>>,
    ) -> Result<Found, ClusterError> {
        let kind = self
            .place
            .kinds
            .find(&reference.group, &reference.kind)
            .await;
        let kind = kind.map_err(|error| self.error(&reference, request::unanswered(error)))?;
        let mut found = Found {
            reference,
            object,
            kind,
            before: None,
        };
        if let Some(target) = self.target(&found) {
            let before = self.sender.get(&target, View::Whole).await;
            found.before = before.map_err(|refusal| self.error(&found.reference, refusal))?;
        }
        Ok(found)
    }

    /// Where an object is found: in the version that its manifest states, if that is served.
    fn target(&self, found: &Found) -> Option<Target> {
        let kind = found.kind.as_ref()?;
        let version = found.version().filter(|version| kind.serves(version));
        let target = Target::new(kind, version.as_deref(), &found.reference);
        let secret = found.object.as_ref().is_some_and(|it| it.is_secret());
        Some(target.discreet(secret))
    }

    /// Has the server try what is asked for of an object.
    async fn attempt(&self, found: Found, brought: &Brought) -> Result<Preview, ClusterError> {
        let target = self.target(&found);
        let version = found.version();
        let Found {
            reference,
            object,
            kind,
            before,
        } = found;
        let is_secret = reference.kind == "Secret" && reference.group.is_empty();
        let preview = |after: Option<Value>, trial| Preview {
            reference: reference.clone(),
            before: before.map(shown),
            after: after.map(shown),
            secret: is_secret || object.as_ref().is_some_and(|object| object.is_secret()),
            trial,
        };
        let Some(object) = &object else {
            return Ok(preview(None, Trial::Taken));
        };
        let is_served = |kind: &Arc<Kind>| version.is_none_or(|version| kind.serves(&version));
        let namespaced = kind.as_ref().is_none_or(|kind| kind.namespaced);
        let stated = self.stated(object, namespaced);
        let tried = match (target, kind.as_ref()) {
            (Some(target), Some(kind)) if is_served(kind) => self.dry_run(&target, &stated).await,
            _ => Err(Refusal::Prevented(match &kind {
                Some(_) => "the cluster does not serve it in this API version".to_owned(),
                None => not_served(&reference.group_kind()),
            })),
        };
        let refusal = match tried {
            Ok(value) => return Ok(preview(Some(value), Trial::Taken)),
            Err(Refusal::Immutable(_)) if is_made_anew(object) => {
                return Ok(preview(Some(stated), Trial::Anew));
            }
            Err(refusal) => refusal,
        };
        let unavailable = matches!(refusal, Refusal::Unavailable { .. });
        let place = Some(&object.place);
        let error = super::apply::error(&self.place.name, &reference, place, refusal);
        if unavailable {
            return Err(error);
        }
        let first = brought.brought_for(object);
        let trial = match first.is_empty() {
            true => Trial::Refused(error.to_string()),
            false => Trial::Untried(first),
        };
        Ok(preview(Some(stated), trial))
    }

    /// The object as it would be sent.
    fn stated(&self, object: &Object, namespaced: bool) -> Value {
        let mark = Mark {
            application: self.unit.application.clone(),
            environment: self.unit.environment.clone(),
            hash: object.hash(),
            commit: CommitId(ObjectId::null(gix::hash::Kind::Sha1)),
        };
        marks::dressed(object, namespaced, &mark, self.set)
    }

    async fn dry_run(&self, target: &Target, stated: &Value) -> Result<Value, Refusal> {
        let patch = Patch {
            manager: MANAGER,
            dry_run: true,
            force: true,
            view: View::Whole,
        };
        let body = stated.to_string().into_bytes();
        let reply = self.sender.apply(target, patch, body).await?;
        reply.value()
    }

    fn error(&self, reference: &ObjectRef, refusal: Refusal) -> ClusterError {
        super::apply::error(&self.place.name, reference, None, refusal)
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
