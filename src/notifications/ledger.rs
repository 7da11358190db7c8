//! What was sent, kept where the records are: one small ref per environment, which any Towpath reads and moves
//! by compare-and-swap. It is moved after something was sent, so that what it does not tell of is sent again.
//!
//! Owns the ref and its form. Never decides what is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use gix::ObjectId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::git::{CommitDraft, GitError, Push, Pushed, Reach, Repository, Signature, refusal};
use crate::model::{Author, CommitId, EnvironmentName, NotificationName};

/// The version of the form.
const VERSION: u64 = 1;

/// The file in the ref's tree.
const FILE: &str = "notified.json";

/// How often a lost race is tried again at once.
const RACES: usize = 5;

/// How far back it is looked which of two records heads is the later one.
const APART: usize = 256;

/// The ref that says what was sent of an environment.
pub fn notified_ref(environment: &EnvironmentName) -> String {
    format!("refs/towpath/notified/{environment}")
}

/// What was sent of one environment to one receiver.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Entry {
    /// All up to this head of the records; `None`: there were none yet.
    #[serde(with = "hexadecimal")]
    pub(super) records: Option<CommitId>,
    /// The keys of what was sent of what came after.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) sent: BTreeSet<String>,
    /// What is told, and since when.
    #[serde(default)]
    pub(super) on: BTreeMap<String, Timestamp>,
    /// Which units were told of as waiting for long.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) stuck: BTreeMap<String, Stuck>,
}

/// What was told of a unit that waits.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Stuck {
    /// How often it was told, ever.
    pub(super) count: u64,
    /// The reason it waits for, while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
}

/// What stands in the ref.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Document {
    v: u64,
    notifications: BTreeMap<String, Entry>,
}

mod hexadecimal {
    //! A commit's id as its 40 digits.

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::model::CommitId;

    pub(super) fn serialize<S: Serializer>(
        id: &Option<CommitId>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match id {
            Some(id) => serializer.collect_str(id),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<CommitId>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let parsed = text.map(|text| text.parse()).transpose();
        parsed.map_err(D::Error::custom)
    }
}

/// Why it could not be read or moved.
#[derive(Debug, thiserror::Error)]
pub(super) enum LedgerError {
    /// The way there.
    #[error(transparent)]
    Git(#[from] GitError),
    /// What stands there is none.
    #[error("{name} cannot be read: {why}; delete it to begin anew")]
    Invalid {
        /// The ref.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// The server does not take it, or others are always faster.
    #[error("{name} cannot be written: {why}")]
    Refused {
        /// The ref.
        name: String,
        /// What was said.
        why: String,
    },
}

/// See the module.
pub(super) struct Ledger {
    repository: Repository,
    environment: EnvironmentName,
    author: Author,
    /// What is to be written, by whoever gets to it.
    waiting: Mutex<BTreeMap<String, Entry>>,
    turn: tokio::sync::Mutex<()>,
}

impl Ledger {
    pub(super) fn new(
        repository: Repository,
        environment: EnvironmentName,
        author: Author,
    ) -> Self {
        Self {
            repository,
            environment,
            author,
            waiting: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// What stands there of a receiver now; `None`: nothing.
    pub(super) async fn read(&self, name: &NotificationName) -> Result<Option<Entry>, LedgerError> {
        let (_, mut document) = self.look().await?;
        Ok(document.notifications.remove(name.as_str()))
    }

    /// Writes what holds of a receiver from now on, together with whatever else waits to be written.
    pub(super) async fn write(
        &self,
        name: &NotificationName,
        entry: &Entry,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        self.waiting().insert(name.to_string(), entry.clone());
        let _turn = self.turn.lock().await;
        let entries = std::mem::take(&mut *self.waiting());
        if entries.is_empty() {
            // Somebody else took it along.
            return Ok(());
        }
        let written = self.push(&entries, now).await;
        if written.is_err() {
            let mut waiting = self.waiting();
            for (name, entry) in entries {
                waiting.entry(name).or_insert(entry);
            }
        }
        written
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look(&self) -> Result<(Option<ObjectId>, Document), LedgerError> {
        let name = notified_ref(&self.environment);
        let refs = self.repository.look(std::slice::from_ref(&name)).await?;
        let Some(shown) = refs.get(&name) else {
            let notifications = BTreeMap::new();
            let v = VERSION;
            return Ok((None, Document { v, notifications }));
        };
        self.repository.fetch(&[shown.id], Reach::Tip).await?;
        let tree = self.repository.commit(CommitId(shown.id))?.tree;
        let invalid = |why: String| LedgerError::Invalid {
            name: name.clone(),
            why,
        };
        let found = self.repository.lookup(tree, FILE)?;
        let found = found.ok_or_else(|| invalid(format!("it has no {FILE}")))?;
        let text = self.repository.blob(found.id)?;
        let document: Document =
            serde_json::from_slice(&text).map_err(|error| invalid(error.to_string()))?;
        match document.v {
            VERSION => Ok((Some(shown.id), document)),
            newer => Err(LedgerError::Invalid {
                name,
                why: format!("its form {newer} is of another Towpath"),
            }),
        }
    }

    async fn push(
        &self,
        entries: &BTreeMap<String, Entry>,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let name = notified_ref(&self.environment);
        let refused = |why: String| LedgerError::Refused {
            name: name.clone(),
            why,
        };
        for _ in 0..RACES {
            let (old, mut document) = self.look().await?;
            let before = document.clone();
            for (name, entry) in entries {
                let merged = match document.notifications.remove(name) {
                    Some(theirs) => self.later(entry, theirs).await,
                    None => entry.clone(),
                };
                document.notifications.insert(name.clone(), merged);
            }
            if document == before {
                return Ok(());
            }
            let text = serde_json::to_string_pretty(&document);
            let text = text.map_err(|error| refused(error.to_string()))? + "\n";
            let mut draft = self.repository.draft();
            let tree = draft.edit(
                None,
                vec![(FILE.to_owned(), Some(text.into_bytes().into()))],
            )?;
            let author = Signature::of(&self.author, now);
            let names: Vec<&str> = entries.keys().map(String::as_str).collect();
            let commit = draft.commit(&CommitDraft {
                tree,
                parents: old.into_iter().map(CommitId).collect(),
                author: author.clone(),
                committer: author,
                message: format!("notified: {}\n", names.join(", ")),
            });
            let push = Push::new().update(name.clone(), old, commit.0);
            match self.repository.push(push.with(&draft)?).await? {
                Pushed::Landed => return Ok(()),
                Pushed::Lost { .. } => {}
                Pushed::Refused {
                    reasons, messages, ..
                } => {
                    return Err(refused(refusal(&reasons, &messages)));
                }
            }
        }
        Err(refused("others are always faster".to_owned()))
    }

    /// Of two that say what was sent, the one that says more. Either is true: what only the other tells of is sent
    /// once more, under the same key.
    pub(super) async fn later(&self, ours: &Entry, theirs: Entry) -> Entry {
        let mut later = ours.clone();
        // What is told is ours to say; since when, whoever began first.
        for (word, since) in &mut later.on {
            *since = theirs
                .on
                .get(word)
                .map_or(*since, |their| (*since).min(*their));
        }
        for (unit, told) in theirs.stuck {
            let own = later.stuck.entry(unit).or_default();
            if own.count < told.count {
                *own = told;
            }
        }
        if theirs.records == ours.records {
            later.sent.extend(theirs.sent);
        } else if let (Some(ours), Some(their)) = (ours.records, theirs.records) {
            let stop = move |commit: &crate::git::Commit| commit.id == ours;
            let walk = self.repository.first_parents(their, &stop, APART).await;
            if walk.is_ok_and(|walk| walk.commits.last().is_some_and(|it| it.id == ours)) {
                later.records = theirs.records;
                later.sent = theirs.sent;
            }
        }
        later
    }
}
