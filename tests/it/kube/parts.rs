//! The parts of a plane that runs: which processes they are, and starting the API server again once it was
//! killed.

use std::path::Path;

use super::plane::{Part, Plane, apiserver_flags, wait_until_ready};

impl Plane {
    /// What runs, for those who want to kill it from outside.
    pub(crate) fn pids(&self) -> [(&'static str, Option<u32>); 4] {
        [
            &self.etcd,
            &self.apiserver,
            &self.controllers,
            &self.kubelet,
        ]
        .map(|part| (part.name, part.child.id()))
    }

    /// Starts the API server again on the same port, with the same state, and returns when it serves.
    ///
    /// # Errors
    /// It does not start: with the end of its log.
    pub(crate) async fn restart_apiserver(&mut self, binary: &Path) -> anyhow::Result<()> {
        let at = self.directory.path();
        let flags = apiserver_flags(at, &self.ports);
        self.apiserver = Part::start("apiserver", binary, at, flags)?;
        let asking = self.client(&Self::faker()).await?;
        wait_until_ready(&asking, &mut [&mut self.etcd, &mut self.apiserver]).await
    }
}
