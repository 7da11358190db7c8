//! The nouns: plain values, no I/O, no clock, no async.
//!
//! Outside data is parsed into these small types at the edge, so that whatever holds one holds a
//! checked value.

mod branch;
mod commit;
mod digest;
mod image;
mod name;
mod template;
mod url;
mod version;

pub use branch::{BranchFilter, InvalidFilter};
pub use commit::{CommitId, InvalidCommit};
pub use digest::{Digest, InvalidDigest};
pub use image::{ImageReference, ImageRepository, InvalidImage};
pub use name::{ApplicationName, EnvironmentName, InvalidName};
pub use template::{InvalidTemplate, Parts, RenderError, TagTemplate, sanitise_branch};
pub use url::{InvalidUrl, RepositoryUrl, Scheme};
pub use version::{InvalidRange, VersionRange, parse_version};
