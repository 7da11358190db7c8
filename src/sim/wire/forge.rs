//! The wire to a forge.

use async_trait::async_trait;
use jiff::Timestamp;

use super::Wire;
use crate::forge::simulated::SimulatedForge;
use crate::forge::{
    Content, Deployed, Forge, ForgeError, Found, Hook, Opening, Protection, ReadForge, Reported,
    Requests, Rights, Status, Visibility,
};
use crate::model::{CommitCheck, CommitId};
use crate::plan::Request;

impl Wire<SimulatedForge> {
    fn cut(&self) -> ForgeError {
        ForgeError::Unavailable {
            forge: self.inner.name().to_owned(),
            detail: "connection reset".to_owned(),
            retry_after: None,
        }
    }
}

#[async_trait]
impl ReadForge for Wire<SimulatedForge> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn visibility(&self) -> Result<Visibility, ForgeError> {
        self.pass(false, self.inner.visibility(), || self.cut())
            .await
    }

    async fn requests(&self, before: &Requests, now: Timestamp) -> Result<Requests, ForgeError> {
        let work = self.inner.requests(before, now);
        self.pass(false, work, || self.cut()).await
    }

    async fn statuses(&self, commit: CommitId) -> Result<Vec<Status>, ForgeError> {
        self.pass(false, self.inner.statuses(commit), || self.cut())
            .await
    }

    async fn checked(
        &self,
        commit: CommitId,
        name: &str,
    ) -> Result<Option<Vec<CommitCheck>>, ForgeError> {
        let work = self.inner.checked(commit, name);
        self.pass(false, work, || self.cut()).await
    }

    async fn rights(&self) -> Result<Rights, ForgeError> {
        self.pass(false, self.inner.rights(), || self.cut()).await
    }

    async fn protection(&self, reference: &str, us: &Rights) -> Result<Protection, ForgeError> {
        let work = self.inner.protection(reference, us);
        self.pass(false, work, || self.cut()).await
    }

    async fn reported(&self, base: &str) -> Result<Reported, ForgeError> {
        self.pass(false, self.inner.reported(base), || self.cut())
            .await
    }

    async fn hooks(&self) -> Result<Vec<Hook>, ForgeError> {
        self.pass(false, self.inner.hooks(), || self.cut()).await
    }
}

#[async_trait]
impl Forge for Wire<SimulatedForge> {
    async fn open(&self, opening: &Opening, now: Timestamp) -> Result<Found, ForgeError> {
        self.pass(true, self.inner.open(opening, now), || self.cut())
            .await
    }

    async fn rewrite(
        &self,
        request: &Request,
        content: &Content,
        now: Timestamp,
    ) -> Result<Found, ForgeError> {
        let work = self.inner.rewrite(request, content, now);
        self.pass(true, work, || self.cut()).await
    }

    async fn close(
        &self,
        request: &Request,
        reason: &str,
        now: Timestamp,
    ) -> Result<Found, ForgeError> {
        let work = self.inner.close(request, reason, now);
        self.pass(true, work, || self.cut()).await
    }

    async fn disarm(
        &self,
        request: &Request,
        reason: &str,
        now: Timestamp,
    ) -> Result<Found, ForgeError> {
        let work = self.inner.disarm(request, reason, now);
        self.pass(true, work, || self.cut()).await
    }

    async fn set_status(&self, commit: CommitId, status: &Status) -> Result<(), ForgeError> {
        let work = self.inner.set_status(commit, status);
        self.pass(true, work, || self.cut()).await
    }

    async fn show_deployed(&self, deployed: &Deployed) -> Result<(), ForgeError> {
        let work = self.inner.show_deployed(deployed);
        self.pass(true, work, || self.cut()).await
    }
}
