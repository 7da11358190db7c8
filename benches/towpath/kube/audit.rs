//! What one user asked of a plane and when it was answered, read on and on from its audit log.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use anyhow::Result;
use jiff::Timestamp;
use serde::Deserialize;

use super::plane::User;

/// The log, from where it was read last.
pub(super) struct Log {
    path: PathBuf,
    user: User,
    read: u64,
}

/// A request that was answered.
#[derive(Debug, Clone)]
pub(super) struct Answered {
    /// When the answer was there.
    pub(super) at: Timestamp,
    /// As in roles: `get`, `list`, `watch`, `patch`, `delete`.
    pub(super) verb: String,
    /// Whether it only asked what would be.
    pub(super) dry_run: bool,
    /// The object's namespace and name.
    pub(super) object: (String, String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    user: Name,
    stage_timestamp: Timestamp,
    #[serde(default)]
    object_ref: Object,
    #[serde(default)]
    response_status: Status,
}

#[derive(Deserialize)]
struct Name {
    username: String,
}

#[derive(Deserialize, Default)]
struct Object {
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
}

#[derive(Deserialize, Default)]
struct Status {
    #[serde(default)]
    code: u16,
}

/// How many requests there were of each sort. Watches are counted when they begin.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Count {
    /// All of them.
    pub(super) all: usize,
    /// Dry runs.
    pub(super) judged: usize,
    /// Those that write.
    pub(super) wrote: usize,
}

impl Log {
    pub(super) fn new(path: PathBuf, user: User) -> Self {
        Self {
            path,
            user,
            read: 0,
        }
    }

    /// What the user asked since the last time: what succeeded in changing or judging something, and the
    /// number of all requests that came in.
    pub(super) fn news(&mut self) -> Result<(Vec<Answered>, Count)> {
        let mut file = std::fs::File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.read))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        // The last line may still be written.
        let whole = text.iter().rposition(|byte| *byte == b'\n');
        text.truncate(whole.map_or(0, |end| end + 1));
        self.read += text.len() as u64;
        let (mut answered, mut count) = (Vec::new(), Count::default());
        for line in text.split(|byte| *byte == b'\n') {
            if line.is_empty() {
                continue;
            }
            let event: Event = serde_json::from_slice(line)?;
            if event.user.username != self.user.name {
                continue;
            }
            let dry_run = event.request_uri.contains("dryRun=All");
            let reads = matches!(event.verb.as_str(), "get" | "list" | "watch");
            if event.stage == "RequestReceived" {
                count.all += 1;
                count.judged += usize::from(dry_run);
                count.wrote += usize::from(!dry_run && !reads);
            } else if !reads && (200..300).contains(&event.response_status.code) {
                answered.push(Answered {
                    at: event.stage_timestamp,
                    verb: event.verb,
                    dry_run,
                    object: (event.object_ref.namespace, event.object_ref.name),
                });
            }
        }
        Ok((answered, count))
    }
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.all += other.all;
        self.judged += other.judged;
        self.wrote += other.wrote;
    }
}
