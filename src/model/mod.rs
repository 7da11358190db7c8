//! The nouns: plain values, no I/O, no clock, no async.
//!
//! Outside data is parsed into these small types at the edge, so that whatever holds one holds a
//! checked value.

mod author;
mod authority;
mod braces;
mod branch;
pub mod catalogue;
mod cluster;
mod commit;
mod credential;
mod digest;
mod environment;
pub mod evidence;
mod flat;
mod forge;
pub mod freeze;
mod health;
mod health_rule;
mod image;
mod label;
mod name;
mod notification;
mod object;
pub mod record;
mod release;
mod request;
mod signing;
mod team;
mod template;
mod url;
mod version;
mod webhook;

pub use author::Author;
pub use authority::{Authorised, Authority, InvalidKey, PublicKey, Right};
pub use branch::{BranchFilter, InvalidFilter};
pub use cluster::{
    Access, ClusterAddress, ClusterSpec, Denied, InvalidKind, KindName, Kubernetes, Prune,
    ServiceAccount, Simulated,
};
pub use commit::{CommitId, InvalidCommit};
pub use credential::Credential;
pub use digest::{Digest, InvalidDigest};
pub use environment::{
    Adopt, Application, Conflicts, DeploymentTags, Drift, Environment, Follow, Gate, HealthPolicy,
    ImageField, ImageSource, KeepTags, NotExercised, OnFailure, Pace, Pipeline, Rate, Rollback,
    SmokeTest, Sops, Source, StatedHold, StopTheLine,
};
pub use evidence::{
    Attachment, CheckEnd, CommitCheck, EvidenceCheck, EvidenceEndpoint, EvidenceName,
    EvidencePlace, EvidenceResult, EvidenceRule, EvidenceSource, Finding, Said, Weighed,
};
pub use flat::{Entries, FlatMap};
pub use forge::{ForgeKind, MergeMethod, OnNewer, RequestPolicy};
pub use health::{Health, Part};
pub use health_rule::{HealthField, HealthRule, HealthTest};
pub(crate) use image::is_tag;
pub use image::{ImageReference, ImageRepository, ImageVersion, InvalidImage};
pub use label::{
    InvalidSelector, LabelSelector, is_dns_label, is_dns_name, is_label_key, is_label_value,
};
pub use name::{ApplicationName, EnvironmentName, InvalidName, NotificationName};
pub use notification::{
    Field, InvalidMessage, MessageTemplate, Notification, Occasion, Receiver, WebAddress,
};
pub use object::{Identity, ObjectRef};
pub use release::{Contents, Digests, Images, Rank, Release};
pub use request::{InvalidTitle, RequestDiff, TitleTemplate};
pub use signing::SigningKey;
pub use team::{InvalidTeam, Member, TeamName};
pub use template::{InvalidTemplate, Parts, RenderError, TagTemplate, sanitise_branch};
pub use url::{InvalidUrl, RepositoryUrl, Scheme, is_over_http};
pub use version::{InvalidRange, VersionRange, parse_version};
pub use webhook::{Admission, Proof, Sender, TlsFiles, Webhooks};

/// Below this stand branches on which a forge makes commits in our place; no environment's name begins so.
pub const SCRATCH: &str = "towpath/_scratch/";

/// The branch on which a commit for an application in an environment comes about elsewhere.
pub fn scratch_branch(environment: &EnvironmentName, application: &ApplicationName) -> String {
    format!("{SCRATCH}{environment}/{application}")
}

/// The branch that proposes a release of an application to an environment.
pub fn proposal_branch(environment: &EnvironmentName, application: &ApplicationName) -> String {
    format!("towpath/{environment}/{application}")
}
