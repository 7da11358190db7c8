//! An object, reduced to what is kept of it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::num::NonZeroI64;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Moment;
use super::facts::{
    Facts, Key, Log, Marked, Owned, OwnedState, Rare, Suspicion, Uid, Version, seconds,
};
use super::object::Head;
use super::store::Store;
use crate::cluster::kubernetes::compare;
use crate::cluster::kubernetes::health::{Rules, health, next_look};
use crate::cluster::kubernetes::logs::JobLog;
use crate::cluster::kubernetes::marks;
use crate::model::{Health, Identity, ObjectRef};

/// Kinds of Kubernetes' own that do what they state as soon as they are stored: they are not read
/// for their health.
const PLAIN: [(&str, &str); 8] = [
    ("", "ConfigMap"),
    ("", "Secret"),
    ("", "ServiceAccount"),
    ("networking.k8s.io", "NetworkPolicy"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io", "Role"),
    ("rbac.authorization.k8s.io", "RoleBinding"),
];

impl Store {
    pub(super) fn reduce(
        &mut self,
        kind: usize,
        head: &Head<'_>,
        text: &str,
        before: Option<&Facts>,
        now: Moment,
    ) -> Facts {
        let metadata = &head.metadata;
        let mark = self.marked(head);
        let uid = Uid::new(&metadata.uid);
        let same = before.filter(|before| before.uid == uid);
        let mut value = Lazy::new(text);
        let rules = self.rules_of(mark.as_ref());
        let (health, next_look, content) = self.assess(kind, head, &mut value, &rules, now);
        let owned = self.owned(kind, head, &mut value, mark.as_ref(), same);
        let server_time = metadata.applied().and_then(|(_, time)| time);
        let server_time = server_time.or(metadata.creation_timestamp);
        let applied = seconds(server_time);
        let applied_at = match same {
            Some(same) if same.applied == applied => same.applied_at,
            // A clock that is ahead of ours must not put off a deadline.
            _ => server_time.map_or(now.here, |time| now.here_at(time).min(now.here)),
        };
        let version = Version::new(&metadata.resource_version);
        let is_service = self.kinds[kind].kind.kind == "Service";
        let log = self.log(kind, &health, &mut value, same);
        let rare = Rare {
            next_look,
            content,
            kept: metadata.kept(),
            managers: match mark {
                Some(_) => Vec::new(),
                None => metadata.managers(),
            },
            service_type: is_service.then(|| head.service_type()).flatten(),
            log,
        };
        let steady_since = version.number();
        let mut facts = Facts::new(uid, version, applied_at, owned);
        facts.steady_since = steady_since;
        facts.generation = metadata.generation.and_then(NonZeroI64::new);
        facts.rare = (rare != Rare::default()).then(|| Box::new(rare));
        facts.mark = mark;
        facts.applied = applied;
        facts.set_health(health);
        facts
    }

    /// How the object does, when that may change by time alone, and what of it is kept for looking
    /// again.
    fn assess(
        &self,
        kind: usize,
        head: &Head<'_>,
        value: &mut Lazy<'_>,
        rules: &Rules,
        now: Moment,
    ) -> (Health, Option<Timestamp>, Option<Box<str>>) {
        let watched = &self.kinds[kind];
        let named = (watched.kind.group.as_str(), watched.kind.kind.as_str());
        let stays = head.metadata.deletion_timestamp.is_none();
        if stays && rules.is_empty() && PLAIN.contains(&named) {
            return (Health::Current, None, None);
        }
        let value = value.of(&watched.kind.api_resource(None));
        let (health, next) = self.judge(kind, value, rules, now);
        let is_kept = !is_settled(&health) || next.is_some();
        let content = is_kept.then(|| slim(value));
        (health, next, content)
    }

    /// What a Job wrote that failed; of one that was asked for before, what was answered.
    fn log(
        &self,
        kind: usize,
        health: &Health,
        value: &mut Lazy<'_>,
        same: Option<&Facts>,
    ) -> Option<Log> {
        let watched = &self.kinds[kind].kind;
        let is_job = watched.kind == "Job" && watched.group == "batch";
        if !is_job || !matches!(health, Health::Failed(_)) {
            return None;
        }
        let before = same.and_then(|same| same.rare.as_ref()?.log.clone());
        let object = value.of(&watched.api_resource(None));
        before.or_else(|| JobLog::of_failed(object).map(Log::Open))
    }

    /// The rules by which the health of an application's objects is read. Cheap to clone.
    fn rules_of(&self, mark: Option<&Marked>) -> Rules {
        let rules = mark.and_then(|mark| self.rules.get(&*mark.application));
        rules.cloned().unwrap_or_default()
    }

    /// The health of an object as it is, with what is known around it.
    pub(super) fn judge(
        &self,
        kind: usize,
        value: &Value,
        rules: &Rules,
        now: Moment,
    ) -> (Health, Option<Timestamp>) {
        let evidence = self.evidence(kind, value);
        let next = next_look(value, &evidence, rules, now.there);
        (health(value, &evidence, rules, now.there), next)
    }

    /// Looks again at an object that is kept, at this time. Gives whether its health changed.
    pub(super) fn look_again(&mut self, kind: usize, key: &Key, now: Moment) -> bool {
        let Some(facts) = self.facts(kind, key) else {
            return false;
        };
        let value = facts.content().map(serde_json::from_str);
        let Some(Ok(value)) = value else {
            return false;
        };
        let rules = self.rules_of(facts.mark.as_ref());
        let (health, next) = self.judge(kind, &value, &rules, now);
        let Some(facts) = self.kinds[kind].objects.get_mut(key) else {
            return false;
        };
        let changed = *facts.health() != health;
        let is_settled = is_settled(&health) && next.is_none();
        facts.set_health(health);
        if let Some(rare) = &mut facts.rare {
            rare.next_look = next;
            rare.content.take_if(|_| is_settled);
        }
        if changed {
            facts.steady_since = facts.version.number();
        }
        let at = (kind, key.clone());
        if is_settled {
            self.unsettled.remove(&at);
        } else if let Some(unsettled) = self.unsettled.get_mut(&at) {
            unsettled.next_look = next;
        }
        changed
    }

    /// What our apply still owns of it, compared with what was applied where that is known.
    fn owned(
        &self,
        kind: usize,
        head: &Head<'_>,
        value: &mut Lazy<'_>,
        mark: Option<&Marked>,
        before: Option<&Facts>,
    ) -> Owned {
        let Some((fields, _)) = head.metadata.applied() else {
            return Owned {
                number: 0,
                state: OwnedState::Whole,
            };
        };
        let number = hashed(fields);
        let owned = |state| Owned { number, state };
        let Some(mark) = mark else {
            return owned(OwnedState::Open(fields.into()));
        };
        let before_hash = before.and_then(|before| Some(before.mark.as_ref()?.hash));
        if let Some(before) = before
            && before.owned.number == number
            && before_hash == Some(mark.hash)
            && matches!(before.owned.state, OwnedState::Whole)
        {
            return owned(OwnedState::Whole);
        }
        let key = Key {
            namespace: (*head.metadata.namespace).into(),
            name: (*head.metadata.name).into(),
        };
        let Some(stated) = self.stated(kind, &key, mark) else {
            return owned(OwnedState::Open(fields.into()));
        };
        let Ok(fields) = serde_json::from_str(fields) else {
            return owned(OwnedState::Whole);
        };
        let live = value.of(&self.kinds[kind].kind.api_resource(None));
        let touched = compare::touched(&stated, &fields, Some(live));
        if touched.is_empty() {
            return owned(OwnedState::Whole);
        }
        let before = before.and_then(|before| match &before.owned.state {
            OwnedState::Touched(suspicion) => Some(&**suspicion),
            _ => None,
        });
        let suspicion = Suspicion::new(&touched, true, before);
        owned(OwnedState::Touched(Box::new(suspicion)))
    }

    /// Compares an object that could not be compared when it came: now its manifest is known.
    pub(super) fn compare_late(&mut self, kind: usize, key: &Key) {
        let Some(facts) = self.facts(kind, key) else {
            return;
        };
        let (OwnedState::Open(fields), Some(mark)) = (&facts.owned.state, &facts.mark) else {
            return;
        };
        let Some(stated) = self.stated(kind, key, mark) else {
            return;
        };
        let fields: Value = serde_json::from_str(fields).unwrap_or_default();
        let touched = compare::touched(&stated, &fields, None);
        let state = match touched.is_empty() {
            true => OwnedState::Whole,
            false => OwnedState::Touched(Box::new(Suspicion::new(&touched, false, None))),
        };
        if let Some(facts) = self.kinds[kind].objects.get_mut(key) {
            facts.owned.state = state;
        }
    }

    /// The object as it was sent, if what its unit asks for now is what its mark says was applied.
    pub(super) fn stated(&self, kind: usize, key: &Key, mark: &Marked) -> Option<Value> {
        if mark.environment != self.environment {
            return None;
        }
        let desired = self.desired.get(&*mark.application)?;
        let kind = &self.kinds[kind].kind;
        let object = super::view::asked_for(desired, kind, key)?;
        let same = object.hash() == mark.hash;
        same.then(|| marks::dressed(object, kind.namespaced, &mark.mark(), &self.set))
    }

    /// What people call an object of a kind.
    pub(super) fn reference(&self, kind: usize, key: &Key) -> ObjectRef {
        let kind = &self.kinds[kind].kind;
        ObjectRef::from(Identity {
            group: kind.group.clone(),
            kind: kind.kind.clone(),
            namespace: kind.namespaced.then(|| key.namespace.to_string()),
            name: key.name.to_string(),
        })
    }
}

/// Whether only the object itself tells of a change.
fn is_settled(health: &Health) -> bool {
    matches!(health, Health::Current | Health::NotExercised(_))
}

/// An object's text, read as a value once somebody needs that.
struct Lazy<'a> {
    text: &'a str,
    value: Option<Value>,
}

impl<'a> Lazy<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, value: None }
    }

    /// In a list objects do not say what they are.
    fn of(&mut self, kind: &kube::api::ApiResource) -> &Value {
        self.value.get_or_insert_with(|| {
            let mut value: Value = serde_json::from_str(self.text).unwrap_or_default();
            if value.get("kind").is_none()
                && let Some(map) = value.as_object_mut()
            {
                map.insert("apiVersion".to_owned(), json!(kind.api_version));
                map.insert("kind".to_owned(), json!(kind.kind));
            }
            value
        })
    }
}

/// The object without what its health is not read from: of who wrote which field, only when spec and
/// status were written is kept.
fn slim(value: &Value) -> Box<str> {
    let mut value = value.clone();
    let managed = value.pointer_mut("/metadata/managedFields");
    for entry in managed.and_then(Value::as_array_mut).into_iter().flatten() {
        let parts = entry["fieldsV1"].as_object();
        let parts = parts.map(|parts| parts.keys().map(|key| (key.clone(), json!({}))).collect());
        entry["fieldsV1"] = Value::Object(parts.unwrap_or_default());
    }
    if let Some(map) = value
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    {
        map.shift_remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    value.to_string().into()
}

fn hashed(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
