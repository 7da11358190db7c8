//! Debian's docker-registry, where it is installed.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::broadcast;
use url::Url;

use super::program;
use crate::testbed::lasting_port;

/// Lines of its log that a slow listener does not miss.
const LINES_MAX: usize = 1024;

/// Debian's docker-registry on a free port, its data in a directory of its own.
pub(crate) struct DockerRegistry {
    pub(crate) url: Url,
    program: PathBuf,
    server: Child,
    directory: tempfile::TempDir,
    log: broadcast::Sender<String>,
}

impl DockerRegistry {
    /// Starts it, with the user `ci` where passwords are wanted; `None` where it is not installed.
    pub(crate) async fn start(passwords: bool) -> Option<Self> {
        let program_file = program("docker-registry")?;
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path();
        let port = lasting_port();
        let mut config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: \"127.0.0.1:{port}\", secret: x}}\n",
            place.join("data").display()
        );
        if passwords {
            let htpasswd = program("htpasswd")?;
            let made = Command::new(htpasswd)
                .args(["-Bbn", "ci", "s3cret"])
                .output();
            let file = place.join("htpasswd");
            std::fs::write(&file, made.await.unwrap().stdout).unwrap();
            config += &format!(
                "auth: {{htpasswd: {{realm: r, path: {}}}}}\n",
                file.display()
            );
        }
        std::fs::write(place.join("config.yml"), config).unwrap();
        let log = broadcast::channel(LINES_MAX).0;
        let server = serve(&program_file, place, &log).await;
        Some(Self {
            url: format!("http://127.0.0.1:{port}/").parse().unwrap(),
            program: program_file,
            server,
            directory,
            log,
        })
    }

    /// What it logs from now on.
    pub(crate) fn log(&self) -> broadcast::Receiver<String> {
        self.log.subscribe()
    }

    /// Kills it as `kill -9` does, and returns when it is gone.
    pub(crate) async fn kill(&mut self) {
        self.server.kill().await.unwrap();
    }

    /// Starts it again on the same port and data, and returns when it serves.
    pub(crate) async fn revive(&mut self) {
        self.server = serve(&self.program, self.directory.path(), &self.log).await;
    }
}

async fn serve(program: &Path, place: &Path, log: &broadcast::Sender<String>) -> Child {
    let mut server = Command::new(program)
        .arg("serve")
        .arg(place.join("config.yml"))
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
    loop {
        let line = lines.next_line().await.unwrap();
        if line
            .expect("it says where it listens")
            .contains("listening on ")
        {
            break;
        }
    }
    // Nobody reading would block it once the pipe is full.
    let log = log.clone();
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            drop(log.send(line));
        }
    });
    server
}
