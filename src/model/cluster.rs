//! The cluster of an environment: how it is reached, what may be done there, what may be deleted.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::{ObjectRef, is_dns_name};
use crate::shown::given;

/// The cluster of an environment.
#[derive(Debug, Clone, PartialEq)]
pub enum ClusterSpec {
    /// A Kubernetes cluster.
    Kubernetes(Kubernetes),
    /// A cluster that only exists in this program, for demos and tests.
    Simulated(Simulated),
}

impl ClusterSpec {
    /// The namespace of objects that name none.
    pub fn namespace(&self) -> &str {
        match self {
            Self::Kubernetes(cluster) => &cluster.namespace,
            Self::Simulated(_) => "default",
        }
    }
}

/// A Kubernetes cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubernetes {
    /// How it is found.
    pub found: ClusterAddress,
    /// The namespace of objects that name none.
    pub namespace: String,
    /// How long one request may go without an answer.
    pub timeout: Duration,
}

/// How a Kubernetes cluster is found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClusterAddress {
    /// By a context of a kubeconfig.
    Context {
        /// The context's name.
        context: String,
        /// The kubeconfig file; `None`: KUBECONFIG or the home directory's.
        kubeconfig: Option<PathBuf>,
    },
    /// It is the one that this process runs in, by its pod's service account.
    InCluster,
}

/// As messages name it: ``context `production` ``.
impl fmt::Display for ClusterAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Context { context, .. } => write!(f, "context `{context}`"),
            Self::InCluster => f.write_str("the cluster that Towpath runs in"),
        }
    }
}

/// How a simulated cluster behaves.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulated {
    /// How long a changed workload takes until it is ready.
    pub ready_after: Duration,
    /// Images, by digest or tag, whose workloads fail instead of becoming ready.
    pub fail: Vec<String>,
    /// Images, by digest or tag, whose workloads never become ready.
    pub hang: Vec<String>,
    /// Whether the cluster answers at all.
    pub unreachable: bool,
    /// The file that keeps its objects between runs; `None`: in the cache directory.
    pub state: Option<PathBuf>,
}

/// What an application may touch in a cluster. Where an environment states none, all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The namespaces its objects may live in; `None`: any.
    pub namespaces: Option<BTreeSet<String>>,
    /// Who it is applied as; `None`: as whoever Towpath itself is there.
    pub impersonate: Option<ServiceAccount>,
    /// The kinds without a namespace that it may hold.
    pub cluster_scoped: BTreeSet<KindName>,
}

impl Access {
    /// Whether an object may be applied. `reference.namespace` is `None` for objects that live in
    /// none; of a custom resource only the cluster knows, so what the manifest says is asked again
    /// once the cluster has told.
    ///
    /// # Errors
    /// What is not allowed, and what to do.
    pub fn allows(&self, reference: &ObjectRef) -> Result<(), Denied> {
        match (&reference.namespace, &self.namespaces) {
            (Some(namespace), Some(allowed)) if !allowed.contains(namespace) => {
                Err(Denied::Namespace {
                    namespace: namespace.clone(),
                    allowed: allowed.iter().cloned().collect::<Vec<_>>().join(", "),
                })
            }
            (None, _)
                if !self
                    .cluster_scoped
                    .iter()
                    .any(|kind| kind.matches(reference)) =>
            {
                Err(Denied::ClusterScoped(reference.group_kind()))
            }
            _ => Ok(()),
        }
    }
}

/// What an application may not touch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// A namespace of somebody else.
    #[error(
        "the namespace `{namespace}` is not among `access.namespaces` ({allowed}) — move the object, or add the namespace to the environment"
    )]
    Namespace {
        /// The object's.
        namespace: String,
        /// Those that are allowed.
        allowed: String,
    },
    /// A kind that lives in no namespace and that nobody named.
    #[error(
        "`{0}` lives in no namespace and is not among `access.cluster-scoped` — remove the object, or add the kind to the environment"
    )]
    ClusterScoped(String),
}

/// A service account of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceAccount {
    /// The namespace it lives in.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ServiceAccount {
    /// The user that it is to the API server, as impersonation names it.
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.name)
    }
}

/// `namespace/name`.
impl fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A kind as people write it: `Deployment`, or `Deployment.apps` where the API group matters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KindName {
    kind: String,
    /// `None`: of any group.
    group: Option<String>,
}

/// A text that names no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names no kind: write it as `Namespace`, or with its API group as `ClusterRole.rbac.authorization.k8s.io`"
)]
pub struct InvalidKind(pub String);

impl KindName {
    /// Whether an object is of this kind.
    pub fn matches(&self, reference: &ObjectRef) -> bool {
        self.kind == reference.kind
            && self
                .group
                .as_ref()
                .is_none_or(|group| *group == reference.group)
    }
}

impl FromStr for KindName {
    type Err = InvalidKind;

    fn from_str(text: &str) -> Result<Self, InvalidKind> {
        let (kind, group) = match text.split_once('.') {
            Some((kind, group)) => (kind, Some(group)),
            None => (text, None),
        };
        let begins = kind.bytes().next().is_some_and(|b| b.is_ascii_uppercase());
        let valid = begins
            && kind.bytes().all(|b| b.is_ascii_alphanumeric())
            && group.is_none_or(is_dns_name);
        match valid {
            true => Ok(Self {
                kind: kind.to_owned(),
                group: group.map(str::to_owned),
            }),
            false => Err(InvalidKind(given(text))),
        }
    }
}

impl fmt::Display for KindName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        match &self.group {
            Some(group) => write!(f, ".{group}"),
            None => Ok(()),
        }
    }
}

/// What may be deleted in a cluster, and what a person is asked about first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prune {
    /// The most objects one apply may delete; `None`: the larger of 10 and a tenth of the set.
    pub limit: Option<usize>,
    /// Kinds that are never deleted without a person's yes, beside those of [`Prune::ALWAYS`] and
    /// Services that hold a load balancer.
    pub confirm: BTreeSet<KindName>,
    /// Whether the objects of an application that is taken out of the configuration are deleted.
    pub removed: bool,
}

impl Prune {
    /// Kind and group of what holds data, or takes much else along when it goes.
    pub const ALWAYS: [(&str, &str); 5] = [
        ("Namespace", ""),
        ("PersistentVolumeClaim", ""),
        ("PersistentVolume", ""),
        ("StatefulSet", "apps"),
        ("CustomResourceDefinition", "apiextensions.k8s.io"),
    ];

    /// How many of `set` objects one apply may delete.
    pub fn limit_of(&self, set: usize) -> usize {
        self.limit.unwrap_or_else(|| (set / 10).max(10))
    }

    /// Whether deleting an object needs a person's yes. `service_type` is a Service's `spec.type`:
    /// a load balancer gives up its address with it.
    pub fn asks(&self, reference: &ObjectRef, service_type: Option<&str>) -> bool {
        let is =
            |(kind, group): &(&str, &str)| reference.kind == *kind && reference.group == *group;
        Self::ALWAYS.iter().any(is)
            || is(&("Service", "")) && service_type == Some("LoadBalancer")
            || self.confirm.iter().any(|kind| kind.matches(reference))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Identity;

    fn reference(text: &str) -> ObjectRef {
        let (kind, place) = text.split_once(' ').unwrap_or((text, ""));
        let (kind, group) = kind.split_once('.').unwrap_or((kind, ""));
        let namespace = place.split_once('/').map(|(namespace, _)| namespace);
        ObjectRef::from(Identity {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: "x".to_owned(),
        })
    }

    #[test]
    fn kinds_are_read_as_people_write_them() {
        for (text, object, expected) in [
            ("Deployment", "Deployment.apps", true),
            ("Deployment.apps", "Deployment.apps", true),
            ("Deployment.extensions", "Deployment.apps", false),
            ("Namespace", "Namespace", true),
            ("Role", "ClusterRole.rbac.authorization.k8s.io", false),
        ] {
            let kind: KindName = text.parse().unwrap();
            assert_eq!(kind.to_string(), text);
            assert_eq!(
                kind.matches(&reference(object)),
                expected,
                "{text} {object}"
            );
        }
        for text in [
            "",
            "deployment",
            "Deployment.",
            "Deployment.Apps",
            "A b",
            "Role/x",
            "A..b",
        ] {
            assert!(text.parse::<KindName>().is_err(), "{text}");
        }
    }

    #[test]
    fn access_is_refused_with_what_to_do() {
        let limited = Access {
            namespaces: Some(BTreeSet::from(["web".to_owned()])),
            impersonate: None,
            cluster_scoped: BTreeSet::from(["ClusterRole".parse().unwrap()]),
        };
        let anywhere = Access {
            namespaces: None,
            ..limited.clone()
        };
        for (access, object, refused) in [
            (&limited, "Pod web/x", None),
            (
                &limited,
                "Pod kube-system/x",
                Some("the namespace `kube-system` is not among `access.namespaces` (web)"),
            ),
            (&anywhere, "Pod kube-system/x", None),
            (&limited, "ClusterRole.rbac.authorization.k8s.io", None),
            (
                &anywhere,
                "Namespace",
                Some("`Namespace` lives in no namespace"),
            ),
        ] {
            let found = access
                .allows(&reference(object))
                .err()
                .map(|denied| denied.to_string());
            assert_eq!(found.is_some(), refused.is_some(), "{object}: {found:?}");
            assert!(
                found
                    .unwrap_or_default()
                    .starts_with(refused.unwrap_or_default()),
                "{object}"
            );
        }
    }

    #[test]
    fn what_holds_data_is_asked_about() {
        let prune = Prune {
            confirm: BTreeSet::from(["Database".parse().unwrap()]),
            ..Prune::default()
        };
        for (object, service_type, expected) in [
            ("Namespace", None, true),
            ("StatefulSet.apps", None, true),
            ("PersistentVolumeClaim", None, true),
            ("Namespace.example.com", None, false),
            ("Service", Some("LoadBalancer"), true),
            ("Service", Some("ClusterIP"), false),
            ("Service.example.com", Some("LoadBalancer"), false),
            ("Database.example.com", None, true),
            ("Deployment.apps", None, false),
        ] {
            assert_eq!(
                prune.asks(&reference(object), service_type),
                expected,
                "{object}"
            );
        }
        assert_eq!([prune.limit_of(5), prune.limit_of(400)], [10, 40]);
    }
}
