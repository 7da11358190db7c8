//! What a simulated cluster keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::UnitScope;
use super::journal::Line;
use super::temper::Contest;
use super::written::Counts;
use crate::clock;
use crate::manifest::{Object, ObjectImage};
use crate::model::{ApplicationName, CommitId, Health, ImageReference, ObjectRef, Simulated};
use crate::plan::{Change, Drifted, LiveObject, Mark};

/// How often somebody may change an object back before it is left alone for a while, and for how long.
const CONTESTED_AFTER: u32 = 3;
const REST: Duration = Duration::from_secs(300);

/// See the module.
#[derive(Default)]
pub(super) struct State {
    pub(super) counts: Counts,
    pub(super) objects: BTreeMap<ObjectRef, Stored>,
    /// Those that carry an application's mark.
    marked: BTreeMap<ApplicationName, BTreeSet<ObjectRef>>,
    /// Objects that changed since they were last written.
    pub(super) unwritten: BTreeSet<ObjectRef>,
}

/// An object.
#[derive(Clone)]
pub(super) struct Stored {
    /// The serial with which it came to be.
    pub(super) born: u64,
    pub(super) version: u64,
    pub(super) applied_at: Timestamp,
    pub(super) images: Vec<Arc<ObjectImage>>,
    pub(super) mark: Option<Mark>,
    pub(super) oddity: Option<Box<Oddity>>,
    pub(super) drift: Option<Box<StoredDrift>>,
    pub(super) content: Content,
}

/// What few objects have.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Oddity {
    engine: Option<String>,
    service_type: Option<String>,
    /// Whether it runs nothing: scaled to zero.
    asleep: bool,
    kept: Option<String>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct StoredDrift {
    field: String,
    by: String,
    rounds: u32,
    rest_until: Option<Timestamp>,
}

/// What was applied, as JSON.
#[derive(Clone)]
pub(super) enum Content {
    /// Somebody else put the object there.
    Nothing,
    Here(Arc<str>),
    /// In the cluster's file.
    Written(Line),
}

impl State {
    pub(super) fn new(counts: Counts, objects: BTreeMap<ObjectRef, Stored>) -> Self {
        let mut state = Self {
            counts,
            objects,
            ..Self::default()
        };
        for (reference, stored) in &state.objects {
            if let Some(mark) = &stored.mark {
                let of = state.marked.entry(mark.application.clone()).or_default();
                of.insert(reference.clone());
            }
        }
        state
    }

    /// The applications with such an object.
    pub(super) fn applications(
        &self,
        is_such: impl Fn(&Stored) -> bool,
    ) -> BTreeSet<ApplicationName> {
        let such = self.objects.values().filter(|stored| is_such(stored));
        such.filter_map(|stored| Some(stored.mark.as_ref()?.application.clone()))
            .collect()
    }

    /// The objects that carry the unit's mark.
    pub(super) fn of<'a>(
        &'a self,
        unit: &'a UnitScope,
    ) -> impl Iterator<Item = (&'a ObjectRef, &'a Stored)> {
        let marked = self.marked.get(&unit.application).into_iter().flatten();
        let marked = marked.filter_map(|reference| self.objects.get_key_value(reference));
        marked.filter(|(_, stored)| stored.is_of(unit))
    }

    pub(super) fn put(
        &mut self,
        unit: &UnitScope,
        commit: CommitId,
        change: &Change,
        object: &Object,
        now: Timestamp,
    ) {
        self.counts.writes += 1;
        let mut stored = self.born(now);
        let value = object.value();
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
        let images = object.images.iter();
        stored.images = images.map(|image| image.image.clone()).collect();
        stored.set_oddity(|oddity| {
            oddity.service_type = text("/spec/type").map(str::to_owned);
            oddity.asleep = value.pointer("/spec/replicas").and_then(Value::as_u64) == Some(0);
        });
        stored.content = Content::Here(object.shared_json());
        stored.mark = Some(Mark {
            application: unit.application.clone(),
            environment: unit.environment.clone(),
            hash: change.hash,
            commit,
        });
        let before = self.objects.get(&object.reference);
        if let Some(before) = before.filter(|_| !change.anew) {
            stored.born = before.born;
            // What others said of it stays, as with any field that is another manager's.
            let kept = before.kept();
            stored.set_oddity(|oddity| oddity.kept = kept);
        }
        self.set(&object.reference, stored);
    }

    /// Puts an object there that carries no mark of ours.
    pub(super) fn put_foreign(
        &mut self,
        reference: &ObjectRef,
        engine: Option<&str>,
        now: Timestamp,
    ) {
        let mut stored = self.born(now);
        stored.set_oddity(|oddity| oddity.engine = engine.map(str::to_owned));
        self.set(reference, stored);
    }

    /// Somebody changes a field, the so-manieth time in a row.
    pub(super) fn drift(&mut self, reference: &ObjectRef, changed: &Contest, now: Timestamp) {
        self.counts.serial += 1;
        let rests = changed.rounds >= CONTESTED_AFTER;
        if let Some(stored) = self.objects.get_mut(reference) {
            stored.version = self.counts.serial;
            stored.drift = Some(Box::new(StoredDrift {
                field: changed.field.clone(),
                by: changed.by.clone(),
                rounds: changed.rounds,
                rest_until: rests.then(|| clock::after(now, REST)),
            }));
            self.unwritten.insert(reference.clone());
        }
    }

    /// Says why an object is not to be deleted; `None`: it may be.
    pub(super) fn keep(&mut self, reference: &ObjectRef, why: Option<&str>) {
        if let Some(stored) = self.objects.get_mut(reference) {
            stored.set_oddity(|oddity| oddity.kept = why.map(str::to_owned));
            self.unwritten.insert(reference.clone());
        }
    }

    /// Takes an object away.
    pub(super) fn remove(&mut self, reference: &ObjectRef) {
        let gone = self.objects.remove(reference);
        if let Some(mark) = gone.and_then(|gone| gone.mark)
            && let Some(of) = self.marked.get_mut(&mark.application)
        {
            of.remove(reference);
        }
        self.unwritten.insert(reference.clone());
    }

    fn set(&mut self, reference: &ObjectRef, stored: Stored) {
        self.remove(reference);
        if let Some(mark) = &stored.mark {
            let of = self.marked.entry(mark.application.clone()).or_default();
            of.insert(reference.clone());
        }
        self.objects.insert(reference.clone(), stored);
    }

    /// A new object of nobody's.
    fn born(&mut self, now: Timestamp) -> Stored {
        self.counts.serial += 1;
        Stored {
            born: self.counts.serial,
            version: self.counts.serial,
            applied_at: now,
            images: Vec::new(),
            mark: None,
            oddity: None,
            drift: None,
            content: Content::Nothing,
        }
    }
}

impl Stored {
    pub(super) fn uid(&self) -> String {
        format!("uid-{}", self.born)
    }

    pub(super) fn is_of(&self, unit: &UnitScope) -> bool {
        self.mark.as_ref().is_some_and(|mark| {
            mark.application == unit.application && mark.environment == unit.environment
        })
    }

    fn set_oddity(&mut self, set: impl FnOnce(&mut Oddity)) {
        let mut oddity = self.oddity.take().unwrap_or_default();
        set(&mut oddity);
        self.oddity = Some(oddity).filter(|oddity| **oddity != Oddity::default());
    }

    pub(super) fn kept(&self) -> Option<String> {
        self.oddity.as_ref()?.kept.clone()
    }

    /// Only what runs pods takes time, and only images can be told to fail.
    pub(super) fn is_workload(&self) -> bool {
        !self.images.is_empty()
    }

    pub(super) fn live(
        &self,
        reference: &ObjectRef,
        behaviour: &Simulated,
        now: Timestamp,
    ) -> LiveObject {
        let oddity = self.oddity.as_deref();
        let engine = oddity.and_then(|oddity| oddity.engine.clone());
        LiveObject {
            uid: self.uid(),
            version: self.version.to_string(),
            mark: self.mark.clone(),
            managers: match &self.mark {
                Some(_) => Vec::new(),
                None => vec![engine.clone().unwrap_or_else(|| "kubectl".to_owned())],
            },
            engine,
            service_type: oddity.and_then(|oddity| oddity.service_type.clone()),
            health: self.health(reference, behaviour, now),
            applied_at: self.applied_at,
            drift: self.drift.as_ref().map(|drift| Drifted {
                fields: vec![drift.field.clone()],
                by: Some(drift.by.clone()),
                rounds: drift.rounds,
                rest_until: drift.rest_until,
            }),
            kept: self.kept(),
            claimed: None,
        }
    }

    fn health(&self, reference: &ObjectRef, behaviour: &Simulated, now: Timestamp) -> Health {
        let told = |told: &[String]| {
            let mut images = self.images.iter().map(|image| &image.text);
            images.find(|image| told.iter().any(|told| is(image, told)))
        };
        if !self.is_workload() {
            return Health::Current;
        }
        if self.oddity.as_ref().is_some_and(|oddity| oddity.asleep) {
            return Health::NotExercised(format!("{reference}: it wants no replicas"));
        }
        if let Some(image) = told(&behaviour.hang) {
            return Health::InProgress(format!("{reference}: {image} does not become ready"));
        }
        let ready_at = self
            .applied_at
            .checked_add(behaviour.ready_after)
            .unwrap_or(Timestamp::MAX);
        if now < ready_at {
            let waits = match reference.kind.as_str() {
                "Job" => "it runs",
                _ => "0 of 1 ready",
            };
            return Health::InProgress(format!("{reference}: {waits}"));
        }
        match told(&behaviour.fail) {
            Some(_) if reference.kind == "Job" => Health::Failed(format!(
                "{reference}: BackoffLimitExceeded; its last line: the command ended with 1"
            )),
            Some(image) => Health::Failed(format!("{reference}: CrashLoopBackOff of {image}")),
            None => Health::Current,
        }
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
