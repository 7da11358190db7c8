//! Who runs the command: stands in the records that it writes.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::process::Command;

use crate::git::Signer;
use crate::model::{Author, Credential, PublicKey, SigningKey};

/// How long `git config` may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How people sign.
pub(super) const SIGNING: &str =
    "`git config --global gpg.format ssh`, `git config --global user.signingkey ~/.ssh/id_ed25519`";

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
    if let Some(email) = configured(&["user.email"]).await {
        return Ok(email);
    }
    for variable in ["EMAIL", "USER", "LOGNAME"] {
        if let Some(name) = variable_of(variable) {
            return Ok(name);
        }
    }
    bail!("nobody is known who says this: run `git config --global user.email YOU@EXAMPLE.COM`")
}

/// The person's git identity, for commits of their own: as git would commit, else the name before the address.
///
/// # Errors
/// As [`whoever_asks`].
pub(super) async fn identity() -> Result<Author> {
    let email = whoever_asks().await?;
    let mut name = ["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"]
        .into_iter()
        .find_map(variable_of);
    if name.is_none() {
        name = configured(&["user.name"]).await;
    }
    let before = || email.split('@').next().unwrap_or_default().to_owned();
    let name = name.unwrap_or_else(before);
    Ok(Author { name, email })
}

fn variable_of(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|it| !it.trim().is_empty())
}

/// Who signs for this person, and with which key, as git does: `gpg.format` and `user.signingkey`. Nobody, where git
/// signs with no SSH key.
///
/// # Errors
/// The key is written into git's configuration itself, where `ssh-keygen` finds no file; or it cannot sign.
pub(super) async fn signer() -> Result<(Option<Arc<Signer>>, Option<PublicKey>)> {
    if configured(&["gpg.format"]).await.as_deref() != Some("ssh") {
        return Ok((None, None));
    }
    // As a path: git itself knows what `~` stands for.
    let Some(key) = configured(&["--type=path", "user.signingkey"]).await else {
        return Ok((None, None));
    };
    if key.starts_with("key::") || key.starts_with("ssh-") {
        bail!("git's user.signingkey holds the key itself: name its file there, {SIGNING}");
    }
    let path = key.into();
    let key = Credential::File { path, user: None };
    let signer = Signer::new(SigningKey::Ssh(key));
    let key = signer.public_key().await?;
    Ok((Some(Arc::new(signer)), Some(key)))
}

/// What git says, where there is one.
async fn configured(what: &[&str]) -> Option<String> {
    let git = Command::new("git")
        .args(["config", "--get"])
        .args(what)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(TIMEOUT, git).await.ok()?.ok()?;
    let value = String::from_utf8(output.stdout).ok()?;
    let value = value.trim();
    (output.status.success() && !value.is_empty()).then(|| value.to_owned())
}
