//! Roles as the documents that `kubectl apply` takes.

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

/// A document, and what it is there for.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// A line for people.
    pub about: String,
    /// The object.
    pub object: Value,
}

/// Each role and its binding.
pub fn documents(
    environment: &EnvironmentName,
    roles: &[Role],
    towpath: &Subject,
) -> Vec<Document> {
    let mut documents = Vec::new();
    for role in roles {
        let (name, subject, does) = match &role.holder {
            Holder::Towpath => (
                format!("towpath-{environment}"),
                subject(towpath),
                "what Towpath does".to_owned(),
            ),
            // A namespace's name holds no dot, so that two accounts never share a name here.
            Holder::Account(account) => (
                format!(
                    "towpath-{environment}.{}.{}",
                    account.namespace, account.name
                ),
                subject(&Subject::Account(account.clone())),
                format!("what Towpath does as {account}"),
            ),
        };
        let (prefix, place) = match &role.scope {
            Scope::Cluster => ("Cluster", String::new()),
            Scope::Namespace(namespace) => ("", format!(" in the namespace {namespace}")),
        };
        let about = format!("{environment}: {does}{place}");
        let metadata = match &role.scope {
            Scope::Cluster => json!({ "name": name }),
            Scope::Namespace(namespace) => json!({ "name": name, "namespace": namespace }),
        };
        documents.push(Document {
            about: about.clone(),
            object: json!({
                "apiVersion": format!("{RBAC}/v1"),
                "kind": format!("{prefix}Role"),
                "metadata": metadata,
                "rules": role.rules.iter().map(rule).collect::<Vec<_>>(),
            }),
        });
        documents.push(Document {
            about,
            object: json!({
                "apiVersion": format!("{RBAC}/v1"),
                "kind": format!("{prefix}RoleBinding"),
                "metadata": metadata,
                "roleRef": { "apiGroup": RBAC, "kind": format!("{prefix}Role"), "name": name },
                "subjects": [subject],
            }),
        });
    }
    documents
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
    let mut value = json!({
        "apiGroups": [rule.group],
        "resources": rule.resources,
        "verbs": rule.verbs,
    });
    if !rule.names.is_empty() {
        value["resourceNames"] = json!(rule.names);
    }
    value
}
