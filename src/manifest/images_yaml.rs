//! `images.yaml`: the images of one environment, where the manifests are shared.
//!
//! It stands at the top of a directory and lists image references, one repository at most once:
//!
//! ```yaml
//! images:
//!   - registry.example.com/acme/web:v1.4.0@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
//! ```
//!
//! Every image field of that repository, in objects that come from *earlier* directories of the
//! environment, is rendered with this tag and digest; the repository stays spelled as it stands in
//! the field. Objects of the same directory are not touched: their image stands in their own file.
//! Each line is one scalar, so that it is edited byte-exactly as an image in a manifest is.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::error::{ManifestError, Place, Problem};
use super::fields::ObjectImage;
use super::site::{self, ImageSite};
use super::yaml;
use crate::model::{ImageReference, ImageRepository};

/// The name of the file at the top of a directory.
pub const IMAGES_FILE: &str = "images.yaml";

/// An `images.yaml` as read from a tree.
#[derive(Debug)]
pub struct ImagesFile {
    /// The path in the tree.
    pub path: Arc<str>,
    /// The whole text.
    pub text: Arc<str>,
    pub(super) entries: Vec<Entry>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) site: ImageSite,
    pub(super) reference: ImageReference,
}

impl ImagesFile {
    /// The images it sets.
    pub fn images(&self) -> impl Iterator<Item = &ImageReference> {
        self.entries.iter().map(|entry| &entry.reference)
    }
}

/// Reads an `images.yaml`. An empty one sets nothing.
pub fn parse_images(path: &str, bytes: &[u8]) -> Result<ImagesFile, ManifestError> {
    let path: Arc<str> = path.into();
    let text = yaml::text(&path, bytes)?;
    let documents = yaml::read(&path, text, &|key| key == "images")?;
    let mut entries = Vec::new();
    let mut seen: BTreeMap<ImageRepository, Place> = BTreeMap::new();
    for (index, document) in documents.iter().enumerate() {
        if index > 0 {
            return Err(document
                .place
                .error(format("a second document — keep all images in one list")));
        }
        for site in sites(document)? {
            let reference = reference(&site)?;
            if let Some(first) = seen.insert(reference.repository.clone(), site.place.clone()) {
                let repository = &reference.repository;
                return Err(site.place.error(format(format!(
                    "{repository} also stands on line {} — remove one",
                    first.line
                ))));
            }
            entries.push(Entry { site, reference });
        }
    }
    Ok(ImagesFile {
        path,
        text: text.into(),
        entries,
    })
}

fn sites(document: &yaml::RawDocument) -> Result<Vec<ImageSite>, ManifestError> {
    let refuse = || {
        document.place.error(format(
            "not a list of images — write `images:` with `- repository:tag@sha256:…` lines",
        ))
    };
    let Value::Object(map) = &document.value else {
        return Err(refuse());
    };
    if let Some(key) = map.keys().find(|key| *key != "images") {
        return Err(document.place.error(format(format!(
            "`{key}` is not known here — write only `images`"
        ))));
    }
    let entries = match map.get("images") {
        Some(Value::Array(entries)) => entries,
        Some(Value::Null) => return Ok(Vec::new()),
        _ => return Err(refuse()),
    };
    let sites = entries.iter().enumerate().map(|(index, entry)| {
        let Value::String(text) = entry else {
            return Err(refuse());
        };
        let (repository, _, _) = ImageReference::split(text);
        let image = ObjectImage {
            pointer: format!("/images/{index}"),
            text: text.clone(),
            repository: repository.parse().ok(),
        };
        Ok(site::locate(image, "", document))
    });
    sites.collect()
}

fn reference(site: &ImageSite) -> Result<ImageReference, ManifestError> {
    let reference: ImageReference = site
        .image
        .text
        .parse()
        .map_err(|error| site.place.error(format(format!("{error}"))))?;
    match reference.tag.is_none() && reference.digest.is_none() {
        true => Err(site.place.error(format(format!(
            "{reference} sets nothing — add `:tag@sha256:…`"
        )))),
        false => Ok(reference),
    }
}

fn format(message: impl Into<String>) -> Problem {
    Problem::Format(message.into())
}
