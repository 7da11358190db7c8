//! Debian's docker-registry, where it is installed.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use url::Url;

use super::program;

/// Debian's docker-registry on a free port, its data in a directory of its own.
pub(crate) struct DockerRegistry {
    pub(crate) url: Url,
    _server: Child,
    _directory: tempfile::TempDir,
}

impl DockerRegistry {
    /// Starts it, with the user `ci` where passwords are wanted; `None` where it is not installed.
    pub(crate) async fn start(passwords: bool) -> Option<Self> {
        let server = program("docker-registry")?;
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path();
        let mut config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: \"127.0.0.1:0\", secret: x}}\n",
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
        let file = place.join("config.yml");
        std::fs::write(&file, config).unwrap();
        let mut server = Command::new(server)
            .args(["serve".as_ref(), file.as_os_str()])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines
                .next_line()
                .await
                .unwrap()
                .expect("it says where it listens");
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.split(['"', ' ']).next().unwrap().to_owned();
            }
        };
        // Nobody reading would block it once the pipe is full.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Some(Self {
            url: format!("http://{address}/").parse().unwrap(),
            _server: server,
            _directory: directory,
        })
    }
}
