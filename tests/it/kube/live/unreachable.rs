//! Clusters that do not answer, or not us.

use std::time::Duration;

use serde_json::json;
use towpath::cluster::ClusterError;

use super::site::{Site, is_healthy};

const MANIFESTS: &str = "{ apiVersion: v1, kind: ConfigMap, metadata: { name: a } }";

#[tokio::test]
async fn what_is_not_granted_is_named() {
    let Some(bed) = super::super::shared() else {
        return;
    };
    let rule = |resources: &[&str]| json!([{ "apiGroups": [""], "resources": resources, "verbs": ["get", "list", "watch"] }]);
    for (rules, expected) in [
        (
            rule(&["nothing"]),
            "it does not let us watch configmaps in namespace ",
        ),
        (
            rule(&["configmaps"]),
            "it does not let us watch secrets: grant the verb `watch` on `secrets` in a ClusterRole",
        ),
    ] {
        let site = Site::with(bed, "granted", rules, Duration::from_secs(20)).await;
        let manifests = format!(
            "{MANIFESTS}\n---\n{{ apiVersion: v1, kind: Secret, metadata: {{ name: s }} }}"
        );
        let error = site.try_live(&site.rendered(&manifests)).await.unwrap_err();
        assert!(
            matches!(error, ClusterError::Unavailable { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_cluster_that_was_away_is_told_and_followed_again() {
    let Some(mut bed) = super::super::own().await else {
        return;
    };
    let all = json!([{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] }]);
    let site = Site::with(&bed, "away", all, Duration::from_secs(6)).await;
    let desired = site.deploy(MANIFESTS).await;

    // The store hangs while the API server answers: what must be read from it ends by the deadline.
    bed.plane.freeze_etcd().await;
    let mut answered = 0;
    // It may answer once more while it stops.
    let error = loop {
        let name = format!("b{answered}");
        let unknown =
            format!("{{ apiVersion: v1, kind: ConfigMap, metadata: {{ name: {name} }} }}");
        match site.try_live(&site.rendered(&unknown)).await {
            Ok(_) => answered += 1,
            Err(error) => break error.to_string(),
        }
        assert!(answered < 6, "it does not stop");
    };
    assert!(error.contains("no answer within 6 s"), "{error}");
    // What is followed is still known.
    assert!(is_healthy(&site.live(&desired).await));
    bed.plane.thaw_etcd().await;

    bed.plane.kill_apiserver().await;
    let broken = async {
        loop {
            match site.try_live(&desired).await {
                Ok(_) => site.told().await,
                Err(error) => return error,
            }
        }
    };
    let error = tokio::time::timeout(Duration::from_secs(20), broken)
        .await
        .unwrap();
    assert!(
        matches!(error, ClusterError::Unavailable { .. }),
        "{error:?}"
    );
    bed.plane.revive_apiserver().await;
    let again = async {
        while site.try_live(&desired).await.is_err() {
            site.told().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), again)
        .await
        .unwrap();
    assert!(is_healthy(&site.live(&desired).await));
    let api = site.api("ConfigMap a").await.0;
    drop(api.delete("a", &Default::default()).await.unwrap());
    site.until(&desired, |live| live.objects.is_empty()).await;
}
