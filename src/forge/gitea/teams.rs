//! Who is in a [team](https://docs.gitea.com/api/#tag/organization/operation/orgListTeamMembers), and their public keys,
//! which serve for signing as well as for reaching repositories.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Gitea, PAGE};
use crate::forge::{Account, ForgeError};
use crate::model::TeamName;

/// So many pages are read of a team, of an organisation's teams, and of one person's keys.
const PAGES: usize = 20;

#[derive(Debug, Deserialize)]
struct Team {
    id: u64,
    name: String,
}

#[derive(Debug, Deserialize)]
struct User {
    login: String,
    /// The address; one that leads nowhere where they keep it to themselves.
    #[serde(default)]
    email: String,
}

#[derive(Debug, Deserialize)]
struct Key {
    key: String,
}

impl Gitea {
    pub(super) async fn members_of(&self, team: &TeamName) -> Result<Vec<Account>, ForgeError> {
        let teams: Vec<Team> = self
            .all(&format!("orgs/{}/teams", team.organization()))
            .await?;
        let is_it = |it: &&Team| it.name.eq_ignore_ascii_case(team.name());
        let Some(found) = teams.iter().find(is_it) else {
            return Err(ForgeError::Denied {
                forge: self.name.clone(),
                reason: format!("there is no team {team}, or the credential may not see it"),
            });
        };
        let members: Vec<User> = self.all(&format!("teams/{}/members", found.id)).await?;
        let mut accounts = Vec::new();
        for member in members {
            let keys: Vec<Key> = self.all(&format!("users/{}/keys", member.login)).await?;
            accounts.push(Account {
                identities: [member.email]
                    .into_iter()
                    .filter(|it| !it.is_empty())
                    .collect(),
                keys: keys.into_iter().map(|it| it.key).collect(),
                login: member.login,
            });
        }
        Ok(accounts)
    }

    /// All of a list that is beside all repositories.
    async fn all<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, ForgeError> {
        match self.pages(path, PAGES).await? {
            (all, true) => Ok(all),
            (_, false) => Err(ForgeError::Unsupported {
                forge: self.name.clone(),
                what: format!("tell more than {} of {path}", PAGES * PAGE),
            }),
        }
    }
}
