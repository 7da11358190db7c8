//! What is told, and how soon.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use towpath::clock;
use towpath::cluster::ReadCluster as _;
use towpath::model::Health;

use super::super::bed::wait;
use super::super::pods::Fate;
use super::site::{Site, is_healthy, only};

fn deployment(image: &str) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{ name: web }}
spec:
  selector: {{ matchLabels: {{ app: web }} }}
  template:
    metadata: {{ labels: {{ app: web }} }}
    spec: {{ containers: [{{ name: web, image: "example.com/{image}" }}] }}
"#
    )
}

#[tokio::test]
async fn a_bad_image_is_told_while_it_rolls_out() {
    let Some(bed) = super::super::shared() else {
        return;
    };
    let site = Site::new(bed, "told").await;
    for (image, fate, expected) in [
        ("gone:1", Fate::ImagePullBackOff, "ImagePullBackOff"),
        ("crashing:1", Fate::CrashLoopBackOff, "CrashLoopBackOff"),
    ] {
        bed.fate(&site.namespace, image, fate);
        let desired = site.rendered(&deployment(image));
        drop(site.apply(&desired).await.unwrap());
        let pods = kube::Api::<k8s_openapi::api::core::v1::Pod>::namespaced(
            site.admin.clone(),
            &site.namespace,
        );
        let says = |pod: &k8s_openapi::api::core::v1::Pod| {
            serde_json::to_string(&pod.status)
                .unwrap()
                .contains(expected)
        };
        // As soon as the cluster itself knows it, by somebody who looks at nothing else.
        let known = async {
            loop {
                let listed = pods.list(&kube::api::ListParams::default()).await.unwrap();
                if listed.items.iter().any(says) {
                    return Instant::now();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let told = async {
            site.until(&desired, |live| {
                matches!(&only(live, "Deployment").health, Health::Failed(why) if why.contains(expected))
            })
            .await;
            Instant::now()
        };
        let (known, told) = tokio::join!(known, told);
        let after = told.saturating_duration_since(known);
        println!("{image}: told {after:?} after the cluster knew it");
    }
}

#[tokio::test]
async fn a_rollout_is_followed_to_its_end() {
    let Some(bed) = super::super::shared() else {
        return;
    };
    let site = Site::new(bed, "rollout").await;
    bed.fate(
        &site.namespace,
        "slow",
        Fate::Ready(Duration::from_millis(300)),
    );
    let desired = site.rendered(&deployment("slow:1"));
    drop(site.apply(&desired).await.unwrap());
    let live = site.live(&desired).await;
    let health = &only(&live, "Deployment").health;
    assert!(matches!(health, Health::InProgress(_)), "{health:?}");
    site.until(&desired, is_healthy).await;
}

#[tokio::test]
async fn a_person_holds_an_environment_on_the_cluster_itself() {
    let Some(bed) = super::super::shared() else {
        return;
    };
    let mut site = Site::new(bed, "hold").await;
    let manifests = "{ apiVersion: v1, kind: ConfigMap, metadata: { name: a } }";
    let desired = site.deploy(manifests).await;
    assert_eq!(site.live(&desired).await.brake, None);
    let parent = format!("ConfigMap towpath-{}", site.namespace);
    let hold = |reason| json!({ "metadata": { "annotations": { "towpath.dev/hold": reason } } });
    site.change(&parent, "kubectl", hold(Some("the sale is on")))
        .await;
    let held = site.until(&desired, |live| live.brake.is_some()).await;
    assert_eq!(held.brake.as_deref(), Some("the sale is on"));
    site.restart();
    assert_eq!(
        site.live(&desired).await.brake.as_deref(),
        Some("the sale is on")
    );
    site.change(&parent, "kubectl", hold(None)).await;
    site.until(&desired, |live| live.brake.is_none()).await;
}

#[tokio::test]
async fn what_goes_and_comes_is_told_with_its_application() {
    let Some(bed) = super::super::shared() else {
        return;
    };
    let site = Site::new(bed, "goes").await;
    let manifests = "{ apiVersion: v1, kind: ConfigMap, metadata: { name: a } }";
    let desired = site.deploy(manifests).await;
    let (api, name) = site.api("ConfigMap a").await;
    drop(api.delete(&name, &Default::default()).await.unwrap());
    wait(api, "a", |it: Option<&kube::api::DynamicObject>| {
        it.is_none()
    })
    .await;
    site.until(&desired, |live| live.objects.is_empty()).await;
    drop(site.apply(&desired).await.unwrap());
    assert!(is_healthy(&site.live(&desired).await));
    // An application that nobody configured any more is still told of.
    let known = site.cluster.inventory(clock::now()).await.unwrap();
    let names: Vec<_> = known.iter().map(|it| it.reference.to_string()).collect();
    assert_eq!(names, [format!("ConfigMap {}/a", site.namespace)]);
    let mark = known.first().unwrap().mark.as_ref().unwrap();
    assert_eq!(mark.application.as_str(), "shop");
}
