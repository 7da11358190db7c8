//! Manifests encrypted by sops: opened by its binary, kept in memory alone.
//!
//! Owns what is open, what is asked for and what could not be opened, per environment: what one
//! environment's keys open is never given to another. Whoever needs a file is told at once that it is
//! not open yet; opening goes on in the background and holds nobody up. Plain text never reaches a disk,
//! an error or a log.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use gix::ObjectId;
use jiff::Timestamp;
use tokio::process::Command;
use tokio::sync::Notify;

use crate::backoff::backoff;
use crate::child::{self, ChildError};
use crate::git::GitError;
use crate::model::Sops;
use crate::plan::Unreadable;
use crate::secret::Secret;
use crate::shown;

/// How many files are opened at once: each is a process, and most ask a key service.
const AT_ONCE: usize = 4;

/// The most plain text that is kept; beyond that all is forgotten and opened again when it is needed.
const KEPT_BYTES: usize = 64 << 20;

/// The largest plain text of one file: what a manifest file may be, and one byte more.
const LARGEST: u64 = (16 << 20) + 1;

/// How soon what could not be opened is tried again, the first time; doubled each further time.
const RETRY_MIN: Duration = Duration::from_secs(2);

/// The longest that it is left alone.
const RETRY_MAX: Duration = Duration::from_secs(300);

/// The exit code of sops where it was given no key that fits.
const NO_KEY: i32 = 128;

/// Its exit code where a file was changed after it was encrypted.
const MAC_MISMATCH: i32 = 51;

/// Variables that would give sops other age keys than the environment's own.
const AGE_VARIABLES: [&str; 4] = [
    "SOPS_AGE_KEY",
    "SOPS_AGE_KEY_CMD",
    "SOPS_AGE_SSH_PRIVATE_KEY_FILE",
    "SOPS_AGE_SSH_PRIVATE_KEY_CMD",
];

/// See the module.
#[derive(Default)]
pub(super) struct Sealed {
    state: Mutex<State>,
    asked: Notify,
}

/// An encrypted file, and who may open it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    blob: ObjectId,
    sops: Sops,
}

#[derive(Default)]
struct State {
    open: BTreeMap<Key, Arc<Secret>>,
    bytes: usize,
    failed: BTreeMap<Key, Failed>,
    /// What is asked for, with a path under which it stands.
    asked: BTreeMap<Key, String>,
    opening: BTreeSet<Key>,
}

struct Failed {
    why: String,
    since: Timestamp,
    again: Timestamp,
    count: u32,
}

impl Sealed {
    /// The plain text of a file.
    ///
    /// # Errors
    /// That it is being opened, or why it cannot be. It is asked for from here on.
    pub(super) fn open(
        &self,
        sops: &Sops,
        path: &str,
        blob: ObjectId,
        now: Timestamp,
    ) -> Result<Arc<Secret>, Unreadable> {
        let key = Key {
            blob,
            sops: sops.clone(),
        };
        let mut state = self.state();
        if let Some(open) = state.open.get(&key) {
            return Ok(open.clone());
        }
        let unreadable = match state.failed.get(&key) {
            Some(failed) => {
                let unreadable = Unreadable {
                    source: path.to_owned(),
                    why: failed.why.clone(),
                    since: failed.since,
                    retry: Some(failed.again),
                };
                if now < failed.again {
                    return Err(unreadable);
                }
                unreadable
            }
            None => Unreadable {
                source: path.to_owned(),
                why: "sops is decrypting it".to_owned(),
                since: now,
                retry: None,
            },
        };
        if !state.opening.contains(&key) {
            state.asked.insert(key, path.to_owned());
            self.asked.notify_one();
        }
        Err(unreadable)
    }

    /// Returns once something is asked for.
    pub(super) async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Whether nothing is asked for and nothing on its way.
    pub(super) fn is_idle(&self) -> bool {
        let state = self.state();
        state.asked.is_empty() && state.opening.is_empty()
    }

    /// Opens what is asked for, read by `blob`. Says whether there was anything: then what was made
    /// without it is made again.
    pub(super) async fn work(
        &self,
        blob: impl Fn(ObjectId) -> Result<Bytes, GitError>,
        now: Timestamp,
    ) -> bool {
        let asked = {
            let mut state = self.state();
            let asked = std::mem::take(&mut state.asked);
            state.opening.extend(asked.keys().cloned());
            asked
        };
        let any = !asked.is_empty();
        let open = stream::iter(asked).map(async |(key, path)| {
            let read = match blob(key.blob) {
                Ok(bytes) => decrypt(&key.sops, &path, &bytes).await,
                Err(error) => Err(error.to_string()),
            };
            (key, path, read)
        });
        let mut open = open.buffer_unordered(AT_ONCE);
        while let Some((key, path, read)) = open.next().await {
            self.state().keep(key, &path, read, now);
        }
        any
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn keep(&mut self, key: Key, path: &str, read: Result<Secret, String>, now: Timestamp) {
        self.opening.remove(&key);
        match read {
            Ok(text) => {
                let size = text.expose().len();
                if self.bytes + size > KEPT_BYTES {
                    self.open.clear();
                    self.bytes = 0;
                }
                self.bytes += size;
                self.failed.remove(&key);
                self.open.insert(key, Arc::new(text));
            }
            Err(why) => {
                tracing::warn!(path, %why, "cannot be decrypted");
                // What nobody asked for again for long is forgotten.
                let forgotten = |failed: &Failed| {
                    failed
                        .again
                        .checked_add(RETRY_MAX)
                        .is_ok_and(|end| end < now)
                };
                self.failed.retain(|_, failed| !forgotten(failed));
                let before = self.failed.get(&key);
                let count = before.map_or(0, |before| before.count);
                let wait = backoff(RETRY_MIN, count, RETRY_MAX);
                let failed = Failed {
                    why,
                    since: before.map_or(now, |before| before.since),
                    again: now.checked_add(wait).unwrap_or(now),
                    count: count.saturating_add(1),
                };
                self.failed.insert(key, failed);
            }
        }
    }
}

/// The plain text of an encrypted file.
///
/// # Errors
/// Why there is none, without a word of it.
async fn decrypt(sops: &Sops, path: &str, bytes: &[u8]) -> Result<Secret, String> {
    let name = sops.binary.file_name().unwrap_or(sops.binary.as_os_str());
    let name = name.display();
    match tokio::time::timeout(sops.timeout, run(sops, path, bytes)).await {
        Ok(answer) => answer.map_err(|why| format!("{name} {why}")),
        Err(_) => Err(format!(
            "{name} gave no answer within {} s",
            sops.timeout.as_secs()
        )),
    }
}

async fn run(sops: &Sops, path: &str, bytes: &[u8]) -> Result<Secret, String> {
    let form = match path.ends_with(".json") {
        true => "json",
        false => "yaml",
    };
    let mut command = Command::new(&sops.binary);
    command.args(["--decrypt", "--input-type", form, "--output-type", form]);
    // Every version of sops reads a file; newer ones also read what is piped in without its name.
    command.arg("/dev/stdin");
    if let Some(file) = &sops.age_key_file {
        for variable in AGE_VARIABLES {
            command.env_remove(variable);
        }
        command.env("SOPS_AGE_KEY_FILE", file);
    }
    let said = child::ask(command, bytes, LARGEST).await;
    let said = said.map_err(|error| match error {
        error if error.is_missing() => {
            "is not there: install it, or correct `sops.binary`".to_owned()
        }
        ChildError::Start(error) => format!("cannot be started: {error}"),
        ChildError::Read(error) | ChildError::End(error) => format!("cannot be read: {error}"),
    })?;
    if said.output.len() as u64 == LARGEST {
        return Err("gives more than a manifest file may hold".to_owned());
    }
    match said.status.code() {
        Some(0) => String::from_utf8(said.output)
            .map(Secret::new)
            .map_err(|_| "gives something else than UTF-8".to_owned()),
        // Whoever has no key knows nothing that must not be told.
        Some(NO_KEY) => Err(format!("has no key for it: {}", one_line(&said.complaints))),
        Some(MAC_MISMATCH) => {
            Err("says that it was changed after it was encrypted: encrypt it again".to_owned())
        }
        Some(code) => Err(format!(
            "cannot decrypt it (exit code {code}; what it says is not shown, it may be secret)"
        )),
        None => Err(format!("was ended: {}", said.status)),
    }
}

fn one_line(said: &[u8]) -> String {
    const LONGEST: usize = 360;
    let said = String::from_utf8_lossy(said);
    let shown = shown::on_one_line(&said, LONGEST);
    match shown.is_empty() {
        true => "it says nothing".to_owned(),
        false => shown,
    }
}
