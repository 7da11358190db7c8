//! Requests that write, and the reads that writing needs.
//!
//! Owns how an object is addressed and what its answer must look like. The connection keeps the
//! deadlines; here the size of an answer is bounded, and how many requests travel at once. Nothing is
//! tried again.

use std::pin::Pin;
use std::sync::Arc;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Request, StatusCode};
use http_body::Body as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::client::Body;
use kube::core::Status;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::answer;
use super::kinds::Kind;
use super::marks;
use super::refusal::{About, Refusal, judge};
use crate::model::ObjectRef;

/// Objects are at most 1.5 MiB in etcd, and up to three times that as JSON.
const LARGEST_ANSWER: usize = 16 << 20;

/// What a resource version can never be: etcd begins counting at 1, before anything is written.
/// Sent with an apply, the server takes it only where it has no such object.
pub(super) const NEVER: &str = "1";

/// Where an object lives in the API.
#[derive(Debug, Clone)]
pub(super) struct Target {
    kind: Arc<Kind>,
    version: String,
    namespace: Option<String>,
    name: String,
    secret: bool,
}

impl Target {
    /// An object's place, by the version its manifest states; the preferred one where none is given.
    pub(super) fn new(kind: &Arc<Kind>, version: Option<&str>, object: &ObjectRef) -> Self {
        let version = version.or(kind.versions.first().map(String::as_str));
        Self {
            kind: kind.clone(),
            version: version.unwrap_or("v1").to_owned(),
            namespace: object.namespace.clone().filter(|_| kind.namespaced),
            name: object.name.clone(),
            secret: kind.group.is_empty() && kind.plural == "secrets",
        }
    }

    /// The same; whether values of the object may not be shown. Those of a Secret never are.
    pub(super) fn discreet(self, secret: bool) -> Self {
        Self {
            secret: self.secret || secret,
            ..self
        }
    }

    /// The kind.
    pub(super) fn kind(&self) -> &Arc<Kind> {
        &self.kind
    }

    fn path(&self) -> String {
        let Self {
            kind,
            version,
            namespace,
            name,
            ..
        } = self;
        let group = match kind.group.as_str() {
            "" => format!("/api/{version}"),
            group => format!("/apis/{group}/{version}"),
        };
        let namespace = namespace
            .iter()
            .map(|it| format!("/namespaces/{}", encoded(it)));
        let namespace: String = namespace.collect();
        format!("{group}{namespace}/{}/{}", kind.plural, encoded(name))
    }
}

/// What an answer shall hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// The object.
    Whole,
    /// Its metadata.
    Metadata,
}

/// A server-side apply.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patch<'a> {
    /// Who applies.
    pub(super) manager: &'a str,
    /// Only asks what would be.
    pub(super) dry_run: bool,
    /// Takes fields that others hold.
    pub(super) force: bool,
    /// What the answer shall hold.
    pub(super) view: View,
}

/// How an object is deleted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deletion<'a> {
    /// Only this very object.
    pub(super) uid: &'a str,
    /// Only in this version.
    pub(super) version: Option<&'a str>,
    /// `Background` or `Foreground`: whether what it owns goes after it, or before.
    pub(super) propagation: &'a str,
}

/// An object as the server answered it.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    /// Whether it was made by the request.
    pub(super) created: bool,
    /// What was asked for: the object, or its metadata. It is JSON.
    pub(super) text: String,
}

impl Reply {
    /// What was asked for.
    pub(super) fn value(&self) -> Result<Value, Refusal> {
        serde_json::from_str(&self.text).map_err(not_json)
    }

    /// The metadata of what was asked for: the rest is not looked at.
    pub(super) fn metadata(&self) -> Result<ObjectMeta, Refusal> {
        #[derive(Deserialize)]
        struct Head {
            metadata: ObjectMeta,
        }
        let head = serde_json::from_str::<Head>(&self.text);
        head.map(|head| head.metadata)
            .map_err(|error| Refusal::Unavailable {
                detail: format!("its answer has no metadata that can be read: {error}"),
                retry_after: None,
            })
    }
}

/// Who sends requests, and how many at once.
#[derive(Clone)]
pub(super) struct Sender<'a> {
    client: Client,
    permits: &'a Semaphore,
}

impl<'a> Sender<'a> {
    pub(super) fn new(client: Client, permits: &'a Semaphore) -> Self {
        Self { client, permits }
    }

    /// Applies.
    pub(super) async fn apply(
        &self,
        target: &Target,
        patch: Patch<'_>,
        body: Vec<u8>,
    ) -> Result<Reply, Refusal> {
        let mut query = format!(
            "?fieldManager={}&fieldValidation=Strict&force={}",
            patch.manager, patch.force
        );
        if patch.dry_run {
            query.push_str("&dryRun=All");
        }
        let request = Request::patch(target.path() + &query)
            .header(CONTENT_TYPE, "application/apply-patch+yaml");
        self.send(target, request, patch.view, body).await
    }

    /// Changes an object's metadata by a JSON patch (RFC 6902). Answers its metadata.
    pub(super) async fn edit(&self, target: &Target, operations: &Value) -> Result<Reply, Refusal> {
        let query = format!("?fieldManager={}", marks::MANAGER);
        let request = Request::patch(target.path() + &query)
            .header(CONTENT_TYPE, "application/json-patch+json");
        let body = operations.to_string().into_bytes();
        self.send(target, request, View::Metadata, body).await
    }

    /// Reads an object, if it is there.
    pub(super) async fn get(&self, target: &Target, view: View) -> Result<Option<Value>, Refusal> {
        let found = self.find(target, view).await?;
        found.map(|reply| reply.value()).transpose()
    }

    /// Reads an object's metadata, if it is there.
    pub(super) async fn metadata(&self, target: &Target) -> Result<Option<ObjectMeta>, Refusal> {
        let found = self.find(target, View::Metadata).await?;
        found.map(|reply| reply.metadata()).transpose()
    }

    async fn find(&self, target: &Target, view: View) -> Result<Option<Reply>, Refusal> {
        let request = Request::get(target.path());
        match self.send(target, request, view, Vec::new()).await {
            Ok(reply) => Ok(Some(reply)),
            Err(Refusal::Missing) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Deletes an object. Gives whether it is gone already.
    pub(super) async fn delete(
        &self,
        target: &Target,
        deletion: Deletion<'_>,
    ) -> Result<bool, Refusal> {
        let mut preconditions = serde_json::json!({ "uid": deletion.uid });
        if let Some(version) = deletion.version {
            preconditions["resourceVersion"] = version.into();
        }
        let options = serde_json::json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": preconditions,
            "propagationPolicy": deletion.propagation,
        });
        let request = Request::delete(target.path()).header(CONTENT_TYPE, "application/json");
        let body = options.to_string().into_bytes();
        match self.send(target, request, View::Whole, body).await {
            // What still has something to finish is answered as the object it is.
            Ok(reply) => Ok(reply.value()?["metadata"]["deletionTimestamp"].is_null()),
            Err(Refusal::Missing) => Ok(true),
            Err(refusal) => Err(refusal),
        }
    }

    async fn send(
        &self,
        target: &Target,
        request: http::request::Builder,
        view: View,
        body: Vec<u8>,
    ) -> Result<Reply, Refusal> {
        let accept = match view {
            View::Whole => "application/json",
            View::Metadata => {
                "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
            }
        };
        let request = request.header(ACCEPT, accept).body(Body::from(body));
        // Names that cannot stand in an address are escaped; a kind's name comes from the server.
        let request = request.map_err(|error| Refusal::Refused(error.to_string()))?;
        let verb = verb(request.method());
        // The semaphore is never closed; if it were, more would travel at once.
        let _permit = self.permits.acquire().await.ok();
        let answer = self.client.send(request).await.map_err(unanswered)?;
        let status = answer.status();
        let body = read(answer.into_body()).await?;
        if status.is_success() {
            // Whether it is what an API server answers: few read all that is in it.
            serde_json::from_slice::<IgnoredAny>(&body).map_err(not_json)?;
            let text = String::from_utf8(body).map_err(not_json)?;
            return Ok(Reply {
                created: status == StatusCode::CREATED,
                text,
            });
        }
        let said = serde_json::from_slice::<Status>(&body)
            .unwrap_or_else(|_| Status::failure(&String::from_utf8_lossy(&body), ""));
        let about = About {
            verb,
            plural: &target.kind.plural,
            resource: &target.kind.resource(),
            namespace: target.namespace.as_deref(),
            name: &target.name,
            secret: target.secret,
        };
        Err(judge(status.as_u16(), &said, about))
    }
}

fn not_json(error: impl std::fmt::Display) -> Refusal {
    Refusal::Unavailable {
        detail: format!("its answer is not JSON: {error}"),
        retry_after: None,
    }
}

fn verb(method: &Method) -> &'static str {
    match *method {
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "get",
    }
}

/// What it means that a request got no answer of the API.
pub(super) fn unanswered(error: kube::Error) -> Refusal {
    let detail = match answer::trouble(&error) {
        Some(trouble) => trouble.to_string(),
        None => answer::chain(&error),
    };
    Refusal::Unavailable {
        detail,
        retry_after: answer::retry_after(&error),
    }
}

async fn read(mut body: Body) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    while let Some(frame) =
        std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
    {
        let frame = frame.map_err(unanswered)?;
        bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        if bytes.len() > LARGEST_ANSWER {
            return Err(Refusal::Unavailable {
                detail: format!("its answer is larger than {} MiB", LARGEST_ANSWER >> 20),
                retry_after: None,
            });
        }
    }
    Ok(bytes)
}

/// A name as a segment of an address (RFC 3986, section 2.1): RBAC allows `system:node` and more.
fn encoded(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
                text.push(byte.into());
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Identity;

    #[test]
    fn objects_are_addressed_by_kind_namespace_and_name() {
        let kind = |group: &str, plural: &str, namespaced| {
            Arc::new(Kind {
                group: group.to_owned(),
                kind: "Thing".to_owned(),
                plural: plural.to_owned(),
                namespaced,
                versions: vec!["v2".to_owned(), "v1".to_owned()],
                verbs: Vec::new(),
            })
        };
        for (group, plural, namespaced, version, name, expected) in [
            (
                "",
                "pods",
                true,
                Some("v1"),
                "web",
                "/api/v1/namespaces/shop/pods/web",
            ),
            (
                "apps",
                "deployments",
                true,
                Some("v1"),
                "web",
                "/apis/apps/v1/namespaces/shop/deployments/web",
            ),
            (
                "example.com",
                "things",
                false,
                None,
                "a:b c",
                "/apis/example.com/v2/things/a:b%20c",
            ),
        ] {
            let object = ObjectRef::from(Identity {
                group: group.to_owned(),
                kind: "Thing".to_owned(),
                namespace: Some("shop".to_owned()),
                name: name.to_owned(),
            });
            let target = Target::new(&kind(group, plural, namespaced), version, &object);
            assert_eq!(target.path(), expected);
        }
    }
}
