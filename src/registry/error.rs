//! What can go wrong with a registry, as far as callers branch on it.

use std::fmt;
use std::time::Duration;

use crate::model::ImageRepository;
use crate::secret;

/// Why a registry could not be read. Each text names the registry and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The registry does not know the repository, or a manifest of it that was named by digest.
    #[error(
        "{repository}: the registry does not know {what}{said}: check the name, and whether this credential may see it"
    )]
    NotFound {
        /// What was asked.
        repository: ImageRepository,
        /// `the repository`, or the manifest or blob that is missing.
        what: String,
        /// The registry's own words, with a leading separator, or nothing.
        said: Said,
    },
    /// The registry wants another credential than it was given.
    #[error(
        "{repository}: not authorised with {credential}{said}: check the credential, and whether the repository exists"
    )]
    Unauthorized {
        /// What was asked.
        repository: ImageRepository,
        /// Where the credential came from, never the credential.
        credential: String,
        /// The registry's own words.
        said: Said,
    },
    /// The credential is known but may not do this.
    #[error("{repository}: {credential} may not read it{said}: grant it pull rights")]
    Forbidden {
        /// What was asked.
        repository: ImageRepository,
        /// Where the credential came from, never the credential.
        credential: String,
        /// The registry's own words.
        said: Said,
    },
    /// The credential named for the registry could not be read.
    #[error("registry {host}: {source_name} gives no credential: {reason}")]
    Credential {
        /// The registry.
        host: String,
        /// Where the credential should have come from.
        source_name: String,
        /// What was wrong and what to do.
        reason: String,
    },
    /// The registry asked to be left alone for a while (429, or 503 with `Retry-After`).
    #[error("registry {host} asks to wait{}", wait(*retry_after))]
    TooManyRequests {
        /// The registry.
        host: String,
        /// How long it is still to be left alone, where it said so.
        retry_after: Option<Duration>,
    },
    /// The registry could not be asked, or did not answer in full.
    #[error("{repository}: the registry is unavailable: {outage}")]
    Unavailable {
        /// What was asked.
        repository: ImageRepository,
        /// How it failed.
        outage: Outage,
    },
    /// The registry answered something that is not the distribution API, or not what was asked.
    #[error("{repository}: the registry's answer cannot be used: {what}")]
    Malformed {
        /// What was asked.
        repository: ImageRepository,
        /// What was wrong and what to do.
        what: String,
    },
}

/// How a registry failed to answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Outage {
    /// It answered with a server error.
    #[error("it answered {status}{said}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// The registry's own words.
        said: Said,
    },
    /// No connection could be made.
    #[error("no connection: {0}")]
    Connect(String),
    /// Nothing arrived for too long, or the whole took too long.
    #[error("no answer in time")]
    Timeout,
    /// The connection ended within an answer.
    #[error("the answer broke off: {0}")]
    Cut(String),
}

/// A server's own words, short and without control characters; shown as `: words` or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said(String);

impl Said {
    /// Takes at most 300 bytes on one line and escapes control characters, so that a server can neither
    /// flood a log nor write escape sequences to a terminal.
    pub fn new(words: &str) -> Self {
        const LONGEST: usize = 300;
        Self(secret::words(words, LONGEST))
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.is_empty() {
            true => Ok(()),
            false => write!(f, " ({})", self.0),
        }
    }
}

fn wait(retry_after: Option<Duration>) -> String {
    retry_after.map_or_else(String::new, |wait| {
        format!(" {} s", wait.as_secs_f64().ceil())
    })
}

impl RegistryError {
    /// Whether asking again later may help with nothing changed by a person.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::TooManyRequests { .. } | Self::Unavailable { .. }
        )
    }

    /// How long the registry asked to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyRequests { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
