//! An application's catalogue, put together from what is kept of its registries and its source
//! repository, and not again before one of these changes.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use jiff::Timestamp;

use super::{History, Observatory};
use crate::model::catalogue::{Catalogue, TagSeen, Tags, TagsSeen, commit_of};
use crate::model::{CommitId, ImageSource, Pipeline};
use crate::plan::Observed;

/// A catalogue and what it was made from.
pub(super) struct CatalogueKept {
    tags: Vec<Arc<Tags>>,
    history: Option<Arc<History>>,
    catalogue: Arc<Catalogue>,
}

impl Observatory {
    pub(super) fn catalogue(
        &self,
        pipeline: &Pipeline,
        now: Timestamp,
    ) -> Observed<Arc<Catalogue>> {
        let application = &pipeline.application;
        let (mut tags, mut seen_at) = (Vec::new(), now);
        for image in &application.images {
            let Some(source) = self.tags.get(&image.repository) else {
                continue;
            };
            match source.source.observed() {
                Observed::Seen { value, at } => {
                    seen_at = seen_at.min(at);
                    tags.push(value);
                }
                Observed::Unreadable(unreadable) => return Observed::Unreadable(unreadable),
            }
        }
        let history = match application.source.as_ref() {
            Some(source) => match self.histories.get(&source.url).map(|it| it.known()) {
                Some(Ok(history)) => Some(history),
                Some(Err(unreadable)) => return Observed::Unreadable(unreadable),
                None => None,
            },
            None => None,
        };
        let mut kept = self
            .catalogues
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = kept.get(&application.name)
            && kept.is_made_from(&tags, history.as_ref())
        {
            return Observed::Seen {
                value: kept.catalogue.clone(),
                at: seen_at,
            };
        }
        let catalogue = Arc::new(assemble(pipeline, &tags, history.as_deref()));
        let value = catalogue.clone();
        kept.insert(
            application.name.clone(),
            CatalogueKept {
                tags,
                history,
                catalogue,
            },
        );
        Observed::Seen { value, at: seen_at }
    }
}

impl CatalogueKept {
    fn is_made_from(&self, tags: &[Arc<Tags>], history: Option<&Arc<History>>) -> bool {
        let same_tags = self.tags.len() == tags.len()
            && self.tags.iter().zip(tags).all(|(a, b)| Arc::ptr_eq(a, b));
        let same_history = match (&self.history, history) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        same_tags && same_history
    }
}

/// The catalogue of an application, with what its source repository says of its builds.
fn assemble(pipeline: &Pipeline, tags: &[Arc<Tags>], history: Option<&History>) -> Catalogue {
    let sources = &pipeline.application.images;
    let mut seen: TagsSeen = sources
        .iter()
        .zip(tags)
        .map(|(image, tags)| (image.repository.clone(), tags.clone()))
        .collect();
    let mut bounds = BTreeMap::new();
    if let Some(history) = history {
        let mut commits: BTreeMap<CommitId, Timestamp> = BTreeMap::new();
        let mut named: BTreeMap<String, CommitId> = BTreeMap::new();
        for (image, tags) in sources.iter().zip(tags) {
            for (tag, build) in tags.iter() {
                let Some((name, commit)) = built_from(image, tag, build, history) else {
                    continue;
                };
                let built = dated(build.built, history, commit);
                if let Some(build) = seen
                    .get_mut(&image.repository)
                    .and_then(|it| Arc::make_mut(it).get_mut(tag))
                {
                    build.built = built;
                    build.revision = Some(name.clone());
                }
                let oldest = commits.entry(commit).or_insert(built);
                *oldest = built.min(*oldest);
                named.insert(name, commit);
            }
        }
        let by_commit = history.bounds(&commits);
        bounds = named
            .into_iter()
            .filter_map(|(name, commit)| Some((name, *by_commit.get(&commit)?)))
            .collect();
    }
    Catalogue::assemble(sources, &seen, &bounds)
}

/// The commit that an image was built from, and its name: as the image or its tag says, or else as the tag
/// of the same name in the source repository does.
fn built_from(
    image: &ImageSource,
    tag: &str,
    build: &TagSeen,
    history: &History,
) -> Option<(String, CommitId)> {
    if let Some(name) = commit_of(image, tag, build) {
        let commit = history.find(&name)?;
        return Some((name, commit));
    }
    let parts = image.release_tag.as_ref()?.matches(tag)?;
    let commit = history.tagged(&parts.tag?)?;
    Some((commit.to_string(), commit))
}

/// An image without a date of its own has its commit's.
fn dated(built: Timestamp, history: &History, commit: CommitId) -> Timestamp {
    match built == Timestamp::UNIX_EPOCH {
        true => history.time(commit).unwrap_or(built),
        false => built,
    }
}

#[cfg(test)]
mod tests;
