//! Running `git http-backend` for one request.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::broadcast;

/// The most a CGI header may take, in bytes.
const HEADER_BYTES_MAX: u64 = 16 << 10;

/// One run of the program.
pub(in crate::demo) struct Backend {
    pub(in crate::demo) root: PathBuf,
    pub(in crate::demo) version_0: bool,
    /// Whom to tell that a push to which repository ended.
    pub(in crate::demo) pushed: Option<(broadcast::Sender<String>, String)>,
    /// Whether the repository's hooks are not run: each takes a shell.
    pub(in crate::demo) without_hooks: bool,
    /// More variables, which hooks see too.
    pub(in crate::demo) environment: Vec<(&'static str, String)>,
}

impl Backend {
    /// Streams the request in and the response out.
    pub(in crate::demo) async fn run(self, request: Request) -> io::Result<Response> {
        let mut child = self.command(&request).spawn()?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("no pipes"));
        };
        tokio::spawn(async move {
            let mut body = request.into_body().into_data_stream();
            while let Some(Ok(chunk)) = body.next().await {
                // A program that has read enough closes its end.
                if stdin.write_all(&chunk).await.is_err() {
                    break;
                }
            }
        });
        let mut stdout = BufReader::new(stdout);
        let mut response = read_header(&mut stdout).await?;
        let pushed = self.pushed.filter(|_| response.status().is_success());
        *response.body_mut() = Body::from_stream(output(child, stdout, pushed));
        Ok(response)
    }

    fn command(&self, request: &Request) -> Command {
        let header = |name: &str| {
            request
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        let mut command = Command::new(super::git());
        command.arg("http-backend").env_clear().kill_on_drop(true);
        for name in ["PATH", "HOME"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command
            .env("GIT_PROJECT_ROOT", &self.root)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env(
                "GIT_CONFIG_COUNT",
                if self.without_hooks { "2" } else { "1" },
            )
            .env("GIT_CONFIG_KEY_0", "http.receivepack")
            .env("GIT_CONFIG_VALUE_0", "true")
            .env("GIT_CONFIG_KEY_1", "core.hooksPath")
            .env("GIT_CONFIG_VALUE_1", "/dev/null")
            .env("REQUEST_METHOD", request.method().as_str())
            .env("PATH_INFO", request.uri().path())
            .env("QUERY_STRING", request.uri().query().unwrap_or_default())
            .env("CONTENT_TYPE", header("content-type"))
            .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
            .env("REMOTE_USER", "towpath")
            .env("REMOTE_ADDR", "127.0.0.1")
            .env("SERVER_PROTOCOL", "HTTP/1.1");
        // An absent length means "until the end", an empty one means nothing.
        let length = header("content-length");
        if !length.is_empty() {
            command.env("CONTENT_LENGTH", length);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if !self.version_0 {
            command.env("GIT_PROTOCOL", header("git-protocol"));
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        command
    }
}

/// The CGI header (RFC 3875, 6.3): `Status` and what is passed on.
async fn read_header(stdout: &mut BufReader<ChildStdout>) -> io::Result<Response> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "it answered without a header");
    let mut response = Response::new(Body::empty());
    let mut limited = stdout.take(HEADER_BYTES_MAX);
    loop {
        let mut line = String::new();
        if limited.read_line(&mut line).await? == 0 {
            return Err(malformed());
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(response);
        }
        let (name, value) = line.split_once(':').ok_or_else(malformed)?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().unwrap_or_default();
            *response.status_mut() =
                StatusCode::from_bytes(code.as_bytes()).map_err(|_| malformed())?;
        } else {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| malformed())?;
            let value = HeaderValue::from_str(value).map_err(|_| malformed())?;
            response.headers_mut().append(name, value);
        }
    }
}

/// The rest of the output; news of a push goes out before its last byte does.
fn output(
    child: Child,
    stdout: BufReader<ChildStdout>,
    pushed: Option<(broadcast::Sender<String>, String)>,
) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send {
    stream::unfold(Some((child, stdout, pushed)), |state| async move {
        let (mut child, mut stdout, pushed) = state?;
        let mut buffer = BytesMut::with_capacity(64 << 10);
        match stdout.read_buf(&mut buffer).await {
            Ok(0) => {
                let status = child.wait().await;
                if let Some((sender, repository)) =
                    pushed.filter(|_| status.is_ok_and(|status| status.success()))
                {
                    // Nobody may be listening.
                    let _listeners = sender.send(repository);
                }
                None
            }
            Ok(_) => Some((Ok(buffer.freeze()), Some((child, stdout, pushed)))),
            Err(error) => Some((Err(error), None)),
        }
    })
}
