//! What must be there before something else: kinds, namespaces, roles, accounts.

use serde_json::{Value, json};
use towpath::cluster::ClusterError;
use towpath::cluster::kubernetes::marks::Set;
use towpath::cluster::kubernetes::set::ApplySet;

use super::site::{Site, config_map, workload};

/// A CRD of the site's own group, with these fields of its spec.
pub(super) fn crd(scope: &str, fields: &str) -> String {
    format!(
        "---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{ name: things.NS.example.com }}
spec:
  group: NS.example.com
  scope: {scope}
  names: {{ plural: things, singular: thing, kind: Thing }}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {{ openAPIV3Schema: {{ type: object, properties: {{ spec: {{ type: object, properties: {{ {fields} }} }} }} }} }}
"
    )
}

pub(super) fn thing(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: NS.example.com/v1\nkind: Thing\nmetadata: {{ name: {name} }}\nspec: {{ {spec} }}\n"
    )
}

/// The objects in the order in which they were applied: `Kind name`.
fn order(site: &Site) -> Vec<String> {
    let returned = site.sight.returned.lock().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let lines = returned
        .iter()
        .map(|it| format!("{} {}", text(&it["kind"]), text(&it["metadata"]["name"])));
    lines
        .map(|line| line.replace(&site.namespace, "NS"))
        .collect()
}

#[tokio::test]
async fn a_kind_and_its_objects_come_in_one_commit() {
    let Some(site) = Site::new("crd").await else {
        return;
    };
    let size = "size: { type: integer }";
    let first = crd("Cluster", size) + &thing("one", "size: 1") + &config_map("one", "a");
    site.apply(&first).await.unwrap();
    assert_eq!(
        order(&site),
        [
            "CustomResourceDefinition things.NS.example.com",
            "ConfigMap one",
            "Thing one"
        ]
    );
    let name = format!("Thing.{}.example.com one", site.namespace);
    let one = site.live(&name).await.unwrap();
    assert_eq!(
        one["metadata"]["namespace"],
        json!(null),
        "only the cluster knew that it lives in none"
    );
    let (kinds, namespaces) = site.parent().await.unwrap();
    let expected = "ConfigMap,CustomResourceDefinition.apiextensions.k8s.io,Thing.NS.example.com";
    assert_eq!(kinds, expected.replace("NS", &site.namespace));
    assert_eq!(namespaces, "");

    // A field that only the new schema knows.
    let coloured = crd("Cluster", &format!("{size}, color: {{ type: string }}"));
    site.apply(&(coloured.clone() + &thing("one", "size: 1, color: red")))
        .await
        .unwrap();
    assert_eq!(
        site.live(&name).await.unwrap()["spec"]["color"],
        json!("red")
    );

    // A version that only the new definition serves.
    let both = coloured.replace("  versions:\n", "  versions:\n    - { name: v2, served: true, storage: false, schema: { openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true } } }\n");
    let newer = thing("one", "size: 2").replace("example.com/v1", "example.com/v2");
    site.apply(&(both + &newer)).await.unwrap();
    assert_eq!(site.live(&name).await.unwrap()["spec"]["size"], json!(2));

    // One that no schema knows is refused before anything of the next stage is applied.
    let shaped = coloured.replace("{ type: string }", "{ type: string, maxLength: 9 }");
    let wrong = shaped + &thing("one", "shape: round") + &config_map("two", "a");
    let error = site
        .refuses(&wrong, ".spec.shape: field not declared in schema")
        .await;
    assert!(matches!(error, ClusterError::Refused { .. }), "{error:?}");
    assert_eq!(site.live("ConfigMap two").await, None);
    site.delete(&format!(
        "CustomResourceDefinition.apiextensions.k8s.io things.{}.example.com",
        site.namespace
    ))
    .await;
}

#[tokio::test]
async fn the_environments_own_namespace_may_come_with_the_commit() {
    let Some(mut site) = Site::new("empty").await else {
        return;
    };
    let before = site.asked();
    site.namespace = format!("{}-made", site.namespace);
    let environment = site.namespace.parse().unwrap();
    site.set = ApplySet::new(Set::of(&environment, &site.namespace), site.client.clone());
    site.refuses(&config_map("one", "a"), "the namespace `")
        .await;
    let before = before.len() + site.asked_since(&before).len();

    let manifests = "---\napiVersion: v1\nkind: Namespace\nmetadata: { name: NS }\n".to_owned()
        + &config_map("one", "a");
    site.apply(&manifests).await.unwrap();
    let parent = site.set.set().name.replace(&site.namespace, "NS");
    assert_eq!(
        site.asked()[before..],
        [
            "dry run namespaces/NS".to_owned(),
            "apply namespaces/NS".to_owned(),
            format!("get configmaps/{parent}"),
            format!("apply configmaps/{parent}"),
            "dry run configmaps/one".to_owned(),
            "apply configmaps/one".to_owned(),
        ]
    );
    assert_eq!(
        site.parent().await.unwrap(),
        ("ConfigMap,Namespace".to_owned(), String::new())
    );
}

#[tokio::test]
async fn roles_come_before_bindings_and_accounts_before_pods() {
    // Whoever holds no more than is granted must have the role looked up when it is bound.
    let verbs = json!(["get", "list", "create", "patch"]);
    let rules = json!([
        { "apiGroups": [""], "resources": ["configmaps", "serviceaccounts", "pods"], "verbs": verbs },
        { "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"], "verbs": verbs },
    ]);
    let Some(site) = Site::with_rights("roles", Some(rules)).await else {
        return;
    };
    let manifests = "---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: readers }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader }
subjects: [{ kind: ServiceAccount, name: web, namespace: NS }]
---
apiVersion: v1
kind: Pod
metadata: { name: once }
spec: { serviceAccountName: web, containers: [{ name: web, image: shop }] }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: web }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: reader }
rules: [{ apiGroups: [\"\"], resources: [configmaps], verbs: [get] }]
";
    site.apply(manifests).await.unwrap();
    assert_eq!(order(&site)[2..], ["RoleBinding readers", "Pod once"]);
    let widened = manifests.replace("[get]", "[get, delete]");
    let error = site
        .refuses(&widened, "whoever grants rights must hold them")
        .await;
    assert!(matches!(error, ClusterError::Prevented { .. }), "{error:?}");
}

#[tokio::test]
async fn each_kind_has_its_place() {
    let Some(site) = Site::new("order").await else {
        return;
    };
    let webhook = "---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: { name: NS }
webhooks:
  - name: none.example.com
    sideEffects: None
    admissionReviewVersions: [v1]
    clientConfig: { url: \"https://127.0.0.1:1/\" }
    namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: NS } }
    rules: [{ apiGroups: [\"\"], apiVersions: [v1], operations: [CREATE], resources: [replicationcontrollers] }]
";
    let class = "---\napiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: { name: NS }\nvalue: 1\n";
    let role = "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: { name: NS }\nrules: []\n";
    let manifests = [
        webhook,
        &workload("web", "shop", "  replicas: 0"),
        &config_map("one", "a"),
        class,
        role,
    ]
    .concat();
    site.apply(&manifests).await.unwrap();
    assert_eq!(
        order(&site),
        [
            "ClusterRole NS",
            "PriorityClass NS",
            "ConfigMap one",
            "ReplicationController web",
            "ValidatingWebhookConfiguration NS",
        ]
    );
    for kind in [
        "ValidatingWebhookConfiguration.admissionregistration.k8s.io",
        "ClusterRole.rbac.authorization.k8s.io",
        "PriorityClass.scheduling.k8s.io",
    ] {
        site.delete(&format!("{kind} {}", site.namespace)).await;
    }
}
