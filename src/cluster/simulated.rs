//! A cluster that only exists in this program: keeps objects, rolls out over time, fails or hangs
//! as it was told. For demos, tests and simulation; it knows nothing of Kubernetes' rules.

mod journal;
mod look;
mod state;
mod temper;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;

pub use temper::Contest;

use super::rbac::Right;
use super::{Applied, Cluster, ClusterError, Member, Preview, ReadCluster, Served, UnitScope};
use crate::clock;
use crate::manifest::Rendered;
use crate::model::{ApplicationName, EnvironmentName, FlatMap, ObjectRef, Simulated};
use crate::plan::{Apply, Change, Live, LiveObject};
use journal::Journal;
use state::{State, Stored};
use temper::Temper;

/// See the module.
pub struct SimulatedCluster {
    name: String,
    behaviour: Mutex<Simulated>,
    temper: Mutex<Temper>,
    journal: Option<Mutex<Journal>>,
    state: Mutex<State>,
    news: Mutex<News>,
    changed: Notify,
}

/// Which applications' objects changed when, counted in changes.
#[derive(Default)]
struct News {
    count: u64,
    /// Up to here it was told.
    told: u64,
    by_application: BTreeMap<ApplicationName, u64>,
    /// The last change that may concern everybody.
    everybody: u64,
}

impl SimulatedCluster {
    /// A cluster that keeps its objects in this file, or in memory alone.
    ///
    /// # Errors
    /// Where the file is there and cannot be read.
    pub fn open(
        environment: &EnvironmentName,
        behaviour: Simulated,
        file: Option<PathBuf>,
    ) -> std::io::Result<Self> {
        let (journal, state) = match &file {
            Some(file) => {
                let (journal, state) = Journal::open(file)?;
                (Some(Mutex::new(journal)), state)
            }
            None => (None, State::default()),
        };
        Ok(Self {
            name: format!("the simulated cluster of {environment}"),
            behaviour: Mutex::new(behaviour),
            temper: Mutex::default(),
            journal,
            state: Mutex::new(state),
            news: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// Changes how it behaves from now on.
    pub fn behave(&self, change: impl FnOnce(&mut Simulated)) {
        change(&mut locked(&self.behaviour));
        self.tell_everybody();
    }

    /// Changes what it does with what it is sent, from now on.
    pub fn temper(&self, change: impl FnOnce(&mut Temper)) {
        change(&mut locked(&self.temper));
        self.tell_everybody();
    }

    /// Whether there are images that it refuses.
    pub fn refuses_images(&self) -> bool {
        !locked(&self.temper).refused.is_empty()
    }

    /// Holds the environment for this reason, said on the cluster itself; `None` lets it go.
    pub fn brake(&self, reason: Option<&str>) {
        locked(&self.state).counts.brake = reason.map(str::to_owned);
        self.tell_everybody();
    }

    /// Somebody changes a field of an object that is there.
    pub fn drift(&self, reference: &ObjectRef, changed: &Contest, now: Timestamp) {
        locked(&self.state).drift(reference, changed, now);
        self.tell_everybody();
    }

    /// Says why an object is not to be deleted; `None`: it may be.
    pub fn keep(&self, reference: &ObjectRef, why: Option<&str>) {
        locked(&self.state).keep(reference, why);
        self.tell_everybody();
    }

    /// Deletes an object as somebody else would.
    pub fn delete(&self, reference: &ObjectRef) {
        locked(&self.state).remove(reference);
        self.tell_everybody();
    }

    fn tell_everybody(&self) {
        let mut news = locked(&self.news);
        news.count += 1;
        news.everybody = news.count;
        drop(news);
        self.changed.notify_waiters();
    }

    /// Puts an object there as somebody else would: without our mark.
    pub fn put_foreign(&self, reference: &ObjectRef, engine: Option<&str>, now: Timestamp) {
        locked(&self.state).put_foreign(reference, engine, now);
    }

    /// How many objects were ever written or deleted.
    pub fn writes(&self) -> u64 {
        locked(&self.state).counts.writes
    }

    /// Everything that is there, whoever's it is.
    pub fn everything(&self, now: Timestamp) -> BTreeMap<ObjectRef, LiveObject> {
        let behaviour = locked(&self.behaviour).clone();
        let state = locked(&self.state);
        let objects = state.objects.iter();
        objects
            .map(|(reference, stored)| (reference.clone(), stored.live(reference, &behaviour, now)))
            .collect()
    }

    /// How often it was told to apply something, whatever came of it.
    pub fn attempts(&self) -> u64 {
        locked(&self.state).counts.attempts
    }

    fn answering(&self) -> Result<(), ClusterError> {
        match locked(&self.behaviour).unreachable {
            false => Ok(()),
            true => Err(ClusterError::Unavailable {
                cluster: self.name.clone(),
                detail: "it was told to be unreachable".to_owned(),
                retry_after: None,
            }),
        }
    }

    /// When the next object becomes ready or fails.
    fn next_transition(&self, now: Timestamp) -> Option<Duration> {
        let ready_after = locked(&self.behaviour).ready_after;
        let state = locked(&self.state);
        let ready = state.objects.values().filter(|stored| stored.is_workload());
        ready
            .filter_map(|stored| {
                let at = stored.applied_at.checked_add(ready_after).ok()?;
                Duration::try_from(at.duration_since(now))
                    .ok()
                    .filter(|left| !left.is_zero())
            })
            .min()
    }

    /// The applications with an object that becomes ready or fails within that time.
    fn turning(&self, now: Timestamp, within: Duration) -> BTreeSet<ApplicationName> {
        let ready_after = locked(&self.behaviour).ready_after;
        let end = clock::after(now, within);
        locked(&self.state).applications(|stored| {
            let at = stored.applied_at.checked_add(ready_after);
            at.is_ok_and(|at| now < at && at <= end)
        })
    }

    fn save(&self, state: &mut State) -> std::io::Result<()> {
        match &self.journal {
            Some(journal) => locked(journal).write(state),
            None => {
                state.unwritten.clear();
                Ok(())
            }
        }
    }
}

#[async_trait]
impl ReadCluster for SimulatedCluster {
    fn name(&self) -> &str {
        &self.name
    }

    async fn live(
        &self,
        unit: &UnitScope,
        desired: Option<&Arc<Rendered>>,
        now: Timestamp,
    ) -> Result<Live, ClusterError> {
        self.answering()?;
        let behaviour = locked(&self.behaviour).clone();
        let named = desired.map_or(&[][..], |desired| &desired.objects);
        let state = locked(&self.state);
        let live = |(reference, stored): (&ObjectRef, &Stored)| {
            (reference.clone(), stored.live(reference, &behaviour, now))
        };
        let mut objects: FlatMap<_, _> = state.of(unit).map(live).collect();
        // Nearly all that is named carries the mark.
        let others: Vec<_> = named
            .iter()
            .filter(|it| !objects.contains_key(&it.reference))
            .filter_map(|it| state.objects.get_key_value(&it.reference))
            .map(live)
            .collect();
        objects.extend(others);
        Ok(Live {
            objects,
            brake: state.counts.brake.clone(),
            ..Live::default()
        })
    }

    async fn preview(
        &self,
        unit: &UnitScope,
        desired: &Arc<Rendered>,
        _: Timestamp,
    ) -> Result<Vec<Preview>, ClusterError> {
        self.answering().map(|()| self.previews(unit, desired))
    }

    async fn inventory(&self, now: Timestamp) -> Result<Vec<Member>, ClusterError> {
        self.answering().map(|()| self.members(now))
    }

    /// It takes every kind, and knows of none what it is called.
    async fn served(&self, _: &str, _: &str) -> Result<Option<Served>, ClusterError> {
        self.answering().map(|()| None)
    }

    /// It lets everybody do everything.
    async fn lacks(&self, _: &[Right]) -> Result<Vec<Right>, ClusterError> {
        self.answering().map(|()| Vec::new())
    }

    async fn changed(&self, now: Timestamp) -> BTreeSet<ApplicationName> {
        let told = self.changed.notified();
        tokio::pin!(told);
        // From here on no change is missed; what changed since the last time is told at once.
        told.as_mut().enable();
        let since = locked(&self.news).told;
        if locked(&self.news).count == since {
            match self.next_transition(now) {
                Some(left) => {
                    tokio::select! {
                        () = told => {}
                        () = tokio::time::sleep(left) => return self.turning(now, left),
                    }
                }
                None => told.await,
            }
        }
        let mut news = locked(&self.news);
        news.told = news.count;
        if news.everybody > since {
            drop(news);
            return locked(&self.state).applications(|_| true);
        }
        let newer = news.by_application.iter().filter(|(_, at)| **at > since);
        newer.map(|(application, _)| application.clone()).collect()
    }
}

#[async_trait]
impl Cluster for SimulatedCluster {
    async fn apply(
        &self,
        unit: &UnitScope,
        apply: &Apply,
        now: Timestamp,
    ) -> Result<Applied, ClusterError> {
        self.answering()?;
        let mut state = locked(&self.state);
        state.counts.attempts += 1;
        let mut temper = locked(&self.temper);
        let wanted = |change: &Change| {
            let objects = &apply.rendered.objects;
            let found = objects.iter().find(|it| it.reference == change.reference);
            found.cloned()
        };
        for object in apply.change.iter().chain(&apply.later).filter_map(wanted) {
            temper.takes(&object)?;
        }
        for change in &apply.change {
            let found = state.objects.get(&change.reference);
            let version = found.map(|stored| stored.version.to_string());
            if version != change.version {
                return Err(ClusterError::Changed {
                    object: change.reference.clone(),
                });
            }
        }
        for prune in &apply.prune {
            let found = state.objects.get(&prune.reference);
            let found = found.filter(|stored| stored.uid() == prune.uid);
            // Somebody may have said since the plan that it is to be kept.
            if found.is_some_and(|stored| stored.kept().is_some()) {
                return Err(ClusterError::Changed {
                    object: prune.reference.clone(),
                });
            }
        }
        let mut applied = Applied::default();
        for change in &apply.change {
            let Some(object) = wanted(change) else {
                continue;
            };
            state.put(unit, apply.commit, change, &object, now);
            applied.taken.extend(temper.gives(&change.reference));
            if let Some(contest) = temper.contest(&change.reference) {
                state.drift(&change.reference, contest, now);
            }
        }
        drop(temper);
        for prune in &apply.prune {
            let found = state.objects.get(&prune.reference);
            if found.is_some_and(|stored| stored.uid() == prune.uid) {
                state.remove(&prune.reference);
                state.counts.writes += 1;
            }
        }
        self.save(&mut state)
            .map_err(|error| ClusterError::Unavailable {
                cluster: self.name.clone(),
                detail: format!("its state cannot be written: {error}"),
                retry_after: None,
            })?;
        drop(state);
        let mut news = locked(&self.news);
        news.count += 1;
        let count = news.count;
        news.by_application.insert(unit.application.clone(), count);
        drop(news);
        self.changed.notify_waiters();
        Ok(applied)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
