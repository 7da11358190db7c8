//! What befalls a plane of one's own: an API server that is killed, an etcd that does not answer.

use tokio::process::Command;

use super::plane::{Part, Plane, controller_flags, etcd_flags, wait_until_ready};

impl Plane {
    /// Kills the API server as `kill -9` does, and returns when it is gone.
    pub(crate) async fn kill_apiserver(&mut self) {
        self.apiserver.child.kill().await.unwrap();
    }

    /// Starts it again on the same port, with the same state, and returns when it serves.
    pub(crate) async fn revive_apiserver(&mut self) {
        let binary = super::TESTBED.binary().unwrap();
        self.restart_apiserver(&binary).await.unwrap();
    }

    /// Starts the controllers anew.
    pub(crate) async fn renew_controllers(&mut self) {
        let binary = super::TESTBED.binary().unwrap();
        let at = self.directory.path();
        self.controllers.child.kill().await.unwrap();
        let begun = Part::start("controller-manager", &binary, at, controller_flags(at));
        self.controllers = begun.unwrap();
    }

    /// Kills etcd as `kill -9` does, and returns when it is gone.
    pub(crate) async fn kill_etcd(&mut self) {
        self.etcd.child.kill().await.unwrap();
    }

    /// Starts it again on the same port and data, and returns when the API server serves.
    pub(crate) async fn revive_etcd(&mut self) {
        let binary = super::TESTBED.binary().unwrap();
        let at = self.directory.path();
        self.etcd = Part::start("etcd", &binary, at, etcd_flags(at, &self.ports)).unwrap();
        let asking = self.client(&Self::faker()).await.unwrap();
        let ready = wait_until_ready(&asking, &mut [&mut self.etcd, &mut self.apiserver]).await;
        ready.unwrap();
    }

    /// Stops etcd in its tracks: connections stay, answers do not come.
    pub(crate) async fn freeze_etcd(&self) {
        self.signal_etcd("-STOP").await;
    }

    /// Lets it go on.
    pub(crate) async fn thaw_etcd(&self) {
        self.signal_etcd("-CONT").await;
    }

    async fn signal_etcd(&self, signal: &str) {
        let [(_, etcd), ..] = self.pids();
        let pid = etcd.unwrap().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().await;
        assert!(sent.unwrap().success());
    }
}
