//! Objects that manifests name and that do not carry the set's label: whether they are there, and
//! whose they are.
//!
//! Owns asking for as little as possible: a few are asked for one by one, many by one list of their
//! metadata. What was seen is believed for a moment, so that a first sync of thousands asks once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Request;
use http::header::ACCEPT;
use jiff::Timestamp;
use kube::Client;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::answer::{self, Asked};
use super::kinds::Kind;
use super::marks::{PART_OF, Set};
use super::watch::Key;
use super::watch::object::Head;
use crate::cluster::ClusterError;
use crate::model::{EnvironmentName, Health};
use crate::plan::{Drifted, LiveObject, Mark};

/// How long what was seen is believed.
const BELIEVED: Duration = Duration::from_secs(10);

/// As many objects of a kind are asked for one by one within that time.
const SINGLES: u32 = 4;

/// As many namespaces of a kind are listed one by one within that time.
const NAMESPACES: usize = 3;

/// How many objects' metadata an answer holds.
const PAGE: usize = 250;

const ONE: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const MANY: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// See the module.
pub(super) struct Looks {
    cluster: String,
    environment: EnvironmentName,
    set: Set,
    client: Client,
    kinds: Mutex<HashMap<(String, String), Arc<OfKind>>>,
}

/// What was seen of a kind.
#[derive(Default)]
struct OfKind {
    seen: Mutex<Seen>,
    listing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Seen {
    /// Whole listings, by namespace (`None`: the whole cluster).
    lists: HashMap<Option<Arc<str>>, List>,
    /// Objects that were asked for one by one; `None`: not there.
    singles: HashMap<Key, (Instant, Option<LiveObject>)>,
    /// How many of them were asked for since when.
    asked: (u32, Option<Instant>),
    /// The whole cluster may not be listed.
    by_namespace_only: bool,
}

struct List {
    at: Instant,
    objects: Arc<HashMap<Key, LiveObject>>,
}

#[derive(Deserialize)]
struct Page<'a> {
    metadata: PageMetadata,
    /// Of nothing, some servers make nothing instead of an empty list.
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct PageMetadata {
    #[serde(rename = "continue")]
    next: Option<String>,
}

impl Looks {
    pub(super) fn new(
        cluster: &str,
        environment: EnvironmentName,
        set: Set,
        client: Client,
    ) -> Self {
        Self {
            cluster: cluster.to_owned(),
            environment,
            set,
            client,
            kinds: Mutex::default(),
        }
    }

    /// An object that is not followed, if it is there. What was seen before `since` is not believed:
    /// then an object left what is followed.
    ///
    /// # Errors
    /// [`ClusterError::Unavailable`].
    pub(super) async fn find(
        &self,
        kind: &Kind,
        key: &Key,
        since: Option<Instant>,
        now: Timestamp,
    ) -> Result<Option<LiveObject>, ClusterError> {
        let of = self.of(kind);
        if let Some(answer) = of.known(key, since) {
            return Ok(answer);
        }
        if of.may_ask_singly() {
            let at = Instant::now();
            let found = self.get(kind, key, now).await?;
            let mut seen = locked(&of.seen);
            seen.singles.insert(key.clone(), (at, found.clone()));
            return Ok(found);
        }
        let _listing = of.listing.lock().await;
        if let Some(answer) = of.known(key, since) {
            return Ok(answer);
        }
        let namespace = of.namespace_to_list(key);
        let at = Instant::now();
        let listed = match self.list(kind, namespace.as_deref(), now).await {
            Err(error) if namespace.is_none() && answer::is(&error, 403) => {
                locked(&of.seen).by_namespace_only = true;
                let own = Some(key.namespace.clone()).filter(|it| !it.is_empty());
                (own.clone(), self.list(kind, own.as_deref(), now).await)
            }
            listed => (namespace, listed),
        };
        let (namespace, listed) = listed;
        let objects = listed.map_err(|error| {
            let asked = asked("list", kind, namespace.as_deref());
            answer::unavailable(&self.cluster, &asked, &error)
        })?;
        let found = objects.get(key).cloned();
        let list = List {
            at,
            objects: Arc::new(objects),
        };
        locked(&of.seen).lists.insert(namespace, list);
        Ok(found)
    }

    /// What was seen of a kind is no longer believed.
    pub(super) fn forget(&self, group: &str, kind: &str) {
        locked(&self.kinds).remove(&(group.to_owned(), kind.to_owned()));
    }

    fn of(&self, kind: &Kind) -> Arc<OfKind> {
        let mut kinds = locked(&self.kinds);
        let key = (kind.group.clone(), kind.kind.clone());
        kinds.entry(key).or_default().clone()
    }

    async fn get(
        &self,
        kind: &Kind,
        key: &Key,
        now: Timestamp,
    ) -> Result<Option<LiveObject>, ClusterError> {
        let namespace = Some(&*key.namespace).filter(|it| !it.is_empty());
        let path = format!("{}/{}", kind.collection(namespace), key.name);
        let text = self.ask(&path, ONE).await;
        match text {
            Ok(text) => {
                let head = Head::read(&text).map_err(|error| self.unreadable(kind, &error))?;
                Ok(Some(self.live(kind, &head, now)))
            }
            // What cannot be read is kept nowhere.
            Err(error) if answer::is(&error, 404) || answer::is(&error, 405) => Ok(None),
            Err(error) => {
                let asked = asked("get", kind, namespace);
                Err(answer::unavailable(&self.cluster, &asked, &error))
            }
        }
    }

    /// The metadata of all objects of a kind that are not of the set.
    async fn list(
        &self,
        kind: &Kind,
        namespace: Option<&str>,
        now: Timestamp,
    ) -> Result<HashMap<Key, LiveObject>, kube::Error> {
        let mut objects = HashMap::new();
        let mut next = String::new();
        loop {
            let path = format!(
                "{}?limit={PAGE}&labelSelector={PART_OF}!%3D{}{next}",
                kind.collection(namespace),
                self.set.id,
            );
            let text = self.ask(&path, MANY).await?;
            let page: Page<'_> = serde_json::from_str(&text).map_err(kube::Error::SerdeError)?;
            for item in page.items.into_iter().flatten() {
                let head = Head::read(item.get()).map_err(kube::Error::SerdeError)?;
                let key = Key {
                    namespace: (*head.metadata.namespace).into(),
                    name: (*head.metadata.name).into(),
                };
                objects.insert(key, self.live(kind, &head, now));
            }
            match page.metadata.next.filter(|next| !next.is_empty()) {
                None => return Ok(objects),
                Some(token) => {
                    let mut query = url::form_urlencoded::Serializer::new(String::new());
                    next = format!("&{}", query.append_pair("continue", &token).finish());
                }
            }
        }
    }

    async fn ask(&self, path: &str, accept: &str) -> Result<String, kube::Error> {
        let request = Request::get(path).header(ACCEPT, accept);
        let request = request.body(Vec::new()).map_err(kube::Error::HttpError)?;
        self.client.request_text(request).await
    }

    /// An object that is not followed, from its metadata.
    fn live(&self, kind: &Kind, head: &Head<'_>, now: Timestamp) -> LiveObject {
        let metadata = &head.metadata;
        let mark = self.mark(head);
        let ours = mark
            .as_ref()
            .is_some_and(|mark| mark.environment == self.environment);
        let in_set = metadata.labels.part_of.as_ref() == Some(&self.set.id);
        let applied_at = metadata.applied().and_then(|(_, time)| time);
        let applied_at = applied_at.or(metadata.creation_timestamp);
        // Somebody took its label away, and with it the object out of our sight.
        let drift = (ours && !in_set).then(|| Drifted {
            fields: vec![format!(".metadata.labels.{PART_OF}")],
            by: None,
            rounds: 0,
            rest_until: None,
        });
        LiveObject {
            uid: metadata.uid.clone().into_owned(),
            version: metadata.resource_version.clone().into_owned(),
            engine: match mark {
                Some(_) => None,
                None => metadata.engine().map(str::to_owned),
            },
            managers: match mark {
                Some(_) => Vec::new(),
                None => metadata.managers(),
            },
            service_type: None,
            mark,
            health: match kind.is_watchable() {
                true => Health::InProgress("it is not followed yet".to_owned()),
                // It never will be: that it is there is all that is known.
                false => Health::Current,
            },
            applied_at: applied_at.map_or(now, |at| at.min(now)),
            drift,
            kept: metadata.kept(),
            claimed: None,
        }
    }

    fn mark(&self, head: &Head<'_>) -> Option<Mark> {
        let labels = &head.metadata.labels;
        let (hash, commit) = head.metadata.hash_and_commit()?;
        Some(Mark {
            application: labels.application.as_ref()?.parse().ok()?,
            environment: labels.environment.as_ref()?.parse().ok()?,
            hash,
            commit,
        })
    }

    fn unreadable(&self, kind: &Kind, error: &serde_json::Error) -> ClusterError {
        ClusterError::Unavailable {
            cluster: self.cluster.clone(),
            detail: format!(
                "what it answers of {} cannot be read: {error}",
                kind.resource()
            ),
            retry_after: None,
        }
    }
}

impl OfKind {
    /// What is still believed of an object.
    fn known(&self, key: &Key, since: Option<Instant>) -> Option<Option<LiveObject>> {
        let is_believed =
            |at: Instant| at.elapsed() < BELIEVED && since.is_none_or(|since| at > since);
        let seen = locked(&self.seen);
        let own = Some(key.namespace.clone());
        let list = [None, own].iter().find_map(|namespace| {
            let list = seen.lists.get(namespace)?;
            is_believed(list.at).then(|| list.objects.get(key).cloned())
        });
        list.or_else(|| {
            let (at, found) = seen.singles.get(key)?;
            is_believed(*at).then(|| found.clone())
        })
    }

    fn may_ask_singly(&self) -> bool {
        let mut seen = locked(&self.seen);
        let (asked, since) = seen.asked;
        if since.is_none_or(|since| since.elapsed() >= BELIEVED) {
            // Where many were asked for a moment ago, many more will be.
            let goes_on = asked > SINGLES && since.is_some_and(|it| it.elapsed() < 2 * BELIEVED);
            *seen = Seen {
                by_namespace_only: seen.by_namespace_only,
                asked: (if goes_on { SINGLES } else { 0 }, Some(Instant::now())),
                ..Seen::default()
            };
        }
        seen.asked.0 += 1;
        seen.asked.0 <= SINGLES
    }

    /// The namespace to list; `None`: the whole cluster at once.
    fn namespace_to_list(&self, key: &Key) -> Option<Arc<str>> {
        let seen = locked(&self.seen);
        let is_wide =
            key.namespace.is_empty() || (seen.lists.len() >= NAMESPACES && !seen.by_namespace_only);
        (!is_wide).then(|| key.namespace.clone())
    }
}

fn asked(verb: &'static str, kind: &Kind, namespace: Option<&str>) -> Asked {
    Asked {
        verb,
        resource: kind.resource(),
        namespace: namespace.filter(|_| kind.namespaced).map(str::to_owned),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
