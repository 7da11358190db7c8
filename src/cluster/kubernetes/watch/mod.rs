//! What an environment's objects do, followed by watches: one for each kind that its set has.
//!
//! Owns which kinds are followed and since when all of a unit is known. Where nothing changed, nothing
//! is asked; after a restart everything is known again by one list of each kind.

mod around;
mod ask;
mod explain;
mod facts;
mod follow;
pub(super) mod object;
mod reduce;
mod store;
mod view;
mod wire;

pub(super) use wire::events;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::store::{At, Progress, Store};
use self::wire::Collection;
use super::answer::{self, Asked};
use super::connect::Connection;
use super::health::{Definition, Rules, is_built_in};
use super::kinds::{Kind, Kinds};
use super::marks::{PART_OF, Set};
use super::place::Place;
use super::set::ApplySet;
use crate::clock;
use crate::cluster::{ClusterError, UnitScope};
use crate::manifest::Rendered;
use crate::model::{ApplicationName, EnvironmentName};

pub(super) use self::ask::Question;
pub(super) use self::facts::Key;
pub(super) use self::view::{Suspect, Unread, View};

/// The server ends a stream after so many seconds, give or take a few: not all at once.
const LASTS: std::ops::Range<u32> = 240..300;

/// What is followed.
pub(super) struct Subject {
    pub(super) place: Arc<Place>,
    pub(super) environment: EnvironmentName,
    pub(super) set: Arc<ApplySet>,
    /// The health rules of each application.
    pub(super) rules: BTreeMap<ApplicationName, Rules>,
    /// The namespaces that are followed; `None`: all of them.
    pub(super) namespaces: Option<BTreeSet<String>>,
}

/// A unit asks for what it asked for before.
pub(super) struct Same;

/// See the module. What it follows ends with it.
pub(super) struct Watch {
    shared: Arc<Shared>,
    begun: Mutex<Option<DropGuard>>,
    ensuring: tokio::sync::Mutex<()>,
}

/// What the tasks share.
struct Shared {
    name: String,
    set: Arc<ApplySet>,
    namespaces: Option<BTreeSet<String>>,
    connection: Arc<Connection>,
    client: Client,
    kinds: Arc<Kinds>,
    /// When the cluster was last heard of.
    heard: Mutex<tokio::time::Instant>,
    store: Mutex<Store>,
    /// Whether the server sends lists as streams.
    streams_lists: AtomicBool,
    /// Some listing came on, or was interrupted.
    progress: Notify,
    /// Somebody is to be told of something.
    news: Notify,
    /// Something may need an explanation.
    unsettled: Notify,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// One moment by our clock and by the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment {
    here: Timestamp,
    there: Timestamp,
}

impl Moment {
    /// A time of the server's by our clock.
    fn here_at(&self, there: Timestamp) -> Timestamp {
        let ago = self.there.duration_since(there);
        self.here.checked_sub(ago).unwrap_or(self.here)
    }
}

impl Shared {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The present, for what just came in: nobody who asked waits for it who could tell the time.
    fn moment(&self) -> Moment {
        self.moment_at(clock::now())
    }

    fn moment_at(&self, here: Timestamp) -> Moment {
        let there = here.checked_add(self.connection.ahead()).unwrap_or(here);
        Moment { here, there }
    }

    /// Something was put into the store: whoever is to be told is told.
    fn spread(&self) {
        let store = self.store();
        let (is_news, is_unsettled) = (!store.changed.is_empty(), !store.unsettled.is_empty());
        drop(store);
        if is_news {
            self.news.notify_waiters();
        }
        if is_unsettled {
            self.unsettled.notify_waiters();
        }
    }

    /// The cluster told something.
    fn hear(&self) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        *heard = tokio::time::Instant::now();
    }

    fn progressed(&self) {
        self.progress.notify_waiters();
        self.spread();
    }
}

impl Watch {
    /// Follows nothing yet. To be called within the async runtime.
    pub(super) fn new(subject: Subject) -> Self {
        let Subject {
            place,
            environment,
            set,
            rules,
            namespaces,
        } = subject;
        let store = Store::new(environment, set.set().clone(), rules);
        Self {
            shared: Arc::new(Shared {
                name: place.name.clone(),
                set,
                namespaces,
                connection: place.connection.clone(),
                client: place.connection.client(),
                kinds: place.kinds.clone(),
                heard: Mutex::new(tokio::time::Instant::now()),
                store: Mutex::new(store),
                streams_lists: AtomicBool::new(true),
                progress: Notify::new(),
                news: Notify::new(),
                unsettled: Notify::new(),
                tasks: TaskTracker::new(),
                stop: CancellationToken::new(),
            }),
            begun: Mutex::default(),
            ensuring: tokio::sync::Mutex::default(),
        }
    }

    /// Takes what a unit asks for. Gives what it asked for before.
    ///
    /// # Errors
    /// [`Same`].
    pub(super) fn wants(
        &self,
        application: &ApplicationName,
        desired: &Arc<Rendered>,
    ) -> Result<Option<Arc<Rendered>>, Same> {
        let mut store = self.shared.store();
        let known = store.desired.get(application);
        if known.is_some_and(|known| Arc::ptr_eq(known, desired)) {
            return Err(Same);
        }
        Ok(store.desired.insert(application.clone(), desired.clone()))
    }

    /// Waits until all that is needed for a unit is known: the set's parent, its kinds, and those that
    /// the unit asks for.
    ///
    /// # Errors
    /// [`ClusterError::Unavailable`]: the cluster does not answer, or refuses, or takes too long.
    pub(super) async fn know(&self, desired: Option<&Arc<Rendered>>) -> Result<(), ClusterError> {
        self.begin();
        self.wait(|store| progress([&store.parent.state])).await?;
        let kinds = self.wanted_kinds(desired);
        self.ensure(&kinds).await?;
        self.wait(|store| {
            let wanted = kinds
                .iter()
                .filter_map(|(group, kind)| store.kind(group, kind));
            let scopes = wanted.flat_map(|kind| &store.kinds[kind].scopes);
            progress(scopes.map(|scope| &scope.progress))
        })
        .await
    }

    /// What is known of a unit.
    pub(super) fn view(&self, unit: &UnitScope, desired: Option<&Arc<Rendered>>) -> View {
        self.shared.store().view(unit, desired)
    }

    /// Why a person holds the environment, said on the set's parent.
    pub(super) fn hold(&self) -> Option<String> {
        self.shared.store().parent.hold.clone()
    }

    /// Returns when something changed, and for which applications.
    pub(super) async fn changed(&self, now: Timestamp) -> BTreeSet<ApplicationName> {
        self.begin();
        let began = tokio::time::Instant::now();
        loop {
            let news = self.shared.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            let passed = SignedDuration::try_from(began.elapsed()).unwrap_or_default();
            let moment = self
                .shared
                .moment_at(now.checked_add(passed).unwrap_or(now));
            let (changed, next) = {
                let mut store = self.shared.store();
                store.look_again_by_time(moment);
                (std::mem::take(&mut store.changed), store.next_look())
            };
            if !changed.is_empty() {
                return changed;
            }
            let left = next.map(|next| next.duration_since(moment.there));
            let left = left.map(|left| Duration::try_from(left).unwrap_or_default());
            tokio::select! {
                () = news => {}
                () = tokio::time::sleep(left.unwrap_or(Duration::MAX)) => {}
            }
        }
    }

    /// Starts to follow the parent, once.
    fn begin(&self) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if begun.is_some() {
            return;
        }
        let shared = &self.shared;
        *begun = Some(shared.stop.clone().drop_guard());
        let Set {
            name, namespace, ..
        } = shared.set.set();
        let collection = Collection {
            path: format!("/api/v1/namespaces/{namespace}/configmaps"),
            labels: None,
            fields: Some(format!("metadata.name={name}")),
            lasts: LASTS.start,
        };
        let asked = Asked {
            verb: "watch",
            resource: "configmaps".to_owned(),
            namespace: Some(namespace.clone()),
        };
        let sink = follow::Parent {
            shared: shared.clone(),
            is_there: false,
        };
        let stop = shared.stop.clone();
        drop(shared.tasks.spawn(follow::follow(
            shared.clone(),
            collection,
            asked,
            sink,
            stop.clone(),
        )));
        drop(shared.tasks.spawn(explain::explain(shared.clone(), stop)));
    }

    /// The kinds of the set, and those that are asked for: group and kind.
    fn wanted_kinds(&self, desired: Option<&Arc<Rendered>>) -> BTreeSet<(String, String)> {
        let store = self.shared.store();
        let of_set = store.parent.kinds.iter().map(|name| {
            let (kind, group) = name.split_once('.').unwrap_or((name, ""));
            (group.to_owned(), kind.to_owned())
        });
        let objects = desired.iter().flat_map(|desired| &desired.objects);
        let asked = objects.map(|object| {
            let of = &object.reference;
            (of.group.clone(), of.kind.clone())
        });
        of_set.chain(asked).collect()
    }

    /// Follows those of the kinds that the cluster serves and that are not followed yet.
    async fn ensure(&self, kinds: &BTreeSet<(String, String)>) -> Result<(), ClusterError> {
        let is_missing = |(group, kind): &&(String, String)| {
            let store = self.shared.store();
            store.kind(group, kind).is_none()
        };
        if !kinds.iter().any(|kind| is_missing(&kind)) {
            return Ok(());
        }
        let _ensuring = self.ensuring.lock().await;
        for (group, kind) in kinds.iter().filter(is_missing) {
            let found = self.shared.kinds.find(group, kind).await;
            let found = found.map_err(|error| {
                let asked = Asked {
                    verb: "get",
                    resource: "the kinds it serves".to_owned(),
                    namespace: None,
                };
                answer::unavailable(&self.shared.name, &asked, &error)
            })?;
            if let Some(kind) = found.filter(|kind| kind.is_watchable()) {
                self.follow(kind).await;
            }
        }
        Ok(())
    }

    async fn follow(&self, kind: Arc<Kind>) {
        let shared = &self.shared;
        let definition = self.definition(&kind).await;
        let namespaces = shared.namespaces.as_ref();
        let mut store = shared.store();
        let index = store.add_kind(kind.clone(), definition, namespaces);
        let scopes = store.kinds[index].scopes.iter();
        let scopes: Vec<_> = scopes.map(|scope| scope.namespace.clone()).collect();
        drop(store);
        for (scope, namespace) in scopes.into_iter().enumerate() {
            let spread = (index + scope) as u32 * 7;
            let collection = Collection {
                path: kind.collection(namespace.as_deref()),
                labels: Some(format!("{PART_OF}={}", shared.set.set().id)),
                fields: None,
                lasts: LASTS.start + spread % (LASTS.end - LASTS.start),
            };
            let asked = Asked {
                verb: "watch",
                resource: kind.resource(),
                namespace: namespace.as_deref().map(str::to_owned),
            };
            let at = At { kind: index, scope };
            let sink = follow::Members {
                shared: shared.clone(),
                at,
            };
            let stop = shared.stop.clone();
            let following = follow::follow(shared.clone(), collection, asked, sink, stop);
            drop(shared.tasks.spawn(following));
        }
    }

    /// What a custom resource's definition says of its status; nothing where it cannot be read.
    async fn definition(&self, kind: &Kind) -> Definition {
        if is_built_in(&kind.group) {
            return Definition::Unknown;
        }
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let request = http::Request::get(format!("{path}/{}.{}", kind.plural, kind.group));
        let Ok(request) = request.body(Vec::new()) else {
            return Definition::Unknown;
        };
        match self.shared.client.request::<Value>(request).await {
            Ok(found) => {
                let version = kind.versions.first().map_or("v1", String::as_str);
                Definition::of(&found, version)
            }
            Err(error) => {
                let kind = kind.resource();
                tracing::debug!(kind, %error, "its definition cannot be read");
                Definition::Unknown
            }
        }
    }

    /// Waits until the store says that something is known, or why it cannot be; as long as the
    /// cluster goes on telling.
    async fn wait(
        &self,
        is_known: impl Fn(&Store) -> Result<bool, ClusterError>,
    ) -> Result<(), ClusterError> {
        let patience = self.shared.connection.access().timeout;
        let began = tokio::time::Instant::now();
        loop {
            let progress = self.shared.progress.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            if is_known(&self.shared.store())? {
                return Ok(());
            }
            let silence = self.silence().min(began.elapsed());
            let Some(left) = patience.checked_sub(silence).filter(|left| !left.is_zero()) else {
                return Err(ClusterError::Unavailable {
                    cluster: self.shared.name.clone(),
                    detail: format!(
                        "its objects are not listed, and nothing came for {} s",
                        patience.as_secs()
                    ),
                    retry_after: None,
                });
            };
            tokio::select! {
                () = progress => {}
                () = tokio::time::sleep(left) => {}
            }
        }
    }
}

/// Whether all of them are current.
fn progress<'a>(all: impl IntoIterator<Item = &'a Progress>) -> Result<bool, ClusterError> {
    let mut current = true;
    for progress in all {
        match progress {
            Progress::Broken(error) => return Err(error.clone()),
            Progress::Listing => current = false,
            Progress::Current => {}
        }
    }
    Ok(current)
}
