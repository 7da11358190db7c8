//! Docker's [credential helpers](https://github.com/docker/docker-credential-helpers#development):
//! `docker-credential-NAME get`, the registry on its input, JSON on its output.

use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::credential::Login;
use super::error::Said;
use super::settings::Environment;
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
    let mut helper = command
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("it cannot be started: {error}"))?;
    if let Some(mut input) = helper.stdin.take() {
        // A helper that does not read its input closes it early; its answer is judged all the same.
        let _unread = input.write_all(registry.as_bytes()).await;
    }
    let mut output = Vec::new();
    if let Some(stream) = helper.stdout.take() {
        stream
            .take(LARGEST_ANSWER)
            .read_to_end(&mut output)
            .await
            .map_err(|error| format!("its answer cannot be read: {error}"))?;
    }
    let status = helper
        .wait()
        .await
        .map_err(|error| format!("its end cannot be seen: {error}"))?;
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
