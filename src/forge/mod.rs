//! The forge: where a proposal is seen, reviewed and merged by people.
//!
//! The proposal itself is a branch, written by [`crate::act`]; a forge adds the request about it, and shows
//! what became of commits. Split into a read half and a write half; one value of either serves one
//! repository. A forge refuses a second open request for the same two branches, so opening needs no memory;
//! everything else is found by what it says before it is made. Nothing is retried here, and nothing is decided.
//!
//! [`simulated`] is a forge in this process, for tests and demos. With `gate: branch` there is no forge.
//!
//! What another forge must offer to stand behind [`Forge`] is written down in
//! `docs/decisions/0011-what-a-forge-must-offer.md`.

pub(crate) mod doors;
pub mod gitea;
pub mod github;
mod requests;
mod rest;
pub mod simulated;
mod standing;
pub mod teams;
pub mod text;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

pub use requests::{Found, Other, Requests};
pub use standing::{
    Binds, Check, Hook, May, PROVEN, Protection, Reported, Rights, Rule, RuleKind, Work,
};
pub use teams::Account;

use crate::model::{CommitCheck, CommitId, Digest, RequestPolicy, TeamName};
use crate::plan::Request;

/// A forge that is written to.
pub type SharedForge = Arc<dyn Forge>;

/// A forge that is only looked at.
pub type SharedReadForge = Arc<dyn ReadForge>;

/// The reading halves.
pub fn reading<K: Ord + Clone>(forges: &BTreeMap<K, SharedForge>) -> BTreeMap<K, SharedReadForge> {
    let reading =
        |(key, forge): (&K, &SharedForge)| (key.clone(), forge.clone() as SharedReadForge);
    forges.iter().map(reading).collect()
}

/// What a forge could not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForgeError {
    /// It does not answer, or not now: a cut connection, 5xx, a limit.
    #[error("{forge} does not answer: {detail}")]
    Unavailable {
        /// Which forge.
        forge: String,
        /// What was seen.
        detail: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// It does not let us: a credential or a right is missing, or the repository is archived.
    #[error("{forge} does not let us: {reason}")]
    Denied {
        /// Which forge.
        forge: String,
        /// What it said, and what is missing.
        reason: String,
    },
    /// It does not want this as it is.
    #[error("{forge} refuses: {reason}")]
    Refused {
        /// Which forge.
        forge: String,
        /// What it said.
        reason: String,
    },
    /// It has nothing like that.
    #[error("{forge} cannot {what}")]
    Unsupported {
        /// Which forge.
        forge: String,
        /// What was asked of it.
        what: String,
    },
}

impl ForgeError {
    /// The same, where we are not let: with more about why.
    fn denied_as(self, more: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Denied { forge, reason } => Self::Denied {
                forge,
                reason: more(reason),
            },
            other => other,
        }
    }
}

/// What a request says of ours: a person's words stand beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// One line.
    pub title: String,
    /// Markdown, from our first mark to our last (see [`text`]).
    pub block: String,
    /// What it was made from: as long as that is the same, it need not be written again.
    pub facts: Digest,
}

/// Who may read a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// Everybody.
    Public,
    /// Everybody who has an account there, or is of the company.
    Internal,
    /// Those whom its owner lets.
    Private,
}

/// A request to open.
#[derive(Debug, Clone, PartialEq)]
pub struct Opening {
    /// The proposal branch.
    pub head: String,
    /// Its commit.
    pub commit: CommitId,
    /// The branch that it is to be merged into.
    pub base: String,
    /// What it says.
    pub content: Content,
    /// Labels, reviewers, whether it is a draft and merges by itself.
    pub policy: Arc<RequestPolicy>,
}

/// How far something is, as forges tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It is on its way.
    Pending,
    /// It is as it should be.
    Success,
    /// It is not.
    Failure,
}

/// A status of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Which one: `towpath/proven`.
    pub context: String,
    /// How it stands.
    pub progress: Progress,
    /// One line.
    pub description: String,
    /// Where more is seen.
    pub url: Option<String>,
}

/// A deployment of an application's commit, as its own repository shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployed {
    /// The application's commit, as its images name it: may be shortened.
    pub commit: String,
    /// The environment.
    pub environment: String,
    /// How it stands.
    pub progress: Progress,
    /// One line.
    pub description: String,
    /// Where more is seen.
    pub url: Option<String>,
}

/// The half that only looks.
#[async_trait]
pub trait ReadForge: Send + Sync {
    /// What people call it: host and repository.
    fn name(&self) -> &str;

    /// Who may read the repository. Asked for now and then, not in every look.
    ///
    /// # Errors
    /// [`ForgeError`].
    async fn visibility(&self) -> Result<Visibility, ForgeError>;

    /// The newest request from each branch whose name begins with `towpath/`, and every open one from
    /// others: what was known before, and what changed since. Costs one request, that servers answer from
    /// what they know, where nothing did.
    ///
    /// # Errors
    /// [`ForgeError`].
    async fn requests(&self, before: &Requests, now: Timestamp) -> Result<Requests, ForgeError>;

    /// The statuses of a commit: of each context the newest.
    ///
    /// # Errors
    /// [`ForgeError`].
    async fn statuses(&self, commit: CommitId) -> Result<Vec<Status>, ForgeError>;

    /// What was reported of a commit under this name: check runs, and the newest status; `None`: the repository
    /// has no such commit.
    ///
    /// # Errors
    /// [`ForgeError`], also where not all of it may be read.
    async fn checked(
        &self,
        commit: CommitId,
        name: &str,
    ) -> Result<Option<Vec<CommitCheck>>, ForgeError>;

    /// Who we are there, and what we may do in the repository, as far as it tells.
    ///
    /// # Errors
    /// [`ForgeError`].
    async fn rights(&self) -> Result<Rights, ForgeError>;

    /// What protects a branch (`refs/heads/…`) or a tag (`refs/tags/…`), which need not exist, and whether it binds
    /// us, who have the rights that [`ReadForge::rights`] told.
    ///
    /// # Errors
    /// [`ForgeError`].
    async fn protection(&self, reference: &str, us: &Rights) -> Result<Protection, ForgeError>;

    /// Which checks were reported on the newest requests to a branch.
    ///
    /// # Errors
    /// [`ForgeError`].
    async fn reported(&self, base: &str) -> Result<Reported, ForgeError>;

    /// Who is in a team, and what they sign with, in no order. People ask it, no round does.
    ///
    /// # Errors
    /// [`ForgeError::Denied`] also where there is no such team, which forges do not tell apart.
    async fn members(&self, _team: &TeamName) -> Result<Vec<Account>, ForgeError> {
        Err(ForgeError::Unsupported {
            forge: self.name().to_owned(),
            what: "tell who is in a team".to_owned(),
        })
    }

    /// Where it tells of news of the repository.
    ///
    /// # Errors
    /// [`ForgeError::Denied`] where it does not tell us; any other [`ForgeError`].
    async fn hooks(&self) -> Result<Vec<Hook>, ForgeError>;
}

/// The half that changes. Gives requests as they are afterwards.
#[async_trait]
pub trait Forge: ReadForge {
    /// Opens a request, or adopts the one that is open. One that ended and was about the very same commit
    /// is given as it is: that is an answer, too.
    ///
    /// # Errors
    /// [`ForgeError`].
    async fn open(&self, opening: &Opening, now: Timestamp) -> Result<Found, ForgeError>;

    /// Makes an open request say something else, and keeps what people wrote there.
    ///
    /// # Errors
    /// [`ForgeError`].
    async fn rewrite(
        &self,
        request: &Request,
        content: &Content,
        now: Timestamp,
    ) -> Result<Found, ForgeError>;

    /// Says why, once, and closes the request. One that is not open any more is left as it is.
    ///
    /// # Errors
    /// [`ForgeError`].
    async fn close(
        &self,
        request: &Request,
        reason: &str,
        now: Timestamp,
    ) -> Result<Found, ForgeError>;

    /// Dismisses approvals, takes it out of the queue and turns auto-merge off, saying why.
    ///
    /// # Errors
    /// [`ForgeError`].
    async fn disarm(
        &self,
        request: &Request,
        reason: &str,
        now: Timestamp,
    ) -> Result<Found, ForgeError>;

    /// Sets a status of a commit.
    ///
    /// # Errors
    /// [`ForgeError`].
    async fn set_status(&self, commit: CommitId, status: &Status) -> Result<(), ForgeError>;

    /// Shows a deployment on the application's commit, where the forge has such a thing. What it shows
    /// already is not made again.
    ///
    /// # Errors
    /// [`ForgeError`].
    async fn show_deployed(&self, deployed: &Deployed) -> Result<(), ForgeError>;
}
