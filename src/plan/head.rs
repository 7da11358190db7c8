//! Which release a branch's head asks for, recognised by the digests in the rendered objects:
//! never by commit id, message or trailer, so squash and rebase merges are the same.

use jiff::Timestamp;

use super::{Unit, World};
use crate::manifest::Rendered;
use crate::model::record::UnitRecords;
use crate::model::{
    Contents, Digest, Digests, ImageReference, ImageVersion, Images, Rank, Release, parse_version,
};

/// What a head asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Head {
    /// A release that the registry, the records or an upstream environment knows.
    Known(Release),
    /// Images that none of them knows, named as the manifests name them.
    Unknown(Release),
    /// Images whose digests cannot be told: no manifest names them, or two name them differently.
    Unclear(String),
    /// A tag is not looked up yet.
    Open(ImageReference),
}

impl Head {
    /// Recognises the release.
    pub(super) fn identify(unit: &Unit<'_>, records: &UnitRecords, rendered: &Rendered) -> Self {
        let images = match images(unit, rendered) {
            Ok(images) => images,
            Err(unclear) => return unclear,
        };
        let digests: Digests = images
            .iter()
            .map(|(repository, image)| (repository.clone(), image.digest))
            .collect();
        match known(unit, records, &digests) {
            Some(release) => Self::Known(release),
            None => Self::Unknown(named(images)),
        }
    }

    /// The release, known or not.
    pub(super) fn release(&self) -> Option<&Release> {
        match self {
            Self::Known(release) | Self::Unknown(release) => Some(release),
            Self::Unclear(_) | Self::Open(_) => None,
        }
    }

    /// The digests it asks for.
    pub(super) fn digests(&self) -> Option<Digests> {
        self.release().map(Release::digests)
    }
}

/// The one image that the objects name for each of the application's repositories.
fn images(unit: &Unit<'_>, rendered: &Rendered) -> Result<Images, Head> {
    let unclear = |why: String| Err(Head::Unclear(why));
    let mut images = Images::default();
    for source in &unit.pipeline.application.images {
        let repository = &source.repository;
        let named = rendered.images(repository);
        let Some(first) = named.first() else {
            return unclear(format!("no manifest names an image of {repository}"));
        };
        if let Some(open) = named.iter().find(|it| is_open(unit.world, it)) {
            return Err(Head::Open(open.clone()));
        }
        let Some(digest) = digest(unit.world, first) else {
            return unclear(format!(
                "`{first}` has no digest, and its tag is not in the registry"
            ));
        };
        if let Some(other) = named
            .iter()
            .find(|other| self::digest(unit.world, other) != Some(digest))
        {
            return unclear(format!("`{first}` and `{other}` name different images"));
        }
        images.insert(
            repository.clone(),
            ImageVersion {
                tag: first.tag.clone(),
                digest,
            },
        );
    }
    Ok(images)
}

fn digest(world: &World, reference: &ImageReference) -> Option<Digest> {
    let by_tag = || {
        let catalogue = world.catalogue.read().ok()?;
        catalogue.tag(&reference.repository, reference.tag.as_deref()?)
    };
    reference
        .digest
        .or_else(by_tag)
        .or_else(|| world.resolved.get(reference).copied().flatten())
}

/// Whether what a tag points to is still to be looked up.
fn is_open(world: &World, reference: &ImageReference) -> bool {
    reference.digest.is_none()
        && reference.tag.is_some()
        && digest(world, reference).is_none()
        && !world.resolved.contains_key(reference)
}

/// The registry knows most releases; records and upstream environments also know those whose tags are gone.
fn known(unit: &Unit<'_>, records: &UnitRecords, digests: &Digests) -> Option<Release> {
    let catalogue = unit.world.catalogue.read().ok();
    catalogue
        .and_then(|catalogue| catalogue.find(digests))
        .or_else(|| recorded(records, digests))
        .or_else(|| {
            let views = unit.world.units.values();
            views
                .filter_map(|view| view.infra.read().ok()?.records.as_ref().ok())
                .find_map(|records| recorded(records, digests))
        })
}

fn recorded(records: &UnitRecords, digests: &Digests) -> Option<Release> {
    let deployed = records
        .deployment
        .iter()
        .filter_map(|deployment| deployment.release.as_ref());
    deployed
        .chain(records.runs.iter().map(|run| &run.release))
        .chain(records.failures.iter().map(|failure| &failure.release))
        .chain(records.proposal.iter().map(|proposal| &proposal.release))
        .find(|release| release.is(digests))
        .cloned()
}

/// Nothing is known of when it was made, so everything that is known is newer, versions apart.
fn named(images: Images) -> Release {
    let first = images.values().next();
    let tag = first.and_then(|image| image.tag.clone());
    let name = tag
        .clone()
        .or_else(|| first.map(|image| image.digest.short()));
    Release::from(Contents {
        name: name.unwrap_or_default(),
        rank: Rank {
            version: tag.as_deref().and_then(parse_version),
            built: Timestamp::UNIX_EPOCH,
        },
        images,
        commit: None,
    })
}
