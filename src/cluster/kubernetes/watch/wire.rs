//! One collection of objects, listed and then followed
//! ([the protocol](https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes)).
//!
//! Owns the questions and how the stream is cut into events. An object is handed on as its text and
//! kept nowhere, so that a list of thousands takes no more room than its largest object. Waits for
//! nothing and tries nothing again: whoever drives it does.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Request;
use http_body::Body as _;
use kube::Client;
use kube::client::Body;
use kube::core::Status;
use serde::Deserialize;
use serde_json::value::RawValue;
use url::form_urlencoded::Serializer;

use crate::cluster::kubernetes::answer;

/// Objects are at most 1.5 MiB in etcd, and up to three times that as JSON.
const LARGEST_EVENT: usize = 16 << 20;

/// How many objects an answer holds where they cannot be streamed.
const PAGE: usize = 100;

/// A stream that goes on does so if nothing was said against it for so long.
const OBJECTION: Duration = Duration::from_millis(50);

/// The annotation of the bookmark that ends what was there at the beginning.
const THAT_IS_ALL: &str = "k8s.io/initial-events-end";

/// What is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Collection {
    /// Its address, such as `/apis/apps/v1/deployments`.
    pub(super) path: String,
    /// The labels that its objects must have, as a selector.
    pub(super) labels: Option<String>,
    /// The fields that its objects must have, as a selector.
    pub(super) fields: Option<String>,
    /// After how many seconds the server ends a stream; a new one goes on from there.
    pub(super) lasts: u32,
}

/// Who is told of the objects.
pub(super) trait Sink {
    /// A whole listing begins. What it does not name by its end is gone.
    fn begin(&mut self);
    /// An object is there, or changed. Gives its resource version.
    ///
    /// # Errors
    /// It cannot be read.
    fn put(&mut self, object: &RawValue) -> serde_json::Result<String>;
    /// An object is gone, or has left what is followed.
    ///
    /// # Errors
    /// It cannot be read.
    fn gone(&mut self, object: &RawValue) -> serde_json::Result<String>;
    /// What was listed is complete, or goes on where it was left: from here on all is known.
    fn complete(&mut self);
}

/// Why following ended before its time.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The server did not answer, or refused.
    #[error("{0}")]
    Request(#[from] kube::Error),
    /// The server ended it with a reason.
    #[error("{} ({})", .0.message, .0.code)]
    Told(Box<Status>),
    /// What came cannot be read.
    #[error("what it sends cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// More than an object can be.
    #[error("it sends an object of more than {LARGEST_EVENT} bytes")]
    TooLarge,
}

/// A collection and how far it was followed.
pub(super) struct Follower<'a> {
    client: Client,
    collection: Collection,
    /// Whether this server can send a list as a stream, as far as is known.
    streams_lists: &'a AtomicBool,
    version: Option<String>,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Page<'a> {
    metadata: PageMetadata,
    /// Of nothing, some servers make nothing instead of an empty list.
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMetadata {
    resource_version: String,
    #[serde(rename = "continue")]
    next: Option<String>,
}

#[derive(Deserialize)]
struct Bookmark {
    metadata: BookmarkMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BookmarkMetadata {
    resource_version: String,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

impl<'a> Follower<'a> {
    pub(super) fn new(
        client: Client,
        collection: Collection,
        streams_lists: &'a AtomicBool,
    ) -> Self {
        Self {
            client,
            collection,
            streams_lists,
            version: None,
        }
    }

    /// Follows until the server ends the stream, which it does from time to time; to be called again.
    ///
    /// # Errors
    /// [`Broken`]; called again, it goes on from where it was.
    pub(super) async fn follow(&mut self, sink: &mut impl Sink) -> Result<(), Broken> {
        if self.version.is_none() && !self.streams_lists.load(Ordering::Relaxed) {
            self.list(sink).await?;
        }
        let from = self.version.clone();
        let stream = self.client.send(self.request(from.as_deref())?).await?;
        let mut stream = match refusal(stream).await {
            Ok(stream) => stream,
            // Servers before 1.32 do not know the question.
            Err(error)
                if from.is_none() && (answer::is(&error, 400) || answer::is(&error, 422)) =>
            {
                self.streams_lists.store(false, Ordering::Relaxed);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        // A server that no longer knows what happened since says so first.
        let mut resuming = from.is_some();
        if !resuming {
            sink.begin();
        }
        let mut lines = Lines::default();
        loop {
            let next = match resuming {
                true => tokio::time::timeout(OBJECTION, next(&mut stream)).await,
                false => Ok(next(&mut stream).await),
            };
            let Ok(bytes) = next else {
                resuming = false;
                sink.complete();
                continue;
            };
            let Some(bytes) = bytes? else { break };
            lines.add(&bytes);
            while let Some(line) = lines.next()? {
                let line: Line<'_> = serde_json::from_slice(&line)?;
                if resuming && line.kind != "ERROR" {
                    resuming = false;
                    sink.complete();
                }
                if !self.tell(&line, sink)? {
                    return Ok(());
                }
            }
        }
        if resuming {
            sink.complete();
        }
        Ok(())
    }

    /// Tells of one event; gives whether the stream goes on.
    fn tell(&mut self, line: &Line<'_>, sink: &mut impl Sink) -> Result<bool, Broken> {
        let object = line.object;
        let complete = self.version.is_some();
        match line.kind {
            "ADDED" | "MODIFIED" => {
                let version = sink.put(object)?;
                self.version = complete.then_some(version);
            }
            "DELETED" => {
                let version = sink.gone(object)?;
                self.version = complete.then_some(version);
            }
            "BOOKMARK" => {
                let Bookmark { metadata } = serde_json::from_str(object.get())?;
                if complete || metadata.annotations.contains_key(THAT_IS_ALL) {
                    self.version = Some(metadata.resource_version);
                }
                if !complete && self.version.is_some() {
                    sink.complete();
                }
            }
            "ERROR" => {
                let status: Status = serde_json::from_str(object.get())?;
                // What happened since is no longer known there: listed anew.
                if status.code == 410 {
                    self.version = None;
                    return Ok(false);
                }
                return Err(Broken::Told(status.boxed()));
            }
            _ => {}
        }
        Ok(true)
    }

    /// Lists in pages.
    async fn list(&mut self, sink: &mut impl Sink) -> Result<(), Broken> {
        sink.begin();
        let mut next: Option<String> = None;
        loop {
            let request = self.page(next.as_deref())?;
            let text = self.client.request_text(request).await?;
            let page: Page<'_> = serde_json::from_str(&text)?;
            for object in page.items.into_iter().flatten() {
                sink.put(object)?;
            }
            next = page.metadata.next.filter(|next| !next.is_empty());
            if next.is_none() {
                self.version = Some(page.metadata.resource_version);
                return Ok(());
            }
        }
    }

    fn page(&self, next: Option<&str>) -> Result<Request<Vec<u8>>, kube::Error> {
        let mut query = self.selectors();
        query.append_pair("limit", &PAGE.to_string());
        if let Some(next) = next {
            query.append_pair("continue", next);
        }
        self.get(query.finish())
    }

    fn request(&self, from: Option<&str>) -> Result<Request<Body>, kube::Error> {
        let mut query = self.selectors();
        query.append_pair("watch", "true");
        query.append_pair("allowWatchBookmarks", "true");
        query.append_pair("timeoutSeconds", &self.collection.lasts.to_string());
        match from {
            Some(version) => query.append_pair("resourceVersion", version),
            None => query
                .append_pair("sendInitialEvents", "true")
                .append_pair("resourceVersionMatch", "NotOlderThan"),
        };
        let request = self.get(query.finish())?;
        Ok(request.map(Body::from))
    }

    fn selectors(&self) -> Serializer<'static, String> {
        let mut query = Serializer::new(String::new());
        for (name, selector) in [
            ("labelSelector", &self.collection.labels),
            ("fieldSelector", &self.collection.fields),
        ] {
            if let Some(selector) = selector {
                query.append_pair(name, selector);
            }
        }
        query
    }

    fn get(&self, query: String) -> Result<Request<Vec<u8>>, kube::Error> {
        Request::get(format!("{}?{query}", self.collection.path))
            .body(Vec::new())
            .map_err(kube::Error::HttpError)
    }
}

/// The stream, or the server's refusal.
async fn refusal(answer: http::Response<Body>) -> Result<Body, kube::Error> {
    let code = answer.status();
    if code.is_success() {
        return Ok(answer.into_body());
    }
    let body = answer.into_body().collect_bytes().await?;
    let status = serde_json::from_slice(&body).unwrap_or_else(|_| {
        let said = String::from_utf8_lossy(&body);
        Status::failure(said.trim(), "").with_code(code.as_u16())
    });
    Err(kube::Error::Api(status.boxed()))
}

async fn next(stream: &mut Body) -> Result<Option<Bytes>, kube::Error> {
    loop {
        let frame = std::future::poll_fn(|context| Pin::new(&mut *stream).poll_frame(context));
        match frame.await.transpose()? {
            Some(frame) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
            None => return Ok(None),
        }
    }
}

/// The kinds of the events in a stream that comes in pieces of that size; else what is told of it.
pub(in crate::cluster::kubernetes) fn events(
    stream: &[u8],
    piece: usize,
) -> Result<Vec<String>, String> {
    let mut lines = Lines::default();
    let mut kinds = Vec::new();
    for piece in stream.chunks(piece) {
        lines.add(piece);
        while let Some(line) = lines.next().map_err(|error| error.to_string())? {
            let line = serde_json::from_slice::<Line<'_>>(&line);
            let line = line.map_err(|error| Broken::from(error).to_string())?;
            kinds.push(line.kind.to_owned());
        }
    }
    Ok(kinds)
}

/// What came and is not a whole line yet.
#[derive(Default)]
struct Lines {
    open: BytesMut,
    /// Up to here there is no end of a line.
    searched: usize,
}

impl Lines {
    fn add(&mut self, bytes: &[u8]) {
        self.open.extend_from_slice(bytes);
    }

    fn next(&mut self) -> Result<Option<BytesMut>, Broken> {
        let end = self.open[self.searched..]
            .iter()
            .position(|byte| *byte == b'\n');
        match end {
            Some(end) => {
                let line = self.open.split_to(self.searched + end + 1);
                self.searched = 0;
                Ok(Some(line))
            }
            None if self.open.len() > LARGEST_EVENT => Err(Broken::TooLarge),
            None => {
                self.searched = self.open.len();
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests;
