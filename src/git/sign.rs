//! Signs commits and tags as git does: the signature of everything else stands in a commit's header `gpgsig`, and at the
//! end of a tag (gitformat-signature(5)). Made by `ssh-keygen -Y sign -n git`
//! ([SSHSIG](https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.sshsig)) or by `gpg`.
//!
//! Owns the deadline. Never shows a key, and never asks a person for a passphrase.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gix::ObjectId;
use ssh_key::SshSig;
use tempfile::NamedTempFile;
use tokio::process::Command;

use super::object::{Kind, Object};
use super::{Draft, GitError, Repository, signed};
use crate::child;
use crate::model::{CommitId, Credential, PublicKey, SigningKey};
use crate::secret::{Secret, words};

/// Signing takes milliseconds; an agent or a smart card some seconds.
const DEADLINE: Duration = Duration::from_secs(60);

/// A signature is some hundred bytes, with a key of 16,384 bits some thousand.
const SIGNATURE_MAX: u64 = 64 << 10;

/// What a key's file may hold, in bytes.
const KEY_MAX: u64 = 64 << 10;

/// What is signed to see who signs.
const PROBE: &[u8] = b"towpath asks whose key this is\n";

/// What is shown of what a program says.
const WORDS: usize = 300;

/// Signs with one key. The key is read anew each time, so that it may be exchanged.
#[derive(Debug, Clone)]
pub struct Signer {
    key: SigningKey,
}

impl Signer {
    /// Signs with this key. Nothing is read yet.
    pub fn new(key: SigningKey) -> Self {
        Self { key }
    }

    /// The signature of these bytes, in its armour.
    ///
    /// # Errors
    /// [`GitError::Signing`]: the key cannot be read, the program is missing, refuses or takes too long.
    pub async fn sign(&self, payload: &[u8]) -> Result<String, GitError> {
        let signed = tokio::time::timeout(DEADLINE, self.signed(payload)).await;
        let late = || Err(format!("no answer within {} s", DEADLINE.as_secs()));
        signed
            .unwrap_or_else(|_| late())
            .map_err(|detail| GitError::Signing {
                key: self.name(),
                detail,
            })
    }

    /// The public half of the key: something is signed for it, and thrown away.
    ///
    /// # Errors
    /// [`GitError::Signing`] as [`Self::sign`], also where it is no SSH key that can be checked here.
    pub async fn public_key(&self) -> Result<PublicKey, GitError> {
        let key = self.listed_key().await?;
        key.ok_or_else(|| GitError::Signing {
            key: self.name(),
            detail: "it is no SSH key of a kind that `authority` can list".to_owned(),
        })
    }

    /// The same; `None` where it is of no kind that `authority` can list.
    async fn listed_key(&self) -> Result<Option<PublicKey>, GitError> {
        if let SigningKey::Gpg { .. } = self.key {
            return Ok(None);
        }
        let signature = self.sign(PROBE).await?;
        let signature = SshSig::from_pem(signature.as_bytes()).ok();
        Ok(signature.and_then(|it| signed::signed_by(&it, signed::NAMESPACE, PROBE)))
    }

    async fn signed(&self, payload: &[u8]) -> Result<String, String> {
        match &self.key {
            SigningKey::Ssh(key) => {
                let key = KeyFile::of(key).await?;
                let mut command = Command::new("ssh-keygen");
                command
                    .args(["-Y", "sign", "-n", "git", "-f"])
                    .arg(key.path());
                // Nobody is there to be asked for a passphrase.
                command
                    .env("SSH_ASKPASS", "false")
                    .env("SSH_ASKPASS_REQUIRE", "force");
                run(command, payload, "-----BEGIN SSH SIGNATURE-----").await
            }
            SigningKey::Gpg { key, home } => {
                let mut command = Command::new("gpg");
                if let Some(home) = home {
                    command.arg("--homedir").arg(home);
                }
                command.args(["--batch", "--no-tty", "--pinentry-mode", "error", "--quiet"]);
                command.args(["--detach-sign", "--armor", "--local-user", key]);
                run(command, payload, "-----BEGIN PGP SIGNATURE-----").await
            }
        }
    }

    /// What people call the key; never itself.
    fn name(&self) -> String {
        match &self.key {
            SigningKey::Ssh(Credential::Environment { variable, .. }) => {
                format!("the SSH key in environment variable {variable}")
            }
            SigningKey::Ssh(Credential::File { path, .. }) => {
                format!("the SSH key in file {}", path.display())
            }
            SigningKey::Ssh(Credential::Default) => "no SSH key".to_owned(),
            SigningKey::Gpg { key, .. } => format!("the GnuPG key {key}"),
        }
    }
}

/// A key where `ssh-keygen` can read it: it takes none that others may read, as secrets are mounted often.
enum KeyFile {
    Own(PathBuf),
    Copy(NamedTempFile),
}

impl KeyFile {
    async fn of(key: &Credential) -> Result<Self, String> {
        let text = match key {
            Credential::Default => return Err("none is named".to_owned()),
            Credential::Environment { variable, .. } => {
                let text = std::env::var(variable).map_err(|_| "it is not set".to_owned())?;
                Secret::new(text)
            }
            Credential::File { path, .. } => {
                let unreadable = |error: std::io::Error| error.to_string();
                let about = tokio::fs::metadata(path).await.map_err(unreadable)?;
                if about.len() > KEY_MAX {
                    return Err("it is too large for a key".to_owned());
                }
                if is_private(&about) {
                    return Ok(Self::Own(path.clone()));
                }
                let text = tokio::fs::read_to_string(path).await.map_err(unreadable)?;
                Secret::new(text)
            }
        };
        let copy = tokio::task::spawn_blocking(move || copy(&text)).await;
        let copy = copy.map_err(|error| error.to_string())?;
        copy.map(Self::Copy)
            .map_err(|error| format!("it cannot be handed to ssh-keygen: {error}"))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Own(path) => path,
            Self::Copy(file) => file.path(),
        }
    }
}

fn is_private(about: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    about.permissions().mode() & 0o077 == 0
}

/// A file that we alone may read, and that goes when it is dropped.
fn copy(text: &Secret) -> std::io::Result<NamedTempFile> {
    let mut file = NamedTempFile::new()?;
    file.write_all(text.expose().trim_end().as_bytes())?;
    // OpenSSH reads no key without an end of its last line.
    file.write_all(b"\n")?;
    file.flush()?;
    Ok(file)
}

async fn run(command: Command, payload: &[u8], begins: &str) -> Result<String, String> {
    let program = command
        .as_std()
        .get_program()
        .to_string_lossy()
        .into_owned();
    let said = child::ask(command, payload, SIGNATURE_MAX).await;
    let said = said.map_err(|error| match error.is_missing() {
        true => format!("there is no `{program}`: install it"),
        false => format!("`{program}`: {error}"),
    })?;
    let signature = String::from_utf8(said.output).unwrap_or_default();
    if said.status.success() && signature.starts_with(begins) {
        return Ok(signature);
    }
    let complaints = String::from_utf8_lossy(&said.complaints);
    let complaints = words(complaints.trim(), WORDS);
    Err(match complaints.is_empty() {
        true => format!("`{program}` makes no signature ({})", said.status),
        false => format!("`{program}`: {complaints}"),
    })
}

/// The commit with a signature: its lines stand in the header's end.
fn signed(commit: &Object, signature: &str) -> Option<Object> {
    let data = &commit.data;
    let end = data.windows(2).position(|two| two == b"\n\n")?;
    let signature = signature.trim_end().replace('\n', "\n ");
    let header = format!("\ngpgsig {signature}");
    let parts = [&data[..end], header.as_bytes(), &data[end..]];
    Some(Object::new(Kind::Commit, parts.concat()))
}

impl Repository {
    /// The same repository, whose new commits are signed.
    pub fn signing(self, signer: Option<Arc<Signer>>) -> Self {
        Self { signer, ..self }
    }

    /// The key that new commits are signed with, where `authority` can list it.
    ///
    /// # Errors
    /// [`GitError::Signing`].
    pub async fn own_key(&self) -> Result<Option<PublicKey>, GitError> {
        match &self.signer {
            Some(signer) => signer.listed_key().await,
            None => Ok(None),
        }
    }

    /// Signs a commit of the draft, where this repository's are signed: it has another id then.
    ///
    /// # Errors
    /// [`GitError::Signing`].
    pub async fn sign(&self, draft: &mut Draft, commit: CommitId) -> Result<CommitId, GitError> {
        let Some(signer) = &self.signer else {
            return Ok(commit);
        };
        let object = draft.object(commit.0)?;
        let signature = signer.sign(&object.data).await?;
        let signed = signed(&object, &signature).ok_or_else(|| GitError::Object {
            id: object.id,
            detail: "has no header to sign".to_owned(),
        })?;
        Ok(CommitId(draft.add(signed)))
    }

    /// Signs an annotated tag of the draft, where this repository's commits are signed: it has another id then.
    ///
    /// # Errors
    /// [`GitError::Signing`].
    pub async fn sign_tag(&self, draft: &mut Draft, tag: ObjectId) -> Result<ObjectId, GitError> {
        let Some(signer) = &self.signer else {
            return Ok(tag);
        };
        let object = draft.object(tag)?;
        let signature = signer.sign(&object.data).await?;
        let parts = [&object.data, signature.trim_end().as_bytes(), b"\n"];
        Ok(draft.add(Object::new(Kind::Tag, parts.concat())))
    }
}
