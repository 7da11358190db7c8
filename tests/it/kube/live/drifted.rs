//! What somebody touched.

use serde_json::{Value, json};
use towpath::plan::{Drifted, Live};

use super::site::{Site, only};

const MANIFESTS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, labels: { team: blue } }
spec:
  replicas: 0
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      containers:
        - { name: web, image: "example.com/fine:1", resources: { requests: { cpu: 1000m, memory: 1024Mi } } }
---
apiVersion: v1
kind: Secret
metadata: { name: web }
stringData: { password: hunter2 }
data: { other: YQ== }
"#;

fn drift<'a>(live: &'a Live, kind: &str) -> Option<&'a Drifted> {
    only(live, kind).drift.as_ref()
}

/// What is found after somebody changed it so: the fields, and who.
async fn check(site: &mut Site, object: &str, patch: Value, expected: Option<(&[&str], &str)>) {
    let kind = object.split(' ').next().unwrap();
    let desired = site.rendered(MANIFESTS);
    drop(site.apply(&desired).await.unwrap());
    let before = site.live(&desired).await;
    assert_eq!(drift(&before, kind), None, "{patch}");
    site.change(object, "somebody", patch.clone()).await;
    if let Some((fields, by)) = expected {
        let live = site
            .until(&desired, |live| drift(live, kind).is_some())
            .await;
        let found = drift(&live, kind).unwrap();
        assert_eq!(found.fields, fields, "{patch}");
        assert_eq!(
            found.by.as_deref(),
            Some(by).filter(|by| !by.is_empty()),
            "{patch}"
        );
        // What was found out is kept: it is asked once.
        let asked = site.asked();
        assert_eq!(drift(&site.live(&desired).await, kind), Some(found));
        assert_eq!(site.asked_since(&asked), [""; 0], "{patch}");
        // It is found again after a restart, and set back by another apply.
        site.restart();
        let live = site.live(&desired).await;
        assert_eq!(
            drift(&live, kind).map(|it| &it.fields),
            Some(&found.fields),
            "{patch}"
        );
        drop(site.apply(&desired).await.unwrap());
    } else {
        site.until_seen(&desired, object).await;
        let asked = site.asked();
        assert_eq!(drift(&site.live(&desired).await, kind), None, "{patch}");
        assert_eq!(site.asked_since(&asked), [""; 0], "{patch}");
    }
    assert_eq!(drift(&site.live(&desired).await, kind), None, "{patch}");
}

#[tokio::test]
async fn what_was_changed_is_drift_and_what_was_added_is_not() {
    let Some(bed) = super::super::shared() else {
        return;
    };
    let mut site = Site::new(bed, "drifted").await;
    let container = |more: Value| {
        let mut container = json!({ "name": "web", "image": "example.com/fine:1", "resources": { "requests": { "cpu": "1", "memory": "1Gi" } } });
        json_patch::merge(&mut container, &more);
        container
    };
    let containers =
        |all: Vec<Value>| json!({ "spec": { "template": { "spec": { "containers": all } } } });
    let image = ".spec.template.spec.containers[name=\"web\"].image";
    for (object, patch, expected) in [
        (
            "Deployment web",
            json!({ "spec": { "replicas": 3 } }),
            Some((&[".spec.replicas"][..], "somebody")),
        ),
        (
            "Deployment web",
            json!({ "metadata": { "labels": { "team": "red" } } }),
            Some((&[".metadata.labels.team"], "somebody")),
        ),
        (
            "Deployment web",
            json!({ "metadata": { "labels": { "team": null } } }),
            Some((&[".metadata.labels.team"], "")),
        ),
        (
            "Deployment web",
            containers(vec![container(json!({ "image": "example.com/other:2" }))]),
            Some((&[image], "somebody")),
        ),
        (
            "Secret web",
            json!({ "data": { "password": "b3RoZXI=" } }),
            Some((&[".data.password"], "somebody")),
        ),
        // Others' own: an annotation, a sidecar, a default spelled otherwise.
        (
            "Deployment web",
            json!({ "metadata": { "annotations": { "seen": "yes" } } }),
            None,
        ),
        (
            "Deployment web",
            containers(vec![
                container(json!({})),
                json!({ "name": "side", "image": "example.com/side:1" }),
            ]),
            None,
        ),
        (
            "Deployment web",
            json!({ "spec": { "progressDeadlineSeconds": 700 } }),
            None,
        ),
        ("Secret web", json!({ "data": { "more": "YQ==" } }), None),
    ] {
        check(&mut site, object, patch, expected).await;
    }
}

#[tokio::test]
async fn a_mark_that_was_taken_away_is_put_back() {
    let Some(bed) = super::super::shared() else {
        return;
    };
    let mut site = Site::new(bed, "unmarked").await;
    let label = "applyset.kubernetes.io/part-of";
    check(
        &mut site,
        "Deployment web",
        json!({ "metadata": { "labels": { label: null } } }),
        Some((&[".metadata.labels.applyset.kubernetes.io/part-of"], "")),
    )
    .await;
}

#[tokio::test]
async fn whoever_fights_is_counted_and_given_rest() {
    let Some(bed) = super::super::shared() else {
        return;
    };
    let site = Site::new(bed, "fight").await;
    let desired = site
        .rendered("{ apiVersion: v1, kind: ConfigMap, metadata: { name: a }, data: { k: ours } }");
    drop(site.apply(&desired).await.unwrap());
    let mut rounds = Vec::new();
    for round in 0..4 {
        let change = json!({ "data": { "k": format!("theirs {round}") } });
        site.change("ConfigMap a", "operator", change).await;
        let live = site
            .until(&desired, |live| drift(live, "ConfigMap").is_some())
            .await;
        let found = drift(&live, "ConfigMap").unwrap();
        rounds.push((found.rounds, found.rest_until.is_some()));
        // Applies are told apart by the server's seconds: it is set back until the next one.
        let applied = only(&live, "ConfigMap").applied_at;
        loop {
            drop(site.apply(&desired).await.unwrap());
            if only(&site.live(&desired).await, "ConfigMap").applied_at > applied {
                break;
            }
            site.change(
                "ConfigMap a",
                "operator",
                json!({ "data": { "k": "theirs" } }),
            )
            .await;
            site.until(&desired, |live| drift(live, "ConfigMap").is_some())
                .await;
        }
    }
    assert_eq!(rounds, [(0, false), (1, false), (2, false), (3, true)]);
}
