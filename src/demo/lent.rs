//! Images that a real cluster's nodes can pull, taken on as the demo's releases.
//!
//! A registry on this machine's loopback is none that a node can pull from. What the cluster obeys is
//! the digest: so the demo's registry shows public images under the story's tags, and the nodes pull
//! the very same digests from where they are. Only what Towpath reads of them is copied, no layers.

use std::collections::VecDeque;

use anyhow::Context as _;

use super::image::Image;
use crate::http::{self, HttpSettings};
use crate::model::ImageRepository;
use crate::registry::{HttpRegistry, RegistrySettings, Stored};

/// The image that every cluster knows: it sleeps, in half a megabyte.
pub const REPOSITORY: &str = "registry.k8s.io/pause";

/// Four of its versions, oldest first: what there is before, a branch build, two releases.
pub const TAGS: [&str; 4] = ["3.6", "3.7", "3.9", "3.10"];

/// Reads what is known of the images, oldest first.
///
/// # Errors
/// The registry cannot be read, or lacks one of them.
pub async fn borrow(repository: &ImageRepository) -> anyhow::Result<VecDeque<Image>> {
    let client = http::client(&HttpSettings::default())?;
    let registry = HttpRegistry::new(client, RegistrySettings::default());
    let asked = TAGS.map(|tag| {
        let registry = &registry;
        async move {
            let stored = registry.stored(repository, tag).await;
            let stored = stored.with_context(|| format!("{repository}:{tag} cannot be read"))?;
            stored.with_context(|| format!("{repository} has no tag {tag}"))
        }
    });
    let mut stored: Vec<Stored> = futures_util::future::try_join_all(asked).await?;
    // As releases are ordered: one without a date takes that of its commit in the demo, which is now.
    stored.sort_by_key(|it| {
        let created = it.image.created;
        (created.is_none(), created, it.digest)
    });
    stored.into_iter().map(Image::copy).collect()
}
