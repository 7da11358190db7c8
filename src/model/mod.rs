//! The nouns: plain values, no I/O, no clock, no async.
//!
//! Outside data is parsed into these small types at the edge, so that whatever holds one holds a
//! checked value.

mod branch;
mod commit;
mod credential;
mod digest;
mod environment;
mod image;
mod name;
mod template;
mod url;
mod version;

pub use branch::{BranchFilter, InvalidFilter};
pub use commit::{CommitId, InvalidCommit};
pub use credential::Credential;
pub use digest::{Digest, InvalidDigest};
pub use environment::{
    Adopt, Application, ClusterSpec, Conflicts, DeploymentTags, Drift, Environment, Follow, Gate,
    ImageField, ImageSource, KeepTags, OnFailure, Pace, Pipeline, Rollback, Simulated, Source,
    StopTheLine,
};
pub use image::{ImageReference, ImageRepository, InvalidImage};
pub use name::{ApplicationName, EnvironmentName, InvalidName};
pub use template::{InvalidTemplate, Parts, RenderError, TagTemplate, sanitise_branch};
pub use url::{InvalidUrl, RepositoryUrl, Scheme};
pub use version::{InvalidRange, VersionRange, parse_version};
