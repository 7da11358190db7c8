//! A GitHub in this process: its REST API, the GraphQL that has no other way, smart HTTP and webhooks, on a
//! free port of 127.0.0.1, over real bare repositories.
//!
//! What git can say is asked of git: heads are refs, mergeability is `git merge-tree`, merges are commits,
//! and a push moves pull requests. What is remembered beside it is in memory and gone with the server. The
//! API stands at the root as on api.github.com, and below `/api/v3` as on Enterprise Server. Not simulated:
//! forks, teams that review, code owners, review comments, signatures other than the site's own. Never part of `run`.

mod access;
mod answer;
mod apps;
mod call;
mod deployments;
mod fault;
mod form;
mod form_pull;
mod git;
mod graphql;
mod hooks;
mod issues;
mod limits;
mod merge;
mod moved;
mod operations;
mod owner;
mod people;
mod protection;
mod pulls;
mod push;
mod refs;
mod reviews;
mod routes;
mod rulesets;
mod serve;
mod state;
mod statuses;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::http::{Method, StatusCode};
use axum::serve::ListenerExt as _;
use jiff::Timestamp;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use access::{Level, Permission, Permissions, Role};
pub use fault::{Fault, Rule};
pub use limits::Limits;
pub use owner::NewApp;
pub use protection::{Actors, Protection, RequiredCheck, RequiredChecks, RequiredReviews};
pub use rulesets::{Ruleset, Target};
pub use state::Methods;

use access::Grant;
use answer::Refusal;
use limits::{Budget, Ledger};
use state::State;

/// Exchanges kept for whoever wants to look at them.
const KEPT: usize = 20_000;

/// What tells the simulator the time: its tokens and budgets go by it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The running site. Dropping it stops it.
pub struct GitHub {
    shared: Arc<Shared>,
    address: SocketAddr,
    server: JoinHandle<()>,
}

/// What the server and its owner both touch.
struct Shared {
    root: PathBuf,
    /// The root of the site, without a slash at its end.
    site: String,
    clock: Clock,
    state: tokio::sync::Mutex<State>,
    limits: Mutex<Limits>,
    ledger: Mutex<Ledger>,
    rules: Mutex<Vec<Rule>>,
    exchanges: Mutex<VecDeque<Exchange>>,
    post: hooks::Post,
    delivered: watch::Sender<usize>,
}

/// A request to the API and its answer.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The method.
    pub method: String,
    /// The path below the API's root.
    pub path: String,
    /// The operation as the OpenAPI description names it, such as `GET /repos/{owner}/{repo}`; none where
    /// there is none, or the request did not get so far.
    pub operation: Option<String>,
    /// Names and values of the query.
    pub query: Vec<(String, String)>,
    /// The body; null where there was none.
    pub request: Value,
    /// The status of the answer.
    pub status: u16,
    /// The body of the answer; of a 304 what it stands for.
    pub answer: Value,
    /// Who asked; empty for nobody.
    pub login: String,
}

impl GitHub {
    /// Starts it: repositories lie below `root`, time is what `clock` says.
    ///
    /// # Errors
    /// The directory cannot be made, no port be had, or no HTTP client be built for webhooks.
    pub async fn start(root: &Path, clock: Clock) -> io::Result<Self> {
        tokio::fs::create_dir_all(root).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        // Small answers at once: waiting for more to send would cost 40 ms each.
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "the socket keeps its delay");
            }
        });
        let client = crate::http::client(&crate::http::HttpSettings::default());
        let (post, begin) = hooks::start(client.map_err(io::Error::other)?);
        let shared = Arc::new(Shared {
            root: root.to_owned(),
            site: format!("http://{address}"),
            clock,
            state: tokio::sync::Mutex::default(),
            limits: Mutex::default(),
            ledger: Mutex::default(),
            rules: Mutex::default(),
            exchanges: Mutex::default(),
            post,
            delivered: watch::channel(0).0,
        });
        begin(Arc::downgrade(&shared));
        let router = Router::new()
            .fallback(serve::answer)
            .with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the simulated GitHub ended");
            }
        });
        Ok(Self {
            shared,
            address,
            server,
        })
    }
}

impl Drop for GitHub {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    fn limits(&self) -> Limits {
        *lock(&self.limits)
    }

    fn budget(&self, grant: &Grant, now: Timestamp) -> Budget {
        lock(&self.ledger).budget(&self.limits(), grant, now)
    }

    fn spend(
        &self,
        grant: &Grant,
        is_read: bool,
        now: Timestamp,
    ) -> Result<Budget, (Refusal, Budget)> {
        lock(&self.ledger).spend(&self.limits(), grant, is_read, now)
    }

    fn refund(&self, grant: &Grant, now: Timestamp) -> Budget {
        lock(&self.ledger).refund(&self.limits(), grant, now)
    }

    /// The fault that this request meets.
    fn fault(&self, method: &Method, path: &str) -> Option<Fault> {
        let mut rules = lock(&self.rules);
        let meets = |rule: &&mut Rule| {
            rule.times > 0
                && (rule.method.is_empty() || rule.method == method.as_str())
                && path.contains(&rule.path)
        };
        let rule = rules.iter_mut().find(meets)?;
        rule.times -= 1;
        Some(rule.fault.clone())
    }

    /// Writes down a request that got no further than the door.
    fn refused(&self, method: &Method, path: &str, status: StatusCode) {
        self.exchanged(Exchange {
            method: method.to_string(),
            path: path.to_owned(),
            operation: None,
            query: Vec::new(),
            request: Value::Null,
            status: status.as_u16(),
            answer: Value::Null,
            login: String::new(),
        });
    }

    fn exchanged(&self, exchange: Exchange) {
        let mut kept = lock(&self.exchanges);
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back(exchange);
    }
}

/// A panic of a handler leaves whole values behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
