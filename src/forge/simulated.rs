//! A forge in this process, over a git server in this process: for tests and demos.
//!
//! It behaves as forges do: a second open request for the same branches is refused, an open one follows its
//! branch, a branch that is gone closes it, a base that has its commit has merged it. What people do there
//! stands in [`people`]; how it fails is set by [`Mood`].

mod people;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use gix::ObjectId;
use jiff::Timestamp;

use super::text::{self, Text};
use super::{
    Content, Deployed, Forge, ForgeError, Found, Hook, May, Opening, Other, Protection, ReadForge,
    Reported, Requests, Rights, Status, Visibility, Work,
};
use crate::git::memory::{MemoryRemote, Strike};
use crate::model::{CommitCheck, CommitId};
use crate::plan::{Request, RequestState};

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mood {
    /// As it should.
    #[default]
    Up,
    /// Not: 502.
    Down,
    /// Not for a while: a secondary limit.
    Limited,
    /// Not to us: 401.
    Unauthorized,
    /// To readers alone: it is archived.
    Archived,
}

/// See the module.
#[derive(Clone)]
pub struct SimulatedForge {
    name: Arc<str>,
    remote: MemoryRemote,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    requests: Vec<Kept>,
    statuses: BTreeMap<(CommitId, String), Status>,
    deployed: BTreeMap<(String, String), Deployed>,
    /// By commit and name.
    checks: BTreeMap<(CommitId, String), CommitCheck>,
    /// By full name of the ref.
    protections: BTreeMap<String, Protection>,
    hooks: Vec<Hook>,
    /// Nothing: everybody sees it.
    visibility: Option<Visibility>,
    /// Whether a request must stand on its base's head to be merged.
    strict: bool,
    mood: Mood,
    faults: Vec<Strike>,
    /// The refs that open requests were last brought in line with.
    followed: BTreeMap<String, ObjectId>,
    moved: i64,
    reads: usize,
    writes: usize,
}

/// A request as the forge keeps it.
#[derive(Debug, Clone)]
struct Kept {
    number: u64,
    head: String,
    base: String,
    text: Text,
    state: RequestState,
    commit: CommitId,
    draft: bool,
    labels: BTreeSet<String>,
    reviewers: Vec<String>,
    approved_by: BTreeSet<String>,
    auto_merge: Option<String>,
    queued: bool,
    comments: Vec<String>,
    changed: i64,
}

impl SimulatedForge {
    /// The forge of this server's repository.
    pub fn new(name: &str, remote: MemoryRemote) -> Self {
        Self {
            name: name.into(),
            remote,
            state: Arc::default(),
        }
    }

    /// How it answers from now on.
    pub fn set(&self, mood: Mood) {
        self.state().mood = mood;
    }

    /// Who may read it from now on. In the beginning everybody.
    pub fn show_to(&self, visibility: Visibility) {
        self.state().visibility = Some(visibility);
    }

    /// Whether a request must stand on its base's head to be merged.
    pub fn set_strict(&self, strict: bool) {
        self.state().strict = strict;
    }

    /// Has the next write break off before it takes effect, or after.
    pub fn break_off(&self, strike: Strike) {
        self.state().faults.push(strike);
    }

    /// How often it was asked for something.
    pub fn reads(&self) -> usize {
        self.state().reads
    }

    /// How often it was to change something.
    pub fn writes(&self) -> usize {
        self.state().writes
    }

    /// What is shown on application commits, by commit and environment.
    pub fn deployed(&self) -> Vec<Deployed> {
        self.state().deployed.values().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.follow(&mut state);
        state
    }

    /// Open requests follow their branches.
    fn follow(&self, state: &mut State) {
        let held = self.remote.held();
        if held == state.followed {
            return;
        }
        let person = self.remote.person("the forge");
        let mut moved = state.moved;
        for kept in state.requests.iter_mut().filter(|it| it.is_open()) {
            let before = (kept.state, kept.commit);
            match person.head(&kept.head) {
                _ if person.has(&kept.base, kept.commit) => {
                    kept.state = RequestState::Merged {
                        commit: person.head(&kept.base),
                    };
                }
                None => kept.state = RequestState::Closed,
                Some(head) if head != kept.commit => {
                    kept.commit = head;
                    kept.queued = false;
                }
                Some(_) => {}
            }
            if (kept.state, kept.commit) != before {
                moved += 1;
                kept.changed = moved;
            }
        }
        state.moved = moved;
        state.followed = held;
    }

    fn read(&self) -> Result<MutexGuard<'_, State>, ForgeError> {
        let mut state = self.state();
        state.reads += 1;
        self.judge(state.mood)?;
        Ok(state)
    }

    /// Does one write, unless the forge is not in the mood or breaks off.
    fn write<T>(
        &self,
        change: impl FnOnce(&mut State) -> Result<T, ForgeError>,
    ) -> Result<T, ForgeError> {
        let mut state = self.state();
        state.writes += 1;
        self.judge(state.mood)?;
        if state.mood == Mood::Archived {
            return Err(ForgeError::Denied {
                forge: self.name.to_string(),
                reason: "the repository is archived: it can only be read (403)".to_owned(),
            });
        }
        let fault = state.faults.pop();
        if fault == Some(Strike::Before) {
            return Err(self.unavailable("connection reset", None));
        }
        let changed = change(&mut state)?;
        match fault {
            Some(_) => Err(self.unavailable("connection reset", None)),
            None => Ok(changed),
        }
    }

    fn judge(&self, mood: Mood) -> Result<(), ForgeError> {
        match mood {
            Mood::Up | Mood::Archived => Ok(()),
            Mood::Down => Err(self.unavailable("502 Bad Gateway", None)),
            Mood::Limited => {
                let wait = Duration::from_secs(60);
                Err(self.unavailable("a secondary rate limit (403)", Some(wait)))
            }
            Mood::Unauthorized => Err(ForgeError::Denied {
                forge: self.name.to_string(),
                reason: "it does not accept our credential (401)".to_owned(),
            }),
        }
    }

    fn unavailable(&self, detail: &str, retry_after: Option<Duration>) -> ForgeError {
        ForgeError::Unavailable {
            forge: self.name.to_string(),
            detail: detail.to_owned(),
            retry_after,
        }
    }

    fn refused(&self, reason: &str) -> ForgeError {
        ForgeError::Refused {
            forge: self.name.to_string(),
            reason: reason.to_owned(),
        }
    }

    /// Changes the request of that number.
    fn change(
        &self,
        request: &Request,
        now: Timestamp,
        change: impl FnOnce(&mut Kept),
    ) -> Result<Found, ForgeError> {
        self.write(|state| {
            let moved = state.moved + 1;
            let mut all = state.requests.iter_mut();
            let Some(kept) = all.find(|it| Some(it.number) == request.number) else {
                return Err(self.refused("there is no such request (404)"));
            };
            change(kept);
            kept.changed = moved;
            let shown = kept.found(&self.name, now);
            state.moved = moved;
            Ok(shown)
        })
    }
}

impl Kept {
    fn is_open(&self) -> bool {
        self.state == RequestState::Open
    }

    fn armed(&self) -> Option<String> {
        let approved = self.approved_by.iter().cloned().collect::<Vec<_>>();
        let approved =
            (!approved.is_empty()).then(|| format!("approved by {}", approved.join(", ")));
        let queued = self.queued.then(|| "in the merge queue".to_owned());
        let auto = self
            .auto_merge
            .as_ref()
            .map(|by| format!("armed to merge by itself by {by}"));
        let armed: Vec<String> = [approved, queued, auto].into_iter().flatten().collect();
        (!armed.is_empty()).then(|| armed.join(", "))
    }

    fn shown(&self, forge: &str, now: Timestamp) -> Request {
        let number = self.number;
        Request {
            name: format!("#{number}"),
            number: Some(number),
            url: Some(format!("https://{forge}/pull/{number}")),
            state: self.state,
            head: self.commit,
            armed: self.armed().filter(|_| self.is_open()),
            behind: false,
            says: text::says(&self.text.body),
            labels: self.labels.clone(),
            since: now,
        }
    }

    /// As one of others, while it is open.
    fn other(&self) -> Option<Other> {
        self.is_open().then(|| Other {
            number: self.number,
            base: self.base.clone(),
            head: self.commit,
        })
    }

    fn found(&self, forge: &str, now: Timestamp) -> Found {
        Found {
            head: self.head.clone(),
            base: self.base.clone(),
            changed: at(self.changed),
            request: self.shown(forge, now),
        }
    }
}

fn at(moved: i64) -> Timestamp {
    Timestamp::from_second(moved).unwrap_or(Timestamp::MAX)
}

#[async_trait]
impl ReadForge for SimulatedForge {
    fn name(&self) -> &str {
        &self.name
    }

    async fn visibility(&self) -> Result<Visibility, ForgeError> {
        let state = self.read()?;
        Ok(state.visibility.unwrap_or(Visibility::Public))
    }

    async fn requests(&self, before: &Requests, now: Timestamp) -> Result<Requests, ForgeError> {
        let state = self.read()?;
        let mut requests = before.clone();
        requests.until = Some(at(state.moved));
        let news = |kept: &&Kept| before.until.is_none_or(|until| at(kept.changed) >= until);
        for kept in state.requests.iter().filter(news) {
            match kept.head.starts_with("towpath/") {
                true => requests.take(kept.found(&self.name, now)),
                false => requests.take_other(kept.number, kept.other()),
            }
        }
        let armed = requests.armed();
        let armed = state
            .requests
            .iter()
            .filter(|it| armed.contains_key(&it.number));
        let behind = armed.filter(|it| state.strict && self.is_behind(it));
        let first = behind.map(|it| it.number).min();
        requests.set_behind(&first.into_iter().collect());
        Ok(requests)
    }

    async fn statuses(&self, commit: CommitId) -> Result<Vec<Status>, ForgeError> {
        let state = self.read()?;
        let of = state.statuses.iter().filter(|((of, _), _)| *of == commit);
        Ok(of.map(|(_, status)| status.clone()).collect())
    }

    async fn checked(
        &self,
        commit: CommitId,
        name: &str,
    ) -> Result<Option<Vec<CommitCheck>>, ForgeError> {
        let state = self.read()?;
        let known = self.remote.person("the forge").knows(commit);
        Ok(known.then(|| state.checked(commit, name)))
    }

    async fn rights(&self) -> Result<Rights, ForgeError> {
        let state = self.read()?;
        Ok(Rights {
            login: Some("Towpath".to_owned()),
            app: None,
            admin: false,
            archived: state.mood == Mood::Archived,
            may: Work::ALL.map(|work| (work, May::Yes)).into(),
        })
    }

    async fn protection(&self, reference: &str, _us: &Rights) -> Result<Protection, ForgeError> {
        let state = self.read()?;
        let known = state.protections.get(reference).cloned();
        Ok(known.unwrap_or_default())
    }

    async fn reported(&self, base: &str) -> Result<Reported, ForgeError> {
        let state = self.read()?;
        let to_base: Vec<&Kept> = state.requests.iter().filter(|it| it.base == base).collect();
        let on_one =
            |(commit, _): &&(CommitId, String)| to_base.iter().any(|kept| kept.commit == *commit);
        let contexts = state.statuses.keys().filter(on_one);
        Ok(Reported {
            requests: to_base.len(),
            contexts: contexts.map(|(_, context)| context.clone()).collect(),
            untold: None,
        })
    }

    async fn hooks(&self) -> Result<Vec<Hook>, ForgeError> {
        Ok(self.read()?.hooks.clone())
    }
}

#[async_trait]
impl Forge for SimulatedForge {
    async fn open(&self, opening: &Opening, now: Timestamp) -> Result<Found, ForgeError> {
        self.write(|state| {
            let person = self.remote.person("the forge");
            let of_these = |it: &&Kept| it.head == opening.head && it.base == opening.base;
            let mut known = state.requests.iter().filter(of_these);
            if let Some(kept) = known.find(|it| it.is_open() || it.commit == opening.commit) {
                return Ok(kept.found(&self.name, now));
            }
            let Some(commit) = person.head(&opening.head) else {
                return Err(self.refused("the head branch is not there (422)"));
            };
            state.moved += 1;
            let empty = Text {
                title: String::new(),
                body: String::new(),
            };
            let by_itself = opening.policy.auto_merge.map(|_| "Towpath".to_owned());
            let kept = Kept {
                number: state.requests.len() as u64 + 1,
                head: opening.head.clone(),
                base: opening.base.clone(),
                text: text::merged(&empty, &opening.content),
                state: RequestState::Open,
                commit,
                draft: opening.policy.draft,
                labels: opening.policy.labels.iter().cloned().collect(),
                reviewers: opening.policy.reviewers.clone(),
                approved_by: BTreeSet::new(),
                auto_merge: by_itself,
                queued: false,
                comments: Vec::new(),
                changed: state.moved,
            };
            let shown = kept.found(&self.name, now);
            state.requests.push(kept);
            Ok(shown)
        })
    }

    async fn rewrite(
        &self,
        request: &Request,
        content: &Content,
        now: Timestamp,
    ) -> Result<Found, ForgeError> {
        self.change(request, now, |kept| {
            kept.text = text::merged(&kept.text, content);
        })
    }

    async fn close(
        &self,
        request: &Request,
        reason: &str,
        now: Timestamp,
    ) -> Result<Found, ForgeError> {
        self.change(request, now, |kept| {
            if kept.is_open() {
                kept.comments.push(format!("Closed: {reason}"));
                kept.state = RequestState::Closed;
            }
        })
    }

    async fn disarm(
        &self,
        request: &Request,
        reason: &str,
        now: Timestamp,
    ) -> Result<Found, ForgeError> {
        self.change(request, now, |kept| {
            kept.comments
                .push(format!("Not to be merged as it was: {reason}"));
            kept.approved_by.clear();
            kept.queued = false;
            kept.auto_merge = None;
        })
    }

    async fn set_status(&self, commit: CommitId, status: &Status) -> Result<(), ForgeError> {
        self.write(|state| {
            let key = (commit, status.context.clone());
            state.statuses.insert(key, status.clone());
            Ok(())
        })
    }

    async fn show_deployed(&self, deployed: &Deployed) -> Result<(), ForgeError> {
        self.write(|state| {
            let key = (deployed.commit.clone(), deployed.environment.clone());
            state.deployed.insert(key, deployed.clone());
            Ok(())
        })
    }
}
