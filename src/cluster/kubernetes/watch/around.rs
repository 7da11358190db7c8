//! What tells why workloads do not become ready: their pods, revisions and events, of the namespaces
//! in which something is not settled.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::Moment;
use super::facts::{Key, Uid};
use super::store::{Store, Unsettled};
use crate::cluster::kubernetes::health::{
    Around, EventFacts, Evidence, PodFacts, RevisionFacts, evidence,
};

/// As many events of a namespace are kept: the newest.
const EVENTS_MAX: usize = 1000;

/// Kinds that make pods, or that events tell about.
const EXPLAINED: [(&str, &str); 8] = [
    ("", "PersistentVolumeClaim"),
    ("", "Pod"),
    ("", "ReplicationController"),
    ("apps", "DaemonSet"),
    ("apps", "Deployment"),
    ("apps", "ReplicaSet"),
    ("apps", "StatefulSet"),
    ("batch", "Job"),
];

/// What is known of a namespace, by uid.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    pub(super) pods: HashMap<Box<str>, PodFacts>,
    pub(super) revisions: HashMap<Box<str>, RevisionFacts>,
    /// In the order in which they came.
    pub(super) events: VecDeque<(Box<str>, EventFacts)>,
}

/// What a part of the surroundings is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Pods,
    ReplicaSets,
    ControllerRevisions,
    Events,
}

impl Part {
    pub(super) const ALL: [Self; 4] = [
        Self::Pods,
        Self::ReplicaSets,
        Self::ControllerRevisions,
        Self::Events,
    ];

    /// Its address in a namespace.
    pub(super) fn path(self, namespace: &str) -> String {
        match self {
            Self::Pods => format!("/api/v1/namespaces/{namespace}/pods"),
            Self::ReplicaSets => format!("/apis/apps/v1/namespaces/{namespace}/replicasets"),
            Self::ControllerRevisions => {
                format!("/apis/apps/v1/namespaces/{namespace}/controllerrevisions")
            }
            Self::Events => format!("/api/v1/namespaces/{namespace}/events"),
        }
    }

    /// What a role calls it.
    pub(super) fn resource(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::ReplicaSets => "replicasets.apps",
            Self::ControllerRevisions => "controllerrevisions.apps",
            Self::Events => "events",
        }
    }
}

impl Store {
    /// The evidence about an object.
    pub(super) fn evidence(&self, kind: usize, object: &Value) -> Evidence {
        let definition = self.kinds[kind].definition;
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let uid = text("/metadata/uid").unwrap_or_default();
        let namespace = text("/metadata/namespace").unwrap_or_default();
        let Some(around) = self.around.get(namespace) else {
            let around = Around {
                definition,
                ..Around::default()
            };
            return evidence(object, &around);
        };
        let revisions = around.revisions.iter();
        let revisions = revisions.filter(|(_, revision)| *revision.owner == *uid);
        let (owners, revisions): (Vec<&Box<str>>, Vec<&RevisionFacts>) = revisions.unzip();
        let is_mine = |pod: &&PodFacts| {
            *pod.uid == *uid
                || pod
                    .owner
                    .as_ref()
                    .is_some_and(|owner| **owner == *uid || owners.contains(&owner))
        };
        let pods: Vec<&PodFacts> = around.pods.values().filter(is_mine).collect();
        let is_about = |event: &&EventFacts| {
            *event.about == *uid
                || owners.contains(&&event.about)
                || pods.iter().any(|pod| pod.uid == event.about)
        };
        let events = around.events.iter().map(|(_, event)| event);
        let events: Vec<&EventFacts> = events.filter(is_about).collect();
        let around = Around {
            pods: &pods,
            revisions: &revisions,
            events: &events,
            definition,
            storage_class: None,
        };
        evidence(object, &around)
    }

    /// The namespaces in which something is not settled that pods or events may explain.
    pub(super) fn unexplained(&self) -> Vec<Arc<str>> {
        let mut namespaces: Vec<Arc<str>> = Vec::new();
        for (kind, key) in self.unsettled.keys() {
            let watched = &self.kinds[*kind].kind;
            let named = (watched.group.as_str(), watched.kind.as_str());
            if EXPLAINED.contains(&named) && !namespaces.contains(&key.namespace) {
                namespaces.push(key.namespace.clone());
            }
        }
        namespaces
    }

    /// Takes what came of a part of a namespace's surroundings; `None`: it is gone. The objects that
    /// it may explain are looked at again.
    pub(super) fn surround(
        &mut self,
        namespace: &Arc<str>,
        part: Part,
        uid: &str,
        object: Option<&Value>,
        now: Moment,
    ) {
        let around = self.around.entry(namespace.clone()).or_default();
        let mut concerns = vec![Box::from(uid)];
        match (part, object) {
            (Part::Pods, Some(pod)) => {
                let pod = PodFacts::of(pod);
                concerns.extend(pod.owner.clone());
                around.pods.insert(uid.into(), pod);
            }
            (Part::Pods, None) => {
                let gone = around.pods.remove(uid);
                concerns.extend(gone.and_then(|pod| pod.owner));
            }
            (Part::ReplicaSets | Part::ControllerRevisions, Some(revision)) => {
                let facts = match part {
                    Part::ReplicaSets => RevisionFacts::of_replica_set(revision),
                    _ => RevisionFacts::of_controller_revision(revision),
                };
                if let Some(facts) = facts {
                    concerns.push(facts.owner.clone());
                    around.revisions.insert(uid.into(), facts);
                }
            }
            (Part::ReplicaSets | Part::ControllerRevisions, None) => {
                let gone = around.revisions.remove(uid);
                concerns.extend(gone.map(|revision| revision.owner));
            }
            (Part::Events, Some(event)) => {
                if let Some(facts) = EventFacts::of(event) {
                    concerns.push(facts.about.clone());
                    let pod = around.pods.get(&facts.about);
                    concerns.extend(pod.and_then(|pod| pod.owner.clone()));
                    around.events.retain(|(known, _)| **known != *uid);
                    around.events.push_back((uid.into(), facts));
                    while around.events.len() > EVENTS_MAX {
                        around.events.pop_front();
                    }
                }
            }
            (Part::Events, None) => around.events.retain(|(known, _)| **known != *uid),
        }
        // A pod's owner may be a revision, whose owner is the workload.
        let owners: Vec<Box<str>> = concerns
            .iter()
            .filter_map(|uid| Some(around.revisions.get(uid)?.owner.clone()))
            .collect();
        concerns.extend(owners);
        self.look_again_at(namespace, &concerns, now);
    }

    /// Looks again at the namespace's objects of these uids.
    fn look_again_at(&mut self, namespace: &str, uids: &[Box<str>], now: Moment) {
        let uids: Vec<Uid> = uids.iter().map(|uid| Uid::new(uid)).collect();
        let is_meant = |((_, key), unsettled): &(&(usize, Key), &Unsettled)| {
            uids.contains(&unsettled.uid) && *key.namespace == *namespace
        };
        let meant = self.unsettled.iter().filter(is_meant);
        let meant: Vec<(usize, Key)> = meant.map(|(at, _)| at.clone()).collect();
        for (kind, key) in meant {
            self.look_again_and_tell(kind, &key, now);
        }
    }

    /// Looks again at everything whose time has come.
    pub(super) fn look_again_by_time(&mut self, now: Moment) {
        let is_due = |(_, unsettled): &(&(usize, Key), &Unsettled)| {
            let next = unsettled.next_look;
            next.is_some_and(|next| next <= now.there)
        };
        let due = self.unsettled.iter().filter(is_due);
        let due: Vec<(usize, Key)> = due.map(|(at, _)| at.clone()).collect();
        for (kind, key) in due {
            self.look_again_and_tell(kind, &key, now);
        }
    }

    fn look_again_and_tell(&mut self, kind: usize, key: &Key, now: Moment) {
        if !self.look_again(kind, key, now) {
            return;
        }
        let facts = self.facts(kind, key);
        let mark = facts.and_then(|facts| facts.mark.clone());
        if let Some(mark) = mark {
            self.changed.insert((*mark.application).clone());
        }
    }

    /// When the next object may change by time alone.
    pub(super) fn next_look(&self) -> Option<Timestamp> {
        let unsettled = self.unsettled.values();
        unsettled.filter_map(|it| it.next_look).min()
    }
}
