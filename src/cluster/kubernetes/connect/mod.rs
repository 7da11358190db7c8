//! How a cluster is reached: from a context of a kubeconfig, or from inside, to a client.
//!
//! Owns credentials and deadlines. A client that was handed out lives as long as the process: behind
//! it the connection is made anew when its credential ends, is refused, or its kubeconfig changed.
//! Never retries what a server answered, except once after a refused credential: such a request
//! was not carried out.

mod credential;
mod door;
mod paced;

use std::sync::{Arc, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use kube::Client;
use kube::client::ClientBuilder;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use tokio::sync::Mutex;
use url::Url;

pub use crate::model::ClusterAddress as Target;
pub use door::Trouble;

use crate::clock;
use crate::secret;

/// Making a TCP and TLS connection is one round trip or two.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A credential is replaced so long before its end.
const EARLY: Duration = Duration::from_secs(60);

/// A connection whose credential names no end is made anew so often.
const LONGEST: Duration = Duration::from_secs(3600);

/// Servers tell their time in seconds, and an answer is on its way for a while.
const TELLABLE: SignedDuration = SignedDuration::from_secs(2);

/// How long a credential is not asked for again that could not be got.
const REST: Duration = Duration::from_secs(1);

/// Where a cluster is, and how long it may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Where it is.
    pub target: Target,
    /// How long a request may go unanswered, and an answer be silent in its middle.
    pub timeout: Duration,
    /// The proxy where the kubeconfig names none.
    pub proxy: Option<Url>,
}

/// What people call a cluster.
pub(super) fn name(target: &Target) -> String {
    match target {
        Target::Context { .. } => format!("the cluster of {target}"),
        Target::InCluster => target.to_string(),
    }
}

/// A cluster's connection: one for all environments on it, whoever they act as.
pub struct Connection {
    access: Access,
    made: Mutex<State>,
    own: OnceLock<Client>,
    /// How far the server's clock is ahead of ours.
    ahead: std::sync::Mutex<SignedDuration>,
}

#[derive(Default)]
struct State {
    made: Option<Made>,
    /// Why none could be made, and when.
    failed: Option<(String, Instant)>,
    /// How many were made.
    count: u64,
}

/// A connection made with one credential.
#[derive(Clone)]
struct Made {
    client: Client,
    /// Until when it may be used.
    until: Instant,
    /// Counts connections, so that a refusal of an old one does not end a new one.
    number: u64,
}

impl Connection {
    /// Dials nothing yet.
    pub fn new(access: Access) -> Arc<Self> {
        Arc::new(Self {
            access,
            made: Mutex::default(),
            own: OnceLock::new(),
            ahead: std::sync::Mutex::default(),
        })
    }

    /// Where it leads.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The address of its API, as the kubeconfig or the pod says it.
    ///
    /// # Errors
    /// Why that cannot be read, in one sentence.
    pub async fn server(&self) -> Result<String, String> {
        let config = self.read().await?;
        Ok(config.cluster_url.to_string())
    }

    /// A client that acts as whom the kubeconfig names. To be called within the async runtime.
    pub fn client(self: &Arc<Self>) -> Client {
        let make = || Client::new(door::Door::new(self.clone(), None), "default");
        self.own.get_or_init(make).clone()
    }

    /// A client that acts as somebody else, such as `system:serviceaccount:shop:deployer`, over the
    /// same connections. To be called within the async runtime.
    ///
    /// # Errors
    /// A name that cannot stand in a header.
    pub fn impersonating(
        self: &Arc<Self>,
        user: &str,
    ) -> Result<Client, http::header::InvalidHeaderValue> {
        let user = http::HeaderValue::from_str(user)?;
        Ok(Client::new(
            door::Door::new(self.clone(), Some(user)),
            "default",
        ))
    }

    /// How far the server's clock is ahead of ours, by its last answer; zero where that is within
    /// what its seconds can tell.
    pub fn ahead(&self) -> SignedDuration {
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the time that an answer tells
    /// ([`Date`](https://www.rfc-editor.org/rfc/rfc9110#name-date)).
    fn hear(&self, date: Option<&http::HeaderValue>) {
        let date = date.and_then(|date| date.to_str().ok());
        let there = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
        let Some(there) = there else { return };
        let ahead = there.timestamp().duration_since(clock::now());
        let within = ahead.abs() <= TELLABLE;
        let ahead = if within { SignedDuration::ZERO } else { ahead };
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) = ahead;
    }

    /// What is connected now, made if need be.
    async fn made(&self) -> Result<Made, Trouble> {
        let mut state = self.made.lock().await;
        if let Some(made) = state.made.as_ref().filter(|it| Instant::now() < it.until) {
            return Ok(made.clone());
        }
        if let Some((why, at)) = state.failed.as_ref().filter(|(_, at)| at.elapsed() < REST) {
            tracing::trace!(?at, "a credential could not be got just now");
            return Err(Trouble::Credential(why.clone()));
        }
        match self.make().await {
            Ok((client, until)) => {
                state.count += 1;
                let number = state.count;
                let made = Made {
                    client,
                    until,
                    number,
                };
                state.failed = None;
                state.made = Some(made.clone());
                Ok(made)
            }
            Err(why) => {
                state.failed = Some((why.clone(), Instant::now()));
                Err(Trouble::Credential(why))
            }
        }
    }

    /// A client with a credential that was just read, and until when it holds.
    async fn make(&self) -> Result<(Client, Instant), String> {
        let (config, until) = self.config().await?;
        let builder =
            ClientBuilder::try_from(config).map_err(|error| super::answer::chain(&error))?;
        Ok((builder.build(), until))
    }

    /// Has credentials read anew: the server refuses this one.
    async fn refused(&self, number: u64) {
        let mut state = self.made.lock().await;
        state.made.take_if(|made| made.number == number);
    }

    /// How to connect, with a credential that was just read, and until when it holds.
    async fn config(&self) -> Result<(kube::Config, Instant), String> {
        let mut config = self.read().await?;
        let mut until = Instant::now() + LONGEST;
        if let Some(exec) = config.auth_info.exec.take() {
            let credential = credential::ask(&exec).await?;
            if let Some(lasts) = credential.lasts {
                until = Instant::now() + lasts.saturating_sub(EARLY).max(REST);
            }
            credential.put(&mut config.auth_info);
        }
        if let Some(provider) = &config.auth_info.auth_provider {
            return Err(format!(
                "its user has `auth-provider: {}`, which Kubernetes removed: name a credential plugin under `exec`",
                provider.name
            ));
        }
        config.connect_timeout = Some(self.access.timeout.min(CONNECT_TIMEOUT));
        // The door keeps the deadlines of requests and answers.
        config.read_timeout = None;
        config.write_timeout = Some(self.access.timeout);
        // Whether and when something is tried again is decided by who asked.
        config.default_retry = false;
        Ok((config, until))
    }

    async fn read(&self) -> Result<kube::Config, String> {
        let Target::Context {
            context,
            kubeconfig,
        } = &self.access.target
        else {
            return kube::Config::incluster().map_err(|error| {
                format!(
                    "this process is not inside a cluster: {}",
                    super::answer::chain(&error)
                )
            });
        };
        let file = match kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        let file = file.map_err(|error| super::answer::chain(&error))?;
        if !file.contexts.iter().any(|named| named.name == *context) {
            let names: Vec<_> = file.contexts.iter().map(|it| it.name.as_str()).collect();
            return Err(format!(
                "the kubeconfig has no context `{context}`: it has {}",
                names.join(", ")
            ));
        }
        let options = KubeConfigOptions {
            context: Some(context.clone()),
            ..KubeConfigOptions::default()
        };
        let proxy = named_proxy(&file, context);
        let mut config = kube::Config::from_custom_kubeconfig(file, &options)
            .await
            .map_err(|error| super::answer::chain(&error))?;
        remember(&config.auth_info);
        config.proxy_url = match proxy {
            Some(proxy) => Some(
                proxy
                    .parse()
                    .map_err(|_| "its proxy-url is no address: write http://host:port")?,
            ),
            None => self.proxy(&config.cluster_url)?,
        };
        Ok(config)
    }

    /// The proxy where the kubeconfig names none.
    fn proxy(&self, server: &http::Uri) -> Result<Option<http::Uri>, String> {
        let proxy = crate::http::proxy_towards(self.access.proxy.as_ref(), server);
        let parse = |proxy: String| {
            proxy.parse().map_err(|_| {
                "the proxy's address cannot be used: write http://host:port".to_owned()
            })
        };
        proxy.map(parse).transpose()
    }
}

/// What a server may repeat of it is not told.
fn remember(user: &AuthInfo) {
    let stated = serde_json::to_value(user).unwrap_or_default();
    for key in ["token", "password", "client-key-data"] {
        if let Some(text) = stated[key].as_str() {
            secret::remember(text);
        }
    }
}

/// What the context's cluster says of a proxy.
fn named_proxy(file: &Kubeconfig, context: &str) -> Option<String> {
    let context = file.contexts.iter().find(|it| it.name == context)?;
    let cluster = &context.context.as_ref()?.cluster;
    let cluster = file.clusters.iter().find(|it| it.name == *cluster)?;
    let proxy = cluster.cluster.as_ref()?.proxy_url.clone();
    proxy.filter(|proxy| !proxy.is_empty())
}
