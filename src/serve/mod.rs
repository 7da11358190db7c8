//! What is answered to the outside: webhooks, which only shorten the wait; whether the process is well;
//! what it counted.
//!
//! What webhooks say is never believed: the source they name is read again. Owns the listener and its
//! limits. Decides nothing, and shows no secret.

mod healthy;
mod keys;
mod listener;
pub mod metrics;
mod payload;
mod receive;
mod tls;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use axum::Router;
use axum::routing::{get, post};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use crate::secret::signature;
pub use keys::{Keys, NoSecret};
pub use metrics::Metrics;
pub use tls::NoCertificate;

use crate::clock;
use crate::http::Meter;
use crate::model::{Admission, Sender, TlsFiles, Webhooks};
use crate::notifications::Standings;
use crate::reconcile::Reconciler;
use listener::Listener;
use tls::Certificate;

/// Bytes of bodies that are held at a time, of all deliveries together.
const BODIES_MAX: usize = 8 << 20;

/// What answers: for the reconciler that runs now.
#[derive(Clone)]
pub struct Hooks {
    serving: Arc<Serving>,
}

struct Serving {
    now: Mutex<Now>,
    metrics: Arc<Metrics>,
    /// What bodies may still take.
    bodies: Arc<Semaphore>,
}

#[derive(Default)]
struct Now {
    reconciler: Weak<Reconciler>,
    keys: Arc<Keys>,
    /// Whether every source was ever tried: a changed configuration does not take that back.
    ready: bool,
}

/// Where it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// The address; with port 0 the system picks one.
    pub address: SocketAddr,
    /// The certificate; `None`: plain HTTP.
    pub tls: Option<TlsFiles>,
}

impl From<SocketAddr> for Door {
    fn from(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }
}

/// Why nothing can be answered.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be had.
    #[error("cannot listen at {address}")]
    Address {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] NoCertificate),
}

impl Hooks {
    /// Takes the webhooks of these senders, and counts from now on. `meter` counts what the process asks
    /// of others.
    pub fn new(keys: Keys, meter: Meter) -> Self {
        let now = Now {
            keys: Arc::new(keys),
            ..Now::default()
        };
        Self {
            serving: Arc::new(Serving {
                now: Mutex::new(now),
                metrics: Arc::new(Metrics::new(meter, clock::now())),
                bodies: Arc::new(Semaphore::new(BODIES_MAX)),
            }),
        }
    }

    /// Takes the webhooks of registries and git hooks of this machine, from anybody who reaches the
    /// address: for a listener that nobody else reaches.
    pub fn open() -> Self {
        Self::open_and(Webhooks::new())
    }

    /// The same, and those of others as these are admitted.
    pub fn open_and(others: Webhooks) -> Self {
        let open = [Sender::Registry, Sender::Generic];
        let mut admitted = others;
        admitted.extend(open.map(|sender| (sender, Admission::Unauthenticated)));
        Self::new(Keys::new(&admitted), Meter::default())
    }

    /// Takes those of these senders from now on.
    pub fn admit(&self, keys: Keys) {
        self.serving.now().keys = Arc::new(keys);
    }

    /// Wakes this reconciler, and shows how it is, from now on.
    pub fn serve(&self, reconciler: &Arc<Reconciler>) {
        self.serving.now().reconciler = Arc::downgrade(reconciler);
        self.serving.metrics.show(reconciler);
    }
}

impl Hooks {
    /// Counts from now on how it goes with those who are told of news.
    pub fn show_told(&self, standings: Standings) {
        self.serving.metrics.show_told(standings);
    }
}

impl Serving {
    fn reconciler(&self) -> Option<Arc<Reconciler>> {
        self.now().reconciler.upgrade()
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers until stopped. Gives the address, with the port where the system picked it.
///
/// # Errors
/// Where the address cannot be listened at, or the certificate cannot be used.
pub async fn listen(
    door: impl Into<Door>,
    hooks: Hooks,
    stop: CancellationToken,
) -> Result<SocketAddr, ListenError> {
    let Door { address, tls } = door.into();
    let certificate = match tls {
        Some(files) => Some(Certificate::read(files).await?),
        None => None,
    };
    let at = |source| ListenError::Address { address, source };
    let listener = tokio::net::TcpListener::bind(address).await.map_err(at)?;
    let bound = listener.local_addr().map_err(at)?;
    let router = Router::new()
        .route("/healthz", get(healthy::healthz))
        .route("/readyz", get(healthy::readyz))
        .route("/metrics", get(healthy::metrics))
        .route("/hooks/{*rest}", post(receive::receive))
        .with_state(hooks.serving.clone());
    let listener = Listener {
        listener,
        certificate,
        router,
        metrics: hooks.serving.metrics.clone(),
    };
    tokio::spawn(listener.run(stop));
    Ok(bound)
}
