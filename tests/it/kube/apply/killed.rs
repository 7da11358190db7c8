//! Killed at any request, before it is sent or before its answer came: nothing is there without an owner, and
//! the next apply finishes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::sync::Notify;
use towpath::cluster::ClusterError;
use towpath::cluster::kubernetes::marks;

use super::super::bed::Bed;
use super::between::{Between, Fate};
use super::site::{Site, config_map, metadata, workload};

#[tokio::test]
async fn killed_anywhere_nothing_is_without_an_owner() {
    let Some(site) = Site::new("killed").await else {
        return;
    };
    let role = "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: { name: NAME }\nrules: []\n";
    for unheard in [false, true] {
        for at in 0.. {
            let name = format!("k{at}-{unheard}");
            let manifests = config_map(&name, "a")
                + &workload(&name, "shop", "  replicas: 0")
                + &role.replace("NAME", &name);
            let objects =
                ["ConfigMap", "ReplicationController", "Role"].map(|kind| format!("{kind} {name}"));
            let step = site.plan(&manifests).await;
            let met = Arc::new(Notify::new());
            let was_met = Arc::new(AtomicBool::new(false));
            let (signal, flag) = (met.clone(), was_met.clone());
            let mut count = 0;
            let client = Between::client(site.client.clone(), move |_| {
                count += 1;
                if count <= at {
                    return Fate::Pass;
                }
                flag.store(true, Ordering::Relaxed);
                signal.notify_one();
                match unheard {
                    true => Fate::Unheard,
                    false => Fate::Lost,
                }
            });
            tokio::select! {
                done = site.run_with(client, &step) => drop(done.unwrap()),
                () = met.notified() => {}
            }
            let kinds = site.parent().await.unwrap_or_default().0;
            for object in &objects {
                let Some(live) = site.live(object).await else {
                    continue;
                };
                let mark = marks::mark(&metadata(&live));
                assert!(mark.is_some(), "{object} has no mark");
                assert_eq!(
                    live["metadata"]["labels"][marks::PART_OF],
                    site.set.set().id
                );
                let (kind, _) = object.split_once(' ').unwrap();
                assert!(kinds.contains(kind), "{kinds} does not name {object}");
            }
            site.apply(&manifests).await.unwrap();
            for object in &objects {
                assert!(
                    site.live(object).await.is_some(),
                    "{object} was not finished"
                );
            }
            // From here on the parent has to be written anew.
            site.delete(&format!("ConfigMap {}", site.set.set().name))
                .await;
            site.set.noticed(None);
            if !was_met.load(Ordering::Relaxed) {
                assert!(at > 5, "every request was the last one once");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_store_that_hangs_ends_by_the_deadline_and_the_next_apply_finishes() {
    let Some(bed) = super::super::own().await else {
        return;
    };
    // It ends with this process, as the shared one does.
    let bed: &'static Bed = Box::leak(Box::new(bed));
    let all = json!([{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] }]);
    let site = Site::on(bed, "frozen", Some(all)).await;
    let manifests = config_map("one", "a") + &workload("web", "shop", "  replicas: 0");
    for hangs_at in ["/configmaps/one", "/replicationcontrollers/web"] {
        let step = site.plan(&manifests).await;
        let hasty = site.hasty(Duration::from_secs(2));
        let client = Between::client(hasty, move |line| {
            match line.contains(hangs_at) && !line.contains("dryRun") {
                true => Fate::After(Box::pin(bed.plane.freeze_etcd())),
                false => Fate::Pass,
            }
        });
        let error = site.run_with(client, &step).await.unwrap_err();
        assert!(
            matches!(error, ClusterError::Unavailable { .. }),
            "{error:?}"
        );
        assert!(
            error.to_string().contains("no answer within 2 s"),
            "{error}"
        );
        bed.plane.thaw_etcd().await;
    }
    // Whether what hung was done after all, only another look tells.
    site.apply(&manifests).await.unwrap();
    for object in ["ConfigMap one", "ReplicationController web"] {
        let live = site.live(object).await.unwrap();
        assert!(marks::mark(&metadata(&live)).is_some());
    }
}
