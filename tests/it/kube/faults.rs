//! What befalls a plane of one's own: an API server that is killed, an etcd that does not answer.

use std::time::Duration;

use tokio::process::Command;

use super::plane::{Part, Plane, controller_flags, etcd_flags, wait_until_ready};

/// How often it is looked whether a process stands, and for how long at most.
const ASK: Duration = Duration::from_millis(1);
const WAIT: Duration = Duration::from_secs(60);

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

    /// Stops etcd in its tracks, and returns when it stands: connections stay, answers do not come.
    pub(crate) async fn freeze_etcd(&self) {
        let pid = self.signal_etcd("-STOP").await;
        let frozen = async {
            while !stands(&pid) {
                tokio::time::sleep(ASK).await;
            }
        };
        let frozen = tokio::time::timeout(WAIT, frozen).await;
        assert!(frozen.is_ok(), "etcd does not stop");
    }

    /// Lets it go on.
    pub(crate) async fn thaw_etcd(&self) {
        let _pid = self.signal_etcd("-CONT").await;
    }

    /// Its process.
    async fn signal_etcd(&self, signal: &str) -> String {
        let [(_, etcd), ..] = self.pids();
        let pid = etcd.unwrap().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().await;
        assert!(sent.unwrap().success());
        pid
    }
}

/// Whether each thread of a process is stopped. On a busy machine some go on for a while after the signal was sent.
fn stands(pid: &str) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let mut threads = threads.flatten();
    threads.all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // Behind the name, which may hold anything (proc_pid_stat(5)).
        let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
        state.is_none_or(|it| it.starts_with('T'))
    })
}
