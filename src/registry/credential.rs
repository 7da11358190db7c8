//! Finding the credential that the settings name.
//!
//! Owns reading variables, files, docker's configuration and its helpers. Never keeps a credential:
//! who asks gets it as it is now.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokio::io::AsyncReadExt as _;

use super::helper;
use super::settings::{CredentialSource, Environment};
use crate::secret::Secret;

/// A configuration of a thousand registries is far smaller.
const LARGEST_FILE: u64 = 1 << 20;

/// What is sent, and where it came from.
#[derive(Debug, Clone)]
pub(super) struct Credential {
    pub(super) login: Login,
    /// For error texts: never the credential itself.
    pub(super) origin: String,
}

/// The forms a credential has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Login {
    Anonymous,
    Password {
        user: String,
        password: Secret,
    },
    /// Sent as it is.
    Bearer(Secret),
    /// Exchanged for a token at the registry's token server (docker calls it an identity token).
    Identity(Secret),
}

/// Why a credential could not be read.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) origin: String,
    pub(super) reason: String,
}

/// Reads the credential for a registry, given as image names write it.
pub(super) async fn find(
    source: &CredentialSource,
    host: &str,
    environment: &Environment,
) -> Result<Credential, Unreadable> {
    let origin = source.to_string();
    let unreadable = |reason| Unreadable {
        origin: origin.clone(),
        reason,
    };
    let variable = |name: &str| {
        environment
            .get(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| unreadable(format!("{name} is not set: set it, or name another source")))
    };
    let login = match source {
        CredentialSource::Anonymous => Login::Anonymous,
        CredentialSource::Variable {
            variable: name,
            user,
        } => line(&variable(name)?, user.as_deref()).ok_or_else(|| unreadable(EMPTY.to_owned()))?,
        CredentialSource::File { path, user } => {
            line(&read(path).await.map_err(unreadable)?, user.as_deref())
                .ok_or_else(|| unreadable(EMPTY.to_owned()))?
        }
        CredentialSource::DockerConfig { path } => {
            return docker(path.as_deref(), host, environment).await;
        }
    };
    Ok(Credential { login, origin })
}

const EMPTY: &str = "it is empty: write one line, user:password";

/// The password of a user that is named; else `user:password`, or a token.
fn line(text: &str, user: Option<&str>) -> Option<Login> {
    let line = text.trim();
    match (user, line.split_once(':')) {
        _ if line.is_empty() => None,
        (Some(user), _) => Some(Login::Password {
            user: user.to_owned(),
            password: Secret::new(line),
        }),
        (None, Some((user, password))) => Some(Login::Password {
            user: user.to_owned(),
            password: Secret::new(password),
        }),
        (None, None) => Some(Login::Bearer(Secret::new(line))),
    }
}

async fn read(path: &Path) -> Result<String, String> {
    let file = tokio::fs::File::open(path)
        .await
        .map_err(|error| error.to_string())?;
    let mut text = String::new();
    file.take(LARGEST_FILE + 1)
        .read_to_string(&mut text)
        .await
        .map_err(|error| error.to_string())?;
    match text.len() as u64 > LARGEST_FILE {
        true => Err("it has more than 1 MiB: is this the right file?".to_owned()),
        false => Ok(text),
    }
}

/// The parts of [docker's configuration](https://docs.docker.com/reference/cli/docker/login/#credential-stores)
/// that say where credentials are.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct DockerConfig {
    pub(super) auths: std::collections::BTreeMap<String, Auth>,
    cred_helpers: std::collections::BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Auth {
    /// Base64 of `user:password`.
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

async fn docker(
    named: Option<&Path>,
    host: &str,
    environment: &Environment,
) -> Result<Credential, Unreadable> {
    let Some(path) = named
        .map(Path::to_owned)
        .or_else(|| default_path(environment))
    else {
        return Ok(anonymous(
            "no credential (neither DOCKER_CONFIG nor HOME is set)".to_owned(),
        ));
    };
    if named.is_none() && !tokio::fs::try_exists(&path).await.unwrap_or(true) {
        return Ok(anonymous(format!(
            "no credential ({} does not exist)",
            path.display()
        )));
    }
    let origin = format!("the docker configuration {}", path.display());
    let unreadable = |reason| Unreadable {
        origin: origin.clone(),
        reason,
    };
    let text = read(&path).await.map_err(unreadable)?;
    // serde's own text could repeat a value, and the values are passwords.
    let config: DockerConfig = serde_json::from_str(&text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        unreadable(format!("line {line}, column {column} is not as expected"))
    })?;

    let key = if host == "docker.io" {
        "https://index.docker.io/v1/"
    } else {
        host
    };
    let helpers = [config.cred_helpers.get(key), config.creds_store.as_ref()];
    for name in helpers.into_iter().flatten() {
        let origin = format!("docker-credential-{name} (named in {})", path.display());
        let login = helper::get(name, key, environment).await;
        match login.map_err(|reason| Unreadable {
            origin: origin.clone(),
            reason,
        })? {
            Some(login) => return Ok(Credential { login, origin }),
            None => continue,
        }
    }
    let auth = config
        .auths
        .iter()
        .find(|(name, _)| registry_of(name) == registry_of(key));
    let login = match auth {
        Some((name, auth)) => auth.login().ok_or_else(|| {
            unreadable(format!(
                "its entry for {name} is not base64 of user:password"
            ))
        })?,
        None => Login::Anonymous,
    };
    Ok(match login {
        Login::Anonymous => anonymous(format!(
            "no credential (none for {host} in {})",
            path.display()
        )),
        login => Credential { login, origin },
    })
}

fn default_path(environment: &Environment) -> Option<PathBuf> {
    let directory = environment.get("DOCKER_CONFIG").map(PathBuf::from);
    let home = || Some(PathBuf::from(environment.get("HOME")?).join(".docker"));
    Some(directory.or_else(home)?.join("config.json"))
}

fn anonymous(origin: String) -> Credential {
    Credential {
        login: Login::Anonymous,
        origin,
    }
}

/// `docker login` has written hosts as `host`, `https://host` and `https://host/v1/`.
fn registry_of(key: &str) -> &str {
    let key = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    key.split('/').next().unwrap_or(key)
}

impl Auth {
    /// An entry without any credential is what docker leaves where a helper keeps it.
    pub(super) fn login(&self) -> Option<Login> {
        fn filled(text: &Option<String>) -> Option<&String> {
            text.as_ref().filter(|text| !text.is_empty())
        }
        if let Some(token) = filled(&self.registrytoken) {
            return Some(Login::Bearer(Secret::new(token)));
        }
        if let Some(token) = filled(&self.identitytoken) {
            return Some(Login::Identity(Secret::new(token)));
        }
        if let (Some(user), Some(password)) = (filled(&self.username), filled(&self.password)) {
            return Some(Login::Password {
                user: user.clone(),
                password: Secret::new(password),
            });
        }
        let Some(auth) = filled(&self.auth) else {
            return Some(Login::Anonymous);
        };
        let text = String::from_utf8(STANDARD.decode(auth).ok()?).ok()?;
        let (user, password) = text.split_once(':')?;
        Some(Login::Password {
            user: user.to_owned(),
            // Old versions of docker padded with NUL.
            password: Secret::new(password.trim_end_matches('\0')),
        })
    }
}
