//! What was reported of a commit under one name: [check runs](https://docs.github.com/en/rest/checks/runs), and the
//! newest [status](https://docs.github.com/en/rest/commits/statuses) of that context.

use jiff::Timestamp;
use serde::Deserialize;

use super::{GitHub, PAGE};
use crate::forge::ForgeError;
use crate::model::{CheckEnd, CommitCheck, CommitId};

/// So many pages of a commit's statuses are looked through: there is one of each context.
const PAGES: usize = 10;

/// Why check runs may not be read: that permission is not among those that a fine-grained token can be given
/// (<https://github.com/orgs/community/discussions/129512>).
pub(super) const UNREADABLE: &str = "check runs are read by a GitHub App with `checks: read` or a classic token, not by a fine-grained one";

/// The check runs of one name.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct CheckRuns {
    total_count: usize,
    check_runs: Vec<CheckRun>,
}

#[derive(Debug, Clone, Deserialize)]
struct CheckRun {
    status: String,
    conclusion: Option<String>,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
    details_url: Option<String>,
    html_url: Option<String>,
}

/// A page of statuses, of each context the newest.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Statuses {
    total_count: usize,
    statuses: Vec<Status>,
}

#[derive(Debug, Clone, Deserialize)]
struct Status {
    context: String,
    state: String,
    target_url: Option<String>,
    updated_at: Timestamp,
}

impl GitHub {
    pub(super) async fn checks_of(
        &self,
        commit: CommitId,
        name: &str,
    ) -> Result<Option<Vec<CommitCheck>>, ForgeError> {
        let (runs, status) = tokio::join!(self.runs(commit, name), self.status(commit, name));
        // What there is no such commit for cannot be processed (422).
        let runs = match runs {
            Err(ForgeError::Refused { .. }) => return Ok(None),
            runs => runs?,
        };
        if runs.check_runs.len() < runs.total_count {
            return Err(ForgeError::Unsupported {
                forge: self.name.clone(),
                what: format!(
                    "tell all {} check runs of that name at once",
                    runs.total_count
                ),
            });
        }
        Ok(Some(runs.read().chain(status?).collect()))
    }

    /// The newest run of each App and event.
    async fn runs(&self, commit: CommitId, name: &str) -> Result<CheckRuns, ForgeError> {
        let query = [
            ("check_name", name),
            ("filter", "latest"),
            ("per_page", &PAGE.to_string()),
        ];
        let route = format!("commits/{commit}/check-runs");
        let runs = self.get(&route, &query).await;
        runs.map_err(|error: ForgeError| error.denied_as(|why| format!("{why}; {UNREADABLE}")))
    }

    async fn status(
        &self,
        commit: CommitId,
        name: &str,
    ) -> Result<Option<CommitCheck>, ForgeError> {
        let route = format!("commits/{commit}/status");
        for page in 1..=PAGES {
            let query = [("per_page", PAGE), ("page", page)];
            let statuses: Statuses = self.get(&route, &query).await?;
            let is_last = page * PAGE >= statuses.total_count;
            let found = statuses.of(name);
            if found.is_some() || is_last {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

impl CheckRuns {
    pub(super) fn read(self) -> impl Iterator<Item = CommitCheck> {
        self.check_runs.into_iter().map(CheckRun::read)
    }
}

impl CheckRun {
    fn read(self) -> CommitCheck {
        let end = match (self.status.as_str(), self.conclusion.as_deref()) {
            ("completed", Some("success")) => CheckEnd::Passed,
            ("completed", Some(word @ ("neutral" | "skipped"))) => {
                CheckEnd::Neither(word.to_owned())
            }
            // Failed, timed out, cancelled, action required, stale: whatever it is, nobody says that it passed.
            ("completed", _) => CheckEnd::Failed,
            _ => CheckEnd::Running,
        };
        let ended = end != CheckEnd::Running;
        CommitCheck {
            end,
            at: self.completed_at.or(self.started_at).filter(|_| ended),
            link: self.details_url.or(self.html_url),
        }
    }
}

impl Statuses {
    pub(super) fn of(self, name: &str) -> Option<CommitCheck> {
        let mut statuses = self.statuses.into_iter();
        let status = statuses.find(|it| it.context == name)?;
        let end = match status.state.as_str() {
            "success" => CheckEnd::Passed,
            "pending" => CheckEnd::Running,
            _ => CheckEnd::Failed,
        };
        Some(CommitCheck {
            at: Some(status.updated_at).filter(|_| end != CheckEnd::Running),
            end,
            link: status.target_url,
        })
    }
}
