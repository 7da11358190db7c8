//! Registry and git server as Towpath sees them, with the moment of each answer noted.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use tokio::sync::mpsc::UnboundedSender;
use towpath::git::remote::{FetchRequest, Fetched, PushReport, PushRequest};
use towpath::git::{GitError, Refs, Remote};
use towpath::model::{Digest, ImageRepository};
use towpath::registry::{Attached, ImageConfig, Registry, RegistryError};

/// What was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// The tag list is asked for: the notification came through.
    Notified,
    /// The tag list is there.
    Listed,
    /// Manifest and configuration are there.
    Described,
    /// The push of a branch begins: the step is planned, the commit is made.
    Planned,
    /// The server reported the branch's push as done.
    Landed,
}

/// A moment.
pub(crate) type Mark = (Stage, Instant);

/// Where marks go.
#[derive(Clone)]
pub(crate) struct Marks(pub(crate) UnboundedSender<Mark>);

impl Marks {
    fn mark(&self, stage: Stage) {
        // Nobody listens once the loop is stopped.
        let _gone = self.0.send((stage, Instant::now()));
    }
}

pub(crate) struct MarkedRegistry<R> {
    pub(crate) inner: R,
    pub(crate) marks: Marks,
}

#[async_trait]
impl<R: Registry> Registry for MarkedRegistry<R> {
    async fn tags(&self, repository: &ImageRepository) -> Result<Vec<String>, RegistryError> {
        self.marks.mark(Stage::Notified);
        let tags = self.inner.tags(repository).await;
        self.marks.mark(Stage::Listed);
        tags
    }

    async fn resolve(
        &self,
        repository: &ImageRepository,
        tag: &str,
    ) -> Result<Option<Digest>, RegistryError> {
        self.inner.resolve(repository, tag).await
    }

    async fn image(
        &self,
        repository: &ImageRepository,
        digest: &Digest,
    ) -> Result<ImageConfig, RegistryError> {
        self.inner.image(repository, digest).await
    }

    async fn attached(
        &self,
        repository: &ImageRepository,
        digest: &Digest,
    ) -> Result<Vec<Attached>, RegistryError> {
        self.inner.attached(repository, digest).await
    }

    async fn tagged(
        &self,
        repository: &ImageRepository,
        tag: &str,
    ) -> Result<Option<(Digest, ImageConfig)>, RegistryError> {
        let image = self.inner.tagged(repository, tag).await;
        self.marks.mark(Stage::Described);
        image
    }
}

pub(crate) struct MarkedRemote {
    pub(crate) inner: Arc<dyn Remote>,
    pub(crate) marks: Marks,
}

#[async_trait]
impl Remote for MarkedRemote {
    fn address(&self) -> &str {
        self.inner.address()
    }

    async fn advertise(&self, prefixes: &[String]) -> Result<Refs, GitError> {
        self.inner.advertise(prefixes).await
    }

    async fn fetch(&self, request: &FetchRequest) -> Result<Fetched, GitError> {
        self.inner.fetch(request).await
    }

    async fn push(&self, request: &PushRequest) -> Result<PushReport, GitError> {
        let moves_branch = request
            .updates
            .iter()
            .any(|update| update.name.starts_with("refs/heads/") && !update.is_verification());
        if !moves_branch {
            return self.inner.push(request).await;
        }
        self.marks.mark(Stage::Planned);
        let report = self.inner.push(request).await;
        self.marks.mark(Stage::Landed);
        report
    }

    async fn receives(&self) -> Result<bool, GitError> {
        self.inner.receives().await
    }
}
