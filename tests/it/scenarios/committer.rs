//! Who makes commits in Towpath's place on the servers of scenarios: as GitHub does it, or as it should not.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use towpath::git::memory::{MemoryRemote, Person};
use towpath::git::{Committer, Making, NotMade};
use towpath::model::CommitId;

/// How it takes commits: until it is set anew, or where somebody is struck by it, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Mood {
    #[default]
    Well,
    /// It does nothing, and says so.
    Down,
    /// It makes the commit, and nobody hears of it.
    Silent,
    /// It makes more of the commit than it was asked for.
    Inventive,
    /// Somebody else commits on the branch first.
    Raced,
}

/// See the module.
#[derive(Clone)]
pub(super) struct Signing {
    remote: MemoryRemote,
    state: Arc<Mutex<State>>,
}

struct State {
    mood: Mood,
    now: Timestamp,
    made: usize,
}

impl Signing {
    pub(super) fn new(remote: &MemoryRemote) -> Self {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let mood = Mood::Well;
        let state = State { mood, now, made: 0 };
        Self {
            remote: remote.clone(),
            state: Arc::new(Mutex::new(state)),
        }
    }

    pub(super) fn set(&self, mood: Mood) {
        self.state().mood = mood;
    }

    /// How many commits it made.
    pub(super) fn made(&self) -> usize {
        self.state().made
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn person(&self, name: &str) -> Person {
        self.remote.person(name)
    }
}

fn not_made(why: &str) -> NotMade {
    NotMade {
        why: why.to_owned(),
        retry_after: None,
    }
}

#[async_trait]
impl Committer for Signing {
    fn name(&self) -> &str {
        "github.com/acme/infra"
    }

    async fn commit(&self, making: &Making) -> Result<CommitId, NotMade> {
        let mut state = self.state();
        // No two commits are the same.
        state.now = state.now.checked_add(SignedDuration::from_secs(1)).unwrap();
        let (mood, now) = (state.mood, state.now);
        if matches!(mood, Mood::Silent | Mood::Raced) {
            state.mood = Mood::Well;
        }
        let github = self.person("GitHub");
        let mut files: Vec<(&str, Option<&str>)> = making
            .files
            .iter()
            .map(|(path, content)| (path.as_str(), Some(std::str::from_utf8(content).unwrap())))
            .collect();
        match mood {
            Mood::Down => return Err(not_made("github.com/acme/infra does not answer: 502")),
            Mood::Inventive => files.push(("README.md", Some("made by GitHub\n"))),
            Mood::Raced => {
                let ann = self.person("Ann");
                let raced = [("README.md", Some("Ann was here\n"))];
                ann.commit(&making.branch, &raced, "first", now).unwrap();
            }
            Mood::Well | Mood::Silent => {}
        }
        if github.head(&making.branch) != Some(making.head) {
            let why = "github.com/acme/infra refuses: the branch does not point there";
            return Err(not_made(why));
        }
        let made = github.commit(&making.branch, &files, making.message.trim_end(), now);
        state.made += 1;
        match mood {
            Mood::Silent => Err(not_made("github.com/acme/infra does not answer: cut")),
            _ => Ok(made.unwrap()),
        }
    }
}
