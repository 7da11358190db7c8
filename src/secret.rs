//! Text that must not be shown: where it is read, what is signed with it, and what servers repeat of it.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::{PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio::io::AsyncReadExt as _;
use url::form_urlencoded;

use crate::model::Credential;
use crate::shown::on_one_line;

/// What a secret's file may hold, in bytes.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// A password or token. Neither `Debug` nor `Display` shows it; it is read with [`Secret::expose`] where
/// it is sent, and nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the text in, and remembers it for [`words`].
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        remember(text.trim());
        Self(text)
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

/// Secrets of these lengths are looked for: shorter ones stand in words by chance, longer ones are files.
const LOOKED_FOR: RangeInclusive<usize> = 12..=4096;

/// So many are looked for, the newest: tokens are had anew every hour.
const REMEMBERED: usize = 200;

/// What this process was given as secrets, in the forms in which it may be repeated.
static REPEATED: RwLock<VecDeque<Forms>> = RwLock::new(VecDeque::new());

/// The secret as it is, in base64 wherever it begins within a text, and in an address.
#[derive(PartialEq, Eq)]
struct Forms(Vec<String>);

impl Forms {
    fn of(secret: &str) -> Self {
        let mut forms = vec![secret.to_owned()];
        forms.push(form_urlencoded::byte_serialize(secret.as_bytes()).collect());
        for before in 0..3 {
            let bytes = [&vec![0; before], secret.as_bytes()].concat();
            // Digits that say something of what stands in front of it, or behind, are not its own.
            let own = (before * 8).div_ceil(6)..bytes.len() * 8 / 6;
            forms.push(STANDARD_NO_PAD.encode(&bytes)[own.clone()].to_owned());
            forms.push(URL_SAFE_NO_PAD.encode(&bytes)[own].to_owned());
        }
        forms.retain(|form| form.len() >= *LOOKED_FOR.start());
        Self(forms)
    }
}

/// Remembers for [`without`] what is a secret and held elsewhere; twice is as good as once.
pub fn remember(secret: &str) {
    if !LOOKED_FOR.contains(&secret.len()) || secret.contains('\n') {
        return;
    }
    let forms = Forms::of(secret);
    let mut all = REPEATED.write().unwrap_or_else(PoisonError::into_inner);
    if !all.contains(&forms) {
        if all.len() >= REMEMBERED {
            all.pop_front();
        }
        all.push_back(forms);
    }
}

/// What a server said, without the secrets of this process: a server may repeat what it was sent.
pub fn without(said: &str) -> Cow<'_, str> {
    let all = REPEATED.read().unwrap_or_else(PoisonError::into_inner);
    let forms = all.iter().flat_map(|forms| &forms.0);
    forms.fold(Cow::Borrowed(said), |said, form| {
        match said.contains(form.as_str()) {
            true => Cow::Owned(said.replace(form.as_str(), "…")),
            false => said,
        }
    })
}

/// The same on one line of at most `longest` bytes, fit to stand in front of a person.
pub fn words(said: &str, longest: usize) -> String {
    on_one_line(&without(said), longest)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_repeats_of_a_secret_is_left_out() {
        let token = "repeated-5ecret+/=?1Zz";
        assert_eq!(without(token), token, "before it is known");
        drop(Secret::new(format!("{token}\n")));
        let pair = STANDARD_NO_PAD.encode(format!("towpath:{token}"));
        for (said, left) in [
            (format!("you sent {token}!"), "you sent …!"),
            ("repeated-5ecret%2B%2F%3D%3F1Zz".to_owned(), "…"),
            ("nothing of it".to_owned(), "nothing of it"),
        ] {
            assert_eq!(without(&said), left);
        }
        let repeated = without(&format!("Basic {pair}=")).into_owned();
        assert!(
            repeated.starts_with("Basic ") && repeated.len() < 24,
            "{repeated}"
        );
        drop(Secret::new("short"));
        assert_eq!(without("short"), "short", "it may stand there by chance");
    }
}
