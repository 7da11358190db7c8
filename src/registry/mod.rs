//! The image registries: which tags there are, what they point to, when and from what it was built.
//!
//! Owns the reading of the [OCI distribution API](https://github.com/opencontainers/distribution-spec/blob/main/spec.md)
//! with its authentication and its limits. Never writes to a registry, never decides which tag is
//! wanted (that is the model and the planner), and never retries in place:
//! the next round does.

mod answer;
mod auth;
mod cache;
mod client;
mod credential;
mod document;
mod error;
mod helper;
mod host;
mod page;
mod question;
mod referrers;
mod settings;
pub mod simulated;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::model::{Digest, ImageRepository};

pub use client::{HttpRegistry, Stored};
pub use error::{Outage, RegistryError, Said};
pub use referrers::Attached;
pub use settings::{CredentialSource, Environment, HostSettings, RegistrySettings};

/// What Towpath reads from a registry. There is no write half: Towpath never writes images.
#[async_trait]
pub trait Registry: Send + Sync {
    /// Every tag of the repository, sorted by bytes, each once.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`] where the repository does not exist (some registries say so too
    /// when nothing was ever pushed to it), and every other [`RegistryError`].
    async fn tags(&self, repository: &ImageRepository) -> Result<Vec<String>, RegistryError>;

    /// The digest a tag points to now: that of the image index where the tag names one. `None`
    /// where the tag does not exist.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`] where the registry says that the whole repository is unknown
    /// (not every registry tells the two apart), and every other [`RegistryError`].
    async fn resolve(
        &self,
        repository: &ImageRepository,
        tag: &str,
    ) -> Result<Option<Digest>, RegistryError>;

    /// What the image says of itself. For an index it is what its linux/amd64 image says, or the
    /// first image of the index where it has none.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`] where no manifest has this digest (any more), and every other
    /// [`RegistryError`].
    async fn image(
        &self,
        repository: &ImageRepository,
        digest: &Digest,
    ) -> Result<ImageConfig, RegistryError>;

    /// What is attached to an image as evidence, unread and unchecked.
    ///
    /// # Errors
    /// More is attached than is read, and every other [`RegistryError`] but [`RegistryError::NotFound`] of the image.
    async fn attached(
        &self,
        repository: &ImageRepository,
        digest: &Digest,
    ) -> Result<Vec<Attached>, RegistryError>;

    /// Whether the registry still has an image.
    ///
    /// # Errors
    /// Every [`RegistryError`] but [`RegistryError::NotFound`].
    async fn has(
        &self,
        repository: &ImageRepository,
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        match self.image(repository, digest).await {
            Ok(_) => Ok(true),
            Err(RegistryError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Both for a tag of which nothing is known yet: [`Self::resolve`], then [`Self::image`], in as few
    /// requests as there can be.
    ///
    /// # Errors
    /// As theirs.
    async fn tagged(
        &self,
        repository: &ImageRepository,
        tag: &str,
    ) -> Result<Option<(Digest, ImageConfig)>, RegistryError> {
        let Some(digest) = self.resolve(repository, tag).await? else {
            return Ok(None);
        };
        let image = self.image(repository, &digest).await?;
        Ok(Some((digest, image)))
    }
}

/// What an image says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// When it was built. `None` where the image does not say, which includes every date up to
    /// 1970-01-01T00:00:00Z: reproducible builders write such a date for "no date".
    pub created: Option<Timestamp>,
    /// The commit it was built from, as its builder wrote it (unchecked text).
    pub revision: Option<String>,
    /// Where its source lives, as its builder wrote it (unchecked text).
    pub source: Option<String>,
    /// The version of the software in it, as its builder wrote it (unchecked text).
    pub version: Option<String>,
}
