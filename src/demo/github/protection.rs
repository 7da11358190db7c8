//! What protects a branch: classic branch protection and the rules of rulesets, read into one `Guard` that
//! merges and pushes are judged by.
//!
//! Sources: [protected branches](https://docs.github.com/en/repositories/configuring-branches-and-merges-in-your-repository/managing-protected-branches/about-protected-branches),
//! [rules](https://docs.github.com/en/repositories/configuring-branches-and-merges-in-your-repository/managing-rulesets/available-rules-for-rulesets),
//! [the API](https://docs.github.com/en/rest/branches/branch-protection).

use globset::GlobBuilder;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::{Role, role_of};
use super::answer::{Answer, Refusal, Reply};
use super::call::Call;
use super::rulesets::Target;
use super::state::Repository;

/// Branch protection, as the API takes it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Protection {
    /// Checks that must have succeeded.
    pub required_status_checks: Option<RequiredChecks>,
    /// Whether administrators must obey too.
    pub enforce_admins: Option<bool>,
    /// Reviews that there must be; with it, nobody pushes directly.
    pub required_pull_request_reviews: Option<RequiredReviews>,
    /// Who alone may push.
    pub restrictions: Option<Actors>,
    /// No merge commits.
    pub required_linear_history: bool,
    /// Whether history may be rewritten.
    pub allow_force_pushes: Option<bool>,
    /// Whether the branch may be deleted.
    pub allow_deletions: bool,
    /// Nobody may push.
    pub lock_branch: bool,
    /// Whether every commit must be signed. The API sets it apart.
    #[serde(skip)]
    pub required_signatures: bool,
}

/// Checks that must have succeeded on the head.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct RequiredChecks {
    /// Whether the head must contain the base's head.
    pub strict: bool,
    /// Names of statuses and check runs.
    pub contexts: Vec<String>,
    /// The same, with the app that must say so.
    pub checks: Vec<RequiredCheck>,
}

/// One such check.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct RequiredCheck {
    /// The name.
    pub context: String,
    /// The app; -1 and nothing mean any.
    pub app_id: Option<i64>,
}

/// Reviews that there must be.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct RequiredReviews {
    /// How many approvals.
    pub required_approving_review_count: usize,
    /// Whether a push dismisses approvals.
    pub dismiss_stale_reviews: bool,
    /// Whether owners of the files must approve.
    pub require_code_owner_reviews: bool,
    /// Whether somebody other than the last pusher must approve.
    pub require_last_push_approval: bool,
    /// Who need not obey.
    pub bypass_pull_request_allowances: Actors,
    /// Who alone may dismiss reviews.
    pub dismissal_restrictions: Option<Actors>,
}

impl Default for RequiredReviews {
    fn default() -> Self {
        Self {
            required_approving_review_count: 1,
            dismiss_stale_reviews: false,
            require_code_owner_reviews: false,
            require_last_push_approval: false,
            bypass_pull_request_allowances: Actors::default(),
            dismissal_restrictions: None,
        }
    }
}

/// Who is meant.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Actors {
    /// Logins.
    pub users: Vec<String>,
    /// Teams: nobody is in one here.
    pub teams: Vec<String>,
    /// Slugs.
    pub apps: Vec<String>,
}

impl Actors {
    fn name(&self, login: &str) -> bool {
        let app = login.strip_suffix("[bot]");
        self.users.iter().any(|it| it == login)
            || app.is_some_and(|app| self.apps.iter().any(|it| it == app))
    }
}

/// All that holds for one branch and one actor.
#[derive(Default)]
pub(super) struct Guard {
    /// Changes come by pull requests alone; with so many approvals.
    pub(super) reviews: Option<usize>,
    pub(super) dismiss_stale: bool,
    /// Name, and the app that must say so.
    pub(super) checks: Vec<(String, Option<u64>)>,
    pub(super) strict: bool,
    pub(super) restricted: bool,
    pub(super) linear: bool,
    pub(super) signed: bool,
    pub(super) queue: bool,
    pub(super) no_force: bool,
    pub(super) no_deletion: bool,
    pub(super) locked: bool,
    pub(super) no_creation: bool,
}

/// Why a ref may not be moved.
pub(super) enum Ban {
    /// Whatever the new value is.
    Always(String),
    /// Unless the new value descends from the old one.
    Rewrite(String),
    /// Unless every new commit is signed.
    Unsigned(String),
}

impl Guard {
    /// What holds for `login` on a branch. `is_admin` passes classic protection unless it says otherwise.
    pub(super) fn of(repository: &Repository, branch: &str, login: &str, is_admin: bool) -> Self {
        let mut guard = Self::default();
        for (pattern, protection) in &repository.protections {
            let free = is_admin && protection.enforce_admins != Some(true);
            if matches(pattern, branch) {
                guard.protect(protection, login, free);
            }
        }
        guard.obey(repository, Target::Branch, branch, login);
        guard
    }

    /// What holds for `login` on a tag.
    pub(super) fn of_tag(repository: &Repository, tag: &str, login: &str) -> Self {
        let mut guard = Self::default();
        guard.obey(repository, Target::Tag, tag, login);
        guard
    }

    fn obey(&mut self, repository: &Repository, target: Target, name: &str, login: &str) {
        let held = repository
            .rulesets
            .iter()
            .filter(|it| it.holds_for(target, name));
        for kept in held.filter(|it| !it.lets_pass(login)) {
            kept.ruleset.rules.iter().for_each(|rule| self.rule(rule));
        }
    }

    fn protect(&mut self, protection: &Protection, login: &str, free: bool) {
        self.no_force |= protection.allow_force_pushes != Some(true);
        self.no_deletion |= !protection.allow_deletions;
        if let Some(reviews) = &protection.required_pull_request_reviews {
            self.dismiss_stale |= reviews.dismiss_stale_reviews;
            if !free && !reviews.bypass_pull_request_allowances.name(login) {
                self.need_reviews(reviews.required_approving_review_count);
            }
        }
        if free {
            return;
        }
        if let Some(checks) = &protection.required_status_checks {
            self.strict |= checks.strict;
            self.checks
                .extend(checks.contexts.iter().map(|it| (it.clone(), None)));
            for check in &checks.checks {
                let app = check.app_id.and_then(|id| u64::try_from(id).ok());
                self.checks.retain(|(context, _)| *context != check.context);
                self.checks.push((check.context.clone(), app));
            }
        }
        let restrictions = protection.restrictions.as_ref();
        self.restricted |= restrictions.is_some_and(|it| !it.name(login));
        self.linear |= protection.required_linear_history;
        self.signed |= protection.required_signatures;
        self.locked |= protection.lock_branch;
    }

    fn rule(&mut self, rule: &Value) {
        let parameters = &rule["parameters"];
        match rule["type"].as_str().unwrap_or_default() {
            "pull_request" => {
                let count = parameters["required_approving_review_count"].as_u64();
                let count = count.and_then(|it| usize::try_from(it).ok());
                self.need_reviews(count.unwrap_or_default());
                self.dismiss_stale |= parameters["dismiss_stale_reviews_on_push"] == true;
            }
            "required_status_checks" => {
                self.strict |= parameters["strict_required_status_checks_policy"] == true;
                let checks = parameters["required_status_checks"].as_array();
                for check in checks.into_iter().flatten() {
                    let context = check["context"].as_str().unwrap_or_default().to_owned();
                    self.checks
                        .push((context, check["integration_id"].as_u64()));
                }
            }
            "non_fast_forward" => self.no_force = true,
            "deletion" => self.no_deletion = true,
            "creation" => self.no_creation = true,
            "update" => self.locked = true,
            "merge_queue" => self.queue = true,
            "required_linear_history" => self.linear = true,
            "required_signatures" => self.signed = true,
            _ => {}
        }
    }

    fn need_reviews(&mut self, count: usize) {
        self.reviews = Some(self.reviews.unwrap_or_default().max(count));
    }

    /// Why a push may not do that to the ref, in the order in which it is told. `passed` are the checks that
    /// succeeded on the new commit.
    pub(super) fn bans(
        &self,
        old: Option<&str>,
        new: Option<&str>,
        passed: impl Fn(&(String, Option<u64>)) -> bool,
    ) -> Vec<Ban> {
        if let Some(ban) = self.ban(old, new, passed) {
            return vec![ban];
        }
        let rewrite = || Ban::Rewrite("Cannot force-push to this branch".to_owned());
        let unsigned = || Ban::Unsigned("Commits must have verified signatures.".to_owned());
        let exists = old.is_some() && new.is_some();
        let rewrite = (self.no_force && exists).then(rewrite);
        let unsigned = (self.signed && new.is_some()).then(unsigned);
        rewrite.into_iter().chain(unsigned).collect()
    }

    fn ban(
        &self,
        old: Option<&str>,
        new: Option<&str>,
        passed: impl Fn(&(String, Option<u64>)) -> bool,
    ) -> Option<Ban> {
        let Some(_new) = new else {
            return self
                .no_deletion
                .then(|| Ban::Always("Cannot delete this branch".to_owned()));
        };
        if old.is_none() && self.no_creation {
            return Some(Ban::Always("Cannot create this branch".to_owned()));
        }
        if self.locked {
            return Some(Ban::Always("Cannot change this locked branch".to_owned()));
        }
        if self.queue {
            let message = "Changes must be made through the merge queue";
            return Some(Ban::Always(message.to_owned()));
        }
        if self.reviews.is_some() {
            let message = "Changes must be made through a pull request.";
            return Some(Ban::Always(message.to_owned()));
        }
        if self.restricted {
            let message = "You're not authorized to push to this branch.";
            return Some(Ban::Always(message.to_owned()));
        }
        if let Some((context, _)) = self.checks.iter().find(|check| !passed(check)) {
            let message = format!("Required status check \"{context}\" is expected.");
            return Some(Ban::Always(message));
        }
        None
    }
}

/// fnmatch(3) with FNM_PATHNAME, as branch name patterns are read.
pub(super) fn matches(pattern: &str, branch: &str) -> bool {
    let glob = GlobBuilder::new(pattern).literal_separator(true).build();
    glob.is_ok_and(|glob| glob.compile_matcher().is_match(branch))
}

/// The branch protection that is in force for a branch.
pub(super) fn of<'a>(repository: &'a Repository, branch: &str) -> Option<&'a Protection> {
    let mut all = repository.protections.iter();
    let found = all.find(|(pattern, _)| matches(pattern, branch));
    found.map(|(_, protection)| protection)
}

/// As much of it as everybody who reads the repository is told with the branch.
pub(super) fn summary(protection: Option<&Protection>) -> Value {
    let checks = protection.and_then(|it| it.required_status_checks.as_ref());
    let enforced = protection.is_some_and(|it| it.enforce_admins == Some(true));
    let level = match (checks, enforced) {
        (None, _) => "off",
        (Some(_), true) => "everyone",
        (Some(_), false) => "non_admins",
    };
    let all = checks.map(all_checks).unwrap_or_default();
    json!({
        "enabled": protection.is_some(),
        "required_status_checks": {
            "enforcement_level": level,
            "contexts": all.iter().map(|it| it["context"].clone()).collect::<Value>(),
            "checks": all,
        },
    })
}

/// As GraphQL tells it to everybody who reads the repository: `RefUpdateRule`, as it is for who asks.
pub(super) fn update_rule(call: &Call<'_>, repository: &Repository, branch: &str) -> Value {
    let Some(protection) = of(repository, branch) else {
        return Value::Null;
    };
    let login = &call.grant.login;
    let is_admin = role_of(repository, login) == Some(Role::Admin);
    let free = is_admin && protection.enforce_admins != Some(true);
    let may_push = protection.restrictions.as_ref();
    let may_push = free || may_push.is_none_or(|it| it.name(login));
    let reviews = protection.required_pull_request_reviews.as_ref();
    let checks = protection.required_status_checks.as_ref();
    let contexts = checks.map(|it| {
        let all = all_checks(it).into_iter();
        all.map(|mut it| it["context"].take()).collect::<Value>()
    });
    json!({
        "allowsDeletions": protection.allow_deletions,
        "allowsForcePushes": protection.allow_force_pushes == Some(true),
        "requiredApprovingReviewCount": reviews.map(|it| it.required_approving_review_count),
        "requiredStatusCheckContexts": contexts,
        "requiresLinearHistory": protection.required_linear_history,
        "requiresSignatures": protection.required_signatures,
        "viewerCanPush": may_push && !protection.lock_branch,
    })
}

fn all_checks(checks: &RequiredChecks) -> Vec<Value> {
    let mut all: Vec<Value> = checks
        .checks
        .iter()
        .map(|it| json!({ "context": it.context, "app_id": it.app_id }))
        .collect();
    for context in &checks.contexts {
        if !checks.checks.iter().any(|it| it.context == *context) {
            all.push(json!({ "context": context, "app_id": null }));
        }
    }
    all
}

pub(super) fn get(call: &Call<'_>) -> Answer {
    let branch = call.argument(0);
    let repository = call.repository()?;
    if repository.branch(branch).is_none() {
        return Err(Refusal::new(404, "Branch not found"));
    }
    match of(repository, branch) {
        Some(protection) => Ok(Reply::ok(shown(call, branch, protection))),
        None => Err(Refusal::new(404, "Branch not protected")),
    }
}

pub(super) fn put(call: &mut Call<'_>) -> Answer {
    let branch = call.argument(0).to_owned();
    if call.repository()?.branch(&branch).is_none() {
        return Err(Refusal::new(404, "Branch not found"));
    }
    let protection: Protection = serde_json::from_value(call.body.clone())
        .map_err(|error| Refusal::new(422, format!("Invalid request.\n\n{error}")))?;
    let form = shown(call, &branch, &protection);
    call.repository_mut()?
        .protections
        .insert(branch, protection);
    Ok(Reply::ok(form))
}

pub(super) fn delete(call: &mut Call<'_>) -> Answer {
    let branch = call.argument(0).to_owned();
    match call.repository_mut()?.protections.remove(&branch) {
        Some(_) => Ok(Reply::empty()),
        None => Err(Refusal::new(404, "Branch not protected")),
    }
}

fn shown(call: &Call<'_>, branch: &str, protection: &Protection) -> Value {
    let url = call.repository().map(|it| call.form().url(it));
    let url = format!("{}/branches/{branch}/protection", url.unwrap_or_default());
    let switch = |on: bool| json!({ "enabled": on });
    let mut form = json!({
        "url": url,
        "enforce_admins": {
            "url": format!("{url}/enforce_admins"),
            "enabled": protection.enforce_admins == Some(true),
        },
        "required_linear_history": switch(protection.required_linear_history),
        "allow_force_pushes": switch(protection.allow_force_pushes == Some(true)),
        "allow_deletions": switch(protection.allow_deletions),
        "block_creations": switch(false),
        "required_conversation_resolution": switch(false),
        "lock_branch": switch(protection.lock_branch),
        "required_signatures": {
            "url": format!("{url}/required_signatures"),
            "enabled": protection.required_signatures,
        },
        "allow_fork_syncing": switch(false),
    });
    if let Some(checks) = &protection.required_status_checks {
        let all = all_checks(checks);
        form["required_status_checks"] = json!({
            "url": format!("{url}/required_status_checks"),
            "strict": checks.strict,
            "contexts": all.iter().map(|it| it["context"].clone()).collect::<Value>(),
            "contexts_url": format!("{url}/required_status_checks/contexts"),
            "checks": all,
        });
    }
    if let Some(reviews) = &protection.required_pull_request_reviews {
        let may = &reviews.bypass_pull_request_allowances;
        let own = format!("{url}/required_pull_request_reviews");
        let mut shown = json!({
            "url": own,
            "dismiss_stale_reviews": reviews.dismiss_stale_reviews,
            "require_code_owner_reviews": reviews.require_code_owner_reviews,
            "require_last_push_approval": reviews.require_last_push_approval,
            "required_approving_review_count": reviews.required_approving_review_count,
            "bypass_pull_request_allowances": actors(call, may),
        });
        if let Some(only) = &reviews.dismissal_restrictions {
            let own = format!("{url}/dismissal_restrictions");
            shown["dismissal_restrictions"] = restricted(call, only, &own);
        }
        form["required_pull_request_reviews"] = shown;
    }
    if let Some(only) = &protection.restrictions {
        let own = format!("{url}/restrictions");
        form["restrictions"] = restricted(call, only, &own);
    }
    form
}

fn restricted(call: &Call<'_>, only: &Actors, url: &str) -> Value {
    let mut who = actors(call, only);
    for name in ["users", "teams", "apps"] {
        who[format!("{name}_url")] = json!(format!("{url}/{name}"));
    }
    who["url"] = json!(url);
    who
}

fn actors(call: &Call<'_>, actors: &Actors) -> Value {
    let form = call.form();
    let app = |slug: &String| {
        let found = call.state.apps.values().find(|app| app.slug == *slug);
        found.map(|app| form.app(app.id))
    };
    json!({
        "users": actors.users.iter().map(|login| form.user(login)).filter(|it| !it.is_null()).collect::<Value>(),
        "teams": [],
        "apps": actors.apps.iter().filter_map(app).collect::<Value>(),
    })
}
