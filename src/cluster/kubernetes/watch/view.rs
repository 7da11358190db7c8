//! A unit's objects out of the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::facts::{Facts, Finding, Key, OwnedState};
use super::store::Store;
use crate::cluster::UnitScope;
use crate::cluster::kubernetes::kinds::Kind;
use crate::cluster::kubernetes::logs::JobLog;
use crate::manifest::{Object, Rendered};
use crate::model::{Health, ObjectRef};
use crate::plan::LiveObject;

/// What the store holds of a unit.
#[derive(Debug, Default)]
pub(in crate::cluster::kubernetes) struct View {
    /// The objects, as the unit's manifests refer to them.
    pub(in crate::cluster::kubernetes) objects: BTreeMap<ObjectRef, LiveObject>,
    /// Objects that the unit asks for and that are not known: they are not there, or not ours.
    pub(in crate::cluster::kubernetes) unknown: Vec<Arc<Object>>,
    /// Objects that somebody touched, about which the server was not asked yet.
    pub(in crate::cluster::kubernetes) suspects: Vec<Suspect>,
    /// Jobs of the unit that failed, and of which nobody asked yet what they wrote.
    pub(in crate::cluster::kubernetes) unread: Vec<Unread>,
    /// Ours, and not asked for by this unit.
    pub(in crate::cluster::kubernetes) surplus: Vec<ObjectRef>,
    /// Whether the unit waits for something of it.
    pub(in crate::cluster::kubernetes) in_progress: bool,
}

/// An object that may differ from what was applied.
#[derive(Debug, Clone)]
pub(in crate::cluster::kubernetes) struct Suspect {
    pub(in crate::cluster::kubernetes) kind: usize,
    pub(in crate::cluster::kubernetes) key: Key,
    pub(in crate::cluster::kubernetes) object: Arc<Object>,
}

/// A Job that failed, and its log.
#[derive(Debug, Clone)]
pub(in crate::cluster::kubernetes) struct Unread {
    pub(super) kind: usize,
    pub(super) key: Key,
    pub(in crate::cluster::kubernetes) log: JobLog,
}

/// The object that a desired state has at a place, if it has one there. What lives in no namespace is
/// found whatever its manifest says of one.
pub(super) fn asked_for<'a>(
    desired: &'a Rendered,
    kind: &Kind,
    key: &Key,
) -> Option<&'a Arc<Object>> {
    let objects = &desired.objects;
    let before = |object: &Arc<Object>| {
        let of = &object.reference;
        (of.group.as_str(), of.kind.as_str()) < (kind.group.as_str(), kind.kind.as_str())
    };
    let begin = objects.partition_point(before);
    let of_kind = objects[begin..].iter().take_while(|object| {
        object.reference.group == kind.group && object.reference.kind == kind.kind
    });
    let mut same = of_kind.filter(|object| {
        let of = &object.reference;
        let namespace = of.namespace.as_deref().unwrap_or_default();
        *of.name == *key.name && (!kind.namespaced || *namespace == *key.namespace)
    });
    same.next()
}

impl Store {
    /// The unit's objects.
    pub(super) fn view(&mut self, unit: &UnitScope, desired: Option<&Arc<Rendered>>) -> View {
        let mut view = View::default();
        let mut ours = 0;
        for object in desired.iter().flat_map(|desired| &desired.objects) {
            let Some((kind, key)) = self.place(&object.reference) else {
                view.unknown.push(object.clone());
                continue;
            };
            self.compare_late(kind, &key);
            let Some(facts) = self.facts(kind, &key) else {
                view.unknown.push(object.clone());
                continue;
            };
            if let Some(mark) = &facts.mark
                && *mark.application == unit.application
            {
                ours += 1;
                view.unread.extend(facts.unread().map(|log| Unread {
                    kind,
                    key: key.clone(),
                    log: log.clone(),
                }));
            }
            // What is applied anew anyway is not compared.
            let same = facts
                .mark
                .as_ref()
                .is_some_and(|mark| mark.hash == object.hash());
            if same && is_open(facts) {
                view.suspects.push(Suspect {
                    kind,
                    key: key.clone(),
                    object: object.clone(),
                });
            }
            let mut found = live(facts);
            found.drift.take_if(|_| !same);
            view.objects.insert(object.reference.clone(), found);
        }
        // Where all that carries its mark was asked for, there is no more to look for.
        let marked = self.counts.get(&unit.application).copied();
        if marked.unwrap_or_default() > ours {
            self.add_surplus(unit, desired, &mut view);
        }
        let mut parts = view.objects.values();
        view.in_progress = parts.any(|it| matches!(it.health, Health::InProgress(_)));
        view
    }

    fn add_surplus(&self, unit: &UnitScope, desired: Option<&Arc<Rendered>>, view: &mut View) {
        for (index, watched) in self.kinds.iter().enumerate() {
            for (key, facts) in &watched.objects {
                let mark = facts.mark.as_ref();
                let is_ours = mark.is_some_and(|mark| *mark.application == unit.application);
                let asked =
                    |desired: &Arc<Rendered>| asked_for(desired, &watched.kind, key).is_some();
                if is_ours && !desired.is_some_and(asked) {
                    let reference = self.reference(index, key);
                    view.surplus.push(reference.clone());
                    view.objects.insert(reference, live(facts));
                }
            }
        }
    }
}

fn is_open(facts: &Facts) -> bool {
    match &facts.owned.state {
        OwnedState::Touched(suspicion) => suspicion.finding == Finding::Open,
        _ => false,
    }
}

fn live(facts: &Facts) -> LiveObject {
    let rare = facts.rare.as_deref();
    LiveObject {
        uid: facts.uid.to_string(),
        version: facts.version.to_string(),
        mark: facts.mark.as_ref().map(|mark| mark.mark()),
        engine: None,
        managers: rare.map(|rare| rare.managers.clone()).unwrap_or_default(),
        service_type: rare.and_then(|rare| rare.service_type.clone()),
        health: facts.told_health(),
        applied_at: facts.applied_at,
        drift: facts.drift().cloned(),
        kept: facts.kept().map(str::to_owned),
        claimed: None,
    }
}
