//! Who is in a team, as forges tell it: GitHub, with what a token must be let read for it, and a real Gitea.

use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;
use towpath::forge::github::Identity;
use towpath::forge::{Account, ForgeError, ReadForge};
use towpath::model::{Credential, TeamName};
use towpath::secret::Secret;

use crate::gitea;
use crate::github::{Site, check_exchanges};

const REPOSITORY: &str = "acme/infra";
const ONE: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPKHVJ32HronXuXLt7wZOfG/9Q1Q7S8Fncd/h+pdoWMH";
const TWO: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFlD4W2+JiVQNwmaRkkq/hb0oFgRaNPmcXXHghFJpITM";

fn team() -> TeamName {
    "acme/releasers".parse().unwrap()
}

async fn members(site: &Site, token: &Secret, team: &TeamName) -> Result<Vec<Account>, ForgeError> {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("token");
    std::fs::write(&path, token.expose()).unwrap();
    let identity = Identity::Token(Credential::File { path, user: None });
    site.adapter(REPOSITORY, identity).members(team).await
}

/// An account without the number that its hidden address begins with.
fn told(account: &Account) -> String {
    let plain = |it: &String| match it.split_once('+') {
        Some((number, rest)) if number.parse::<u64>().is_ok() => rest.to_owned(),
        _ => it.clone(),
    };
    let identities: Vec<String> = account.identities.iter().map(plain).collect();
    let keys = account.keys.len();
    format!("{}: {} ({keys})", account.login, identities.join(", "))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn github_tells_who_is_in_a_team_to_whoever_may_read_members() {
    let site = Site::start().await;
    let github = &site.github;
    github.set_team("acme/releasers", &["ann", "rita"]).await;
    github
        .set_profile("ann", Some("ann@example.com"), &[ONE, TWO])
        .await;
    let reads = site.fine_grained("towpath", "members=read").await;
    let accounts = members(&site, &reads, &team()).await.unwrap();
    let all: Vec<String> = accounts.iter().map(told).collect();
    assert_eq!(
        all,
        [
            "ann: ann@example.com, ann@users.noreply.127.0.0.1 (2)",
            "rita: rita@users.noreply.127.0.0.1 (0)"
        ]
    );
    assert_eq!(accounts[0].keys, [ONE, TWO]);
    // Who may not is told so, and so is who asks for what is not there.
    let denied = site.fine_grained("towpath", "contents=write").await;
    let elsewhere = "acme/nobody".parse().unwrap();
    for (token, team) in [
        (&denied, team()),
        (&reads, elsewhere),
        (site.token("sam"), team()),
    ] {
        let refused = members(&site, token, &team).await.unwrap_err();
        assert!(
            matches!(&refused, ForgeError::Denied { reason, .. } if reason.contains(&team.to_string())),
            "{refused}"
        );
    }
    let findings = check_exchanges(&github.take_exchanges());
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

/// A team is read whole, however many pages it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn github_tells_of_everybody_in_a_large_team() {
    let site = Site::start().await;
    let logins: Vec<String> = (0..130)
        .map(|number| format!("person-{number:03}"))
        .collect();
    for login in &logins {
        site.github.add_user(login).await;
    }
    let all: Vec<&str> = logins.iter().map(String::as_str).collect();
    site.github.set_team("acme/releasers", &all).await;
    let accounts = members(&site, site.token("towpath"), &team())
        .await
        .unwrap();
    let found: Vec<&String> = accounts.iter().map(|it| &it.login).collect();
    assert_eq!(found, logins.iter().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gitea_tells_who_is_in_a_team() {
    let Some(server) = crate::gitea::shared() else {
        return;
    };
    let repository = server.repository("teams").await;
    let scopes = ["read:organization", "read:user"];
    let ann = server.person_with("ann", &scopes).await;
    let bob = server.person("bob").await;
    let body = json!({ "name": "Releasers", "units": ["repo.code"], "permission": "read" });
    let made = server.ask(Method::POST, "orgs/acme/teams", &body).await;
    let id = made.unwrap()["id"].as_u64().unwrap();
    for person in [&ann, &bob] {
        let path = format!("teams/{id}/members/{}", person.login);
        server.ask(Method::PUT, &path, &json!({})).await.unwrap();
    }
    let key = json!({ "key": ONE, "title": "signing" });
    let path = format!("admin/users/{}/keys", ann.login);
    server.ask(Method::POST, &path, &key).await.unwrap();
    let ask = async |person: &gitea::Person, team: &str| {
        let directory = TempDir::new().unwrap();
        let token = directory.path().join("token");
        std::fs::write(&token, person.token.expose()).unwrap();
        let forge = super::gitea::adapter(server, &repository, token);
        forge.members(&team.parse().unwrap()).await
    };
    let mut accounts = ask(&ann, "acme/releasers").await.unwrap();
    accounts.sort_by(|a, b| a.login.cmp(&b.login));
    let [first, second] = accounts.as_slice() else {
        panic!("{accounts:?}");
    };
    assert_eq!((&first.login, &second.login), (&ann.login, &bob.login));
    let (identity, login) = (&first.identities, format!("{}@", ann.login));
    assert!(
        identity.len() == 1 && identity[0].starts_with(&login),
        "{first:?}"
    );
    assert_eq!(first.keys.len(), 1);
    assert!(first.keys[0].starts_with(ONE), "{first:?}");
    assert_eq!(second.keys, [""; 0]);
    // There is no such team; the token may not read organisations; and it is no business of a stranger's.
    let stranger = server.person_with("sam", &scopes).await;
    for (person, team) in [
        (&ann, "acme/nobody"),
        (&bob, "acme/releasers"),
        (&stranger, "acme/releasers"),
    ] {
        let denied = ask(person, team).await;
        let is_denied = matches!(denied, Err(ForgeError::Denied { .. }));
        assert!(is_denied, "{} {team}: {denied:?}", person.login);
    }
}
