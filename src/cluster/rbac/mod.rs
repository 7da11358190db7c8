//! The least that a cluster must allow for an environment: rules made of the kinds in use.
//!
//! Owns which requests are made of a cluster and for what; whoever adds a request adds its rule here.
//! Pure: it is told what the manifests hold and how the kinds are served.

mod document;
mod resource;
mod right;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

pub use document::{Grant, Subject, grants};
pub use resource::{Resource, built_in, defined};
pub use right::{Right, rights};

use crate::model::{EnvironmentName, Identity, ObjectRef, ServiceAccount};

/// What is done with every kind that is applied, and with the set's parent.
const READ: [&str; 3] = ["get", "list", "watch"];

/// A server-side apply is a `patch`, and a `create` where the object is not there yet.
const APPLY: [&str; 2] = ["create", "patch"];

const DELETE: [&str; 1] = ["delete"];

/// The kinds of `rbac.authorization.k8s.io`, which no one may use to allow more than he is allowed
/// himself ([escalation](https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping)).
const RBAC: &str = "rbac.authorization.k8s.io";

/// What tells why an object of these kinds does not become healthy, by group and resource: asked for
/// together, in the object's namespace, while it is not.
const EVIDENCE: [(&str, &str); 4] = [
    ("", "events"),
    ("", "pods"),
    ("apps", "controllerrevisions"),
    ("apps", "replicasets"),
];

/// The kinds: what has pods, and what events tell about.
const EXPLAINED: [&str; 8] = [
    "DaemonSet.apps",
    "Deployment.apps",
    "Job.batch",
    "PersistentVolumeClaim",
    "Pod",
    "ReplicaSet.apps",
    "ReplicationController",
    "StatefulSet.apps",
];

/// An object that an environment asks for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Which.
    pub reference: &'a ObjectRef,
    /// How its kind is served.
    pub resource: &'a Resource,
    /// The role that it binds, if it binds one: group and kind are those of roles.
    pub binds: Option<&'a ObjectRef>,
    /// Whom it is applied as; `None`: as Towpath itself.
    pub applied_as: Option<&'a ServiceAccount>,
}

/// An environment and what it asks for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Which.
    pub environment: &'a EnvironmentName,
    /// The namespace of objects that name none, where the set's parent stands too.
    pub namespace: &'a str,
    /// Its objects.
    pub objects: &'a [Wanted<'a>],
    /// The namespaces that are followed, each of which has a role then; `None`: all of them.
    pub namespaces: Option<&'a BTreeSet<String>>,
}

/// Who is allowed something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// Towpath.
    Towpath,
    /// Whom it acts as.
    Account(ServiceAccount),
}

/// Where something is allowed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Everywhere, and for what lives in no namespace.
    Cluster,
    /// In this namespace.
    Namespace(String),
}

/// What one role allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// To whom.
    pub holder: Holder,
    /// Where.
    pub scope: Scope,
    /// What.
    pub rules: Vec<Rule>,
}

/// One rule, in the words of the API.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// The API group; empty for the core group.
    pub group: String,
    /// The resources.
    pub resources: Vec<String>,
    /// The objects; all where none is named.
    pub names: Vec<String>,
    /// The verbs.
    pub verbs: Vec<&'static str>,
}

/// The roles that an environment needs, in a stable order.
pub fn roles(asked: &Asked<'_>) -> Vec<Role> {
    let mut allowed = Allowed::default();
    for wanted in asked.objects {
        allowed.object(asked, wanted);
    }
    let parent = format!("towpath-{}", asked.environment);
    let scope = asked.scope(Some(asked.namespace));
    for verbs in [&READ[..], &APPLY] {
        allowed.add(
            &Holder::Towpath,
            &scope,
            ("", "configmaps"),
            Some(&parent),
            verbs,
        );
    }
    allowed.roles()
}

impl Asked<'_> {
    /// Where something is allowed to Towpath that is needed in this namespace.
    fn scope(&self, namespace: Option<&str>) -> Scope {
        Scope::of(namespace.filter(|_| self.namespaces.is_some()))
    }
}

impl Scope {
    fn of(namespace: Option<&str>) -> Self {
        match namespace {
            Some(namespace) => Self::Namespace(namespace.to_owned()),
            None => Self::Cluster,
        }
    }
}

/// Group, resource and object (empty: all), and what is allowed of it.
type Entries = BTreeMap<(String, String, String), BTreeSet<&'static str>>;

#[derive(Default)]
struct Allowed {
    roles: BTreeMap<(Holder, Scope), Entries>,
}

impl Allowed {
    fn object(&mut self, asked: &Asked<'_>, wanted: &Wanted<'_>) {
        let Wanted {
            reference,
            resource,
            ..
        } = wanted;
        let namespace = reference.namespace.as_deref();
        let namespace = namespace.filter(|_| resource.namespaced);
        let own = asked.scope(namespace);
        let what = (resource.group.as_str(), resource.plural.as_str());
        self.add(&Holder::Towpath, &own, what, None, &READ);
        // A kind is followed wherever its objects may be.
        for followed in asked.namespaces.into_iter().flatten() {
            let followed = asked.scope(
                Some(followed)
                    .filter(|_| resource.namespaced)
                    .map(|it| &**it),
            );
            self.add(&Holder::Towpath, &followed, what, None, &READ);
        }
        // Whoever acts for one application is allowed it in that application's namespaces alone.
        let (writer, place) = match wanted.applied_as {
            None => (Holder::Towpath, own.clone()),
            Some(account) => {
                let there = asked.scope(Some(&account.namespace));
                let accounts = ("", "serviceaccounts");
                let name = Some(account.name.as_str());
                self.add(&Holder::Towpath, &there, accounts, name, &["impersonate"]);
                (Holder::Account(account.clone()), Scope::of(namespace))
            }
        };
        for verbs in [&["get"], &APPLY[..], &DELETE] {
            self.add(&writer, &place, what, None, verbs);
        }
        self.grants(&writer, &place, wanted);
        let kind = reference.group_kind();
        if EXPLAINED.contains(&&*kind) {
            for evidence in EVIDENCE {
                self.add(&Holder::Towpath, &own, evidence, None, &READ);
            }
        }
        if kind == "Job.batch" {
            self.add(&Holder::Towpath, &own, ("", "pods/log"), None, &["get"]);
        }
        if resource.custom {
            // Whether its objects are to have a status stands in its definition.
            let what = ("apiextensions.k8s.io", "customresourcedefinitions");
            let name = format!("{}.{}", resource.plural, resource.group);
            self.add(
                &Holder::Towpath,
                &Scope::Cluster,
                what,
                Some(&name),
                &["get"],
            );
        }
    }

    /// What it takes to write roles that allow more than the writer is allowed.
    fn grants(&mut self, writer: &Holder, place: &Scope, wanted: &Wanted<'_>) {
        let Wanted {
            reference,
            resource,
            ..
        } = wanted;
        if resource.group != RBAC {
            return;
        }
        let name = Some(reference.name.as_str());
        match (resource.plural.as_str(), wanted.binds) {
            (plural @ ("roles" | "clusterroles"), _) => {
                self.add(writer, place, (RBAC, plural), name, &["escalate"]);
            }
            (_, Some(role)) if role.kind == "ClusterRole" => {
                let what = (RBAC, "clusterroles");
                self.add(writer, place, what, Some(&role.name), &["bind"]);
            }
            (_, Some(role)) => {
                self.add(writer, place, (RBAC, "roles"), Some(&role.name), &["bind"]);
            }
            _ => {}
        }
    }

    fn add(
        &mut self,
        holder: &Holder,
        scope: &Scope,
        (group, resource): (&str, &str),
        name: Option<&str>,
        verbs: &[&'static str],
    ) {
        let role = self.roles.entry((holder.clone(), scope.clone()));
        let name = name.unwrap_or_default();
        let key = (group.to_owned(), resource.to_owned(), name.to_owned());
        role.or_default().entry(key).or_default().extend(verbs);
    }

    fn roles(self) -> Vec<Role> {
        let roles = self.roles.into_iter();
        let role = |((holder, scope), entries)| Role {
            holder,
            scope,
            rules: rules(entries),
        };
        roles.map(role).collect()
    }
}

/// What is allowed in the same way in one rule; what is allowed of all objects is not said again of one.
fn rules(entries: Entries) -> Vec<Rule> {
    let mut by_names: BTreeMap<(String, String, Vec<&'static str>), Vec<String>> = BTreeMap::new();
    for ((group, resource, name), verbs) in &entries {
        let all = entries.get(&(group.clone(), resource.clone(), String::new()));
        let covered = |verb: &&&str| {
            let of_all = all.filter(|_| !name.is_empty());
            of_all.is_some_and(|all| all.contains(*verb))
        };
        let verbs = in_order(
            verbs
                .iter()
                .filter(|verb| !covered(verb))
                .copied()
                .collect(),
        );
        if !verbs.is_empty() {
            let key = (group.clone(), resource.clone(), verbs);
            by_names.entry(key).or_default().push(name.clone());
        }
    }
    // What differs in the resource alone is one rule.
    let mut merged: BTreeMap<Rule, Vec<String>> = BTreeMap::new();
    for ((group, resource, verbs), mut names) in by_names {
        names.retain(|name| !name.is_empty());
        let rule = Rule {
            group,
            resources: Vec::new(),
            names,
            verbs,
        };
        merged.entry(rule).or_default().push(resource);
    }
    let whole = |(rule, resources)| Rule { resources, ..rule };
    merged.into_iter().map(whole).collect()
}

/// Verbs as people write them: reading, writing, the rest.
fn in_order(mut verbs: Vec<&'static str>) -> Vec<&'static str> {
    let order = ["get", "list", "watch", "create", "patch", "delete"];
    let place = |verb: &&str| order.iter().position(|it| it == verb);
    verbs.sort_by_key(|verb| (place(verb).unwrap_or(order.len()), *verb));
    verbs
}

/// The role that a binding binds, as its manifest names it.
pub fn bound(object: &Value) -> Option<ObjectRef> {
    let role = object.get("roleRef")?;
    let text = |key: &str| role.get(key).and_then(Value::as_str).map(str::to_owned);
    Some(ObjectRef::from(Identity {
        group: text("apiGroup")?,
        kind: text("kind")?,
        namespace: None,
        name: text("name")?,
    }))
}
