//! A server's stand-in on the wire that understands what it hands on: it knows the effects of a Towpath by their
//! requests, and kills the process that asks for one before the server hears of it, or once the server has done it
//! and before anybody is told.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use reqwest::Client;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The most that a request or an answer may be: nothing here is large.
const MOST: usize = 64 << 20;

/// What a Towpath does to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Effect {
    /// A commit on a branch.
    Write,
    /// A proposal branch, made or moved.
    Propose,
    /// A proposal branch deleted.
    TakeBack,
    /// Records alone.
    Record,
    /// A deployment tag.
    Tag,
    /// A mark on the application's commit.
    Mark,
    /// That something was told.
    Told,
    /// A request opened.
    Open,
    /// A request closed.
    Close,
    /// An approval dismissed.
    Disarm,
    /// What was proposed, merged by a person's command.
    Merge,
    /// A status on a commit.
    Status,
    /// A deployment of an application's commit, or its status.
    Deployment,
    /// The list of what belongs to an environment.
    Set,
    /// An object applied.
    Apply,
    /// An object deleted.
    Prune,
    /// What was deployed is asked whether it answers.
    Smoke,
    /// Somebody is told.
    Notification,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Write => "write",
            Self::Propose => "propose",
            Self::TakeBack => "take branch away",
            Self::Record => "record",
            Self::Tag => "tag",
            Self::Mark => "mark the source",
            Self::Told => "told, in git",
            Self::Open => "open",
            Self::Close => "close",
            Self::Disarm => "disarm",
            Self::Merge => "merge",
            Self::Status => "status",
            Self::Deployment => "deployment",
            Self::Set => "set",
            Self::Apply => "apply",
            Self::Prune => "prune",
            Self::Smoke => "smoke",
            Self::Notification => "notification",
        })
    }
}

/// When the process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// The server never hears of it.
    Before,
    /// The server has done it, and the process never hears of that.
    After,
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Before => "before",
            Self::After => "after",
        })
    }
}

/// What all eyes share: whom to kill at what, and what was seen.
#[derive(Default)]
pub(crate) struct Trap {
    armed: Mutex<Option<(Effect, When)>>,
    pid: Mutex<Option<u32>>,
    /// What servers did, with what it was done to where that tells one from another.
    done: Mutex<BTreeMap<(Effect, String), usize>>,
}

impl Trap {
    /// The process to be killed.
    pub(crate) fn watch(&self, pid: Option<u32>) {
        *locked(&self.pid) = pid;
    }

    /// Kills at the next such effect.
    pub(crate) fn arm(&self, effect: Effect, when: When) {
        *locked(&self.armed) = Some((effect, when));
    }

    /// Whether it has sprung.
    pub(crate) fn has_sprung(&self) -> bool {
        locked(&self.armed).is_none()
    }

    /// What was done, and how often.
    pub(crate) fn done(&self) -> BTreeMap<(Effect, String), usize> {
        locked(&self.done).clone()
    }

    async fn springs(&self, effect: Option<Effect>, when: When) -> bool {
        let pid = {
            let mut armed = locked(&self.armed);
            if effect.is_none_or(|effect| *armed != Some((effect, when))) {
                return false;
            }
            let Some(pid) = *locked(&self.pid) else {
                return false;
            };
            *armed = None;
            pid
        };
        let mut kill = tokio::process::Command::new("kill");
        let killed = kill.args(["-9", &pid.to_string()]).status().await;
        assert!(killed.is_ok_and(|it| it.success()), "{pid} is not there");
        true
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running stand-in; it stops when dropped.
pub(crate) struct Eye {
    address: SocketAddr,
    task: JoinHandle<std::io::Result<()>>,
}

struct Behind {
    /// The server's root, without a slash at its end.
    server: String,
    client: Client,
    trap: Arc<Trap>,
}

impl Eye {
    /// Stands before that server, which this client can reach.
    pub(crate) async fn start(server: &str, client: Client, trap: &Arc<Trap>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let behind = Behind {
            server: server.trim_end_matches('/').to_owned(),
            client,
            trap: Arc::clone(trap),
        };
        let router = Router::new().fallback(see).with_state(Arc::new(behind));
        let task = tokio::spawn(axum::serve(listener, router).into_future());
        Self { address, task }
    }

    /// Where it stands.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Eye {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn see(State(behind): State<Arc<Behind>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MOST).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let known = known(&parts.method, &parts.uri, &body);
    let effect = known.as_ref().map(|(effect, _)| *effect);
    if behind.trap.springs(effect, When::Before).await {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let path = parts.uri.path_and_query().map_or("/", |it| it.as_str());
    let asked = behind
        .client
        .request(parts.method.clone(), format!("{}{path}", behind.server))
        .headers(carried(&parts.headers))
        .body(body);
    let Ok(answer) = asked.send().await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let (status, headers) = (answer.status(), carried(answer.headers()));
    let body = if effect.is_some() {
        let Ok(body) = answer.bytes().await else {
            return StatusCode::BAD_GATEWAY.into_response();
        };
        if let (Some(known), true) = (known, status.is_success()) {
            *locked(&behind.trap.done).entry(known).or_default() += 1;
        }
        if behind.trap.springs(effect, When::After).await {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        Body::from(body)
    } else {
        Body::from_stream(answer.bytes_stream())
    };
    (status, headers, body).into_response()
}

/// Without what belongs to a connection, and lengths, which are told anew.
fn carried(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in [
        header::HOST,
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
    ] {
        headers.remove(name);
    }
    headers
}

/// Which effect a request asks for, and on what.
fn known(method: &Method, uri: &Uri, body: &Bytes) -> Option<(Effect, String)> {
    let path = uri.path();
    let query = uri.query().unwrap_or_default();
    let json = || serde_json::from_slice::<Value>(body).unwrap_or_default();
    if *method == Method::POST && path.ends_with("/git-receive-pack") {
        let pushed = pushed(body);
        // There the branch is moved by merges alone.
        let merges = path.contains("/production.git/");
        return pushed.map(|(effect, refs)| match effect {
            Effect::Write if merges => (Effect::Merge, refs),
            _ => (effect, refs),
        });
    }
    if path.starts_with("/api/") || path.starts_with("/apis/") {
        if query.contains("dryRun") {
            return None;
        }
        let is_set = path.contains("/towpath-");
        return match *method {
            Method::PATCH if is_set => Some((Effect::Set, String::new())),
            Method::PATCH => {
                let mark = json()["metadata"]["annotations"]["towpath.dev/hash"].clone();
                Some((Effect::Apply, format!("{path} {mark}")))
            }
            Method::DELETE => Some((Effect::Prune, path.to_owned())),
            _ => None,
        };
    }
    match (method.as_str(), path) {
        ("GET", "/smoke") => Some((Effect::Smoke, String::new())),
        ("POST", "/told") => Some((Effect::Notification, String::new())),
        ("POST", path) if path.ends_with("/pulls") => {
            let title = json()["title"].as_str().unwrap_or_default().to_owned();
            Some((Effect::Open, title))
        }
        ("PATCH", path) if path.contains("/pulls/") && json()["state"] == "closed" => {
            Some((Effect::Close, path.to_owned()))
        }
        ("PUT", path) if path.ends_with("/dismissals") => Some((Effect::Disarm, path.to_owned())),
        ("POST", path) if path.contains("/statuses/") => {
            let sent = json();
            let what = format!(
                "{path} {} {} {}",
                sent["context"], sent["state"], sent["description"]
            );
            Some((Effect::Status, what))
        }
        ("POST", path) if path.contains("/deployments") => {
            let sent = json();
            let what = format!(
                "{path} {} {} {}",
                sent["ref"], sent["environment"], sent["state"]
            );
            Some((Effect::Deployment, what))
        }
        _ => None,
    }
}

/// The refs that a push moves (gitprotocol-pack(5), "Reference Update Request"), as the effect that they are.
fn pushed(body: &[u8]) -> Option<(Effect, String)> {
    let mut moved = Vec::new();
    let mut rest = body;
    loop {
        let length = rest.get(..4).and_then(|it| std::str::from_utf8(it).ok())?;
        let length = usize::from_str_radix(length, 16).ok()?;
        if length < 4 {
            break;
        }
        let line = String::from_utf8_lossy(rest.get(4..length)?).into_owned();
        rest = &rest[length..];
        let command = line.split(['\0', '\n']).next().unwrap_or_default();
        let mut words = command.splitn(3, ' ');
        if let (Some(old), Some(new), Some(name)) = (words.next(), words.next(), words.next()) {
            // One that stays where it is was only read.
            if old != new {
                moved.push((name.to_owned(), new.bytes().all(|it| it == b'0')));
            }
        }
    }
    let first = |beginning: &str| moved.iter().find(|(name, _)| name.starts_with(beginning));
    let proposal = first("refs/heads/towpath/");
    let effect = match proposal {
        _ if first("refs/heads/master").is_some() => Effect::Write,
        Some((_, true)) => Effect::TakeBack,
        Some(_) => Effect::Propose,
        None if first("refs/towpath/notified/").is_some() => Effect::Told,
        None if first("refs/notes/commits").is_some() => Effect::Mark,
        None if first("refs/tags/").is_some() => Effect::Tag,
        None if first("refs/notes/towpath/").is_some() => Effect::Record,
        None => return None,
    };
    // Every push is another one: what it came to is told by the repositories.
    let names: Vec<_> = moved.into_iter().map(|(name, _)| name).collect();
    Some((effect, names.join(" ")))
}
