//! What protects a branch or a tag on GitHub: rules of rulesets, which everybody who reads the repository is
//! told ([rules](https://docs.github.com/en/rest/repos/rules)), and branch protection, which administrators are
//! told in full ([protection](https://docs.github.com/en/rest/branches/branch-protection)) and others as far as
//! GraphQL's [`RefUpdateRule`](https://docs.github.com/en/graphql/reference/branches) goes.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::GitHub;
use crate::forge::{Binds, Check, ForgeError, Protection, Rights, Rule, RuleKind};

/// A page, and so many of them.
const PAGE: usize = 100;
const PAGES: usize = 10;

/// Where branch protection is found.
const CLASSIC: &str = "branch protection";

/// A rule that holds for a branch, and of which ruleset.
#[derive(Debug, Deserialize)]
struct Held {
    #[serde(flatten)]
    rule: Stated,
    ruleset_id: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Stated {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    parameters: Value,
}

#[derive(Debug, Deserialize)]
struct Ruleset {
    id: u64,
    name: String,
    #[serde(default)]
    enforcement: String,
    #[serde(default)]
    conditions: Value,
    #[serde(default)]
    rules: Vec<Stated>,
    current_user_can_bypass: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Branch {
    #[serde(default)]
    protected: bool,
    #[serde(default)]
    protection: Summary,
}

#[derive(Debug, Default, Deserialize)]
struct Summary {
    required_status_checks: Option<RequiredChecks>,
}

#[derive(Debug, Default, Deserialize)]
struct RequiredChecks {
    #[serde(default)]
    contexts: Vec<String>,
    #[serde(default)]
    checks: Vec<RequiredCheck>,
}

#[derive(Debug, Deserialize)]
struct RequiredCheck {
    context: String,
    app_id: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
struct Switch {
    enabled: bool,
}

/// Branch protection as administrators are told.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Classic {
    required_status_checks: Option<RequiredChecks>,
    enforce_admins: Switch,
    required_pull_request_reviews: Option<Reviews>,
    restrictions: Option<Actors>,
    required_linear_history: Switch,
    required_signatures: Switch,
    allow_force_pushes: Switch,
    allow_deletions: Switch,
    lock_branch: Switch,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reviews {
    required_approving_review_count: u64,
    bypass_pull_request_allowances: Actors,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Actors {
    users: Vec<Named>,
    teams: Vec<Named>,
    apps: Vec<Named>,
}

#[derive(Debug, Deserialize)]
struct Named {
    login: Option<String>,
    slug: Option<String>,
}

#[derive(Deserialize)]
struct Answered {
    repository: Option<AnsweredRepository>,
}

#[derive(Deserialize)]
struct AnsweredRepository {
    #[serde(rename = "ref")]
    reference: Option<AnsweredRef>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnsweredRef {
    ref_update_rule: Option<UpdateRule>,
}

/// Branch protection as everybody is told.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UpdateRule {
    required_approving_review_count: Option<u64>,
    requires_linear_history: bool,
    requires_signatures: bool,
    allows_force_pushes: bool,
    allows_deletions: bool,
    viewer_can_push: bool,
}

impl GitHub {
    pub(super) async fn protection_of(&self, reference: &str) -> Result<Protection, ForgeError> {
        let mut protection = Protection::default();
        if let Some(branch) = reference.strip_prefix("refs/heads/") {
            self.by_rulesets(branch, &mut protection).await?;
            self.by_classic(branch, &mut protection).await?;
        } else {
            self.by_tag_rulesets(reference, &mut protection).await?;
        }
        Ok(protection)
    }

    /// The rules of rulesets for a branch, and of each ruleset whether it binds us.
    async fn by_rulesets(
        &self,
        branch: &str,
        protection: &mut Protection,
    ) -> Result<(), ForgeError> {
        let route = format!("rules/branches/{branch}");
        let held: Vec<Held> = self.all(&route, &[]).await?;
        let mut rulesets: BTreeMap<u64, (String, Binds)> = BTreeMap::new();
        for Held { rule, ruleset_id } in held {
            let id = ruleset_id.unwrap_or_default();
            if !rulesets.contains_key(&id) {
                rulesets.insert(id, self.ruleset(id).await?);
            }
            if let Some((source, binds)) = rulesets.get(&id) {
                protection.rules.push(Rule {
                    kind: rule.kind(),
                    source: source.clone(),
                    binds: binds.clone(),
                });
            }
        }
        Ok(())
    }

    /// The rules of rulesets for a tag: which of them hold for it is for us to find out.
    async fn by_tag_rulesets(
        &self,
        reference: &str,
        protection: &mut Protection,
    ) -> Result<(), ForgeError> {
        let tags = ("targets", "tag");
        let all: Vec<Ruleset> = self.all("rulesets", &[tags]).await?;
        for listed in all.iter().filter(|it| it.enforcement == "active") {
            let route = format!("rulesets/{}", listed.id);
            let ruleset: Ruleset = self.get(&route, &[("includes_parents", "true")]).await?;
            if !ruleset.holds_for(reference) {
                continue;
            }
            let (source, binds) = (ruleset.source(), ruleset.binds());
            for rule in &ruleset.rules {
                protection.rules.push(Rule {
                    kind: rule.kind(),
                    source: source.clone(),
                    binds: binds.clone(),
                });
            }
        }
        Ok(())
    }

    async fn ruleset(&self, id: u64) -> Result<(String, Binds), ForgeError> {
        let route = format!("rulesets/{id}");
        let found = self.get::<Ruleset>(&route, &[("includes_parents", "true")]);
        match found.await {
            Ok(ruleset) => Ok((ruleset.source(), ruleset.binds())),
            Err(ForgeError::Denied { .. }) => Ok((
                format!("ruleset {id}"),
                Binds::Untold("the ruleset may not be read".to_owned()),
            )),
            Err(error) => Err(error),
        }
    }

    async fn by_classic(
        &self,
        branch: &str,
        protection: &mut Protection,
    ) -> Result<(), ForgeError> {
        let route = format!("branches/{branch}");
        let shown = match self.get::<Branch>(&route, &()).await {
            Ok(shown) if shown.protected => shown,
            // A branch that does not exist is not told to be protected.
            Ok(_) | Err(ForgeError::Denied { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let route = format!("branches/{branch}/protection");
        match self.get::<Classic>(&route, &()).await {
            Ok(classic) => {
                let us = self.own_rights().await?;
                protection.rules.extend(classic.rules(&us));
            }
            // 404 for those who may not ask, and where there are rulesets alone.
            Err(ForgeError::Denied { .. }) => self.by_graph(branch, &shown, protection).await?,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn by_graph(
        &self,
        branch: &str,
        shown: &Branch,
        protection: &mut Protection,
    ) -> Result<(), ForgeError> {
        let query = "query($owner: String!, $name: String!, $ref: String!) { \
                     repository(owner: $owner, name: $name) { ref(qualifiedName: $ref) { refUpdateRule { \
                     requiredApprovingReviewCount requiresLinearHistory requiresSignatures \
                     allowsForcePushes allowsDeletions viewerCanPush } } } }";
        let (owner, name) = self.path.split_once('/').unwrap_or_default();
        let variables =
            json!({ "owner": owner, "name": name, "ref": format!("refs/heads/{branch}") });
        let answered: Answered = self.graph(query, variables).await?;
        let reference = answered.repository.and_then(|it| it.reference);
        let Some(rule) = reference.and_then(|it| it.ref_update_rule) else {
            return Ok(());
        };
        protection.rules.extend(rule.rules());
        if let Some(checks) = &shown.protection.required_status_checks {
            protection.rules.extend(checks.rule(&Binds::Yes));
        }
        Ok(())
    }

    /// All of a list.
    async fn all<T: for<'a> Deserialize<'a> + 'static>(
        &self,
        route: &str,
        more: &[(&str, &str)],
    ) -> Result<Vec<T>, ForgeError> {
        let mut all = Vec::new();
        for page in 1..=PAGES {
            let (size, page) = (PAGE.to_string(), page.to_string());
            let mut query = vec![("per_page", size.as_str()), ("page", page.as_str())];
            query.extend(more);
            let part: Vec<T> = self.get(route, &query).await?;
            let is_last = part.len() < PAGE;
            all.extend(part);
            if is_last {
                break;
            }
        }
        Ok(all)
    }
}

impl Stated {
    fn kind(&self) -> RuleKind {
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
    fn source(&self) -> String {
        format!("ruleset `{}`", self.name)
    }

    fn binds(&self) -> Binds {
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
    fn holds_for(&self, reference: &str) -> bool {
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
    fn rule(&self, binds: &Binds) -> Option<Rule> {
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
    fn rules(&self, us: &Rights) -> Vec<Rule> {
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
    fn rules(&self) -> Vec<Rule> {
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
