//! What registries store: manifests, indexes and image configurations, as far as they are read.
//!
//! Pure: bytes in, values out. Formats: [OCI image specification](https://github.com/opencontainers/image-spec)
//! and docker's [manifest v2, schema 2](https://distribution.github.io/distribution/spec/manifest-v2-2/).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::ImageConfig;
use crate::model::Digest;

/// Every kind of manifest a tag may point to; without these names registries convert or refuse.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";

const CONFIG_TYPES: [&str; 2] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
];

/// Longer texts are no commit, address or version; they would travel into commits and pages.
const LONGEST_TEXT: usize = 1024;

/// What a manifest leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Document {
    /// Several images, of which this one speaks for all.
    Index {
        representative: Digest,
        annotations: Annotations,
    },
    /// One image; what is no container image has no configuration that could be read.
    Manifest {
        config: Option<Digest>,
        annotations: Annotations,
    },
}

pub(super) type Annotations = BTreeMap<String, String>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    #[serde(default)]
    schema_version: u64,
    config: Option<Descriptor>,
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    annotations: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
}

/// Reads a manifest or an index.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
pub(super) fn document(bytes: &[u8]) -> Result<Document, String> {
    let body: Body = serde_json::from_slice(bytes)
        .map_err(|error| format!("a manifest is not as specified: {}", short(&error)))?;
    if body.schema_version == 1 {
        return Err(
            "a manifest has docker's old schema 1: push the image again with a current tool"
                .to_owned(),
        );
    }
    let annotations = texts(body.annotations.unwrap_or_default());
    let digest = |descriptor: &Descriptor| {
        let digest = descriptor.digest.parse::<Digest>();
        digest.map_err(|error| format!("a manifest refers to something unusable: {error}"))
    };
    match (body.manifests, body.config) {
        // CVE-2021-41190: what could be read as either is neither.
        (Some(_), Some(_)) => Err("a manifest is an index and an image at once".to_owned()),
        (None, None) => Err("a manifest is neither an index nor an image".to_owned()),
        (Some(manifests), None) => Ok(Document::Index {
            representative: digest(representative(&manifests)?)?,
            annotations,
        }),
        (None, Some(config)) => Ok(Document::Manifest {
            config: CONFIG_TYPES
                .contains(&config.media_type.as_str())
                .then(|| digest(&config))
                .transpose()?,
            annotations,
        }),
    }
}

/// linux/amd64, else the first image. Build attestations call their platform unknown.
fn representative(manifests: &[Descriptor]) -> Result<&Descriptor, String> {
    let is = |descriptor: &&Descriptor, os: &str, architecture: &str| {
        descriptor
            .platform
            .as_ref()
            .is_some_and(|platform| platform.os == os && platform.architecture == architecture)
    };
    manifests
        .iter()
        .find(|descriptor| is(descriptor, "linux", "amd64"))
        .or_else(|| {
            manifests
                .iter()
                .find(|descriptor| !is(descriptor, "unknown", "unknown"))
        })
        .ok_or_else(|| "an index holds no image".to_owned())
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    created: Value,
    config: Option<Inner>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Inner {
    labels: Option<Map<String, Value>>,
}

/// What an image says of itself: its configuration first, the annotations around it after that.
///
/// The time is that of the configuration, because labels are inherited from base images; only where
/// that says "no date" (1970-01-01 or before, as reproducible builders write) the label's counts.
///
/// # Errors
/// What is wrong with the configuration, as the end of a sentence.
pub(super) fn config(
    bytes: Option<&[u8]>,
    annotations: &[Annotations],
) -> Result<ImageConfig, String> {
    let config: Config = match bytes {
        Some(bytes) => serde_json::from_slice(bytes).map_err(|error| {
            format!(
                "an image configuration is not as specified: {}",
                short(&error)
            )
        })?,
        None => Config::default(),
    };
    let labels = texts(
        config
            .config
            .and_then(|inner| inner.labels)
            .unwrap_or_default(),
    );
    let text = |keys: [&str; 2]| {
        std::iter::once(&labels)
            .chain(annotations)
            .find_map(|texts| keys.iter().find_map(|key| texts.get(*key)))
            .cloned()
    };
    let label = text([
        "org.opencontainers.image.created",
        "org.label-schema.build-date",
    ]);
    let created = [config.created.as_str(), label.as_deref()]
        .into_iter()
        .flatten()
        .filter_map(|text| text.parse::<Timestamp>().ok())
        .find(|created| *created > Timestamp::UNIX_EPOCH);
    Ok(ImageConfig {
        created,
        revision: text([
            "org.opencontainers.image.revision",
            "org.label-schema.vcs-ref",
        ]),
        source: text([
            "org.opencontainers.image.source",
            "org.label-schema.vcs-url",
        ]),
        version: text([
            "org.opencontainers.image.version",
            "org.label-schema.version",
        ]),
    })
}

/// The entries that are short, one-line, non-empty text.
fn texts(map: Map<String, Value>) -> Annotations {
    map.into_iter()
        .filter_map(|(key, value)| match value {
            Value::String(text)
                if (1..=LONGEST_TEXT).contains(&text.len()) && !text.contains(char::is_control) =>
            {
                Some((key, text))
            }
            _ => None,
        })
        .collect()
}

/// Only the place: serde's text repeats values, which here are a stranger's.
fn short(error: &serde_json::Error) -> String {
    format!("line {}, column {}", error.line(), error.column())
}
