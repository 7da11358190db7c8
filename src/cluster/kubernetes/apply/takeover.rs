//! Fields that tools held which applied before us: they become ours, so that what a manifest no
//! longer states goes away, and what two managers hold of one list item does not get in the way.
//!
//! Owns whose fields are taken over, and how `managedFields` reads afterwards. Pure: the patch is sent
//! by whoever judges the object. The same as `kubectl apply --server-side` does once for fields of
//! `kubectl apply`.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    FieldsV1, ManagedFieldsEntry, ObjectMeta, Time,
};
use serde_json::{Value, json};

use super::super::fields::FieldSet;
use super::super::marks::MANAGER;
use crate::model::Conflicts;

/// `kubectl apply` of old: it wrote with plain updates, and kept what it applied in an annotation.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// How many fields of a manager are named; more are named by what they lie in.
const NAMED: usize = 12;

/// Whose fields are taken over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heirs<'a> {
    /// Whether fields of others are taken at all where they stand in the way.
    pub(super) conflicts: Conflicts,
    /// Engines whose objects may be taken over: `flux`, `argocd`, `helm`.
    pub(super) engines: &'a [String],
}

impl Heirs<'_> {
    /// Whether a manager's fields are taken over wherever they are met. Not what is written through
    /// a subresource, such as the replicas of an autoscaler.
    pub(super) fn take_from(self, entry: &ManagedFieldsEntry) -> bool {
        let manager = entry.manager.as_deref().unwrap_or_default();
        let applied = entry.operation.as_deref() == Some("Apply");
        entry.subresource.as_deref().unwrap_or_default().is_empty()
            && match manager {
                MANAGER => !applied,
                _ => self.take_from_named(manager),
            }
    }

    /// The same, of a manager that is known by its name alone.
    pub(super) fn take_from_named(self, manager: &str) -> bool {
        match manager {
            // The client-side half of `kubectl apply`, and what was there before its first apply.
            "kubectl-client-side-apply" | "before-first-apply" => true,
            // A restart that a person asked for is an act, not a state that git would hold.
            "kubectl-rollout" => false,
            "kubectl" => self.conflicts == Conflicts::Force,
            name if name.starts_with("kubectl-") => self.conflicts == Conflicts::Force,
            name => self.engines.iter().any(|engine| writes(engine, name)),
        }
    }

    /// Whether anything is to be taken over from an object's managers.
    pub(super) fn any(self, metadata: &ObjectMeta) -> bool {
        let managers = metadata.managed_fields.iter().flatten();
        managers.into_iter().any(|entry| self.take_from(entry))
    }
}

/// Whether an engine writes under this manager's name.
fn writes(engine: &str, manager: &str) -> bool {
    let managers: &[&str] = match engine {
        "flux" => &["kustomize-controller", "helm-controller"],
        "argocd" => &["argocd-controller", "argocd-application-controller"],
        "helm" => &["helm", "Helm"],
        _ => &[],
    };
    managers.contains(&manager)
}

/// How an object's managers are rewritten.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Takeover {
    /// The JSON patch. It lands only on the version of the object that it was made for.
    pub(super) patch: Value,
    /// Whose fields it takes, and which.
    pub(super) taken: Vec<(String, Vec<String>)>,
}

/// Makes the fields of those managers ours; `None` where they hold nothing.
pub(super) fn take_over(
    metadata: &ObjectMeta,
    heirs: Heirs<'_>,
    now: Timestamp,
) -> Option<Takeover> {
    let managers = metadata.managed_fields.clone().unwrap_or_default();
    let version = metadata.resource_version.as_deref()?;
    let (from, mut kept): (Vec<_>, Vec<_>) = managers
        .into_iter()
        .partition(|entry| heirs.take_from(entry));
    if from.is_empty() {
        return None;
    }
    let own = kept.iter().position(is_own);
    let own = own.map(|index| kept.remove(index));
    // Paths mean something in one API version only: ours, or the one written last.
    let last = from.iter().max_by_key(|entry| entry.time.clone());
    let api_version = own.as_ref().or(last)?.api_version.clone();
    let mut fields = own.as_ref().map(fields_of).unwrap_or_default();
    let mut taken = Vec::new();
    for entry in &from {
        let theirs = fields_of(entry);
        let manager = entry.manager.clone().unwrap_or_default();
        if manager != MANAGER {
            taken.push((manager, theirs.without(&fields).paths(NAMED)));
        }
        if entry.api_version == api_version {
            fields.unite(theirs);
        }
    }
    taken.retain(|(_, fields)| !fields.is_empty());
    kept.push(ManagedFieldsEntry {
        api_version,
        fields_type: Some("FieldsV1".to_owned()),
        fields_v1: Some(FieldsV1(fields.to_value())),
        manager: Some(MANAGER.to_owned()),
        operation: Some("Apply".to_owned()),
        subresource: None,
        time: Some(Time(now)),
    });
    let mut patch = vec![
        json!({"op": "replace", "path": "/metadata/managedFields", "value": kept}),
        json!({"op": "replace", "path": "/metadata/resourceVersion", "value": version}),
    ];
    let annotations = metadata.annotations.iter().flatten();
    if annotations.into_iter().any(|(key, _)| key == LAST_APPLIED) {
        let path = format!("/metadata/annotations/{}", LAST_APPLIED.replace('/', "~1"));
        patch.push(json!({"op": "remove", "path": path}));
    }
    Some(Takeover {
        patch: Value::Array(patch),
        taken,
    })
}

fn is_own(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() == Some(MANAGER)
        && entry.operation.as_deref() == Some("Apply")
        && entry.subresource.as_deref().unwrap_or_default().is_empty()
}

fn fields_of(entry: &ManagedFieldsEntry) -> FieldSet {
    let fields = entry.fields_v1.as_ref();
    fields.map_or_else(FieldSet::default, |fields| FieldSet::parse(&fields.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, api_version: &str, fields: Value) -> Value {
        json!({
            "manager": manager, "operation": operation, "apiVersion": api_version,
            "fieldsType": "FieldsV1", "fieldsV1": fields, "time": "2026-11-20T10:00:00Z",
        })
    }

    fn metadata(managers: &[Value]) -> ObjectMeta {
        let value = json!({
            "name": "web", "resourceVersion": "7", "managedFields": managers,
            "annotations": {LAST_APPLIED: "{}"},
        });
        serde_json::from_value(value).unwrap()
    }

    fn heirs(conflicts: Conflicts, engines: &[String]) -> Heirs<'_> {
        Heirs { conflicts, engines }
    }

    #[test]
    fn it_is_known_whose_fields_are_taken_over() {
        let engines = ["flux".to_owned()];
        let force = heirs(Conflicts::Force, &engines);
        let refuse = heirs(Conflicts::Refuse, &[]);
        for (manager, operation, subresource, forced, refused) in [
            ("kubectl-client-side-apply", "Update", "", true, true),
            ("before-first-apply", "Update", "", true, true),
            ("kubectl-edit", "Update", "", true, false),
            ("kubectl", "Apply", "", true, false),
            ("kubectl-rollout", "Update", "", false, false),
            ("kubectl-edit", "Update", "scale", false, false),
            ("kubectlish", "Update", "", false, false),
            ("kube-controller-manager", "Update", "", false, false),
            ("towpath", "Update", "", true, true),
            ("towpath", "Apply", "", false, false),
            ("kustomize-controller", "Apply", "", true, false),
            ("helm", "Update", "", false, false),
        ] {
            let mut value = entry(manager, operation, "v1", json!({}));
            value["subresource"] = subresource.into();
            let entry: ManagedFieldsEntry = serde_json::from_value(value).unwrap();
            assert_eq!(force.take_from(&entry), forced, "{manager} {operation}");
            assert_eq!(refuse.take_from(&entry), refused, "{manager} {operation}");
        }
    }

    #[test]
    fn their_fields_become_ours() {
        let now: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
        let (a, b, c) = (
            json!({"f:spec": {"f:a": {}}}),
            json!({"f:spec": {"f:b": {}}}),
            json!({"f:spec": {"f:c": {}}}),
        );
        let ab = json!({"f:spec": {"f:a": {}, "f:b": {}}});
        let client_side = "kubectl-client-side-apply";
        for (managers, fields, api_version, kept, taken) in [
            // Ours and theirs are united.
            (
                vec![
                    entry(MANAGER, "Apply", "v1", a.clone()),
                    entry(client_side, "Update", "v1", ab.clone()),
                    entry("hpa", "Update", "v1", c.clone()),
                ],
                ab.clone(),
                "v1",
                1,
                vec![(client_side, vec![".spec.b"])],
            ),
            // Theirs become ours.
            (
                vec![entry(client_side, "Update", "v1", b.clone())],
                b.clone(),
                "v1",
                0,
                vec![(client_side, vec![".spec.b"])],
            ),
            // Nothing new in it.
            (
                vec![
                    entry(client_side, "Update", "v1", a.clone()),
                    entry(MANAGER, "Apply", "v1", ab.clone()),
                ],
                ab.clone(),
                "v1",
                0,
                vec![],
            ),
            // Paths of another version are nobody's from then on.
            (
                vec![
                    entry(MANAGER, "Apply", "v2", a.clone()),
                    entry("kubectl-edit", "Update", "v1", b.clone()),
                ],
                a.clone(),
                "v2",
                0,
                vec![("kubectl-edit", vec![".spec.b"])],
            ),
        ] {
            let takeover =
                take_over(&metadata(&managers), heirs(Conflicts::Force, &[]), now).unwrap();
            let entries = takeover.patch[0]["value"].as_array().unwrap();
            let own = entries.last().unwrap();
            assert_eq!(entries.len(), kept + 1);
            assert_eq!(
                (&own["manager"], &own["operation"]),
                (&json!(MANAGER), &json!("Apply"))
            );
            assert_eq!(
                (&own["fieldsV1"], &own["apiVersion"]),
                (&fields, &json!(api_version))
            );
            let expected = taken.iter().map(|(manager, fields): &(&str, Vec<&str>)| {
                (
                    (*manager).to_owned(),
                    fields
                        .iter()
                        .map(|field| (*field).to_owned())
                        .collect::<Vec<_>>(),
                )
            });
            assert_eq!(takeover.taken, expected.collect::<Vec<_>>());
            assert_eq!(takeover.patch[1]["value"], "7");
            assert_eq!(
                takeover.patch[2]["path"],
                "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration"
            );
        }
        let ours = metadata(&[entry(MANAGER, "Apply", "v1", a)]);
        assert_eq!(take_over(&ours, heirs(Conflicts::Force, &[]), now), None);
    }
}
