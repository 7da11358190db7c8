//! Which of Kubernetes' own kinds live in no namespace.

use crate::model::ObjectRef;

/// Kind and group, from the API reference of Kubernetes 1.36. Custom resources are not known here.
const CLUSTER_SCOPED: [(&str, &str); 33] = [
    ("ComponentStatus", ""),
    ("Namespace", ""),
    ("Node", ""),
    ("PersistentVolume", ""),
    ("MutatingAdmissionPolicy", "admissionregistration.k8s.io"),
    (
        "MutatingAdmissionPolicyBinding",
        "admissionregistration.k8s.io",
    ),
    (
        "MutatingWebhookConfiguration",
        "admissionregistration.k8s.io",
    ),
    ("ValidatingAdmissionPolicy", "admissionregistration.k8s.io"),
    (
        "ValidatingAdmissionPolicyBinding",
        "admissionregistration.k8s.io",
    ),
    (
        "ValidatingWebhookConfiguration",
        "admissionregistration.k8s.io",
    ),
    ("CustomResourceDefinition", "apiextensions.k8s.io"),
    ("APIService", "apiregistration.k8s.io"),
    ("CertificateSigningRequest", "certificates.k8s.io"),
    ("ClusterTrustBundle", "certificates.k8s.io"),
    ("FlowSchema", "flowcontrol.apiserver.k8s.io"),
    ("PriorityLevelConfiguration", "flowcontrol.apiserver.k8s.io"),
    ("StorageVersion", "internal.apiserver.k8s.io"),
    ("IPAddress", "networking.k8s.io"),
    ("IngressClass", "networking.k8s.io"),
    ("ServiceCIDR", "networking.k8s.io"),
    ("RuntimeClass", "node.k8s.io"),
    ("ClusterRole", "rbac.authorization.k8s.io"),
    ("ClusterRoleBinding", "rbac.authorization.k8s.io"),
    ("DeviceClass", "resource.k8s.io"),
    ("DeviceTaintRule", "resource.k8s.io"),
    ("ResourceSlice", "resource.k8s.io"),
    ("PriorityClass", "scheduling.k8s.io"),
    ("CSIDriver", "storage.k8s.io"),
    ("CSINode", "storage.k8s.io"),
    ("StorageClass", "storage.k8s.io"),
    ("VolumeAttachment", "storage.k8s.io"),
    ("VolumeAttributesClass", "storage.k8s.io"),
    ("StorageVersionMigration", "storagemigration.k8s.io"),
];

/// Whether this is one of Kubernetes' own kinds that live in no namespace.
pub fn is_cluster_scoped(group: &str, kind: &str) -> bool {
    CLUSTER_SCOPED.contains(&(kind, group))
}

/// Gives a reference the namespace it has in the cluster.
pub(super) fn settle(reference: &mut ObjectRef, default_namespace: &str) {
    if is_cluster_scoped(&reference.group, &reference.kind) {
        reference.namespace = None;
    } else if reference.namespace.is_none() {
        reference.namespace = Some(default_namespace.to_owned());
    }
}
