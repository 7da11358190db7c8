//! A git server at the other end of a pipe: `git` for a directory on this machine, `ssh` for another.
//!
//! Owns starting, watching and ending the child. A conversation is one child; nothing is kept between
//! them.

use std::ffi::OsString;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use futures_util::stream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use super::remote::{FetchRequest, Fetched, PushReport, PushRequest, Refs, Remote};
use super::wire::{self, Advertisement, ByteStream, Dialect, Packets};
use super::{Access, GitError, MESSAGE_BYTES_MAX, locked, printable};
use crate::model::{RepositoryUrl, Scheme};

/// The most a conversation may bring.
const BYTES_MAX: u64 = 8 << 30;

/// How long a child may take to end after it has said all.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes written at once; each piece may take the idle timeout.
const PIECE_BYTES: usize = 64 << 10;

/// See the module.
pub(super) struct PipeRemote {
    address: Arc<str>,
    place: Place,
    idle: Duration,
}

enum Place {
    Directory(String),
    /// Where to, and the command line that stands for `ssh`.
    Ssh(Destination, Option<String>),
}

/// Where `ssh` goes.
#[derive(Debug, PartialEq, Eq)]
struct Destination {
    host: String,
    port: Option<String>,
    path: String,
}

impl PipeRemote {
    pub(super) fn new(url: &RepositoryUrl, access: &Access) -> Result<Self, GitError> {
        let place = match url.scheme() {
            Scheme::Ssh => Place::Ssh(Destination::parse(url.as_str())?, access.ssh.clone()),
            _ => {
                let path = url.as_str();
                Place::Directory(path.strip_prefix("file://").unwrap_or(path).to_owned())
            }
        };
        let (address, idle) = (url.as_str().into(), access.idle_timeout);
        Ok(Self {
            address,
            place,
            idle,
        })
    }

    fn start(&self, service: &str) -> Result<Conversation, GitError> {
        let mut command = match &self.place {
            Place::Directory(path) => {
                if !std::path::Path::new(path).is_dir() {
                    return Err(GitError::NotFound {
                        url: self.address.to_string(),
                        message: "no such directory".to_owned(),
                    });
                }
                let mut command = Command::new("git");
                // Variables of a git that called us would point its child elsewhere.
                for (name, _) in std::env::vars_os() {
                    if name.to_string_lossy().starts_with("GIT_") {
                        command.env_remove(name);
                    }
                }
                command.arg(service).arg(path);
                command
            }
            Place::Ssh(destination, ssh) => destination.command(service, ssh.as_deref()),
        };
        if service == "upload-pack" {
            command.env("GIT_PROTOCOL", "version=2");
        } else {
            command.env_remove("GIT_PROTOCOL");
        }
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| self.failed(&error.to_string()))?;
        Conversation::new(child, &self.address, self.idle)
            .ok_or_else(|| self.failed("it has no pipes"))
    }

    fn failed(&self, detail: &str) -> GitError {
        GitError::Program {
            program: self.program().to_owned(),
            url: self.address.to_string(),
            detail: detail.to_owned(),
        }
    }

    fn program(&self) -> &'static str {
        match self.place {
            Place::Directory(_) => "git",
            Place::Ssh(..) => "ssh",
        }
    }

    /// Ends a conversation. Where it went wrong, what the child wrote on standard error tells more than
    /// that it fell silent.
    async fn end<T>(
        &self,
        conversation: Conversation,
        outcome: Result<T, GitError>,
    ) -> Result<T, GitError> {
        let told = conversation.end().await;
        match outcome {
            Err(GitError::Network { detail, .. }) if !told.is_empty() => {
                Err(self.failed(&format!("{detail}: {told}")))
            }
            outcome => outcome,
        }
    }
}

#[async_trait]
impl Remote for PipeRemote {
    fn address(&self) -> &str {
        &self.address
    }

    async fn advertise(&self, prefixes: &[String]) -> Result<Refs, GitError> {
        let mut conversation = self.start("upload-pack")?;
        let outcome = async {
            match Advertisement::read(&mut conversation.packets, prefixes).await? {
                Advertisement::V0(_, refs) => Ok(refs),
                Advertisement::V2(capabilities) => {
                    conversation
                        .say(wire::ls_refs(&capabilities, prefixes))
                        .await?;
                    wire::read_refs(&mut conversation.packets, prefixes).await
                }
            }
        }
        .await;
        self.end(conversation, outcome).await
    }

    async fn fetch(&self, request: &FetchRequest) -> Result<Fetched, GitError> {
        let mut conversation = self.start("upload-pack")?;
        let outcome = async {
            let dialect = Dialect::from(Advertisement::read(&mut conversation.packets, &[]).await?);
            conversation.say(dialect.request(request)).await?;
            dialect.read(&mut conversation.packets, request).await
        }
        .await;
        self.end(conversation, outcome).await
    }

    async fn push(&self, request: &PushRequest) -> Result<PushReport, GitError> {
        let mut conversation = self.start("receive-pack")?;
        let outcome = async {
            let capabilities = match Advertisement::read(&mut conversation.packets, &[]).await? {
                Advertisement::V0(capabilities, _) | Advertisement::V2(capabilities) => {
                    capabilities
                }
            };
            let bytes = wire::push_request(&self.address, &capabilities, request)?;
            let (mut stdin, idle) = (conversation.stdin.take(), conversation.idle);
            let url = Arc::clone(&self.address);
            // A server may talk while it still reads: both at once, or both wait for ever.
            let write = async {
                let written = say(&mut stdin, &bytes, idle, &url).await;
                drop(stdin);
                written
            };
            let read = wire::read_report(&mut conversation.packets, &capabilities);
            let (written, report) = tokio::join!(write, read);
            // A report tells more than a pipe that closed early.
            report.map_err(|error| written.err().unwrap_or(error))
        }
        .await;
        self.end(conversation, outcome).await
    }

    async fn receives(&self) -> Result<bool, GitError> {
        let mut conversation = self.start("receive-pack")?;
        let said = Advertisement::read(&mut conversation.packets, &[]).await;
        let atomic = said.map(|said| said.is_atomic());
        self.end(conversation, atomic).await
    }
}

/// A running child.
struct Conversation {
    child: Child,
    stdin: Option<ChildStdin>,
    packets: Packets,
    errors: Arc<Mutex<Vec<u8>>>,
    listener: tokio::task::JoinHandle<()>,
    idle: Duration,
    url: Arc<str>,
}

impl Conversation {
    fn new(mut child: Child, url: &Arc<str>, idle: Duration) -> Option<Self> {
        let (stdout, stderr) = (child.stdout.take()?, child.stderr.take()?);
        let errors = Arc::new(Mutex::new(Vec::new()));
        Some(Self {
            stdin: child.stdin.take(),
            packets: Packets::new(url, bytes(stdout, idle, Arc::clone(url)), BYTES_MAX),
            listener: tokio::spawn(listen(stderr, Arc::clone(&errors))),
            child,
            errors,
            idle,
            url: Arc::clone(url),
        })
    }

    async fn say(&mut self, bytes: Vec<u8>) -> Result<(), GitError> {
        say(&mut self.stdin, &bytes, self.idle, &self.url).await
    }

    /// Says goodbye, waits a little, and returns what came on standard error.
    async fn end(mut self) -> String {
        if let Some(mut stdin) = self.stdin.take() {
            // A flush ends a conversation politely; a child that is gone needs none.
            let _ended = stdin.write_all(b"0000").await;
        }
        drop(self.packets);
        if tokio::time::timeout(END_TIMEOUT, self.child.wait())
            .await
            .is_err()
        {
            // It is killed when dropped.
            self.listener.abort();
        }
        // A grandchild may keep the pipe open after the child is gone.
        if tokio::time::timeout(END_TIMEOUT, &mut self.listener)
            .await
            .is_err()
        {
            self.listener.abort();
        }
        printable(&locked(&self.errors))
    }
}

async fn say(
    stdin: &mut Option<ChildStdin>,
    bytes: &[u8],
    idle: Duration,
    url: &Arc<str>,
) -> Result<(), GitError> {
    let Some(stdin) = stdin else { return Ok(()) };
    for piece in bytes.chunks(PIECE_BYTES) {
        tokio::time::timeout(idle, stdin.write_all(piece))
            .await
            .map_err(|_| GitError::Stalled {
                url: url.to_string(),
                idle,
            })?
            .map_err(|error| GitError::Network {
                url: url.to_string(),
                detail: error.to_string(),
            })?;
    }
    Ok(())
}

fn bytes(stdout: ChildStdout, idle: Duration, url: Arc<str>) -> ByteStream {
    Box::pin(stream::unfold(Some(stdout), move |stdout| {
        let url = Arc::clone(&url);
        async move {
            let mut stdout = stdout?;
            let mut buffer = BytesMut::with_capacity(PIECE_BYTES);
            match tokio::time::timeout(idle, stdout.read_buf(&mut buffer)).await {
                Ok(Ok(0)) => None,
                Ok(Ok(_)) => Some((Ok(buffer.freeze()), Some(stdout))),
                Ok(Err(error)) => {
                    let (url, detail) = (url.to_string(), error.to_string());
                    Some((Err(GitError::Network { url, detail }), None))
                }
                Err(_) => {
                    let url = url.to_string();
                    Some((Err(GitError::Stalled { url, idle }), None))
                }
            }
        }
    }))
}

/// Reads standard error to its end and keeps the beginning.
async fn listen(mut stderr: ChildStderr, errors: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = [0; 1024];
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        let mut errors = locked(&errors);
        let room = (MESSAGE_BYTES_MAX + 1).saturating_sub(errors.len());
        errors.extend_from_slice(&buffer[..count.min(room)]);
    }
}

impl Destination {
    /// `ssh://[user@]host[:port]/path` or `[user@]host:path`, as git reads them.
    fn parse(address: &str) -> Result<Self, GitError> {
        let invalid = || GitError::Malformed(format!("`{address}` is no address for ssh"));
        let (host, port, path) = match address.split_once("://") {
            Some((_, rest)) => {
                let (authority, path) = rest.split_once('/').ok_or_else(invalid)?;
                let (user, host) = match authority.rsplit_once('@') {
                    Some((user, host)) => (format!("{user}@"), host),
                    None => (String::new(), authority),
                };
                // An IPv6 address stands in brackets, which ssh does not want.
                let (host, port) =
                    match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
                        Some((host, rest)) => (host, rest.strip_prefix(':')),
                        None => match host.split_once(':') {
                            Some((host, port)) => (host, Some(port)),
                            None => (host, None),
                        },
                    };
                // `/~user` is a home directory, anything else begins at the root.
                let path = match path.starts_with('~') {
                    true => path.to_owned(),
                    false => format!("/{path}"),
                };
                (format!("{user}{host}"), port.map(str::to_owned), path)
            }
            None => {
                let (host, path) = address.split_once(':').ok_or_else(invalid)?;
                (host.to_owned(), None, path.to_owned())
            }
        };
        let port_is_number = port.as_ref().is_none_or(|port| port.parse::<u16>().is_ok());
        // A leading dash would be an option to ssh.
        match port_is_number && !host.starts_with('-') && !host.is_empty() {
            true => Ok(Self { host, port, path }),
            false => Err(invalid()),
        }
    }

    /// The given command line, or what `GIT_SSH_COMMAND` or `GIT_SSH` name, or `ssh` (git(1)); options
    /// are OpenSSH's.
    fn command(&self, service: &str, ssh: Option<&str>) -> Command {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let line = ssh.map(OsString::from).or_else(|| set("GIT_SSH_COMMAND"));
        let mut command = match line {
            Some(mut line) => {
                line.push(" \"$@\"");
                let mut command = Command::new("sh");
                command.arg("-c").arg(line).arg("ssh");
                command
            }
            None => Command::new(set("GIT_SSH").unwrap_or_else(|| OsString::from("ssh"))),
        };
        command.args(["-o", "BatchMode=yes", "-o", "SendEnv=GIT_PROTOCOL"]);
        if let Some(port) = &self.port {
            command.args(["-p", port]);
        }
        command
            .arg("--")
            .arg(&self.host)
            .arg(format!("git-{service} {}", quoted(&self.path)));
        command
    }
}

/// A word for the remote shell, as git's `sq_quote` makes it.
fn quoted(text: &str) -> String {
    let inner = text.replace('\'', "'\\''").replace('!', "'\\!'");
    format!("'{inner}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssh_addresses_are_taken_apart_as_git_does() {
        for (address, host, port, path) in [
            (
                "ssh://git@h.example/acme/infra",
                "git@h.example",
                None,
                "/acme/infra",
            ),
            ("ssh://h:2222/~me/infra", "h", Some("2222"), "~me/infra"),
            ("ssh://git@[::1]:22/x", "git@::1", Some("22"), "/x"),
            ("git@h:acme/infra.git", "git@h", None, "acme/infra.git"),
        ] {
            let expected = Destination {
                host: host.to_owned(),
                port: port.map(str::to_owned),
                path: path.to_owned(),
            };
            assert_eq!(Destination::parse(address).unwrap(), expected, "{address}");
        }
        for address in ["ssh://-oProxyCommand=x@h/y", "ssh://h:port/x", "ssh://h"] {
            assert!(Destination::parse(address).is_err(), "{address}");
        }
    }

    #[test]
    fn a_path_is_one_word_for_the_remote_shell() {
        assert_eq!(quoted("/a b/$(x)"), "'/a b/$(x)'");
        assert_eq!(quoted("it's!"), "'it'\\''s'\\!''");
    }
}
