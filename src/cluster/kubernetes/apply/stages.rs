//! In which order objects are applied, and which of them the server can judge only once others are
//! there.
//!
//! Owns the stages and the order within one. A stage begins when the one before it is applied;
//! within a stage all travel together. Stages that nothing of an apply belongs to cost nothing.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::model::ObjectRef;

/// A stage of an apply. Deleting goes through them backwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::cluster::kubernetes) enum Stage {
    /// What others cannot exist without, or are judged by: CRDs, namespaces, cluster roles.
    Definitions,
    /// Kinds whose name ends in `Class`: looked up by name when workloads are admitted.
    Classes,
    /// What workloads read when they start: accounts, configuration, volumes, services, quotas. A
    /// pod that starts on the configuration of yesterday keeps it, so this is a stage of its own:
    /// it costs one round trip, and that only where an apply has objects of both.
    Foundations,
    /// Role bindings: whoever binds a role must see that it exists.
    Bindings,
    /// Workloads, custom resources, everything else.
    Workloads,
    /// What judges or serves requests once it is there: webhooks, admission policies, API services.
    /// Last, so that they find what they run on, and do not judge the rest of their own apply.
    Gatekeepers,
}

/// All stages in order.
pub(in crate::cluster::kubernetes) const STAGES: [Stage; 6] = [
    Stage::Definitions,
    Stage::Classes,
    Stage::Foundations,
    Stage::Bindings,
    Stage::Workloads,
    Stage::Gatekeepers,
];

const CORE: &str = "";
const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";

/// Kinds with a place of their own, in order.
const ORDER: [(&str, &str, Stage); 36] = [
    ("CustomResourceDefinition", "apiextensions.k8s.io", Stage::Definitions),
    ("Namespace", CORE, Stage::Definitions),
    ("ClusterRole", RBAC, Stage::Definitions),
    ("ResourceQuota", CORE, Stage::Foundations),
    ("LimitRange", CORE, Stage::Foundations),
    ("PriorityLevelConfiguration", "flowcontrol.apiserver.k8s.io", Stage::Foundations),
    ("FlowSchema", "flowcontrol.apiserver.k8s.io", Stage::Foundations),
    ("NetworkPolicy", "networking.k8s.io", Stage::Foundations),
    ("ServiceAccount", CORE, Stage::Foundations),
    ("Role", RBAC, Stage::Foundations),
    ("Secret", CORE, Stage::Foundations),
    ("ConfigMap", CORE, Stage::Foundations),
    ("PersistentVolume", CORE, Stage::Foundations),
    ("PersistentVolumeClaim", CORE, Stage::Foundations),
    ("Service", CORE, Stage::Foundations),
    ("Endpoints", CORE, Stage::Foundations),
    ("EndpointSlice", "discovery.k8s.io", Stage::Foundations),
    ("PodDisruptionBudget", "policy", Stage::Foundations),
    ("ClusterRoleBinding", RBAC, Stage::Bindings),
    ("RoleBinding", RBAC, Stage::Bindings),
    ("Pod", CORE, Stage::Workloads),
    ("ReplicationController", CORE, Stage::Workloads),
    ("ReplicaSet", "apps", Stage::Workloads),
    ("DaemonSet", "apps", Stage::Workloads),
    ("Deployment", "apps", Stage::Workloads),
    ("StatefulSet", "apps", Stage::Workloads),
    ("Job", "batch", Stage::Workloads),
    ("CronJob", "batch", Stage::Workloads),
    ("HorizontalPodAutoscaler", "autoscaling", Stage::Workloads),
    ("APIService", "apiregistration.k8s.io", Stage::Gatekeepers),
    ("ValidatingAdmissionPolicy", ADMISSION, Stage::Gatekeepers),
    ("ValidatingAdmissionPolicyBinding", ADMISSION, Stage::Gatekeepers),
    ("MutatingAdmissionPolicy", ADMISSION, Stage::Gatekeepers),
    ("MutatingAdmissionPolicyBinding", ADMISSION, Stage::Gatekeepers),
    ("MutatingWebhookConfiguration", ADMISSION, Stage::Gatekeepers),
    ("ValidatingWebhookConfiguration", ADMISSION, Stage::Gatekeepers),
];

/// The stage of an object, and its kind's place in it.
pub(in crate::cluster::kubernetes) fn place(object: &ObjectRef) -> (Stage, usize) {
    let known = ORDER
        .iter()
        .position(|(kind, group, _)| *kind == object.kind && *group == object.group);
    match known {
        Some(index) => (ORDER[index].2, index),
        None if object.kind.ends_with("Class") => (Stage::Classes, 0),
        None => (Stage::Workloads, ORDER.len()),
    }
}

/// What an apply brings that was not there before, or is there in another form: the reason why the
/// server cannot judge some objects yet.
#[derive(Debug, Default)]
pub(super) struct Brought {
    /// Group and kind of what its CRDs define, whether new or changed: a field that only the new
    /// schema knows is unknown to the old one.
    kinds: BTreeSet<(String, String)>,
    /// Namespaces that are not there yet.
    namespaces: BTreeSet<String>,
    /// Other objects that are not there yet and that the server looks up: kind, namespace, name.
    others: BTreeSet<(String, Option<String>, String)>,
}

impl Brought {
    /// Adds an object of the apply.
    pub(super) fn add(&mut self, object: &ObjectRef, is_new: bool, content: &Value) {
        if let Some(defined) = defines(object, content) {
            self.kinds.insert(defined);
        }
        if !is_new {
            return;
        }
        if object.kind == "Namespace" && object.group == CORE {
            self.namespaces.insert(object.name.clone());
        }
        let ObjectRef {
            kind,
            namespace,
            name,
            ..
        } = object.clone();
        self.others.insert((kind, namespace, name));
    }

    /// The stage after which the server can judge an object; `None`: at once.
    pub(super) fn needed_by(&self, object: &ObjectRef, content: &Value) -> Option<Stage> {
        let defined = (object.group.clone(), object.kind.clone());
        let in_new_namespace = object
            .namespace
            .as_ref()
            .is_some_and(|namespace| self.namespaces.contains(namespace));
        let first = (in_new_namespace || self.kinds.contains(&defined)).then_some(Stage::Definitions);
        let named = lookups(object, content).filter_map(|(kind, namespace, name)| {
            let (stage, _) = place(&ObjectRef {
                group: group_of(kind).to_owned(),
                kind: kind.to_owned(),
                namespace: None,
                name: String::new(),
            });
            let brought = (kind.to_owned(), namespace, name);
            self.others.contains(&brought).then_some(stage)
        });
        named.chain(first).max()
    }

    /// Whether a CRD of the apply defines this object's kind.
    pub(super) fn defines(&self, object: &ObjectRef) -> bool {
        let defined = (object.group.clone(), object.kind.clone());
        self.kinds.contains(&defined)
    }

    /// Whether anything of it takes a moment to be served.
    pub(super) fn kinds(&self) -> impl Iterator<Item = &(String, String)> {
        self.kinds.iter()
    }
}

/// Group and kind that a CRD defines.
fn defines(object: &ObjectRef, content: &Value) -> Option<(String, String)> {
    let is_crd = object.kind == "CustomResourceDefinition" && object.group == "apiextensions.k8s.io";
    let text = |pointer| Some(content.pointer(pointer)?.as_str()?.to_owned());
    is_crd.then(|| Some((text("/spec/group")?, text("/spec/names/kind")?)))?
}

/// What the server looks up when it admits an object, and refuses it for when it is missing: kind,
/// namespace, name.
fn lookups(
    object: &ObjectRef,
    content: &Value,
) -> impl Iterator<Item = (&'static str, Option<String>, String)> {
    let text = |pointer| Some(content.pointer(pointer)?.as_str()?.to_owned());
    let own = || object.namespace.clone();
    let mut found = Vec::new();
    match (object.kind.as_str(), object.group.as_str()) {
        // Who binds a role without holding its rights needs to have it looked up.
        ("RoleBinding" | "ClusterRoleBinding", RBAC) => {
            let kind = text("/roleRef/kind");
            match (kind.as_deref(), text("/roleRef/name")) {
                (Some("ClusterRole"), Some(name)) => found.push(("ClusterRole", None, name)),
                (Some("Role"), Some(name)) => found.push(("Role", own(), name)),
                _ => {}
            }
        }
        ("Pod", CORE) => {
            let names = [
                ("ServiceAccount", own(), "/spec/serviceAccountName"),
                ("PriorityClass", None, "/spec/priorityClassName"),
                ("RuntimeClass", None, "/spec/runtimeClassName"),
            ];
            for (kind, namespace, pointer) in names {
                found.extend(text(pointer).map(|name| (kind, namespace, name)));
            }
        }
        _ => {}
    }
    found.into_iter()
}

fn group_of(kind: &str) -> &'static str {
    let known = ORDER.iter().find(|(known, _, _)| *known == kind);
    known.map_or(CORE, |(_, group, _)| group)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// `Kind.group namespace/name`, the last two optional.
    fn object(text: &str) -> ObjectRef {
        let (kind, place) = text.split_once(' ').unwrap_or((text, "x"));
        let (kind, group) = kind.split_once('.').unwrap_or((kind, ""));
        let (namespace, name) = match place.split_once('/') {
            Some((namespace, name)) => (Some(namespace.to_owned()), name),
            None => (None, place),
        };
        ObjectRef {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace,
            name: name.to_owned(),
        }
    }

    #[test]
    fn objects_are_applied_in_this_order() {
        let in_order = [
            "CustomResourceDefinition.apiextensions.k8s.io",
            "Namespace",
            "ClusterRole.rbac.authorization.k8s.io",
            "StorageClass.storage.k8s.io",
            "ResourceQuota",
            "ServiceAccount",
            "ConfigMap",
            "Service",
            "RoleBinding.rbac.authorization.k8s.io",
            "Deployment.apps",
            "Job.batch",
            "Thing.example.com",
            "APIService.apiregistration.k8s.io",
            "ValidatingWebhookConfiguration.admissionregistration.k8s.io",
        ];
        let places: Vec<_> = in_order.map(|text| place(&object(text))).into();
        assert!(places.is_sorted(), "{places:?}");
        for (text, stage) in [
            ("Namespace", Stage::Definitions),
            ("Namespace.example.com", Stage::Workloads),
            ("IngressClass.networking.k8s.io", Stage::Classes),
            ("GatewayClass.gateway.networking.k8s.io", Stage::Classes),
            ("Secret", Stage::Foundations),
            ("RoleBinding.rbac.authorization.k8s.io", Stage::Bindings),
            ("Service.serving.knative.dev", Stage::Workloads),
            ("Ingress.networking.k8s.io", Stage::Workloads),
            ("MutatingWebhookConfiguration.admissionregistration.k8s.io", Stage::Gatekeepers),
        ] {
            assert_eq!(place(&object(text)).0, stage, "{text}");
        }
    }

    #[test]
    fn what_needs_another_object_of_the_same_apply_is_judged_after_it() {
        let crd = json!({"spec": {"group": "example.com", "names": {"kind": "Thing"}}});
        let brought = [
            ("CustomResourceDefinition.apiextensions.k8s.io things.example.com", false, crd),
            ("Namespace shop", true, json!({})),
            ("Namespace old", false, json!({})),
            ("ClusterRole.rbac.authorization.k8s.io reader", true, json!({})),
            ("Role.rbac.authorization.k8s.io old/writer", true, json!({})),
            ("ServiceAccount old/web", true, json!({})),
            ("ServiceAccount old/known", false, json!({})),
            ("PriorityClass.scheduling.k8s.io high", true, json!({})),
        ];
        let mut set = Brought::default();
        for (text, is_new, content) in &brought {
            set.add(&object(text), *is_new, content);
        }
        let role = |kind: &str, name: &str| json!({"roleRef": {"kind": kind, "name": name}});
        let pod = |field: &str, name: &str| json!({"spec": {field: name}});
        for (text, content, expected) in [
            ("Thing.example.com old/x", json!({}), Some(Stage::Definitions)),
            ("Thing.example.org old/x", json!({}), None),
            ("Deployment.apps shop/web", json!({}), Some(Stage::Definitions)),
            ("Deployment.apps old/web", json!({}), None),
            ("ClusterRoleBinding.rbac.authorization.k8s.io b", role("ClusterRole", "reader"), Some(Stage::Definitions)),
            ("RoleBinding.rbac.authorization.k8s.io old/b", role("Role", "writer"), Some(Stage::Foundations)),
            ("RoleBinding.rbac.authorization.k8s.io other/b", role("Role", "writer"), None),
            ("RoleBinding.rbac.authorization.k8s.io shop/b", role("ClusterRole", "reader"), Some(Stage::Definitions)),
            ("Pod old/p", pod("serviceAccountName", "web"), Some(Stage::Foundations)),
            ("Pod old/p", pod("serviceAccountName", "known"), None),
            ("Pod old/p", pod("priorityClassName", "high"), Some(Stage::Classes)),
            ("Deployment.apps old/d", pod("serviceAccountName", "web"), None),
        ] {
            assert_eq!(set.needed_by(&object(text), &content), expected, "{text} {content}");
        }
        assert!(set.defines(&object("Thing.example.com old/x")));
        assert_eq!(set.kinds().count(), 1);
    }
}
