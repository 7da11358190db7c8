//! A git server on loopback: bare repositories below one directory, over smart HTTP.
//!
//! The git work is done by `git http-backend` (git-http-backend(1)), run as a CGI program (RFC 3875) per
//! request and streamed both ways. Around it: Basic authentication, counters per repository, news of
//! pushes, and faults on demand. For the demo and the tests only.

pub(in crate::demo) mod cgi;
mod fault;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::serve::ListenerExt as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};

pub use fault::Fault;

use crate::git::{Access, CommitDraft, GitError, Push, Pushed, Repository, Signature};
use crate::model::{CommitId, RepositoryUrl};

/// How long open connections may take to end when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// News of pushes kept for a slow listener.
const NEWS_MAX: usize = 1024;

/// Which of a repository's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// `GET info/refs`.
    Discover,
    /// `POST git-upload-pack`.
    Upload,
    /// `POST git-receive-pack`.
    Receive,
}

impl Endpoint {
    fn of(method: &Method, path: &str) -> Option<Self> {
        match (method, path) {
            (&Method::GET, "info/refs") => Some(Self::Discover),
            (&Method::POST, "git-upload-pack") => Some(Self::Upload),
            (&Method::POST, "git-receive-pack") => Some(Self::Receive),
            _ => None,
        }
    }
}

/// A running server; it stops when told, or when dropped.
pub struct GitServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    task: Option<tokio::task::JoinHandle<io::Result<()>>>,
    stop: watch::Sender<bool>,
}

struct Shared {
    root: PathBuf,
    state: Mutex<Settings>,
    pushed: broadcast::Sender<String>,
    stopped: watch::Receiver<bool>,
}

#[derive(Default)]
struct Settings {
    /// `user:password`, where one is required.
    login: Option<String>,
    version_0: bool,
    counts: BTreeMap<(String, Endpoint), usize>,
    faults: BTreeMap<Endpoint, VecDeque<Fault>>,
}

impl Shared {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GitServer {
    /// Serves the repositories below a directory, on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// Where the directory cannot be made or no port be had.
    pub async fn start(root: &Path) -> io::Result<Self> {
        Self::start_at(root, SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// The same at that address.
    ///
    /// # Errors
    /// Where the directory cannot be made or the address is not to be had.
    pub async fn start_at(root: &Path, address: SocketAddr) -> io::Result<Self> {
        tokio::fs::create_dir_all(root).await?;
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        // Small answers at once: waiting for more to send would cost 40 ms each.
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let listener = listener.tap_io(move |stream| {
            counted.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "the socket keeps its delay");
            }
        });
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared {
            root: root.to_owned(),
            state: Mutex::default(),
            pushed: broadcast::channel(NEWS_MAX).0,
            stopped: stopped.clone(),
        });
        let router = Router::new()
            .fallback(serve)
            .with_state(Arc::clone(&shared));
        let server = axum::serve(listener, router).with_graceful_shutdown(ended(stopped));
        let task = Some(tokio::spawn(server.into_future()));
        Ok(Self {
            shared,
            address,
            connections,
            task,
            stop,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where a repository is served.
    pub fn url(&self, repository: &str) -> String {
        format!("http://{}/{repository}.git", self.address)
    }

    /// Where a repository lies.
    pub fn path(&self, repository: &str) -> PathBuf {
        self.shared.root.join(format!("{repository}.git"))
    }

    /// Makes an empty bare repository whose branch will be `master`.
    ///
    /// # Errors
    /// Where `git init` fails, with its words.
    pub async fn create(&self, repository: &str) -> io::Result<PathBuf> {
        let path = self.path(repository);
        init_bare(&path).await?;
        Ok(path)
    }

    /// Wants this user name and password from now on (`None`: nothing any more).
    pub fn require(&self, login: Option<(&str, &str)>) {
        self.shared.settings().login = login.map(|(user, password)| format!("{user}:{password}"));
    }

    /// Whether it speaks version 2 of the protocol (it does, unless told otherwise).
    pub fn set_version_2(&self, version_2: bool) {
        self.shared.settings().version_0 = !version_2;
    }

    /// Lets the next request there (after those already set to) go wrong.
    pub fn fail_next(&self, endpoint: Endpoint, fault: Fault) {
        let mut settings = self.shared.settings();
        settings
            .faults
            .entry(endpoint)
            .or_default()
            .push_back(fault);
    }

    /// How many requests a repository got there, refused ones included.
    pub fn count(&self, repository: &str, endpoint: Endpoint) -> usize {
        let settings = self.shared.settings();
        settings
            .counts
            .get(&(repository.to_owned(), endpoint))
            .copied()
            .unwrap_or_default()
    }

    /// How many connections were made to it.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Names of repositories, each time a push to one ended.
    pub fn pushes(&self) -> broadcast::Receiver<String> {
        self.shared.pushed.subscribe()
    }

    /// Lets open requests end, then stops.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if let Some(mut task) = self.task.take()
            && tokio::time::timeout(STOP_TIMEOUT, &mut task).await.is_err()
        {
            task.abort();
        }
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Commits first files (path, content) onto a bare repository's `master`, which must not exist yet.
///
/// # Errors
/// Where it exists, or any [`GitError`] of the way there.
pub async fn commit_first(
    path: &Path,
    files: Vec<(String, Vec<u8>)>,
    message: &str,
    by: &Signature,
) -> Result<CommitId, GitError> {
    let malformed = |detail: String| GitError::Malformed(detail);
    let url = path.display().to_string().parse::<RepositoryUrl>();
    let url = url.map_err(|error| malformed(error.to_string()))?;
    let remote = crate::git::remote(&url, &Access::new(reqwest::Client::new()))?;
    let repository = Repository::in_memory(remote);
    let mut draft = repository.draft();
    let edits = files
        .into_iter()
        .map(|(path, content)| (path, Some(content.into())));
    let tree = draft.edit(None, edits)?;
    let id = draft.commit(&CommitDraft {
        tree,
        parents: Vec::new(),
        author: by.clone(),
        committer: by.clone(),
        message: message.to_owned(),
    });
    let push = Push::new()
        .update("refs/heads/master", None, id.0)
        .with(&draft)?;
    match repository.push(push).await? {
        Pushed::Landed => Ok(id),
        Pushed::Lost { .. } => Err(malformed(format!("{url} has a `master` already"))),
        Pushed::Refused { messages, .. } => Err(malformed(format!("{url} refuses: {messages}"))),
    }
}

/// Where git is. A program that is named by its whole path is begun without a copy of what this process has in
/// memory, also where it gets an environment of its own.
pub(in crate::demo) fn git() -> &'static Path {
    static GIT: OnceLock<PathBuf> = OnceLock::new();
    GIT.get_or_init(|| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut programs = std::env::split_paths(&path).map(|folder| folder.join("git"));
        programs
            .find(|program| program.is_file())
            .unwrap_or_else(|| "git".into())
    })
}

/// Makes an empty bare repository whose branch will be `master`.
///
/// # Errors
/// Where `git init` fails, with its words.
pub async fn init_bare(path: &Path) -> io::Result<()> {
    let output = tokio::process::Command::new(git())
        .args([
            "init",
            "--quiet",
            "--bare",
            "--initial-branch=master",
            "--template=",
        ])
        .arg(path)
        .kill_on_drop(true)
        .output()
        .await?;
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "git init {}: {}",
            path.display(),
            crate::git::printable(&output.stderr)
        ))),
    }
}

async fn ended(mut stopped: watch::Receiver<bool>) {
    // The sender is gone only when the server is.
    let _gone = stopped.wait_for(|stopped| *stopped).await;
}

async fn serve(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let target = path.split_once(".git/").and_then(|(repository, rest)| {
        let plain = !repository.contains("..") && !repository.is_empty();
        Some((repository.to_owned(), Endpoint::of(request.method(), rest)?)).filter(|_| plain)
    });
    let Some((repository, endpoint)) = target else {
        return (StatusCode::NOT_FOUND, "no such place").into_response();
    };
    let (fault, denied, version_0) = {
        let mut settings = shared.settings();
        *settings
            .counts
            .entry((repository.clone(), endpoint))
            .or_default() += 1;
        let fault = settings
            .faults
            .get_mut(&endpoint)
            .and_then(VecDeque::pop_front);
        let denied = settings
            .login
            .as_ref()
            .is_some_and(|login| !carries(&request, login));
        (fault, denied, settings.version_0)
    };
    if denied {
        let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"git\"")];
        return (StatusCode::UNAUTHORIZED, challenge, "who are you?").into_response();
    }
    let backend = cgi::Backend {
        root: shared.root.clone(),
        version_0,
        pushed: (endpoint == Endpoint::Receive).then(|| (shared.pushed.clone(), repository)),
        without_hooks: false,
        environment: Vec::new(),
    };
    match fault {
        None => backend.run(request).await.unwrap_or_else(failed),
        Some(fault) => tokio::select! {
            response = fault.strike(backend, request) => response.unwrap_or_else(failed),
            () = ended(shared.stopped.clone()) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        },
    }
}

fn failed(error: io::Error) -> Response {
    (
        StatusCode::INTERNAL_SERVER_ERROR,
        Body::from(format!("git http-backend: {error}")),
    )
        .into_response()
}

fn carries(request: &Request, login: &str) -> bool {
    let expected = format!("Basic {}", BASE64_STANDARD.encode(login));
    request
        .headers()
        .get(header::AUTHORIZATION)
        .is_some_and(|value| value.as_bytes() == expected.as_bytes())
}
