//! Where evidence about an image is asked for, and what was said there.

use std::fmt;
use std::sync::Arc;

use url::Url;

use super::{Attachment, EvidenceCheck, EvidenceRule};
use crate::model::{Credential, Digest, ImageRepository};

/// Stands in an endpoint's address for the image's digest.
pub const DIGEST: &str = "{digest}";

/// Where evidence is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum EvidencePlace {
    /// The registry, which knows what is attached to its images.
    Registry(ImageRepository),
    /// Somebody who answers over HTTP.
    Endpoint(Arc<EvidenceEndpoint>),
    /// The forge of the source, about the commit that the images there were built of.
    Check(Arc<EvidenceCheck>, ImageRepository),
}

/// Whose answer alone counts for a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EvidenceSource {
    /// Somebody who answers over HTTP.
    Endpoint(Arc<EvidenceEndpoint>),
    /// The forge of the application's source.
    Check(Arc<EvidenceCheck>),
}

/// What was said of an image.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Said {
    /// What was found.
    pub found: Arc<[Attachment]>,
    /// Why nothing was, where that is known.
    pub nothing: Option<Arc<str>>,
}

impl From<Vec<Attachment>> for Said {
    fn from(found: Vec<Attachment>) -> Self {
        Self {
            found: found.into(),
            nothing: None,
        }
    }
}

/// Somebody who answers over HTTP what was found out about an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EvidenceEndpoint {
    /// The address, with [`DIGEST`] in it: `https://scans.example.com/images/{digest}`.
    get: String,
    host: String,
    /// The secret that is sent along; `None`: none is.
    credential: Option<Credential>,
}

impl EvidenceEndpoint {
    /// Whoever answers at this address over HTTP; `None` where it is none.
    pub fn new(get: &str, credential: Option<Credential>) -> Option<Self> {
        let url = parsed(get, "digest")?;
        Some(Self {
            get: get.to_owned(),
            host: url.host_str()?.to_owned(),
            credential,
        })
    }

    /// The address that is asked about this image; `None` where the digest makes it none.
    pub fn about(&self, digest: &Digest) -> Option<Url> {
        parsed(&self.get, &digest.to_string())
    }

    /// The secret that is sent along; `None`: none is.
    pub fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }
}

fn parsed(get: &str, digest: &str) -> Option<Url> {
    Url::parse(&get.replace(DIGEST, digest)).ok()
}

/// Who answers, for people: the host.
impl fmt::Display for EvidenceEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)
    }
}

impl fmt::Display for EvidencePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(repository) => repository.fmt(f),
            Self::Endpoint(endpoint) => endpoint.fmt(f),
            Self::Check(check, _) => check.fmt(f),
        }
    }
}

impl fmt::Display for EvidenceSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint(endpoint) => endpoint.fmt(f),
            Self::Check(check) => check.fmt(f),
        }
    }
}

impl EvidenceRule {
    /// Where it asks about an image of this repository.
    pub fn place(&self, repository: &ImageRepository) -> EvidencePlace {
        match &self.from {
            Some(EvidenceSource::Endpoint(endpoint)) => EvidencePlace::Endpoint(endpoint.clone()),
            Some(EvidenceSource::Check(check)) => {
                EvidencePlace::Check(check.clone(), repository.clone())
            }
            None => EvidencePlace::Registry(repository.clone()),
        }
    }
}
