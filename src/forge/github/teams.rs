//! Who is in a [team](https://docs.github.com/en/rest/teams/members#list-team-members), and their
//! [signing keys](https://docs.github.com/en/rest/users/ssh-signing-keys), which everybody may read.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use serde::Deserialize;

use super::{GitHub, PAGE};
use crate::forge::{Account, ForgeError};
use crate::model::TeamName;

/// So many pages of a team are read, and of one person's keys.
const PAGES: usize = 10;

/// So many people are asked about at once.
const IN_FLIGHT: usize = 8;

#[derive(Debug, Deserialize)]
struct Login {
    login: String,
}

/// A [user](https://docs.github.com/en/rest/users/users#get-a-user), as far as it concerns us.
#[derive(Debug, Deserialize)]
struct Profile {
    id: u64,
    login: String,
    /// What they show to everybody, which GitHub has verified.
    email: Option<String>,
}

#[derive(Debug, Deserialize)]
struct SigningKey {
    key: String,
}

impl GitHub {
    pub(super) async fn members_of(&self, team: &TeamName) -> Result<Vec<Account>, ForgeError> {
        let (organization, name) = (team.organization(), team.name());
        let route = format!("/orgs/{organization}/teams/{name}/members");
        let members: Vec<Login> = self
            .every(&route)
            .await
            .map_err(|error| error.denied_as(|why| format!("the team {team}: {why}")))?;
        let asked = members.into_iter().map(|it| self.account(it.login));
        stream::iter(asked).buffered(IN_FLIGHT).try_collect().await
    }

    async fn account(&self, login: String) -> Result<Account, ForgeError> {
        let profile = self.octocrab().get(format!("/users/{login}"), None::<&()>);
        let profile: Profile = profile.await.map_err(|error| self.told(&error))?;
        let route = format!("/users/{login}/ssh_signing_keys");
        let keys: Vec<SigningKey> = self.every(&route).await?;
        // What GitHub itself signs a person's commits as, who keeps their address to themselves
        // (https://docs.github.com/en/account-and-profile/reference/email-addresses-reference).
        let end = self.name.find(['/', ':']).unwrap_or(self.name.len());
        let host = &self.name[..end];
        let hidden = format!("{}+{}@users.noreply.{host}", profile.id, profile.login);
        Ok(Account {
            login: profile.login,
            identities: profile.email.into_iter().chain([hidden]).collect(),
            keys: keys.into_iter().map(|it| it.key).collect(),
        })
    }

    /// All of a list that is beside all repositories.
    async fn every<T: for<'a> Deserialize<'a> + 'static>(
        &self,
        route: &str,
    ) -> Result<Vec<T>, ForgeError> {
        match self.pages(route, &[], PAGES).await? {
            (all, true) => Ok(all),
            // Whoever is not read may nothing: that is told, not passed over.
            (_, false) => Err(ForgeError::Unsupported {
                forge: self.name.clone(),
                what: format!("tell more than {} of {route}", PAGES * PAGE),
            }),
        }
    }
}
