//! GitHub, and GitHub Enterprise: requests, statuses and deployments through its REST API; the merge queue,
//! auto-merge and commits that it signs through GraphQL, which alone has them.
//!
//! Owns what is asked and how answers are read. How requests travel is the [`door`]'s; octocrab makes them
//! and reads errors. A `towpath/` branch of a fork is never taken for ours.

mod access;
mod answer;
mod checks;
mod commit;
mod door;
pub(crate) mod doors;
mod graph;
mod protected;
mod shown;
mod standing;
mod teams;
mod write;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use octocrab::{AuthState, FromResponse, Octocrab, OctocrabBuilder};
use serde::{Deserialize, Serialize};
use url::Url;

pub use access::{Access, Identity};
pub use door::{Budget, Trouble};

use self::shown::QueueSeen;
use super::rest::{self, WORDS};
use super::{
    Account, ForgeError, Found, Hook, Protection, ReadForge, Reported, Requests, Rights, Status,
    Visibility,
};
use crate::model::{CommitCheck, CommitId, RepositoryUrl, TeamName};
use crate::secret::words;
use answer::{Pull, RepositoryPage, Review};
use door::Door;

/// Branches of proposals begin so.
const OURS: &str = "towpath/";

/// A page of a first look, of which GitHub gives no larger ones; and of later ones, which find little.
const PAGE: usize = 100;
const PAGE_OF_NEWS: usize = 30;

/// A first look reads so many pages of requests of any state, then open ones alone.
const PAGES: usize = 10;
const PAGES_OPEN: usize = 50;

/// So many requests that may be merged at any moment are asked whether they are behind.
const NEXT: usize = 10;

/// Moments have whole seconds: what changed a moment ago may change again within the same one, and is looked
/// into once more.
const FRESH: SignedDuration = SignedDuration::from_secs(10);

/// A repository on GitHub.
pub struct GitHub {
    name: String,
    path: String,
    door: Door,
    made: OnceLock<Octocrab>,
    /// Whether all of its requests were seen: then one that is not known does not exist.
    complete: AtomicBool,
    queue: QueueSeen,
}

/// How a repository on GitHub is reached.
pub struct Connection {
    /// The one HTTP client.
    pub client: reqwest::Client,
    /// Where the API is: `https://api.github.com`, or `https://HOST/api/v3`.
    pub api: Url,
    /// The repository.
    pub repository: RepositoryUrl,
    /// Who we are.
    pub access: Arc<Access>,
    /// What may be asked: one for all repositories of a host and a credential.
    pub budget: Arc<Budget>,
}

/// Where the API of a host is.
pub fn api(host: &str) -> String {
    match host {
        "github.com" => "https://api.github.com".to_owned(),
        host if host.ends_with(".ghe.com") => format!("https://api.{host}"),
        host => format!("https://{host}/api/v3"),
    }
}

impl GitHub {
    /// The repository. Asks nothing.
    pub fn new(connection: Connection) -> Self {
        let Connection {
            client,
            api,
            repository,
            access,
            budget,
        } = connection;
        let (host, path) = repository.parts().unwrap_or_default();
        let door = Door::new(client, api, access, budget);
        Self {
            name: format!("{host}/{path}"),
            path: path.to_owned(),
            door,
            made: OnceLock::new(),
            complete: AtomicBool::new(false),
            queue: QueueSeen::default(),
        }
    }

    /// Made when it is first used: it starts a task of its own, for which there must be a runtime.
    fn octocrab(&self) -> &Octocrab {
        self.made.get_or_init(|| {
            let built = OctocrabBuilder::new_empty()
                .with_service(self.door.clone())
                .with_auth(AuthState::None)
                .build();
            match built {
                Ok(octocrab) => octocrab,
                Err(never) => match never {},
            }
        })
    }

    /// `/repos/acme/infra/…`.
    fn route(&self, rest: &str) -> String {
        format!("/repos/{}/{rest}", self.path)
    }

    async fn get<T: FromResponse>(
        &self,
        rest: &str,
        query: &impl Serialize,
    ) -> Result<T, ForgeError> {
        let got = self.octocrab().get(self.route(rest), Some(query)).await;
        got.map_err(|error| self.told(&error))
    }

    /// A list from its beginning, so many pages of it at most; and whether that is all.
    async fn pages<T: for<'a> Deserialize<'a> + 'static>(
        &self,
        route: &str,
        more: &[(&str, &str)],
        most: usize,
    ) -> Result<(Vec<T>, bool), ForgeError> {
        let mut all = Vec::new();
        for page in 1..=most {
            let (size, page) = (PAGE.to_string(), page.to_string());
            let mut query = vec![("per_page", size.as_str()), ("page", page.as_str())];
            query.extend(more);
            let got = self.octocrab().get(route, Some(&query)).await;
            let part: Vec<T> = got.map_err(|error| self.told(&error))?;
            let is_last = part.len() < PAGE;
            all.extend(part);
            if is_last {
                return Ok((all, true));
            }
        }
        Ok((all, false))
    }

    /// A page of requests, those that changed last first.
    async fn page(&self, state: &str, size: usize, page: usize) -> Result<Vec<Pull>, ForgeError> {
        let query = [
            ("state", state),
            ("sort", "updated"),
            ("direction", "desc"),
            ("per_page", &size.to_string()),
            ("page", &page.to_string()),
        ];
        self.get("pulls", &query).await
    }

    /// What changed since; where nothing was known, everything that may still matter.
    async fn news(&self, before: &Requests) -> Result<(Vec<Pull>, Option<Timestamp>), ForgeError> {
        let (mut news, mut until) = (Vec::new(), before.until);
        let size = match before.until {
            Some(_) => PAGE_OF_NEWS,
            None => PAGE,
        };
        let mut ended = false;
        for page in 1..=PAGES {
            let pulls = self.page("all", size, page).await?;
            ended = pulls.len() < size;
            for pull in pulls {
                if before.until.is_some_and(|until| pull.updated_at < until) {
                    return Ok((news, until));
                }
                until = until.max(Some(pull.updated_at));
                news.push(pull);
            }
            if ended {
                break;
            }
        }
        if before.until.is_none() {
            self.complete.store(ended, Ordering::Relaxed);
            for page in 1..=PAGES_OPEN {
                if ended {
                    break;
                }
                let pulls = self.page("open", PAGE, page).await?;
                ended = pulls.len() < PAGE;
                news.extend(pulls);
            }
        }
        // An empty repository, too, was read until now.
        Ok((news, until.or(Some(Timestamp::UNIX_EPOCH))))
    }

    async fn reviews(&self, number: u64) -> Result<Vec<Review>, ForgeError> {
        let query = [("per_page", PAGE.to_string())];
        self.get(&format!("pulls/{number}/reviews"), &query).await
    }

    /// What is known only beside the list: who approved, and whether it is queued.
    async fn looked_into(&self, pull: &Pull, now: Timestamp) -> Result<Option<Found>, ForgeError> {
        if !pull.is_open() {
            return Ok(pull.found(None, now));
        }
        let reviews = self.reviews(pull.number).await?;
        let approved = answer::approved(&reviews);
        let queued = match self.has_queue(&pull.base.branch).await {
            true => self.is_queued(pull).await?,
            false => false,
        };
        let queued = queued.then(|| "in the merge queue".to_owned());
        let armed = pull.auto_merge.as_ref().map(answer::AutoMerge::told);
        let all: Vec<String> = [approved, queued, armed].into_iter().flatten().collect();
        let armed = (!all.is_empty()).then(|| all.join(", "));
        Ok(pull.found(armed, now))
    }

    /// What kept us from asking, as callers tell it apart.
    fn trouble(&self, trouble: &Trouble) -> ForgeError {
        let forge = self.name.clone();
        match trouble {
            Trouble::Later {
                detail,
                retry_after,
            } => ForgeError::Unavailable {
                forge,
                detail: words(detail, WORDS),
                retry_after: *retry_after,
            },
            Trouble::Credential(reason) => ForgeError::Denied {
                forge,
                reason: reason.clone(),
            },
        }
    }

    /// Of the requests that are merged next, the first for each base that protection keeps from it until it
    /// stands on the base's head: one at a time, since each merge leaves all others behind.
    async fn behind(&self, requests: &Requests) -> Result<BTreeSet<u64>, ForgeError> {
        let (mut behind, mut bases) = (BTreeSet::new(), BTreeSet::new());
        for (number, base) in requests.armed().into_iter().take(NEXT) {
            if bases.contains(&base) {
                continue;
            }
            let pull: Pull = self.get(&format!("pulls/{number}"), &[("", ""); 0]).await?;
            if pull.is_behind() {
                behind.insert(number);
                bases.insert(base);
            }
        }
        Ok(behind)
    }

    /// An error of octocrab's, as callers tell them apart.
    fn told(&self, error: &octocrab::Error) -> ForgeError {
        let forge = self.name.clone();
        let later = |detail: String, retry_after| rest::unavailable(&forge, &detail, retry_after);
        match error {
            octocrab::Error::GitHub { source, .. } => {
                let status = source.status_code.as_u16();
                let mut reason = source.message.clone();
                for error in source.errors.iter().flatten() {
                    reason.push_str("; ");
                    reason.push_str(&field(error));
                }
                let reason = words(&reason, WORDS);
                match status {
                    403 => ForgeError::Denied {
                        forge,
                        reason: format!(
                            "{reason} (403): the credential lacks a right, see docs/github.md"
                        ),
                    },
                    404 => ForgeError::Denied {
                        forge,
                        reason: format!(
                            "{reason} (404): it is not there, or the credential may not see it, see docs/github.md"
                        ),
                    },
                    _ => ForgeError::Refused {
                        forge,
                        reason: format!("{reason} ({status})"),
                    },
                }
            }
            octocrab::Error::Service { source, .. } => match trouble(source.as_ref()) {
                Some(trouble) => self.trouble(trouble),
                None => later(source.to_string(), None),
            },
            octocrab::Error::Graphql { source, .. } => ForgeError::Refused {
                forge,
                reason: words(&source.to_string(), WORDS),
            },
            octocrab::Error::Json { .. } | octocrab::Error::Serde { .. } => {
                later(format!("its answer cannot be read: {error}"), None)
            }
            other => later(other.to_string(), None),
        }
    }
}

/// What a validation error says of one field.
fn field(error: &serde_json::Value) -> String {
    match error.get("message").and_then(serde_json::Value::as_str) {
        Some(message) => message.to_owned(),
        None => error.to_string(),
    }
}

fn trouble<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Trouble> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(trouble) = error.downcast_ref::<Trouble>() {
            return Some(trouble);
        }
        next = error.source();
    }
    None
}

#[async_trait]
impl ReadForge for GitHub {
    fn name(&self) -> &str {
        &self.name
    }

    async fn visibility(&self) -> Result<Visibility, ForgeError> {
        let path = format!("/repos/{}", self.path);
        let got = self.octocrab().get(path, None::<&()>).await;
        let page: RepositoryPage = got.map_err(|error| self.told(&error))?;
        Ok(page.visibility())
    }

    async fn requests(&self, before: &Requests, now: Timestamp) -> Result<Requests, ForgeError> {
        let (news, until) = self.news(before).await?;
        let mut requests = before.clone();
        requests.until = until;
        for pull in &news {
            let (head, base) = (&pull.head.branch, &pull.base.branch);
            if !head.starts_with(OURS) || !pull.is_from_here() {
                requests.take_other(pull.number, pull.other());
                continue;
            }
            if requests.knows(head, base, pull.number, pull.updated_at) {
                continue;
            }
            if let Some(mut found) = self.looked_into(pull, now).await? {
                if now.duration_since(found.changed) < FRESH {
                    found.changed = Timestamp::MIN;
                }
                requests.take(found);
            }
        }
        let behind = self.behind(&requests).await?;
        requests.set_behind(&behind);
        Ok(requests)
    }

    async fn statuses(&self, commit: CommitId) -> Result<Vec<Status>, ForgeError> {
        self.statuses_of(commit).await
    }

    async fn checked(
        &self,
        commit: CommitId,
        name: &str,
    ) -> Result<Option<Vec<CommitCheck>>, ForgeError> {
        self.checks_of(commit, name).await
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
