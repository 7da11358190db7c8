//! Pods and revisions, reduced, and which of them belong to a workload as it is now.

use jiff::Timestamp;
use serde_json::Value;

use super::super::seen::{conditions, text_at};
use super::super::trouble::PodTrouble;
use super::events::Warning;
use super::{Around, workload};

/// All that is kept of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodFacts {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its uid.
    pub uid: Box<str>,
    /// The uid of the object that controls it: a ReplicaSet, a Job, …
    pub owner: Option<Box<str>>,
    pub(super) created: Option<Timestamp>,
    /// The revision it was made from, where its owner's kind says so.
    revision: Option<Box<str>>,
    /// It is being deleted, or has ended.
    is_gone: bool,
    has_ended: bool,
    pub(super) trouble: Option<Box<PodTrouble>>,
}

impl PodFacts {
    /// Reduces a pod.
    pub fn of(pod: &Value) -> Self {
        let text = |pointer| text_at(pod, pointer).unwrap_or_default();
        let has_ended = matches!(text("/status/phase"), "Failed" | "Succeeded");
        Self {
            namespace: text("/metadata/namespace").into(),
            uid: text("/metadata/uid").into(),
            owner: controller(pod).map(Into::into),
            created: text("/metadata/creationTimestamp").parse().ok(),
            revision: text_at(pod, "/metadata/labels/controller-revision-hash").map(Into::into),
            is_gone: text_at(pod, "/metadata/deletionTimestamp").is_some(),
            has_ended,
            trouble: PodTrouble::of(pod).map(Box::new),
        }
    }
}

/// All that is kept of a ReplicaSet or a ControllerRevision: which revision of which workload it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisionFacts {
    /// The uid of the Deployment or DaemonSet.
    pub owner: Box<str>,
    /// The newest has the highest number; an old one that is taken again gets a new number.
    number: i64,
    /// What its pods name: the ReplicaSet's uid, which is their [`PodFacts::owner`], or the hash.
    pub id: Box<str>,
    /// Why it cannot make pods.
    refusal: Option<Box<Warning>>,
}

impl RevisionFacts {
    /// Reduces a ReplicaSet; `None` where no Deployment controls it.
    pub fn of_replica_set(replica_set: &Value) -> Option<Self> {
        let number = text_at(replica_set, REVISION)?.parse().ok()?;
        let list = replica_set.pointer("/status/conditions");
        let list = list
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        let refusal = conditions(list)
            .find(|it| it.kind == "ReplicaFailure" && it.is("True") && it.reason == "FailedCreate");
        let refusal = refusal.and_then(|it| {
            let warning = Warning::standing(it.reason, &it.message(), it.since?);
            Some(Box::new(warning))
        });
        Some(Self {
            owner: controller(replica_set)?.into(),
            number,
            id: text_at(replica_set, "/metadata/uid")?.into(),
            refusal,
        })
    }

    /// Reduces a ControllerRevision; `None` where nothing controls it.
    pub fn of_controller_revision(revision: &Value) -> Option<Self> {
        Some(Self {
            owner: controller(revision)?.into(),
            number: revision.get("revision").and_then(Value::as_i64)?,
            id: text_at(revision, "/metadata/labels/controller-revision-hash")?.into(),
            refusal: None,
        })
    }
}

/// Where the Deployment controller writes a revision's number, on Deployments and ReplicaSets.
const REVISION: &str = "/metadata/annotations/deployment.kubernetes.io~1revision";

/// A workload's pods.
#[derive(Debug, Default)]
pub(super) struct Mine<'a> {
    pub(super) current: Vec<&'a PodFacts>,
    /// Those of other revisions, where a rollout waits for them.
    pub(super) former: Vec<&'a PodFacts>,
    /// Why the current revision cannot make more.
    pub(super) refusal: Option<Warning>,
}

/// The pods of a workload's current revision. Where the revision is not known (yet), there are none.
pub(super) fn pods_of<'a>(object: &Value, uid: &str, around: &Around<'a>) -> Mine<'a> {
    let mut mine = Mine::default();
    let Some(kind) = workload(object).filter(|_| !uid.is_empty()) else {
        return mine;
    };
    let owned = |owner: &str| {
        let owner: Box<str> = owner.into();
        let pods = around.pods.iter().copied();
        pods.filter(move |pod| !pod.is_gone && pod.owner.as_ref() == Some(&owner))
    };
    let is_alive = |pod: &&PodFacts| !pod.has_ended;
    match kind {
        "Deployment" => {
            let number = text_at(object, REVISION).and_then(|number| number.parse().ok());
            let current = revisions(uid, around).find(|it| Some(it.number) == number);
            if let Some(current) = current {
                mine.current = owned(&current.id).filter(is_alive).collect();
                mine.refusal = current.refusal.as_deref().cloned();
            }
        }
        "StatefulSet" => {
            let hash = text_at(object, "/status/updateRevision");
            (mine.current, mine.former) = owned(uid)
                .filter(is_alive)
                .partition(|pod| hash.is_some() && pod.revision.as_deref() == hash);
        }
        "DaemonSet" => {
            let newest = revisions(uid, around).max_by_key(|it| it.number);
            let hash = newest.map(|it| it.id.as_ref());
            mine.current = owned(uid)
                .filter(is_alive)
                .filter(|pod| hash.is_some() && pod.revision.as_deref() == hash)
                .collect();
        }
        // Each of a job's tries is a pod, and those that ended tell why.
        "Job" => mine.current = owned(uid).collect(),
        "Pod" => {
            let pods = around.pods.iter().copied();
            mine.current = pods.filter(|it| *it.uid == *uid).collect();
        }
        _ => mine.current = owned(uid).filter(is_alive).collect(),
    }
    mine
}

fn revisions<'a>(owner: &str, around: &Around<'a>) -> impl Iterator<Item = &'a RevisionFacts> {
    let revisions = around.revisions.iter().copied();
    revisions.filter(move |it| *it.owner == *owner)
}

/// The uid of the object that controls it.
fn controller(object: &Value) -> Option<&str> {
    let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
    let is_controller = |it: &&Value| it.get("controller") == Some(&Value::Bool(true));
    text_at(owners.iter().find(is_controller)?, "/uid")
}
