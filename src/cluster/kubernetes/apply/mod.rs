//! Making the cluster run what a unit's manifests ask for.
//!
//! Owns the order of an apply: everything is judged by the server first ([`dry_run`]) and nothing is
//! written where it refuses any of it; then the set's parent names what comes ([`super::set`]); then
//! the objects go in stages ([`stages`]), what one stage brings before what needs it; and only then is
//! deleted what is no longer asked for ([`super::prune`]). What needs a CRD, a namespace or a role of
//! the same apply is judged right after it, before the next stage. Only objects that the plan names are
//! touched, each only while it is what the plan saw. Killed anywhere, the next round finds what is there
//! by its marks, which travel in the request that makes an object.
//!
//! Nothing is tried again in place but for one thing: an object of which only the status moved since
//! the plan is applied on its newer version.

mod ahead;
mod conflicts;
mod dry_run;
mod established;
mod item;
mod one;
mod outcome;
mod recreate;
mod stages;
mod takeover;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt as _;
use futures_util::stream;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use tokio::sync::Semaphore;

pub use self::ahead::{Ahead, judge_ahead};
use self::dry_run::Looked;
use self::item::Item;
use self::outcome::Failures;
pub(super) use self::outcome::{error, worst};
pub(super) use self::recreate::is_made_anew;
pub(super) use self::stages::{Brought, STAGES, Stage, place};
use self::takeover::Heirs;
use super::kinds::{Kind, Kinds};
use super::marks;
use super::prune;
use super::refusal::{self, Refusal};
use super::request::{self, Sender};
use super::set::{ApplySet, Keeper, Members};
use crate::cluster::{Applied, ClusterError, UnitScope};
use crate::model::{CommitId, Conflicts, ObjectRef};
use crate::plan::{Apply, Mark};

/// How many requests of one apply travel at once: a server answers 32 connections about as fast as it
/// answers any number of them.
pub(super) const IN_FLIGHT: usize = 32;

/// What an apply needs beside what it was told to do.
pub struct ApplyContext<'a> {
    /// What people call the cluster.
    pub cluster: &'a str,
    /// Acts as whom the environment's objects are applied as.
    pub client: Client,
    /// The kinds that the cluster serves.
    pub kinds: &'a Kinds,
    /// The environment's set, and its parent.
    pub set: &'a ApplySet,
    /// What happens to fields that another manager holds.
    pub conflicts: Conflicts,
    /// Engines whose objects may be taken over: `flux`, `argocd`, `helm`.
    pub engines: &'a [String],
    /// Whether the unit may hold an object.
    pub allows: Allows<'a>,
    /// How many requests that write may travel to this cluster at once, for all its environments.
    pub permits: &'a Semaphore,
    /// What is known of the cluster's objects, and who wants to know of news.
    pub sight: &'a dyn Sight,
    /// What the server judged already.
    pub ahead: &'a Ahead,
}

/// Says whether a unit may hold an object, which lives where the cluster says; and if not, why.
pub type Allows<'a> = &'a (dyn Fn(&ObjectRef) -> Result<(), String> + Send + Sync);

/// An object as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The server's id of this very object.
    pub uid: String,
    /// The server's version of it.
    pub version: String,
    /// How often what it asks for was changed; `None` for kinds that do not count that.
    pub generation: Option<i64>,
    /// Our mark on it.
    pub mark: Option<Mark>,
    /// Whether something on it says that it is not to be deleted.
    pub kept: bool,
}

impl Seen {
    /// What its metadata says; `None` where the server has not written it yet.
    pub fn of(metadata: &ObjectMeta) -> Option<Self> {
        Some(Self {
            uid: metadata.uid.clone()?,
            version: metadata.resource_version.clone()?,
            generation: metadata.generation,
            mark: marks::mark(metadata),
            kept: marks::is_kept(metadata),
        })
    }
}

/// What whoever watches the cluster knows, and wants to know. References are as the cluster has
/// them: what lives in no namespace has none.
pub trait Sight: Send + Sync {
    /// An object as it was last seen.
    fn seen(&self, object: &ObjectRef) -> Option<Seen>;

    /// The server answered with this object, whole: its JSON.
    fn returned(&self, object: &str);

    /// The server deleted this object.
    fn deleted(&self, object: &ObjectRef, uid: &str);

    /// The kinds and namespaces of all objects that carry the environment's mark; `None` where that
    /// is not known for sure.
    fn members(&self) -> Option<Members>;
}

/// Applies and prunes what the step names.
///
/// # Errors
/// [`ClusterError`]. Before anything is applied: what the server refuses of it. Later: what went wrong
/// on the way; what was applied stays, and is marked.
pub async fn apply(
    context: &ApplyContext<'_>,
    scope: &UnitScope,
    apply: &Apply,
    now: Timestamp,
) -> Result<Applied, ClusterError> {
    let hand = Hand::new(context, scope, apply, now);
    let mut work = hand.work(apply).await?;
    let wanted = apply.rendered.objects.iter().map(|it| &it.reference);
    let wanted = hand.members(wanted).await;
    let surplus = apply.prune.iter().map(|it| &it.reference);
    let surplus = hand.members(surplus).await;

    hand.judge(&mut work, None).await?;
    // The set's parent lives in the environment's own namespace.
    let home = &context.set.set().namespace;
    hand.carry_out(&mut work, |item| item.is_new_namespace(home))
        .await?;
    let holding = context.set.hold(hand.keeper(), &wanted, &surplus).await?;
    for stage in STAGES {
        hand.carry_out(&mut work, |item| item.place.0 == stage)
            .await?;
        if stage == Stage::Definitions {
            hand.established(&mut work).await?;
        }
        hand.judge(&mut work, Some(stage)).await?;
    }
    context.set.confirm(hand.keeper(), &holding).await?;
    prune::prune(&hand, &apply.prune).await?;
    drop(holding);
    context.set.release(hand.keeper(), surplus, &wanted).await;
    Ok(Applied {
        taken: context.set.told(&scope.application),
    })
}

/// Who carries an apply out.
pub(super) struct Hand<'a> {
    pub(super) context: &'a ApplyContext<'a>,
    pub(super) scope: &'a UnitScope,
    pub(super) sender: Sender<'a>,
    commit: CommitId,
    now: Timestamp,
}

/// The objects of an apply, and how far it has come.
struct Work<'a> {
    /// In the order they go.
    items: Vec<Item<'a>>,
    brought: Brought,
}

impl<'a> Hand<'a> {
    fn new(
        context: &'a ApplyContext<'a>,
        scope: &'a UnitScope,
        apply: &Apply,
        now: Timestamp,
    ) -> Self {
        Self {
            context,
            scope,
            sender: Sender::new(context.client.clone(), context.permits),
            commit: apply.commit,
            now,
        }
    }

    /// Who writes the set's parent: Towpath itself, whoever the objects are applied as.
    fn keeper(&self) -> Keeper<'_> {
        Keeper {
            cluster: self.context.cluster,
            permits: self.context.permits,
            sight: self.context.sight,
        }
    }

    fn heirs(&self) -> Heirs<'a> {
        Heirs {
            conflicts: self.context.conflicts,
            engines: self.context.engines,
        }
    }

    /// The objects that the step names, each with its kind, unless this very apply brings the kind.
    async fn work(&self, apply: &'a Apply) -> Result<Work<'a>, ClusterError> {
        let objects = &apply.rendered.objects;
        let mut items: Vec<Item<'a>> = Vec::new();
        let mut brought = Brought::default();
        let now = apply.change.iter().map(|change| (change, false));
        let later = apply.later.iter().map(|change| (change, true));
        for (change, later) in now.chain(later) {
            let found = objects.binary_search_by(|it| it.reference.cmp(&change.reference));
            let Some(object) = found.ok().and_then(|index| objects.get(index)) else {
                continue;
            };
            brought.add(object, change.version.is_none());
            items.push(Item::new(object, change, later));
        }
        items.sort_by_key(|item| item.place);
        let mut failures = Failures::default();
        for item in &mut items {
            item.needs = brought.needed_by(item.object);
            let found = self.find(item).await;
            // What the apply brings, or serves in another version, is looked up once it is there.
            let comes = brought.defines(&item.object.reference);
            match found {
                Err(Refusal::Prevented(_) | Refusal::Refused(_)) if comes => {}
                Err(refusal) => failures.add(item, refusal),
                Ok(()) => {}
            }
        }
        failures.into_result(self.context.cluster)?;
        Ok(Work { items, brought })
    }

    /// Looks up what the cluster says of the item's kind, and whether the unit may hold it where it
    /// lives.
    async fn find(&self, item: &mut Item<'_>) -> Result<(), Refusal> {
        let kind = self.kind(&item.object.reference).await?;
        let kind = kind.ok_or_else(|| {
            Refusal::Prevented(refusal::not_served(&item.object.reference.group_kind()))
        })?;
        item.settle(&kind, self.context.sight, self.context.allows)
    }

    /// The kind of an object, if the cluster serves it.
    pub(super) async fn kind(&self, object: &ObjectRef) -> Result<Option<Arc<Kind>>, Refusal> {
        let found = self.context.kinds.find(&object.group, &object.kind);
        found.await.map_err(request::unanswered)
    }

    /// The kinds and namespaces of objects. What is not served yet lives where its manifest says.
    async fn members(&self, objects: impl Iterator<Item = &ObjectRef>) -> Members {
        let mut members = Members::default();
        for object in objects {
            let kind = self.kind(object).await.ok().flatten();
            members.add(object, kind.is_none_or(|kind| kind.namespaced));
        }
        members
    }

    /// Has the server judge what it can judge after this stage; `None`: before all of them. What a
    /// later step applies is judged now where nothing of these steps must be there first.
    async fn judge(&self, work: &mut Work<'a>, after: Option<Stage>) -> Result<(), ClusterError> {
        let is_due = |item: &&mut Item<'_>| item.needs == after && (after.is_none() || !item.later);
        let due = work.items.iter_mut().filter(is_due);
        let looked = each(due, |item| async {
            let looked = match after.is_some() && work.brought.lags(item.object) {
                true => self.look_patiently(item).await,
                false => match self.context.ahead.take(self, item) {
                    Some(ready) => Ok(Looked::Ready(ready)),
                    None => self.look(item).await,
                },
            };
            (item, looked)
        });
        let mut heirs = Vec::new();
        let mut failures = Failures::default();
        for (item, looked) in looked.await {
            match looked {
                Ok(_) if item.later => {}
                Ok(Looked::Ready(ready)) => item.ready = Some(ready),
                Ok(Looked::Inherits) => heirs.push(item),
                Err(refusal) => failures.add(item, refusal),
            }
        }
        failures.into_result(self.context.cluster)?;
        // Only now, when nothing was refused, is anything written.
        let settled = each(heirs.into_iter(), |item| async {
            let settled = self.inherit(item).await;
            (item, settled)
        });
        let mut failures = Failures::default();
        for (item, settled) in settled.await {
            match settled {
                Ok(ready) => item.ready = Some(ready),
                Err(refusal) => failures.add(item, refusal),
            }
        }
        failures.into_result(self.context.cluster)
    }

    /// Applies those of the objects that were judged and are not applied yet. What one of them meets
    /// keeps no other from being applied, unless the cluster does not answer.
    async fn carry_out(
        &self,
        work: &mut Work<'a>,
        is_due: impl Fn(&Item<'_>) -> bool,
    ) -> Result<(), ClusterError> {
        let due = work.items.iter_mut().filter(|item| is_due(item));
        let due = due.filter_map(|item| Some((item.ready.take()?, item)));
        let done = each(due, |(ready, item)| async {
            let done = self.apply_one(item, ready).await;
            (item, done)
        });
        let mut failures = Failures::default();
        for (item, done) in done.await {
            if let Err(refusal) = done {
                failures.add(item, refusal);
            }
        }
        failures.into_result(self.context.cluster)
    }
}

/// Does it for each, as many at once as may travel, beginning in their order. Once the cluster does not
/// answer for one, nothing more is begun.
pub(super) fn each<T, U, R, F: Future<Output = (U, Result<R, Refusal>)>>(
    all: impl Iterator<Item = T>,
    does: impl Fn(T) -> F,
) -> impl Future<Output = Vec<F::Output>> {
    let silent = Arc::new(AtomicBool::new(false));
    let unless_silent = |one: F| {
        let silent = silent.clone();
        async move {
            if silent.load(Ordering::Relaxed) {
                return None;
            }
            let done = one.await;
            if matches!(done.1, Err(Refusal::Unavailable { .. })) {
                silent.store(true, Ordering::Relaxed);
            }
            Some(done)
        }
    };
    // What makes the futures is not kept beside them: it could not move to another thread.
    let all: Vec<_> = all.map(|one| unless_silent(does(one))).collect();
    let done = stream::iter(all).buffer_unordered(IN_FLIGHT);
    done.filter_map(std::future::ready).collect()
}
