//! A git server in memory: for scenario tests and simulation.
//!
//! Behaves as an atomic server with compare-and-swap, can be told to lack atomic push, to refuse and
//! to fail before or after the effect, and counts what it is asked. Serves any number of
//! [`super::Repository`] mirrors. [`Person`] is who works on it besides Towpath.

mod person;
mod serve;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use gix::ObjectId;

use super::objects::Objects;
use super::remote::{FetchRequest, Fetched, PushReport, PushRequest, Ref, RefUpdate, Refs, Remote};
use super::{Change, GitError, Kind, locked, printable};
use crate::model::CommitId;

pub use person::{Merge, Person};

/// What a server lets through: the reason where it refuses.
pub type Hook = Arc<dyn Fn(&[RefUpdate]) -> Result<(), String> + Send + Sync>;

/// What a server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// Which refs there are.
    Advertise,
    /// Objects.
    Fetch,
    /// To move refs.
    Push,
}

/// When an injected failure strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    /// Nothing happened yet.
    Before,
    /// The work is done, the answer is lost.
    After,
}

/// See the module. A clone is the same server.
#[derive(Clone)]
pub struct MemoryRemote {
    address: Arc<str>,
    objects: Arc<Objects>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    refs: BTreeMap<String, ObjectId>,
    not_atomic: bool,
    unfiltered: bool,
    hook: Option<Hook>,
    faults: BTreeMap<Call, VecDeque<(Strike, GitError)>>,
    calls: BTreeMap<Call, usize>,
}

impl MemoryRemote {
    /// An empty server with that address.
    pub fn new(address: &str) -> Self {
        Self {
            address: address.into(),
            objects: Arc::new(Objects::in_memory(address)),
            state: Arc::default(),
        }
    }

    /// Whether several refs move as one (they do, unless told otherwise).
    pub fn set_atomic(&self, atomic: bool) {
        locked(&self.state).not_atomic = !atomic;
    }

    /// Whether it can leave out trees (it can, unless told otherwise).
    pub fn set_filter(&self, filter: bool) {
        locked(&self.state).unfiltered = !filter;
    }

    /// Sets what judges every push.
    pub fn set_hook(&self, hook: Option<Hook>) {
        locked(&self.state).hook = hook;
    }

    /// Lets the next call of that kind (after those already set to) fail.
    pub fn fail_next(&self, call: Call, strike: Strike, error: GitError) {
        locked(&self.state)
            .faults
            .entry(call)
            .or_default()
            .push_back((strike, error));
    }

    /// The error of a cut connection.
    pub fn cut(&self) -> GitError {
        GitError::Network {
            url: self.address.to_string(),
            detail: "connection reset".to_owned(),
        }
    }

    /// How often it was asked that.
    pub fn calls(&self, call: Call) -> usize {
        locked(&self.state)
            .calls
            .get(&call)
            .copied()
            .unwrap_or_default()
    }

    /// What it holds, as it would show it.
    pub fn refs(&self) -> Refs {
        let refs = locked(&self.state).refs.clone();
        refs.into_iter()
            .map(|(name, id)| (name, self.shown(id)))
            .collect()
    }

    /// A file's content in a commit.
    pub(crate) fn read(&self, commit: CommitId, path: &str) -> Option<String> {
        let tree = self.objects.commit(commit).ok()?.tree;
        let found = self.objects.lookup(tree, path).ok()??;
        let content = self.objects.blob(&found.id).ok()?;
        String::from_utf8(content.to_vec()).ok()
    }

    /// A commit or an annotated tag as it is kept: who, when, and what was said.
    pub(crate) fn said(&self, id: ObjectId) -> Option<String> {
        let object = self.objects.object(&id).ok()?;
        let said = matches!(object.kind, Kind::Commit | Kind::Tag);
        said.then(|| String::from_utf8_lossy(&object.data).into_owned())
    }

    /// The files that differ between two commits.
    pub(crate) fn changed(&self, old: Option<CommitId>, new: CommitId) -> Vec<Change> {
        let tree = |commit| self.objects.commit(commit).ok().map(|commit| commit.tree);
        let changed = self.objects.changed(old.and_then(tree), tree(new));
        changed.unwrap_or_default()
    }

    /// Whether a commit is the other one or follows it.
    pub(crate) fn follows(&self, commit: CommitId, other: CommitId) -> bool {
        let mut seen = HashSet::new();
        let mut open = vec![commit];
        while let Some(id) = open.pop() {
            if id == other {
                return true;
            }
            if seen.insert(id) {
                let read = self.objects.commit(id);
                open.extend(read.map(|it| it.parents).unwrap_or_default());
            }
        }
        false
    }

    /// What its refs hold, to tell whether anything moved.
    pub(crate) fn held(&self) -> BTreeMap<String, ObjectId> {
        locked(&self.state).refs.clone()
    }

    /// Someone who works on it besides Towpath.
    pub fn person(&self, name: &str) -> Person {
        Person::new(self.clone(), name)
    }

    fn shown(&self, id: ObjectId) -> Ref {
        let mut peeled = None;
        let mut next = id;
        while let Ok(object) = self.objects.object(&next)
            && object.kind == Kind::Tag
            && let Ok(tag) = super::Tag::parse(&object)
        {
            next = tag.target;
            peeled = Some(next);
        }
        Ref { id, peeled }
    }

    fn begin(&self, call: Call) -> Result<Option<GitError>, GitError> {
        let mut state = locked(&self.state);
        *state.calls.entry(call).or_default() += 1;
        match state.faults.get_mut(&call).and_then(VecDeque::pop_front) {
            Some((Strike::Before, error)) => Err(error),
            Some((Strike::After, error)) => Ok(Some(error)),
            None => Ok(None),
        }
    }

    fn receive(&self, request: &PushRequest) -> Result<PushReport, GitError> {
        let hook = locked(&self.state).hook.clone();
        let verdict = hook
            .map_or(Ok(()), |hook| hook(&request.updates))
            .map_err(|reason| printable(reason.as_bytes()));
        let mut state = locked(&self.state);
        if request.atomic && state.not_atomic {
            let url = self.address.to_string();
            return Err(GitError::NotAtomic { url });
        }
        self.objects
            .keep(request.objects.iter().map(|new| new.object.clone()));
        let mut report = PushReport::default();
        for update in &request.updates {
            let held = state.refs.get(&update.name).copied();
            let reason = match (&verdict, update.new) {
                (Err(reason), _) => Some(reason.clone()),
                _ if held != update.old => Some("failed to update ref".to_owned()),
                (_, Some(new)) if !self.objects.contains(&new) => {
                    Some("missing necessary objects".to_owned())
                }
                _ => None,
            };
            report.refs.insert(update.name.clone(), reason);
        }
        if let Err(reason) = &verdict {
            report.messages.clone_from(reason);
        }
        let failed = report.refs.values().any(Option::is_some);
        for update in &request.updates {
            let reason = report.refs.entry(update.name.clone()).or_default();
            match (reason.is_some(), update.new) {
                (true, _) => {}
                (false, _) if failed && request.atomic => {
                    *reason = Some("atomic transaction failed".to_owned());
                }
                (false, Some(new)) => {
                    state.refs.insert(update.name.clone(), new);
                }
                (false, None) => {
                    state.refs.remove(&update.name);
                }
            }
        }
        Ok(report)
    }
}

#[async_trait]
impl Remote for MemoryRemote {
    fn address(&self) -> &str {
        &self.address
    }

    async fn advertise(&self, prefixes: &[String]) -> Result<Refs, GitError> {
        let lost = self.begin(Call::Advertise)?;
        let mut refs = self.refs();
        refs.retain(|name, _| {
            prefixes
                .iter()
                .any(|prefix| name.starts_with(prefix.as_str()))
        });
        lost.map_or(Ok(refs), Err)
    }

    async fn fetch(&self, request: &FetchRequest) -> Result<Fetched, GitError> {
        let lost = self.begin(Call::Fetch)?;
        let filter = !locked(&self.state).unfiltered;
        let fetched = serve::serve(&self.objects, request, filter)?;
        lost.map_or(Ok(fetched), Err)
    }

    async fn push(&self, request: &PushRequest) -> Result<PushReport, GitError> {
        let lost = self.begin(Call::Push)?;
        let report = self.receive(request)?;
        lost.map_or(Ok(report), Err)
    }

    async fn receives(&self) -> Result<bool, GitError> {
        let lost = self.begin(Call::Advertise)?;
        let atomic = !locked(&self.state).not_atomic;
        lost.map_or(Ok(atomic), Err)
    }
}
