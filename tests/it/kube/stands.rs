//! The bed itself: what other tests take for granted of it.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use super::audit::{asked, verbs};
use super::bed::{apply, wait};
use super::pods::{Fate, Rule};

fn workload(kind: &str, namespace: &str, image: &str, more: Value) -> Value {
    let group = if kind == "Job" { "batch/v1" } else { "apps/v1" };
    let mut object = json!({
        "apiVersion": group,
        "kind": kind,
        "metadata": { "name": "shop", "namespace": namespace },
        "spec": { "template": { "spec": { "containers": [{ "name": "shop", "image": image }] } } },
    });
    if kind == "Job" {
        object["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
    } else {
        object["spec"]["selector"] = json!({ "matchLabels": { "app": "shop" } });
        object["spec"]["template"]["metadata"] = json!({ "labels": { "app": "shop" } });
    }
    json_patch::merge(&mut object, &json!({ "spec": more }));
    object
}

/// Applies the workload and waits until its status says `expected` at `pointer`.
async fn becomes(client: &Client, object: &Value, pointer: &str, expected: Value) {
    let kind = object["kind"].as_str().unwrap();
    let namespace = object["metadata"]["namespace"].as_str().unwrap();
    let (group, version) = object["apiVersion"]
        .as_str()
        .unwrap()
        .split_once('/')
        .unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    apply(client, object).await.unwrap();
    wait(api, "shop", |object: Option<&DynamicObject>| {
        object.is_some_and(|object| object.data.pointer(pointer) == Some(&expected))
    })
    .await;
}

#[tokio::test]
async fn workloads_become_what_their_images_are_fated_to() {
    let Some(bed) = super::shared() else { return };
    let client = bed.admin().await;
    let two = json!({ "replicas": 2 });
    let cases = [
        (
            "Deployment",
            "fine",
            two.clone(),
            "/status/availableReplicas",
            2,
        ),
        (
            "StatefulSet",
            "fine",
            two.clone(),
            "/status/availableReplicas",
            2,
        ),
        ("DaemonSet", "fine", json!({}), "/status/numberAvailable", 1),
        ("Job", "fine", json!({}), "/status/succeeded", 1),
        (
            "Job",
            "bad",
            json!({ "backoffLimit": 0 }),
            "/status/failed",
            1,
        ),
        ("Deployment", "sick", two, "/status/unavailableReplicas", 2),
    ];
    for (kind, image, more, pointer, expected) in cases {
        let namespace = bed.namespace(&client, "workload").await;
        bed.fate(&namespace, "bad", Fate::Failed);
        bed.fate(&namespace, "sick", Fate::NeverReady);
        let object = workload(kind, &namespace, image, more);
        becomes(&client, &object, pointer, json!(expected)).await;
    }
}

#[tokio::test]
async fn a_pod_says_why_it_does_not_run_and_recovers() {
    let Some(bed) = super::shared() else { return };
    let client = bed.admin().await;
    let namespace = bed.namespace(&client, "waiting").await;
    let pods = Api::<Pod>::namespaced(client.clone(), &namespace);
    let object = workload("Deployment", &namespace, "shop@sha256:0bad", json!({}));
    for (fate, reason) in [
        (Fate::ImagePullBackOff, "ImagePullBackOff"),
        (Fate::CrashLoopBackOff, "CrashLoopBackOff"),
    ] {
        bed.fate(&namespace, "sha256:0bad", fate);
        becomes(&client, &object, "/status/replicas", json!(1)).await;
        let pod = pods.list(&ListParams::default()).await.unwrap().items[0].name_any();
        wait(pods.clone(), &pod, |pod: Option<&Pod>| {
            waits_for(pod) == Some(reason)
        })
        .await;
    }
    bed.fate(&namespace, "0bad", Fate::Ready(Duration::from_millis(20)));
    becomes(&client, &object, "/status/availableReplicas", json!(1)).await;
}

fn waits_for(pod: Option<&Pod>) -> Option<&str> {
    let containers = pod?.status.as_ref()?.container_statuses.as_ref()?;
    let state = containers.first()?.state.as_ref()?;
    state.waiting.as_ref()?.reason.as_deref()
}

#[tokio::test]
async fn a_job_that_runs_is_gone_when_its_pods_have_stopped() {
    let Some(bed) = super::shared() else { return };
    let client = bed.admin().await;
    let namespace = bed.namespace(&client, "going").await;
    bed.fate(&namespace, "runs", Fate::NeverReady);
    let object = workload("Job", &namespace, "runs", json!({}));
    becomes(&client, &object, "/status/active", json!(1)).await;
    let pods = Api::<Pod>::namespaced(client.clone(), &namespace);
    let pod = pods.list(&ListParams::default()).await.unwrap().items[0].name_any();
    wait(pods.clone(), &pod, |pod: Option<&Pod>| {
        pod.is_some_and(|pod| pod.spec.as_ref().unwrap().node_name.is_some())
    })
    .await;
    let jobs = Api::<Job>::namespaced(client.clone(), &namespace);
    jobs.delete("shop", &DeleteParams::foreground())
        .await
        .unwrap();
    wait(jobs, "shop", |job: Option<&Job>| job.is_none()).await;
    assert_eq!(pods.get_opt(&pod).await.unwrap(), None);
}

#[tokio::test]
async fn a_user_may_what_it_was_allowed_and_all_it_asks_is_counted() {
    let Some(bed) = super::shared() else { return };
    let admin = bed.admin().await;
    let namespace = bed.namespace(&admin, "rights").await;
    let user = bed.plane.new_user();
    let client = bed.plane.client(&user).await.unwrap();
    let maps = Api::<ConfigMap>::namespaced(client.clone(), &namespace);
    let map = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "shop", "namespace": namespace },
    });
    let code = |result: kube::Result<DynamicObject>| match result {
        Err(kube::Error::Api(status)) => status.code,
        other => panic!("not refused: {other:?}"),
    };
    assert_eq!(code(apply(&client, &map).await), 403);
    let rules = json!([{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "create", "patch"] }]);
    bed.allow(&admin, &user, Some(&namespace), rules).await;
    apply(&client, &map).await.unwrap();
    maps.get("shop").await.unwrap();
    maps.get("shop").await.unwrap();
    let asked = asked(&bed.plane, &user);
    let counts: Vec<_> = verbs(&asked).into_iter().collect();
    assert_eq!(counts, [("get", 2), ("patch", 2)]);
    assert_eq!(asked[0].object, format!("{namespace}/configmaps/shop"));
    assert!(asked[0].uri.contains("fieldManager=test"), "{asked:?}");
}

#[tokio::test]
async fn a_plane_outlives_its_parts() {
    let Some(mut bed) = super::own().await else {
        return;
    };
    let client = bed.admin().await;
    let namespace = bed.namespace(&client, "killed").await;
    let object = workload("Deployment", &namespace, "fine", json!({ "replicas": 1 }));
    becomes(&client, &object, "/status/availableReplicas", json!(1)).await;

    bed.plane.kill_apiserver().await;
    let deployments = Api::<Deployment>::namespaced(client.clone(), &namespace);
    assert!(deployments.get("shop").await.is_err(), "it is gone");
    bed.plane.revive_apiserver().await;
    let kept = deployments.get("shop").await.unwrap();
    assert_eq!(kept.status.unwrap().available_replicas, Some(1));
    let object = workload("Deployment", &namespace, "fine", json!({ "replicas": 3 }));
    becomes(&client, &object, "/status/availableReplicas", json!(3)).await;

    bed.plane.freeze_etcd().await;
    let maps = Api::<ConfigMap>::namespaced(client.clone(), &namespace);
    let frozen = tokio::time::timeout(Duration::from_millis(300), maps.get("none")).await;
    assert!(frozen.is_err(), "nobody can answer: {frozen:?}");
    bed.plane.thaw_etcd().await;
    let absent = maps.get_opt("none").await.unwrap();
    assert_eq!(absent, None);
}

#[test]
fn rules_are_read_from_lines() {
    let rule = |namespace: &str, image: &str, fate| Rule {
        namespace: namespace.to_owned(),
        image: image.to_owned(),
        fate,
    };
    let cases = [
        (
            "shop v1 ready",
            Some(rule("shop", "v1", Fate::Ready(Duration::ZERO))),
        ),
        (
            "* v1 ready:200ms",
            Some(rule("", "v1", Fate::Ready(Duration::from_millis(200)))),
        ),
        (
            "* sha256:0bad image-pull-back-off",
            Some(rule("", "sha256:0bad", Fate::ImagePullBackOff)),
        ),
        (
            "* v1 crash-loop-back-off",
            Some(rule("", "v1", Fate::CrashLoopBackOff)),
        ),
        ("* v1 never-ready", Some(rule("", "v1", Fate::NeverReady))),
        ("* v1 succeeded", Some(rule("", "v1", Fate::Succeeded))),
        ("* v1 failed", Some(rule("", "v1", Fate::Failed))),
        ("* v1 ready:-1s", None),
        ("* v1 happy", None),
        ("* v1", None),
    ];
    for (line, expected) in cases {
        assert_eq!(line.parse::<Rule>().ok(), expected, "{line}");
    }
}
