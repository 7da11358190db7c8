//! In which order objects are applied, and which of them the server can judge only once others are
//! there.
//!
//! Owns the stages and the order within one. A stage begins when the one before it is applied;
//! within a stage all travel together. Stages that nothing of an apply belongs to cost nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::manifest::Object;
use crate::model::{Identity, ObjectRef};

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
    (
        "CustomResourceDefinition",
        "apiextensions.k8s.io",
        Stage::Definitions,
    ),
    ("Namespace", CORE, Stage::Definitions),
    ("ClusterRole", RBAC, Stage::Definitions),
    ("ResourceQuota", CORE, Stage::Foundations),
    ("LimitRange", CORE, Stage::Foundations),
    (
        "PriorityLevelConfiguration",
        "flowcontrol.apiserver.k8s.io",
        Stage::Foundations,
    ),
    (
        "FlowSchema",
        "flowcontrol.apiserver.k8s.io",
        Stage::Foundations,
    ),
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
    (
        "ValidatingAdmissionPolicyBinding",
        ADMISSION,
        Stage::Gatekeepers,
    ),
    ("MutatingAdmissionPolicy", ADMISSION, Stage::Gatekeepers),
    (
        "MutatingAdmissionPolicyBinding",
        ADMISSION,
        Stage::Gatekeepers,
    ),
    (
        "MutatingWebhookConfiguration",
        ADMISSION,
        Stage::Gatekeepers,
    ),
    (
        "ValidatingWebhookConfiguration",
        ADMISSION,
        Stage::Gatekeepers,
    ),
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
pub(in crate::cluster::kubernetes) struct Brought {
    /// Group and kind of what its CRDs define, whether new or changed: a field that only the new
    /// schema knows is unknown to the old one.
    kinds: BTreeMap<(String, String), ObjectRef>,
    /// Namespaces that are not there yet, by name.
    namespaces: BTreeMap<String, ObjectRef>,
    /// Other objects that are not there yet and that the server looks up: kind, namespace, name.
    others: BTreeMap<(String, Option<String>, String), ObjectRef>,
}

impl Brought {
    /// Adds an object of the apply.
    pub(in crate::cluster::kubernetes) fn add(&mut self, object: &Object, is_new: bool) {
        let defined = defined_by(object);
        let object = &object.reference;
        self.kinds
            .extend(defined.map(|kind| (kind, object.clone())));
        if !is_new {
            return;
        }
        if object.kind == "Namespace" && object.group == CORE {
            self.namespaces.insert(object.name.clone(), object.clone());
        }
        let Identity {
            kind,
            namespace,
            name,
            ..
        } = Identity::clone(object);
        self.others.insert((kind, namespace, name), object.clone());
    }

    /// The stage after which the server can judge an object; `None`: at once.
    pub(super) fn needed_by(&self, object: &Object) -> Option<Stage> {
        let reference = &object.reference;
        let namespace = reference.namespace.as_ref();
        let in_new_namespace = namespace.is_some_and(|it| self.namespaces.contains_key(it));
        let first = in_new_namespace || self.defines(reference);
        let looked_up = self.looked_up(object);
        let first = first.then_some(Stage::Definitions);
        looked_up.into_iter().chain(first).max()
    }

    /// Whether the server may need a moment to judge an object by what was just applied: it looks up
    /// schemas and roles in what it remembers of them.
    pub(super) fn lags(&self, object: &Object) -> bool {
        self.defines(&object.reference) || !self.looked_up(object).is_empty()
    }

    /// The stages of what the server looks up for an object and the apply brings.
    fn looked_up(&self, object: &Object) -> Vec<Stage> {
        let named = lookups(object).into_iter();
        let brought = named.filter_map(|(kind, namespace, name)| {
            let (stage, _) = place(&ObjectRef::from(Identity {
                group: group_of(kind).to_owned(),
                kind: kind.to_owned(),
                namespace: None,
                name: String::new(),
            }));
            let looked_up = (kind.to_owned(), namespace, name);
            self.others.contains_key(&looked_up).then_some(stage)
        });
        brought.collect()
    }

    /// Whether a CRD of the apply defines this object's kind.
    pub(super) fn defines(&self, object: &ObjectRef) -> bool {
        let defined = (object.group.clone(), object.kind.clone());
        self.kinds.contains_key(&defined)
    }

    /// What must be there before the server can judge an object: each once, in their order.
    pub(in crate::cluster::kubernetes) fn brought_for(&self, object: &Object) -> Vec<ObjectRef> {
        let Identity {
            group,
            kind,
            namespace,
            ..
        } = &*object.reference;
        let definition = self.kinds.get(&(group.clone(), kind.clone()));
        let namespace = namespace.as_ref().and_then(|it| self.namespaces.get(it));
        let looked_up = lookups(object).into_iter();
        let looked_up = looked_up.filter_map(|(kind, namespace, name)| {
            let looked_up = (kind.to_owned(), namespace, name);
            self.others.get(&looked_up)
        });
        let all = definition.into_iter().chain(namespace).chain(looked_up);
        let all: BTreeSet<&ObjectRef> = all.collect();
        all.into_iter().cloned().collect()
    }
}

/// Group and kind that a CRD defines.
pub(super) fn defined_by(object: &Object) -> Option<(String, String)> {
    let Identity { kind, group, .. } = &*object.reference;
    if kind != "CustomResourceDefinition" || group != "apiextensions.k8s.io" {
        return None;
    }
    let content = object.value();
    let text = |pointer| Some(content.pointer(pointer)?.as_str()?.to_owned());
    Some((text("/spec/group")?, text("/spec/names/kind")?))
}

/// What the server looks up when it admits an object, and refuses it for when it is missing: kind,
/// namespace, name.
fn lookups(object: &Object) -> Vec<(&'static str, Option<String>, String)> {
    let own = object.reference.namespace.clone();
    let named = |fields: &[(&'static str, Option<String>, &str)]| {
        let content = object.value();
        let found = fields.iter().filter_map(|(kind, namespace, pointer)| {
            let name = content.pointer(pointer)?.as_str()?.to_owned();
            Some((*kind, namespace.clone(), name))
        });
        found.collect()
    };
    match (
        object.reference.kind.as_str(),
        object.reference.group.as_str(),
    ) {
        // Who binds a role without holding its rights needs to have it looked up. A role of the other
        // kind and the same name only has the binding judged later, still before its own stage.
        ("RoleBinding" | "ClusterRoleBinding", RBAC) => named(&[
            ("ClusterRole", None, "/roleRef/name"),
            ("Role", own, "/roleRef/name"),
        ]),
        ("Pod", CORE) => named(&[
            ("ServiceAccount", own, "/spec/serviceAccountName"),
            ("PriorityClass", None, "/spec/priorityClassName"),
            ("RuntimeClass", None, "/spec/runtimeClassName"),
        ]),
        _ => Vec::new(),
    }
}

fn group_of(kind: &str) -> &'static str {
    let known = ORDER.iter().find(|(known, _, _)| *known == kind);
    known.map_or(CORE, |(_, group, _)| group)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::manifest::{ImageFields, Layer, Rendering, parse, render};

    /// `Kind.group namespace/name`, the last two optional.
    fn object(text: &str) -> ObjectRef {
        let (kind, place) = text.split_once(' ').unwrap_or((text, "x"));
        let (kind, group) = kind.split_once('.').unwrap_or((kind, ""));
        let (namespace, name) = match place.split_once('/') {
            Some((namespace, name)) => (Some(namespace.to_owned()), name),
            None => (None, place),
        };
        ObjectRef::from(Identity {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace,
            name: name.to_owned(),
        })
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
            (
                "MutatingWebhookConfiguration.admissionregistration.k8s.io",
                Stage::Gatekeepers,
            ),
        ] {
            assert_eq!(place(&object(text)).0, stage, "{text}");
        }
    }

    fn rendered(text: &str) -> Vec<Arc<Object>> {
        let fields = ImageFields::default();
        let file = parse("a.yaml", text.as_bytes(), &fields).unwrap();
        let layer = Layer {
            directory: "",
            files: &[Arc::new(file)],
            images: None,
        };
        let rendering = Rendering {
            default_namespace: "old",
            fields: &fields,
            access: None,
        };
        render(&[layer], &[], rendering).unwrap().objects
    }

    /// `apiVersion kind namespace/name`, and more fields of the object as YAML in one line.
    fn document(head: &str, more: &str) -> String {
        let mut words = head.split(' ');
        let (version, kind, place) = (
            words.next().unwrap(),
            words.next().unwrap(),
            words.next().unwrap(),
        );
        let (namespace, name) = match place.split_once('/') {
            Some((namespace, name)) => (format!("namespace: {namespace}, "), name),
            None => (String::new(), place),
        };
        format!(
            "---\napiVersion: {version}\nkind: {kind}\nmetadata: {{ {namespace}name: {name} }}\n{more}\n"
        )
    }

    #[test]
    fn what_needs_another_object_of_the_same_apply_is_judged_after_it() {
        let rbac = "rbac.authorization.k8s.io/v1";
        let crd = "spec: { group: example.com, names: { kind: Thing } }";
        let mut set = Brought::default();
        for (head, is_new, more) in [
            (
                "apiextensions.k8s.io/v1 CustomResourceDefinition things.example.com",
                false,
                crd,
            ),
            ("v1 Namespace shop", true, ""),
            ("v1 Namespace old", false, ""),
            (&format!("{rbac} ClusterRole reader"), true, ""),
            (&format!("{rbac} Role old/writer"), true, ""),
            ("v1 ServiceAccount old/web", true, ""),
            ("v1 ServiceAccount old/known", false, ""),
            ("scheduling.k8s.io/v1 PriorityClass high", true, ""),
        ] {
            set.add(&rendered(&document(head, more))[0], is_new);
        }
        for (head, more, expected) in [
            ("example.com/v1 Thing old/x", "", Some(Stage::Definitions)),
            ("example.org/v1 Thing old/x", "", None),
            ("apps/v1 Deployment shop/web", "", Some(Stage::Definitions)),
            ("apps/v1 Deployment old/web", "", None),
            ("apps/v1 Deployment web", "", None),
            (
                &format!("{rbac} ClusterRoleBinding b"),
                "roleRef: { kind: ClusterRole, name: reader }",
                Some(Stage::Definitions),
            ),
            (
                &format!("{rbac} RoleBinding old/b"),
                "roleRef: { kind: Role, name: writer }",
                Some(Stage::Foundations),
            ),
            (
                &format!("{rbac} RoleBinding other/b"),
                "roleRef: { kind: Role, name: writer }",
                None,
            ),
            (
                &format!("{rbac} RoleBinding shop/b"),
                "roleRef: { kind: ClusterRole, name: reader }",
                Some(Stage::Definitions),
            ),
            (
                "v1 Pod old/p",
                "spec: { serviceAccountName: web }",
                Some(Stage::Foundations),
            ),
            ("v1 Pod old/p", "spec: { serviceAccountName: known }", None),
            (
                "v1 Pod old/p",
                "spec: { priorityClassName: high }",
                Some(Stage::Classes),
            ),
            (
                "apps/v1 Deployment old/d",
                "spec: { serviceAccountName: web }",
                None,
            ),
        ] {
            let object = &rendered(&document(head, more))[0];
            assert_eq!(set.needed_by(object), expected, "{head} {more}");
        }
    }
}
