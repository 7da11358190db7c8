//! What the owner of the simulated site does beside the API: accounts, repositories, tokens, rules, faults.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use url::Url;

use super::access::{Grant, Kind};
use super::hooks::guid;
use super::moved;
use super::rulesets::Kept;
use super::state::{App, Hook, Installation, Repository, State, User};
use super::{
    Exchange, GitHub, Limits, Methods, Permissions, Protection, Role, Rule, Ruleset, Target, lock,
    push,
};
use crate::secret::Secret;

/// A GitHub App that is to be.
#[derive(Debug, Clone)]
pub struct NewApp<'a> {
    /// Its name in addresses; its bot is `SLUG[bot]`.
    pub slug: &'a str,
    /// The account that owns it.
    pub owner: &'a str,
    /// The public half of its key, PEM.
    pub public_key: &'a str,
    /// What installations of it may do.
    pub permissions: Permissions,
}

impl GitHub {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its root: the API's too.
    pub fn url(&self) -> Url {
        format!("{}/", self.shared.site)
            .parse()
            .expect("a socket address makes a URL")
    }

    /// Where a repository (`OWNER/NAME`) is fetched from and pushed to.
    pub fn clone_url(&self, repository: &str) -> String {
        format!("{}/{repository}.git", self.shared.site)
    }

    /// Where it lies.
    pub fn path(&self, repository: &str) -> PathBuf {
        self.shared.root.join(format!("{repository}.git"))
    }

    /// Adds a person.
    pub async fn add_user(&self, login: &str) {
        self.add(login, "User").await;
    }

    /// Adds an organisation.
    pub async fn add_organization(&self, login: &str) {
        self.add(login, "Organization").await;
    }

    async fn add(&self, login: &str, kind: &'static str) {
        let now = self.shared.now();
        let mut state = self.shared.state.lock().await;
        add(&mut state, login, kind, now);
    }

    /// Says what everybody sees of a person: their address, and the keys that they sign with.
    pub async fn set_profile(&self, login: &str, email: Option<&str>, keys: &[&str]) {
        let mut state = self.shared.state.lock().await;
        let keys = keys.iter().map(|&key| (state.new_id(), key.to_owned()));
        let keys = keys.collect();
        if let Some(user) = state.users.get_mut(login) {
            user.email = email.map(str::to_owned);
            user.signing_keys = keys;
        }
    }

    /// Says who is in a team (`ORGANISATION/SLUG`).
    pub async fn set_team(&self, team: &str, logins: &[&str]) {
        let mut state = self.shared.state.lock().await;
        state.teams.insert(team.to_owned(), owned(logins));
    }

    /// Adds an app; its id.
    pub async fn add_app(&self, app: NewApp<'_>) -> u64 {
        let created_at = self.shared.now();
        let mut state = self.shared.state.lock().await;
        add(&mut state, &format!("{}[bot]", app.slug), "Bot", created_at);
        let id = state.new_id();
        let made = App {
            id,
            slug: app.slug.to_owned(),
            owner: app.owner.to_owned(),
            key: app.public_key.to_owned(),
            permissions: app.permissions,
            created_at,
        };
        state.apps.insert(id, made);
        id
    }

    /// Installs an app in an account, for these repositories (`OWNER/NAME`) or for all; the installation's id.
    pub async fn install(&self, app: u64, account: &str, repositories: Option<&[&str]>) -> u64 {
        let created_at = self.shared.now();
        let mut state = self.shared.state.lock().await;
        let id = state.new_id();
        let installation = Installation {
            id,
            app,
            account: account.to_owned(),
            repositories: repositories.map(owned),
            suspended_at: None,
            created_at,
        };
        state.installations.insert(id, installation);
        id
    }

    /// Suspends an installation, or takes it up again: while it is, its tokens are worth nothing.
    pub async fn set_suspended(&self, installation: u64, suspended: bool) {
        let now = self.shared.now();
        let mut state = self.shared.state.lock().await;
        if let Some(found) = state.installations.get_mut(&installation) {
            found.suspended_at = suspended.then_some(now);
        }
    }

    /// How long tokens of installations last from now on; those that were given are worth nothing.
    pub async fn set_token_lifetime(&self, lifetime: SignedDuration) {
        let mut state = self.shared.state.lock().await;
        state.lifetime = Some(lifetime);
        state.tokens.retain(|_, grant| grant.expires.is_none());
    }

    /// Makes an empty repository (`OWNER/NAME`) whose branch will be `master`.
    ///
    /// # Errors
    /// Where git cannot make it.
    pub async fn add_repository(&self, name: &str, visibility: &str) -> io::Result<PathBuf> {
        let Some((owner, short)) = name.split_once('/') else {
            let message = format!("`{name}` is not OWNER/NAME");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        };
        let path = self.path(name);
        crate::demo::git_server::init_bare(&path).await?;
        push::install(&path)?;
        let now = self.shared.now();
        let mut state = self.shared.state.lock().await;
        let made = Repository {
            id: state.new_id(),
            owner: owner.to_owned(),
            name: short.to_owned(),
            path: path.clone(),
            visibility: visibility.to_owned(),
            archived: false,
            default_branch: "master".to_owned(),
            created_at: now,
            pushed_at: now,
            methods: Methods::default(),
            roles: Default::default(),
            refs: Default::default(),
            last_number: 0,
            pulls: Default::default(),
            comments: Default::default(),
            labels: Default::default(),
            statuses: Default::default(),
            checks: Default::default(),
            deployments: Default::default(),
            protections: Default::default(),
            rulesets: Vec::new(),
            hooks: Default::default(),
            queue: Vec::new(),
            verified: Default::default(),
        };
        state.repositories.insert(name.to_owned(), made);
        Ok(path)
    }

    /// Reads the refs of a repository that was written without the server, and lets follow what follows.
    ///
    /// # Errors
    /// Where git cannot read them.
    pub async fn look(&self, repository: &str, by: &str) -> io::Result<()> {
        let now = self.shared.now();
        let mut state = self.shared.state.lock().await;
        let looked = moved::after(&self.shared, &mut state, repository, by, now).await;
        looked.map_err(|refusal| io::Error::other(refusal.message().to_owned()))
    }

    /// Gives somebody a role in a repository, or takes it.
    pub async fn set_role(&self, repository: &str, login: &str, role: Option<Role>) {
        self.change(repository, |it| match role {
            Some(role) => {
                it.roles.insert(login.to_owned(), role);
            }
            None => {
                it.roles.remove(login);
            }
        })
        .await;
    }

    /// A classic token: all that its person may do.
    pub async fn token(&self, login: &str) -> Secret {
        self.give("ghp", login, Kind::Classic, None, None).await
    }

    /// A fine-grained token: these permissions in these repositories, as far as its person's role goes.
    pub async fn fine_grained_token(
        &self,
        login: &str,
        permissions: Permissions,
        repositories: &[&str],
    ) -> Secret {
        let repositories = Some(owned(repositories));
        self.give(
            "github_pat",
            login,
            Kind::FineGrained,
            Some(permissions),
            repositories,
        )
        .await
    }

    async fn give(
        &self,
        prefix: &str,
        login: &str,
        kind: Kind,
        permissions: Option<Permissions>,
        repositories: Option<Vec<String>>,
    ) -> Secret {
        let token = format!("{prefix}_{}", guid().replace('-', ""));
        let grant = Grant {
            login: login.to_owned(),
            kind,
            permissions,
            repositories,
            expires: None,
        };
        let mut state = self.shared.state.lock().await;
        state.tokens.insert(token.clone(), grant);
        Secret::new(token)
    }

    /// Takes a token back; giving it again makes it valid again.
    pub async fn set_revoked(&self, token: &Secret, revoked: bool) {
        let mut state = self.shared.state.lock().await;
        if let Some(grant) = state.tokens.get_mut(token.expose()) {
            grant.expires = revoked.then_some(Timestamp::MIN);
        }
    }

    /// Protects branches of this pattern, or stops.
    pub async fn protect(&self, repository: &str, pattern: &str, protection: Option<Protection>) {
        self.change(repository, |it| match protection {
            Some(protection) => {
                it.protections.insert(pattern.to_owned(), protection);
            }
            None => {
                it.protections.remove(pattern);
            }
        })
        .await;
    }

    /// Adds a rule of a ruleset for branches of this pattern, as the API shows it: `type`, `parameters`.
    pub async fn add_rule(&self, repository: &str, pattern: &str, rule: Value) {
        let ruleset = Ruleset {
            name: pattern.to_owned(),
            target: Target::Branch,
            pattern: pattern.to_owned(),
            rules: vec![rule],
            bypass: Vec::new(),
        };
        self.add_ruleset(repository, ruleset).await;
    }

    /// Adds a ruleset.
    pub async fn add_ruleset(&self, repository: &str, ruleset: Ruleset) {
        let id = self.shared.state.lock().await.new_id();
        self.change(repository, |it| it.rulesets.push(Kept { id, ruleset }))
            .await;
    }

    /// Says how pull requests may be merged.
    pub async fn set_methods(&self, repository: &str, methods: Methods) {
        self.change(repository, |it| it.methods = methods).await;
    }

    /// Archives a repository, or brings it back.
    pub async fn set_archived(&self, repository: &str, archived: bool) {
        self.change(repository, |it| it.archived = archived).await;
    }

    /// Makes it `public`, `internal` or `private`.
    pub async fn set_visibility(&self, repository: &str, visibility: &str) {
        self.change(repository, |it| it.visibility = visibility.to_owned())
            .await;
    }

    /// Adds a webhook for these events; its id.
    pub async fn add_hook(
        &self,
        repository: &str,
        url: &str,
        secret: Option<&Secret>,
        events: &[&str],
    ) -> u64 {
        let id = self.shared.state.lock().await.new_id();
        let hook = Hook {
            id,
            url: url.to_owned(),
            secret: secret.map(|it| it.expose().to_owned()),
            events: owned(events),
            created_at: self.shared.now(),
            deliveries: Vec::new(),
        };
        self.change(repository, |it| {
            it.hooks.insert(id, hook);
        })
        .await;
        id
    }

    /// Waits until so many webhooks were sent, whatever came of them. Whether they were, in time.
    pub async fn delivered(&self, count: usize, timeout: Duration) -> bool {
        let mut sent = self.shared.delivered.subscribe();
        let waiting = sent.wait_for(|sent| *sent >= count);
        tokio::time::timeout(timeout, waiting).await.is_ok()
    }

    async fn change(&self, repository: &str, to: impl FnOnce(&mut Repository)) {
        let mut state = self.shared.state.lock().await;
        if let Some(found) = state.repositories.get_mut(repository) {
            to(found);
        }
    }

    /// Says how much may be asked.
    pub fn set_limits(&self, limits: Limits) {
        *lock(&self.shared.limits) = limits;
    }

    /// Lets something go wrong from now on, after what is set to already.
    pub fn add_fault(&self, rule: Rule) {
        lock(&self.shared.rules).push(rule);
    }

    /// Lets the site be well again.
    pub fn clear_faults(&self) {
        lock(&self.shared.rules).clear();
    }

    /// The API's exchanges so far, oldest first; they are forgotten then.
    pub fn take_exchanges(&self) -> Vec<Exchange> {
        lock(&self.shared.exchanges).drain(..).collect()
    }
}

fn add(state: &mut State, login: &str, kind: &'static str, created_at: Timestamp) {
    let user = User {
        id: state.new_id(),
        login: login.to_owned(),
        kind,
        email: None,
        signing_keys: Vec::new(),
        created_at,
    };
    state.users.insert(login.to_owned(), user);
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}
