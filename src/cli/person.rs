//! Who runs the command: stands in the records that it writes.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::process::Command;

/// How long `git config` may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The person's git identity: the address git would commit with, or the user's name on this machine.
///
/// # Errors
/// Where none is to be found.
pub(super) async fn whoever_asks() -> Result<String> {
    for variable in ["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"] {
        if let Some(email) = variable_of(variable) {
            return Ok(email);
        }
    }
    if let Some(email) = configured().await {
        return Ok(email);
    }
    for variable in ["EMAIL", "USER", "LOGNAME"] {
        if let Some(name) = variable_of(variable) {
            return Ok(name);
        }
    }
    bail!("nobody is known who says this: run `git config --global user.email YOU@EXAMPLE.COM`")
}

fn variable_of(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|it| !it.trim().is_empty())
}

/// What git says, where there is one.
async fn configured() -> Option<String> {
    let git = Command::new("git")
        .args(["config", "--get", "user.email"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(TIMEOUT, git).await.ok()?.ok()?;
    let email = String::from_utf8(output.stdout).ok()?;
    let email = email.trim();
    (output.status.success() && !email.is_empty()).then(|| email.to_owned())
}
