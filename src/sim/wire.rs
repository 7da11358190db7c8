//! What stands between a process and the servers: it fails as the run says, and tells the ledger what arrived.

mod forge;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::ledger::{Fact, Held, Ledger, RECORDS, Who};
use super::mutant::Careless;
use crate::cluster::rbac::Right;
use crate::cluster::simulated::SimulatedCluster;
use crate::cluster::{
    Applied, Cluster, ClusterError, Member, Preview, ReadCluster, Served, UnitScope,
};
use crate::git::memory::MemoryRemote;
use crate::git::{FetchRequest, Fetched, GitError, PushReport, PushRequest, Refs, Remote};
use crate::manifest::Rendered;
use crate::model::{ApplicationName, CommitId, Digest, ImageRepository, ObjectRef};
use crate::plan::{Apply, Live, LiveObject};
use crate::registry::simulated::SimulatedRegistry;
use crate::registry::{Attached, ImageConfig, Outage, Registry, RegistryError};

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strike {
    /// It never arrives.
    Before,
    /// It is done, and nobody hears of it.
    After,
    /// The process dies before it asked.
    DieBefore,
    /// It is done, and the process dies.
    DieAfter,
    /// What is answered is old.
    Stale,
}

/// What is in a cluster.
type Objects = BTreeMap<ObjectRef, LiveObject>;

/// What everybody sees who asks for what was deployed.
pub(super) const SMOKE: &str = "smoke";

/// What goes wrong next at a server, after so many calls that do not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    pub(super) strike: Strike,
    pub(super) writes: bool,
    pub(super) after: usize,
}

#[derive(Default)]
struct Trouble {
    faults: BTreeMap<String, Vec<Fault>>,
    /// Servers that do not answer, until this step.
    down: BTreeMap<String, usize>,
    /// What servers showed a while ago, and when that was.
    shown: BTreeMap<String, (Refs, usize)>,
}

/// The wires of a run.
pub(super) struct Wires {
    ledger: Mutex<Ledger>,
    trouble: Mutex<Trouble>,
    /// Processes that died.
    pub(super) died: Notify,
    /// What is taken out of what processes send.
    careless: Careless,
    /// The git server of each environment, by its name.
    remotes: Mutex<BTreeMap<String, MemoryRemote>>,
}

impl Wires {
    pub(super) fn new(ledger: Ledger, careless: Careless) -> Arc<Self> {
        Arc::new(Self {
            careless,
            remotes: Mutex::default(),
            ledger: Mutex::new(ledger),
            trouble: Mutex::default(),
            died: Notify::new(),
        })
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells where an environment's branch is.
    pub(super) fn stands(&self, environment: &str, remote: &MemoryRemote) {
        let mut remotes = self.remotes.lock().unwrap_or_else(PoisonError::into_inner);
        remotes.insert(environment.to_owned(), remote.clone());
    }

    /// Whether the branch has this commit and goes on to the later one.
    fn is_set_back(&self, environment: &str, commit: CommitId, later: CommitId) -> bool {
        let remotes = self.remotes.lock().unwrap_or_else(PoisonError::into_inner);
        remotes.get(environment).is_some_and(|remote| {
            let head = remote.person("Ann").head("main");
            commit != later
                && remote.follows(later, commit)
                && head.is_some_and(|head| remote.follows(head, later))
        })
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has something go wrong at a server.
    pub(super) fn trip(&self, server: &str, fault: Fault) {
        let mut trouble = self.trouble();
        let faults = trouble.faults.entry(server.to_owned()).or_default();
        faults.push(fault);
    }

    /// Has a server not answer until that step.
    pub(super) fn down(&self, server: &str, until: usize) {
        self.trouble().down.insert(server.to_owned(), until);
    }

    /// Has what was deployed answer wrongly until that step.
    pub(super) fn smoke_fails(&self, until: usize) {
        self.down(SMOKE, until);
    }

    /// Whether a server answers.
    pub(super) fn is_up(&self, server: &str) -> bool {
        let step = self.ledger().step;
        let trouble = self.trouble();
        trouble.down.get(server).is_none_or(|until| *until <= step)
    }

    /// Nothing goes wrong any more.
    pub(super) fn heal(&self) {
        *self.trouble() = Trouble::default();
    }

    /// What goes wrong with this call.
    fn strike(&self, server: &str, writes: bool) -> Option<Strike> {
        if !self.is_up(server) {
            return Some(Strike::Before);
        }
        let mut trouble = self.trouble();
        let faults = trouble.faults.get_mut(server)?;
        let due = faults.iter_mut().position(|fault| {
            let meant = fault.writes == writes;
            let due = meant && fault.after == 0;
            fault.after = fault.after.saturating_sub(usize::from(meant));
            due
        });
        let fault = faults.remove(due?);
        let at = if writes { "write" } else { "read" };
        let kind = server.split(' ').next().unwrap_or_default();
        let seen = format!("{:?} at a {at} of {kind}", fault.strike);
        self.ledger().seen.insert(seen);
        Some(fault.strike)
    }
}

/// One process's, or somebody's, wire to one server.
#[derive(Clone)]
pub(super) struct Wire<T> {
    pub(super) wires: Arc<Wires>,
    pub(super) who: Who,
    /// `git URL`, `registry`, `forge URL`, `cluster NAME`.
    pub(super) server: String,
    pub(super) inner: T,
}

impl<T> Wire<T> {
    async fn pass<A, E>(
        &self,
        writes: bool,
        work: impl Future<Output = Result<A, E>>,
        cut: impl Fn() -> E,
    ) -> Result<A, E> {
        match (self.wires.strike(&self.server, writes), self.who) {
            (None | Some(Strike::Stale), _) => work.await,
            (Some(Strike::After), _) => work.await.and_then(|_| Err(cut())),
            (Some(Strike::Before), _) | (Some(_), Who::Person) => Err(cut()),
            (Some(Strike::DieBefore), Who::Towpath(_)) => self.die().await,
            (Some(Strike::DieAfter), Who::Towpath(_)) => {
                drop(work.await);
                self.die().await
            }
        }
    }

    /// The process is no more: nothing of it goes on.
    async fn die<A>(&self) -> A {
        self.wires.died.notify_one();
        std::future::pending().await
    }
}

impl Wire<MemoryRemote> {
    fn url(&self) -> &str {
        self.server.strip_prefix("git ").unwrap_or(&self.server)
    }

    /// What is shown now, and up to which entry it tells.
    fn shown(&self) -> (Refs, usize) {
        (self.inner.refs(), self.wires.ledger().entries.len())
    }
}

#[async_trait]
impl Remote for Wire<MemoryRemote> {
    fn address(&self) -> &str {
        self.inner.address()
    }

    async fn advertise(&self, prefixes: &[String]) -> Result<Refs, GitError> {
        let strike = self.wires.strike(&self.server, false);
        let stale = strike == Some(Strike::Stale);
        let kept = self.wires.trouble().shown.get(&self.server).cloned();
        let (mut refs, until) = match kept.filter(|_| stale) {
            Some(kept) => kept,
            None => self.shown(),
        };
        refs.retain(|name, _| prefixes.iter().any(|it| name.starts_with(it.as_str())));
        match strike {
            None | Some(Strike::Stale) => {}
            Some(Strike::DieBefore | Strike::DieAfter) if self.who != Who::Person => {
                return self.die().await;
            }
            Some(_) => return Err(self.inner.cut()),
        }
        if !stale {
            let shown = self.shown();
            self.wires
                .trouble()
                .shown
                .insert(self.server.clone(), shown);
        }
        // What is asked by a push that lost, or before a tag is made, comes after what was planned.
        if prefixes.iter().any(|it| it == RECORDS) {
            let url = self.url().to_owned();
            self.wires.ledger().saw(self.who, &url, until);
        }
        Ok(refs)
    }

    async fn fetch(&self, request: &FetchRequest) -> Result<Fetched, GitError> {
        self.pass(false, self.inner.fetch(request), || self.inner.cut())
            .await
    }

    async fn push(&self, request: &PushRequest) -> Result<PushReport, GitError> {
        let work = async {
            let before: Held = self.inner.held();
            let mut request = request.clone();
            if self.wires.careless == Careless::Refs && self.who != Who::Person {
                for update in request
                    .updates
                    .iter_mut()
                    .filter(|it| !it.is_verification())
                {
                    update.old = before.get(&update.name).copied();
                }
            }
            let report = self.inner.push(&request).await;
            let mut ledger = self.wires.ledger();
            ledger.moved(self.who, &self.inner, self.url(), &before);
            report
        };
        self.pass(true, work, || self.inner.cut()).await
    }

    async fn receives(&self) -> Result<bool, GitError> {
        self.pass(false, self.inner.receives(), || self.inner.cut())
            .await
    }
}

fn registry_cut(repository: &ImageRepository) -> RegistryError {
    RegistryError::Unavailable {
        repository: repository.clone(),
        outage: Outage::Connect("connection reset".to_owned()),
    }
}

#[async_trait]
impl Registry for Wire<SimulatedRegistry> {
    async fn tags(&self, repository: &ImageRepository) -> Result<Vec<String>, RegistryError> {
        let cut = || registry_cut(repository);
        self.pass(false, self.inner.tags(repository), cut).await
    }

    async fn resolve(
        &self,
        repository: &ImageRepository,
        tag: &str,
    ) -> Result<Option<Digest>, RegistryError> {
        let cut = || registry_cut(repository);
        self.pass(false, self.inner.resolve(repository, tag), cut)
            .await
    }

    async fn image(
        &self,
        repository: &ImageRepository,
        digest: &Digest,
    ) -> Result<ImageConfig, RegistryError> {
        let cut = || registry_cut(repository);
        self.pass(false, self.inner.image(repository, digest), cut)
            .await
    }

    async fn attached(
        &self,
        repository: &ImageRepository,
        digest: &Digest,
    ) -> Result<Vec<Attached>, RegistryError> {
        let cut = || registry_cut(repository);
        self.pass(false, self.inner.attached(repository, digest), cut)
            .await
    }
}

impl Wire<Arc<SimulatedCluster>> {
    fn cut(&self) -> ClusterError {
        ClusterError::Unavailable {
            cluster: self.inner.name().to_owned(),
            detail: "connection reset".to_owned(),
            retry_after: None,
        }
    }
}

#[async_trait]
impl ReadCluster for Wire<Arc<SimulatedCluster>> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn live(
        &self,
        unit: &UnitScope,
        desired: Option<&Arc<Rendered>>,
        now: Timestamp,
    ) -> Result<Live, ClusterError> {
        let work = self.inner.live(unit, desired, now);
        self.pass(false, work, || self.cut()).await
    }

    async fn preview(
        &self,
        unit: &UnitScope,
        desired: &Arc<Rendered>,
        now: Timestamp,
    ) -> Result<Vec<Preview>, ClusterError> {
        let work = self.inner.preview(unit, desired, now);
        self.pass(false, work, || self.cut()).await
    }

    async fn inventory(&self, now: Timestamp) -> Result<Vec<Member>, ClusterError> {
        let work = self.inner.inventory(now);
        self.pass(false, work, || self.cut()).await
    }

    async fn served(&self, group: &str, kind: &str) -> Result<Option<Served>, ClusterError> {
        self.inner.served(group, kind).await
    }

    async fn lacks(&self, rights: &[Right]) -> Result<Vec<Right>, ClusterError> {
        self.inner.lacks(rights).await
    }

    async fn changed(&self, now: Timestamp) -> BTreeSet<ApplicationName> {
        self.inner.changed(now).await
    }
}

/// The objects that are no more after an apply: what it deleted, and what stands there as another object, unless that
/// is a hook, which its own manifest says is made anew.
fn gone_of<'a>(
    apply: &'a Apply,
    there: &'a Objects,
    left: &'a Objects,
) -> impl Iterator<Item = (&'a ObjectRef, &'a String)> {
    let deleted = apply
        .prune
        .iter()
        .map(|prune| (&prune.reference, &prune.uid));
    let deleted = deleted.filter(|(reference, _)| !left.contains_key(*reference));
    let changed = apply.change.iter().map(|change| &change.reference);
    let replaced = changed.filter_map(|reference| {
        let (before, after) = (there.get(reference)?, left.get(reference)?);
        let mut objects = apply.rendered.objects.iter();
        let is_hook = objects.any(|it| it.reference == *reference && it.run.is_some());
        (before.uid != after.uid && !is_hook).then_some((reference, &before.uid))
    });
    deleted.chain(replaced)
}

#[async_trait]
impl Cluster for Wire<Arc<SimulatedCluster>> {
    async fn apply(
        &self,
        unit: &UnitScope,
        apply: &Apply,
        now: Timestamp,
    ) -> Result<Applied, ClusterError> {
        let work = async {
            let there = self.inner.everything(now);
            let mut sent = apply.clone();
            if self.wires.careless == Careless::Versions {
                for change in &mut sent.change {
                    let found = there.get(&change.reference);
                    change.version = found.map(|found| found.version.clone());
                }
            }
            if self.wires.careless == Careless::Keeps {
                let deleted = sent.prune.iter().map(|prune| &prune.reference);
                deleted.for_each(|reference| self.inner.keep(reference, None));
            }
            let applied = self.inner.apply(unit, &sent, now).await?;
            let left = self.inner.everything(now);
            let environment = unit.environment.as_str();
            // What is the same in both commits is not set back.
            let is_as = |reference: &ObjectRef, hash| {
                let mut objects = apply.rendered.objects.iter();
                objects.any(|it| it.reference == *reference && it.hash() == hash)
            };
            let marked = apply.change.iter().filter_map(|change| {
                let mark = there.get(&change.reference)?.mark.as_ref()?;
                let differs = !is_as(&change.reference, mark.hash);
                differs.then(|| (change.reference.to_string(), mark.commit))
            });
            let set_back: Vec<String> = marked
                .filter(|(_, later)| self.wires.is_set_back(environment, apply.commit, *later))
                .map(|(object, later)| {
                    format!("{object}: {} over {}", apply.commit.short(), later.short())
                })
                .collect();
            let mut ledger = self.wires.ledger();
            let units = ledger.shape.units();
            let found = units.into_iter().find(|(place, application)| {
                let places = &ledger.shape.places;
                let name = places.get(*place).map_or("", |it| it.name);
                unit.environment.as_str() == name && unit.application.as_str() == *application
            });
            let Some(found) = found else {
                return Ok(applied);
            };
            for object in set_back {
                let unit = found;
                ledger.note(self.who, Fact::SetBack { unit, object });
            }
            let gone = apply.prune.iter().map(|prune| &prune.reference);
            let gone = gone.filter(|it| !left.contains_key(it));
            let kinds: Vec<String> = gone.map(|it| it.kind.clone()).collect();
            if !kinds.is_empty() {
                let number = apply.number;
                let unit = found;
                let fact = Fact::PrunedAtOnce {
                    unit,
                    number,
                    kinds,
                };
                ledger.note(self.who, fact);
            }
            for (reference, uid) in gone_of(apply, &there, &left) {
                let mut objects = apply.rendered.objects.iter();
                let asked_for = objects.any(|it| it.reference == *reference);
                let kept = ledger.kept.contains(&(found.0, uid.clone()));
                let fact = Fact::Pruned {
                    unit: found,
                    object: reference.to_string(),
                    asked_for,
                    kept,
                };
                ledger.note(self.who, fact);
            }
            ledger.seen.insert("apply".to_owned());
            Ok(applied)
        };
        self.pass(true, work, || self.cut()).await
    }
}
