//! What GitHub tells of protection, as far as it is read, and what it means in our words.

use serde::Deserialize;
use serde_json::Value;

use crate::forge::{Binds, Check, Rights, Rule, RuleKind};

/// Where branch protection is found.
const CLASSIC: &str = "branch protection";

/// A rule that holds for a branch, and of which ruleset.
#[derive(Debug, Deserialize)]
pub(super) struct Held {
    #[serde(flatten)]
    pub(super) rule: Stated,
    pub(super) ruleset_id: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Stated {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) parameters: Value,
}

#[derive(Debug, Deserialize)]
pub(super) struct Ruleset {
    pub(super) id: u64,
    pub(super) name: String,
    #[serde(default)]
    pub(super) enforcement: String,
    #[serde(default)]
    pub(super) conditions: Value,
    #[serde(default)]
    pub(super) rules: Vec<Stated>,
    pub(super) current_user_can_bypass: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Branch {
    #[serde(default)]
    pub(super) protected: bool,
    #[serde(default)]
    pub(super) protection: Summary,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Summary {
    pub(super) required_status_checks: Option<RequiredChecks>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct RequiredChecks {
    #[serde(default)]
    pub(super) contexts: Vec<String>,
    #[serde(default)]
    pub(super) checks: Vec<RequiredCheck>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RequiredCheck {
    pub(super) context: String,
    pub(super) app_id: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Switch {
    pub(super) enabled: bool,
}

/// Branch protection as administrators are told.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Classic {
    pub(super) required_status_checks: Option<RequiredChecks>,
    pub(super) enforce_admins: Switch,
    pub(super) required_pull_request_reviews: Option<Reviews>,
    pub(super) restrictions: Option<Actors>,
    pub(super) required_linear_history: Switch,
    pub(super) required_signatures: Switch,
    pub(super) allow_force_pushes: Switch,
    pub(super) allow_deletions: Switch,
    pub(super) lock_branch: Switch,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Reviews {
    pub(super) required_approving_review_count: u64,
    pub(super) bypass_pull_request_allowances: Actors,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Actors {
    pub(super) users: Vec<Named>,
    pub(super) teams: Vec<Named>,
    pub(super) apps: Vec<Named>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Named {
    pub(super) login: Option<String>,
    pub(super) slug: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Answered {
    pub(super) repository: Option<AnsweredRepository>,
}

#[derive(Deserialize)]
pub(super) struct AnsweredRepository {
    #[serde(rename = "ref")]
    pub(super) reference: Option<AnsweredRef>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AnsweredRef {
    pub(super) ref_update_rule: Option<UpdateRule>,
}

/// Branch protection as everybody is told.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UpdateRule {
    pub(super) required_approving_review_count: Option<u64>,
    pub(super) requires_linear_history: bool,
    pub(super) requires_signatures: bool,
    pub(super) allows_force_pushes: bool,
    pub(super) allows_deletions: bool,
    pub(super) viewer_can_push: bool,
}

impl Stated {
    pub(super) fn kind(&self) -> RuleKind {
        let parameters = &self.parameters;
        match self.kind.as_str() {
            "pull_request" => RuleKind::Requests {
                approvals: parameters["required_approving_review_count"]
                    .as_u64()
                    .unwrap_or_default(),
            },
            "merge_queue" => RuleKind::Queue,
            "required_status_checks" => {
                let checks = parameters["required_status_checks"].as_array();
                let checks = checks.into_iter().flatten().map(|check| Check {
                    context: check["context"].as_str().unwrap_or_default().to_owned(),
                    app: check["integration_id"].as_u64(),
                });
                RuleKind::Checks {
                    checks: checks.collect(),
                    pushes: true,
                }
            }
            "update" => RuleKind::Few,
            "required_signatures" => RuleKind::Signed,
            "required_linear_history" => RuleKind::Linear,
            "non_fast_forward" => RuleKind::NoRewrite,
            "deletion" => RuleKind::NoDeletion,
            "creation" => RuleKind::NoCreation,
            other => RuleKind::Other(other.to_owned()),
        }
    }
}

impl Ruleset {
    pub(super) fn source(&self) -> String {
        format!("ruleset `{}`", self.name)
    }

    pub(super) fn binds(&self) -> Binds {
        match self.current_user_can_bypass.as_deref() {
            Some("never") => Binds::Yes,
            Some("pull_requests_only") => {
                Binds::No(format!("{} lets us merge requests past it", self.source()))
            }
            Some(_) => Binds::No(format!("{} lets us bypass it", self.source())),
            None => Binds::Untold("who may bypass the ruleset is not told".to_owned()),
        }
    }

    /// [Patterns](https://docs.github.com/en/repositories/configuring-branches-and-merges-in-your-repository/managing-rulesets/creating-rulesets-for-a-repository#using-fnmatch-syntax)
    /// of full names.
    pub(super) fn holds_for(&self, reference: &str) -> bool {
        let has = |list: &str| {
            let patterns = self.conditions["ref_name"][list].as_array();
            let mut patterns = patterns.into_iter().flatten().filter_map(Value::as_str);
            patterns.any(|pattern| pattern == "~ALL" || fits(pattern, reference))
        };
        has("include") && !has("exclude")
    }
}

/// fnmatch(3) with FNM_PATHNAME.
fn fits(pattern: &str, reference: &str) -> bool {
    let mut glob = globset::GlobBuilder::new(pattern);
    let glob = glob.literal_separator(true).build();
    glob.is_ok_and(|glob| glob.compile_matcher().is_match(reference))
}

impl RequiredChecks {
    pub(super) fn rule(&self, binds: &Binds) -> Option<Rule> {
        let is_named = |context: &String| self.checks.iter().any(|it| it.context == *context);
        let mut checks: Vec<Check> = self
            .checks
            .iter()
            .map(|check| Check {
                context: check.context.clone(),
                // -1 is anybody.
                app: check.app_id.and_then(|id| u64::try_from(id).ok()),
            })
            .collect();
        let others = self.contexts.iter().filter(|it| !is_named(it));
        checks.extend(others.map(|context| Check {
            context: context.clone(),
            app: None,
        }));
        (!checks.is_empty()).then(|| Rule {
            kind: RuleKind::Checks {
                checks,
                pushes: true,
            },
            source: CLASSIC.to_owned(),
            binds: binds.clone(),
        })
    }
}

impl Actors {
    /// Whether they name us, as far as one of a list of teams can tell.
    fn name(&self, us: &Rights) -> Option<bool> {
        let login = us.login.as_deref()?;
        let slug = login.strip_suffix("[bot]");
        let user = self
            .users
            .iter()
            .any(|it| it.login.as_deref() == Some(login));
        let app = |slug: &str| self.apps.iter().any(|it| it.slug.as_deref() == Some(slug));
        match user || slug.is_some_and(app) {
            true => Some(true),
            false if self.teams.is_empty() || slug.is_some() => Some(false),
            false => None,
        }
    }
}

impl Classic {
    pub(super) fn rules(&self, us: &Rights) -> Vec<Rule> {
        let free = us.admin && !self.enforce_admins.enabled;
        let bound = match free {
            true => Binds::No(
                "we administer the repository, and its protection leaves administrators free"
                    .to_owned(),
            ),
            false => Binds::Yes,
        };
        let mut rules = Vec::new();
        let mut add = |kind: RuleKind, binds: &Binds| {
            rules.push(Rule {
                kind,
                source: CLASSIC.to_owned(),
                binds: binds.clone(),
            });
        };
        if let Some(reviews) = &self.required_pull_request_reviews {
            let named = reviews.bypass_pull_request_allowances.name(us);
            let binds = match (free, named) {
                (true, _) | (_, Some(false)) => bound.clone(),
                (false, Some(true)) => {
                    Binds::No("it names us among those who may bypass requests".to_owned())
                }
                (false, None) => Binds::Untold(
                    "whether we are in a team that may bypass requests is not told".to_owned(),
                ),
            };
            let approvals = reviews.required_approving_review_count;
            add(RuleKind::Requests { approvals }, &binds);
        }
        if let Some(only) = &self.restrictions {
            let binds = match (free, only.name(us)) {
                (true, _) | (_, Some(false)) => bound.clone(),
                (false, Some(true)) => Binds::No("it names us among those who may push".to_owned()),
                (false, None) => {
                    Binds::Untold("whether we are in a team that may push is not told".to_owned())
                }
            };
            add(RuleKind::Few, &binds);
        }
        let always = Binds::Yes;
        for (is_on, kind, binds) in [
            (self.lock_branch.enabled, RuleKind::Locked, &bound),
            (self.required_signatures.enabled, RuleKind::Signed, &bound),
            (
                self.required_linear_history.enabled,
                RuleKind::Linear,
                &bound,
            ),
            // These bind administrators, too.
            (
                !self.allow_force_pushes.enabled,
                RuleKind::NoRewrite,
                &always,
            ),
            (!self.allow_deletions.enabled, RuleKind::NoDeletion, &always),
        ] {
            if is_on {
                add(kind, binds);
            }
        }
        let checks = self.required_status_checks.as_ref();
        rules.extend(checks.and_then(|it| it.rule(&bound)));
        rules
    }
}

impl UpdateRule {
    pub(super) fn rules(&self) -> Vec<Rule> {
        let untold = || {
            Binds::Untold(
                "whether branch protection lets us bypass it is told to administrators alone (the permission `administration: read`)"
                    .to_owned(),
            )
        };
        let mut rules = Vec::new();
        let mut add = |kind: RuleKind, binds: Binds| {
            rules.push(Rule {
                kind,
                source: CLASSIC.to_owned(),
                binds,
            });
        };
        if let Some(approvals) = self.required_approving_review_count {
            add(RuleKind::Requests { approvals }, untold());
        }
        for (is_on, kind) in [
            (!self.viewer_can_push, RuleKind::Few),
            (self.requires_signatures, RuleKind::Signed),
            (self.requires_linear_history, RuleKind::Linear),
            (!self.allows_force_pushes, RuleKind::NoRewrite),
            (!self.allows_deletions, RuleKind::NoDeletion),
        ] {
            if is_on {
                add(kind, Binds::Yes);
            }
        }
        rules
    }
}
