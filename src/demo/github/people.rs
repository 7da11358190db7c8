//! Who is in a team, and what the site shows of anybody: a profile and keys that they sign with
//! ([team members](https://docs.github.com/en/rest/teams/members#list-team-members),
//! [users](https://docs.github.com/en/rest/users/users#get-a-user),
//! [signing keys](https://docs.github.com/en/rest/users/ssh-signing-keys)).

use serde_json::{Value, json};

use super::access::{Kind, Level, Need, Permission, Role};
use super::answer::{Answer, Refusal, Reply};
use super::call::Call;
use super::state::User;

/// What a token needs that was given apart, of the organisation.
const MEMBERS: Need = Need {
    any: &[(Permission::Members, Level::Read)],
    role: Role::Read,
};

/// Who is in a team. Whoever is not of the organisation is not told that there is one.
pub(super) fn members(call: &Call<'_>) -> Answer {
    let (organization, team) = (call.argument(0), call.argument(1));
    let name = format!("{organization}/{team}");
    let team = call.state.teams.get(&name).ok_or_else(Refusal::not_found)?;
    if !is_of(call, organization) {
        return Err(Refusal::not_found());
    }
    call.grant.check_organization(MEMBERS)?;
    let (part, link) = call.page(team.iter().collect());
    let form = call.form();
    let list: Value = part.into_iter().map(|login| form.user(login)).collect();
    Ok(Reply {
        link,
        ..Reply::ok(list)
    })
}

/// Whether whoever asks belongs to the organisation: in a team of it, or let into a repository.
fn is_of(call: &Call<'_>, organization: &str) -> bool {
    let (grant, state) = (&call.grant, &call.state);
    if let Kind::Installation(id) = grant.kind {
        let installation = state.installations.get(&id);
        return installation.is_some_and(|it| it.account == organization);
    }
    let own = |owner: &str| owner == organization;
    let mut repositories = state.repositories.values().filter(|it| own(&it.owner));
    let mut teams = state.teams.iter();
    repositories.any(|it| it.roles.contains_key(&grant.login))
        || teams.any(|(name, members)| {
            let owner = name.split_once('/').map_or("", |(owner, _)| owner);
            own(owner) && members.contains(&grant.login)
        })
}

/// What everybody sees of somebody.
pub(super) fn profile(call: &Call<'_>) -> Answer {
    let user = found(call)?;
    let mut form = call.form().myself(user);
    form["email"] = json!(user.email);
    Ok(Reply::ok(form))
}

/// What somebody signs with, which everybody may see.
pub(super) fn signing_keys(call: &Call<'_>) -> Answer {
    let user = found(call)?;
    let (part, link) = call.page(user.signing_keys.iter().collect());
    let shown = |(id, key): &(u64, String)| {
        json!({
            "id": id,
            "key": key,
            "title": "signing",
            "created_at": user.created_at.to_string(),
        })
    };
    let list: Value = part.into_iter().map(shown).collect();
    Ok(Reply {
        link,
        ..Reply::ok(list)
    })
}

fn found<'a>(call: &'a Call<'_>) -> Result<&'a User, Refusal> {
    let user = call.state.users.get(call.argument(0));
    user.ok_or_else(Refusal::not_found)
}
