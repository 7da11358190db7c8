//! Blobs coming in: whole, in chunks, or from a repository that has them
//! ([pushing blobs](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-blobs)).

use std::collections::HashMap;

use axum::body::Body;
use axum::http::header::{LOCATION, RANGE};
use axum::http::{HeaderMap, response};
use axum::response::Response;
use futures_util::StreamExt as _;

use super::routes::{Answer, created, finish, parse, too_large};
use super::store::Refusal;
use super::{Shared, lock};

/// Begins an upload: empty, whole (`digest`), or none where the blob to mount is already here.
pub(super) async fn begin(
    shared: &Shared,
    name: &str,
    query: &HashMap<String, String>,
    body: Body,
) -> Answer {
    if let Some(digest) = query.get("mount").and_then(|digest| digest.parse().ok())
        && lock(&shared.store).blob(&digest).is_some()
    {
        return Ok(created(name, "blobs", &digest));
    }
    let id = lock(&shared.store).begin_upload();
    let Some(digest) = query.get("digest") else {
        return Ok(finish(progress(202, name, id, 0), ""));
    };
    let digest = parse(digest)?;
    fill(shared, id, body).await?;
    lock(&shared.store).finish_upload(id, &digest)?;
    Ok(created(name, "blobs", &digest))
}

pub(super) async fn extend(
    shared: &Shared,
    name: &str,
    id: u64,
    headers: &HeaderMap,
    body: Body,
) -> Answer {
    let size = lock(&shared.store).uploaded(id)?;
    let start = headers
        .get("Content-Range")
        .and_then(|value| value.to_str().ok()?.split('-').next()?.parse().ok());
    if start.is_some_and(|start: usize| start != size) {
        return Ok(finish(progress(416, name, id, size), ""));
    }
    let size = fill(shared, id, body).await?;
    Ok(finish(progress(202, name, id, size), ""))
}

/// Adds a body to an upload as it comes in; the size so far comes out.
pub(super) async fn fill(shared: &Shared, id: u64, body: Body) -> Result<usize, Refusal> {
    let mut chunks = body.into_data_stream();
    let mut size = lock(&shared.store).uploaded(id)?;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(too_large)?;
        size = lock(&shared.store).extend_upload(id, &chunk)?;
    }
    Ok(size)
}

pub(super) fn progress(status: u16, name: &str, id: u64, size: usize) -> response::Builder {
    Response::builder()
        .status(status)
        .header(LOCATION, format!("/v2/{name}/blobs/uploads/{id}"))
        .header(RANGE, format!("0-{}", size.saturating_sub(1)))
        .header("Docker-Upload-UUID", id)
}
