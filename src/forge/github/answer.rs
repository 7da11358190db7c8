//! What GitHub answers, as far as it is read. Everything else in an answer is left alone, so that a field
//! which changes its form breaks nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use crate::forge::{Found, Other, Visibility, rest, text};
use crate::plan::{Request, RequestState};
use crate::shown::on_one_line;

/// A [pull request](https://docs.github.com/en/rest/pulls/pulls).
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Pull {
    pub(super) number: u64,
    pub(super) node_id: String,
    pub(super) state: String,
    pub(super) title: String,
    pub(super) body: Option<String>,
    html_url: String,
    pub(super) updated_at: Timestamp,
    merged_at: Option<Timestamp>,
    merge_commit_sha: Option<String>,
    #[serde(default)]
    labels: Vec<Label>,
    pub(super) head: End,
    pub(super) base: End,
    pub(super) auto_merge: Option<AutoMerge>,
    /// Told of one request alone, and once GitHub found out.
    mergeable_state: Option<String>,
}

/// A [repository](https://docs.github.com/en/rest/repos/repos#get-a-repository).
#[derive(Debug, Clone, Deserialize)]
pub(super) struct RepositoryPage {
    private: bool,
    /// Old servers do not tell.
    visibility: Option<String>,
}

impl RepositoryPage {
    pub(super) fn visibility(&self) -> Visibility {
        match self.visibility.as_deref() {
            Some("internal") => Visibility::Internal,
            Some("public") => Visibility::Public,
            _ if self.private => Visibility::Private,
            _ => Visibility::Public,
        }
    }
}

/// A label.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Label {
    name: String,
}

/// One side of a pull request.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct End {
    #[serde(rename = "ref")]
    pub(super) branch: String,
    sha: String,
    /// Nothing, where a fork is gone.
    repo: Option<Repository>,
}

#[derive(Debug, Clone, Deserialize)]
struct Repository {
    id: u64,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct AutoMerge {
    enabled_by: Option<User>,
}

/// An account; nothing, where it is gone.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct User {
    pub(super) login: String,
}

/// A [review](https://docs.github.com/en/rest/pulls/reviews).
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Review {
    pub(super) id: u64,
    user: Option<User>,
    state: String,
}

/// A comment below a pull request.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Comment {
    pub(super) body: Option<String>,
}

/// The [combined status](https://docs.github.com/en/rest/commits/statuses) of a commit.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Combined {
    pub(super) statuses: Vec<CommitStatus>,
}

/// A status of a commit, or of a deployment.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct CommitStatus {
    #[serde(default)]
    pub(super) context: String,
    pub(super) state: String,
    pub(super) description: Option<String>,
    pub(super) target_url: Option<String>,
}

/// A [deployment](https://docs.github.com/en/rest/deployments/deployments).
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Deployment {
    pub(super) id: u64,
}

/// A rule that holds for a branch.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Rule {
    #[serde(rename = "type")]
    pub(super) kind: String,
}

impl Pull {
    /// Whether it comes from a branch of this very repository: anybody may name a branch of a fork so.
    pub(super) fn is_from_here(&self) -> bool {
        let id = |end: &End| end.repo.as_ref().map(|repository| repository.id);
        id(&self.head).is_some() && id(&self.head) == id(&self.base)
    }

    pub(super) fn is_open(&self) -> bool {
        self.state == "open"
    }

    /// Whether protection demands that it stand on its base's head, which has moved on.
    pub(super) fn is_behind(&self) -> bool {
        self.is_open() && self.mergeable_state.as_deref() == Some("behind")
    }

    pub(super) fn is_at(&self, commit: &str) -> bool {
        self.head.sha == commit
    }

    /// The request as one of others, while it is open.
    pub(super) fn other(&self) -> Option<Other> {
        let other = || {
            Some(Other {
                number: self.number,
                base: self.base.branch.clone(),
                head: self.head.sha.parse().ok()?,
            })
        };
        self.is_open().then(other).flatten()
    }

    /// Takes in its labels after they were changed. When that was, is not told: it is looked into again.
    pub(super) fn take_labels(&mut self, labels: Vec<Label>) {
        self.labels = labels;
        self.updated_at = Timestamp::MIN;
    }

    /// The request; `None` where its commit's id is none.
    pub(super) fn found(&self, armed: Option<String>, now: Timestamp) -> Option<Found> {
        let state = match (&self.merged_at, self.is_open()) {
            (Some(_), _) => RequestState::Merged {
                commit: self
                    .merge_commit_sha
                    .as_ref()
                    .and_then(|it| it.parse().ok()),
            },
            (None, true) => RequestState::Open,
            (None, false) => RequestState::Closed,
        };
        let request = Request {
            name: format!("#{}", self.number),
            number: Some(self.number),
            url: Some(self.html_url.clone()),
            state,
            head: self.head.sha.parse().ok()?,
            armed: armed.filter(|_| self.is_open()),
            behind: false,
            says: self.body.as_deref().and_then(text::says),
            labels: self.labels.iter().map(|label| label.name.clone()).collect(),
            since: now,
        };
        Some(Found {
            head: self.head.branch.clone(),
            base: self.base.branch.clone(),
            changed: self.updated_at,
            request,
        })
    }
}

impl AutoMerge {
    pub(super) fn told(&self) -> String {
        let by = self.enabled_by.as_ref().map_or("somebody", |by| &by.login);
        let by = on_one_line(by, rest::LOGIN);
        format!("armed to merge by itself by {by}")
    }
}

impl Review {
    pub(super) fn approves(&self) -> bool {
        self.state == "APPROVED"
    }
}

/// `approved by ann, bob`: of each reviewer the last word counts, and a mere comment is none.
pub(super) fn approved(reviews: &[Review]) -> Option<String> {
    let mut last: BTreeMap<&str, &Review> = BTreeMap::new();
    for review in reviews {
        if let Some(user) = &review.user
            && matches!(
                review.state.as_str(),
                "APPROVED" | "CHANGES_REQUESTED" | "DISMISSED"
            )
        {
            last.insert(&user.login, review);
        }
    }
    let by = last.iter().filter(|(_, review)| review.approves());
    rest::approved(by.map(|(login, _)| *login))
}
