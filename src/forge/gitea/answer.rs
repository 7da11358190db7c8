//! What Gitea answers, as far as it is read. Everything else in an answer is left alone, so that a field
//! which changes its form breaks nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use crate::forge::{Found, Other, Progress, Status, Visibility, rest, text};
use crate::model::{CheckEnd, CommitCheck};
use crate::plan::{Request, RequestState};
use crate::shown::on_one_line;

/// What makes a draft of a request, and is no part of its title (`WORK_IN_PROGRESS_PREFIXES`).
pub(super) const DRAFT: [&str; 2] = ["WIP:", "[WIP]"];

/// A pull request.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Pull {
    pub(super) number: u64,
    pub(super) state: String,
    title: String,
    #[serde(default)]
    pub(super) body: String,
    html_url: String,
    pub(super) updated_at: Timestamp,
    #[serde(default)]
    merged: bool,
    merge_commit_sha: Option<String>,
    labels: Option<Vec<Label>>,
    pub(super) head: End,
    pub(super) base: End,
}

/// A repository.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct RepositoryPage {
    private: bool,
    /// Its owner is seen by whoever has an account.
    #[serde(default)]
    internal: bool,
}

impl RepositoryPage {
    pub(super) fn visibility(&self) -> Visibility {
        match (self.private, self.internal) {
            (true, _) => Visibility::Private,
            (false, true) => Visibility::Internal,
            (false, false) => Visibility::Public,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Label {
    pub(super) name: String,
}

/// One side of a pull request.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct End {
    /// The branch, also when it is gone.
    pub(super) label: String,
    /// The branch, or what keeps the commit when it is gone.
    #[serde(rename = "ref")]
    reference: String,
    sha: String,
    repo_id: i64,
}

/// A ref of the repository.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Ref {
    object: Object,
}

#[derive(Debug, Clone, Deserialize)]
struct Object {
    sha: String,
}

/// An account.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct User {
    login: String,
}

/// A review.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Review {
    pub(super) id: u64,
    user: Option<User>,
    state: String,
    #[serde(default)]
    dismissed: bool,
}

/// A comment below a pull request.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Comment {
    #[serde(default)]
    pub(super) body: String,
}

/// Something that happened to a pull request.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Event {
    #[serde(rename = "type")]
    kind: String,
    user: Option<User>,
}

/// The newest status of each context of a commit; nothing, where there is none.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Combined {
    pub(super) statuses: Option<Vec<CommitStatus>>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct CommitStatus {
    context: String,
    status: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    target_url: String,
    updated_at: Option<Timestamp>,
}

impl Pull {
    /// Whether it comes from a branch of this very repository: anybody may name a branch of a fork so, or a
    /// topic that is pushed for review and is no branch at all.
    pub(super) fn is_from_here(&self) -> bool {
        let is_branch = self.head.reference == self.head.label || !self.is_open();
        self.head.repo_id == self.base.repo_id && is_branch
    }

    /// The request as one of others, while it is open.
    pub(super) fn other(&self) -> Option<Other> {
        let other = || {
            Some(Other {
                number: self.number,
                base: self.base.label.clone(),
                head: self.head.sha.parse().ok()?,
            })
        };
        self.is_open().then(other).flatten()
    }

    pub(super) fn is_open(&self) -> bool {
        self.state == "open"
    }

    pub(super) fn is_at(&self, commit: &str) -> bool {
        self.head.sha == commit
    }

    /// Takes in the commit that it was about last.
    pub(super) fn take_head(&mut self, kept: Vec<Ref>) {
        if let Some(kept) = kept.into_iter().next() {
            self.head.sha = kept.object.sha;
        }
    }

    /// Its title, and what makes a draft of it.
    pub(super) fn title(&self) -> (&str, &str) {
        let drafts = DRAFT.iter().find_map(|prefix| {
            let start = self.title.get(..prefix.len())?;
            start.eq_ignore_ascii_case(prefix).then_some(prefix.len())
        });
        let (draft, title) = self.title.split_at(drafts.unwrap_or(0));
        let blank = title.len() - title.trim_start().len();
        (&title[blank..], draft)
    }

    /// The request; `None` where its commit's id is none.
    pub(super) fn found(&self, armed: Option<String>, now: Timestamp) -> Option<Found> {
        let state = match (self.merged, self.is_open()) {
            (true, _) => RequestState::Merged {
                commit: self
                    .merge_commit_sha
                    .as_ref()
                    .and_then(|it| it.parse().ok()),
            },
            (false, true) => RequestState::Open,
            (false, false) => RequestState::Closed,
        };
        let labels = self.labels.iter().flatten();
        let request = Request {
            name: format!("#{}", self.number),
            number: Some(self.number),
            url: Some(self.html_url.clone()),
            state,
            head: self.head.sha.parse().ok()?,
            armed: armed.filter(|_| self.is_open()),
            behind: false,
            says: text::says(&self.body),
            labels: labels.map(|label| label.name.clone()).collect(),
            since: now,
        };
        Some(Found {
            head: self.head.label.clone(),
            base: self.base.label.clone(),
            changed: self.updated_at,
            request,
        })
    }
}

impl Review {
    pub(super) fn approves(&self) -> bool {
        self.state == "APPROVED" && !self.dismissed
    }
}

/// `approved by ann, bob`: of each reviewer the last word counts, and a mere comment is none.
pub(super) fn approved(reviews: &[Review]) -> Option<String> {
    let mut last: BTreeMap<&str, &Review> = BTreeMap::new();
    for review in reviews {
        if let Some(user) = &review.user
            && matches!(review.state.as_str(), "APPROVED" | "REQUEST_CHANGES")
        {
            last.insert(&user.login, review);
        }
    }
    let names = last.iter().filter(|(_, review)| review.approves());
    rest::approved(names.map(|(login, _)| *login))
}

/// Who had it merge by itself and did not take that back.
pub(super) fn scheduled(events: &[Event]) -> Option<String> {
    let about = ["pull_scheduled_merge", "pull_cancel_scheduled_merge"];
    let last = events
        .iter()
        .rfind(|it| about.contains(&it.kind.as_str()))?;
    let by = last.user.as_ref().map_or("somebody", |user| &user.login);
    (last.kind == about[0]).then(|| on_one_line(by, rest::LOGIN))
}

impl CommitStatus {
    pub(super) fn is_of(&self, context: &str) -> bool {
        self.context == context
    }

    pub(super) fn check(self) -> CommitCheck {
        let at = self.updated_at;
        let read = self.read();
        let end = match read.progress {
            Progress::Success => CheckEnd::Passed,
            Progress::Failure => CheckEnd::Failed,
            Progress::Pending => CheckEnd::Running,
        };
        CommitCheck {
            at: at.filter(|_| end != CheckEnd::Running),
            end,
            link: read.url,
        }
    }

    pub(super) fn read(self) -> Status {
        Status {
            context: self.context,
            progress: match self.status.as_str() {
                "success" => Progress::Success,
                "failure" | "error" | "warning" => Progress::Failure,
                _ => Progress::Pending,
            },
            description: self.description,
            url: Some(self.target_url).filter(|url| !url.is_empty()),
        }
    }
}
