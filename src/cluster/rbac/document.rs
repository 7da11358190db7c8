//! Roles as the objects that `kubectl apply` takes.

use serde_json::{Value, json};

use super::{Holder, RBAC, Role, Rule, Scope};
use crate::model::{EnvironmentName, ServiceAccount};

/// Who Towpath is to the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A service account.
    Account(ServiceAccount),
    /// A user, as the cluster's authentication names it.
    User(String),
}

/// A role and its binding.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// What it is there for, in a line for people.
    pub about: String,
    /// The role.
    pub role: Value,
    /// What binds it.
    pub binding: Value,
}

/// Each role of an environment as objects.
pub fn grants(environment: &EnvironmentName, roles: &[Role], towpath: &Subject) -> Vec<Grant> {
    let grant = |role| grant(environment, role, towpath);
    roles.iter().map(grant).collect()
}

fn grant(environment: &EnvironmentName, role: &Role, towpath: &Subject) -> Grant {
    let (name, holder, does) = match &role.holder {
        Holder::Towpath => (
            format!("towpath-{environment}"),
            towpath.clone(),
            "what Towpath does".to_owned(),
        ),
        // A namespace's name holds no dot, so that two accounts never share a name here.
        Holder::Account(account) => (
            format!(
                "towpath-{environment}.{}.{}",
                account.namespace, account.name
            ),
            Subject::Account(account.clone()),
            format!("what Towpath does as {account}"),
        ),
    };
    let (prefix, place, metadata) = match &role.scope {
        Scope::Cluster => (
            "Cluster",
            "in the cluster".to_owned(),
            json!({ "name": name }),
        ),
        Scope::Namespace(namespace) => (
            "",
            format!("in the namespace {namespace}"),
            json!({ "name": name, "namespace": namespace }),
        ),
    };
    Grant {
        about: format!("{environment}: {does} {place}"),
        role: json!({
            "apiVersion": format!("{RBAC}/v1"),
            "kind": format!("{prefix}Role"),
            "metadata": metadata,
            "rules": role.rules.iter().map(rule).collect::<Vec<_>>(),
        }),
        binding: json!({
            "apiVersion": format!("{RBAC}/v1"),
            "kind": format!("{prefix}RoleBinding"),
            "metadata": metadata,
            "roleRef": { "apiGroup": RBAC, "kind": format!("{prefix}Role"), "name": name },
            "subjects": [subject(&holder)],
        }),
    }
}

fn subject(subject: &Subject) -> Value {
    match subject {
        Subject::Account(account) => json!({
            "kind": "ServiceAccount",
            "namespace": account.namespace,
            "name": account.name,
        }),
        Subject::User(name) => json!({ "apiGroup": RBAC, "kind": "User", "name": name }),
    }
}

fn rule(rule: &Rule) -> Value {
    let mut value = json!({ "apiGroups": [rule.group], "resources": rule.resources });
    if !rule.names.is_empty() {
        value["resourceNames"] = json!(rule.names);
    }
    value["verbs"] = json!(rule.verbs);
    value
}
