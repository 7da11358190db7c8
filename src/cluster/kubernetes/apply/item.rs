//! One object of an apply: what it asks for, what it was planned on, and what of it is sent.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::dry_run::Ready;
use super::stages::{self, Stage};
use super::{Allows, Hand, Seen, Sight};
use crate::cluster::kubernetes::kinds::Kind;
use crate::cluster::kubernetes::marks;
use crate::cluster::kubernetes::refusal::Refusal;
use crate::cluster::kubernetes::request::{NEVER, Target};
use crate::manifest::Object;
use crate::model::{Digest, Identity, ObjectRef};
use crate::plan::{Change, Mark};

/// See the module.
pub(super) struct Item<'a> {
    pub(super) object: &'a Object,
    /// Whether it is made anew: what is there of it is deleted first.
    pub(super) anew: bool,
    /// Whether a later step applies it: here it is only judged.
    pub(super) later: bool,
    /// Which object, as the cluster has it: what lives in no namespace has none.
    pub(super) reference: ObjectRef,
    /// Its stage, and its place in it.
    pub(super) place: (Stage, usize),
    /// The stage after which the server can judge it; `None`: at once.
    pub(super) needs: Option<Stage>,
    /// The live version that it goes onto; `None`: there must be none.
    pub(super) version: Option<String>,
    /// The live object's id, where that is known.
    pub(super) uid: Option<String>,
    /// The live object as it was when the plan was made, where that is known.
    pub(super) seen: Option<Seen>,
    /// How it is applied, once the server has judged it.
    pub(super) ready: Option<Ready>,
    hash: Digest,
    target: Option<Target>,
}

/// What of an object decides how it is applied.
#[derive(Deserialize)]
pub(super) struct Head<'a> {
    #[serde(rename = "apiVersion", borrow)]
    api_version: Cow<'a, str>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Deserialize, Default)]
struct Metadata {
    annotations: Option<BTreeMap<String, Value>>,
}

impl Head<'_> {
    /// An annotation, if it is text.
    pub(super) fn annotation(&self, name: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(name)?.as_str()
    }
}

impl<'a> Item<'a> {
    /// An object that is to be applied, now or by a later step.
    pub(super) fn new(object: &'a Object, change: &Change, later: bool) -> Self {
        Self {
            object,
            anew: change.anew,
            later,
            hash: change.hash,
            reference: object.reference.clone(),
            place: stages::place(&object.reference),
            needs: None,
            version: change.version.clone(),
            uid: None,
            seen: None,
            ready: None,
            target: None,
        }
    }

    /// What of the object decides how it is applied.
    pub(super) fn head(&self) -> Option<Head<'a>> {
        serde_json::from_str(self.object.json()).ok()
    }

    /// Whether it is this namespace, which is not there yet.
    pub(super) fn is_new_namespace(&self, name: &str) -> bool {
        let Identity { kind, group, .. } = &*self.reference;
        let is_namespace = kind == "Namespace" && group.is_empty();
        is_namespace && self.reference.name == name && self.version.is_none()
    }

    /// Takes what the cluster says of its kind, and what was seen of it when the plan was made.
    ///
    /// # Errors
    /// The cluster does not serve it in this version, or the unit may not hold it where it lives.
    pub(super) fn settle(
        &mut self,
        kind: &Arc<Kind>,
        sight: &dyn Sight,
        allows: Allows<'_>,
    ) -> Result<(), Refusal> {
        let api_version = self.head().map(|head| head.api_version.into_owned());
        let api_version = api_version.unwrap_or_default();
        let version = api_version.rsplit('/').next().unwrap_or_default();
        if !kind.serves(version) {
            return Err(Refusal::Refused(self.served_as(&api_version, kind)));
        }
        if !kind.namespaced {
            self.reference.namespace = None;
        }
        allows(&self.reference).map_err(Refusal::Refused)?;
        let target = Target::new(kind, Some(version), &self.reference);
        self.target = Some(target.discreet(self.object.is_secret()));
        if let Some(planned) = &self.version {
            let seen = sight.seen(&self.reference);
            self.seen = seen.filter(|seen| seen.version == *planned);
            self.uid = self.seen.as_ref().map(|seen| seen.uid.clone());
        }
        Ok(())
    }

    fn served_as(&self, api_version: &str, kind: &Kind) -> String {
        let served = kind
            .versions
            .iter()
            .map(|version| match kind.group.as_str() {
                "" => format!("`{version}`"),
                group => format!("`{group}/{version}`"),
            });
        format!(
            "the cluster does not serve `{api_version}` of {}: write apiVersion {}",
            self.reference.group_kind(),
            served.collect::<Vec<_>>().join(" or ")
        )
    }

    /// Where it lives, once its kind is known.
    pub(super) fn target(&self) -> Result<&Target, Refusal> {
        self.target.as_ref().ok_or(Refusal::Missing)
    }

    /// The object as it is sent: marked, and bound to what it was planned on.
    pub(super) fn body(&self, hand: &Hand<'_>) -> Result<Vec<u8>, Refusal> {
        let namespaced = self.target()?.kind().namespaced;
        let set = hand.context.set.set();
        let mut value = marks::dressed(self.object, namespaced, &self.mark(hand), set);
        let metadata = &mut value["metadata"];
        metadata["resourceVersion"] = self.version.as_deref().unwrap_or(NEVER).into();
        if let Some(uid) = &self.uid {
            metadata["uid"] = uid.as_str().into();
        }
        Ok(value.to_string().into_bytes())
    }

    /// The mark it gets. Where only what others made of it is set back, it keeps the commit where it
    /// last changed.
    fn mark(&self, hand: &Hand<'_>) -> Mark {
        let hash = self.hash;
        let scope = hand.scope;
        let before = self.seen.as_ref().and_then(|seen| seen.mark.as_ref());
        let same = before.filter(|mark| {
            mark.hash == hash
                && mark.application == scope.application
                && mark.environment == scope.environment
        });
        Mark {
            application: scope.application.clone(),
            environment: scope.environment.clone(),
            hash,
            commit: same.map_or(hand.commit, |mark| mark.commit),
        }
    }
}
