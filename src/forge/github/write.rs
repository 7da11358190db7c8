//! What is changed about requests. Each is found as it is now first, so that what somebody did meanwhile is
//! kept, and what was done already is not done twice.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::GitHub;
use super::answer::{self, Comment, Pull};
use crate::forge::rest::{self, Saying};
use crate::forge::text::{self, Text};
use crate::forge::{Content, Deployed, Forge, ForgeError, Found, Opening, Status};
use crate::model::CommitId;
use crate::plan::Request;

impl GitHub {
    async fn pull(&self, request: &Request) -> Result<Pull, ForgeError> {
        let number = request.number.unwrap_or_default();
        self.get(&format!("pulls/{number}"), &[("", ""); 0]).await
    }

    async fn change(&self, number: u64, change: &Value) -> Result<Pull, ForgeError> {
        let route = self.route(&format!("pulls/{number}"));
        let changed = self.octocrab().patch(route, Some(change)).await;
        changed.map_err(|error| self.told(&error))
    }

    async fn post(&self, rest: &str, body: &Value) -> Result<Value, ForgeError> {
        let posted = self.octocrab().post(self.route(rest), Some(body)).await;
        posted.map_err(|error| self.told(&error))
    }

    /// The newest request between these branches that is open, or was about this very commit.
    async fn there(&self, opening: &Opening, state: &str) -> Result<Option<Pull>, ForgeError> {
        let (owner, _) = self.path.split_once('/').unwrap_or_default();
        let head = format!("{owner}:{}", opening.head);
        let query = [
            ("head", head.as_str()),
            ("base", &opening.base),
            ("state", state),
        ];
        let pulls: Vec<Pull> = self.get("pulls", &query).await?;
        let commit = opening.commit.to_string();
        let mut pulls = pulls.into_iter().filter(Pull::is_from_here);
        Ok(pulls.find(|pull| pull.is_open() || pull.is_at(&commit)))
    }

    /// Posts the request; where one is open already, that is the one.
    async fn opened(&self, opening: &Opening) -> Result<(Pull, bool), ForgeError> {
        let text = rest::opening(&opening.content);
        let body = json!({
            "title": text.title,
            "body": text.body,
            "head": opening.head,
            "base": opening.base,
            "draft": opening.policy.draft,
            "maintainer_can_modify": false,
        });
        let posted = self.octocrab().post(self.route("pulls"), Some(&body)).await;
        let refused = match posted {
            Ok(pull) => return Ok((pull, true)),
            Err(error) => self.told(&error),
        };
        if let ForgeError::Refused { .. } = &refused
            && let Some(pull) = self.there(opening, "open").await?
        {
            return Ok((pull, false));
        }
        Err(refused)
    }

    /// Labels and reviewers. A request stands without them: what GitHub does not take is only told.
    async fn dressed(&self, opening: &Opening, pull: Pull) -> Pull {
        let policy = &opening.policy;
        let mut pull = pull;
        if let Some(body) = rest::reviewers(policy) {
            let rest = format!("pulls/{}/requested_reviewers", pull.number);
            let asked = self.octocrab().post(self.route(&rest), Some(&body)).await;
            match asked {
                Ok(after) => pull = after,
                Err(error) => self.lacks(&pull, "reviewers", &self.told(&error)),
            }
        }
        if let Some(method) = policy.auto_merge
            && let Err(error) = self.auto_merge(&pull, method).await
        {
            self.lacks(&pull, "auto-merge", &error);
        }
        if !policy.labels.is_empty() {
            let rest = format!("issues/{}/labels", pull.number);
            let body = json!({ "labels": policy.labels });
            let labelled = self.octocrab().post(self.route(&rest), Some(&body)).await;
            match labelled {
                Ok(labels) => pull.take_labels(labels),
                Err(error) => self.lacks(&pull, "labels", &self.told(&error)),
            }
        }
        pull
    }

    fn lacks(&self, pull: &Pull, what: &str, error: &ForgeError) {
        tracing::warn!(request = pull.number, forge = %self.name, %error, "opened without its {what}");
    }

    /// Says something below a request, unless that was said already.
    async fn say(&self, number: u64, it: &Saying, now: Timestamp) -> Result<(), ForgeError> {
        let since = Saying::since(now);
        let query = [("since", since.as_str()), ("per_page", "100")];
        let route = format!("issues/{number}/comments");
        let said: Vec<Comment> = self.get(&route, &query).await?;
        let mut said = said.iter().filter_map(|comment| comment.body.as_deref());
        match said.any(|body| it.is(body)) {
            true => Ok(()),
            false => self.post(&route, &it.body()).await.map(drop),
        }
    }

    fn found(
        &self,
        pull: &Pull,
        armed: Option<String>,
        now: Timestamp,
    ) -> Result<Found, ForgeError> {
        let found = pull.found(armed, now);
        found.ok_or_else(|| rest::unavailable(&self.name, rest::NO_COMMIT, None))
    }
}

#[async_trait]
impl Forge for GitHub {
    async fn open(&self, opening: &Opening, now: Timestamp) -> Result<Found, ForgeError> {
        let there = match self.complete.load(Ordering::Relaxed) {
            true => None,
            false => self.there(opening, "all").await?,
        };
        let pull = match there {
            Some(pull) => pull,
            None => match self.opened(opening).await? {
                (pull, true) => self.dressed(opening, pull).await,
                (pull, false) => pull,
            },
        };
        self.found(&pull, None, now)
    }

    async fn rewrite(
        &self,
        request: &Request,
        content: &Content,
        now: Timestamp,
    ) -> Result<Found, ForgeError> {
        let pull = self.pull(request).await?;
        let before = Text {
            title: pull.title.clone(),
            body: pull.body.clone().unwrap_or_default(),
        };
        let after = text::merged(&before, content);
        let pull = match after == before || !pull.is_open() {
            true => pull,
            false => {
                let change = json!({ "title": after.title, "body": after.body });
                self.change(pull.number, &change).await?
            }
        };
        self.found(&pull, request.armed.clone(), now)
    }

    async fn close(
        &self,
        request: &Request,
        reason: &str,
        now: Timestamp,
    ) -> Result<Found, ForgeError> {
        let mut pull = self.pull(request).await?;
        if pull.is_open() {
            self.say(pull.number, &Saying::closes(reason), now).await?;
            pull = self
                .change(pull.number, &json!({ "state": "closed" }))
                .await?;
        }
        self.found(&pull, None, now)
    }

    async fn disarm(
        &self,
        request: &Request,
        reason: &str,
        now: Timestamp,
    ) -> Result<Found, ForgeError> {
        let pull = self.pull(request).await?;
        if self.has_queue(&pull.base.branch).await && self.is_queued(&pull).await? {
            self.dequeue(&pull).await?;
        }
        if pull.auto_merge.is_some() {
            self.no_auto_merge(&pull).await?;
        }
        let reviews = self.reviews(pull.number).await?;
        for review in reviews.iter().filter(|review| review.approves()) {
            let rest = format!("pulls/{}/reviews/{}/dismissals", pull.number, review.id);
            let body = json!({ "message": format!("Towpath: {reason}."), "event": "DISMISS" });
            let route = self.route(&rest);
            let dismissed = self.octocrab().put::<Value, _, _>(route, Some(&body)).await;
            dismissed.map_err(|error| self.told(&error))?;
        }
        let pull = self.pull(request).await?;
        let reviews = self.reviews(pull.number).await?;
        let armed = answer::approved(&reviews);
        self.found(&pull, armed, now)
    }

    async fn set_status(&self, commit: CommitId, status: &Status) -> Result<(), ForgeError> {
        self.post_status(commit, status).await
    }

    async fn show_deployed(&self, deployed: &Deployed) -> Result<(), ForgeError> {
        self.post_deployed(deployed).await
    }
}
