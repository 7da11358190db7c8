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
    pub get: String,
    /// The secret that is sent along; `None`: none is.
    pub credential: Option<Credential>,
}

impl EvidenceEndpoint {
    /// The address that is asked about this image; `None` where it is none, which is refused in the configuration.
    pub fn about(&self, digest: &Digest) -> Option<Url> {
        let text = self.get.replace(DIGEST, &digest.to_string());
        Url::parse(&text).ok()
    }
}

/// Who answers, for people: the host.
impl fmt::Display for EvidenceEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = Url::parse(&self.get).ok();
        f.write_str(url.as_ref().and_then(Url::host_str).unwrap_or(&self.get))
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
