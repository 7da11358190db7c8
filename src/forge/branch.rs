//! `gate: branch`: the proposal branch itself is the request. Works on any git server.
//!
//! Whoever merges the branch with plain git approves it, whoever deletes it declines it. There is
//! nothing else to open, update or close.

use async_trait::async_trait;

use super::{Content, Forge, ForgeError, ReadForge};
use crate::git::Repository;
use crate::plan::Request;

/// See the module.
pub struct BranchGate {
    repository: Repository,
}

impl BranchGate {
    /// The gate of this repository.
    pub fn new(repository: Repository) -> Self {
        Self { repository }
    }
}

#[async_trait]
impl ReadForge for BranchGate {
    async fn find(&self, head: &str) -> Result<Option<Request>, ForgeError> {
        let exists = self
            .repository
            .seen()
            .contains_key(&format!("refs/heads/{head}"));
        Ok(exists.then(|| request(head)))
    }
}

#[async_trait]
impl Forge for BranchGate {
    async fn open(&self, head: &str, _: &str, _: &Content) -> Result<Request, ForgeError> {
        Ok(request(head))
    }

    async fn update(&self, _: &Request, _: &Content) -> Result<(), ForgeError> {
        Ok(())
    }

    async fn close(&self, _: &Request, _: &str) -> Result<(), ForgeError> {
        Ok(())
    }
}

fn request(head: &str) -> Request {
    Request {
        name: format!("branch {head}"),
        url: None,
        approved: false,
    }
}
