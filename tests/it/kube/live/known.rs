//! What is known without asking.

use super::super::pods::Fate;
use super::site::{Site, is_healthy};
use std::time::Duration;

const MANIFESTS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: NS }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec: { containers: [{ name: web, image: "example.com/fine:1", ports: [{ containerPort: 80 }] }] }
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { selector: { app: web }, ports: [{ port: 80, targetPort: 80 }] }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: web }
data: { a: "1" }
---
apiVersion: v1
kind: Secret
metadata: { name: web }
stringData: { password: hunter2 }
"#;

#[tokio::test]
async fn what_runs_is_known_by_one_list_of_each_kind() {
    let Some(bed) = super::super::shared() else {
        return;
    };
    let mut site = Site::new(bed, "known").await;
    bed.fate(&site.namespace, "fine", Fate::Ready(Duration::ZERO));
    let desired = site.deploy(MANIFESTS).await;

    // Settled: however often it is looked at, nothing is asked.
    let before = site.asked();
    for _ in 0..3 {
        assert!(is_healthy(&site.live(&desired).await));
    }
    assert_eq!(site.asked_since(&before), [""; 0]);

    // After a restart: the set's parent, and each of its kinds once.
    site.restart();
    let live = site.live(&desired).await;
    assert!(is_healthy(&live), "{live:#?}");
    assert!(
        live.objects
            .values()
            .all(|it| it.drift.is_none() && it.kept.is_none())
    );
    let mut asked = site.asked_since(&before);
    asked.sort();
    let parent = format!("list configmaps/towpath-{}", site.namespace);
    let members = [
        "list configmaps",
        "list deployments",
        "list secrets",
        "list services",
    ];
    let expected = [members[0], &parent, members[1], members[2], members[3]];
    assert_eq!(asked, expected);
    assert!(
        site.step(&site.unit("shop"), &desired, &live)
            .change
            .is_empty()
    );
}

#[tokio::test]
async fn a_first_sync_of_many_asks_once_for_all_of_them() {
    let Some(bed) = super::super::shared() else {
        return;
    };
    let site = Site::new(bed, "many").await;
    let manifests: Vec<String> = (0..60)
        .map(|number| {
            format!("{{ apiVersion: v1, kind: ConfigMap, metadata: {{ name: c{number} }} }}\n")
        })
        .collect();
    let desired = site.rendered(&manifests.join("---\n"));
    let live = site.live(&desired).await;
    assert!(live.objects.is_empty(), "{live:#?}");
    let asked = site.asked();
    let of = |verb: &str| asked.iter().filter(|it| it.starts_with(verb)).count();
    // The parent, the kind's members; then four of them one by one, the rest by one list.
    assert_eq!(
        (of("get"), of("list"), asked.len()),
        (4, 3, 7),
        "{asked:#?}"
    );

    drop(site.apply(&desired).await.unwrap());
    // What was answered is known at once, whether or not the watch has told yet.
    assert!(is_healthy(&site.live(&desired).await));
    let writes = site.asked_since(&asked);
    let of = |verb: &str| writes.iter().filter(|it| it.starts_with(verb)).count();
    assert_eq!((of("dry run"), of("apply")), (60, 61), "{writes:#?}");
}

/// The namespace has none of the kind: the server writes such a list in another way.
#[tokio::test]
async fn a_first_sync_of_many_begins_where_there_is_nothing() {
    let Some(bed) = super::super::shared() else {
        return;
    };
    let site = Site::new(bed, "none").await;
    let manifests: Vec<String> = (0..20)
        .map(|number| {
            format!("{{ apiVersion: v1, kind: Service, metadata: {{ name: s{number} }} }}\n")
        })
        .collect();
    let live = site.live(&site.rendered(&manifests.join("---\n"))).await;
    assert!(live.objects.is_empty(), "{live:#?}");
}
