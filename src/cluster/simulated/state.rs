//! What a simulated cluster keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::UnitScope;
use super::temper::Contest;
use crate::manifest::Object;
use crate::model::{
    ApplicationName, CommitId, Health, Identity, ImageReference, ObjectRef, Simulated,
};
use crate::plan::{Change, Drifted, LiveObject, Mark};

/// How often somebody may change an object back before it is left alone for a while, and for how long.
const CONTESTED_AFTER: u32 = 3;
const REST: Duration = Duration::from_secs(300);

#[derive(Default, Serialize, Deserialize)]
pub(super) struct State {
    serial: u64,
    pub(super) objects: BTreeMap<String, Stored>,
    /// How many objects were ever written or deleted: what an idle round must not raise.
    pub(super) writes: u64,
    /// How often something was to be applied.
    #[serde(default)]
    pub(super) attempts: u64,
    /// Why a person holds the environment.
    #[serde(default)]
    pub(super) brake: Option<String>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Stored {
    group: String,
    kind: String,
    namespace: Option<String>,
    name: String,
    pub(super) uid: String,
    pub(super) version: u64,
    pub(super) applied_at: Timestamp,
    images: Vec<String>,
    pub(super) mark: Option<StoredMark>,
    engine: Option<String>,
    #[serde(default)]
    service_type: Option<String>,
    /// Whether it runs nothing: scaled to zero.
    #[serde(default)]
    asleep: bool,
    #[serde(default)]
    kept: Option<String>,
    #[serde(default)]
    drift: Option<StoredDrift>,
    /// What was applied, as JSON; `None`: somebody else put it there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content: Option<Arc<str>>,
}

#[derive(Clone, Serialize, Deserialize)]
struct StoredDrift {
    field: String,
    by: String,
    rounds: u32,
    rest_until: Option<Timestamp>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct StoredMark {
    pub(super) application: String,
    pub(super) environment: String,
    hash: String,
    commit: String,
}

impl State {
    /// The applications with such an object.
    pub(super) fn applications(
        &self,
        is_such: impl Fn(&Stored) -> bool,
    ) -> BTreeSet<ApplicationName> {
        let such = self.objects.values().filter(|stored| is_such(stored));
        such.filter_map(|stored| stored.mark.as_ref()?.application.parse().ok())
            .collect()
    }

    pub(super) fn put(
        &mut self,
        unit: &UnitScope,
        commit: CommitId,
        change: &Change,
        object: &Object,
        now: Timestamp,
    ) {
        self.serial += 1;
        self.writes += 1;
        let mut stored = Stored::new(&object.reference, self.serial, now);
        let value = object.value();
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
        let images = object.images.iter();
        stored.images = images.map(|image| image.image.text.clone()).collect();
        stored.service_type = text("/spec/type").map(str::to_owned);
        stored.asleep = value.pointer("/spec/replicas").and_then(Value::as_u64) == Some(0);
        stored.content = Some(object.shared_json());
        stored.mark = Some(StoredMark {
            application: unit.application.to_string(),
            environment: unit.environment.to_string(),
            hash: change.hash.to_string(),
            commit: commit.to_string(),
        });
        let key = object.reference.to_string();
        if let Some(before) = self.objects.get(&key).filter(|_| !change.anew) {
            stored.uid.clone_from(&before.uid);
        }
        self.objects.insert(key, stored);
    }

    /// Puts an object there that carries no mark of ours.
    pub(super) fn put_foreign(
        &mut self,
        reference: &ObjectRef,
        engine: Option<&str>,
        now: Timestamp,
    ) {
        self.serial += 1;
        let mut stored = Stored::new(reference, self.serial, now);
        stored.engine = engine.map(str::to_owned);
        self.objects.insert(reference.to_string(), stored);
    }

    /// Somebody changes a field, the so-manieth time in a row.
    pub(super) fn drift(&mut self, reference: &ObjectRef, changed: &Contest, now: Timestamp) {
        self.serial += 1;
        let serial = self.serial;
        let rests = changed.rounds >= CONTESTED_AFTER;
        if let Some(stored) = self.objects.get_mut(&reference.to_string()) {
            stored.version = serial;
            stored.drift = Some(StoredDrift {
                field: changed.field.clone(),
                by: changed.by.clone(),
                rounds: changed.rounds,
                rest_until: rests.then(|| now.checked_add(REST).unwrap_or(Timestamp::MAX)),
            });
        }
    }

    /// Says why an object is not to be deleted.
    pub(super) fn keep(&mut self, reference: &ObjectRef, why: &str) {
        if let Some(stored) = self.objects.get_mut(&reference.to_string()) {
            stored.kept = Some(why.to_owned());
        }
    }
}

impl Stored {
    fn new(reference: &ObjectRef, serial: u64, now: Timestamp) -> Self {
        Self {
            group: reference.group.clone(),
            kind: reference.kind.clone(),
            namespace: reference.namespace.clone(),
            name: reference.name.clone(),
            uid: format!("uid-{serial}"),
            version: serial,
            applied_at: now,
            images: Vec::new(),
            mark: None,
            engine: None,
            service_type: None,
            asleep: false,
            kept: None,
            drift: None,
            content: None,
        }
    }

    pub(super) fn is_of(&self, unit: &UnitScope) -> bool {
        self.mark.as_ref().is_some_and(|mark| {
            mark.application == unit.application.as_str()
                && mark.environment == unit.environment.as_str()
        })
    }

    /// The object; of one that somebody else put there, no more than which it is.
    pub(super) fn value(&self) -> Value {
        let applied = self.content.as_deref();
        let applied = applied.and_then(|content| serde_json::from_str(content).ok());
        applied.unwrap_or_else(|| {
            json!({
                "kind": self.kind,
                "metadata": { "name": self.name, "namespace": self.namespace },
            })
        })
    }

    pub(super) fn reference(&self) -> ObjectRef {
        ObjectRef::from(Identity {
            group: self.group.clone(),
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        })
    }

    /// Only what runs pods takes time, and only images can be told to fail.
    pub(super) fn is_workload(&self) -> bool {
        !self.images.is_empty()
    }

    pub(super) fn live(&self, behaviour: &Simulated, now: Timestamp) -> LiveObject {
        LiveObject {
            uid: self.uid.clone(),
            version: self.version.to_string(),
            mark: self.mark.as_ref().and_then(StoredMark::read),
            engine: self.engine.clone(),
            managers: match &self.mark {
                Some(_) => Vec::new(),
                None => vec![self.engine.clone().unwrap_or_else(|| "kubectl".to_owned())],
            },
            service_type: self.service_type.clone(),
            health: self.health(behaviour, now),
            applied_at: self.applied_at,
            drift: self.drift.as_ref().map(|drift| Drifted {
                fields: vec![drift.field.clone()],
                by: Some(drift.by.clone()),
                rounds: drift.rounds,
                rest_until: drift.rest_until,
            }),
            kept: self.kept.clone(),
            claimed: None,
        }
    }

    fn health(&self, behaviour: &Simulated, now: Timestamp) -> Health {
        let told = |images: &[String]| {
            let is_told = |image: &&String| images.iter().any(|told| is(image, told));
            self.images.iter().find(is_told)
        };
        if !self.is_workload() {
            return Health::Current;
        }
        if self.asleep {
            return Health::NotExercised(format!("{}: it wants no replicas", self.reference()));
        }
        if let Some(image) = told(&behaviour.hang) {
            return Health::InProgress(format!(
                "{}: {image} does not become ready",
                self.reference()
            ));
        }
        let ready_at = self
            .applied_at
            .checked_add(behaviour.ready_after)
            .unwrap_or(Timestamp::MAX);
        if now < ready_at {
            let waits = match self.kind.as_str() {
                "Job" => "it runs",
                _ => "0 of 1 ready",
            };
            return Health::InProgress(format!("{}: {waits}", self.reference()));
        }
        match told(&behaviour.fail) {
            Some(_) if self.kind == "Job" => Health::Failed(format!(
                "{}: BackoffLimitExceeded; its last line: the command ended with 1",
                self.reference()
            )),
            Some(image) => {
                Health::Failed(format!("{}: CrashLoopBackOff of {image}", self.reference()))
            }
            None => Health::Current,
        }
    }
}

impl StoredMark {
    fn read(&self) -> Option<Mark> {
        Some(Mark {
            application: self.application.parse().ok()?,
            environment: self.environment.parse().ok()?,
            hash: self.hash.parse().ok()?,
            commit: self.commit.parse().ok()?,
        })
    }
}

/// Whether this is the image's digest or tag.
pub(super) fn is(image: &str, told: &str) -> bool {
    let Ok(reference) = image.parse::<ImageReference>() else {
        return false;
    };
    let digest = reference.digest.map(|digest| digest.to_string());
    digest.as_deref() == Some(told) || reference.tag.as_deref() == Some(told)
}
