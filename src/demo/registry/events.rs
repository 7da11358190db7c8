//! Push notifications in the form that the distribution registry sends
//! ([notifications](https://distribution.github.io/distribution/about/notifications/)).

use std::time::Duration;

use reqwest::Client;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::json;
use tokio::sync::mpsc;
use url::Url;

use crate::clock;
use crate::model::Digest;
use crate::secret::Secret;

const MEDIA_TYPE: &str = "application/vnd.docker.distribution.events.v1+json";

/// A receiver that is down for longer than the tries last loses events; so does a full queue.
const TRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const QUEUE: usize = 1024;

/// Where notifications go.
#[derive(Debug, Clone)]
pub struct Notify {
    /// The client they are sent with.
    pub client: Client,
    /// The receiver.
    pub url: Url,
    /// The host that image names have in place of its address, where they do.
    pub host: Option<String>,
    /// The value of their `Authorization` header.
    pub authorization: Option<Secret>,
}

/// A manifest that was pushed.
pub(super) struct Push {
    pub(super) repository: String,
    pub(super) tag: Option<String>,
    pub(super) digest: Digest,
    pub(super) media_type: String,
    pub(super) size: usize,
    pub(super) url: String,
}

/// The sending end of the queue. The task behind it ends when this is dropped.
pub(super) struct Events(mpsc::Sender<Push>);

impl Events {
    pub(super) fn start(notify: Notify) -> Self {
        let (sender, mut queue) = mpsc::channel::<Push>(QUEUE);
        tokio::spawn(async move {
            while let Some(push) = queue.recv().await {
                deliver(&notify, &push).await;
            }
        });
        Self(sender)
    }

    pub(super) fn pushed(&self, push: Push) {
        if self.0.try_send(push).is_err() {
            tracing::warn!("a push notification is lost: the queue is full");
        }
    }
}

async fn deliver(notify: &Notify, push: &Push) {
    let mut target = json!({
        "mediaType": push.media_type,
        "size": push.size,
        "length": push.size,
        "digest": push.digest.to_string(),
        "repository": push.repository,
        "url": push.url,
    });
    if let Some(tag) = &push.tag {
        target["tag"] = json!(tag);
    }
    let now = clock::now().to_string();
    let id = Digest::of(format!("{now} {target}").as_bytes());
    let mut event = json!({"id": id.short(), "timestamp": now, "action": "push", "target": target});
    if let Some(host) = &notify.host {
        event["request"] = json!({ "host": host });
    }
    let body = json!({ "events": [event] }).to_string();
    let mut pause = FIRST_PAUSE;
    for _ in 0..TRIES {
        let mut request = notify
            .client
            .post(notify.url.clone())
            .header(CONTENT_TYPE, MEDIA_TYPE)
            .body(body.clone());
        if let Some(authorization) = &notify.authorization {
            request = request.header(AUTHORIZATION, authorization.expose());
        }
        match request.send().await {
            Ok(response) if response.status().is_success() => return,
            _ => tokio::time::sleep(pause).await,
        }
        pause *= 2;
    }
    tracing::warn!(url = %notify.url, "a push notification is lost: the receiver did not take it");
}
