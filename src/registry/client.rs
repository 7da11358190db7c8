//! The registry client proper: the questions of [`Registry`] put into requests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use reqwest::header::{ETAG, HeaderName, HeaderValue, LINK};
use reqwest::{Client, Method, StatusCode};

use super::answer::Answer;
use super::cache::Cache;
use super::document::{self, Annotations, Document};
use super::error::{Outage, RegistryError};
use super::host::Host;
use super::page;
use super::question::{Ask, Question};
use super::referrers::Attached;
use super::settings::RegistrySettings;
use super::{ImageConfig, Registry};
use crate::model::{Digest, ImageRepository, is_tag};

/// The specification's limit for manifests.
const LARGEST_MANIFEST: usize = 4 << 20;
/// Configurations hold a history line per layer; the largest known have some hundred KiB.
const LARGEST_CONFIG: usize = 8 << 20;
/// Servers that ignore `n` send every tag in one page: 100,000 of 128 bytes fit.
const LARGEST_PAGE: usize = 16 << 20;
/// Tags asked for at once; larger pages are refused by some registries.
const PAGE: usize = 1000;
/// With pages of [`PAGE`] this is a hundred times the largest repositories known.
const MOST_PAGES: usize = 1000;
/// Entries cost about 200 bytes (tags) and 300 bytes (images).
const REMEMBERED_TAGS: usize = 4096;
const REMEMBERED_IMAGES: usize = 4096;
/// Entries are 32 KiB at most, and have some hundred bytes.
const REMEMBERED_ARTIFACTS: usize = 256;
/// An index may hold indexes; more levels than this are a loop or a joke.
const DEEPEST_INDEX: usize = 2;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// Registries over HTTP. Keeps what may be asked again: entity tags, image configurations, tokens.
pub struct HttpRegistry {
    client: Client,
    settings: RegistrySettings,
    hosts: Mutex<BTreeMap<String, Arc<Host>>>,
    tags: Cache<(ImageRepository, String), Known>,
    images: Cache<(ImageRepository, Digest), ImageConfig>,
    /// Evidence by its manifest; `None`: it is not as it should be.
    pub(super) artifacts: Cache<(ImageRepository, Digest), Option<Attached>>,
    /// Lists of what is attached, by their own digest.
    pub(super) lists: Cache<(ImageRepository, Digest), Vec<Digest>>,
}

/// What a tag pointed to, and the entity tag the registry gave with it.
#[derive(Clone)]
struct Known {
    etag: HeaderValue,
    digest: Digest,
}

/// What of an image is read, as the registry keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// What its tag names.
    pub digest: Digest,
    /// What it says of itself.
    pub image: ImageConfig,
    /// The manifest that its tag names, and where that is an index, what it leads to.
    pub manifests: Vec<Vec<u8>>,
    /// The image's configuration, where it has one.
    pub config: Option<Vec<u8>>,
}

#[derive(Default)]
struct Documents {
    manifests: Vec<Vec<u8>>,
    /// The innermost first.
    annotations: Vec<Annotations>,
    config: Option<Vec<u8>>,
}

impl Documents {
    fn image(&self) -> Result<ImageConfig, String> {
        document::config(self.config.as_deref(), &self.annotations)
    }
}

impl HttpRegistry {
    /// Takes the one client of [`crate::http`]. Nothing is asked before the first question.
    pub fn new(client: Client, settings: RegistrySettings) -> Self {
        Self {
            client,
            settings,
            hosts: Mutex::new(BTreeMap::new()),
            tags: Cache::new(REMEMBERED_TAGS),
            images: Cache::new(REMEMBERED_IMAGES),
            artifacts: Cache::new(REMEMBERED_ARTIFACTS),
            lists: Cache::new(REMEMBERED_ARTIFACTS),
        }
    }

    fn host(&self, repository: &ImageRepository) -> Result<Arc<Host>, RegistryError> {
        let name = repository.host();
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = hosts.get(name) {
            return Ok(host.clone());
        }
        let settings = self.settings.hosts.get(name).cloned().unwrap_or_default();
        let host = Host::new(name, settings).map_err(|error| RegistryError::Malformed {
            repository: repository.clone(),
            what: format!("`{name}` is not a host ({error}): correct the image's name"),
        })?;
        let host = Arc::new(host);
        hosts.insert(name.to_owned(), host.clone());
        Ok(host)
    }

    fn question<'a>(&'a self, host: &'a Host, repository: &'a ImageRepository) -> Question<'a> {
        Question {
            client: &self.client,
            environment: &self.settings.environment,
            meter: &self.settings.meter,
            host,
            repository,
        }
    }

    /// Runs one question within the deadline.
    async fn within<T>(
        &self,
        repository: &ImageRepository,
        question: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<T, RegistryError> {
        tokio::time::timeout(self.settings.deadline, question)
            .await
            .unwrap_or_else(|_| {
                Err(RegistryError::Unavailable {
                    repository: repository.clone(),
                    outage: Outage::Timeout,
                })
            })
    }

    async fn all_tags(&self, question: &Question<'_>) -> Result<Vec<String>, RegistryError> {
        let mut tags = BTreeSet::new();
        let first = question.url(&format!("tags/list?n={PAGE}"))?;
        let mut next = Some(first.clone());
        for _ in 0..MOST_PAGES {
            let Some(url) = next.take() else {
                return Ok(tags.into_iter().collect());
            };
            let answer = question
                .ask(&Ask::get(&url, "application/json", LARGEST_PAGE))
                .await?;
            match answer.status {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND => return Err(question.not_found("the repository", &answer)),
                _ => return Err(question.unexpected(&answer)),
            }
            let page = page::tags(&answer.body).map_err(|what| question.malformed(what))?;
            let before = tags.len();
            let (count, last) = (page.len(), page.last().cloned());
            tags.extend(page.into_iter().filter(|tag| is_tag(tag)));
            // A server that ignores `last` sends the same page for ever.
            if tags.len() == before {
                continue;
            }
            next = match answer.header(&LINK) {
                Some(link) => page::next(&url, link).map_err(|what| question.malformed(what))?,
                // A full page without a link: some servers expect to be asked by the last tag.
                None if count == PAGE => last.map(|last| page::after(&first, &last)),
                None => None,
            };
        }
        Err(question.malformed(format!(
            "it lists more than {MOST_PAGES} pages of tags: remove old ones"
        )))
    }

    pub(super) async fn digest_of(
        &self,
        question: &Question<'_>,
        tag: &str,
    ) -> Result<Option<Digest>, RegistryError> {
        let key = (question.repository.clone(), tag.to_owned());
        let known = self.tags.get(&key);
        let url = question.url(&format!("manifests/{tag}"))?;
        let head = Ask {
            method: Method::HEAD,
            unless: known.as_ref().map(|known| known.etag.clone()),
            ..Ask::get(&url, document::ACCEPT, LARGEST_MANIFEST)
        };
        let mut answer = question.ask(&head).await?;
        match (answer.status, known) {
            (StatusCode::NOT_MODIFIED, Some(known)) => return Ok(Some(known.digest)),
            // The body tells a missing tag from a missing repository, or is what must be hashed.
            (StatusCode::NOT_FOUND, _) => {
                answer = question
                    .ask(&Ask {
                        method: Method::GET,
                        unless: None,
                        ..head
                    })
                    .await?;
            }
            (StatusCode::OK, _) if answer.header(&CONTENT_DIGEST).is_none() => {
                answer = question
                    .ask(&Ask {
                        method: Method::GET,
                        unless: None,
                        ..head
                    })
                    .await?;
            }
            _ => {}
        }
        self.keep_digest(question, key, &answer)
    }

    /// What an answer to a question for a tag's manifest says that the tag points to.
    fn keep_digest(
        &self,
        question: &Question<'_>,
        key: (ImageRepository, String),
        answer: &Answer,
    ) -> Result<Option<Digest>, RegistryError> {
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND if answer.has_code("NAME_UNKNOWN") => {
                return Err(question.not_found("the repository", answer));
            }
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(question.unexpected(answer)),
        }
        let digest = match answer.header(&CONTENT_DIGEST) {
            Some(text) => text
                .parse()
                .map_err(|error| question.malformed(format!("{error}")))?,
            None => Digest::of(&answer.body),
        };
        // Copied: a header's value keeps the whole head of its answer in memory.
        let etag = answer.headers.get(ETAG);
        if let Some(Ok(etag)) = etag.map(|etag| HeaderValue::from_bytes(etag.as_bytes())) {
            self.tags.insert(key, Known { etag, digest });
        }
        Ok(Some(digest))
    }

    /// The manifest by its tag: one request less than asking for the digest first.
    async fn describe_tag(
        &self,
        question: &Question<'_>,
        tag: &str,
    ) -> Result<Option<(Digest, ImageConfig)>, RegistryError> {
        let url = question.url(&format!("manifests/{tag}"))?;
        let ask = Ask::get(&url, document::ACCEPT, LARGEST_MANIFEST);
        let answer = question.ask(&ask).await?;
        let key = (question.repository.clone(), tag.to_owned());
        let Some(digest) = self.keep_digest(question, key, &answer)? else {
            return Ok(None);
        };
        let key = (question.repository.clone(), digest);
        if let Some(image) = self.images.get(&key) {
            return Ok(Some((digest, image)));
        }
        let body = question.checked(answer.body, &digest, &format!("the manifest {tag}"))?;
        let image = self.describe(question, &digest, Some(body)).await?;
        self.images.insert(key, image.clone());
        Ok(Some((digest, image)))
    }

    /// What of an image is read, as the registry keeps it; `None` where the tag does not exist.
    ///
    /// # Errors
    /// As [`Registry::tagged`].
    pub async fn stored(
        &self,
        repository: &ImageRepository,
        tag: &str,
    ) -> Result<Option<Stored>, RegistryError> {
        let Some(digest) = self.resolve(repository, tag).await? else {
            return Ok(None);
        };
        let host = &*self.host(repository)?;
        let question = self.question(host, repository);
        let read = self.documents(&question, &digest, None);
        let documents = self.within(repository, read).await?;
        let image = documents.image();
        Ok(Some(Stored {
            digest,
            image: image.map_err(|what| question.malformed(what))?,
            manifests: documents.manifests,
            config: documents.config,
        }))
    }

    /// What an image says of itself; its manifest may be here already.
    async fn describe(
        &self,
        question: &Question<'_>,
        digest: &Digest,
        here: Option<Vec<u8>>,
    ) -> Result<ImageConfig, RegistryError> {
        let documents = self.documents(question, digest, here).await?;
        let image = documents.image();
        image.map_err(|what| question.malformed(what))
    }

    /// What leads from a manifest to a configuration, each as its digest says.
    async fn documents(
        &self,
        question: &Question<'_>,
        digest: &Digest,
        mut here: Option<Vec<u8>>,
    ) -> Result<Documents, RegistryError> {
        let mut documents = Documents::default();
        let mut digest = *digest;
        for _ in 0..=DEEPEST_INDEX {
            let body = match here.take() {
                Some(body) => body,
                None => {
                    let what = format!("the manifest {digest}");
                    let ask = Ask::get(
                        &question.url(&format!("manifests/{digest}"))?,
                        document::ACCEPT,
                        LARGEST_MANIFEST,
                    );
                    question.content(&ask, &digest, &what).await?
                }
            };
            let malformed = |what| question.malformed(what);
            let read = document::document(&body).map_err(malformed)?;
            documents.manifests.push(body);
            let config = match read {
                Document::Index {
                    representative,
                    annotations,
                } => {
                    documents.annotations.insert(0, annotations);
                    digest = representative;
                    continue;
                }
                Document::Manifest {
                    config,
                    annotations,
                } => {
                    documents.annotations.insert(0, annotations);
                    config
                }
            };
            if let Some(config) = config {
                let what = format!("the image configuration {config}");
                let url = question.url(&format!("blobs/{config}"))?;
                let ask = Ask::get(&url, "*/*", LARGEST_CONFIG);
                documents.config = Some(question.content(&ask, &config, &what).await?);
            }
            return Ok(documents);
        }
        Err(question.malformed("its indexes lead to indexes only".to_owned()))
    }
}

#[async_trait]
impl Registry for HttpRegistry {
    async fn tags(&self, repository: &ImageRepository) -> Result<Vec<String>, RegistryError> {
        let host = &*self.host(repository)?;
        let question = self.question(host, repository);
        self.within(repository, self.all_tags(&question)).await
    }

    async fn resolve(
        &self,
        repository: &ImageRepository,
        tag: &str,
    ) -> Result<Option<Digest>, RegistryError> {
        if !is_tag(tag) {
            return Ok(None);
        }
        let host = &*self.host(repository)?;
        let question = self.question(host, repository);
        self.within(repository, self.digest_of(&question, tag))
            .await
    }

    async fn image(
        &self,
        repository: &ImageRepository,
        digest: &Digest,
    ) -> Result<ImageConfig, RegistryError> {
        let key = (repository.clone(), *digest);
        if let Some(image) = self.images.get(&key) {
            return Ok(image);
        }
        let host = &*self.host(repository)?;
        let question = self.question(host, repository);
        let image = self
            .within(repository, self.describe(&question, digest, None))
            .await?;
        self.images.insert(key, image.clone());
        Ok(image)
    }

    async fn attached(
        &self,
        repository: &ImageRepository,
        digest: &Digest,
    ) -> Result<Vec<Attached>, RegistryError> {
        let host = &*self.host(repository)?;
        let question = self.question(host, repository);
        self.within(repository, self.all_attached(&question, digest))
            .await
    }

    async fn has(
        &self,
        repository: &ImageRepository,
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        let host = &*self.host(repository)?;
        let question = self.question(host, repository);
        let reference = digest.to_string();
        let asked = self.digest_of(&question, &reference);
        match self.within(repository, asked).await {
            Ok(found) => Ok(found.is_some()),
            Err(RegistryError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn tagged(
        &self,
        repository: &ImageRepository,
        tag: &str,
    ) -> Result<Option<(Digest, ImageConfig)>, RegistryError> {
        if !is_tag(tag) {
            return Ok(None);
        }
        let host = &*self.host(repository)?;
        let question = self.question(host, repository);
        self.within(repository, self.describe_tag(&question, tag))
            .await
    }
}
