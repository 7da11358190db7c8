//! Docker's [credential helpers](https://github.com/docker/docker-credential-helpers#development):
//! `docker-credential-NAME get`, the registry on its input, JSON on its output.

use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;

use super::credential::Login;
use super::error::Said;
use super::settings::Environment;
use crate::child;
use crate::secret::Secret;

/// Helpers of clouds ask a metadata server or refresh a login, which takes seconds.
const DEADLINE: Duration = Duration::from_secs(30);

/// A token is a few KiB.
const LARGEST_ANSWER: u64 = 1 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks the helper. `None` where it knows no credential for the registry; an error text otherwise,
/// which never repeats what the helper printed on success.
pub(super) async fn get(
    name: &str,
    registry: &str,
    environment: &Environment,
) -> Result<Option<Login>, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || !name.bytes().all(plain) {
        return Err("a helper's name has letters, digits, `.`, `_` and `-` alone".to_owned());
    }
    match tokio::time::timeout(DEADLINE, ask(name, registry, environment)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", DEADLINE.as_secs())),
    }
}

async fn ask(
    name: &str,
    registry: &str,
    environment: &Environment,
) -> Result<Option<Login>, String> {
    let mut command = Command::new(format!("docker-credential-{name}"));
    if let Some(path) = environment.get("PATH") {
        command.env("PATH", path);
    }
    command.arg("get");
    let said = child::ask(command, registry.as_bytes(), LARGEST_ANSWER).await;
    let child::Said { status, output, .. } = said.map_err(|error| error.to_string())?;
    if !status.success() {
        let said = String::from_utf8_lossy(&output);
        // The one message that the helpers' protocol fixes.
        return match said.contains("credentials not found in native keychain") {
            true => Ok(None),
            false => Err(format!("it failed with {status}{}", Said::new(&said))),
        };
    }
    let answer: Answer = serde_json::from_slice(&output)
        .map_err(|_| "its answer is not JSON with Username and Secret".to_owned())?;
    let secret = Secret::new(answer.secret);
    Ok(Some(match answer.username.as_str() {
        "<token>" => Login::Identity(secret),
        _ => Login::Password {
            user: answer.username,
            password: secret,
        },
    }))
}
