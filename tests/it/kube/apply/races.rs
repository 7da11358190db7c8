//! An object that is no longer what the plan saw.

use std::sync::Arc;

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use towpath::cluster::ClusterError;

use super::between::{Between, Fate};
use super::site::{Site, config_map, workload};

async fn merge(site: &Site, object: &str, patch: Value) {
    let (_, name) = object.split_once(' ').unwrap();
    let api = site.api(object).await;
    api.patch(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
}

async fn status(site: &Site, object: &str, replicas: u32) {
    let (_, name) = object.split_once(' ').unwrap();
    let api = site.api(object).await;
    let patch =
        Patch::Merge(json!({"status": {"readyReplicas": 0, "observedGeneration": replicas}}));
    api.patch_status(name, &PatchParams::default(), &patch)
        .await
        .unwrap();
}

fn is_changed(error: &ClusterError) -> bool {
    matches!(error, ClusterError::Changed { .. })
}

#[tokio::test]
async fn what_changed_since_the_plan_is_left_alone() {
    let Some(site) = Site::new("changed").await else {
        return;
    };
    let before = config_map("one", "a");
    let after = config_map("one", "b") + &config_map("two", "b");
    for case in ["edited", "deleted", "replaced", "appeared", "marked"] {
        for object in ["ConfigMap one", "ConfigMap two"] {
            if site.live(object).await.is_some() {
                site.delete(object).await;
            }
        }
        site.apply(&before).await.unwrap();
        let step = site.plan(&after).await;
        match case {
            "edited" => merge(&site, "ConfigMap one", json!({"data": {"other": "x"}})).await,
            "deleted" => site.delete("ConfigMap one").await,
            "replaced" => {
                site.delete("ConfigMap one").await;
                drop(site.apply(&before).await.unwrap());
            }
            "appeared" => drop(
                site.apply(&(before.clone() + &config_map("two", "a")))
                    .await
                    .unwrap(),
            ),
            // Another Towpath, which knows of a later commit.
            _ => drop(site.apply(&config_map("one", "c")).await.unwrap()),
        }
        let seen = (
            site.live("ConfigMap one").await,
            site.live("ConfigMap two").await,
        );
        let error = site.run(&step).await.expect_err(case);
        assert!(is_changed(&error), "{case}: {error:?}");
        assert_eq!(
            (
                site.live("ConfigMap one").await,
                site.live("ConfigMap two").await
            ),
            seen,
            "{case}"
        );
    }
}

#[tokio::test]
async fn a_status_that_moves_is_no_change() {
    let Some(site) = Site::new("moving").await else {
        return;
    };
    site.apply(&workload("web", "shop:1", "  replicas: 0"))
        .await
        .unwrap();
    let after = workload("web", "shop:2", "  replicas: 0");
    let step = site.plan(&after).await;
    status(&site, "ReplicationController web", 7).await;
    let before = site.asked();
    site.run(&step).await.unwrap();
    let asked = ["dry run", "get", "dry run", "apply"]
        .map(|what| format!("{what} replicationcontrollers/web"));
    assert_eq!(site.asked_since(&before), asked);

    // Not if it was marked anew meanwhile, which moves no generation either.
    let step = site.plan(&workload("web", "shop:3", "  replicas: 0")).await;
    merge(
        &site,
        "ReplicationController web",
        json!({"metadata": {"annotations": {"towpath.dev/commit": "f".repeat(40)}}}),
    )
    .await;
    let error = site.run(&step).await.unwrap_err();
    assert!(is_changed(&error), "{error:?}");
}

#[tokio::test]
async fn it_may_also_move_between_the_dry_run_and_the_apply() {
    let Some(site) = Site::new("between").await else {
        return;
    };
    let web = |image: &str| workload("web", image, "  replicas: 0");
    site.apply(&web("shop:1")).await.unwrap();
    let site = Arc::new(site);
    for (image, patch, expected) in [
        ("shop:2", None, true),
        (
            "shop:3",
            Some(json!({"spec": {"minReadySeconds": 1}})),
            false,
        ),
    ] {
        let step = site.plan(&web(image)).await;
        let mut met = false;
        let other = site.clone();
        let client = Between::client(site.client.clone(), move |line| {
            let is_apply = line.contains("/replicationcontrollers/")
                && line.contains("force=")
                && !line.contains("dryRun");
            if !is_apply || std::mem::replace(&mut met, true) {
                return Fate::Pass;
            }
            let (site, patch) = (other.clone(), patch.clone());
            Fate::After(Box::pin(async move {
                match patch {
                    Some(patch) => merge(&site, "ReplicationController web", patch).await,
                    None => status(&site, "ReplicationController web", 9).await,
                }
            }))
        });
        let applied = site.run_with(client, &step).await;
        assert_eq!(
            applied.as_ref().err().map(is_changed),
            (!expected).then_some(true),
            "{applied:?}"
        );
        let live = site.live("ReplicationController web").await.unwrap();
        let container = &live["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["image"] == json!(image), expected);
    }
}
