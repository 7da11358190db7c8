//! What is shown on commits: statuses, and deployments of application commits. And what is remembered of
//! branches that have a merge queue.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use super::GitHub;
use super::answer::{Combined, CommitStatus, Deployment};
use crate::forge::{Deployed, ForgeError, Progress, Status};
use crate::model::CommitId;
use crate::shown::on_one_line;

/// GitHub takes no longer description.
const DESCRIPTION: usize = 140;

/// Tells our deployments from others of the same commit.
const TASK: &str = "towpath";

/// So long a merge queue is believed to be there, or not.
const QUEUE_SEEN: Duration = Duration::from_secs(15 * 60);

/// Which branches have a merge queue.
#[derive(Default)]
pub(super) struct QueueSeen(Mutex<BTreeMap<String, (bool, Instant)>>);

impl QueueSeen {
    pub(super) fn of(&self, branch: &str) -> Option<bool> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (has, at) = seen.get(branch)?;
        (at.elapsed() < QUEUE_SEEN).then_some(*has)
    }

    pub(super) fn see(&self, branch: &str, has: bool) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.insert(branch.to_owned(), (has, Instant::now()));
    }
}

impl GitHub {
    pub(super) async fn statuses_of(&self, commit: CommitId) -> Result<Vec<Status>, ForgeError> {
        let route = format!("commits/{commit}/status");
        let combined: Combined = self.get(&route, &[("per_page", "100")]).await?;
        let read = |status: CommitStatus| Status {
            context: status.context,
            progress: progress(&status.state),
            description: status.description.unwrap_or_default(),
            url: status.target_url.filter(|url| !url.is_empty()),
        };
        Ok(combined.statuses.into_iter().map(read).collect())
    }

    pub(super) async fn post_status(
        &self,
        commit: CommitId,
        status: &Status,
    ) -> Result<(), ForgeError> {
        let body = json!({
            "state": state(status.progress),
            "context": status.context,
            "description": on_one_line(&status.description, DESCRIPTION - '…'.len_utf8()),
            "target_url": status.url,
        });
        let route = self.route(&format!("statuses/{commit}"));
        let posted = self
            .octocrab()
            .post::<_, serde_json::Value>(route, Some(&body));
        posted.await.map(drop).map_err(|error| self.told(&error))
    }

    /// The deployment is found by its commit, environment and task; its status by what it says.
    pub(super) async fn post_deployed(&self, deployed: &Deployed) -> Result<(), ForgeError> {
        let query = [
            ("ref", deployed.commit.as_str()),
            ("environment", &deployed.environment),
            ("task", TASK),
            ("per_page", "1"),
        ];
        let there: Vec<Deployment> = self.get("deployments", &query).await?;
        let id = match there.first() {
            Some(there) => there.id,
            None => self.deployment(deployed).await?,
        };
        let route = format!("deployments/{id}/statuses");
        let shown: Vec<CommitStatus> = self.get(&route, &[("per_page", "1")]).await?;
        let description = on_one_line(&deployed.description, DESCRIPTION - '…'.len_utf8());
        let state = match deployed.progress {
            Progress::Pending => "in_progress",
            other => state(other),
        };
        let is_shown = shown.first().is_some_and(|shown| {
            shown.state == state && shown.description.as_deref() == Some(&description)
        });
        if is_shown {
            return Ok(());
        }
        let body = json!({
            "state": state,
            "description": description,
            "environment_url": deployed.url,
            "auto_inactive": true,
        });
        let posted = self
            .octocrab()
            .post::<_, serde_json::Value>(self.route(&route), Some(&body));
        posted.await.map(drop).map_err(|error| self.told(&error))
    }

    async fn deployment(&self, deployed: &Deployed) -> Result<u64, ForgeError> {
        let body = json!({
            "ref": deployed.commit,
            "task": TASK,
            "environment": deployed.environment,
            "auto_merge": false,
            // Whether it may be deployed was decided elsewhere, and it is.
            "required_contexts": [],
        });
        let made = self
            .octocrab()
            .post(self.route("deployments"), Some(&body))
            .await;
        let made: Deployment = made.map_err(|error| self.told(&error))?;
        Ok(made.id)
    }
}

fn state(progress: Progress) -> &'static str {
    match progress {
        Progress::Pending => "pending",
        Progress::Success => "success",
        Progress::Failure => "failure",
    }
}

fn progress(state: &str) -> Progress {
    match state {
        "success" => Progress::Success,
        "failure" | "error" => Progress::Failure,
        _ => Progress::Pending,
    }
}
