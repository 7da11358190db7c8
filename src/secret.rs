//! Text that must not be shown: where it is read, and what is signed with it.

use std::fmt;
use std::path::Path;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio::io::AsyncReadExt as _;

use crate::model::Credential;

/// What a secret's file may hold, in bytes.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// A password or token. Neither `Debug` nor `Display` shows it; it is read with [`Secret::expose`] where
/// it is sent, and nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the text in.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The secret of this name, as it is now, without the white space around it.
///
/// # Errors
/// Where it was looked for, and why it is not there.
pub async fn named(name: &Credential) -> Result<Secret, String> {
    let (text, place) = match name {
        Credential::Default => return Err("no secret is named".to_owned()),
        Credential::Environment { variable, .. } => {
            let text = std::env::var(variable)
                .map_err(|_| format!("environment variable {variable} is not set"))?;
            (text, format!("environment variable {variable}"))
        }
        Credential::File { path, .. } => (file(path).await?, format!("file {}", path.display())),
    };
    match text.trim() {
        "" => Err(format!("{place} is empty")),
        secret => Ok(Secret::new(secret)),
    }
}

async fn file(path: &Path) -> Result<String, String> {
    let told = |error: std::io::Error| format!("file {}: {error}", path.display());
    let file = tokio::fs::File::open(path).await.map_err(told)?;
    let mut text = String::new();
    let mut file = file.take(SECRET_BYTES_MAX + 1);
    file.read_to_string(&mut text).await.map_err(told)?;
    match text.len() as u64 > SECRET_BYTES_MAX {
        true => Err(format!("file {} is too large for a secret", path.display())),
        false => Ok(text),
    }
}

/// The authentication code of a text, with this secret as the key
/// ([RFC 2104](https://www.rfc-editor.org/rfc/rfc2104), with SHA-256).
pub(crate) fn code(secret: &Secret, text: &[u8]) -> Option<Hmac<Sha256>> {
    // A key may have any length.
    let mut code = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).ok()?;
    code.update(text);
    Some(code)
}

/// What whoever signs a body with this secret puts into a header: lower-case hexadecimal without a prefix.
pub fn signature(secret: &Secret, body: &[u8]) -> String {
    let code = code(secret, body).map(|code| code.finalize().into_bytes());
    let bytes = code.into_iter().flatten();
    bytes.map(|byte| format!("{byte:02x}")).collect()
}
