//! The [distribution API](https://github.com/opencontainers/distribution-spec/blob/main/spec.md) over
//! the store: each request finds its route, meets its fault, shows its credential, and is answered.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::header::{
    CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LINK, LOCATION, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, Method, Request, StatusCode, response};
use axum::response::Response;
use bytes::Bytes;
use serde_json::json;
use url::form_urlencoded;

use super::events::Push;
use super::store::{Manifest, Refusal};
use super::uploads::{begin, extend, fill, progress};
use super::{Fault, Shared, access, lock};
use crate::model::{Digest, ImageRepository, is_tag};

/// The specification's limit for manifests; enough for a token request too.
const LARGEST_MANIFEST: usize = 4 << 20;

pub(super) type Answer = Result<Response, Refusal>;

enum Route<'a> {
    Root,
    Token,
    Tags(&'a str),
    Manifest(&'a str, &'a str),
    Blob(&'a str, &'a str),
    Referrers(&'a str, &'a str),
    /// An upload by its number; none where it is to begin.
    Upload(&'a str, Option<u64>),
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Option<Self> {
        if path == "/token" {
            return Some(Self::Token);
        }
        let rest = path.strip_prefix("/v2")?;
        if rest.is_empty() || rest == "/" {
            return Some(Self::Root);
        }
        let rest = rest.strip_prefix('/')?;
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return Some(Self::Tags(name));
        }
        let (head, last) = rest.rsplit_once('/')?;
        if let Some(name) = head.strip_suffix("/manifests") {
            return Some(Self::Manifest(name, last));
        }
        if let Some(name) = head.strip_suffix("/referrers") {
            return Some(Self::Referrers(name, last));
        }
        if let Some(name) = head.strip_suffix("/blobs/uploads") {
            let id = match last {
                "" => None,
                id => Some(id.parse().ok()?),
            };
            return Some(Self::Upload(name, id));
        }
        let name = head.strip_suffix("/blobs")?;
        Some(match last {
            "uploads" => Self::Upload(name, None),
            digest => Self::Blob(name, digest),
        })
    }

    fn repository(&self) -> &'a str {
        match self {
            Self::Root | Self::Token => "",
            Self::Tags(name)
            | Self::Manifest(name, _)
            | Self::Blob(name, _)
            | Self::Referrers(name, _)
            | Self::Upload(name, _) => name,
        }
    }
}

pub(super) async fn answer(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response {
    let path = request.uri().path().to_owned();
    let route = Route::of(&path);
    count(&shared, route.as_ref(), request.method());
    if let Some(fault) = shared.fault(&path) {
        return fail(fault).await;
    }
    let answered = match route {
        Some(route) => serve(&shared, &route, request).await,
        None => Err(Refusal(404, "UNSUPPORTED", "no such page".to_owned())),
    };
    answered.unwrap_or_else(|refusal| refuse(&refusal, None))
}

fn count(shared: &Shared, route: Option<&Route<'_>>, method: &Method) {
    let mut counts = lock(&shared.counts);
    let read = *method == Method::GET || *method == Method::HEAD;
    let counter = match route {
        Some(Route::Token) => &mut counts.tokens,
        _ if !read => &mut counts.writes,
        Some(Route::Tags(_)) => &mut counts.tag_lists,
        Some(Route::Manifest(..)) if *method == Method::HEAD => &mut counts.manifest_heads,
        Some(Route::Manifest(..)) => &mut counts.manifest_gets,
        Some(Route::Blob(..)) => &mut counts.blobs,
        _ => &mut counts.others,
    };
    *counter += 1;
}

async fn fail(fault: Fault) -> Response {
    let json = || Response::builder().header(CONTENT_TYPE, "application/json");
    match fault {
        Fault::Answer {
            status,
            headers,
            body,
        } => {
            let response = headers
                .into_iter()
                .fold(json().status(status), |response, (name, value)| {
                    response.header(name, value)
                });
            finish(response, body)
        }
        Fault::Flood(size) => {
            let chunk = Bytes::from_static(&[b' '; 1 << 16]);
            let chunks = std::iter::repeat_n(chunk.clone(), size.div_ceil(chunk.len()));
            let chunks = chunks.map(Ok::<_, io::Error>);
            finish(
                json(),
                Body::from_stream(futures_util::stream::iter(chunks)),
            )
        }
        Fault::Hang => std::future::pending().await,
        Fault::Cut => {
            let parts = [
                Ok(Bytes::from_static(b"{\"tags\":[")),
                Err(io::Error::from(io::ErrorKind::BrokenPipe)),
            ];
            finish(json(), Body::from_stream(futures_util::stream::iter(parts)))
        }
    }
}

async fn serve(shared: &Shared, route: &Route<'_>, request: Request<Body>) -> Answer {
    let (head, body) = request.into_parts();
    let query: HashMap<String, String> =
        form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
    if let Route::Token = route {
        return token(shared, &head.headers, query, body).await;
    }
    let name = route.repository();
    if !name.is_empty() && format!("r.io/{name}").parse::<ImageRepository>().is_err() {
        return Err(Refusal(
            400,
            "NAME_INVALID",
            format!("no repository can be {name}"),
        ));
    }
    let read = head.method == Method::GET || head.method == Method::HEAD;
    let wanted = (name, if read { "pull" } else { "push" });
    let judged = {
        let (access, tokens) = (lock(&shared.access), lock(&shared.tokens));
        let realm = format!("{}token", shared.url());
        access::judge(&access, &tokens, &head.headers, &realm, wanted)
    };
    if let Err((refusal, challenge)) = judged {
        return Ok(refuse(&refusal, challenge));
    }
    match (route, head.method.as_str()) {
        (Route::Root, _) => Ok(json_answer(&json!({}))),
        (Route::Tags(name), "GET") => tags(shared, name, &query),
        (Route::Referrers(name, digest), "GET") if !lock(&shared.quirks).no_referrers => {
            Ok(referrers(shared, name, &parse(digest)?, &query))
        }
        (Route::Referrers(..), _) => Err(Refusal(404, "UNSUPPORTED", "no such page".to_owned())),
        (Route::Manifest(name, reference), "GET" | "HEAD") => {
            manifest(shared, name, reference, &head.method, &head.headers)
        }
        (Route::Manifest(name, reference), "PUT") => {
            put_manifest(shared, name, reference, &head.headers, body).await
        }
        (Route::Manifest(name, reference), "DELETE") => {
            lock(&shared.store).delete_manifest(name, reference)?;
            Ok(finish(Response::builder().status(202), ""))
        }
        (Route::Blob(_, digest), "GET" | "HEAD") => {
            let digest = parse(digest)?;
            let blob = lock(&shared.store).blob(&digest).ok_or_else(no_blob)?;
            let response = Response::builder()
                .header(CONTENT_TYPE, "application/octet-stream")
                .header("Docker-Content-Digest", digest.to_string());
            Ok(content(response, &head.method, blob))
        }
        (Route::Blob(_, digest), "DELETE") => {
            match lock(&shared.store).delete_blob(&parse(digest)?) {
                true => Ok(finish(Response::builder().status(202), "")),
                false => Err(no_blob()),
            }
        }
        (Route::Upload(name, None), "POST") => begin(shared, name, &query, body).await,
        (Route::Upload(name, Some(id)), "GET") => {
            let size = lock(&shared.store).uploaded(*id)?;
            Ok(finish(progress(204, name, *id, size), ""))
        }
        (Route::Upload(name, Some(id)), "PATCH") => {
            extend(shared, name, *id, &head.headers, body).await
        }
        (Route::Upload(name, Some(id)), "PUT") => {
            fill(shared, *id, body).await?;
            let digest = parse(query.get("digest").map_or("", String::as_str))?;
            lock(&shared.store).finish_upload(*id, &digest)?;
            Ok(created(name, "blobs", &digest))
        }
        (Route::Upload(_, Some(id)), "DELETE") => {
            lock(&shared.store).cancel_upload(*id)?;
            Ok(finish(Response::builder().status(204), ""))
        }
        _ => Err(Refusal(405, "UNSUPPORTED", "not for this page".to_owned())),
    }
}

async fn token(
    shared: &Shared,
    headers: &HeaderMap,
    mut query: HashMap<String, String>,
    body: Body,
) -> Answer {
    let form = to_bytes(body, LARGEST_MANIFEST).await.map_err(too_large)?;
    query.extend(form_urlencoded::parse(&form).into_owned());
    let access = lock(&shared.access);
    let mut tokens = lock(&shared.tokens);
    Ok(json_answer(&access::token(
        &access,
        &mut tokens,
        headers,
        &query,
    )?))
}

fn tags(shared: &Shared, name: &str, query: &HashMap<String, String>) -> Answer {
    let mut tags = lock(&shared.store).tags(name)?;
    let quirks = *lock(&shared.quirks);
    let mut response = Response::builder().header(CONTENT_TYPE, "application/json");
    if quirks.whole_list {
        tags.reverse();
        if tags.is_empty() {
            return Ok(finish(
                response,
                json!({"name": name, "tags": null}).to_string(),
            ));
        }
    } else {
        if let Some(last) = query.get("last") {
            tags.retain(|tag| tag > last);
        }
        let asked = query.get("n").and_then(|n| n.parse().ok());
        let size = asked.unwrap_or(usize::MAX);
        if tags.len() > size {
            tags.truncate(size);
            let last = tags.last().map_or("", String::as_str);
            let path = format!("/v2/{name}/tags/list?n={size}&last={last}");
            let target = match quirks.absolute_link {
                true => format!("http://{}{path}", shared.address),
                false => path,
            };
            if !quirks.no_link {
                response = response.header(LINK, format!("<{target}>; rel=\"next\""));
            }
        }
    }
    Ok(finish(
        response,
        json!({"name": name, "tags": tags}).to_string(),
    ))
}

fn referrers(
    shared: &Shared,
    name: &str,
    subject: &Digest,
    query: &HashMap<String, String>,
) -> Response {
    let found = lock(&shared.store).referrers(name, &subject.to_string());
    let described = found.iter().map(|(digest, manifest)| {
        let body: serde_json::Value = serde_json::from_slice(&manifest.body).unwrap_or_default();
        let kind = &body["artifactType"];
        let kind = if kind.is_null() {
            &body["config"]["mediaType"]
        } else {
            kind
        };
        json!({
            "mediaType": manifest.media_type,
            "digest": digest.to_string(),
            "size": manifest.body.len(),
            "artifactType": kind,
        })
    });
    let wanted = query.get("artifactType");
    let wanted = described.filter(|it| wanted.is_none_or(|wanted| it["artifactType"] == **wanted));
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": wanted.collect::<Vec<_>>(),
    });
    let response = Response::builder()
        .header(CONTENT_TYPE, "application/vnd.oci.image.index.v1+json")
        .header("OCI-Filters-Applied", "artifactType");
    finish(response, index.to_string())
}

fn manifest(
    shared: &Shared,
    name: &str,
    reference: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Answer {
    let (digest, manifest) = lock(&shared.store).manifest(name, reference)?;
    let quirks = *lock(&shared.quirks);
    let etag = format!("\"{digest}\"");
    let mut response = Response::builder().header(CONTENT_TYPE, &manifest.media_type);
    if !quirks.no_digest {
        response = response.header("Docker-Content-Digest", digest.to_string());
    }
    if !quirks.no_etag {
        response = response.header(ETAG, &etag);
    }
    let known = headers
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    if !quirks.no_etag && known == Some(&etag) {
        lock(&shared.counts).not_modified += 1;
        return Ok(finish(response.status(304), ""));
    }
    Ok(content(response, method, manifest.body))
}

async fn put_manifest(
    shared: &Shared,
    name: &str,
    reference: &str,
    headers: &HeaderMap,
    body: Body,
) -> Answer {
    if reference.parse::<Digest>().is_err() && !is_tag(reference) {
        return Err(Refusal(
            400,
            "TAG_INVALID",
            format!("no tag can be {reference}"),
        ));
    }
    let body = to_bytes(body, LARGEST_MANIFEST).await.map_err(too_large)?;
    let media_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| Refusal(400, "MANIFEST_INVALID", "name its media type".to_owned()))?
        .to_owned();
    let size = body.len();
    let manifest = Manifest {
        media_type: media_type.clone(),
        body,
    };
    let digest = lock(&shared.store).put_manifest(name, reference, manifest)?;
    if let Some(events) = &shared.events {
        events.pushed(Push {
            repository: name.to_owned(),
            tag: is_tag(reference).then(|| reference.to_owned()),
            digest,
            media_type,
            size,
            url: format!("{}v2/{name}/manifests/{digest}", shared.url()),
        });
    }
    Ok(created(name, "manifests", &digest))
}

pub(super) fn created(name: &str, kind: &str, digest: &Digest) -> Response {
    let response = Response::builder()
        .status(201)
        .header(LOCATION, format!("/v2/{name}/{kind}/{digest}"))
        .header("Docker-Content-Digest", digest.to_string());
    finish(response, "")
}

/// An answer to GET, or the same without its body to HEAD.
fn content(response: response::Builder, method: &Method, body: Bytes) -> Response {
    let response = response.header(CONTENT_LENGTH, body.len());
    match *method == Method::HEAD {
        true => finish(response, ""),
        false => finish(response, body),
    }
}

fn refuse(refusal: &Refusal, challenge: Option<String>) -> Response {
    let Refusal(status, code, message) = refusal;
    let body = json!({"errors": [{"code": code, "message": message}]});
    let mut response = Response::builder()
        .status(*status)
        .header(CONTENT_TYPE, "application/json");
    if let Some(challenge) = challenge {
        response = response.header(WWW_AUTHENTICATE, challenge);
    }
    finish(response, body.to_string())
}

fn json_answer(value: &serde_json::Value) -> Response {
    let response = Response::builder().header(CONTENT_TYPE, "application/json");
    finish(response, value.to_string())
}

/// A header that cannot be sent (a client's media type, say) makes it a bad request.
pub(super) fn finish(response: response::Builder, body: impl Into<Body>) -> Response {
    let response = response.header("Docker-Distribution-Api-Version", "registry/2.0");
    response.body(body.into()).unwrap_or_else(|_| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::BAD_REQUEST;
        response
    })
}

pub(super) fn parse(digest: &str) -> Result<Digest, Refusal> {
    let digest = digest.parse();
    digest.map_err(|error: crate::model::InvalidDigest| {
        Refusal(400, "DIGEST_INVALID", error.to_string())
    })
}

fn no_blob() -> Refusal {
    Refusal(404, "BLOB_UNKNOWN", "no such blob".to_owned())
}

pub(super) fn too_large(error: axum::Error) -> Refusal {
    Refusal(413, "SIZE_INVALID", error.to_string())
}
