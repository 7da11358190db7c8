//! Gitea, and Forgejo: requests and statuses through their REST API
//! ([reference](https://docs.gitea.com/api/)).
//!
//! Owns what is asked and how answers are read; how requests travel is [`ask`]'s. Where it differs from
//! GitHub stands in `docs/gitea.md`. A `towpath/` branch of a fork is never taken for ours.

mod answer;
mod ask;
pub(crate) mod doors;
mod standing;
mod teams;
mod write;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde::de::DeserializeOwned;
use url::Url;

use super::github::Access;
use super::{
    Account, ForgeError, Found, Hook, Progress, Protection, ReadForge, Reported, Requests, Rights,
    Status, Visibility,
};
use crate::model::{CommitCheck, CommitId, RepositoryUrl, TeamName};
use answer::{Combined, CommitStatus, Event, Pull, RepositoryPage, Review};

/// Branches of proposals begin so.
const OURS: &str = "towpath/";

/// The largest page there is, unless the server's `MAX_RESPONSE_ITEMS` says otherwise.
const PAGE: usize = 50;

/// A first look reads so many pages of requests of any state, then open ones alone.
const PAGES: usize = 20;
const PAGES_OPEN: usize = 100;

/// So many pages of what happened to a request, and of a commit's statuses, are read.
const PAGES_BESIDE: usize = 10;

/// Moments have whole seconds: what changed in the second of the last look may have changed again in it.
const GRAIN: SignedDuration = SignedDuration::from_secs(1);

/// A repository on Gitea.
pub struct Gitea {
    name: String,
    path: String,
    api: Url,
    client: reqwest::Client,
    access: Arc<Access>,
    /// When the list was read last, by the server's clock.
    looked: Mutex<Option<Timestamp>>,
}

/// How a repository on Gitea is reached.
pub struct Connection {
    /// The one HTTP client.
    pub client: reqwest::Client,
    /// Where the API is: `https://HOST/api/v1`.
    pub api: Url,
    /// The repository.
    pub repository: RepositoryUrl,
    /// Who we are: a token. There are no Apps.
    pub access: Arc<Access>,
}

/// Where the API of a host is.
pub fn api(host: &str) -> String {
    format!("https://{host}/api/v1")
}

impl Gitea {
    /// The repository. Asks nothing.
    pub fn new(connection: Connection) -> Self {
        let Connection {
            client,
            api,
            repository,
            access,
        } = connection;
        let (host, path) = repository.parts().unwrap_or_default();
        Self {
            name: format!("{host}/{path}"),
            path: path.to_owned(),
            api,
            client,
            access,
            looked: Mutex::default(),
        }
    }

    /// A page of requests, those that changed last first, and the server's own moment.
    async fn page(
        &self,
        state: &str,
        page: usize,
    ) -> Result<(Vec<Pull>, Option<Timestamp>), ForgeError> {
        let query = format!("pulls?state={state}&sort=recentupdate&limit={PAGE}&page={page}");
        let answer = self.ask(Method::GET, &query, None).await?;
        Ok((answer.read()?, answer.date))
    }

    /// What changed since; where nothing was known, everything that may still matter.
    async fn news(&self, before: &Requests) -> Result<News, ForgeError> {
        let mut news = News {
            pulls: Vec::new(),
            until: before.until,
            date: None,
        };
        for page in 1..=PAGES {
            let (pulls, date) = self.page("all", page).await?;
            news.date = news.date.or(date);
            // A server may give smaller pages than were asked for: the last one is empty.
            if pulls.is_empty() {
                return Ok(news);
            }
            for pull in pulls {
                if before.until.is_some_and(|until| pull.updated_at < until) {
                    return Ok(news);
                }
                news.until = news.until.max(Some(pull.updated_at));
                news.pulls.push(pull);
            }
        }
        if before.until.is_none() {
            for page in 1..=PAGES_OPEN {
                let (pulls, _) = self.page("open", page).await?;
                if pulls.is_empty() {
                    break;
                }
                news.pulls.extend(pulls);
            }
        }
        Ok(news)
    }

    /// What is known only beside the list: who approved, and whether it merges by itself.
    async fn looked_into(&self, pull: &Pull, now: Timestamp) -> Result<Option<Found>, ForgeError> {
        if !pull.is_open() {
            return Ok(pull.found(None, now));
        }
        let approved = answer::approved(&self.reviews(pull.number).await?);
        let scheduled = self.scheduled(pull.number).await?;
        let scheduled = scheduled.map(|by| format!("armed to merge by itself by {by}"));
        let all: Vec<String> = [approved, scheduled].into_iter().flatten().collect();
        let armed = (!all.is_empty()).then(|| all.join(", "));
        Ok(pull.found(armed, now))
    }

    async fn reviews(&self, number: u64) -> Result<Vec<Review>, ForgeError> {
        self.of_repository(&format!("pulls/{number}/reviews")).await
    }

    /// Who had it merge by itself, if anybody: only what happened to it tells.
    async fn scheduled(&self, number: u64) -> Result<Option<String>, ForgeError> {
        let events: Vec<Event> = self
            .of_repository(&format!("issues/{number}/timeline"))
            .await?;
        Ok(answer::scheduled(&events))
    }

    /// All of a list of the repository, as far as it is read.
    async fn of_repository<T: DeserializeOwned>(&self, rest: &str) -> Result<Vec<T>, ForgeError> {
        let path = format!("repos/{}/{rest}", self.path);
        let (all, _) = self.pages(&path, PAGES_BESIDE).await?;
        Ok(all)
    }

    /// A list from its beginning, so many pages of it at most; and whether that is all.
    async fn pages<T: DeserializeOwned>(
        &self,
        path: &str,
        most: usize,
    ) -> Result<(Vec<T>, bool), ForgeError> {
        let mut all = Vec::new();
        for page in 1..=most {
            let query = format!("{path}?limit={PAGE}&page={page}");
            let answer = self.ask_beside(&query).await?;
            let part: Option<Vec<T>> = answer.read()?;
            let part = part.unwrap_or_default();
            let total = answer.total;
            // A server may give smaller pages than were asked for. Without a total every list ends with an empty page.
            let is_last = part.is_empty();
            all.extend(part);
            if is_last || total.is_some_and(|total| all.len() >= total) {
                return Ok((all, true));
            }
        }
        Ok((all, false))
    }

    async fn statuses_of(&self, commit: &str) -> Result<Vec<Status>, ForgeError> {
        let all = self.reported_of(commit).await?.into_iter();
        Ok(all.map(CommitStatus::read).collect())
    }

    async fn reported_of(&self, commit: &str) -> Result<Vec<CommitStatus>, ForgeError> {
        let mut all = Vec::new();
        for page in 1..=PAGES_BESIDE {
            let query = format!("commits/{commit}/status?limit={PAGE}&page={page}");
            let answer = self.ask(Method::GET, &query, None).await?;
            let combined: Combined = answer.read()?;
            let statuses = combined.statuses.unwrap_or_default();
            let is_last = statuses.len() < PAGE;
            all.extend(statuses);
            if is_last {
                break;
            }
        }
        Ok(all)
    }
}

/// What a look at the list found.
struct News {
    pulls: Vec<Pull>,
    /// The moment of the newest change.
    until: Option<Timestamp>,
    /// The server's own moment.
    date: Option<Timestamp>,
}

#[async_trait]
impl ReadForge for Gitea {
    fn name(&self) -> &str {
        &self.name
    }

    async fn visibility(&self) -> Result<Visibility, ForgeError> {
        let answer = self.ask(Method::GET, "", None).await?;
        let page: RepositoryPage = answer.read()?;
        Ok(page.visibility())
    }

    async fn requests(&self, before: &Requests, now: Timestamp) -> Result<Requests, ForgeError> {
        let news = self.news(before).await?;
        let looked = *self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let unsure = looked.and_then(|looked| looked.checked_sub(GRAIN).ok());
        let mut requests = before.clone();
        // An empty repository, too, was read until now.
        requests.until = news.until.or(Some(Timestamp::UNIX_EPOCH));
        for pull in &news.pulls {
            let (head, base) = (&pull.head.label, &pull.base.label);
            if !head.starts_with(OURS) || !pull.is_from_here() {
                requests.take_other(pull.number, pull.other());
                continue;
            }
            let is_sure = unsure.is_some_and(|unsure| pull.updated_at < unsure);
            let is_known = is_sure && requests.knows(head, base, pull.number, pull.updated_at);
            if is_known {
                continue;
            }
            if let Some(found) = self.looked_into(pull, now).await? {
                requests.take(found);
            }
        }
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = news.date;
        Ok(requests)
    }

    async fn statuses(&self, commit: CommitId) -> Result<Vec<Status>, ForgeError> {
        self.statuses_of(&commit.to_string()).await
    }

    /// There are no check runs: Actions, too, set statuses.
    async fn checked(
        &self,
        commit: CommitId,
        name: &str,
    ) -> Result<Option<Vec<CommitCheck>>, ForgeError> {
        let statuses = match self.reported_of(&commit.to_string()).await {
            // It says the same (404) of a commit that is not there as of code that is not shown to us.
            Err(ForgeError::Denied { .. }) => {
                self.ask(Method::GET, "branches?limit=1", None).await?;
                return Ok(None);
            }
            statuses => statuses?.into_iter(),
        };
        let named = statuses.filter(|it| it.is_of(name));
        Ok(Some(named.map(CommitStatus::check).collect()))
    }

    async fn rights(&self) -> Result<Rights, ForgeError> {
        self.own_rights().await
    }

    async fn protection(&self, reference: &str, us: &Rights) -> Result<Protection, ForgeError> {
        self.protection_of(reference, us).await
    }

    async fn reported(&self, base: &str) -> Result<Reported, ForgeError> {
        self.reported_on(base).await
    }

    async fn members(&self, team: &TeamName) -> Result<Vec<Account>, ForgeError> {
        self.members_of(team).await
    }

    async fn hooks(&self) -> Result<Vec<Hook>, ForgeError> {
        self.all_hooks().await
    }
}

/// As Gitea names it.
fn state(progress: Progress) -> &'static str {
    match progress {
        Progress::Pending => "pending",
        Progress::Success => "success",
        Progress::Failure => "failure",
    }
}
