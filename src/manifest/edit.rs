//! The byte-exact image edit: a person's file in, the same file with other image bytes out.
//!
//! Only the bytes of the image scalars change, to `repository[:tag]@digest`; quotes and the spelling
//! of the repository stay. The result is read again by two readers ([`super::verify`]), and refused
//! if anything else differs.

use std::collections::BTreeMap;
use std::ops::Range;

use granit_parser::ScalarStyle;

use super::error::{ManifestError, Problem, Refused};
use super::file::ManifestFile;
use super::site::{ImageSite, Written};
use super::verify;
use crate::model::{ImageReference, ImageRepository, ImageVersion, Images};

/// A file with images changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// The whole new text.
    pub text: String,
    /// What changed, in the order it stands; never empty.
    pub changes: Vec<ImageChange>,
}

/// One changed image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageChange {
    /// The line in the new text, from 1.
    pub line: u32,
    /// What stood there; `None` where it was added.
    pub from: Option<String>,
    /// What stands there now.
    pub to: String,
}

/// Sets every image of these repositories in a manifest file.
///
/// `None` if there is nothing to change: an image whose digest already matches is left untouched,
/// whatever its tag. Every image that cannot be edited is reported, and then nothing is.
pub fn set_image(
    file: &ManifestFile,
    images: &Images,
) -> Result<Option<Edited>, Vec<ManifestError>> {
    splice_sites(
        &file.text,
        file.objects.iter().flat_map(|object| &object.images),
        images,
    )
}

/// Whether a manifest file has an image of this repository.
pub fn has_image(file: &ManifestFile, repository: &ImageRepository) -> bool {
    let mut images = file.objects.iter().flat_map(|object| object.images());
    images.any(|image| image.repository.as_ref() == Some(repository))
}

/// One replacement.
pub(super) struct Splice<'a> {
    pub(super) site: &'a ImageSite,
    /// The bytes of the scalar, quotes included.
    pub(super) range: Range<usize>,
    /// The bytes that take their place, quotes included.
    pub(super) token: String,
    /// The scalar's new value.
    pub(super) value: String,
}

/// Replaces the images at these sites of a text, and checks the result.
pub(super) fn splice_sites<'a>(
    text: &str,
    sites: impl Iterator<Item = &'a ImageSite>,
    images: &Images,
) -> Result<Option<Edited>, Vec<ManifestError>> {
    let mut splices = BTreeMap::new();
    let mut refused = Vec::new();
    for site in sites {
        let version = site
            .image
            .repository
            .as_ref()
            .and_then(|name| images.get(name));
        let Some(version) = version.filter(|version| !already(site, version)) else {
            continue;
        };
        match splice(text, site, version) {
            Ok(splice) => {
                splices.insert(splice.range.start, splice);
            }
            Err(why) => refused.push(refusal(site, why)),
        }
    }
    if !refused.is_empty() {
        return Err(refused);
    }
    let splices: Vec<Splice<'_>> = splices.into_values().collect();
    let Some(first) = splices.first() else {
        return Ok(None);
    };
    let edited = apply(text, &splices);
    match verify::only_these_changed(text, &edited, &splices) {
        Ok(()) => Ok(Some(Edited {
            text: edited,
            changes: splices.iter().map(change).collect(),
        })),
        Err(why) => Err(vec![refusal(first.site, why)]),
    }
}

pub(super) fn refusal(site: &ImageSite, why: Refused) -> ManifestError {
    let what = site.image.text.trim().escape_debug().to_string();
    site.place.error(Problem::Refused { what, why })
}

fn already(site: &ImageSite, version: &ImageVersion) -> bool {
    site.image
        .reference()
        .and_then(|reference| reference.digest)
        == Some(version.digest)
}

fn splice<'a>(
    text: &str,
    site: &'a ImageSite,
    version: &ImageVersion,
) -> Result<Splice<'a>, Refused> {
    let Written { range, style } = site.written.clone()?;
    let old = &site.image.text;
    let raw = text.get(range.clone()).ok_or(Refused::Differs)?;
    let quote = match style {
        ScalarStyle::SingleQuoted => "'",
        ScalarStyle::DoubleQuoted => "\"",
        _ => "",
    };
    if raw.contains(['\n', '\r']) {
        return Err(Refused::Lines);
    }
    let inner = raw
        .strip_prefix(quote)
        .and_then(|rest| rest.strip_suffix(quote));
    if inner != Some(old) {
        return Err(Refused::Escapes);
    }
    if !old
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._:/@+-[]".contains(&byte))
    {
        return Err(Refused::NotAReference);
    }
    let (repository, _, _) = ImageReference::split(old);
    let value = format!("{repository}{version}");
    Ok(Splice {
        site,
        range,
        token: format!("{quote}{value}{quote}"),
        value,
    })
}

fn apply(text: &str, splices: &[Splice<'_>]) -> String {
    let mut edited = String::with_capacity(text.len() + splices.len() * 80);
    let mut from = 0;
    for splice in splices {
        edited.push_str(&text[from..splice.range.start]);
        edited.push_str(&splice.token);
        from = splice.range.end;
    }
    edited.push_str(&text[from..]);
    edited
}

fn change(splice: &Splice<'_>) -> ImageChange {
    ImageChange {
        line: splice.site.place.line,
        from: Some(splice.site.image.text.clone()),
        to: splice.value.clone(),
    }
}
