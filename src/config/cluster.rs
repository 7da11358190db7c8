//! The keys `cluster` and `access` of an environment: which cluster, and what may be touched there.

use std::collections::BTreeSet;

use serde_json::json;

use super::environment::values;
use super::form::{At, Flag, Text, Wrong, a_second_or_more, duration, text};
use super::list::{any_list, list};
use super::problem::quote;
use super::section::{Fields, Section};
use super::terms;
use super::terms::APPLICATION;
use crate::model::{
    Access, ApplicationName, ClusterAddress, ClusterSpec, KindName, Kubernetes, ServiceAccount,
    Simulated, is_dns_label, is_dns_name,
};

/// The form of `cluster`. Paths in it are as written.
pub(super) fn cluster() -> Fields<ClusterSpec> {
    Fields {
        sample: "{ context: production }",
        read: read_cluster,
    }
}

fn read_cluster(section: &mut Section<'_>) -> Option<ClusterSpec> {
    let context = section.optional(
        "context",
        "The context of the kubeconfig.",
        text("a context's name", "production"),
    );
    let in_cluster = section.optional(
        "in-cluster",
        "In place of `context`: `true` for the cluster that Towpath itself runs in, by its pod's service account.",
        Flag,
    );
    let kubeconfig = section.optional(
        "kubeconfig",
        "The kubeconfig file. Left out: KUBECONFIG, or the home directory's. A relative path starts at the configuration's folder.",
        terms::path(),
    );
    let namespace = section.or(
        "namespace",
        "The namespace of objects that name none.",
        namespace(),
        "default",
    );
    let timeout = section.or(
        "timeout",
        "How long a request to the cluster may go without an answer. A watch is no such request.",
        a_second_or_more(),
        "10s",
    );
    let simulated = section.optional(
        "simulated",
        "A cluster that only exists in this program, for demos and tests.",
        Fields {
            sample: "{ ready-after: 1s }",
            read: simulated,
        },
    );
    let beside = "remove it: a simulated cluster takes its settings in `simulated`";
    for key in ["kubeconfig", "namespace", "timeout"] {
        section.not_with(key, "simulated", beside);
    }
    let inside = "remove it: inside of a cluster there is no kubeconfig";
    section.not_with("kubeconfig", "in-cluster", inside);
    section
        .exactly_one(
            &["context", "in-cluster", "simulated"],
            "cluster: { context: production }",
        )
        .then_some(())?;
    if let Some(simulated) = simulated {
        return Some(ClusterSpec::Simulated(simulated.value));
    }
    let found = match in_cluster {
        Some(At { value: true, .. }) => ClusterAddress::InCluster,
        Some(At { place, .. }) => {
            section.reading.problems.error(
                &place,
                "`in-cluster: false` names no cluster",
                "write `in-cluster: true`, or `context: NAME`",
            );
            return None;
        }
        None => ClusterAddress::Context {
            context: context?.value,
            kubeconfig: kubeconfig.map(|path| path.value),
        },
    };
    Some(ClusterSpec::Kubernetes(Kubernetes {
        found,
        namespace: namespace?.value,
        timeout: timeout?.value,
    }))
}

fn simulated(section: &mut Section<'_>) -> Option<Simulated> {
    let ready_after = section.or(
        "ready-after",
        "How long a changed workload takes until it is ready.",
        duration(),
        "1s",
    );
    let image = || any_list(text("an image's digest or tag", "v1.5.0"));
    let fail = section.or(
        "fail",
        "Images, by digest or tag, whose workloads fail instead of becoming ready.",
        image(),
        "[]",
    );
    let hang = section.or(
        "hang",
        "Images, by digest or tag, whose workloads never become ready.",
        image(),
        "[]",
    );
    let unreachable = section.or(
        "unreachable",
        "Whether the cluster does not answer at all.",
        Flag,
        "false",
    );
    let state = section.optional(
        "state",
        "The file that keeps its objects between runs. Left out: one in the cache directory. A relative path starts at the configuration's folder.",
        terms::path(),
    );
    Some(Simulated {
        ready_after: ready_after?.value,
        fail: values(fail?.value),
        hang: values(hang?.value),
        unreachable: unreachable?.value,
        state: state.map(|state| state.value),
    })
}

/// What `access` states, `{application}` not yet replaced.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    namespaces: Option<Vec<At<String>>>,
    impersonate: Option<At<String>>,
    cluster_scoped: Vec<KindName>,
}

/// The form of `access`.
pub(super) fn access() -> Fields<Limits> {
    Fields {
        sample: "{ namespaces: [\"{application}\"] }",
        read: read_access,
    }
}

fn read_access(section: &mut Section<'_>) -> Option<Limits> {
    let namespaces = section.optional(
        "namespaces",
        "The namespaces that its objects may live in. `{application}` stands for the application's name. Left out: any.",
        list(namespaces()),
    );
    let impersonate = section.optional(
        "impersonate",
        "The service account that everything is applied as, as `NAMESPACE/NAME`. `{application}` stands for the application's name. Left out: whoever Towpath itself is in the cluster.",
        service_account(),
    );
    let cluster_scoped = section.or(
        "cluster-scoped",
        "The kinds without a namespace that it may hold, as `Namespace` or `ClusterRole.rbac.authorization.k8s.io`.",
        any_list(kind()),
        "[]",
    );
    Some(Limits {
        namespaces: namespaces.map(|at| at.value),
        impersonate,
        cluster_scoped: values(cluster_scoped?.value),
    })
}

impl Limits {
    /// The limits of one application.
    pub(super) fn resolved(&self, application: &ApplicationName) -> Option<Access> {
        let name = |text: &str| text.replace(APPLICATION, application.as_str());
        let namespaces = self.namespaces.as_ref();
        let impersonate = match &self.impersonate {
            Some(account) => {
                let account = name(&account.value);
                let (namespace, name) = account.split_once('/')?;
                Some(ServiceAccount {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                })
            }
            None => None,
        };
        Some(Access {
            namespaces: namespaces.map(|listed| listed.iter().map(|at| name(&at.value)).collect()),
            impersonate,
            cluster_scoped: self.cluster_scoped.iter().cloned().collect::<BTreeSet<_>>(),
        })
    }

    /// The namespaces named here in which an application's name would stand.
    pub(super) fn named_by_application(&self) -> impl Iterator<Item = &At<String>> {
        let listed = self.namespaces.iter().flatten();
        listed.chain(&self.impersonate).filter(|at| {
            let namespace = at.value.split('/').next().unwrap_or_default();
            namespace.contains(APPLICATION)
        })
    }
}

/// A namespace of a cluster.
fn namespace() -> Text<String> {
    Text {
        wanted: "a namespace",
        sample: "default",
        parse: |text| match is_dns_label(text) {
            true => Ok(text.to_owned()),
            false => Err(no_namespace(text)),
        },
        schema: || json!({ "pattern": LABEL_PATTERN }),
    }
}

/// A namespace in which `{application}` may stand. What is returned is the text as written.
fn namespaces() -> Text<String> {
    Text {
        wanted: "a namespace",
        sample: "\"{application}\"",
        parse: |text| match is_dns_label(&text.replace(APPLICATION, "a")) {
            true => Ok(text.to_owned()),
            false => Err(no_namespace(text)),
        },
        schema: || json!({ "minLength": 1 }),
    }
}

const LABEL_PATTERN: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";

fn no_namespace(text: &str) -> Wrong {
    Wrong::new(
        format!("{} is not a namespace", quote(text)),
        "use 1 to 63 lower-case letters, digits and `-`, beginning and ending with a letter or digit",
    )
}

/// A service account as `NAMESPACE/NAME`, in which `{application}` may stand. What is returned is the
/// text as written.
fn service_account() -> Text<String> {
    Text {
        wanted: "a service account",
        sample: "\"{application}/deployer\"",
        parse: |text| {
            let plain = text.replace(APPLICATION, "a");
            let valid = plain
                .split_once('/')
                .is_some_and(|(namespace, name)| is_dns_label(namespace) && is_dns_name(name));
            match valid {
                true => Ok(text.to_owned()),
                false => Err(Wrong::new(
                    format!("{} is not a service account", quote(text)),
                    "write its namespace and its name, as `web/deployer`",
                )),
            }
        },
        schema: || json!({ "pattern": "^[^/]+/[^/]+$" }),
    }
}

/// A kind of objects.
pub(super) fn kind() -> Text<KindName> {
    Text {
        wanted: "a kind",
        sample: "Namespace",
        parse: |text| {
            text.parse().map_err(|_| {
                Wrong::new(
                    format!("{} is not a kind", quote(text)),
                    "write it as `Namespace`, or with its API group as `ClusterRole.rbac.authorization.k8s.io`",
                )
            })
        },
        schema: || json!({ "pattern": "^[A-Z][A-Za-z0-9]*(\\.[a-z0-9-]+)*$" }),
    }
}
