//! What befalls a plane of one's own: an API server that is killed, an etcd that does not answer.

use tokio::process::Command;

use super::plane::Plane;

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
