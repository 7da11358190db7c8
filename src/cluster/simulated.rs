//! A cluster that only exists in this program: keeps objects, rolls out over time, fails or hangs
//! as it was told. For demos, tests and simulation; it knows nothing of Kubernetes' rules.

mod look;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::{Applied, Cluster, ClusterError, Member, Preview, ReadCluster, Served, UnitScope};
use crate::manifest::{Object, Rendered};
use crate::model::{
    ApplicationName, EnvironmentName, Health, ImageReference, ObjectRef, Simulated,
};
use crate::plan::{Apply, Live, LiveObject, Mark};

/// See the module.
pub struct SimulatedCluster {
    name: String,
    behaviour: Mutex<Simulated>,
    file: Option<PathBuf>,
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

#[derive(Default, Serialize, Deserialize)]
struct State {
    serial: u64,
    objects: BTreeMap<String, Stored>,
    /// How many objects were ever written or deleted: what an idle round must not raise.
    writes: u64,
}

#[derive(Clone, Serialize, Deserialize)]
struct Stored {
    group: String,
    kind: String,
    namespace: Option<String>,
    name: String,
    uid: String,
    version: u64,
    applied_at: Timestamp,
    images: Vec<String>,
    mark: Option<StoredMark>,
    engine: Option<String>,
    /// What was applied, as JSON; `None`: somebody else put it there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content: Option<Arc<str>>,
}

#[derive(Clone, Serialize, Deserialize)]
struct StoredMark {
    application: String,
    environment: String,
    hash: String,
    commit: String,
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
        let state = match &file {
            Some(file) => load(file)?,
            None => State::default(),
        };
        Ok(Self {
            name: format!("the simulated cluster of {environment}"),
            behaviour: Mutex::new(behaviour),
            file,
            state: Mutex::new(state),
            news: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// Changes how it behaves from now on.
    pub fn behave(&self, change: impl FnOnce(&mut Simulated)) {
        change(&mut locked(&self.behaviour));
        let mut news = locked(&self.news);
        news.count += 1;
        news.everybody = news.count;
        drop(news);
        self.changed.notify_waiters();
    }

    /// Puts an object there as somebody else would: without our mark.
    pub fn put_foreign(&self, reference: &ObjectRef, engine: Option<&str>, now: Timestamp) {
        let mut state = locked(&self.state);
        state.serial += 1;
        let serial = state.serial;
        let stored = Stored::new(reference, serial, now);
        let stored = Stored {
            engine: engine.map(str::to_owned),
            ..stored
        };
        state.objects.insert(reference.to_string(), stored);
    }

    /// How many objects were ever written or deleted.
    pub fn writes(&self) -> u64 {
        locked(&self.state).writes
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
        let end = now.checked_add(within).unwrap_or(Timestamp::MAX);
        locked(&self.state).applications(|stored| {
            let at = stored.applied_at.checked_add(ready_after);
            at.is_ok_and(|at| now < at && at <= end)
        })
    }

    fn save(&self, state: &State) -> std::io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let text = serde_json::to_vec(state)?;
        let beside = file.with_extension(format!("new-{}", std::process::id()));
        std::fs::write(&beside, text)?;
        std::fs::rename(&beside, file)
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
        let is_named = |reference: &ObjectRef| {
            let found = named.binary_search_by(|object| object.reference.cmp(reference));
            found.is_ok()
        };
        let state = locked(&self.state);
        let mut objects = BTreeMap::new();
        for stored in state.objects.values() {
            let reference = stored.reference();
            if stored.is_of(unit) || is_named(&reference) {
                objects.insert(reference, stored.live(&behaviour, now));
            }
        }
        Ok(Live {
            objects,
            ..Live::default()
        })
    }

    async fn preview(
        &self,
        unit: &UnitScope,
        rendered: &Arc<Rendered>,
        _: Timestamp,
    ) -> Result<Vec<Preview>, ClusterError> {
        self.answering().map(|()| self.previews(unit, rendered))
    }

    async fn inventory(
        &self,
        environment: &EnvironmentName,
        now: Timestamp,
    ) -> Result<Vec<Member>, ClusterError> {
        self.answering().map(|()| self.members(environment, now))
    }

    /// It takes every kind, and knows of none what it is called.
    async fn served(&self, _: &str, _: &str) -> Result<Option<Served>, ClusterError> {
        self.answering().map(|()| None)
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
        for change in &apply.change {
            let key = change.reference.to_string();
            let version = state
                .objects
                .get(&key)
                .map(|stored| stored.version.to_string());
            if version != change.version {
                return Err(ClusterError::Changed {
                    object: change.reference.clone(),
                });
            }
        }
        for change in &apply.change {
            let objects = &apply.rendered.objects;
            let Some(object) = objects.iter().find(|it| it.reference == change.reference) else {
                continue;
            };
            state.put(unit, apply, object, now);
        }
        for prune in &apply.prune {
            let key = prune.reference.to_string();
            if state
                .objects
                .get(&key)
                .is_some_and(|stored| stored.uid == prune.uid)
            {
                state.objects.remove(&key);
                state.writes += 1;
            }
        }
        self.save(&state)
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
        Ok(Applied::default())
    }
}

impl State {
    /// The applications with such an object.
    fn applications(&self, is_such: impl Fn(&Stored) -> bool) -> BTreeSet<ApplicationName> {
        let such = self.objects.values().filter(|stored| is_such(stored));
        such.filter_map(|stored| stored.mark.as_ref()?.application.parse().ok())
            .collect()
    }

    fn put(&mut self, unit: &UnitScope, apply: &Apply, object: &Object, now: Timestamp) {
        self.serial += 1;
        self.writes += 1;
        let serial = self.serial;
        let mut stored = Stored::new(&object.reference, serial, now);
        stored.images = object
            .images
            .iter()
            .map(|image| image.image.text.clone())
            .collect();
        stored.content = Some(object.shared_json());
        stored.mark = Some(StoredMark {
            application: unit.application.to_string(),
            environment: unit.environment.to_string(),
            hash: object.hash().to_string(),
            commit: apply.commit.to_string(),
        });
        let key = object.reference.to_string();
        if let Some(before) = self.objects.get(&key) {
            stored.uid.clone_from(&before.uid);
        }
        self.objects.insert(key, stored);
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
            content: None,
        }
    }

    fn is_of(&self, unit: &UnitScope) -> bool {
        self.mark.as_ref().is_some_and(|mark| {
            mark.application == unit.application.as_str()
                && mark.environment == unit.environment.as_str()
        })
    }

    fn reference(&self) -> ObjectRef {
        ObjectRef {
            group: self.group.clone(),
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }

    /// Only what runs pods takes time, and only images can be told to fail.
    fn is_workload(&self) -> bool {
        !self.images.is_empty()
    }

    fn live(&self, behaviour: &Simulated, now: Timestamp) -> LiveObject {
        LiveObject {
            uid: self.uid.clone(),
            version: self.version.to_string(),
            mark: self.mark.as_ref().and_then(StoredMark::read),
            engine: self.engine.clone(),
            health: self.health(behaviour, now),
            applied_at: self.applied_at,
            drift: None,
            kept: None,
            claimed: None,
        }
    }

    fn health(&self, behaviour: &Simulated, now: Timestamp) -> Health {
        let told = |images: &[String]| self.images.iter().find(|image| is_one_of(image, images));
        if !self.is_workload() {
            return Health::Current;
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
            return Health::InProgress(format!("{}: 0 of 1 ready", self.reference()));
        }
        match told(&behaviour.fail) {
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

/// Whether the image's digest or tag is in the list.
fn is_one_of(image: &str, list: &[String]) -> bool {
    let Ok(reference) = image.parse::<ImageReference>() else {
        return false;
    };
    let digest = reference.digest.map(|digest| digest.to_string());
    list.iter()
        .any(|told| Some(told) == digest.as_ref() || Some(told) == reference.tag.as_ref())
}

fn load(file: &Path) -> std::io::Result<State> {
    match std::fs::read(file) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(State::default()),
        Err(error) => Err(error),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
