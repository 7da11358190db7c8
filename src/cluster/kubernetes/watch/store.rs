//! What is known of an environment's objects: all that carry its set's label, reduced to facts.
//!
//! Owns the objects by kind, how far each kind's listing is, and which applications are to be told.
//! Makes no request and waits for nothing; `now` is the time of whoever heard the news.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::Instant;

use super::Moment;
use super::around::Surroundings;
use super::facts::{Facts, Key, Marked, Uid, Version};
use super::object::{Head, Named};
use crate::cluster::kubernetes::health::{Definition, Rules};
use crate::cluster::kubernetes::kinds::Kind;
use crate::cluster::kubernetes::marks::Set;
use crate::manifest::Rendered;
use crate::model::{ApplicationName, EnvironmentName, ObjectRef};

/// See the module.
pub(super) struct Store {
    pub(super) environment: Arc<EnvironmentName>,
    pub(super) set: Set,
    /// The rules of each application's environment.
    pub(super) rules: BTreeMap<ApplicationName, Rules>,
    /// The kinds, in the order in which they came; one that is no longer served keeps its place.
    pub(super) kinds: Vec<Watched>,
    /// What units ask for, as they last told.
    pub(super) desired: HashMap<ApplicationName, Arc<Rendered>>,
    /// How many objects carry an application's mark.
    pub(super) counts: HashMap<Arc<ApplicationName>, usize>,
    /// Objects whose health may change without them.
    pub(super) unsettled: BTreeMap<(usize, Key), Unsettled>,
    /// What pods, revisions and events tell, by namespace.
    pub(super) around: HashMap<Arc<str>, Surroundings>,
    pub(super) parent: Parent,
    /// Applications of which something changed that nobody was told yet.
    pub(super) changed: BTreeSet<ApplicationName>,
    names: HashSet<Arc<ApplicationName>>,
    environments: HashSet<Arc<EnvironmentName>>,
    namespaces: HashSet<Arc<str>>,
}

/// What the set's parent says.
#[derive(Debug, Default)]
pub(super) struct Parent {
    /// Whether it was read; it may not exist.
    pub(super) state: Progress,
    /// Kinds that the set's members have, as `Kind.group`.
    pub(super) kinds: BTreeSet<String>,
    /// Why a person holds the environment.
    pub(super) hold: Option<String>,
}

/// A kind whose objects are followed.
pub(super) struct Watched {
    pub(super) kind: Arc<Kind>,
    pub(super) definition: Definition,
    pub(super) objects: BTreeMap<Key, Facts>,
    /// The whole cluster, or each namespace that is followed.
    pub(super) scopes: Vec<Scope>,
    /// When an object last left it.
    pub(super) departed: Option<Instant>,
    /// No longer served.
    pub(super) is_over: bool,
}

/// One listing of a kind.
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) namespace: Option<Arc<str>>,
    pub(super) progress: Progress,
    epoch: u32,
}

/// What is asked of each object that is not settled when anything around it changes: a thousand of them
/// are not looked up for it.
#[derive(Debug)]
pub(super) struct Unsettled {
    pub(super) uid: Uid,
    /// When time alone may change its health.
    pub(super) next_look: Option<Timestamp>,
}

/// How far a listing is.
#[derive(Debug, Clone, Default)]
pub(super) enum Progress {
    /// Not complete yet.
    #[default]
    Listing,
    /// Complete, and followed.
    Current,
    /// Interrupted.
    Broken(crate::cluster::ClusterError),
}

/// A scope of a kind, by their places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    pub(super) kind: usize,
    pub(super) scope: usize,
}

impl Store {
    pub(super) fn new(
        environment: EnvironmentName,
        set: Set,
        rules: BTreeMap<ApplicationName, Rules>,
    ) -> Self {
        let environment = Arc::new(environment);
        Self {
            environments: HashSet::from([environment.clone()]),
            environment,
            set,
            rules,
            kinds: Vec::new(),
            desired: HashMap::new(),
            counts: HashMap::new(),
            unsettled: BTreeMap::new(),
            around: HashMap::new(),
            parent: Parent::default(),
            changed: BTreeSet::new(),
            names: HashSet::new(),
            namespaces: HashSet::new(),
        }
    }

    /// The place of a kind that is followed.
    pub(super) fn kind(&self, group: &str, kind: &str) -> Option<usize> {
        self.kinds
            .iter()
            .position(|it| !it.is_over && it.kind.kind == kind && it.kind.group == group)
    }

    /// Adds a kind, to be followed in these namespaces (or in the whole cluster).
    pub(super) fn add_kind(
        &mut self,
        kind: Arc<Kind>,
        definition: Definition,
        namespaces: Option<&BTreeSet<String>>,
    ) -> usize {
        let scope = |namespace: Option<Arc<str>>| Scope {
            namespace,
            progress: Progress::Listing,
            epoch: 0,
        };
        let scopes = match namespaces.filter(|_| kind.namespaced) {
            Some(namespaces) => namespaces
                .iter()
                .map(|namespace| scope(Some(namespace.as_str().into())))
                .collect(),
            None => vec![scope(None)],
        };
        self.kinds.push(Watched {
            kind,
            definition,
            objects: BTreeMap::new(),
            scopes,
            departed: None,
            is_over: false,
        });
        self.kinds.len() - 1
    }

    /// A kind is no longer served: its objects are gone with it.
    pub(super) fn end_kind(&mut self, kind: usize) {
        let keys: Vec<Key> = self.kinds[kind].objects.keys().cloned().collect();
        for key in keys {
            self.remove(kind, &key);
        }
        self.kinds[kind].is_over = true;
    }

    /// A listing of a scope begins.
    pub(super) fn begin(&mut self, at: At) {
        let scope = &mut self.kinds[at.kind].scopes[at.scope];
        scope.epoch += 1;
        if matches!(scope.progress, Progress::Current) {
            scope.progress = Progress::Listing;
        }
    }

    /// A scope is listed: what the listing did not name is gone.
    pub(super) fn complete(&mut self, at: At) {
        let watched = &mut self.kinds[at.kind];
        let scope = &mut watched.scopes[at.scope];
        scope.progress = Progress::Current;
        let (epoch, namespace) = (scope.epoch, scope.namespace.clone());
        let is_gone = |(key, facts): &(&Key, &Facts)| {
            facts.epoch < epoch && namespace.as_ref().is_none_or(|it| *it == key.namespace)
        };
        let gone = watched.objects.iter().filter(is_gone);
        let gone: Vec<Key> = gone.map(|(key, _)| key.clone()).collect();
        for key in gone {
            self.remove(at.kind, &key);
        }
    }

    /// Following a scope was interrupted: everybody is concerned. Gives whether that is news.
    pub(super) fn interrupt(&mut self, at: At, error: crate::cluster::ClusterError) -> bool {
        let scope = &mut self.kinds[at.kind].scopes[at.scope];
        let is_news = !matches!(scope.progress, Progress::Broken(_));
        scope.progress = Progress::Broken(error);
        is_news
    }

    /// An object is there, or changed. Gives its version.
    pub(super) fn put(&mut self, at: At, text: &str, now: Moment) -> serde_json::Result<String> {
        let head = Head::read(text)?;
        let version = head.metadata.resource_version.clone().into_owned();
        let key = self.key(&head.metadata.namespace, &head.metadata.name);
        let watched = &mut self.kinds[at.kind];
        let epoch = watched.scopes[at.scope].epoch;
        let before = watched.objects.remove(&key);
        if let Some(mut before) = before {
            let this = Version::new(&version);
            if this.is_older(&before.version) || this == before.version {
                before.epoch = epoch;
                watched.objects.insert(key, before);
                return Ok(version);
            }
            let facts = self.reduce(at.kind, &head, text, Some(&before), now);
            self.replace(at, key, facts, Some(before));
        } else {
            let facts = self.reduce(at.kind, &head, text, None, now);
            self.replace(at, key, facts, None);
        }
        Ok(version)
    }

    /// An object is gone, or is no longer of the set. Gives its last version.
    pub(super) fn gone(&mut self, at: At, text: &str) -> serde_json::Result<String> {
        let head = Head::read(text)?;
        let version = head.metadata.resource_version.clone().into_owned();
        let key = self.key(&head.metadata.namespace, &head.metadata.name);
        let known = self.kinds[at.kind].objects.get(&key);
        // An object that was made anew since is another one.
        if known.is_some_and(|known| !Version::new(&version).is_older(&known.version)) {
            self.remove(at.kind, &key);
        }
        Ok(version)
    }

    /// Whether what comes from a scope is part of a listing that is not complete.
    pub(super) fn is_listing(&self, at: At) -> bool {
        let scope = &self.kinds[at.kind].scopes[at.scope];
        !matches!(scope.progress, Progress::Current)
    }

    /// Forgets this very object.
    pub(super) fn deleted(&mut self, reference: &ObjectRef, uid: &str) {
        let Some((kind, key)) = self.place(reference) else {
            return;
        };
        let known = self.kinds[kind].objects.get(&key);
        if known.is_some_and(|known| known.uid == Uid::new(uid)) {
            self.remove(kind, &key);
        }
    }

    /// Takes an object that the server answered, if it is of the set and its kind is followed.
    pub(super) fn learn(&mut self, object: &str, now: Moment) {
        if let Err(error) = self.try_learn(object, now) {
            tracing::warn!(%error, "an object that was answered cannot be read");
        }
    }

    fn try_learn(&mut self, object: &str, now: Moment) -> serde_json::Result<()> {
        let named = Named::read(object)?;
        let Some(kind) = self.kind(named.group(), &named.kind) else {
            return Ok(());
        };
        if named.metadata.labels.part_of.as_ref() != Some(&self.set.id) {
            return Ok(());
        }
        let namespace = &named.metadata.namespace;
        let scopes = &self.kinds[kind].scopes;
        let scope = scopes.iter().position(|it| {
            let followed = it.namespace.as_deref();
            followed.is_none_or(|followed| followed == namespace)
        });
        if let Some(scope) = scope {
            self.put(At { kind, scope }, object, now)?;
        }
        Ok(())
    }

    /// Where an object would be, if its kind is followed.
    pub(super) fn place(&mut self, reference: &ObjectRef) -> Option<(usize, Key)> {
        let kind = self.kind(&reference.group, &reference.kind)?;
        let namespaced = self.kinds[kind].kind.namespaced;
        let namespace = reference.namespace.as_deref().filter(|_| namespaced);
        Some((
            kind,
            self.key(namespace.unwrap_or_default(), &reference.name),
        ))
    }

    /// What is known of an object.
    pub(super) fn facts(&self, kind: usize, key: &Key) -> Option<&Facts> {
        self.kinds.get(kind)?.objects.get(key)
    }

    fn key(&mut self, namespace: &str, name: &str) -> Key {
        Key {
            namespace: interned(&mut self.namespaces, namespace, |it| it.into()),
            name: name.into(),
        }
    }

    /// A mark, of names that are kept once.
    pub(super) fn marked(&mut self, head: &Head<'_>) -> Option<Marked> {
        let labels = &head.metadata.labels;
        let (hash, commit) = head.metadata.hash_and_commit()?;
        let application: ApplicationName = labels.application.as_ref()?.parse().ok()?;
        let environment: EnvironmentName = labels.environment.as_ref()?.parse().ok()?;
        Some(Marked {
            application: interned(&mut self.names, &application, |it| Arc::new(it.clone())),
            environment: interned(&mut self.environments, &environment, |it| {
                Arc::new(it.clone())
            }),
            hash,
            commit,
        })
    }

    fn replace(&mut self, at: At, key: Key, mut facts: Facts, before: Option<Facts>) {
        facts.epoch = self.kinds[at.kind].scopes[at.scope].epoch;
        let is_same = before
            .as_ref()
            .is_some_and(|before| before.looks_like(&facts));
        match &before {
            Some(before) if is_same => facts.steady_since = before.steady_since,
            _ => {
                self.tell(at.kind, &key, before.as_ref());
                self.tell(at.kind, &key, Some(&facts));
            }
        }
        self.count(before.as_ref(), Some(&facts));
        match facts.content() {
            Some(_) => drop(self.unsettled.insert(
                (at.kind, key.clone()),
                Unsettled {
                    uid: facts.uid.clone(),
                    next_look: facts.next_look(),
                },
            )),
            None => drop(self.unsettled.remove(&(at.kind, key.clone()))),
        }
        self.kinds[at.kind].objects.insert(key, facts);
    }

    fn remove(&mut self, kind: usize, key: &Key) {
        if let Some(facts) = self.kinds[kind].objects.remove(key) {
            self.kinds[kind].departed = Some(Instant::now());
            self.tell(kind, key, Some(&facts));
            self.count(Some(&facts), None);
            self.unsettled.remove(&(kind, key.clone()));
        }
    }

    /// Has those told whom an object concerns: by its mark, or those who ask for it.
    pub(super) fn tell(&mut self, kind: usize, key: &Key, facts: Option<&Facts>) {
        let Some(facts) = facts else { return };
        match &facts.mark {
            Some(mark) => drop(self.changed.insert((*mark.application).clone())),
            None => {
                let kind = &self.kinds[kind].kind;
                let asks = |(_, desired): &(&ApplicationName, &Arc<Rendered>)| {
                    super::view::asked_for(desired, kind, key).is_some()
                };
                let concerned = self.desired.iter().filter(asks);
                self.changed.extend(concerned.map(|(name, _)| name.clone()));
            }
        }
    }

    /// Everybody is to look again.
    pub(super) fn tell_everybody(&mut self) {
        let marked = self.counts.keys().map(|name| (**name).clone());
        self.changed.extend(marked);
        self.changed.extend(self.desired.keys().cloned());
    }

    fn count(&mut self, before: Option<&Facts>, after: Option<&Facts>) {
        let name = |facts: Option<&Facts>| Some(facts?.mark.as_ref()?.application.clone());
        if let Some(before) = name(before)
            && let Some(count) = self.counts.get_mut(&before)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&before);
            }
        }
        if let Some(after) = name(after) {
            *self.counts.entry(after).or_default() += 1;
        }
    }
}

fn interned<T>(known: &mut HashSet<Arc<T>>, wanted: &T, make: impl Fn(&T) -> Arc<T>) -> Arc<T>
where
    T: std::hash::Hash + Eq + ?Sized,
{
    if let Some(found) = known.get(wanted) {
        return found.clone();
    }
    let new = make(wanted);
    known.insert(new.clone());
    new
}
