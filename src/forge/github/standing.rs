//! Who we are to GitHub and what we may do, which checks are reported, and where it tells of news.
//!
//! An App is told its permissions, a classic token its scopes; a fine-grained token is told nothing, so what it
//! may read is tried, and what it may write is not known until it is needed.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::GitHub;
use super::access::Granted;
use super::answer::{Combined, User};
use super::checks::UNREADABLE;
use crate::forge::{ForgeError, Hook, May, Reported, Rights, Work};

/// So many requests are looked at for the checks that are reported.
const REQUESTS: usize = 5;

/// A page of what is small.
const PAGE: &str = "100";

/// A [repository](https://docs.github.com/en/rest/repos/repos#get-a-repository), as far as it concerns us.
#[derive(Debug, Deserialize)]
struct Repository {
    #[serde(default)]
    archived: bool,
    #[serde(default)]
    private: bool,
    default_branch: String,
    permissions: Option<Permissions>,
}

#[derive(Debug, Default, Deserialize)]
struct Permissions {
    #[serde(default)]
    admin: bool,
    #[serde(default)]
    push: bool,
}

#[derive(Debug, Deserialize)]
struct Headed {
    head: Head,
}

#[derive(Debug, Deserialize)]
struct Head {
    sha: String,
}

#[derive(Debug, Deserialize)]
struct CheckRuns {
    check_runs: Vec<CheckRun>,
}

#[derive(Debug, Deserialize)]
struct CheckRun {
    name: String,
}

/// A [webhook](https://docs.github.com/en/rest/repos/webhooks).
#[derive(Debug, Deserialize)]
struct Webhook {
    active: bool,
    events: BTreeSet<String>,
    config: WebhookConfig,
    last_response: Option<LastResponse>,
}

#[derive(Debug, Deserialize)]
struct WebhookConfig {
    #[serde(default)]
    url: String,
}

#[derive(Debug, Deserialize)]
struct LastResponse {
    code: Option<u16>,
}

impl GitHub {
    pub(super) async fn own_rights(&self) -> Result<Rights, ForgeError> {
        let repository = format!("/repos/{}", self.path);
        let repository = self.octocrab().get(repository, None::<&()>).await;
        let repository: Repository = repository.map_err(|error| self.told(&error))?;
        let scopes = self.door.scopes();
        let granted = self.door.access().granted().await;
        if let Some(granted) = granted.map_err(|trouble| self.trouble(&trouble))? {
            return Ok(of_app(&granted, &repository));
        }
        let login = match self.octocrab().get("/user", None::<&()>).await {
            Ok::<User, _>(user) => Some(user.login),
            Err(error) => match self.told(&error) {
                // An App's token that somebody else made.
                ForgeError::Denied { .. } => None,
                other => return Err(other),
            },
        };
        let role = repository.permissions.as_ref();
        let may = match scopes {
            Some(scopes) => by_scopes(&scopes, &repository),
            None => self.tried(&repository).await?,
        };
        Ok(Rights {
            login,
            app: None,
            admin: role.is_some_and(|it| it.admin),
            archived: repository.archived,
            may,
        })
    }

    /// What a token may that is told nothing: what may not even be read may not be written.
    async fn tried(&self, repository: &Repository) -> Result<BTreeMap<Work, May>, ForgeError> {
        let pushes = repository.permissions.as_ref().is_some_and(|it| it.push);
        let mut may = BTreeMap::new();
        for work in Work::ALL {
            let allowed = match (pushes, read_by(work, &repository.default_branch)) {
                (false, _) => May::No("the role `write` in the repository".to_owned()),
                (true, None) => untold(),
                (true, Some(route)) => {
                    let read = self.get::<serde_json::Value>(&route, &[("per_page", "1")]);
                    match read.await {
                        // A repository without commits has no status.
                        Ok(_) | Err(ForgeError::Refused { .. }) => untold(),
                        Err(ForgeError::Denied { .. }) => {
                            May::No(format!("the permission `{}: write`", permission(work)))
                        }
                        Err(error) => return Err(error),
                    }
                }
            };
            may.insert(work, allowed);
        }
        Ok(may)
    }

    pub(super) async fn reported_on(&self, base: &str) -> Result<Reported, ForgeError> {
        let query = [
            ("state", "all"),
            ("base", base),
            ("sort", "updated"),
            ("direction", "desc"),
            ("per_page", &REQUESTS.to_string()),
        ];
        let pulls: Vec<Headed> = self.get("pulls", &query).await?;
        let mut reported = Reported {
            requests: pulls.len(),
            ..Reported::default()
        };
        for pull in &pulls {
            let sha = &pull.head.sha;
            let route = format!("commits/{sha}/status");
            let combined: Combined = self.get(&route, &[("per_page", PAGE)]).await?;
            let names = combined.statuses.into_iter().map(|it| it.context);
            reported.contexts.extend(names);
            let route = format!("commits/{sha}/check-runs");
            match self.get::<CheckRuns>(&route, &[("per_page", PAGE)]).await {
                Ok(runs) => {
                    let names = runs.check_runs.into_iter().map(|it| it.name);
                    reported.contexts.extend(names);
                }
                Err(ForgeError::Denied { .. }) => {
                    reported.untold = Some(UNREADABLE.to_owned());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(reported)
    }

    pub(super) async fn all_hooks(&self) -> Result<Vec<Hook>, ForgeError> {
        let hooks: Vec<Webhook> = self.get("hooks", &[("per_page", PAGE)]).await?;
        let read = |hook: Webhook| Hook {
            // Senders that cannot sign have a secret in their address.
            url: hook.config.url.split('?').next().unwrap_or_default().into(),
            active: hook.active,
            events: hook.events,
            answered: hook.last_response.and_then(|it| it.code),
        };
        Ok(hooks.into_iter().map(read).collect())
    }
}

fn of_app(granted: &Granted, repository: &Repository) -> Rights {
    let has = |work: Work| {
        let name = permission(work);
        match granted.permissions.get(name).map(String::as_str) {
            Some("write" | "admin") => May::Yes,
            _ => May::No(format!("the App's permission `{name}: write`")),
        }
    };
    Rights {
        login: Some(format!("{}[bot]", granted.app_slug)),
        app: Some(granted.app_id),
        // An App has no role.
        admin: false,
        archived: repository.archived,
        may: Work::ALL.map(|work| (work, has(work))).into(),
    }
}

/// What a classic token may: what its person may, as far as its scopes go.
fn by_scopes(scopes: &BTreeSet<String>, repository: &Repository) -> BTreeMap<Work, May> {
    let pushes = repository.permissions.as_ref().is_some_and(|it| it.push);
    let may = |work: Work| {
        let scope = match work {
            Work::Contents | Work::Requests => "repo",
            Work::Statuses => "repo:status",
            Work::Deployments => "repo_deployment",
        };
        let public = !repository.private && scopes.contains("public_repo");
        match (pushes, scopes.contains("repo") || public) {
            (false, _) => May::No("the role `write` in the repository".to_owned()),
            (true, true) => May::Yes,
            (true, false) if scopes.contains(scope) => May::Yes,
            (true, false) => May::No(format!("the token's scope `{scope}`")),
        }
    };
    Work::ALL.map(|work| (work, may(work))).into()
}

fn untold() -> May {
    May::Untold("a fine-grained token is not told what it may write".to_owned())
}

/// What may be read by whoever may read what this work writes; `None`: anybody may.
fn read_by(work: Work, branch: &str) -> Option<String> {
    match work {
        Work::Contents => None,
        Work::Requests => Some("pulls".to_owned()),
        Work::Statuses => Some(format!("commits/{branch}/status")),
        Work::Deployments => Some("deployments".to_owned()),
    }
}

/// As Apps and fine-grained tokens name it.
fn permission(work: Work) -> &'static str {
    match work {
        Work::Contents => "contents",
        Work::Requests => "pull_requests",
        Work::Statuses => "statuses",
        Work::Deployments => "deployments",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_classic_token_goes_as_far_as_its_scopes_and_its_person() {
        let all = [
            (&["repo"][..], true, true, [true, true, true, true]),
            (&["repo"], true, false, [false; 4]),
            (&["public_repo"], false, true, [true, true, true, true]),
            (&["public_repo"], true, true, [false; 4]),
            (&["repo:status"], true, true, [false, false, true, false]),
            (
                &["repo_deployment"],
                true,
                true,
                [false, false, false, true],
            ),
            (&[], true, true, [false; 4]),
        ];
        for (scopes, private, push, wanted) in all {
            let repository = Repository {
                archived: false,
                private,
                default_branch: "main".to_owned(),
                permissions: Some(Permissions { admin: false, push }),
            };
            let scopes: BTreeSet<String> = scopes.iter().map(|&it| it.to_owned()).collect();
            let may = by_scopes(&scopes, &repository);
            let may: Vec<bool> = may.values().map(|it| *it == May::Yes).collect();
            assert_eq!(may, wanted, "{scopes:?} {private} {push}");
        }
    }
}
