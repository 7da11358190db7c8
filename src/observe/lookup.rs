//! Tags that decisions rest on: those that only manifests name are looked up once, those of releases
//! that run, are proposed or come next are asked for each time, so that a moved one is noticed.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use jiff::Timestamp;

use super::Observatory;
use crate::model::{Digest, ImageReference, Pipeline, Release};
use crate::plan::World;
use crate::registry::RegistryError;

/// What a tag outside the catalogue pointed to when it was looked up.
#[derive(Clone, Copy)]
pub(super) struct Looked {
    pub(super) digest: Option<Digest>,
    at: Timestamp,
}

/// Images that a release needs and that were not found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Missing {
    /// The registry does not have them.
    pub(crate) gone: Vec<String>,
    /// It did not answer, and what it did instead.
    pub(crate) unknown: Vec<String>,
}

/// How long a tag that does not exist is not looked up again.
const ABSENT_FOR: Duration = Duration::from_secs(60);

impl Observatory {
    /// Looks up these tags. One that cannot be looked up now is still unresolved afterwards.
    pub async fn resolve(&self, references: &BTreeSet<ImageReference>, now: Timestamp) {
        for reference in references {
            let Some(tag) = &reference.tag else { continue };
            let digest = match self.registry.resolve(&reference.repository, tag).await {
                Ok(digest) => digest,
                Err(RegistryError::NotFound { .. }) => None,
                Err(error) => {
                    tracing::warn!(%reference, %error, "the tag cannot be looked up");
                    continue;
                }
            };
            let mut resolved = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
            resolved.insert(reference.clone(), Looked { digest, at: now });
        }
    }

    /// The images of a release that their registry does not have any more, and those that it could not be asked of.
    pub(crate) async fn missing(&self, release: &Release) -> Missing {
        let mut missing = Missing::default();
        for (repository, image) in &release.images {
            let named = format!("{repository}@{}", image.digest);
            match self.registry.has(repository, &image.digest).await {
                Ok(true) => {}
                Ok(false) => missing.gone.push(named),
                Err(error) => missing.unknown.push(format!("{named}: {error}")),
            }
        }
        missing
    }

    /// Tags of a pipeline's images in its manifests that are neither in the catalogue nor looked up.
    pub fn unresolved(&self, pipeline: &Pipeline, world: &World) -> BTreeSet<ImageReference> {
        let mut open = without_digest(pipeline, world);
        let catalogue = world.catalogue.read().ok();
        open.retain(|reference| {
            let tag = reference.tag.as_deref().unwrap_or_default();
            let known = catalogue.is_some_and(|it| it.tag(&reference.repository, tag).is_some());
            !known && !world.resolved.contains_key(reference)
        });
        open
    }

    /// Tags that decisions rest on are asked for each time: what runs, is proposed or comes next.
    pub(super) fn watch_tags(&self, pipeline: &Pipeline, world: &World) {
        let mut releases: Vec<Release> = Vec::new();
        let catalogue = world.catalogue.read().ok();
        for environment in &pipeline.environments {
            let newest = catalogue.and_then(|it| it.releases(&environment.follow).pop());
            releases.extend(newest);
            let view = world.units.get(&environment.name);
            let infra = view.and_then(|view| view.infra.read().ok());
            if let Some(Ok(records)) = infra.map(|infra| &infra.records) {
                releases.extend(records.running().cloned());
                releases.extend(records.proposal.iter().map(|it| it.release.clone()));
            }
        }
        for image in &pipeline.application.images {
            let tags = releases
                .iter()
                .filter_map(|release| release.images.get(&image.repository)?.tag.clone());
            if let Some(source) = self.tags.get(&image.repository) {
                source
                    .reader
                    .watch(&pipeline.application.name, tags.collect());
            }
        }
    }
}

impl Looked {
    /// What exists is asked for once; what does not may be pushed any time.
    pub(super) fn holds(&self, now: Timestamp) -> bool {
        let age = Duration::try_from(now.duration_since(self.at)).unwrap_or_default();
        self.digest.is_some() || age < ABSENT_FOR
    }
}

/// References to a pipeline's images that name a tag and no digest.
pub(super) fn without_digest(pipeline: &Pipeline, world: &World) -> BTreeSet<ImageReference> {
    let mut found = BTreeSet::new();
    for view in world.units.values() {
        let Ok(infra) = view.infra.read() else {
            continue;
        };
        let Ok(desired) = &infra.desired else {
            continue;
        };
        for source in &pipeline.application.images {
            let carriers = desired.rendered.carriers_of(&source.repository);
            // Asked in every round, and nearly every image has its digest: only others are read.
            let open = carriers
                .flat_map(|object| &object.images)
                .map(|rendered| &rendered.image)
                .filter(|image| image.repository.as_ref() == Some(&source.repository))
                .filter(|image| !image.text.contains('@'))
                .filter_map(|image| image.reference());
            found.extend(open.filter(|it| it.tag.is_some()));
        }
    }
    found
}
