//! One cluster, with all of this process's environments on it: they share connections, what it serves,
//! and who asks for what there.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Semaphore;

use super::apply::IN_FLIGHT;
use super::connect::{self, Access, Connection};
use super::kinds::Kinds;
use super::watch::Watch;
use crate::cluster::UnitScope;
use crate::manifest::Rendered;
use crate::model::{ApplicationName, EnvironmentName, ObjectRef};

/// See the module.
pub struct Place {
    pub(super) name: String,
    pub(super) connection: Arc<Connection>,
    pub(super) kinds: Arc<Kinds>,
    /// How many requests that write may travel at once.
    pub(super) permits: Semaphore,
    asked: Mutex<Asked>,
}

/// Who asks for what.
#[derive(Default)]
struct Asked {
    environments: Vec<(EnvironmentName, Weak<Watch>)>,
    /// How many units ask for an object, by its hash: nearly always one.
    counts: HashMap<u64, u32>,
}

impl Place {
    /// A cluster that is reached so. Dials nothing; to be called within the async runtime.
    pub fn new(access: Access) -> Arc<Self> {
        let name = connect::name(&access.target);
        let connection = Connection::new(access);
        let kinds = Arc::new(Kinds::new(connection.client()));
        Arc::new(Self {
            name,
            connection,
            kinds,
            permits: Semaphore::new(IN_FLIGHT),
            asked: Mutex::default(),
        })
    }

    /// An environment on it.
    pub(super) fn add(&self, environment: EnvironmentName, watch: &Arc<Watch>) {
        let mut asked = self.asked();
        asked
            .environments
            .retain(|(_, watch)| watch.strong_count() > 0);
        asked
            .environments
            .push((environment, Arc::downgrade(watch)));
    }

    /// A unit asks for other objects than before: whoever has one of those has it claimed, or no
    /// longer.
    pub(super) fn asks(&self, before: Option<&Rendered>, after: &Rendered) {
        let objects = |rendered: Option<&Rendered>| -> Vec<ObjectRef> {
            let objects = rendered.into_iter().flat_map(|it| &it.objects);
            objects.map(|object| object.reference.clone()).collect()
        };
        let (before, after) = (objects(before), objects(Some(after)));
        let only_in = |some: &[ObjectRef], others: &[ObjectRef]| -> Vec<ObjectRef> {
            let missing = some.iter().filter(|it| others.binary_search(it).is_err());
            missing.cloned().collect()
        };
        let (gone, new) = (only_in(&before, &after), only_in(&after, &before));
        if gone.is_empty() && new.is_empty() {
            return;
        }
        let mut asked = self.asked();
        for reference in &gone {
            if let Entry::Occupied(mut count) = asked.counts.entry(hashed(reference)) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
        for reference in &new {
            *asked.counts.entry(hashed(reference)).or_default() += 1;
        }
        let watches = asked.watches();
        drop(asked);
        for (_, watch) in watches {
            watch.tell_of(gone.iter().chain(&new));
        }
    }

    /// Another unit that asks for the object. `asks`: whether this one does.
    pub(super) fn claimed(
        &self,
        by_other_than: &UnitScope,
        object: &ObjectRef,
        asks: bool,
    ) -> Option<String> {
        let (watches, count) = {
            let asked = self.asked();
            let count = asked.counts.get(&hashed(object)).copied();
            (asked.watches(), count.unwrap_or_default())
        };
        // Nearly always nobody else does, and nobody needs to be asked.
        if count <= u32::from(asks) {
            return None;
        }
        let mut claims: Vec<(ApplicationName, EnvironmentName)> = Vec::new();
        for (environment, watch) in watches {
            let same = environment == by_other_than.environment;
            let names = watch.asking_for(object).into_iter();
            let others = names.filter(|name| !same || *name != by_other_than.application);
            claims.extend(others.map(|name| (name, environment.clone())));
        }
        let (application, environment) = claims.into_iter().min()?;
        Some(format!("{application} in {environment}"))
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asked {
    fn watches(&self) -> Vec<(EnvironmentName, Arc<Watch>)> {
        let alive = self.environments.iter();
        alive
            .filter_map(|(name, watch)| Some((name.clone(), watch.upgrade()?)))
            .collect()
    }
}

fn hashed(object: &ObjectRef) -> u64 {
    let mut hasher = DefaultHasher::new();
    object.hash(&mut hasher);
    hasher.finish()
}
