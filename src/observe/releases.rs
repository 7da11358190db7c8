//! What the registries hold: the tags of interest, what they point to, and when that was made.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use jiff::Timestamp;

use super::source::Failed;
use super::told::Told;
use crate::model::catalogue::{TagSeen, Tags};
use crate::model::{ApplicationName, Digest, ImageRepository, TagTemplate};
use crate::registry::{Registry, RegistryError};

/// Tags looked up at a time; the registry client has its own limit per host.
const LOOK_UPS: usize = 8;

/// See the module.
pub struct TagReader {
    registry: Arc<dyn Registry>,
    repository: ImageRepository,
    templates: Vec<TagTemplate>,
    /// Tags that decisions rest on: these are asked for again each time, so that a moved tag is noticed.
    watched: Mutex<BTreeMap<ApplicationName, BTreeSet<String>>>,
    told: Told,
}

impl TagReader {
    /// Reads the tags of this repository that fit one of these templates.
    pub fn new(
        registry: Arc<dyn Registry>,
        repository: ImageRepository,
        templates: Vec<TagTemplate>,
    ) -> Self {
        Self {
            registry,
            repository,
            templates,
            watched: Mutex::default(),
            told: Told::default(),
        }
    }

    /// Which repository.
    pub fn repository(&self) -> &ImageRepository {
        &self.repository
    }

    /// Names the tags that an application's decisions rest on now: running, proposed, newest.
    pub fn watch(&self, application: &ApplicationName, tags: BTreeSet<String>) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.insert(application.clone(), tags);
    }

    /// Takes note that the registry told of a push to this tag.
    pub fn tell(&self, tag: &str, digest: Option<Digest>) {
        if self.fits(tag) {
            self.told.tell(tag, digest);
        }
    }

    /// How soon to read again, where a tag that was told of was not there yet.
    pub fn again_after(&self) -> Option<Duration> {
        self.told.again_after()
    }

    fn fits(&self, tag: &str) -> bool {
        self.templates.iter().any(|it| it.matches(tag).is_some())
    }

    /// Lists the tags and looks up what is new, watched or told of.
    ///
    /// # Errors
    /// What the registry answered. A tag whose image is broken is left out, and said in the log.
    pub async fn read(&self, before: Option<&Tags>) -> Result<Tags, Failed> {
        let listed = match self.registry.tags(&self.repository).await {
            // Nothing was ever pushed there: no release, and no reason to call it unreadable.
            Err(RegistryError::NotFound { .. }) => Vec::new(),
            listed => listed.map_err(|error| failed(&error))?,
        };
        let tags: Vec<String> = listed.into_iter().filter(|tag| self.fits(tag)).collect();
        let watched: BTreeSet<String> = {
            let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
            watched.values().flatten().cloned().collect()
        };
        let (mut seen, mut open) = (Vec::new(), Vec::new());
        for tag in tags {
            match before.and_then(|before| before.get(&tag)) {
                Some(known)
                    if !watched.contains(&tag) && !self.told.is_awaited(&tag, Some(known)) =>
                {
                    seen.push((tag, known.clone()));
                }
                known => open.push((tag, known.cloned())),
            }
        }
        let mut looked_up = stream::iter(open)
            .map(|(tag, known)| async move { (self.look_up(&tag, known).await, tag) })
            .buffer_unordered(LOOK_UPS);
        while let Some((found, tag)) = looked_up.next().await {
            match found {
                Ok(Some(image)) => seen.push((tag, image)),
                Ok(None) => {}
                Err(error) if error.is_transient() => return Err(failed(&error)),
                Err(error) => {
                    tracing::warn!(repository = %self.repository, tag, %error, "the tag is left out");
                }
            }
        }
        drop(looked_up);
        let seen = Tags::from_iter(seen);
        self.told.found(&seen);
        Ok(seen)
    }

    async fn look_up(
        &self,
        tag: &str,
        known: Option<TagSeen>,
    ) -> Result<Option<TagSeen>, RegistryError> {
        let (digest, image) = match known {
            Some(known) => {
                let Some(digest) = self.registry.resolve(&self.repository, tag).await? else {
                    return Ok(None);
                };
                if known.digest == digest {
                    return Ok(Some(known));
                }
                tracing::warn!(repository = %self.repository, tag, "the tag was moved");
                let image = self.registry.image(&self.repository, &digest).await?;
                (digest, image)
            }
            None => match self.registry.tagged(&self.repository, tag).await? {
                Some(found) => found,
                None => return Ok(None),
            },
        };
        // Images without a date rank by their commit, where a source is given; else as the oldest.
        let built = image.created.unwrap_or(Timestamp::UNIX_EPOCH);
        Ok(Some(TagSeen {
            digest,
            built,
            revision: image.revision,
        }))
    }
}

fn failed(error: &RegistryError) -> Failed {
    Failed {
        why: error.to_string(),
        retry_after: error.retry_after(),
    }
}
