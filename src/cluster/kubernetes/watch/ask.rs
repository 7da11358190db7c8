//! What others ask of the watch: about one object, and about all of them.

use std::num::NonZeroI64;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::facts::{Finding, Key, OwnedState, Suspicion, Version};
use super::view::{Suspect, Unread, asked_for};
use super::{Watch, progress};
use crate::cluster::Member;
use crate::cluster::kubernetes::apply::Seen;
use crate::cluster::kubernetes::kinds::Kind;
use crate::cluster::kubernetes::marks::Set;
use crate::cluster::kubernetes::set::Members;
use crate::model::{ApplicationName, ObjectRef};
use crate::plan::{Drifted, Mark};

/// What is needed to ask the server about an object that somebody touched.
pub(in crate::cluster::kubernetes) struct Question {
    pub(in crate::cluster::kubernetes) kind: Arc<Kind>,
    pub(in crate::cluster::kubernetes) mark: Mark,
    /// When it was last applied, by the server's time, in seconds.
    pub(in crate::cluster::kubernetes) applied: Option<NonZeroI64>,
}

impl Watch {
    /// What people call the cluster.
    pub(in crate::cluster::kubernetes) fn cluster(&self) -> &str {
        &self.shared.name
    }

    /// The environment's set.
    pub(in crate::cluster::kubernetes) fn set(&self) -> &Set {
        self.shared.set.set()
    }

    /// How long the cluster was not heard of.
    pub(in crate::cluster::kubernetes) fn silence(&self) -> Duration {
        let heard = self.shared.heard.lock();
        heard
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .elapsed()
    }

    /// The cluster answered somebody.
    pub(in crate::cluster::kubernetes) fn heard(&self) {
        self.shared.hear();
    }

    /// What is needed to ask about a suspect; `None`: it is gone, or no longer ours.
    pub(in crate::cluster::kubernetes) fn question(&self, suspect: &Suspect) -> Option<Question> {
        let store = self.shared.store();
        let facts = store.facts(suspect.kind, &suspect.key)?;
        Some(Question {
            kind: store.kinds.get(suspect.kind)?.kind.clone(),
            mark: facts.mark.as_ref()?.mark(),
            applied: facts.applied,
        })
    }

    /// Whether the server said of this very suspicion what it is.
    pub(in crate::cluster::kubernetes) fn knows(&self, suspect: &Suspect, number: u64) -> bool {
        let store = self.shared.store();
        let facts = store.facts(suspect.kind, &suspect.key);
        facts.is_some_and(|facts| match &facts.owned.state {
            OwnedState::Touched(known) => {
                known.fingerprint == number && known.finding != Finding::Open
            }
            _ => false,
        })
    }

    /// Takes what was found out about a suspect: what of it would change back.
    pub(in crate::cluster::kubernetes) fn found(
        &self,
        suspect: &Suspect,
        number: u64,
        drift: Option<Drifted>,
    ) {
        let mut store = self.shared.store();
        let kinds = store.kinds.get_mut(suspect.kind);
        let facts = kinds.and_then(|kind| kind.objects.get_mut(&suspect.key));
        let Some(OwnedState::Touched(known)) = facts.map(|facts| &mut facts.owned.state) else {
            return;
        };
        // What was touched again meanwhile is asked about again.
        if known.fingerprint == 0 || known.fingerprint == number {
            **known = Suspicion {
                paths: std::mem::take(&mut known.paths),
                fingerprint: number,
                finding: drift.map_or(Finding::Harmless, Finding::Drift),
            };
        }
    }

    /// What was touched of a suspect holds what was applied after all.
    pub(in crate::cluster::kubernetes) fn is_whole(&self, suspect: &Suspect) {
        let mut store = self.shared.store();
        let kinds = store.kinds.get_mut(suspect.kind);
        if let Some(facts) = kinds.and_then(|kind| kind.objects.get_mut(&suspect.key)) {
            facts.owned.state = OwnedState::Whole;
        }
    }

    /// Takes what a failed Job wrote.
    pub(in crate::cluster::kubernetes) fn wrote(&self, unread: &Unread, lines: Option<String>) {
        let mut store = self.shared.store();
        let kind = store.kinds.get_mut(unread.kind);
        if let Some(facts) = kind.and_then(|kind| kind.objects.get_mut(&unread.key)) {
            facts.wrote(&unread.log, lines);
        }
    }

    /// When an object of a kind last left what is followed.
    pub(in crate::cluster::kubernetes) fn departed(&self, kind: &Kind) -> Option<Instant> {
        let store = self.shared.store();
        let index = store.kind(&kind.group, &kind.kind)?;
        store.kinds[index].departed
    }

    /// An object as it was last seen.
    pub(in crate::cluster::kubernetes) fn seen(&self, reference: &ObjectRef) -> Option<Seen> {
        let mut store = self.shared.store();
        let (kind, key) = store.place(reference)?;
        let facts = store.facts(kind, &key)?;
        Some(Seen {
            uid: facts.uid.to_string(),
            version: facts.version.to_string(),
            generation: facts.generation.map(NonZeroI64::get),
            mark: facts.mark.as_ref().map(|mark| mark.mark()),
            kept: facts.kept().is_some(),
        })
    }

    /// The newest version of an object of which nothing that a plan sees changed since this one.
    pub(in crate::cluster::kubernetes) fn same_as(
        &self,
        reference: &ObjectRef,
        version: &str,
    ) -> Option<String> {
        let mut store = self.shared.store();
        let (kind, key) = store.place(reference)?;
        let facts = store.facts(kind, &key)?;
        let version = Version::new(version).number();
        let is_within = version >= facts.steady_since && version < facts.version.number();
        (facts.steady_since > 0 && is_within).then(|| facts.version.to_string())
    }

    /// Takes an object that the server answered.
    pub(in crate::cluster::kubernetes) fn learn(&self, object: &str) {
        let now = self.shared.moment();
        self.shared.store().learn(object, now);
        self.shared.spread();
    }

    /// The server deleted this very object.
    pub(in crate::cluster::kubernetes) fn deleted(&self, reference: &ObjectRef, uid: &str) {
        self.shared.store().deleted(reference, uid);
        self.shared.spread();
    }

    /// The kinds and namespaces of all members; `None` while that is not known for sure.
    pub(in crate::cluster::kubernetes) fn members(&self) -> Option<Members> {
        let store = self.shared.store();
        let parent = [&store.parent.state];
        let followed = store.kinds.iter().filter(|kind| !kind.is_over);
        let scopes = followed.clone().flat_map(|kind| &kind.scopes);
        let all = parent
            .into_iter()
            .chain(scopes.map(|scope| &scope.progress));
        if !matches!(progress(all), Ok(true)) {
            return None;
        }
        // A kind of the set that is not followed may have members too.
        let known = |name: &String| {
            let (kind, group) = name.split_once('.').unwrap_or((name, ""));
            store.kind(group, kind).is_some()
        };
        if !store.parent.kinds.iter().all(known) {
            return None;
        }
        let mut members = Members::default();
        for watched in followed {
            let name = match watched.kind.group.as_str() {
                "" => watched.kind.kind.clone(),
                group => format!("{}.{group}", watched.kind.kind),
            };
            if !watched.objects.is_empty() {
                members.kinds.insert(name);
            }
            // Asked by each apply: in their order the keys of a namespace follow one another.
            let mut last = "";
            for Key { namespace, .. } in watched.objects.keys() {
                if **namespace != *last {
                    members.namespaces.insert(namespace.to_string());
                    last = namespace;
                }
            }
        }
        Some(members)
    }

    /// All members.
    pub(in crate::cluster::kubernetes) fn all(&self) -> Vec<Member> {
        let store = self.shared.store();
        let mut all = Vec::new();
        for (index, watched) in store.kinds.iter().enumerate() {
            all.extend(watched.objects.iter().map(|(key, facts)| Member {
                reference: store.reference(index, key),
                mark: facts.mark.as_ref().map(|mark| mark.mark()),
                health: facts.told_health(),
                applied_at: facts.applied_at,
                kept: facts.kept().map(str::to_owned),
            }));
        }
        all
    }

    /// The units that ask for an object.
    pub(in crate::cluster::kubernetes) fn asking_for(
        &self,
        object: &ObjectRef,
    ) -> Vec<ApplicationName> {
        let mut store = self.shared.store();
        let place = store.place(object);
        let asks = |desired: &crate::manifest::Rendered| match &place {
            Some((kind, key)) => asked_for(desired, &store.kinds[*kind].kind, key).is_some(),
            None => {
                let objects = &desired.objects;
                objects
                    .binary_search_by(|it| it.reference.cmp(object))
                    .is_ok()
            }
        };
        let asking = store.desired.iter().filter(|(_, desired)| asks(desired));
        asking.map(|(name, _)| name.clone()).collect()
    }

    /// Others ask for these objects now, or no longer: whoever has one is told.
    pub(in crate::cluster::kubernetes) fn tell_of<'a>(
        &self,
        objects: impl Iterator<Item = &'a ObjectRef>,
    ) {
        let mut store = self.shared.store();
        for object in objects {
            if let Some((kind, key)) = store.place(object)
                && let Some(mark) = store.facts(kind, &key).and_then(|it| it.mark.clone())
            {
                store.changed.insert((*mark.application).clone());
            }
        }
        drop(store);
        self.shared.spread();
    }
}
