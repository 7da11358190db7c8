//! A real `sshd` on loopback, where one is installed.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// A running sshd; it ends when dropped.
pub(crate) struct Sshd {
    port: u16,
    _child: Child,
}

/// One key of the client and one of the host for all tests: making them takes a while.
struct Keys {
    directory: tempfile::TempDir,
}

static KEYS: OnceLock<Keys> = OnceLock::new();

impl Sshd {
    /// Starts one, or says why not. Where CI is set, not having one is a failure.
    pub(crate) async fn start(directory: &Path) -> Option<Self> {
        let Some(program) = ["/usr/sbin/sshd", "/usr/local/sbin/sshd"]
            .into_iter()
            .find(|path| Path::new(path).exists())
        else {
            assert!(
                std::env::var_os("CI").is_none(),
                "sshd is missing: install openssh-server"
            );
            println!("skipped: sshd is not installed");
            return None;
        };
        let keys = KEYS.get_or_init(Keys::make);
        // The port is chosen by asking for a free one; sshd cannot choose it itself.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let key = |name: &str| keys.directory.path().join(name).display().to_string();
        let config = directory.join("sshd_config");
        let lines = [
            format!("Port {port}"),
            "ListenAddress 127.0.0.1".to_owned(),
            format!("HostKey {}", key("host")),
            format!("AuthorizedKeysFile {}", key("client.pub")),
            "StrictModes no".to_owned(),
            "UsePAM no".to_owned(),
            "PidFile none".to_owned(),
            "PermitRootLogin yes".to_owned(),
            "AcceptEnv GIT_PROTOCOL".to_owned(),
            "MaxStartups 100".to_owned(),
        ];
        std::fs::write(&config, lines.join("\n")).unwrap();
        std::fs::create_dir_all("/run/sshd").ok();
        let mut child = Command::new(program)
            .args(["-D", "-e", "-f"])
            .arg(&config)
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        loop {
            let line = log.next_line().await.unwrap().expect("sshd listens");
            if line.contains("Server listening") {
                break;
            }
        }
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        Some(Self {
            port,
            _child: child,
        })
    }

    pub(crate) fn url(&self, path: &Path) -> String {
        let user = std::env::var("USER").unwrap_or_else(|_| "root".to_owned());
        format!("ssh://{user}@127.0.0.1:{}{}", self.port, path.display())
    }
}

/// The `ssh` that gets into these servers.
pub(crate) fn ssh_command() -> Option<String> {
    let directory = KEYS.get()?.directory.path().to_owned();
    let key: PathBuf = directory.join("client");
    Some(format!(
        "ssh -F /dev/null -i {} -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no -o LogLevel=ERROR",
        key.display()
    ))
}

impl Keys {
    #[expect(
        clippy::disallowed_methods,
        reason = "keys are made once, before any test waits"
    )]
    fn make() -> Self {
        let directory = tempfile::TempDir::new().unwrap();
        for name in ["host", "client"] {
            let status = std::process::Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(directory.path().join(name))
                .status()
                .unwrap();
            assert!(status.success());
        }
        Self { directory }
    }
}
