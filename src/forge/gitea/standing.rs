//! What Gitea tells of us and of its repository: administrators are told the rules
//! ([branch protection](https://docs.gitea.com/usage/access-control/protected-branches),
//! [tags](https://docs.gitea.com/usage/access-control/protected-tags)), others what follows for them.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde::Deserialize;

use super::{Gitea, PAGE};
use crate::forge::{
    Binds, Check, ForgeError, Hook, May, Protection, Reported, Rights, Rule, RuleKind, Work,
};

/// So many requests are looked at for the checks that are reported.
const REQUESTS: usize = 5;

/// Where the rules are found.
const PLACE: &str = "branch protection";

#[derive(Debug, Deserialize)]
struct Repository {
    #[serde(default)]
    archived: bool,
    #[serde(default)]
    permissions: Permissions,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Permissions {
    admin: bool,
    push: bool,
}

#[derive(Debug, Deserialize)]
struct User {
    login: String,
}

/// A branch, as everybody is told of it.
#[derive(Debug, Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Branch {
    protected: bool,
    required_approvals: u64,
    enable_status_check: bool,
    status_check_contexts: Option<Vec<String>>,
    user_can_push: bool,
    user_can_merge: bool,
}

/// A rule for branches, as administrators are told of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct BranchRule {
    rule_name: String,
    priority: i64,
    enable_push: bool,
    enable_push_whitelist: bool,
    push_whitelist_usernames: Option<Vec<String>>,
    push_whitelist_teams: Option<Vec<String>>,
    enable_force_push: bool,
    enable_merge_whitelist: bool,
    merge_whitelist_usernames: Option<Vec<String>>,
    merge_whitelist_teams: Option<Vec<String>>,
    enable_status_check: bool,
    status_check_contexts: Option<Vec<String>>,
    required_approvals: u64,
    require_signed_commits: bool,
    protected_file_patterns: String,
    block_admin_merge_override: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TagRule {
    name_pattern: String,
    whitelist_usernames: Option<Vec<String>>,
    whitelist_teams: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct Headed {
    head: Head,
    base: Base,
}

#[derive(Debug, Deserialize)]
struct Head {
    sha: String,
}

#[derive(Debug, Deserialize)]
struct Base {
    #[serde(rename = "ref")]
    branch: String,
}

#[derive(Debug, Deserialize)]
struct Webhook {
    active: bool,
    events: Option<BTreeSet<String>>,
    #[serde(default)]
    config: BTreeMap<String, String>,
}

impl Gitea {
    pub(super) async fn own_rights(&self) -> Result<Rights, ForgeError> {
        let repository: Repository = self.ask(Method::GET, "", None).await?.read()?;
        let login = match self.ask_beside("user").await {
            Ok(answer) => Some(answer.read::<User>()?.login),
            // It takes the scope `read:user`.
            Err(ForgeError::Denied { .. }) => None,
            Err(error) => return Err(error),
        };
        let pushes = repository.permissions.push;
        let mut may = BTreeMap::new();
        for work in Work::ALL {
            let allowed = match pushes {
                false => May::No("the permission `write` in the repository".to_owned()),
                true => May::Untold(
                    "a token is not told its scopes: it needs `write:repository` and `write:issue`"
                        .to_owned(),
                ),
            };
            may.insert(work, allowed);
        }
        Ok(Rights {
            login,
            app: None,
            admin: repository.permissions.admin,
            archived: repository.archived,
            may,
        })
    }

    pub(super) async fn protection_of(
        &self,
        reference: &str,
        us: &Rights,
    ) -> Result<Protection, ForgeError> {
        match reference.strip_prefix("refs/heads/") {
            Some(branch) if us.admin => self.by_rules(branch, us).await,
            Some(branch) => self.by_branch(branch).await,
            None => self.by_tag_rules(reference, us).await,
        }
    }

    /// What follows for us where the branch exists.
    async fn by_branch(&self, branch: &str) -> Result<Protection, ForgeError> {
        let route = format!("branches/{branch}");
        let shown: Branch = match self.ask(Method::GET, &route, None).await {
            Ok(answer) => answer.read()?,
            Err(ForgeError::Denied { .. }) => {
                return Ok(Protection {
                    rules: Vec::new(),
                    untold: vec![format!(
                        "what protects `{branch}` before it exists is told to administrators alone"
                    )],
                });
            }
            Err(error) => return Err(error),
        };
        if !shown.protected {
            return Ok(Protection::default());
        }
        let mut rules = Vec::new();
        let approvals = shown.required_approvals;
        let binds = match shown.user_can_push {
            false => Binds::Yes,
            true => Binds::No("it lets us push".to_owned()),
        };
        rules.push(rule(RuleKind::Requests { approvals }, binds));
        if !shown.user_can_merge {
            rules.push(rule(RuleKind::Few, Binds::Yes));
        }
        // Who may not rewrite a branch or sign its commits is not told.
        rules.push(rule(RuleKind::NoDeletion, Binds::Yes));
        let contexts = shown
            .status_check_contexts
            .filter(|_| shown.enable_status_check);
        rules.extend(contexts.and_then(checks));
        Ok(Protection {
            rules,
            untold: vec![
                "whether commits must be signed, and whether history may be rewritten, is told to administrators alone"
                    .to_owned(),
            ],
        })
    }

    /// The rule in force is the first that fits by priority, whether the branch exists or not.
    async fn by_rules(&self, branch: &str, us: &Rights) -> Result<Protection, ForgeError> {
        let answer = self.ask(Method::GET, "branch_protections", None).await?;
        let mut all: Vec<BranchRule> = answer.read()?;
        all.sort_by_key(|it| it.priority);
        // A rule of this very name goes before patterns.
        let named = all.iter().find(|it| it.rule_name == branch);
        let found = named.or_else(|| all.iter().find(|it| fits(&it.rule_name, branch)));
        Ok(Protection {
            rules: found.map(|it| it.rules(us)).unwrap_or_default(),
            untold: Vec::new(),
        })
    }

    async fn by_tag_rules(&self, reference: &str, us: &Rights) -> Result<Protection, ForgeError> {
        let Some(tag) = reference.strip_prefix("refs/tags/") else {
            return Ok(Protection::default());
        };
        if !us.admin {
            return Ok(Protection {
                rules: Vec::new(),
                untold: vec!["what protects tags is told to administrators alone".to_owned()],
            });
        }
        let answer = self.ask(Method::GET, "tag_protections", None).await?;
        let all: Vec<TagRule> = answer.read()?;
        let found = all.iter().filter(|it| it.holds_for(tag));
        let rules = found.map(|it| {
            let binds = named(&it.whitelist_usernames, &it.whitelist_teams, us);
            Rule {
                kind: RuleKind::NoCreation,
                source: format!("tag protection `{}`", it.name_pattern),
                binds,
            }
        });
        Ok(Protection {
            rules: rules.collect(),
            untold: Vec::new(),
        })
    }

    pub(super) async fn reported_on(&self, base: &str) -> Result<Reported, ForgeError> {
        let query = format!("pulls?state=all&sort=recentupdate&limit={PAGE}&page=1");
        let pulls: Vec<Headed> = self.ask(Method::GET, &query, None).await?.read()?;
        let to_base = pulls.into_iter().filter(|it| it.base.branch == base);
        let pulls: Vec<Headed> = to_base.take(REQUESTS).collect();
        let mut reported = Reported {
            requests: pulls.len(),
            ..Reported::default()
        };
        for pull in &pulls {
            let statuses = self.statuses_of(&pull.head.sha).await?;
            let names = statuses.into_iter().map(|it| it.context);
            reported.contexts.extend(names);
        }
        Ok(reported)
    }

    pub(super) async fn all_hooks(&self) -> Result<Vec<Hook>, ForgeError> {
        let hooks: Vec<Webhook> = self.of_repository("hooks").await?;
        let read = |hook: Webhook| {
            let url = hook.config.get("url").map_or("", String::as_str);
            Hook {
                url: url.split('?').next().unwrap_or_default().to_owned(),
                active: hook.active,
                events: hook.events.unwrap_or_default(),
                answered: None,
            }
        };
        Ok(hooks.into_iter().map(read).collect())
    }
}

fn rule(kind: RuleKind, binds: Binds) -> Rule {
    Rule {
        kind,
        source: PLACE.to_owned(),
        binds,
    }
}

/// Required statuses count when a request is merged; whoever may push need not wait for them.
fn checks(contexts: Vec<String>) -> Option<Rule> {
    if contexts.is_empty() {
        return None;
    }
    let checks = contexts
        .into_iter()
        .map(|context| Check { context, app: None });
    let kind = RuleKind::Checks {
        checks: checks.collect(),
        pushes: false,
    };
    Some(rule(kind, Binds::Yes))
}

/// Whether a list binds us: it does where it names others alone.
fn named(users: &Option<Vec<String>>, teams: &Option<Vec<String>>, us: &Rights) -> Binds {
    let Some(login) = &us.login else {
        return Binds::Untold("who we are is not told: it takes the scope `read:user`".to_owned());
    };
    let is_named = users.iter().flatten().any(|it| it == login);
    let has_teams = teams.as_ref().is_some_and(|it| !it.is_empty());
    match (is_named, has_teams) {
        (true, _) => Binds::No("it names us".to_owned()),
        (false, false) => Binds::Yes,
        (false, true) => {
            Binds::Untold("whether we are in one of the teams it names is not told".to_owned())
        }
    }
}

impl BranchRule {
    fn rules(&self, us: &Rights) -> Vec<Rule> {
        let approvals = self.required_approvals;
        let pushes = match (self.enable_push, self.enable_push_whitelist) {
            (false, _) => Binds::Yes,
            (true, false) => Binds::No("it lets everybody push who may write".to_owned()),
            (true, true) => named(
                &self.push_whitelist_usernames,
                &self.push_whitelist_teams,
                us,
            ),
        };
        let overrides = us.admin && !self.block_admin_merge_override;
        let pushes = match (pushes, overrides) {
            (Binds::Yes, true) => Binds::No(
                "we administer the repository, and it lets administrators merge past it (`block_admin_merge_override` is off)"
                    .to_owned(),
            ),
            (pushes, _) => pushes,
        };
        let mut rules = vec![rule(RuleKind::Requests { approvals }, pushes)];
        if self.enable_merge_whitelist && !overrides {
            let binds = named(
                &self.merge_whitelist_usernames,
                &self.merge_whitelist_teams,
                us,
            );
            if binds == Binds::Yes && !self.enable_push {
                rules.push(rule(RuleKind::Few, binds));
            }
        }
        if self.require_signed_commits {
            rules.push(rule(RuleKind::Signed, Binds::Yes));
        }
        if !self.enable_force_push {
            rules.push(rule(RuleKind::NoRewrite, Binds::Yes));
        }
        rules.push(rule(RuleKind::NoDeletion, Binds::Yes));
        if !self.protected_file_patterns.is_empty() {
            let what = format!("protected files ({})", self.protected_file_patterns);
            rules.push(rule(RuleKind::Other(what), Binds::Yes));
        }
        let contexts = self.status_check_contexts.clone();
        let contexts = contexts.filter(|_| self.enable_status_check);
        rules.extend(contexts.and_then(checks));
        rules
    }
}

impl TagRule {
    /// A glob, or between slashes a regular expression: that is taken to fit.
    fn holds_for(&self, tag: &str) -> bool {
        let is_regular = self.name_pattern.len() > 1
            && self.name_pattern.starts_with('/')
            && self.name_pattern.ends_with('/');
        is_regular || fits(&self.name_pattern, tag)
    }
}

/// As `gobwas/glob` reads it with `/` between names.
fn fits(pattern: &str, name: &str) -> bool {
    let mut glob = globset::GlobBuilder::new(pattern);
    let glob = glob.literal_separator(true).build();
    glob.is_ok_and(|glob| glob.compile_matcher().is_match(name))
}
