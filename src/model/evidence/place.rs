//! Where evidence about an image is asked for.

use std::fmt;
use std::sync::Arc;

use url::Url;

use super::EvidenceRule;
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
        }
    }
}

impl EvidenceRule {
    /// Where it asks about an image of this repository.
    pub fn place(&self, repository: &ImageRepository) -> EvidencePlace {
        match &self.from {
            Some(endpoint) => EvidencePlace::Endpoint(endpoint.clone()),
            None => EvidencePlace::Registry(repository.clone()),
        }
    }
}
