//! Kinds as resources: what roles and addresses call them.

use serde_json::Value;

use crate::manifest;
use crate::model::ObjectRef;

/// How a kind is served.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    /// The API group; empty for the core group.
    pub group: String,
    /// The resource, such as `deployments`.
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Whether somebody other than Kubernetes defined it.
    pub custom: bool,
}

/// Kubernetes' own kinds by group, from the API reference of Kubernetes 1.36: those that can be
/// written.
const BUILT_IN: [(&str, &[&str]); 19] = [
    (
        "",
        &[
            "ConfigMap",
            "Endpoints",
            "LimitRange",
            "Namespace",
            "Node",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "Pod",
            "PodTemplate",
            "ReplicationController",
            "ResourceQuota",
            "Secret",
            "Service",
            "ServiceAccount",
        ],
    ),
    (
        "admissionregistration.k8s.io",
        &[
            "MutatingAdmissionPolicy",
            "MutatingAdmissionPolicyBinding",
            "MutatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
            "ValidatingWebhookConfiguration",
        ],
    ),
    ("apiextensions.k8s.io", &["CustomResourceDefinition"]),
    ("apiregistration.k8s.io", &["APIService"]),
    (
        "apps",
        &[
            "ControllerRevision",
            "DaemonSet",
            "Deployment",
            "ReplicaSet",
            "StatefulSet",
        ],
    ),
    ("autoscaling", &["HorizontalPodAutoscaler"]),
    ("batch", &["CronJob", "Job"]),
    (
        "certificates.k8s.io",
        &["CertificateSigningRequest", "ClusterTrustBundle"],
    ),
    ("coordination.k8s.io", &["Lease", "LeaseCandidate"]),
    ("discovery.k8s.io", &["EndpointSlice"]),
    (
        "flowcontrol.apiserver.k8s.io",
        &["FlowSchema", "PriorityLevelConfiguration"],
    ),
    (
        "networking.k8s.io",
        &[
            "IPAddress",
            "Ingress",
            "IngressClass",
            "NetworkPolicy",
            "ServiceCIDR",
        ],
    ),
    ("node.k8s.io", &["RuntimeClass"]),
    ("policy", &["PodDisruptionBudget"]),
    (
        "rbac.authorization.k8s.io",
        &["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"],
    ),
    (
        "resource.k8s.io",
        &[
            "DeviceClass",
            "ResourceClaim",
            "ResourceClaimTemplate",
            "ResourceSlice",
        ],
    ),
    ("scheduling.k8s.io", &["PriorityClass"]),
    (
        "storage.k8s.io",
        &[
            "CSIDriver",
            "CSINode",
            "CSIStorageCapacity",
            "StorageClass",
            "VolumeAttachment",
            "VolumeAttributesClass",
        ],
    ),
    ("storagemigration.k8s.io", &["StorageVersionMigration"]),
];

/// One of Kubernetes' own kinds.
pub fn built_in(group: &str, kind: &str) -> Option<Resource> {
    let (_, kinds) = BUILT_IN.iter().find(|(name, _)| *name == group)?;
    kinds.contains(&kind).then(|| Resource {
        group: group.to_owned(),
        plural: plural(kind),
        namespaced: !manifest::is_cluster_scoped(group, kind),
        custom: false,
    })
}

/// The kind that a CustomResourceDefinition defines, by group and kind.
pub fn defined(reference: &ObjectRef, object: &Value) -> Option<((String, String), Resource)> {
    if reference.group_kind() != "CustomResourceDefinition.apiextensions.k8s.io" {
        return None;
    }
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let (group, kind) = (text("/spec/group")?, text("/spec/names/kind")?);
    let resource = Resource {
        group: group.to_owned(),
        plural: text("/spec/names/plural")?.to_owned(),
        namespaced: text("/spec/scope")? == "Namespaced",
        custom: true,
    };
    Some(((group.to_owned(), kind.to_owned()), resource))
}

/// As Kubernetes itself makes the plural of its kinds.
fn plural(kind: &str) -> String {
    let kind = kind.to_lowercase();
    match kind.as_bytes() {
        b"endpoints" => kind,
        [.., b's'] => format!("{kind}es"),
        [stem @ .., b'y'] => format!("{}ies", String::from_utf8_lossy(stem)),
        _ => format!("{kind}s"),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::{
        admissionregistration::v1 as admission, apps::v1 as apps, autoscaling::v2 as autoscaling,
        batch::v1 as batch, coordination::v1 as coordination, core::v1 as core,
        discovery::v1 as discovery, flowcontrol::v1 as flowcontrol, networking::v1 as networking,
        node::v1 as node, policy::v1 as policy, rbac::v1 as rbac, resource::v1 as resource,
        scheduling::v1 as scheduling, storage::v1 as storage,
    };
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions;
    use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1 as apiregistration;

    use super::*;

    /// The API's own description of these types.
    macro_rules! described {
        ($($type:path),+ $(,)?) => {
            vec![$((
                <$type as k8s_openapi::Resource>::GROUP,
                <$type as k8s_openapi::Resource>::KIND,
                <$type as k8s_openapi::Resource>::URL_PATH_SEGMENT,
                std::any::type_name::<<$type as k8s_openapi::Resource>::Scope>().ends_with("NamespaceResourceScope"),
            )),+]
        };
    }

    #[test]
    fn the_table_says_what_the_api_says() {
        let described = described![
            core::ConfigMap,
            core::Endpoints,
            core::LimitRange,
            core::Namespace,
            core::Node,
            core::PersistentVolume,
            core::PersistentVolumeClaim,
            core::Pod,
            core::PodTemplate,
            core::ReplicationController,
            core::ResourceQuota,
            core::Secret,
            core::Service,
            core::ServiceAccount,
            admission::MutatingWebhookConfiguration,
            admission::ValidatingAdmissionPolicy,
            admission::ValidatingAdmissionPolicyBinding,
            admission::ValidatingWebhookConfiguration,
            apiextensions::CustomResourceDefinition,
            apiregistration::APIService,
            apps::ControllerRevision,
            apps::DaemonSet,
            apps::Deployment,
            apps::ReplicaSet,
            apps::StatefulSet,
            autoscaling::HorizontalPodAutoscaler,
            batch::CronJob,
            batch::Job,
            coordination::Lease,
            discovery::EndpointSlice,
            flowcontrol::FlowSchema,
            flowcontrol::PriorityLevelConfiguration,
            networking::IPAddress,
            networking::Ingress,
            networking::IngressClass,
            networking::NetworkPolicy,
            networking::ServiceCIDR,
            node::RuntimeClass,
            policy::PodDisruptionBudget,
            rbac::ClusterRole,
            rbac::ClusterRoleBinding,
            rbac::Role,
            rbac::RoleBinding,
            resource::DeviceClass,
            resource::ResourceClaim,
            resource::ResourceClaimTemplate,
            resource::ResourceSlice,
            scheduling::PriorityClass,
            storage::CSIDriver,
            storage::CSINode,
            storage::CSIStorageCapacity,
            storage::StorageClass,
            storage::VolumeAttachment,
            storage::VolumeAttributesClass,
        ];
        for (group, kind, plural, namespaced) in described {
            let expected = Resource {
                group: group.to_owned(),
                plural: plural.to_owned(),
                namespaced,
                custom: false,
            };
            assert_eq!(built_in(group, kind), Some(expected), "{kind}.{group}");
        }
        assert_eq!(built_in("example.com", "Deployment"), None);
        assert_eq!(built_in("apps", "ConfigMap"), None);
    }
}
