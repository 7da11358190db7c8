//! What the images of releases say of where and when they were built.

use std::collections::BTreeMap;

use super::Observatory;
use crate::model::{Digest, Release};
use crate::registry::{ImageConfig, RegistryError};

/// What images say of themselves.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Labels {
    /// By their digests. Lacks what the registry no longer has.
    pub by_digest: BTreeMap<Digest, ImageConfig>,
    /// Why some may be missing that are there.
    pub unknown: Option<String>,
}

impl Observatory {
    /// What the images of these releases say. Asks the registry for what is not known by its digest.
    pub async fn labels(&self, releases: &[&Release]) -> Labels {
        let mut labels = Labels::default();
        let images: Vec<_> = releases
            .iter()
            .flat_map(|release| release.images.iter())
            .collect();
        for (repository, image) in images {
            if labels.by_digest.contains_key(&image.digest) {
                continue;
            }
            match self.registry.image(repository, &image.digest).await {
                Ok(said) => {
                    labels.by_digest.insert(image.digest, said);
                }
                Err(RegistryError::NotFound { .. }) => {}
                Err(error) => labels.unknown = Some(error.to_string()),
            }
        }
        labels
    }
}
