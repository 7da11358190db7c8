//! What may be said about registries.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::http::Meter;

/// How registries are reached. A registry that is not named here gets [`HostSettings::default`].
#[derive(Debug, Clone)]
pub struct RegistrySettings {
    /// By host, with its port where it has one, as image names write it (`docker.io`,
    /// `127.0.0.1:5000`).
    pub hosts: BTreeMap<String, HostSettings>,
    /// Where environment variables are read.
    pub environment: Environment,
    /// How long one question may take in all, however steadily the answer drips in.
    pub deadline: Duration,
    /// Counts what is asked.
    pub meter: Meter,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            hosts: BTreeMap::new(),
            environment: Environment::default(),
            deadline: Duration::from_secs(300),
            meter: Meter::default(),
        }
    }
}

/// How one registry is reached.
#[derive(Debug, Clone)]
pub struct HostSettings {
    /// Where its credential is found.
    pub credential: CredentialSource,
    /// Whether it speaks plain http. Without an answer only this machine's own addresses
    /// (127.0.0.0/8, `::1`, `localhost`) do; every other registry is asked over https alone.
    pub plain_http: Option<bool>,
    /// Who is asked in its place, such as a pull-through cache; its credential is the one above.
    pub mirror: Option<Url>,
    /// How many requests may be under way at once, at least 1.
    pub concurrency: usize,
}

impl Default for HostSettings {
    fn default() -> Self {
        Self {
            credential: CredentialSource::default(),
            plain_http: None,
            mirror: None,
            concurrency: 8,
        }
    }
}

/// Where a credential is found: always a name, never the credential. It is read anew whenever the
/// registry refuses the last one, so a rotated credential needs no restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// None is sent.
    Anonymous,
    /// An environment variable that holds a password or token.
    Variable {
        /// The variable.
        variable: String,
        /// The user it is the password of; without one it holds `user:password`, or a token that is
        /// sent as it is.
        user: Option<String>,
    },
    /// A file of one line that holds a password or token.
    File {
        /// Its place.
        path: PathBuf,
        /// As with a variable.
        user: Option<String>,
    },
    /// What `docker login` left: `auths`, `credHelpers` and `credsStore` of docker's configuration.
    DockerConfig {
        /// The configuration file; without it `$DOCKER_CONFIG/config.json`, else
        /// `~/.docker/config.json`, which need not exist.
        path: Option<PathBuf>,
    },
}

impl Default for CredentialSource {
    fn default() -> Self {
        Self::DockerConfig { path: None }
    }
}

impl fmt::Display for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("no credential"),
            Self::Variable { variable, .. } => write!(f, "the environment variable {variable}"),
            Self::File { path, .. } => write!(f, "the file {}", path.display()),
            Self::DockerConfig { path: Some(path) } => {
                write!(f, "the docker configuration {}", path.display())
            }
            Self::DockerConfig { path: None } => f.write_str("the docker configuration"),
        }
    }
}

/// Where environment variables are read: the process's own, unless a test hands in others.
#[derive(Clone)]
pub struct Environment(Arc<Read>);

type Read = dyn Fn(&str) -> Option<String> + Send + Sync;

impl Environment {
    /// Reads variables with this function.
    pub fn new(read: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The variable, where it is set and UTF-8.
    pub fn get(&self, variable: &str) -> Option<String> {
        (self.0)(variable)
    }
}

impl Default for Environment {
    fn default() -> Self {
        Self::new(|variable| std::env::var(variable).ok())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment(…)")
    }
}
