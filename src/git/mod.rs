//! Git: reading repositories, building commits, and pushing them with expectations.
//!
//! Read in this order: [`remote`] is the seam to a server (http, ssh, file, memory); a
//! [`Repository`] is one kept mirror over it; a [`Draft`] holds new objects; a [`Push`] moves refs
//! from what was expected to what is wanted, or changes nothing. Storage and formats are gix's, the
//! wire is our own (`docs/decisions/0003-git-wire.md`). This layer decides nothing about releases,
//! never forces a ref and never reads the clock.

mod committer;
mod credential;
mod delta;
pub(crate) mod doors;
mod draft;
mod error;
mod fetch;
mod http;
mod meanwhile;
pub mod memory;
mod merge;
mod mirror;
pub mod notes;
mod object;
mod objects;
mod pack;
mod pipe;
mod push;
pub mod remote;
mod repository;
mod sign;
mod signed;
mod tree;
mod walk;
mod wire;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

pub use committer::{Committer, Making, NotMade};
pub use credential::{Credential, Given, NoToken, Tokens, secret_of};
pub use delta::Delta;
pub use draft::{Draft, Edit};
pub use error::{GitError, MESSAGE_BYTES_MAX, printable};
pub use fetch::Reach;
pub use merge::{Merged, Merging};
pub use object::{Commit, CommitDraft, Kind, Object, Signature, Tag, TagDraft};
pub use objects::{Change, Found};
pub use push::{Push, Pushed, refusal};
pub use remote::{FetchRequest, Fetched, PushReport, PushRequest, Ref, RefUpdate, Refs, Remote};
pub use repository::Repository;
pub use sign::Signer;
pub use signed::signer;
pub use tree::{Entry, Mode, Tree};
pub use walk::{End, Walk};

use crate::http::Meter;
use crate::model::{RepositoryUrl, Scheme};

/// How servers are reached.
#[derive(Debug, Clone)]
pub struct Access {
    /// The process's one HTTP client: it knows proxy and private CA. It should follow no redirects by
    /// itself; where it does, one to another host is refused.
    pub client: reqwest::Client,
    /// Which credential HTTP servers get. `ssh` has its own.
    pub credential: Credential,
    /// The user name that goes with a named credential, unless one stands in the address;
    /// `x-access-token` where neither is given.
    pub user: Option<String>,
    /// The command line that stands for `ssh`; `GIT_SSH_COMMAND`, `GIT_SSH` or `ssh` where none is
    /// given.
    pub ssh: Option<String>,
    /// How long a server may send nothing, and take nothing.
    pub idle_timeout: Duration,
    /// Counts what HTTP servers are asked.
    pub meter: Meter,
}

impl Access {
    /// The idle timeout where none is configured.
    pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

    /// Access with the credential helper and the usual timeout.
    pub fn new(client: reqwest::Client) -> Self {
        Self {
            client,
            credential: Credential::default(),
            user: None,
            ssh: None,
            idle_timeout: Self::IDLE_TIMEOUT,
            meter: Meter::default(),
        }
    }
}

/// The server at that address. Nothing is asked yet.
///
/// # Errors
/// [`GitError::NotSmart`] or [`GitError::Malformed`] where the address cannot be one.
pub fn remote(url: &RepositoryUrl, access: &Access) -> Result<Arc<dyn Remote>, GitError> {
    Ok(match url.scheme() {
        Scheme::Http => Arc::new(http::HttpRemote::new(url.as_str(), access)?),
        Scheme::Ssh | Scheme::File => Arc::new(pipe::PipeRemote::new(url, access)?),
    })
}

// What the locks guard is whole between any two statements, so a panic elsewhere does not spoil it.

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn written<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
