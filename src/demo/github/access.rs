//! Who asks, and what that lets them do: roles, tokens with stated permissions, installation tokens that
//! expire, and the JWTs of apps.
//!
//! Sources: [roles](https://docs.github.com/en/organizations/managing-user-access-to-your-organizations-repositories/managing-repository-roles/repository-roles-for-an-organization),
//! [permissions of fine-grained tokens](https://docs.github.com/en/rest/authentication/permissions-required-for-fine-grained-personal-access-tokens),
//! [404 or 403](https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api),
//! [JWTs of apps](https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app).

use std::collections::BTreeMap;

use jiff::Timestamp;
use octocrab::jsonwebtoken::{Algorithm, DecodingKey, Validation, dangerous, decode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::Refusal;
use super::state::{Repository, State};

/// What a person may do in a repository; each includes the ones before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look, comment, open pull requests.
    Read,
    /// Label and ask for reviews.
    Triage,
    /// Push, merge, approve so that it counts.
    Write,
    /// Settings that harm nobody.
    Maintain,
    /// Everything.
    Admin,
}

impl Role {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Triage => "triage",
            Self::Write => "write",
            Self::Maintain => "maintain",
            Self::Admin => "admin",
        }
    }
}

/// What a token is given apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// That the repository exists; every token has it.
    Metadata,
    /// Commits, branches, files, merges.
    Contents,
    /// Pull requests and their reviews.
    PullRequests,
    /// Issues, and comments and labels of pull requests too.
    Issues,
    /// Commit statuses.
    Statuses,
    /// Check runs.
    Checks,
    /// Deployments.
    Deployments,
    /// Branch protection.
    Administration,
    /// Webhooks.
    RepositoryHooks,
    /// Who is in an organisation and its teams.
    Members,
}

impl Permission {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Contents => "contents",
            Self::PullRequests => "pull_requests",
            Self::Issues => "issues",
            Self::Statuses => "statuses",
            Self::Checks => "checks",
            Self::Deployments => "deployments",
            Self::Administration => "administration",
            Self::RepositoryHooks => "repository_hooks",
            Self::Members => "members",
        }
    }

    const ALL: [Self; 10] = [
        Self::Metadata,
        Self::Contents,
        Self::PullRequests,
        Self::Issues,
        Self::Statuses,
        Self::Checks,
        Self::Deployments,
        Self::Administration,
        Self::RepositoryHooks,
        Self::Members,
    ];
}

/// How far a permission goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Look.
    Read,
    /// Change.
    Write,
}

impl Level {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// Permissions by name; what is missing is not given.
pub type Permissions = BTreeMap<Permission, Level>;

/// What an operation asks for: one of these permissions, and of a person this role.
#[derive(Clone, Copy)]
pub(super) struct Need {
    pub(super) any: &'static [(Permission, Level)],
    pub(super) role: Role,
}

/// A token of somebody.
#[derive(Clone)]
pub(super) struct Grant {
    pub(super) login: String,
    pub(super) kind: Kind,
    /// All of them, as a classic token has, where there is no list.
    pub(super) permissions: Option<Permissions>,
    /// `owner/name`; all of its owner's where there is no list.
    pub(super) repositories: Option<Vec<String>>,
    pub(super) expires: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Classic,
    FineGrained,
    Installation(u64),
    /// The JWT of an app: it only asks for installations and their tokens.
    App(u64),
    Nobody,
}

impl Grant {
    /// Who shows nothing.
    pub(super) fn nobody() -> Self {
        Self {
            login: String::new(),
            kind: Kind::Nobody,
            permissions: None,
            repositories: None,
            expires: None,
        }
    }

    /// The app that it acts for, if it does.
    pub(super) fn app(&self, state: &State) -> Option<u64> {
        match self.kind {
            Kind::Installation(id) => state.installations.get(&id).map(|it| it.app),
            _ => None,
        }
    }

    /// Whether the repository was given to it. A public one may be looked at all the same.
    fn covers(&self, repository: &Repository) -> bool {
        let name = repository.full_name();
        self.repositories
            .as_ref()
            .is_none_or(|list| list.contains(&name))
    }

    /// Its role: none where it may not even know that the repository exists.
    pub(super) fn role(&self, repository: &Repository) -> Option<Role> {
        let public = (repository.visibility == "public").then_some(Role::Read);
        match self.kind {
            Kind::Nobody | Kind::App(_) => public,
            Kind::Installation(_) if self.covers(repository) => Some(Role::Write),
            Kind::Classic | Kind::FineGrained if self.covers(repository) => {
                role_of(repository, &self.login)
            }
            _ => public,
        }
    }

    /// Whether it may do that there.
    ///
    /// # Errors
    /// GitHub's refusal: 404 where it may not see the repository, 403 where it may, with the permissions
    /// that would do.
    pub(super) fn check(&self, repository: &Repository, need: Need) -> Result<(), Refusal> {
        let Some(role) = self.role(repository) else {
            return Err(Refusal::not_found());
        };
        let wanted_level = need.any.iter().map(|(_, level)| *level).max();
        let writes = wanted_level == Some(Level::Write);
        let open = repository.visibility == "public" && !writes;
        let given = self.covers(repository) && need.any.iter().any(|need| self.gives(*need));
        if !(given || open && need.role <= Role::Read) {
            return Err(self.inaccessible(need));
        }
        let is_installation = matches!(self.kind, Kind::Installation(_));
        if !is_installation && role < need.role {
            return Err(match need.role {
                Role::Admin => Refusal::new(403, "Must have admin rights to Repository."),
                // A classic token is not told that it lacks a right to write.
                _ if self.kind == Kind::Classic => Refusal::not_found(),
                _ => self.inaccessible(need),
            });
        }
        match writes && repository.archived {
            true => Err(Refusal::new(
                403,
                "Repository was archived so is read-only.",
            )),
            false => Ok(()),
        }
    }

    /// Whether it may do what takes this of an organisation that it belongs to.
    ///
    /// # Errors
    /// GitHub's refusal, with the permissions that would do.
    pub(super) fn check_organization(&self, need: Need) -> Result<(), Refusal> {
        let given = need.any.iter().any(|need| self.gives(*need));
        given.then_some(()).ok_or_else(|| self.inaccessible(need))
    }

    fn gives(&self, (permission, level): (Permission, Level)) -> bool {
        if self.kind == Kind::Nobody || matches!(self.kind, Kind::App(_)) {
            return false;
        }
        // Nobody can give it to one (https://github.com/orgs/community/discussions/129512, cli/cli#8842). Writing
        // takes an App in any case, which the operation itself says.
        let reads_checks = (permission, level) == (Permission::Checks, Level::Read);
        if self.kind == Kind::FineGrained && reads_checks {
            return false;
        }
        let Some(permissions) = &self.permissions else {
            return true;
        };
        (permission == Permission::Metadata && level == Level::Read)
            || permissions.get(&permission).is_some_and(|it| *it >= level)
    }

    fn inaccessible(&self, need: Need) -> Refusal {
        let accepted: Vec<String> = need
            .any
            .iter()
            .map(|(permission, level)| format!("{}={}", permission.name(), level.name()))
            .collect();
        let message = match self.kind {
            Kind::Nobody => return Refusal::new(401, "Requires authentication"),
            Kind::FineGrained => "Resource not accessible by personal access token",
            _ => "Resource not accessible by integration",
        };
        Refusal::new(403, message).with(
            "x-accepted-github-permissions",
            accepted.join("; ").as_str(),
        )
    }
}

/// The role of a person.
pub(super) fn role_of(repository: &Repository, login: &str) -> Option<Role> {
    if repository.owner == login {
        return Some(Role::Admin);
    }
    let public = (repository.visibility == "public").then_some(Role::Read);
    repository.roles.get(login).copied().or(public)
}

/// Who sent this `Authorization`.
///
/// # Errors
/// 401, as for every token that is not, or no longer, known.
pub(super) fn identify(
    state: &State,
    authorization: Option<&str>,
    now: Timestamp,
) -> Result<Grant, Refusal> {
    let Some(authorization) = authorization else {
        return Ok(Grant::nobody());
    };
    let bad = || Refusal::new(401, "Bad credentials");
    let (scheme, token) = authorization.split_once(' ').ok_or_else(bad)?;
    if !["bearer", "token"].contains(&scheme.to_ascii_lowercase().as_str()) {
        return Err(bad());
    }
    if token.matches('.').count() == 2 {
        return app(state, token, now);
    }
    let grant = by_token(state, token, now).ok_or_else(bad)?;
    Ok(grant)
}

/// The token's grant, while it lasts.
pub(super) fn by_token(state: &State, token: &str, now: Timestamp) -> Option<Grant> {
    let grant = state.tokens.get(token)?;
    if grant.expires.is_some_and(|expires| expires <= now) {
        return None;
    }
    if let Kind::Installation(id) = grant.kind {
        let installation = state.installations.get(&id)?;
        if installation.suspended_at.is_some() {
            return None;
        }
    }
    Some(grant.clone())
}

#[derive(Deserialize)]
struct Claims {
    iss: Value,
    iat: i64,
    exp: i64,
}

/// The app whose JWT this is: signed by its key, and of the last ten minutes by our clock.
fn app(state: &State, token: &str, now: Timestamp) -> Result<Grant, Refusal> {
    let bad = |message: &str| Refusal::new(401, message);
    let undecodable = || bad("A JSON web token could not be decoded");
    let claims = dangerous::insecure_decode::<Claims>(token).map_err(|_| undecodable())?;
    let id = match &claims.claims.iss {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    let app = id
        .and_then(|id: u64| state.apps.get(&id))
        .ok_or_else(|| bad("Integration not found"))?;
    let key = DecodingKey::from_rsa_pem(app.key.as_bytes()).map_err(|_| undecodable())?;
    // The times are judged below, by the clock that the simulator was given.
    let mut validation = Validation::new(Algorithm::RS256);
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    let signed = decode::<Claims>(token, &key, &validation).map_err(|_| undecodable())?;
    let Claims { iat, exp, .. } = signed.claims;
    let now = now.as_second();
    if exp <= now {
        return Err(bad(
            "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
        ));
    }
    if exp > now + 600 {
        return Err(bad(
            "'Expiration time' claim ('exp') is too far in the future",
        ));
    }
    if iat > now {
        return Err(bad(
            "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
        ));
    }
    Ok(Grant {
        login: app.owner.clone(),
        kind: Kind::App(app.id),
        ..Grant::nobody()
    })
}

/// Permissions as the API writes them.
pub(super) fn written(permissions: &Permissions) -> Value {
    let mut all = json!({ "metadata": "read" });
    for (permission, level) in permissions {
        all[permission.name()] = json!(level.name());
    }
    all
}

/// Permissions as the API reads them; none where one is unknown.
pub(super) fn read(value: &Value) -> Option<Permissions> {
    let mut permissions = Permissions::new();
    for (name, level) in value.as_object()? {
        let permission = Permission::ALL.into_iter().find(|it| it.name() == name)?;
        let level = match level.as_str()? {
            "read" => Level::Read,
            "write" => Level::Write,
            _ => return None,
        };
        permissions.insert(permission, level);
    }
    Some(permissions)
}
