//! Takes the demo registry's push notifications, on a free port of 127.0.0.1.
//!
//! A notification is only a wake: all that is read of it is which repository may have changed.

use std::io;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use url::Url;

/// News kept for a listener that is slow to take them.
const NEWS: usize = 256;

/// A notification holds one event of some hundred bytes.
const LARGEST: usize = 256 << 10;

/// The running receiver. Dropping it stops it.
pub struct Receiver {
    url: Url,
    news: broadcast::Sender<String>,
    server: tokio::task::JoinHandle<()>,
}

#[derive(Deserialize)]
struct Notification {
    events: Vec<Pushed>,
}

#[derive(Deserialize)]
struct Pushed {
    target: Target,
}

#[derive(Deserialize)]
struct Target {
    repository: String,
}

impl Receiver {
    /// Starts it.
    ///
    /// # Errors
    /// No port of 127.0.0.1 can be bound.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let url = format!("http://{address}/").parse().map_err(io::Error::other)?;
        let (news, _) = broadcast::channel(NEWS);
        let router = Router::new()
            .route("/", post(receive))
            .layer(DefaultBodyLimit::max(LARGEST))
            .with_state(news.clone());
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the receiver of notifications ended");
            }
        });
        Ok(Self { url, news, server })
    }

    /// Where notifications go.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The paths of image repositories, each time something is pushed to one.
    pub fn pushes(&self) -> broadcast::Receiver<String> {
        self.news.subscribe()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(
    State(news): State<broadcast::Sender<String>>,
    body: Bytes,
) -> StatusCode {
    let Ok(notification) = serde_json::from_slice::<Notification>(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    for event in notification.events {
        // Nobody may be listening yet.
        let _listeners = news.send(event.target.repository);
    }
    StatusCode::OK
}
