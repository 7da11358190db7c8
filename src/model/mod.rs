//! The nouns: plain values, no I/O, no clock, no async.
//!
//! Outside data is parsed into these small types at the edge, so that whatever holds one holds a
//! checked value.

mod commit;
mod digest;
mod image;
mod name;
mod object;
mod url;

pub use commit::{CommitId, InvalidCommit};
pub use digest::{Digest, InvalidDigest};
pub use image::{ImageReference, ImageRepository, InvalidImage};
pub use name::{ApplicationName, EnvironmentName, InvalidName};
pub use object::ObjectRef;
pub use url::{InvalidUrl, RepositoryUrl, Scheme};
