//! API versions that no cluster serves any more, or never did, and what to write instead.
//!
//! Knows Kubernetes' own kinds alone. What a certain cluster serves only that cluster knows; this tells
//! what needs none to be seen. A kind that is newer than these tables is left to the cluster.

use super::error::Problem;

/// API version, kinds, the release of Kubernetes that stopped serving them, and the version that takes
/// their place. From the
/// [migration guide](https://kubernetes.io/docs/reference/using-api/deprecation-guide/).
const REMOVED: [(&str, &[&str], &str, Option<&str>); 28] = [
    (
        "extensions/v1beta1",
        &["DaemonSet", "Deployment", "ReplicaSet"],
        "1.16",
        Some("apps/v1"),
    ),
    (
        "extensions/v1beta1",
        &["NetworkPolicy"],
        "1.16",
        Some("networking.k8s.io/v1"),
    ),
    (
        "extensions/v1beta1",
        &["Ingress"],
        "1.22",
        Some("networking.k8s.io/v1"),
    ),
    ("extensions/v1beta1", &["PodSecurityPolicy"], "1.16", None),
    (
        "apps/v1beta1",
        &[
            "ControllerRevision",
            "Deployment",
            "ReplicaSet",
            "StatefulSet",
        ],
        "1.16",
        Some("apps/v1"),
    ),
    (
        "apps/v1beta2",
        &[
            "ControllerRevision",
            "DaemonSet",
            "Deployment",
            "ReplicaSet",
            "StatefulSet",
        ],
        "1.16",
        Some("apps/v1"),
    ),
    (
        "admissionregistration.k8s.io/v1beta1",
        &[
            "MutatingWebhookConfiguration",
            "ValidatingWebhookConfiguration",
        ],
        "1.22",
        Some("admissionregistration.k8s.io/v1"),
    ),
    (
        "apiextensions.k8s.io/v1beta1",
        &["CustomResourceDefinition"],
        "1.22",
        Some("apiextensions.k8s.io/v1"),
    ),
    (
        "apiregistration.k8s.io/v1beta1",
        &["APIService"],
        "1.22",
        Some("apiregistration.k8s.io/v1"),
    ),
    (
        "certificates.k8s.io/v1beta1",
        &["CertificateSigningRequest"],
        "1.22",
        Some("certificates.k8s.io/v1"),
    ),
    (
        "coordination.k8s.io/v1beta1",
        &["Lease"],
        "1.22",
        Some("coordination.k8s.io/v1"),
    ),
    (
        "networking.k8s.io/v1beta1",
        &["Ingress", "IngressClass"],
        "1.22",
        Some("networking.k8s.io/v1"),
    ),
    (
        "rbac.authorization.k8s.io/v1beta1",
        &["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"],
        "1.22",
        Some("rbac.authorization.k8s.io/v1"),
    ),
    (
        "scheduling.k8s.io/v1beta1",
        &["PriorityClass"],
        "1.22",
        Some("scheduling.k8s.io/v1"),
    ),
    (
        "storage.k8s.io/v1beta1",
        &["CSIDriver", "CSINode", "StorageClass", "VolumeAttachment"],
        "1.22",
        Some("storage.k8s.io/v1"),
    ),
    ("batch/v2alpha1", &["CronJob"], "1.21", Some("batch/v1")),
    ("batch/v1beta1", &["CronJob"], "1.25", Some("batch/v1")),
    (
        "discovery.k8s.io/v1beta1",
        &["EndpointSlice"],
        "1.25",
        Some("discovery.k8s.io/v1"),
    ),
    (
        "events.k8s.io/v1beta1",
        &["Event"],
        "1.25",
        Some("events.k8s.io/v1"),
    ),
    (
        "autoscaling/v2beta1",
        &["HorizontalPodAutoscaler"],
        "1.25",
        Some("autoscaling/v2"),
    ),
    (
        "autoscaling/v2beta2",
        &["HorizontalPodAutoscaler"],
        "1.26",
        Some("autoscaling/v2"),
    ),
    (
        "policy/v1beta1",
        &["PodDisruptionBudget"],
        "1.25",
        Some("policy/v1"),
    ),
    ("policy/v1beta1", &["PodSecurityPolicy"], "1.25", None),
    (
        "node.k8s.io/v1beta1",
        &["RuntimeClass"],
        "1.25",
        Some("node.k8s.io/v1"),
    ),
    (
        "storage.k8s.io/v1beta1",
        &["CSIStorageCapacity"],
        "1.27",
        Some("storage.k8s.io/v1"),
    ),
    (FLOW_BETA_1, FLOW, "1.26", Some(FLOW_STABLE)),
    (FLOW_BETA_2, FLOW, "1.29", Some(FLOW_STABLE)),
    (FLOW_BETA_3, FLOW, "1.32", Some(FLOW_STABLE)),
];

const FLOW: &[&str] = &["FlowSchema", "PriorityLevelConfiguration"];
const FLOW_BETA_1: &str = "flowcontrol.apiserver.k8s.io/v1beta1";
const FLOW_BETA_2: &str = "flowcontrol.apiserver.k8s.io/v1beta2";
const FLOW_BETA_3: &str = "flowcontrol.apiserver.k8s.io/v1beta3";
const FLOW_STABLE: &str = "flowcontrol.apiserver.k8s.io/v1";

/// Where kinds live that are often looked for elsewhere; the best version first.
const HOMES: [(&[&str], &[&str]); 14] = [
    (
        &[
            "ConfigMap",
            "Endpoints",
            "LimitRange",
            "Namespace",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "Pod",
            "ReplicationController",
            "ResourceQuota",
            "Secret",
            "Service",
            "ServiceAccount",
        ],
        &["v1"],
    ),
    (
        &["DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"],
        &["apps/v1"],
    ),
    (&["CronJob", "Job"], &["batch/v1"]),
    (
        &["HorizontalPodAutoscaler"],
        &["autoscaling/v2", "autoscaling/v1"],
    ),
    (&["PodDisruptionBudget"], &["policy/v1"]),
    (
        &["Ingress", "IngressClass", "NetworkPolicy"],
        &["networking.k8s.io/v1"],
    ),
    (
        &["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"],
        &["rbac.authorization.k8s.io/v1"],
    ),
    (&["CustomResourceDefinition"], &["apiextensions.k8s.io/v1"]),
    (&["APIService"], &["apiregistration.k8s.io/v1"]),
    (
        &[
            "MutatingWebhookConfiguration",
            "ValidatingWebhookConfiguration",
        ],
        &["admissionregistration.k8s.io/v1"],
    ),
    (&["PriorityClass"], &["scheduling.k8s.io/v1"]),
    (&["StorageClass"], &["storage.k8s.io/v1"]),
    (&["RuntimeClass"], &["node.k8s.io/v1"]),
    (&["Lease"], &["coordination.k8s.io/v1"]),
];

/// What is wrong with a kind in an API version, if no cluster can serve it.
pub(super) fn fault(api_version: &str, kind: &str) -> Option<Problem> {
    let removed = REMOVED
        .iter()
        .find(|(version, kinds, ..)| *version == api_version && kinds.contains(&kind));
    if let Some((_, _, since, instead)) = removed {
        return Some(Problem::RemovedVersion {
            version: api_version.to_owned(),
            kind: kind.to_owned(),
            since,
            instead: match instead {
                Some(version) => {
                    format!("write `apiVersion: {version}`, and its fields as they are there")
                }
                None => "remove it: Pod Security Admission takes its place".to_owned(),
            },
        });
    }
    // Groups of custom resources have a dot; of the others all kinds are known that may be meant.
    let (group, _) = api_version.split_once('/').unwrap_or(("", api_version));
    if group.contains('.') {
        return None;
    }
    let (_, homes) = HOMES.iter().find(|(kinds, _)| kinds.contains(&kind))?;
    let home = homes.first()?;
    (!homes.contains(&api_version)).then(|| Problem::WrongVersion {
        version: api_version.to_owned(),
        kind: kind.to_owned(),
        instead: home,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_cluster_serves_is_named_with_what_to_write() {
        for (version, kind, expected) in [
            ("apps/v1", "Deployment", None),
            (
                "apps/v1beta1",
                "Deployment",
                Some(
                    "Kubernetes 1.16 and later serve no Deployment as `apps/v1beta1` — write `apiVersion: apps/v1`",
                ),
            ),
            (
                "extensions/v1beta1",
                "Ingress",
                Some(
                    "serve no Ingress as `extensions/v1beta1` — write `apiVersion: networking.k8s.io/v1`",
                ),
            ),
            ("networking.k8s.io/v1beta1", "Ingress", Some("1.22")),
            ("networking.k8s.io/v1beta1", "IPAddress", None),
            (
                "policy/v1beta1",
                "PodSecurityPolicy",
                Some("`policy/v1beta1` — remove it"),
            ),
            ("batch/v1beta1", "CronJob", Some("batch/v1`")),
            (
                "batch/v1beta1",
                "Job",
                Some("`batch/v1beta1` has no Job — write `apiVersion: batch/v1`"),
            ),
            (
                "flowcontrol.apiserver.k8s.io/v1beta3",
                "FlowSchema",
                Some("1.32"),
            ),
            (
                "v1",
                "Deployment",
                Some("`v1` has no Deployment — write `apiVersion: apps/v1`"),
            ),
            ("apps", "Deployment", Some("`apps` has no Deployment")),
            ("apps/v1", "Service", Some("write `apiVersion: v1`")),
            ("networking/v1", "Ingress", Some("networking.k8s.io/v1")),
            ("autoscaling/v1", "HorizontalPodAutoscaler", None),
            ("autoscaling/v2", "HorizontalPodAutoscaler", None),
            (
                "autoscaling/v3",
                "HorizontalPodAutoscaler",
                Some("autoscaling/v2"),
            ),
            ("example.com/v1beta1", "Deployment", None),
            ("v1", "SomethingNew", None),
            ("networking.k8s.io/v2", "Ingress", None),
        ] {
            let found = fault(version, kind).map(|problem| problem.to_string());
            match (&found, expected) {
                (Some(found), Some(expected)) => assert!(found.contains(expected), "{found}"),
                _ => assert_eq!(found.as_deref(), expected, "{version} {kind}"),
            }
        }
    }
}
