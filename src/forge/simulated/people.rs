//! What people do on the simulated forge, and what they see there.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Hook, Kept, Protection, SimulatedForge, State, Text};
use crate::forge::Progress;
use crate::git::memory::Merge;
use crate::model::{CheckEnd, CommitCheck, CommitId};
use crate::plan::RequestState;

/// A request as a person sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its number.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// Its text.
    pub body: String,
    /// `open`, `draft`, `closed` or `merged`.
    pub state: &'static str,
    /// Its commit.
    pub commit: CommitId,
    /// Its labels.
    pub labels: Vec<String>,
    /// Who is asked to review it.
    pub reviewers: Vec<String>,
    /// Who or what may merge it at any moment.
    pub armed: Option<String>,
    /// What was said below it.
    pub comments: Vec<String>,
    /// The statuses of its commit: context, progress and description.
    pub statuses: Vec<String>,
}

impl SimulatedForge {
    /// Somebody protects a ref, by its full name.
    pub fn protect(&self, reference: &str, protection: Protection) {
        let mut state = self.state();
        state.protections.insert(reference.to_owned(), protection);
    }

    /// Somebody reports a check of a commit, in place of what was reported under this name.
    pub fn report(&self, commit: CommitId, name: &str, check: CommitCheck) {
        let mut state = self.state();
        state.checks.insert((commit, name.to_owned()), check);
    }

    /// Whether a request's branch lacks what its base has.
    pub(super) fn is_behind(&self, kept: &Kept) -> bool {
        let person = self.remote.person("the forge");
        let base = person.head(&kept.base);
        base.is_some_and(|base| !person.has(&kept.head, base))
    }

    /// Somebody has it tell of news.
    pub fn add_hook(&self, hook: Hook) {
        self.state().hooks.push(hook);
    }

    /// Every request from a branch, oldest first.
    pub fn see(&self, head: &str) -> Vec<Seen> {
        let state = self.state();
        let of = state.requests.iter().filter(|it| it.head == head);
        of.map(|kept| kept.seen(&state)).collect()
    }

    /// Somebody opens a request of their own. Nothing, where the branch is not there.
    pub fn ask(&self, head: &str, base: &str) {
        let Some(commit) = self.remote.person("Ann").head(head) else {
            return;
        };
        let mut state = self.state();
        state.moved += 1;
        let kept = Kept {
            number: state.requests.len() as u64 + 1,
            head: head.to_owned(),
            base: base.to_owned(),
            text: Text {
                title: head.to_owned(),
                body: String::new(),
            },
            state: RequestState::Open,
            commit,
            draft: false,
            labels: BTreeSet::new(),
            reviewers: Vec::new(),
            approved_by: BTreeSet::new(),
            auto_merge: None,
            queued: false,
            comments: Vec::new(),
            changed: state.moved,
        };
        state.requests.push(kept);
    }

    /// The statuses of a commit: context, progress and description.
    pub fn checks(&self, commit: CommitId) -> Vec<String> {
        statuses(&self.state(), commit)
    }

    /// Somebody approves the newest request from a branch.
    pub fn approve(&self, head: &str, by: &str) {
        self.at_newest(head, |kept| {
            kept.approved_by.insert(by.to_owned());
        });
    }

    /// Somebody arms it to merge by itself.
    pub fn arm(&self, head: &str, by: &str) {
        self.at_newest(head, |kept| kept.auto_merge = Some(by.to_owned()));
    }

    /// Somebody puts it into the merge queue.
    pub fn enqueue(&self, head: &str) {
        self.at_newest(head, |kept| kept.queued = true);
    }

    /// Somebody closes it unmerged.
    pub fn decline(&self, head: &str) {
        self.at_newest(head, |kept| kept.state = RequestState::Closed);
    }

    /// Somebody opens it again.
    pub fn reopen(&self, head: &str) {
        self.at_newest(head, |kept| kept.state = RequestState::Open);
    }

    /// Somebody puts a label on it, or takes it away.
    pub fn label(&self, head: &str, label: &str, on: bool) {
        self.at_newest(head, |kept| {
            kept.labels.remove(label);
            kept.labels.extend(on.then(|| label.to_owned()));
        });
    }

    /// Somebody edits its title and its text.
    pub fn edit(&self, head: &str, edit: impl FnOnce(&mut String, &mut String)) {
        self.at_newest(head, |kept| edit(&mut kept.text.title, &mut kept.text.body));
    }

    /// Somebody merges it; the branch goes where they tick that. Nothing, where it is not open, or has to
    /// stand on its base's head and does not.
    pub fn merge(&self, head: &str, how: Merge, deletes: bool, now: Timestamp) {
        let person = self.remote.person("Ann");
        let strict = self.state().strict;
        self.at_newest(head, |kept| {
            if !kept.is_open() || strict && self.is_behind(kept) {
                return;
            }
            let commit = person.merge(&kept.head, &kept.base, how, now).ok();
            kept.state = RequestState::Merged { commit };
            kept.queued = false;
            if deletes {
                person.delete(&kept.head);
            }
        });
    }

    fn at_newest(&self, head: &str, change: impl FnOnce(&mut Kept)) {
        let mut state = self.state();
        state.moved += 1;
        let moved = state.moved;
        let newest = state.requests.iter_mut().rev().find(|it| it.head == head);
        if let Some(kept) = newest {
            change(kept);
            kept.changed = moved;
        }
        // What is open again is brought in line with its branch.
        state.followed.clear();
    }
}

impl State {
    /// What was reported under this name; a status has no moment here.
    pub(super) fn checked(&self, commit: CommitId, name: &str) -> Vec<CommitCheck> {
        let key = (commit, name.to_owned());
        let status = self.statuses.get(&key).map(|status| {
            let end = match status.progress {
                Progress::Pending => CheckEnd::Running,
                Progress::Success => CheckEnd::Passed,
                Progress::Failure => CheckEnd::Failed,
            };
            CommitCheck {
                at: (end != CheckEnd::Running).then_some(Timestamp::UNIX_EPOCH),
                end,
                link: status.url.clone(),
            }
        });
        let reported = self.checks.get(&key).cloned();
        reported.into_iter().chain(status).collect()
    }
}

impl Kept {
    fn seen(&self, state: &State) -> Seen {
        Seen {
            number: self.number,
            title: self.text.title.clone(),
            body: self.text.body.clone(),
            state: match self.state {
                RequestState::Open if self.draft => "draft",
                RequestState::Open => "open",
                RequestState::Closed => "closed",
                RequestState::Merged { .. } => "merged",
            },
            commit: self.commit,
            labels: self.labels.iter().cloned().collect(),
            reviewers: self.reviewers.clone(),
            armed: self.armed().filter(|_| self.is_open()),
            comments: self.comments.clone(),
            statuses: statuses(state, self.commit),
        }
    }
}

fn statuses(state: &State, commit: CommitId) -> Vec<String> {
    let all = state.statuses.iter();
    let of = all.filter(|((of, _), _)| *of == commit);
    of.map(|((_, context), status)| {
        format!("{context} {:?}: {}", status.progress, status.description)
    })
    .collect()
}
