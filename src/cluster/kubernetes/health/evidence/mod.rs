//! What is known of an object beyond itself, reduced to what its health needs.
//!
//! Facts are made of single objects as they are read (a pod, a ReplicaSet, an event), and are all
//! that has to be kept of them; [`evidence`] puts those together that concern one object. Only pods
//! of its current revision count: what old pods do says nothing about a rollout. Of those only the
//! gravest few that are not ready are kept.

mod definition;
mod events;
mod facts;
mod written;

use jiff::Timestamp;
use serde_json::Value;

pub use definition::Definition;
pub use events::EventFacts;
pub(super) use events::Warning;
pub use facts::{PodFacts, RevisionFacts};

use super::seen::{group, text_at};
use super::trouble::PodTrouble;

/// As many troubled pods are kept: the gravest one decides, and one is told.
const PODS_MAX: usize = 3;

/// What is known of an object beyond itself. The default: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Pods of the current revision that are not ready, gravest first, of those the oldest.
    pub(super) pods: Vec<PodTrouble>,
    /// The gravest trouble in pods of other revisions, where a rollout waits for them.
    pub(super) former: Option<Box<PodTrouble>>,
    /// Why pods could not be made, if none was made since.
    pub(super) refusal: Option<Box<Warning>>,
    /// The newest other warning about the object itself since it was written.
    pub(super) warning: Option<Box<Warning>>,
    /// When its spec was last written, by the server's clock.
    pub(super) written_at: Option<Timestamp>,
    /// Whether its status was written since its spec was.
    pub(super) is_answered: bool,
    /// What is known of a custom resource's kind.
    pub(super) definition: Definition,
    /// Whether a volume claim is only bound once a pod needs it.
    pub(super) waits_for_consumer: bool,
}

/// The facts among which those about one object are looked for. More than those that concern it may
/// stand here; the fewer, the quicker.
///
/// Pods are asked for by workloads, revisions by Deployments and DaemonSets, events by all of these,
/// by Services and by volume claims; the rest of the kinds needs nothing. Where facts are missing the
/// answer comes later (by the object's own status, or not before a deadline), never wrongly.
#[derive(Debug, Clone, Copy, Default)]
pub struct Around<'a> {
    /// Pods that it controls, directly or through the revisions.
    pub pods: &'a [&'a PodFacts],
    /// ReplicaSets, for a Deployment; ControllerRevisions, for a DaemonSet.
    pub revisions: &'a [&'a RevisionFacts],
    /// Events about it and its pods.
    pub events: &'a [&'a EventFacts],
    /// What its definition says, for a custom resource.
    pub definition: Definition,
    /// The StorageClass of a volume claim.
    pub storage_class: Option<&'a Value>,
}

/// What is known of an object, from the facts around it. `object` is the object as the server shows
/// it, its managed fields included (they tell when its spec was written).
pub fn evidence(object: &Value, around: &Around<'_>) -> Evidence {
    let written_at = written::spec_at(object);
    let uid = text_at(object, "/metadata/uid").unwrap_or_default();
    let mine = facts::pods_of(object, uid, around);
    let about = events::about(uid, around.events, written_at);
    let newest_pod = mine.current.iter().filter_map(|pod| pod.created).max();
    Evidence {
        refusal: refusal(mine.refusal, about.refusal, newest_pod).map(Box::new),
        warning: about.warning.map(Box::new),
        pods: troubles(&mine.current, around.events),
        former: troubles(&mine.former, around.events)
            .into_iter()
            .next()
            .map(Box::new),
        written_at,
        is_answered: written::is_answered(object, written_at),
        definition: around.definition,
        waits_for_consumer: about.waits_for_consumer || binds_late(around.storage_class),
    }
}

/// What stands in a status is so now, and patience with it begins anew with every pod that can be
/// made; what was said in an event is over once a pod was made.
fn refusal(
    standing: Option<Warning>,
    said: Option<Warning>,
    newest_pod: Option<Timestamp>,
) -> Option<Warning> {
    if let Some(standing) = standing {
        let first = newest_pod.map_or(standing.first, |made| made.max(standing.first));
        return Some(Warning { first, ..standing });
    }
    said.filter(|said| newest_pod.is_none_or(|made| made <= said.last))
}

fn troubles(pods: &[&PodFacts], events: &[&EventFacts]) -> Vec<PodTrouble> {
    let mut troubled: Vec<(&PodFacts, &PodTrouble)> = pods
        .iter()
        .filter_map(|pod| Some((*pod, pod.trouble.as_deref()?)))
        .collect();
    troubled.sort_by_key(|(_, it)| (it.gravity(), it.told().is_none(), it.since, it.pod.clone()));
    troubled.truncate(PODS_MAX);
    let with_warning = troubled.into_iter().map(|(pod, trouble)| PodTrouble {
        warning: trouble
            .needs_warning()
            .then(|| events::newest_warning(&pod.uid, events))
            .flatten(),
        ..trouble.clone()
    });
    with_warning.collect()
}

fn binds_late(storage_class: Option<&Value>) -> bool {
    let mode = storage_class.and_then(|class| text_at(class, "/volumeBindingMode"));
    mode == Some("WaitForFirstConsumer")
}

/// `Deployment` and such, if the object is one of these groups' kinds.
fn workload(object: &Value) -> Option<&str> {
    let kind = text_at(object, "/kind")?;
    match (group(object), kind) {
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
        | ("batch", "Job")
        | ("", "ReplicationController" | "Pod") => Some(kind),
        _ => None,
    }
}
