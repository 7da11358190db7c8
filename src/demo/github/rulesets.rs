//! Rulesets: rules for branches or tags of a pattern, and who may pass them
//! ([rules](https://docs.github.com/en/rest/repos/rules),
//! [who may bypass](https://docs.github.com/en/repositories/configuring-branches-and-merges-in-your-repository/managing-rulesets/creating-rulesets-for-a-repository#granting-bypass-permissions-for-your-branch-or-tag-ruleset)).
//!
//! What a rule does to pushes and merges is [`super::protection`]'s.

use serde_json::{Value, json};

use super::answer::{Answer, Refusal, Reply};
use super::call::Call;
use super::protection::matches;
use super::state::Repository;

/// A ruleset that is in force.
#[derive(Debug, Clone)]
pub struct Ruleset {
    /// Its name.
    pub name: String,
    /// What it is about.
    pub target: Target,
    /// Names of branches or tags, as fnmatch(3) reads it.
    pub pattern: String,
    /// Its rules, as the API shows them: `type`, `parameters`.
    pub rules: Vec<Value>,
    /// Logins that it does not bind.
    pub bypass: Vec<String>,
}

/// What a ruleset is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Branches.
    Branch,
    /// Tags.
    Tag,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::Branch => "branch",
            Self::Tag => "tag",
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Branch => "refs/heads/",
            Self::Tag => "refs/tags/",
        }
    }
}

/// A ruleset of a repository.
pub(super) struct Kept {
    pub(super) id: u64,
    pub(super) ruleset: Ruleset,
}

impl Kept {
    pub(super) fn holds_for(&self, target: Target, name: &str) -> bool {
        self.ruleset.target == target && matches(&self.ruleset.pattern, name)
    }

    pub(super) fn lets_pass(&self, login: &str) -> bool {
        self.ruleset.bypass.iter().any(|it| it == login)
    }

    fn form(&self, repository: &Repository) -> Value {
        json!({
            "id": self.id,
            "name": self.ruleset.name,
            "target": self.ruleset.target.name(),
            "source_type": "Repository",
            "source": repository.full_name(),
            "enforcement": "active",
        })
    }
}

/// Rules that hold for a branch, whoever asks; classic protection is not among them.
pub(super) fn rules(call: &Call<'_>) -> Answer {
    let branch = call.argument(0);
    let repository = call.repository()?;
    let held = repository
        .rulesets
        .iter()
        .filter(|it| it.holds_for(Target::Branch, branch));
    let rules = held.flat_map(|kept| {
        kept.ruleset.rules.iter().map(|rule| {
            let mut rule = rule.clone();
            rule["ruleset_source_type"] = json!("Repository");
            rule["ruleset_source"] = json!(repository.full_name());
            rule["ruleset_id"] = json!(kept.id);
            rule
        })
    });
    call.listed(rules.collect(), |rule| rule)
}

/// All of them, without their rules.
pub(super) fn list(call: &Call<'_>) -> Answer {
    let repository = call.repository()?;
    let asked = call.asked("targets");
    let wanted = |it: &&Kept| {
        let name = it.ruleset.target.name();
        asked.is_none_or(|asked| asked.split(',').any(|it| it == name))
    };
    let all = repository.rulesets.iter().filter(wanted);
    call.listed(all.collect(), |it| it.form(repository))
}

/// One, with what it says of who asks.
pub(super) fn get(call: &Call<'_>) -> Answer {
    let repository = call.repository()?;
    let id = call.number(0)?;
    let found = repository.rulesets.iter().find(|it| it.id == id);
    let found = found.ok_or_else(Refusal::not_found)?;
    let mut form = found.form(repository);
    let ruleset = &found.ruleset;
    let pattern = format!("{}{}", ruleset.target.folder(), ruleset.pattern);
    form["conditions"] = json!({ "ref_name": { "include": [pattern], "exclude": [] } });
    form["rules"] = ruleset.rules.iter().cloned().collect();
    form["current_user_can_bypass"] = match found.lets_pass(&call.grant.login) {
        true => json!("always"),
        false => json!("never"),
    };
    Ok(Reply::ok(form))
}
