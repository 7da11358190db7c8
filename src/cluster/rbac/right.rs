//! Rights one by one, as a cluster is asked whether it grants them
//! ([SelfSubjectAccessReview](https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access)).

use std::collections::BTreeSet;
use std::fmt;

use super::{Holder, Role, Scope};

/// One thing that is allowed to somebody.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// To whom.
    pub holder: Holder,
    /// Where.
    pub scope: Scope,
    /// The API group; empty for the core group.
    pub group: String,
    /// The resource, with what is below it: `pods/log`.
    pub resource: String,
    /// The object; `None`: all.
    pub name: Option<String>,
    /// The verb.
    pub verb: &'static str,
}

impl Right {
    /// `deployments.apps`, `pods`; with the object where one is meant.
    pub fn of_what(&self) -> String {
        let mut text = self.resource.clone();
        if !self.group.is_empty() {
            text = format!("{text}.{}", self.group);
        }
        match &self.name {
            Some(name) => format!("{text} {name}"),
            None => text,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("in the whole cluster"),
            Self::Namespace(namespace) => write!(f, "in namespace {namespace}"),
        }
    }
}

/// What these roles allow, right by right, each once.
pub fn rights(roles: &[Role]) -> Vec<Right> {
    let mut all = BTreeSet::new();
    for role in roles {
        for rule in &role.rules {
            let named = rule.names.iter().cloned().map(Some);
            let names: Vec<_> = match rule.names.is_empty() {
                true => vec![None],
                false => named.collect(),
            };
            for (resource, name) in rule
                .resources
                .iter()
                .flat_map(|resource| names.iter().map(move |name| (resource, name)))
            {
                all.extend(rule.verbs.iter().map(|verb| Right {
                    holder: role.holder.clone(),
                    scope: role.scope.clone(),
                    group: rule.group.clone(),
                    resource: resource.clone(),
                    name: name.clone(),
                    verb,
                }));
            }
        }
    }
    all.into_iter().collect()
}
