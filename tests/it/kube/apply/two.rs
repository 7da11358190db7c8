//! Two processes on one environment: what one knows of the set's parent, the other may have changed.

use std::sync::Arc;

use kube::api::{Patch, PatchParams};
use serde_json::json;
use towpath::cluster::kubernetes::marks::{self, Set};
use towpath::cluster::kubernetes::set::{ApplySet, Members};

use super::between::{Between, Fate};
use super::site::{Site, config_map, workload};

fn set(site: &Site) -> ApplySet {
    let environment = site.namespace.parse().unwrap();
    ApplySet::new(Set::of(&environment, &site.namespace), site.client.clone())
}

/// What is known to be out there.
fn known(site: &Site, kinds: &[&str]) {
    *site.sight.members.lock().unwrap() = Some(Members {
        kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
        namespaces: [site.namespace.clone()].into(),
    });
}

const BOTH: &str = "ConfigMap,ReplicationController";

fn web() -> String {
    workload("web", "shop", "  replicas: 0")
}

/// The other process deletes the workload, and takes its kind out of the parent.
async fn shrink(site: &Site) {
    let one = config_map("one", "a");
    let step = site.plan(&one).await;
    let step = site.prune(step, &["ReplicationController web"]).await;
    known(site, &["ConfigMap"]);
    site.run(&step).await.unwrap();
    assert_eq!(site.parent().await.unwrap().0, "ConfigMap");
}

#[tokio::test]
async fn a_kind_that_another_process_took_out_is_named_again() {
    let Some(mut site) = Site::new("stale").await else {
        return;
    };
    let one = config_map("one", "a");
    site.apply(&(one.clone() + &web())).await.unwrap();
    let mut other = set(&site);
    for case in ["seen to be gone", "not seen yet"] {
        assert_eq!(site.parent().await.unwrap().0, BOTH, "{case}");
        std::mem::swap(&mut site.set, &mut other);
        shrink(&site).await;
        std::mem::swap(&mut site.set, &mut other);
        match case {
            // Its watch has told of the workload, and not of the parent.
            "seen to be gone" => {
                known(&site, &["ConfigMap"]);
                site.apply(&(one.clone() + &web())).await.unwrap();
            }
            // Its watch is behind; whatever is applied once it is not mends it.
            _ => {
                known(&site, &["ConfigMap", "ReplicationController"]);
                site.apply(&(one.clone() + &web())).await.unwrap();
                site.set.noticed(Some("newer"));
                site.apply(&(config_map("one", "b") + &web()))
                    .await
                    .unwrap();
            }
        }
        assert_eq!(site.parent().await.unwrap().0, BOTH, "{case}");
        other.noticed(Some("newer"));
    }
}

#[tokio::test]
async fn a_kind_that_is_taken_out_while_it_is_applied_is_named_again() {
    let Some(site) = Site::new("meanwhile").await else {
        return;
    };
    let one = config_map("one", "a");
    site.apply(&(one.clone() + &web())).await.unwrap();
    known(&site, &["ConfigMap", "ReplicationController"]);
    let second = workload("second", "shop", "  replicas: 0");
    let step = site.plan(&(one + &web() + &second)).await;
    let site = Arc::new(site);
    let (other, mut met) = (site.clone(), false);
    let client = Between::client(site.client.clone(), move |line| {
        let is_apply = line.contains("/replicationcontrollers/second")
            && line.contains("force=")
            && !line.contains("dryRun");
        if !is_apply || std::mem::replace(&mut met, true) {
            return Fate::Pass;
        }
        let site = other.clone();
        Fate::After(Box::pin(async move {
            let name = site.set.set().name.clone();
            let api = site.api(&format!("ConfigMap {name}")).await;
            let out = json!({ "metadata": { "annotations": { marks::GROUP_KINDS: "ConfigMap" } } });
            let out = Patch::Merge(&out);
            api.patch(&name, &PatchParams::default(), &out)
                .await
                .unwrap();
            site.set.noticed(Some("newer"));
        }))
    });
    site.run_with(client, &step).await.unwrap();
    assert_eq!(site.parent().await.unwrap().0, BOTH);
}
