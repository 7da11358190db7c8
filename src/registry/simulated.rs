//! A registry in this process, that keeps its state and can be told to misbehave: for tests and simulation.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use async_trait::async_trait;

use super::{Attached, ImageConfig, Outage, Registry, RegistryError, Said};
use crate::model::{Digest, ImageRepository};

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mood {
    /// As it should.
    #[default]
    Up,
    /// Not: nobody is there.
    Down,
    /// Not for a while: a limit.
    TooMany,
    /// Not to us: 401.
    Unauthorized,
}

/// See the module. A clone is the same registry.
#[derive(Clone, Default)]
pub struct SimulatedRegistry {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    mood: Mood,
    tags: BTreeMap<ImageRepository, BTreeMap<String, Digest>>,
    images: BTreeMap<Digest, ImageConfig>,
    attached: BTreeMap<Digest, Vec<Attached>>,
}

impl SimulatedRegistry {
    /// An empty one that answers.
    pub fn new() -> Self {
        Self::default()
    }

    /// How it answers from now on.
    pub fn set(&self, mood: Mood) {
        self.state().mood = mood;
    }

    /// Pushes an image under a tag, which moves there.
    pub fn push(
        &self,
        repository: &ImageRepository,
        tag: &str,
        digest: Digest,
        image: ImageConfig,
    ) {
        let mut state = self.state();
        let tags = state.tags.entry(repository.clone()).or_default();
        tags.insert(tag.to_owned(), digest);
        state.images.entry(digest).or_insert(image);
    }

    /// What a tag points to.
    pub fn digest(&self, repository: &ImageRepository, tag: &str) -> Option<Digest> {
        self.state().tags.get(repository)?.get(tag).copied()
    }

    /// Attaches evidence to an image.
    pub fn attach(&self, digest: Digest, evidence: Attached) {
        let mut state = self.state();
        state.attached.entry(digest).or_default().push(evidence);
    }

    /// The image of this tag is gone, and the tag with it.
    pub fn delete(&self, repository: &ImageRepository, tag: &str) {
        let mut state = self.state();
        let tags = state.tags.get_mut(repository);
        if let Some(digest) = tags.and_then(|tags| tags.remove(tag)) {
            state.images.remove(&digest);
        }
    }

    /// A tag is gone; its image is not.
    pub fn untag(&self, repository: &ImageRepository, tag: &str) {
        if let Some(tags) = self.state().tags.get_mut(repository) {
            tags.remove(tag);
        }
    }

    /// Whoever asks it does not get on, as if it computed without end, until the answer is dropped.
    pub fn stick(&self) -> mpsc::Sender<()> {
        let (release, released) = mpsc::channel();
        let (held, holds) = mpsc::channel();
        let registry = self.clone();
        std::thread::spawn(move || {
            let state = registry.state();
            let _is_waited_for = held.send(());
            // It ends once nobody can say anything any more.
            let _ = released.recv();
            drop(state);
        });
        let _holds = holds.recv();
        release
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, repository: &ImageRepository) -> Result<MutexGuard<'_, State>, RegistryError> {
        let state = self.state();
        let repository = repository.clone();
        match state.mood {
            Mood::Up => Ok(state),
            Mood::Down => Err(RegistryError::Unavailable {
                repository,
                outage: Outage::Connect("connection refused".to_owned()),
            }),
            Mood::TooMany => Err(RegistryError::TooManyRequests {
                host: "registry.example.com".to_owned(),
                retry_after: Some(Duration::from_secs(20)),
            }),
            Mood::Unauthorized => Err(RegistryError::Unauthorized {
                repository,
                credential: "no credential".to_owned(),
                said: Said::default(),
            }),
        }
    }
}

#[async_trait]
impl Registry for SimulatedRegistry {
    async fn tags(&self, repository: &ImageRepository) -> Result<Vec<String>, RegistryError> {
        let state = self.answer(repository)?;
        let tags = state.tags.get(repository).into_iter().flatten();
        Ok(tags.map(|(tag, _)| tag.clone()).collect())
    }

    async fn resolve(
        &self,
        repository: &ImageRepository,
        tag: &str,
    ) -> Result<Option<Digest>, RegistryError> {
        let state = self.answer(repository)?;
        let tags = state.tags.get(repository);
        Ok(tags.and_then(|tags| tags.get(tag)).copied())
    }

    async fn image(
        &self,
        repository: &ImageRepository,
        digest: &Digest,
    ) -> Result<ImageConfig, RegistryError> {
        let state = self.answer(repository)?;
        let image = state.images.get(digest).cloned();
        image.ok_or_else(|| RegistryError::NotFound {
            repository: repository.clone(),
            what: digest.to_string(),
            said: Said::default(),
        })
    }

    async fn attached(
        &self,
        repository: &ImageRepository,
        digest: &Digest,
    ) -> Result<Vec<Attached>, RegistryError> {
        let state = self.answer(repository)?;
        Ok(state.attached.get(digest).cloned().unwrap_or_default())
    }
}
