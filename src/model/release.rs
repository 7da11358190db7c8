//! Releases: immutable sets of image digests, and which of two is newer.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use jiff::Timestamp;
use semver::Version;

use super::{Digest, FlatMap, ImageRepository, ImageVersion};

/// The digests that make a release what it is. The same digests under a new tag are the same release.
pub type Digests = FlatMap<ImageRepository, Digest>;

/// A release's images: the tag people read and the digest the cluster obeys.
pub type Images = FlatMap<ImageRepository, ImageVersion>;

/// An immutable set of image digests, shown by the ref it was built from. It is named wherever it
/// runs, is recorded, proposed or told of: a clone is the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release(Arc<Contents>);

/// What a release is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// What people call it: the tag or branch build, such as `v1.4.0`.
    pub name: String,
    /// Its images. Never empty.
    pub images: Images,
    /// Where it stands among others.
    pub rank: Rank,
    /// The source commit it was built from, as far as the tag or the image says (maybe shortened).
    pub commit: Option<String>,
}

/// Where a release stands among others of its environment.
///
/// The order never depends on when Towpath looked: versions by semver, everything else by the
/// time the image was made (lowered below every release of a descendant commit).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rank {
    /// The version, where the release is a tagged one.
    pub version: Option<Version>,
    /// When its newest image was made.
    pub built: Timestamp,
}

impl From<Contents> for Release {
    fn from(contents: Contents) -> Self {
        Self(Arc::new(contents))
    }
}

impl Deref for Release {
    type Target = Contents;

    fn deref(&self) -> &Contents {
        &self.0
    }
}

/// So many characters of a digest name a release.
const PREFIX: usize = 4;

impl Release {
    /// The release's identity.
    pub fn digests(&self) -> Digests {
        self.images
            .iter()
            .map(|(repository, image)| (repository.clone(), image.digest))
            .collect()
    }

    /// Whether these are the same digests.
    pub fn is(&self, digests: &Digests) -> bool {
        self.images.len() == digests.len()
            && self
                .images
                .iter()
                .all(|(repository, image)| digests.get(repository) == Some(&image.digest))
    }

    /// The first image's digest, shortened for people.
    pub fn short_digest(&self) -> String {
        self.images
            .values()
            .next()
            .map_or_else(String::new, |image| image.digest.short())
    }

    /// Whether a person means it: by its name, or by the beginning of one of its digests.
    pub fn is_named(&self, named: &str) -> bool {
        let prefix = named.strip_prefix("sha256:").unwrap_or(named);
        let digest = format!("sha256:{prefix}");
        let mut digests = self.images.values().map(|it| it.digest.to_string());
        self.name == named || prefix.len() >= PREFIX && digests.any(|it| it.starts_with(&digest))
    }

    /// Whether this release is newer than the other: a total order, ties by digest.
    pub fn compare(&self, other: &Self) -> Ordering {
        self.rank
            .compare(&other.rank)
            .then_with(|| self.digests().cmp(&other.digests()))
    }

    /// Whether this release is newer than the other.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        self.compare(other) == Ordering::Greater
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

impl Rank {
    /// Versions by precedence where both have one, otherwise the time they were made.
    pub fn compare(&self, other: &Self) -> Ordering {
        let by_version = match (&self.version, &other.version) {
            (Some(mine), Some(theirs)) => mine.cmp_precedence(theirs),
            _ => Ordering::Equal,
        };
        by_version.then_with(|| self.built.cmp(&other.built))
    }
}
