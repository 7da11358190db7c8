//! The secrets that senders are known by: where they are, and whether a delivery shows one.
//!
//! Every comparison takes the same time whatever was sent ([RFC 2104](https://www.rfc-editor.org/rfc/rfc2104),
//! with SHA-256), and every secret is tried, so that an answer's delay tells nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::Mac as _;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use tokio::time::Instant;

use crate::model::{Admission, Credential, Proof, Sender, Webhooks};
use crate::secret::{self, Secret, code};

/// How long secrets are used before they are read again.
const FRESH: Duration = Duration::from_secs(5);

/// The secrets of the senders that are listened to.
#[derive(Debug, Default)]
pub struct Keys {
    senders: BTreeMap<Sender, Lock>,
}

#[derive(Debug)]
enum Lock {
    Open,
    Secrets(Secrets),
}

#[derive(Debug)]
struct Secrets {
    names: Vec<Credential>,
    read: Mutex<Option<(Instant, Arc<[Secret]>)>>,
}

/// A secret that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the webhooks of `{sender}` cannot be checked: {why}")]
pub struct NoSecret {
    /// Whose.
    pub sender: Sender,
    /// What is the matter with which secret.
    pub why: String,
}

/// What a delivery is, by what it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// It may be believed to be its sender's.
    Good,
    /// It shows nothing.
    Nothing,
    /// It shows what no secret makes.
    Wrong,
}

impl Keys {
    /// The keys of these senders. Nothing is read yet.
    pub fn new(webhooks: &Webhooks) -> Self {
        let lock = |admission: &Admission| match admission {
            Admission::Unauthenticated => Lock::Open,
            Admission::Secrets(names) => Lock::Secrets(Secrets {
                names: names.clone(),
                read: Mutex::default(),
            }),
        };
        let senders = webhooks.iter().map(|(sender, it)| (*sender, lock(it)));
        Self {
            senders: senders.collect(),
        }
    }

    /// The senders that are listened to.
    pub fn senders(&self) -> impl Iterator<Item = Sender> + '_ {
        self.senders.keys().copied()
    }

    /// Whether this one is.
    pub(super) fn listen_to(&self, sender: Sender) -> bool {
        self.senders.contains_key(&sender)
    }

    /// Reads every secret.
    ///
    /// # Errors
    /// Names the first that cannot be had.
    pub async fn read(&self) -> Result<(), NoSecret> {
        for (sender, lock) in &self.senders {
            if let Lock::Secrets(secrets) = lock {
                secrets.now(*sender).await?;
            }
        }
        Ok(())
    }

    /// What a delivery shows, in its headers or in its address.
    ///
    /// # Errors
    /// Where no secret can be had to check it with.
    pub(super) async fn check(
        &self,
        sender: Sender,
        headers: &HeaderMap,
        address: Option<&str>,
        body: &[u8],
    ) -> Result<Shown, NoSecret> {
        let secrets = match self.senders.get(&sender) {
            Some(Lock::Open) => return Ok(Shown::Good),
            Some(Lock::Secrets(secrets)) => secrets.now(sender).await?,
            None => return Ok(Shown::Wrong),
        };
        Ok(match sender.proof() {
            Proof::Signature(names) => {
                let mut values = names.iter().filter_map(|name| headers.get(*name));
                match values.next() {
                    None => Shown::Nothing,
                    Some(value) => {
                        let signature = hexadecimal(value.as_bytes());
                        any(&secrets, |secret| {
                            let Some(signature) = signature else {
                                return false;
                            };
                            code(secret, body).is_some_and(|it| it.verify_slice(&signature).is_ok())
                        })
                    }
                }
            }
            Proof::Header => match headers.get(AUTHORIZATION) {
                None => Shown::Nothing,
                Some(value) => {
                    let shown = words(value.as_bytes());
                    any(&secrets, |secret| {
                        let matched = shown.iter().map(|word| is(secret, word));
                        matched.fold(false, |any, it| any | it)
                    })
                }
            },
            Proof::Address => match address {
                None => Shown::Nothing,
                Some(address) => any(&secrets, |secret| is(secret, address.as_bytes())),
            },
        })
    }
}

impl Secrets {
    /// The secrets as they are now, or were a moment ago.
    async fn now(&self, sender: Sender) -> Result<Arc<[Secret]>, NoSecret> {
        let now = Instant::now();
        {
            let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((at, secrets)) = &*read
                && now.duration_since(*at) < FRESH
            {
                return Ok(secrets.clone());
            }
        }
        let mut secrets = Vec::with_capacity(self.names.len());
        for name in &self.names {
            let secret = secret::named(name).await;
            secrets.push(secret.map_err(|why| NoSecret { sender, why })?);
        }
        let secrets: Arc<[Secret]> = secrets.into();
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        *read = Some((now, secrets.clone()));
        Ok(secrets)
    }
}

/// Tries all of them, also behind one that fits.
fn any(secrets: &[Secret], fits: impl Fn(&Secret) -> bool) -> Shown {
    match secrets.iter().fold(false, |any, it| any | fits(it)) {
        true => Shown::Good,
        false => Shown::Wrong,
    }
}

/// Whether a text is the secret: their codes are compared, which have one length.
fn is(secret: &Secret, text: &[u8]) -> bool {
    let (shown, own) = (code(secret, text), code(secret, secret.expose().as_bytes()));
    let own = own.map(|own| own.finalize().into_bytes());
    shown
        .zip(own)
        .is_some_and(|(shown, own)| shown.verify_slice(&own).is_ok())
}

/// What may be the secret in the value of an `Authorization` header: all of it, what stands behind
/// `Bearer` ([RFC 6750](https://www.rfc-editor.org/rfc/rfc6750)), the password of `Basic`
/// ([RFC 7617](https://www.rfc-editor.org/rfc/rfc7617)).
fn words(value: &[u8]) -> Vec<Vec<u8>> {
    let mut words = vec![value.to_vec()];
    let Ok(text) = std::str::from_utf8(value) else {
        return words;
    };
    let Some((scheme, rest)) = text.split_once(' ') else {
        return words;
    };
    if scheme.eq_ignore_ascii_case("bearer") {
        words.push(rest.trim().into());
    } else if scheme.eq_ignore_ascii_case("basic")
        && let Ok(pair) = BASE64_STANDARD.decode(rest.trim())
        && let Some(colon) = pair.iter().position(|byte| *byte == b':')
    {
        words.push(pair[colon + 1..].to_vec());
    }
    words
}

/// The 32 bytes of a signature: 64 digits, behind `sha256=` or alone.
fn hexadecimal(value: &[u8]) -> Option<[u8; 32]> {
    let digits = value.strip_prefix(b"sha256=").unwrap_or(value);
    let mut bytes = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        let [high, low] = pair else { return None };
        let digit = |digit: &u8| char::from(*digit).to_digit(16);
        *byte = u8::try_from(digit(high)? * 16 + digit(low)?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::signature;

    /// GitHub's own example
    /// ([testing the webhook payload validation](https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries)).
    #[test]
    fn signatures_are_github_s() {
        let secret = Secret::new("It's a Secret to Everybody");
        let signed = signature(&secret, b"Hello, World!");
        let told = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(signed, told);
        let code = code(&secret, b"Hello, World!").unwrap();
        let shown = hexadecimal(format!("sha256={told}").as_bytes()).unwrap();
        assert!(code.verify_slice(&shown).is_ok());
    }

    #[test]
    fn what_is_no_signature_is_none() {
        let digits = "0".repeat(64);
        for text in [
            "",
            "sha256=",
            "sha1=00",
            &digits[1..],
            &format!("{digits}0"),
        ] {
            assert_eq!(hexadecimal(text.as_bytes()), None, "{text}");
        }
        assert_eq!(hexadecimal("g".repeat(64).as_bytes()), None);
        assert!(hexadecimal(digits.to_uppercase().as_bytes()).is_some());
    }

    #[test]
    fn a_secret_in_a_header_stands_alone_or_behind_its_scheme() {
        let secret = Secret::new("hunter2");
        let basic = BASE64_STANDARD.encode("towpath:hunter2");
        for (value, fits) in [
            ("hunter2".to_owned(), true),
            ("Bearer hunter2".to_owned(), true),
            ("bearer  hunter2".to_owned(), true),
            (format!("Basic {basic}"), true),
            ("Basic hunter2".to_owned(), false),
            ("Bearer hunter".to_owned(), false),
            ("hunter22".to_owned(), false),
            (String::new(), false),
        ] {
            let found = words(value.as_bytes()).iter().any(|word| is(&secret, word));
            assert_eq!(found, fits, "{value}");
        }
    }
}
