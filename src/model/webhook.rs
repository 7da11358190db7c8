//! Who sends webhooks, and how each is believed to be who it says.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::Credential;

/// A kind of sender. Each has a path of its own below `/hooks/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sender {
    /// github.com and GitHub Enterprise, with the events of its packages (ghcr.io).
    GitHub,
    /// Gitea and Forgejo, with the events of their packages.
    Gitea,
    /// The distribution registry (`registry:2`, `registry:3`, Debian's `docker-registry`).
    Registry,
    /// Harbor.
    Harbor,
    /// Docker Hub.
    DockerHub,
    /// Quay.
    Quay,
    /// Anything that can run `curl`: a git hook, a CI step.
    Generic,
}

/// How a sender shows that it knows the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The body is signed with it: HMAC-SHA256, in hexadecimal, in one of these headers.
    Signature(&'static [&'static str]),
    /// It stands in the header `Authorization`: alone, behind `Bearer`, or as the password of `Basic`.
    Header,
    /// The sender can do neither: it is the last part of the address.
    Address,
}

impl Sender {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::GitHub,
        Self::Gitea,
        Self::Registry,
        Self::Harbor,
        Self::DockerHub,
        Self::Quay,
        Self::Generic,
    ];

    /// The name in the configuration and in the path.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GitHub => "github",
            Self::Gitea => "gitea",
            Self::Registry => "registry",
            Self::Harbor => "harbor",
            Self::DockerHub => "docker-hub",
            Self::Quay => "quay",
            Self::Generic => "generic",
        }
    }

    /// The sender of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sender| sender.name() == name)
    }

    /// How it shows that it knows the secret.
    pub const fn proof(self) -> Proof {
        match self {
            // https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
            Self::GitHub => Proof::Signature(&["x-hub-signature-256"]),
            // https://docs.gitea.com/usage/repository/webhooks, https://forgejo.org/docs/latest/user/webhooks/
            Self::Gitea => Proof::Signature(&["x-gitea-signature", "x-forgejo-signature"]),
            Self::Generic => Proof::Signature(&["x-towpath-signature"]),
            // https://distribution.github.io/distribution/about/configuration/#notifications
            // https://goharbor.io/docs/latest/working-with-projects/project-configuration/configure-webhooks/
            Self::Registry | Self::Harbor => Proof::Header,
            // https://docs.docker.com/docker-hub/repos/manage/webhooks/
            // https://docs.projectquay.io/use_quay.html#repository-notifications
            Self::DockerHub | Self::Quay => Proof::Address,
        }
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which deliveries of a sender are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// All: anybody who reaches the address can have sources looked at again.
    Unauthenticated,
    /// Those that show that they know one of these secrets: several, so that one can be exchanged.
    Secrets(Vec<Credential>),
}

/// What is taken from whom. Who does not stand here is not listened to.
pub type Webhooks = BTreeMap<Sender, Admission>;

/// The files of a TLS server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those it rests on, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}
