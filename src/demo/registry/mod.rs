//! An OCI registry in this process that any client can push to, on a free port of 127.0.0.1.
//!
//! Owns the server, its counters and its faults; everything it stores is in memory, bounded, and
//! gone with it. Never part of `run`.

mod access;
mod events;
mod routes;
mod store;
mod uploads;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use bytes::Bytes;
use tokio::task::JoinHandle;
use url::Url;

pub use access::{Access, User};
pub use events::Notify;

use super::image::Image;
use crate::model::{Digest, ImageRepository, is_tag};
use access::Tokens;
use events::Events;
use store::{Refusal, Store};
use wire::{Listener, Power};

/// The running registry. Dropping it stops it.
pub struct DemoRegistry {
    address: SocketAddr,
    shared: Arc<Shared>,
    power: Power,
    server: JoinHandle<()>,
}

/// What the server and its owner both touch.
struct Shared {
    address: SocketAddr,
    store: Mutex<Store>,
    tokens: Mutex<Tokens>,
    access: Mutex<Access>,
    quirks: Mutex<Quirks>,
    fault: Mutex<Option<Rule>>,
    counts: Mutex<Counts>,
    events: Option<Events>,
}

/// Habits in which registries differ.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quirks {
    /// The tag list comes whole and unsorted, whatever `n` and `last` say, and as null where it is
    /// empty, as from distribution 2.8.
    pub whole_list: bool,
    /// `n` and `last` are obeyed, but no `Link` is sent.
    pub no_link: bool,
    /// `Link` holds a whole address instead of a path.
    pub absolute_link: bool,
    /// No `Docker-Content-Digest` is sent.
    pub no_digest: bool,
    /// No `ETag` is sent.
    pub no_etag: bool,
    /// Referrers are not listed, as from distribution 2.8.
    pub no_referrers: bool,
}

/// What goes wrong, and where.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Requests whose path contains this.
    pub path: &'static str,
    /// How many of them; then the registry is well again.
    pub times: usize,
    /// What happens to them.
    pub fault: Fault,
}

/// What happens to a request instead of an answer.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This answer.
    Answer {
        /// The HTTP status.
        status: u16,
        /// Name and value of headers beside the content type, which is JSON's.
        headers: Vec<(&'static str, String)>,
        /// The body.
        body: String,
    },
    /// 200 with a body of so many bytes, sent without their number.
    Flood(usize),
    /// No answer at all.
    Hang,
    /// The connection ends within the body.
    Cut,
}

/// How many requests of each kind came in, including refused and failed ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tag lists.
    pub tag_lists: usize,
    /// HEAD of manifests.
    pub manifest_heads: usize,
    /// GET of manifests.
    pub manifest_gets: usize,
    /// Manifest requests answered with 304.
    pub not_modified: usize,
    /// HEAD and GET of blobs.
    pub blobs: usize,
    /// Requests to the token server.
    pub tokens: usize,
    /// POST, PUT, PATCH and DELETE.
    pub writes: usize,
    /// Everything else.
    pub others: usize,
}

impl Counts {
    /// Requests in all.
    pub fn all(&self) -> usize {
        self.reads() + self.tokens + self.writes + self.others
    }

    /// Requests that read tags, manifests and blobs.
    pub fn reads(&self) -> usize {
        self.tag_lists + self.manifest_heads + self.manifest_gets + self.blobs
    }
}

impl DemoRegistry {
    /// Starts it. Notifications, where wanted, are sent for every pushed manifest.
    ///
    /// # Errors
    /// No port of 127.0.0.1 can be bound.
    pub async fn start(access: Access, notify: Option<Notify>) -> io::Result<Self> {
        let inner = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = inner.local_addr()?;
        let power = Power::default();
        let listener = Listener {
            inner,
            power: power.clone(),
        };
        let shared = Arc::new(Shared {
            address,
            store: Mutex::default(),
            tokens: Mutex::default(),
            access: Mutex::new(access),
            quirks: Mutex::default(),
            fault: Mutex::default(),
            counts: Mutex::default(),
            events: notify.map(Events::start),
        });
        let router = Router::new()
            .fallback(routes::answer)
            .with_state(shared.clone());
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the demo registry ended");
            }
        });
        Ok(Self {
            address,
            shared,
            power,
            server,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its root.
    pub fn url(&self) -> Url {
        self.shared.url()
    }

    /// A repository in it, by its path.
    ///
    /// # Errors
    /// The path is none.
    pub fn repository(&self, path: &str) -> Result<ImageRepository, crate::model::InvalidImage> {
        format!("{}/{path}", self.address).parse()
    }

    /// Shows an image of another registry under a tag, as a pull-through cache that has read its
    /// manifests and its configuration. It is told of like a push.
    ///
    /// # Errors
    /// What a push would be answered.
    pub fn show(&self, repository: &str, tag: &str, image: &Image) -> anyhow::Result<Digest> {
        let refused = |Refusal(_, code, text): Refusal| anyhow::anyhow!("{code}: {text}");
        let mut store = lock(&self.shared.store);
        for blob in image.blobs() {
            store.keep_blob(blob).map_err(refused)?;
        }
        let top = image.digest();
        for (media_type, body) in image.manifests() {
            let digest = Digest::of(body);
            let reference = match digest == top {
                true => tag.to_owned(),
                false => digest.to_string(),
            };
            let manifest = store::Manifest {
                media_type: media_type.to_owned(),
                body: Bytes::copy_from_slice(body),
            };
            let size = manifest.body.len();
            let kept = store.keep_manifest(repository, &reference, manifest);
            kept.map_err(refused)?;
            if let Some(events) = &self.shared.events {
                events.pushed(events::Push {
                    repository: repository.to_owned(),
                    tag: is_tag(&reference).then_some(reference),
                    digest,
                    media_type: media_type.to_owned(),
                    size,
                    url: format!("{}v2/{repository}/manifests/{digest}", self.shared.url()),
                });
            }
        }
        Ok(top)
    }

    /// Requests so far.
    pub fn counts(&self) -> Counts {
        *lock(&self.shared.counts)
    }

    /// Changes who may ask. Tokens given out so far are withdrawn.
    pub fn set_access(&self, access: Access) {
        *lock(&self.shared.access) = access;
        self.withdraw_tokens();
    }

    /// Withdraws every token.
    pub fn withdraw_tokens(&self) {
        lock(&self.shared.tokens).clear();
    }

    /// Changes its habits.
    pub fn set_quirks(&self, quirks: Quirks) {
        *lock(&self.shared.quirks) = quirks;
    }

    /// Lets something go wrong from now on, or lets the registry be well again.
    pub fn set_fault(&self, rule: Option<Rule>) {
        *lock(&self.shared.fault) = rule;
    }

    /// Takes it down or up. While it is down every connection ends as soon as it is used.
    pub fn set_down(&self, down: bool) {
        self.power.set_down(down);
    }
}

impl Drop for DemoRegistry {
    fn drop(&mut self) {
        self.server.abort();
        self.power.set_down(true);
    }
}

impl Shared {
    fn url(&self) -> Url {
        format!("http://{}/", self.address)
            .parse()
            .expect("a socket address makes a URL")
    }

    /// The fault this request meets.
    fn fault(&self, path: &str) -> Option<Fault> {
        let mut rule = lock(&self.fault);
        let rule = rule.as_mut()?;
        if rule.times == 0 || !path.contains(rule.path) {
            return None;
        }
        rule.times -= 1;
        Some(rule.fault.clone())
    }
}

/// A panic of a handler leaves whole values behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
