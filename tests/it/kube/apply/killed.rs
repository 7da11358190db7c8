//! Killed at any request, before it is sent or before its answer came: nothing is there without an owner, and
//! the next apply finishes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;
use towpath::cluster::kubernetes::marks;

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
