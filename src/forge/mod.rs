//! The forge: where a proposal is seen, reviewed and merged by people.
//!
//! The proposal itself is a branch, written by [`crate::act`]; a forge adds the request about it.
//! Split into a read half and a write half. [`branch`] is the forge-less gate: the branch is the
//! request.

pub mod branch;

use std::time::Duration;

use async_trait::async_trait;

use crate::plan::Request;

/// What a forge could not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForgeError {
    /// It does not answer, or not now.
    #[error("{forge} does not answer: {detail}")]
    Unavailable {
        /// Which forge.
        forge: String,
        /// What was seen.
        detail: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// It does not want this.
    #[error("{forge} refuses: {reason}")]
    Refused {
        /// Which forge.
        forge: String,
        /// What it said.
        reason: String,
    },
    /// This program cannot reach such a forge.
    #[error("{0}")]
    Unsupported(String),
}

/// What a request says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// One line.
    pub title: String,
    /// Markdown.
    pub body: String,
}

/// The half that only looks.
#[async_trait]
pub trait ReadForge: Send + Sync {
    /// The open request from this head branch, if there is one.
    ///
    /// # Errors
    /// [`ForgeError::Unavailable`] where it does not answer within its deadline.
    async fn find(&self, head: &str) -> Result<Option<Request>, ForgeError>;
}

/// The half that changes.
#[async_trait]
pub trait Forge: ReadForge {
    /// Opens a request, or adopts the one that is there: looked for by head branch first.
    ///
    /// # Errors
    /// [`ForgeError`].
    async fn open(&self, head: &str, base: &str, content: &Content) -> Result<Request, ForgeError>;

    /// Makes a request say something else.
    ///
    /// # Errors
    /// [`ForgeError`].
    async fn update(&self, request: &Request, content: &Content) -> Result<(), ForgeError>;

    /// Closes a request with a reason.
    ///
    /// # Errors
    /// [`ForgeError`].
    async fn close(&self, request: &Request, reason: &str) -> Result<(), ForgeError>;
}
