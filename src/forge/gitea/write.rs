//! What is changed about requests. Each is found as it is now first, so that what somebody did meanwhile is
//! kept, and what was done already is not done twice.

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use super::answer::{self, Comment, DRAFT, Label, Pull, Ref};
use super::{Gitea, PAGE, PAGES_OPEN, state};
use crate::forge::rest::{self, Saying};
use crate::forge::text::{self, Text};
use crate::forge::{Content, Deployed, Forge, ForgeError, Found, Opening, Status};
use crate::model::{CommitId, MergeMethod};
use crate::plan::Request;
use crate::shown::on_one_line;

/// The colour of labels that are made because a configuration names them.
const COLOR: &str = "#ededed";

/// What is shown of a description.
const DESCRIPTION: usize = 250;

impl Gitea {
    /// The request as it is. Of one that ended Gitea shows the branch's present commit here, so the one that it
    /// was about is asked for.
    async fn pull(&self, number: u64) -> Result<Pull, ForgeError> {
        let rest = format!("pulls/{number}");
        let mut pull: Pull = self.ask(Method::GET, &rest, None).await?.read()?;
        if !pull.is_open() {
            let kept = format!("git/refs/pull/{number}/head");
            let kept: Vec<Ref> = self.ask(Method::GET, &kept, None).await?.read()?;
            pull.take_head(kept);
        }
        Ok(pull)
    }

    async fn change(&self, number: u64, change: &Value) -> Result<Pull, ForgeError> {
        let rest = format!("pulls/{number}");
        self.ask(Method::PATCH, &rest, Some(change)).await?.read()
    }

    async fn post(&self, rest: &str, body: &Value) -> Result<(), ForgeError> {
        self.ask(Method::POST, rest, Some(body)).await.map(drop)
    }

    /// The newest request between these branches, of those that changed last, that is open or was about this
    /// very commit.
    async fn there(&self, opening: &Opening) -> Result<Option<Pull>, ForgeError> {
        let (pulls, _) = self.page("all", 1).await?;
        let commit = opening.commit.to_string();
        let fits = |pull: &Pull| pull.is_open() || pull.is_at(&commit);
        let mut ours = pulls.into_iter().filter(|pull| is_between(pull, opening));
        Ok(ours.find(fits))
    }

    /// The open request between these branches.
    async fn open_one(&self, opening: &Opening) -> Result<Option<Pull>, ForgeError> {
        for page in 1..=PAGES_OPEN {
            let (pulls, _) = self.page("open", page).await?;
            if pulls.is_empty() {
                break;
            }
            if let Some(pull) = pulls.into_iter().find(|pull| is_between(pull, opening)) {
                return Ok(Some(pull));
            }
        }
        Ok(None)
    }

    /// Posts the request; where one is open already, that is the one.
    async fn opened(&self, opening: &Opening) -> Result<Pull, ForgeError> {
        let text = rest::opening(&opening.content);
        let title = match opening.policy.draft {
            true => format!("{} {}", DRAFT[0], text.title),
            false => text.title,
        };
        let body = json!({
            "title": title,
            "body": text.body,
            "head": opening.head,
            "base": opening.base,
        });
        match self.ask(Method::POST, "pulls", Some(&body)).await {
            Ok(answer) => self.dressed(opening, answer.read()?).await,
            Err(refused @ ForgeError::Refused { .. }) => {
                self.open_one(opening).await?.ok_or(refused)
            }
            Err(error) => Err(error),
        }
    }

    /// Labels and reviewers. A request stands without them: what Gitea does not take is only told.
    async fn dressed(&self, opening: &Opening, pull: Pull) -> Result<Pull, ForgeError> {
        let (policy, number) = (&opening.policy, pull.number);
        if let Some(body) = rest::reviewers(policy) {
            let rest = format!("pulls/{number}/requested_reviewers");
            let asked = self.post(&rest, &body).await;
            self.tell_what_it_lacks(number, "reviewers", asked);
        }
        if !policy.labels.is_empty() {
            let labelled = self.label(number, &policy.labels).await;
            self.tell_what_it_lacks(number, "labels", labelled);
        }
        if let Some(method) = policy.auto_merge {
            let method = match method {
                MergeMethod::Merge => "merge",
                MergeMethod::Squash => "squash",
                MergeMethod::Rebase => "rebase",
            };
            let body = json!({
                "Do": method,
                "merge_when_checks_succeed": true,
                "head_commit_id": opening.commit.to_string(),
            });
            let armed = self.post(&format!("pulls/{number}/merge"), &body).await;
            self.tell_what_it_lacks(number, "auto-merge", armed);
        }
        match policy.reviewers.is_empty() && policy.labels.is_empty() && policy.auto_merge.is_none()
        {
            true => Ok(pull),
            false => self.pull(number).await,
        }
    }

    /// Puts labels on it. Gitea passes over those that do not exist, so they are made.
    async fn label(&self, number: u64, names: &[String]) -> Result<(), ForgeError> {
        let (rest, body) = (
            format!("issues/{number}/labels"),
            json!({ "labels": names }),
        );
        let answer = self.ask(Method::POST, &rest, Some(&body)).await?;
        let has: Option<Vec<Label>> = answer.read()?;
        let has = has.unwrap_or_default();
        let missing = names
            .iter()
            .filter(|&name| has.iter().all(|it| it.name != *name));
        let missing: Vec<&String> = missing.collect();
        if missing.is_empty() {
            return Ok(());
        }
        for name in &missing {
            self.post("labels", &json!({ "name": name, "color": COLOR }))
                .await?;
        }
        self.post(&rest, &json!({ "labels": missing })).await
    }

    fn tell_what_it_lacks(&self, request: u64, what: &str, done: Result<(), ForgeError>) {
        if let Err(error) = done {
            tracing::warn!(request, forge = %self.name, %error, "opened without its {what}");
        }
    }

    /// Says something below a request, unless that was said already.
    async fn say(&self, number: u64, it: &Saying, now: Timestamp) -> Result<(), ForgeError> {
        let rest = format!("issues/{number}/comments");
        // This list has no pages.
        let asked = format!("{rest}?since={}&limit={PAGE}", Saying::since(now));
        let said: Option<Vec<Comment>> = self.ask(Method::GET, &asked, None).await?.read()?;
        match said.iter().flatten().any(|comment| it.is(&comment.body)) {
            true => Ok(()),
            false => self.post(&rest, &it.body()).await,
        }
    }

    async fn post_status(&self, commit: &str, status: &Status) -> Result<(), ForgeError> {
        let body = json!({
            "state": state(status.progress),
            "context": status.context,
            "description": on_one_line(&status.description, DESCRIPTION),
            "target_url": status.url.as_deref().unwrap_or_default(),
        });
        self.post(&format!("statuses/{commit}"), &body).await
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

fn is_between(pull: &Pull, opening: &Opening) -> bool {
    let (head, base) = (&pull.head.label, &pull.base.label);
    *head == opening.head && *base == opening.base && pull.is_from_here()
}

#[async_trait]
impl Forge for Gitea {
    async fn open(&self, opening: &Opening, now: Timestamp) -> Result<Found, ForgeError> {
        let pull = match self.there(opening).await? {
            Some(pull) => pull,
            None => self.opened(opening).await?,
        };
        self.found(&pull, None, now)
    }

    async fn rewrite(
        &self,
        request: &Request,
        content: &Content,
        now: Timestamp,
    ) -> Result<Found, ForgeError> {
        let mut pull = self.pull(request.number.unwrap_or_default()).await?;
        let (title, draft) = pull.title();
        let before = Text {
            title: title.to_owned(),
            body: pull.body.clone(),
        };
        let after = text::merged(&before, content);
        if after != before && pull.is_open() {
            let title = format!("{draft} {}", after.title);
            let change = json!({ "title": title.trim_start(), "body": after.body });
            pull = self.change(pull.number, &change).await?;
        }
        self.found(&pull, request.armed.clone(), now)
    }

    async fn close(
        &self,
        request: &Request,
        reason: &str,
        now: Timestamp,
    ) -> Result<Found, ForgeError> {
        let mut pull = self.pull(request.number.unwrap_or_default()).await?;
        if pull.is_open() {
            self.say(pull.number, &Saying::closes(reason), now).await?;
            let closed = json!({ "state": "closed" });
            pull = self.change(pull.number, &closed).await?;
        }
        self.found(&pull, None, now)
    }

    async fn disarm(
        &self,
        request: &Request,
        reason: &str,
        now: Timestamp,
    ) -> Result<Found, ForgeError> {
        let number = request.number.unwrap_or_default();
        if self.scheduled(number).await?.is_some() {
            let rest = format!("pulls/{number}/merge");
            self.ask(Method::DELETE, &rest, None).await?;
        }
        let reviews = self.reviews(number).await?;
        for review in reviews.iter().filter(|review| review.approves()) {
            let rest = format!("pulls/{number}/reviews/{}/dismissals", review.id);
            let body = json!({ "message": format!("Towpath: {reason}."), "priors": false });
            self.post(&rest, &body).await?;
        }
        let pull = self.pull(number).await?;
        let armed = answer::approved(&self.reviews(number).await?);
        self.found(&pull, armed, now)
    }

    async fn set_status(&self, commit: CommitId, status: &Status) -> Result<(), ForgeError> {
        self.post_status(&commit.to_string(), status).await
    }

    /// Gitea has no deployments: a status of the application's commit says it.
    async fn show_deployed(&self, deployed: &Deployed) -> Result<(), ForgeError> {
        let commit = &deployed.commit;
        let status = Status {
            context: format!("towpath/{}", deployed.environment),
            progress: deployed.progress,
            description: on_one_line(&deployed.description, DESCRIPTION),
            url: deployed.url.clone(),
        };
        match self.statuses_of(commit).await?.contains(&status) {
            true => Ok(()),
            false => self.post_status(commit, &status).await,
        }
    }
}
