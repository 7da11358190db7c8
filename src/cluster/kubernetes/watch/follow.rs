//! Following collections for as long as the process lives: one task each, with its own pauses.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::around::Part;
use super::store::{At, Progress};
use super::wire::{Broken, Collection, Follower, Sink};
use crate::backoff::backoff;
use crate::cluster::ClusterError;
use crate::cluster::kubernetes::answer::{self, Asked};
use crate::cluster::kubernetes::marks;

/// How soon a collection is followed again, the first time; doubled each further time.
const PAUSE_MIN: Duration = Duration::from_millis(200);

/// The longest pause, unless the server asks for more.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A stream that lasted so long was one.
const LASTED: Duration = Duration::from_secs(1);

/// A sink that also hears of interruptions.
pub(super) trait Told: Sink + Send {
    /// What is known is no longer followed: the cluster does not answer, or refuses.
    fn interrupted(&mut self, error: ClusterError);

    /// There is no such collection (any more).
    fn over(&mut self);
}

/// Follows until stopped, or until there is no such collection.
pub(super) async fn follow(
    shared: Arc<Shared>,
    collection: Collection,
    asked: Asked,
    mut sink: impl Told,
    stop: CancellationToken,
) {
    let mut follower = Follower::new(shared.client.clone(), collection, &shared.streams_lists);
    let mut failures = 0_u32;
    loop {
        let began = Instant::now();
        let ended = tokio::select! {
            ended = follower.follow(&mut sink) => ended,
            () = stop.cancelled() => return,
        };
        let lasted = began.elapsed() >= LASTED;
        let pause = match ended {
            Ok(()) if lasted => {
                failures = 0;
                continue;
            }
            // A server that ends every stream at once is not asked in a loop.
            Ok(()) => PAUSE_MIN,
            Err(Broken::Request(error)) if answer::is(&error, 404) => {
                sink.over();
                return;
            }
            Err(broken) => {
                if lasted {
                    failures = 0;
                }
                let error = told(&shared.name, &asked, &broken);
                // A stream that broke is taken up again before anybody is told.
                if failures > 0 || !lasted {
                    tracing::debug!(%error, "is not followed");
                    sink.interrupted(error);
                }
                failures = failures.saturating_add(1);
                pause(failures).max(retry_after(&broken))
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

fn pause(failures: u32) -> Duration {
    backoff(PAUSE_MIN, failures.saturating_sub(1), PAUSE_MAX)
}

fn retry_after(broken: &Broken) -> Duration {
    match broken {
        Broken::Request(error) => answer::retry_after(error).unwrap_or_default(),
        _ => Duration::ZERO,
    }
}

fn told(cluster: &str, asked: &Asked, broken: &Broken) -> ClusterError {
    match broken {
        Broken::Request(error) => answer::unavailable(cluster, asked, error),
        broken => ClusterError::Unavailable {
            cluster: cluster.to_owned(),
            detail: format!("{} {}: {broken}", asked.verb, asked.resource),
            retry_after: None,
        },
    }
}

/// Takes the members of the set, of one kind.
pub(super) struct Members {
    pub(super) shared: Arc<Shared>,
    pub(super) at: At,
}

impl Sink for Members {
    fn begin(&mut self) {
        self.shared.store().begin(self.at);
    }

    fn put(&mut self, object: &RawValue) -> serde_json::Result<String> {
        let now = self.shared.moment();
        let mut store = self.shared.store();
        let version = store.put(self.at, object.get(), now)?;
        let is_listing = store.is_listing(self.at);
        drop(store);
        self.shared.hear();
        // What is listed is told of once it is whole.
        if !is_listing {
            self.shared.spread();
        }
        Ok(version)
    }

    fn gone(&mut self, object: &RawValue) -> serde_json::Result<String> {
        let version = self.shared.store().gone(self.at, object.get())?;
        self.shared.hear();
        self.shared.spread();
        Ok(version)
    }

    fn complete(&mut self) {
        let mut store = self.shared.store();
        let was_broken = {
            let scope = &store.kinds[self.at.kind].scopes[self.at.scope];
            matches!(scope.progress, Progress::Broken(_))
        };
        store.complete(self.at);
        if was_broken {
            store.tell_everybody();
        }
        drop(store);
        self.shared.hear();
        self.shared.progressed();
    }
}

impl Told for Members {
    fn interrupted(&mut self, error: ClusterError) {
        let mut store = self.shared.store();
        if store.interrupt(self.at, error) {
            store.tell_everybody();
        }
        drop(store);
        self.shared.progressed();
    }

    fn over(&mut self) {
        self.shared.store().end_kind(self.at.kind);
        self.shared.progressed();
    }
}

/// Takes the set's parent.
pub(super) struct Parent {
    pub(super) shared: Arc<Shared>,
    /// Whether the listing that is on its way named it.
    pub(super) is_there: bool,
}

#[derive(Deserialize)]
struct ParentHead {
    metadata: ParentMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ParentMetadata {
    resource_version: String,
    #[serde(default)]
    labels: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

impl Parent {
    fn take(&self, kinds: &str, hold: Option<&str>) {
        let kinds = kinds
            .split(',')
            .map(str::trim)
            .filter(|kind| !kind.is_empty());
        let kinds = kinds.map(str::to_owned).collect();
        let hold = hold.map(|hold| hold.trim().to_owned());
        let mut store = self.shared.store();
        let held = store.parent.hold != hold;
        store.parent.kinds = kinds;
        store.parent.hold = hold;
        if held {
            store.tell_everybody();
        }
        drop(store);
        self.shared.spread();
    }
}

impl Sink for Parent {
    fn begin(&mut self) {
        self.is_there = false;
    }

    fn put(&mut self, object: &RawValue) -> serde_json::Result<String> {
        let ParentHead { metadata } = serde_json::from_str(object.get())?;
        self.is_there = true;
        let set = &self.shared.set;
        set.noticed(Some(&metadata.resource_version));
        let is_ours = metadata.labels.get(marks::SET_ID) == Some(&set.set().id);
        let annotation = |name: &str| metadata.annotations.get(name).map(String::as_str);
        let kinds = annotation(marks::GROUP_KINDS).filter(|_| is_ours);
        self.take(kinds.unwrap_or_default(), annotation(marks::HOLD));
        Ok(metadata.resource_version)
    }

    fn gone(&mut self, object: &RawValue) -> serde_json::Result<String> {
        let ParentHead { metadata } = serde_json::from_str(object.get())?;
        self.is_there = false;
        self.shared.set.noticed(None);
        self.take("", None);
        Ok(metadata.resource_version)
    }

    fn complete(&mut self) {
        let was = std::mem::replace(&mut self.shared.store().parent.state, Progress::Current);
        if !self.is_there {
            self.shared.set.noticed(None);
            self.take("", None);
        }
        if matches!(was, Progress::Broken(_)) {
            self.shared.store().tell_everybody();
        }
        self.shared.progressed();
    }
}

impl Told for Parent {
    fn interrupted(&mut self, error: ClusterError) {
        let mut store = self.shared.store();
        let broken = Progress::Broken(error);
        if !matches!(
            std::mem::replace(&mut store.parent.state, broken),
            Progress::Broken(_)
        ) {
            store.tell_everybody();
        }
        drop(store);
        self.shared.progressed();
    }

    fn over(&mut self) {
        self.complete();
    }
}

/// Takes a part of what is around a namespace's workloads.
pub(super) struct Surroundings {
    pub(super) shared: Arc<Shared>,
    pub(super) namespace: Arc<str>,
    pub(super) part: Part,
    /// The uids that the listing on its way did not name yet.
    pub(super) missing: std::collections::HashSet<String>,
    pub(super) known: std::collections::HashSet<String>,
}

impl Surroundings {
    fn tell(&self, uid: &str, object: Option<&Value>) {
        let now = self.shared.moment();
        let mut store = self.shared.store();
        store.surround(&self.namespace, self.part, uid, object, now);
        drop(store);
        self.shared.hear();
        self.shared.spread();
    }
}

impl Sink for Surroundings {
    fn begin(&mut self) {
        self.missing = self.known.clone();
    }

    fn put(&mut self, object: &RawValue) -> serde_json::Result<String> {
        let value: Value = serde_json::from_str(object.get())?;
        let (uid, version) = identity(&value);
        self.missing.remove(&uid);
        self.tell(&uid, Some(&value));
        self.known.insert(uid);
        Ok(version)
    }

    fn gone(&mut self, object: &RawValue) -> serde_json::Result<String> {
        let value: Value = serde_json::from_str(object.get())?;
        let (uid, version) = identity(&value);
        self.known.remove(&uid);
        self.tell(&uid, None);
        Ok(version)
    }

    fn complete(&mut self) {
        for uid in std::mem::take(&mut self.missing) {
            self.known.remove(&uid);
            self.tell(&uid, None);
        }
    }
}

impl Told for Surroundings {
    /// Nobody waits for it: what explains is missed, and health is read from the object alone.
    fn interrupted(&mut self, error: ClusterError) {
        tracing::warn!(%error, "why workloads do not become ready cannot be seen");
    }

    fn over(&mut self) {}
}

fn identity(object: &Value) -> (String, String) {
    let text = |key: &str| {
        object["metadata"][key]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    (text("uid"), text("resourceVersion"))
}
