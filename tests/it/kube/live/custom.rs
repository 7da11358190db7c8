//! Custom resources, and kinds that come and go.

use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use serde_json::json;
use towpath::model::Health;
use towpath::plan::Live;

use super::site::{Site, is_healthy, only};

fn definition(site: &Site) -> serde_json::Value {
    let group = format!("{}.example.com", site.namespace);
    let schema = json!({ "type": "object", "properties": {
        "spec": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
        "status": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
    } });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("gadgets.{group}") },
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": { "kind": "Gadget", "plural": "gadgets" },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": schema }, "subresources": { "status": {} },
            }],
        },
    })
}

const GADGET: &str = "{ apiVersion: NS.example.com/v1, kind: Gadget, metadata: { name: g }, spec: { items: [{ a: 1 }, { a: 2 }] } }";

fn gadgets(site: &Site) -> Api<DynamicObject> {
    let resource = ApiResource {
        group: format!("{}.example.com", site.namespace),
        version: "v1".to_owned(),
        api_version: format!("{}.example.com/v1", site.namespace),
        kind: "Gadget".to_owned(),
        plural: "gadgets".to_owned(),
    };
    Api::namespaced_with(site.admin.clone(), &site.namespace, &resource)
}

#[tokio::test]
async fn a_custom_resource_is_followed_from_before_its_kind_to_after_it() {
    let Some(bed) = super::super::shared() else {
        return;
    };
    let site = Site::new(bed, "custom").await;
    let alone = site.rendered(GADGET);
    // The cluster does not know the kind: nothing is there, which is no trouble.
    assert!(site.live(&alone).await.objects.is_empty());

    let whole = format!("{}\n---\n{GADGET}", definition(&site));
    let desired = site.rendered(&whole);
    drop(site.apply(&desired).await.unwrap());
    let health = |live: &Live| only(live, "Gadget").health.clone();
    // Nobody has answered it yet.
    let live = site.until(&desired, |live| live.objects.len() == 2).await;
    assert!(
        matches!(health(&live), Health::InProgress(_)),
        "{:?}",
        health(&live)
    );
    for (status, wanted) in [("False", false), ("True", true)] {
        let ready = json!({ "status": { "conditions": [{ "type": "Ready", "status": status, "reason": "Made", "message": "by hand" }] } });
        let (api, by) = (gadgets(&site), PatchParams::default());
        let patched = api.patch_status("g", &by, &Patch::Merge(ready)).await;
        drop(patched.unwrap());
        site.until(&desired, |live| (health(live) == Health::Current) == wanted)
            .await;
    }

    // A list without keys is one field: whoever changes an item of it has touched the whole.
    let changed = json!({ "spec": { "items": [{ "a": 1 }, { "a": 3 }] } });
    let by = PatchParams {
        field_manager: Some("somebody".to_owned()),
        ..PatchParams::default()
    };
    drop(
        gadgets(&site)
            .patch("g", &by, &Patch::Merge(changed))
            .await
            .unwrap(),
    );
    let live = site
        .until(&desired, |live| only(live, "Gadget").drift.is_some())
        .await;
    let drift = only(&live, "Gadget").drift.as_ref().unwrap();
    assert_eq!(
        (drift.fields.as_slice(), drift.by.as_deref()),
        (&[".spec.items[1].a".to_owned()][..], Some("somebody"))
    );

    // The kind goes, and with it the objects.
    let definitions: Api<DynamicObject> = Api::all_with(
        site.admin.clone(),
        &ApiResource {
            group: "apiextensions.k8s.io".to_owned(),
            version: "v1".to_owned(),
            api_version: "apiextensions.k8s.io/v1".to_owned(),
            kind: "CustomResourceDefinition".to_owned(),
            plural: "customresourcedefinitions".to_owned(),
        },
    );
    let name = format!("gadgets.{}.example.com", site.namespace);
    drop(
        definitions
            .delete(&name, &Default::default())
            .await
            .unwrap(),
    );
    site.until(&desired, |live| live.objects.is_empty()).await;
    // And comes again.
    drop(site.apply(&desired).await.unwrap());
    let live = site.until(&desired, |live| live.objects.len() == 2).await;
    assert!(!is_healthy(&live), "{live:#?}");
}
