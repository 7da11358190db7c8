//! Takes webhooks: they only shorten the wait, and name what may have changed. What they say is
//! never believed: the source itself is read again.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::model::{ImageRepository, RepositoryUrl};
use crate::reconcile::Reconciler;

/// The largest body that is taken.
const BODY_MAX: usize = 1 << 20;

/// Where webhooks go: to the reconciler that runs now.
#[derive(Clone, Default)]
pub struct Hooks {
    reconciler: Arc<Mutex<Weak<Reconciler>>>,
}

impl Hooks {
    /// Wakes this reconciler from now on.
    pub fn serve(&self, reconciler: &Arc<Reconciler>) {
        *self
            .reconciler
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(reconciler);
    }

    fn reconciler(&self) -> Option<Arc<Reconciler>> {
        self.reconciler
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .upgrade()
    }
}

/// Listens until stopped. Gives the address, with the port where the system picked it.
///
/// # Errors
/// Where the address cannot be listened at.
pub async fn listen(
    address: SocketAddr,
    hooks: Hooks,
    stop: CancellationToken,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/hooks/registry", post(registry))
        .route("/hooks/git", post(git))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(hooks);
    tokio::spawn(async move {
        let served = axum::serve(listener, router)
            .with_graceful_shutdown(async move { stop.cancelled().await });
        if let Err(error) = served.await {
            tracing::error!(%error, "no longer listens for webhooks");
        }
    });
    Ok(bound)
}

/// A registry's notification, in the envelope of the distribution registry
/// (<https://distribution.github.io/distribution/about/notifications/>): pushes wake what they name.
async fn registry(State(hooks): State<Hooks>, body: String) -> StatusCode {
    let Some(reconciler) = hooks.reconciler() else {
        return StatusCode::SERVICE_UNAVAILABLE;
    };
    let Ok(envelope) = serde_json::from_str::<Value>(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    let events = envelope
        .get("events")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let mut known = events.is_empty();
    for event in events {
        // Our own reads are told as pulls: they must not wake us.
        if event.get("action").and_then(Value::as_str) != Some("push") {
            known = true;
            continue;
        }
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
        let digest = text("/target/digest").and_then(|digest| digest.parse().ok());
        let tag = text("/target/tag").map(|tag| (tag, digest));
        known |=
            image_repository(event).is_some_and(|it| reconciler.images_may_have_changed(&it, tag));
    }
    if known {
        StatusCode::ACCEPTED
    } else {
        StatusCode::NOT_FOUND
    }
}

fn image_repository(event: &Value) -> Option<ImageRepository> {
    let path = event.pointer("/target/repository")?.as_str()?;
    let host = event.pointer("/request/host").and_then(Value::as_str);
    let from_url = || {
        let url: url::Url = event.pointer("/target/url")?.as_str()?.parse().ok()?;
        let host = url.host_str()?;
        Some(
            url.port()
                .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
        )
    };
    let host = host.map(str::to_owned).or_else(from_url)?;
    format!("{host}/{path}").parse().ok()
}

/// A push to a git server: any JSON that names the repository by `repository.clone_url`, `.ssh_url`,
/// `.html_url` or `.url`, as GitHub, Gitea and others send it.
async fn git(State(hooks): State<Hooks>, body: String) -> StatusCode {
    let Some(reconciler) = hooks.reconciler() else {
        return StatusCode::SERVICE_UNAVAILABLE;
    };
    let Ok(event) = serde_json::from_str::<Value>(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    let known = ["clone_url", "ssh_url", "html_url", "url"]
        .iter()
        .any(|key| {
            let url = event
                .pointer(&format!("/repository/{key}"))
                .and_then(Value::as_str);
            let spellings = url.into_iter().flat_map(spellings);
            spellings
                .filter_map(|url| url.parse::<RepositoryUrl>().ok())
                .any(|url| reconciler.git_may_have_changed(&url))
        });
    if known {
        StatusCode::ACCEPTED
    } else {
        StatusCode::NOT_FOUND
    }
}

/// With and without `.git`: people write either.
fn spellings(url: &str) -> [String; 2] {
    match url.strip_suffix(".git") {
        Some(bare) => [url.to_owned(), bare.to_owned()],
        None => [url.to_owned(), format!("{url}.git")],
    }
}
