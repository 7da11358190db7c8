//! Objects that can only be changed by being deleted and made anew.
//!
//! Owns which objects that may happen to. Only the very object that was judged is deleted, with what it
//! owns before it; the new one is made once it is gone. Killed in between, the next round finds it
//! missing and makes it.

use std::time::Duration;

use tokio::time::Instant;

use super::Hand;
use super::item::Item;
use crate::cluster::kubernetes::refusal::Refusal;
use crate::cluster::kubernetes::request::{Deletion, View};
use crate::manifest::{Object, RECREATE};
use crate::model::{Identity, ObjectRef};

/// Kinds that hold data or take much else along: here the annotation's value must be the kind's own
/// name, so that no patch over many objects says it by the way.
const GRAVE: [(&str, &str); 5] = [
    ("Namespace", ""),
    ("PersistentVolume", ""),
    ("PersistentVolumeClaim", ""),
    ("StatefulSet", "apps"),
    ("CustomResourceDefinition", "apiextensions.k8s.io"),
];

/// How long an object may take to go: a pod is given 30 s to end.
const GOING: Duration = Duration::from_secs(40);

/// How soon and how seldom it is looked after.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

impl Item<'_> {
    /// Whether it may be deleted and made anew: the plan or its manifest says so.
    pub(super) fn may_be_made_anew(&self) -> bool {
        let head = self.head();
        let allowed = head.as_ref().and_then(|head| head.annotation(RECREATE));
        self.anew || allows(&self.reference.kind, &self.reference.group, allowed)
    }
}

/// Whether an object is made anew where it cannot be changed: it says so, or runs once for each desired
/// state.
pub(in crate::cluster::kubernetes) fn is_made_anew(object: &Object) -> bool {
    let value = object.value();
    let allowed = value["metadata"]["annotations"][RECREATE].as_str();
    let Identity { kind, group, .. } = &*object.reference;
    object.run.is_some() || allows(kind, group, allowed)
}

/// What to write on an object so that it may be made anew.
pub(super) fn permission(object: &ObjectRef) -> String {
    let Identity { kind, group, .. } = &**object;
    let value = match GRAVE.contains(&(kind, group)) {
        true => kind,
        false => "true",
    };
    format!("`{RECREATE}: \"{value}\"`")
}

fn allows(kind: &str, group: &str, value: Option<&str>) -> bool {
    match GRAVE.contains(&(kind, group)) {
        true => value == Some(kind),
        false => value == Some("true") || value == Some(kind),
    }
}

impl Hand<'_> {
    /// Deletes the object and makes it anew.
    pub(super) async fn make_anew(&self, item: &mut Item<'_>) -> Result<(), Refusal> {
        let uid = item.uid.clone().ok_or(Refusal::Stale)?;
        let deletion = Deletion {
            uid: &uid,
            version: item.version.as_deref(),
            propagation: "Foreground",
        };
        if !self.sender.delete(item.target()?, deletion).await? {
            self.gone(item, &uid).await?;
        }
        self.context.sight.deleted(&item.reference, &uid);
        (item.version, item.uid) = (None, None);
        self.send(item, false).await
    }

    /// Waits until the object is gone.
    async fn gone(&self, item: &Item<'_>, uid: &str) -> Result<(), Refusal> {
        let (mut pause, longest) = PAUSES;
        let end = Instant::now() + GOING;
        loop {
            let Some(found) = self.sender.get(item.target()?, View::Metadata).await? else {
                return Ok(());
            };
            if found["metadata"]["uid"] != uid {
                return Err(Refusal::Replaced);
            }
            if Instant::now() >= end {
                let finalizers = &found["metadata"]["finalizers"];
                return Err(Refusal::Prevented(format!(
                    "it is being made anew, and its old self is not gone after {} s: see what holds it back (finalizers {finalizers})",
                    GOING.as_secs()
                )));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_data_is_made_anew_only_by_its_own_name() {
        for (kind, group, value, expected) in [
            ("Deployment", "apps", None, false),
            ("Deployment", "apps", Some("true"), true),
            ("Deployment", "apps", Some("Deployment"), true),
            ("Deployment", "apps", Some("yes"), false),
            ("StatefulSet", "apps", Some("true"), false),
            ("StatefulSet", "apps", Some("StatefulSet"), true),
            ("StatefulSet", "example.com", Some("true"), true),
            ("PersistentVolumeClaim", "", Some("true"), false),
            ("Namespace", "", Some("PersistentVolumeClaim"), false),
            (
                "CustomResourceDefinition",
                "apiextensions.k8s.io",
                Some("true"),
                false,
            ),
        ] {
            assert_eq!(allows(kind, group, value), expected, "{kind} {value:?}");
        }
    }
}
