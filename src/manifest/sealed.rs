//! Manifests encrypted by [sops](https://getsops.io/docs/): recognised here, opened elsewhere.
//!
//! Every document of such a file has a top-level `sops` map. Whoever opened the file gives its plain
//! text; what is made of it shows nothing of it: objects are marked, their hash is that of the encrypted
//! text, errors point at the encrypted file and repeat no value.

use std::sync::Arc;

use serde_json::Value;

use super::canonical::Canonical;
use super::error::{ManifestError, Place, Problem, Refused};
use super::fields::ImageFields;
use super::file::{self, ManifestFile, ManifestObject};
use super::yaml::{self, RawDocument};
use crate::model::Digest;

/// Where the first encrypted document begins.
pub(super) fn begins(documents: &[RawDocument]) -> Option<&Place> {
    let sealed = documents.iter().find(|document| is_sealed(&document.value));
    sealed.map(|document| &document.place)
}

fn is_sealed(document: &Value) -> bool {
    document.get("sops").is_some_and(Value::is_object)
}

/// Reads an encrypted manifest file (`bytes`, as it stands in the tree), given its plain text.
///
/// # Errors
/// Names a place in the encrypted file, and never a value.
pub fn parse_opened(
    path: &str,
    bytes: &[u8],
    opened: &str,
    fields: &ImageFields,
) -> Result<ManifestFile, ManifestError> {
    let path: Arc<str> = path.into();
    let text = yaml::text(&path, bytes)?;
    let sealed = yaml::read(&path, text, &|_| false)?;
    let whole = Place {
        file: Arc::clone(&path),
        line: 1,
        column: 1,
    };
    let documents = yaml::text(&path, opened.as_bytes())
        .and_then(|text| yaml::read(&path, text, &|key| file::is_located(key, fields)))
        .map_err(|error| hidden(&whole, error))?;
    if documents.len() != sealed.len() {
        return Err(whole.error(Problem::Opened("it holds another number of documents")));
    }
    let mut objects = Vec::new();
    for (document, sealed) in documents.into_iter().zip(&sealed) {
        let place = &sealed.place;
        if is_sealed(&document.value) {
            return Err(place.error(Problem::Opened("it is still encrypted")));
        }
        let first = objects.len();
        file::objects_of(document, fields, &mut objects).map_err(|error| hidden(place, error))?;
        for (index, object) in objects.iter_mut().enumerate().skip(first) {
            let place = sealed.items.get(index - first).unwrap_or(place);
            let seal = format!("{} {index}", Digest::of(bytes));
            hide(object, place, Digest::of(seal.as_bytes()));
        }
    }
    Ok(ManifestFile {
        path,
        text: text.into(),
        objects,
    })
}

/// Reads what stands openly in an encrypted manifest file. No image of it can be edited: the seal covers
/// the whole file.
///
/// # Errors
/// Where what stands openly is no manifest: then all of it is encrypted.
pub fn parse_sealed(
    path: &str,
    bytes: &[u8],
    fields: &ImageFields,
) -> Result<ManifestFile, ManifestError> {
    let path: Arc<str> = path.into();
    let text = yaml::text(&path, bytes)?;
    let mut objects = Vec::new();
    for document in yaml::read(&path, text, &|key| file::is_located(key, fields))? {
        file::objects_of(document, fields, &mut objects)?;
    }
    for site in objects.iter_mut().flat_map(|object| &mut object.images) {
        site.written = Err(Refused::Sealed);
    }
    Ok(ManifestFile {
        path,
        text: text.into(),
        objects,
    })
}

/// Leaves of an object what may be told.
fn hide(object: &mut ManifestObject, place: &Place, seal: Digest) {
    object.place = place.clone();
    object.content = Canonical {
        hash: seal,
        sealed: true,
        ..object.content.clone()
    };
    for site in &mut object.images {
        site.place = place.clone();
        site.written = Err(Refused::Sealed);
    }
    if let Err(error) = &mut object.asked {
        **error = place.error(error.problem.clone());
    }
}

/// The error as far as it says nothing of the plain text.
fn hidden(place: &Place, error: ManifestError) -> ManifestError {
    let tells_no_value = matches!(
        error.problem,
        Problem::TooLarge
            | Problem::NotUtf8
            | Problem::TooDeep
            | Problem::TooMany
            | Problem::NotAnObject
            | Problem::Missing(_)
            | Problem::NotText(_)
            | Problem::ForeignTool(_)
    );
    place.error(match tells_no_value {
        true => error.problem,
        false => Problem::Opened("it is no manifest; why is not shown, it may be secret"),
    })
}
