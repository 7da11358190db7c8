//! What protects a branch or a tag on GitHub: rules of rulesets, which everybody who reads the repository is
//! told ([rules](https://docs.github.com/en/rest/repos/rules)), and branch protection, which administrators are
//! told in full ([protection](https://docs.github.com/en/rest/branches/branch-protection)) and others as far as
//! GraphQL's [`RefUpdateRule`](https://docs.github.com/en/graphql/reference/branches) goes.

mod told;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::Deserialize;
use serde_json::json;

use self::told::{Answered, Branch, Classic, Held, Ruleset};
use super::GitHub;
use crate::forge::{Binds, ForgeError, Protection, Rights, Rule};

/// So many pages are read.
const PAGES: usize = 10;

impl GitHub {
    pub(super) async fn protection_of(
        &self,
        reference: &str,
        us: &Rights,
    ) -> Result<Protection, ForgeError> {
        let mut protection = Protection::default();
        if let Some(branch) = reference.strip_prefix("refs/heads/") {
            self.by_rulesets(branch, &mut protection).await?;
            self.by_classic(branch, us, &mut protection).await?;
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
            let (source, binds) = match rulesets.entry(id) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(empty) => empty.insert(self.ruleset(id).await?),
            };
            protection.rules.push(Rule {
                kind: rule.kind(),
                source: source.clone(),
                binds: binds.clone(),
            });
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
        us: &Rights,
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
            Ok(classic) => protection.rules.extend(classic.rules(us)),
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
        let (all, _) = self.pages(&self.route(route), more, PAGES).await?;
        Ok(all)
    }
}
