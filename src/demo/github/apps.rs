//! Apps and their installations, who a token is, and what is left of its budget
//! ([apps](https://docs.github.com/en/rest/apps/apps), [limits](https://docs.github.com/en/rest/rate-limit/rate-limit)).

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::access::{self, Grant, Kind};
use super::answer::{Answer, Refusal, Reply};
use super::call::Call;
use super::hooks::guid;
use super::state::{Installation, Repository};

/// How long an installation token lasts ([access tokens](https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app)).
const LIFETIME: SignedDuration = SignedDuration::from_hours(1);

/// The app whose JWT it is.
pub(super) fn app(call: &Call<'_>) -> Answer {
    Ok(Reply::ok(call.form().app(own(call)?)))
}

fn own(call: &Call<'_>) -> Result<u64, Refusal> {
    match call.grant.kind {
        Kind::App(id) => Ok(id),
        _ => {
            let message = "A JSON web token could not be decoded";
            Err(Refusal::new(401, message))
        }
    }
}

/// The app's installation that has the repository.
pub(super) fn installation(call: &Call<'_>) -> Answer {
    let app = own(call)?;
    let repository = call.repository()?;
    let has = |it: &&Installation| it.app == app && reaches(it, repository);
    let found = call.state.installations.values().find(has);
    let found = found.ok_or_else(Refusal::not_found)?;
    Ok(Reply::ok(call.form().installation(found)))
}

fn reaches(installation: &Installation, repository: &Repository) -> bool {
    let name = repository.full_name();
    installation.account == repository.owner
        && installation
            .repositories
            .as_ref()
            .is_none_or(|list| list.contains(&name))
}

/// A token for an installation, with no more than the app has.
pub(super) fn token(call: &mut Call<'_>) -> Answer {
    let app = own(call)?;
    let id = call.number(0)?;
    let installation = call.state.installations.get(&id).filter(|it| it.app == app);
    let installation = installation.ok_or_else(Refusal::not_found)?;
    if installation.suspended_at.is_some() {
        let message = "This installation has been suspended";
        return Err(Refusal::new(403, message));
    }
    let app = call.state.apps.get(&app).ok_or_else(Refusal::not_found)?;
    let permissions = match &call.body["permissions"] {
        Value::Null => app.permissions.clone(),
        asked => {
            let within = access::read(asked).filter(|asked| {
                let given = |(name, level)| app.permissions.get(name).is_some_and(|it| it >= level);
                asked.iter().all(given)
            });
            let message = "The permissions requested are not granted to this installation.";
            within.ok_or_else(|| Refusal::new(422, message))?
        }
    };
    let names = call.texts("repositories");
    let all = call.state.repositories.values();
    let reached: Vec<&Repository> = all.filter(|it| reaches(installation, it)).collect();
    let chosen: Vec<&Repository> = match names.is_empty() {
        true => reached,
        false => {
            let named = |name: &String| reached.iter().find(|it| it.name == *name).copied();
            let found: Option<Vec<&Repository>> = names.iter().map(named).collect();
            let message = "There is at least one repository that does not exist or is not accessible to the parent installation.";
            found.ok_or_else(|| Refusal::new(422, message))?
        }
    };
    let expires = call.now + call.state.lifetime.unwrap_or(LIFETIME);
    let token = format!("ghs_{}", guid().replace('-', ""));
    let mut body = json!({
        "token": token,
        "expires_at": expires.to_string(),
        "permissions": access::written(&permissions),
        "repository_selection": if installation.repositories.is_some() || !names.is_empty() { "selected" } else { "all" },
    });
    if !names.is_empty() {
        let form = call.form();
        body["repositories"] = chosen.iter().map(|it| form.repository(it)).collect();
    }
    let grant = Grant {
        login: format!("{}[bot]", app.slug),
        kind: Kind::Installation(id),
        permissions: Some(permissions),
        repositories: Some(chosen.iter().map(|it| it.full_name()).collect()),
        expires: Some(expires),
    };
    call.state.tokens.insert(token, grant);
    Ok(Reply::new(201, body))
}

/// The repositories that an installation token was given.
pub(super) fn repositories(call: &Call<'_>) -> Answer {
    if call.installation().is_none() {
        let message = "Resource not accessible by personal access token";
        return Err(Refusal::new(403, message));
    }
    let given = call.grant.repositories.clone().unwrap_or_default();
    let all = call.state.repositories.values();
    let mine: Vec<&Repository> = all.filter(|it| given.contains(&it.full_name())).collect();
    let total = mine.len();
    let (part, link) = call.page(mine);
    let form = call.form();
    let list: Value = part.into_iter().map(|it| form.repository(it)).collect();
    let body = json!({ "total_count": total, "repositories": list });
    Ok(Reply {
        link,
        ..Reply::ok(body)
    })
}

/// Who the token is.
pub(super) fn user(call: &Call<'_>) -> Answer {
    match call.grant.kind {
        Kind::Nobody => Err(Refusal::new(401, "Requires authentication")),
        Kind::Installation(_) | Kind::App(_) => {
            let message = "Resource not accessible by integration";
            Err(Refusal::new(403, message))
        }
        Kind::Classic | Kind::FineGrained => {
            let user = call.state.users.get(&call.grant.login);
            let user = user.ok_or_else(Refusal::not_found)?;
            Ok(Reply::ok(call.form().myself(user)))
        }
    }
}

/// What is left; asking costs nothing.
pub(super) fn rate_limit(call: &Call<'_>) -> Answer {
    let core = call.shared.budget(&call.grant, call.now).shown();
    let body = json!({
        "resources": { "core": core, "graphql": core, "search": core },
        "rate": core,
    });
    Ok(Reply::ok(body))
}
