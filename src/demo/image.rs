//! Tiny container images, made of nothing and the same each time.
//!
//! Owns building an image in memory and putting it into a registry or an OCI layout. The release
//! path never uses it: Towpath writes no images.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use flate2::{Compression, GzBuilder};
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use url::Url;

use crate::model::Digest;
use crate::registry::Stored;

/// What an image is made from. The same values make the same digest.
#[derive(Debug, Clone)]
pub struct ImageSpec {
    /// The text of the one file in its layer, `/content`.
    pub content: String,
    /// When it says it was built.
    pub created: Option<Timestamp>,
    /// Its labels, as `org.opencontainers.image.revision`.
    pub labels: BTreeMap<String, String>,
    /// Whether it has docker's media types instead of OCI's.
    pub docker: bool,
    /// `os/architecture` of each image. More than one make an index.
    pub platforms: Vec<String>,
}

impl Default for ImageSpec {
    fn default() -> Self {
        Self {
            content: String::new(),
            created: None,
            labels: BTreeMap::new(),
            docker: false,
            platforms: vec!["linux/amd64".to_owned()],
        }
    }
}

/// An image, or an index of images, with everything it refers to.
#[derive(Debug, Clone)]
pub struct Image {
    blobs: Vec<Vec<u8>>,
    /// Each after those it refers to; the last is what a tag names.
    manifests: Vec<Manifest>,
}

#[derive(Debug, Clone)]
struct Manifest {
    media_type: Cow<'static, str>,
    body: Vec<u8>,
}

struct MediaTypes {
    layer: &'static str,
    config: &'static str,
    manifest: &'static str,
    index: &'static str,
}

const OCI: MediaTypes = MediaTypes {
    layer: "application/vnd.oci.image.layer.v1.tar+gzip",
    config: "application/vnd.oci.image.config.v1+json",
    manifest: "application/vnd.oci.image.manifest.v1+json",
    index: "application/vnd.oci.image.index.v1+json",
};

const DOCKER: MediaTypes = MediaTypes {
    layer: "application/vnd.docker.image.rootfs.diff.tar.gzip",
    config: "application/vnd.docker.container.image.v1+json",
    manifest: "application/vnd.docker.distribution.manifest.v2+json",
    index: "application/vnd.docker.distribution.manifest.list.v2+json",
};

/// Where an image goes.
#[derive(Debug, Clone)]
pub struct Target<'a> {
    /// The registry's root, as `http://127.0.0.1:5000/`.
    pub registry: &'a Url,
    /// The repository's path in it.
    pub repository: &'a str,
    /// The tag it gets.
    pub tag: &'a str,
    /// Sent as it is with every request.
    pub authorization: Option<HeaderValue>,
}

impl ImageSpec {
    /// Makes the image. Needs no registry: its digest is known at once.
    pub fn build(&self) -> Image {
        let types = if self.docker { &DOCKER } else { &OCI };
        let mut image = Image {
            blobs: Vec::new(),
            manifests: Vec::new(),
        };
        let tar = tar(self.content.as_bytes());
        let layer = gzip(&tar);
        let mut entries = Vec::new();
        for platform in &self.platforms {
            let (os, architecture) = platform.split_once('/').unwrap_or((platform, "amd64"));
            let config = json_bytes(&self.config(os, architecture, Digest::of(&tar)));
            let body = json_bytes(&json!({
                "schemaVersion": 2,
                "mediaType": types.manifest,
                "config": descriptor(types.config, &config),
                "layers": [descriptor(types.layer, &layer)],
            }));
            let mut entry = descriptor(types.manifest, &body);
            entry["platform"] = json!({"os": os, "architecture": architecture});
            entries.push(entry);
            image.blobs.push(config);
            image.manifests.push(Manifest {
                media_type: types.manifest.into(),
                body,
            });
        }
        image.blobs.push(layer);
        if entries.len() > 1 {
            image.manifests.push(Manifest {
                media_type: types.index.into(),
                body: json_bytes(&json!({
                    "schemaVersion": 2,
                    "mediaType": types.index,
                    "manifests": entries,
                })),
            });
        }
        image
    }

    fn config(&self, os: &str, architecture: &str, diff: Digest) -> Value {
        let mut config = json!({
            "architecture": architecture,
            "os": os,
            "config": {"Labels": self.labels},
            "rootfs": {"type": "layers", "diff_ids": [diff.to_string()]},
        });
        if let Some(created) = self.created {
            config["created"] = json!(created.to_string());
        }
        config
    }
}

impl Image {
    /// What is read of an image of another registry: its manifests and its configuration, no layers.
    ///
    /// # Errors
    /// A manifest that is none.
    pub fn copy(stored: Stored) -> anyhow::Result<Self> {
        // The innermost comes first.
        let manifests = stored.manifests.into_iter().rev().map(|body| {
            let read: Value = serde_json::from_slice(&body)?;
            let media_type = match (read["mediaType"].as_str(), read.get("manifests")) {
                (Some(said), _) => said.to_owned(),
                (None, Some(_)) => OCI.index.to_owned(),
                (None, None) => OCI.manifest.to_owned(),
            };
            let media_type = media_type.into();
            Ok(Manifest { media_type, body })
        });
        Ok(Self {
            blobs: stored.config.into_iter().collect(),
            manifests: manifests.collect::<anyhow::Result<_>>()?,
        })
    }

    /// Its blobs.
    pub(super) fn blobs(&self) -> &[Vec<u8>] {
        &self.blobs
    }

    /// Its manifests with their media types, each after those it refers to.
    pub(super) fn manifests(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let manifests = self.manifests.iter();
        manifests.map(|it| (&*it.media_type, &*it.body))
    }

    /// What a tag of this image points to.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.top().body)
    }

    /// Puts it into any registry of the distribution API; blobs already there are not sent again.
    ///
    /// # Errors
    /// The registry cannot be reached or refuses; its status and words are in the text.
    pub async fn push(&self, client: &Client, target: &Target<'_>) -> anyhow::Result<Digest> {
        for blob in &self.blobs {
            push_blob(client, target, blob).await?;
        }
        for manifest in &self.manifests {
            let digest = Digest::of(&manifest.body);
            let name = match digest == self.digest() {
                true => target.tag.to_owned(),
                false => digest.to_string(),
            };
            let url = target.url(&format!("manifests/{name}"))?;
            let request = client
                .put(url)
                .header(CONTENT_TYPE, &*manifest.media_type)
                .body(manifest.body.clone());
            let sent = target.send(request).await?;
            expect(sent, StatusCode::CREATED, "the manifest").await?;
        }
        Ok(self.digest())
    }

    /// Writes it as an [OCI layout](https://github.com/opencontainers/image-spec/blob/main/image-layout.md),
    /// for tools that push from there.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn write_layout(&self, directory: &Path, tag: &str) -> anyhow::Result<()> {
        let blobs = directory.join("blobs/sha256");
        std::fs::create_dir_all(&blobs)
            .with_context(|| format!("{} cannot be made", blobs.display()))?;
        let manifests = self.manifests.iter().map(|manifest| &manifest.body);
        let mut files: Vec<_> = self
            .blobs
            .iter()
            .chain(manifests)
            .map(|body| (blobs.join(hex(body)), body.clone()))
            .collect();
        let mut top = descriptor(&self.top().media_type, &self.top().body);
        top["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
        let index = json!({"schemaVersion": 2, "manifests": [top]});
        let layout = json!({"imageLayoutVersion": "1.0.0"});
        files.push((directory.join("index.json"), json_bytes(&index)));
        files.push((directory.join("oci-layout"), json_bytes(&layout)));
        for (path, body) in files {
            std::fs::write(&path, body)
                .with_context(|| format!("{} cannot be written", path.display()))?;
        }
        Ok(())
    }

    fn top(&self) -> &Manifest {
        static NOTHING: Manifest = Manifest {
            media_type: Cow::Borrowed(OCI.manifest),
            body: Vec::new(),
        };
        self.manifests.last().unwrap_or(&NOTHING)
    }
}

impl Target<'_> {
    fn url(&self, rest: &str) -> anyhow::Result<Url> {
        let path = format!("v2/{}/{rest}", self.repository);
        self.registry
            .join(&path)
            .with_context(|| format!("{path} makes no address"))
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Response> {
        let request = match &self.authorization {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        };
        let place = || format!("{} cannot be asked", self.registry);
        request.send().await.with_context(place)
    }
}

async fn push_blob(client: &Client, target: &Target<'_>, blob: &[u8]) -> anyhow::Result<()> {
    let digest = Digest::of(blob).to_string();
    let there = client.head(target.url(&format!("blobs/{digest}"))?);
    if target.send(there).await?.status() == StatusCode::OK {
        return Ok(());
    }
    let start = target.url("blobs/uploads/")?;
    let sent = target.send(client.post(start.clone())).await?;
    let begun = expect(sent, StatusCode::ACCEPTED, "an upload").await?;
    let place = begun
        .headers()
        .get(LOCATION)
        .and_then(|value| start.join(value.to_str().ok()?).ok());
    let mut place = place.context("the registry names no place for an upload")?;
    place.query_pairs_mut().append_pair("digest", &digest);
    let request = client
        .put(place)
        .header(CONTENT_TYPE, "application/octet-stream")
        .body(blob.to_vec());
    let sent = target.send(request).await?;
    expect(sent, StatusCode::CREATED, "a blob").await?;
    Ok(())
}

async fn expect(response: Response, expected: StatusCode, what: &str) -> anyhow::Result<Response> {
    let status = response.status();
    if status == expected {
        return Ok(response);
    }
    let url = response.url().clone();
    let said = response.text().await.unwrap_or_default();
    bail!("{url} does not take {what}: {status} {said}");
}

fn descriptor(media_type: &str, body: &[u8]) -> Value {
    json!({
        "mediaType": media_type,
        "digest": Digest::of(body).to_string(),
        "size": body.len(),
    })
}

fn hex(body: &[u8]) -> String {
    Digest::of(body).to_string()["sha256:".len()..].to_owned()
}

fn json_bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// A tar archive (POSIX ustar) of one file, owned by root, dated 1970.
fn tar(content: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut field = |offset: usize, text: &str| {
        header[offset..offset + text.len()].copy_from_slice(text.as_bytes());
    };
    field(0, "content");
    field(100, "0000644\0");
    field(108, "0000000\0");
    field(116, "0000000\0");
    field(124, &format!("{:011o}\0", content.len()));
    field(136, "00000000000\0");
    // The checksum is taken over the header with blanks in its own place.
    field(148, "        ");
    field(156, "0");
    field(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());

    let mut archive = header.to_vec();
    archive.extend_from_slice(content);
    // The file is filled up to whole blocks; two empty ones end the archive.
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::default());
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .expect("writing to memory does not fail")
}
