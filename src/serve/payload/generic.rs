//! Our own form, for whatever can run `curl`: the names of what may have changed, and no more.

use serde::Deserialize;

use super::{Capped, Change, Said, image};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Generic {
    /// Addresses of git repositories.
    #[serde(default)]
    repositories: Capped<String>,
    /// Image repositories, each with the tag that was pushed where that is known.
    #[serde(default)]
    images: Capped<String>,
}

/// `{"repositories": ["https://git.example.com/acme/infra"], "images": ["registry.example.com/acme/shop:v1.4.0"]}`
pub(super) fn read(body: &[u8]) -> serde_json::Result<Said> {
    let generic: Generic = serde_json::from_slice(body)?;
    let repositories = generic.repositories.0.into_iter();
    let images = generic.images.0.into_iter();
    let changes = repositories
        .map(|address| Change::Git(vec![address], None))
        .chain(images.filter_map(|text| image(&text)));
    Ok(Said {
        event: "push",
        changes: changes.collect(),
    })
}
