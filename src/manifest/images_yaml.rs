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

use super::edit::{self, Edited, ImageChange};
use super::error::{ManifestError, Place, Problem, Refused};
use super::fields::ObjectImage;
use super::site::{self, ImageSite};
use super::{verify, yaml};
use crate::model::{ImageReference, ImageRepository, Images};

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
    /// Its entries as places to edit.
    fn sites(&self) -> impl Iterator<Item = &ImageSite> {
        self.entries.iter().map(|entry| &entry.site)
    }

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
                .error(problem("a second document — keep all images in one list")));
        }
        for site in sites(document)? {
            let reference = reference(&site)?;
            if let Some(first) = seen.insert(reference.repository.clone(), site.place.clone()) {
                let repository = &reference.repository;
                return Err(site.place.error(problem(format!(
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
        document.place.error(problem(
            "not a list of images — write `images:` with `- repository:tag@sha256:…` lines",
        ))
    };
    let Value::Object(map) = &document.value else {
        return Err(refuse());
    };
    if let Some(key) = map.keys().find(|key| *key != "images") {
        return Err(document.place.error(problem(format!(
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
        let image = ObjectImage::new(format!("/images/{index}"), text.clone());
        Ok(site::locate(image, "", document))
    });
    sites.collect()
}

fn reference(site: &ImageSite) -> Result<ImageReference, ManifestError> {
    let reference: ImageReference = site
        .image
        .text
        .parse()
        .map_err(|error| site.place.error(problem(format!("{error}"))))?;
    match reference.tag.is_none() && reference.digest.is_none() {
        true => Err(site.place.error(problem(format!(
            "{reference} sets nothing — add `:tag@sha256:…`"
        )))),
        false => Ok(reference),
    }
}

/// Sets images in an `images.yaml`, or makes one: entries are edited as images in a manifest are,
/// missing ones are added as lines at the end of the list.
///
/// `None` if there is nothing to change.
pub fn set_in_images_yaml(
    existing: Option<&ImagesFile>,
    images: &Images,
) -> Result<Option<Edited>, Vec<ManifestError>> {
    let Some(file) = existing else {
        return Ok(create(images));
    };
    let mut edited = edit::splice_sites(&file.text, file.sites(), images)?;
    for (repository, version) in images {
        if file.images().any(|image| image.repository == *repository) {
            continue;
        }
        let current = edited.take().unwrap_or_else(|| Edited {
            text: file.text.to_string(),
            changes: Vec::new(),
        });
        edited = Some(
            add(&file.path, current, format!("{repository}{version}"))
                .map_err(|error| vec![error])?,
        );
    }
    Ok(edited)
}

fn create(images: &Images) -> Option<Edited> {
    const HEAD: &str = "# The images of this environment. Towpath sets them here, because other environments read the\n# manifests in which they stand. One `repository:tag@sha256:…` per line.\nimages:\n";
    let mut edited = Edited {
        text: HEAD.to_owned(),
        changes: Vec::new(),
    };
    for (line, (repository, version)) in (4..).zip(images) {
        let to = format!("{repository}{version}");
        edited.text.push_str(&format!("  - {to}\n"));
        edited.changes.push(ImageChange {
            line,
            from: None,
            to,
        });
    }
    (!images.is_empty()).then_some(edited)
}

/// Adds one entry, and checks that the result is the list before and that entry.
fn add(path: &str, before: Edited, reference: String) -> Result<Edited, ManifestError> {
    let old = parse_images(path, before.text.as_bytes())?;
    let place = old.entries.last().map_or_else(
        || Place {
            file: path.into(),
            line: 1,
            column: 1,
        },
        |last| last.site.place.clone(),
    );
    let refuse = |why| {
        place.error(Problem::Refused {
            what: reference.clone(),
            why,
        })
    };
    let (at, addition) = addition(&old, &reference).ok_or_else(|| refuse(Refused::List))?;
    let mut text = before.text;
    text.insert_str(at, &addition);

    let new = parse_images(path, text.as_bytes())?;
    let written = |file: &ImagesFile| -> Vec<String> {
        file.sites().map(|site| site.image.text.clone()).collect()
    };
    let expected: Vec<_> = written(&old)
        .into_iter()
        .chain([reference.clone()])
        .collect();
    let second = verify::documents(&text).map_err(refuse)?;
    let second = second
        .first()
        .and_then(|document| document.get("images")?.as_sequence());
    let second = second.is_some_and(|list| {
        list.iter()
            .map(serde_yaml::Value::as_str)
            .eq(expected.iter().map(|text| Some(text.as_str())))
    });
    if written(&new) != expected || !second {
        return Err(refuse(Refused::Differs));
    }
    let mut changes = before.changes;
    let line = new.entries.last().map_or(1, |last| last.site.place.line);
    changes.push(ImageChange {
        line,
        from: None,
        to: reference,
    });
    Ok(Edited { text, changes })
}

/// Where a new entry goes, and the bytes to put there; `None` if the list has no room for a line.
fn addition(file: &ImagesFile, reference: &str) -> Option<(usize, String)> {
    let text: &str = &file.text;
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let Some(last) = file.entries.last() else {
        // A list may begin where there is nothing but comments, or an `images:` without entries.
        let lines = text.trim_start_matches('\u{feff}').lines();
        let content = lines.map(|line| line.split('#').next().unwrap_or_default().trim());
        let mut content = content.filter(|line| !line.is_empty());
        let head = match content.next() {
            None => format!("images:{newline}"),
            Some("images:") => String::new(),
            Some(_) => return None,
        };
        let gap = if text.is_empty() || text.ends_with('\n') {
            ""
        } else {
            newline
        };
        let lines = format!("{gap}{head}  - {reference}{newline}");
        return content.next().is_none().then_some((text.len(), lines));
    };
    let range = &last.site.written.as_ref().ok()?.range;
    let start = text[..range.start]
        .rfind('\n')
        .map_or(0, |newline| newline + 1);
    let lead = &text[start..range.start];
    let dash = lead.trim_start_matches(' ').strip_prefix('-')?;
    if dash.is_empty() || !dash.bytes().all(|byte| byte == b' ') {
        return None;
    }
    match text[range.end..].find('\n') {
        Some(end) => Some((range.end + end + 1, format!("{lead}{reference}{newline}"))),
        None => Some((text.len(), format!("{newline}{lead}{reference}"))),
    }
}

fn problem(message: impl Into<String>) -> Problem {
    Problem::Format(message.into())
}
