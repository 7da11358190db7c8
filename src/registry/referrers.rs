//! What is attached to an image as evidence: its [referrers](https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#listing-referrers)
//! of our artifact type, or where a registry does not list them, what
//! [the tag that stands in for the list](https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#referrers-tag-schema) names.
//!
//! Owns what such an artifact looks like. Never says what its document means, nor whose signature counts. What is
//! fetched by its digest is fetched once.

use reqwest::StatusCode;
use reqwest::header::LINK;
use serde::Deserialize;

use super::client::HttpRegistry;
use super::error::RegistryError;
use super::page;
use super::question::{Ask, Question};
use crate::model::Digest;

/// The type of an artifact that holds evidence, and of the document in it.
const EVIDENCE: &str = "application/vnd.towpath.evidence.v1+json";
/// The type of the signature in it.
const SIGNATURE: &str = "application/vnd.towpath.evidence.v1.sshsig";

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// So many artifacts of one image are read.
const MOST: usize = 50;
/// Lists of referrers may be long where others attach things, too; their pages are few.
const LARGEST_INDEX: usize = 4 << 20;
const MOST_PAGES: usize = 10;
/// A finding has some hundred bytes, a signature no more.
const LARGEST_PART: usize = 16 << 10;

/// What is attached to an image as evidence, unread and unchecked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The document.
    pub document: Vec<u8>,
    /// Its signature, in OpenSSH's armour.
    pub signature: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    #[serde(default)]
    manifests: Vec<Part>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Artifact {
    artifact_type: Option<String>,
    config: Option<Part>,
    subject: Option<Part>,
    #[serde(default)]
    layers: Vec<Part>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    #[serde(default)]
    media_type: String,
    /// Stands in lists of referrers.
    artifact_type: Option<String>,
    digest: String,
    #[serde(default)]
    size: usize,
}

impl HttpRegistry {
    /// All that is attached to an image. What is not as it should be is left out, and said in the log.
    pub(super) async fn all_attached(
        &self,
        question: &Question<'_>,
        image: &Digest,
    ) -> Result<Vec<Attached>, RegistryError> {
        let artifacts = self.referrers(question, image).await?;
        if artifacts.len() > MOST {
            return Err(question.malformed(format!(
                "{} pieces of evidence are attached to {image}, {MOST} are read: remove old ones",
                artifacts.len()
            )));
        }
        let mut all = Vec::new();
        for artifact in artifacts {
            let key = (question.repository.clone(), artifact);
            let known = self.artifacts.get(&key);
            let attached = match known {
                Some(known) => known,
                None => {
                    let read = read(question, image, &artifact).await?;
                    self.artifacts.insert(key, read.clone());
                    read
                }
            };
            all.extend(attached);
        }
        Ok(all)
    }

    /// The artifacts with evidence of an image.
    async fn referrers(
        &self,
        question: &Question<'_>,
        image: &Digest,
    ) -> Result<Vec<Digest>, RegistryError> {
        let kind = EVIDENCE.replace('+', "%2B");
        let first = question.url(&format!("referrers/{image}?artifactType={kind}"))?;
        let mut artifacts = Vec::new();
        let mut next = Some(first.clone());
        for _ in 0..MOST_PAGES {
            let Some(url) = next.take() else {
                return Ok(artifacts);
            };
            let answer = question.ask(&Ask::get(&url, INDEX, LARGEST_INDEX)).await?;
            match answer.status {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND
                | StatusCode::BAD_REQUEST
                | StatusCode::METHOD_NOT_ALLOWED
                    if url == first =>
                {
                    return self.by_tag(question, image).await;
                }
                _ => return Err(question.unexpected(&answer)),
            }
            artifacts.extend(listed(&answer.body).map_err(|what| question.malformed(what))?);
            next = match answer.header(&LINK) {
                Some(link) => page::next(&url, link).map_err(|what| question.malformed(what))?,
                None => None,
            };
        }
        Err(question.malformed(format!(
            "it lists more than {MOST_PAGES} pages of what is attached to {image}"
        )))
    }

    /// What the tag names that stands in for the list: asked for by its entity tag.
    async fn by_tag(
        &self,
        question: &Question<'_>,
        image: &Digest,
    ) -> Result<Vec<Digest>, RegistryError> {
        let tag = image.to_string().replace(':', "-");
        let index = match self.digest_of(question, &tag).await {
            Ok(Some(index)) => index,
            Ok(None) | Err(RegistryError::NotFound { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let key = (question.repository.clone(), index);
        if let Some(known) = self.lists.get(&key) {
            return Ok(known);
        }
        let url = question.url(&format!("manifests/{index}"))?;
        let ask = Ask::get(&url, INDEX, LARGEST_INDEX);
        let what = format!("the list of what is attached, {index},");
        let body = question.content(&ask, &index, &what).await?;
        let artifacts = listed(&body).map_err(|what| question.malformed(what))?;
        self.lists.insert(key, artifacts.clone());
        Ok(artifacts)
    }
}

/// The artifacts of a list that hold evidence. Not every registry leaves out what was not asked for.
fn listed(body: &[u8]) -> Result<Vec<Digest>, String> {
    let index: Index = serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!("its list of what is attached is not as specified (line {line}, column {column})")
    })?;
    let ours = index
        .manifests
        .iter()
        .filter(|it| it.artifact_type.as_deref() == Some(EVIDENCE));
    ours.map(|it| it.digest.parse().map_err(|error| format!("{error}")))
        .collect()
}

/// The document and the signature of an artifact; `None`: it is not as it should be.
async fn read(
    question: &Question<'_>,
    image: &Digest,
    artifact: &Digest,
) -> Result<Option<Attached>, RegistryError> {
    let url = question.url(&format!("manifests/{artifact}"))?;
    let ask = Ask::get(&url, MANIFEST, LARGEST_INDEX);
    let what = format!("the evidence {artifact}");
    let body = question.content(&ask, artifact, &what).await?;
    let (document, signature) = match parts(&body, image) {
        Ok(parts) => parts,
        Err(why) => {
            let repository = question.repository;
            tracing::warn!(%repository, %artifact, why, "evidence is not as it should be");
            return Ok(None);
        }
    };
    let blob = async |digest: Digest| {
        let url = question.url(&format!("blobs/{digest}"))?;
        let ask = Ask::get(&url, "*/*", LARGEST_PART);
        question.content(&ask, &digest, &what).await
    };
    let signature = match signature {
        Some(signature) => Some(blob(signature).await?),
        None => None,
    };
    Ok(Some(Attached {
        document: blob(document).await?,
        // What is no text is no signature of anybody's.
        signature: signature.map(|it| String::from_utf8(it).unwrap_or_default()),
    }))
}

/// Where the document and the signature of an artifact about this image are.
fn parts(body: &[u8], image: &Digest) -> Result<(Digest, Option<Digest>), &'static str> {
    let artifact: Artifact =
        serde_json::from_slice(body).map_err(|_| "it is no manifest of an artifact")?;
    let config = artifact.config.as_ref();
    let kind = artifact.artifact_type.as_deref();
    if kind.or(config.map(|it| it.media_type.as_str())) != Some(EVIDENCE) {
        return Err("it is an artifact of another type");
    }
    let subject = artifact.subject.and_then(|it| it.digest.parse().ok());
    if subject != Some(*image) {
        return Err("it is about another image");
    }
    let layers = &artifact.layers;
    let of = |kind: &str| {
        let such: Vec<_> = layers.iter().filter(|it| it.media_type == kind).collect();
        match such.as_slice() {
            [] => Ok(None),
            [one] if one.size > LARGEST_PART => Err("a part of it is longer than 16 KiB"),
            [one] => (one.digest.parse().map(Some)).map_err(|_| "a part of it has no digest"),
            _ => Err("it holds more than one document or signature"),
        }
    };
    let document = of(EVIDENCE)?.ok_or("it holds no document")?;
    Ok((document, of(SIGNATURE)?))
}
