//! What is deleted, what is not, and what the set's parent says of it.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use towpath::cluster::ClusterError;
use towpath::cluster::kubernetes::marks;
use towpath::cluster::kubernetes::set::Members;

use super::super::bed;
use super::site::{Site, config_map, workload};

/// Tells what carries the environment's mark, as whoever watches the cluster would.
fn members(site: &Site, kinds: &[&str], namespaces: &[&str]) {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    *site.sight.members.lock().unwrap() = Some(Members {
        kinds: owned(kinds),
        namespaces: owned(namespaces),
    });
}

async fn merge(site: &Site, object: &str, patch: Value) {
    let (_, name) = object.split_once(' ').unwrap();
    let api = site.api(object).await;
    api.patch(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
}

#[tokio::test]
async fn what_is_no_longer_asked_for_goes_and_the_parent_follows() {
    let Some(site) = Site::new("prune").await else {
        return;
    };
    let kept = config_map("kept", "a");
    site.apply(
        &(kept.clone() + &config_map("gone", "a") + &workload("web", "shop", "  replicas: 0")),
    )
    .await
    .unwrap();
    assert_eq!(
        site.parent().await.unwrap().0,
        "ConfigMap,ReplicationController"
    );
    let step = site.plan(&kept).await;
    let step = site
        .prune(step, &["ConfigMap gone", "ReplicationController web"])
        .await;
    members(&site, &["ConfigMap"], &[&site.namespace]);
    let before = site.asked();
    site.run(&step).await.unwrap();
    let parent = site.set.set().name.replace(&site.namespace, "NS");
    assert_eq!(
        site.asked_since(&before),
        [
            "delete replicationcontrollers/web".to_owned(),
            "delete configmaps/gone".to_owned(),
            format!("get configmaps/{parent}"),
            format!("apply configmaps/{parent}"),
        ]
    );
    assert_eq!(site.marked("ConfigMap").await, ["kept"]);
    assert_eq!(site.parent().await.unwrap().0, "ConfigMap");
    let deleted: Vec<_> = site
        .sight
        .deleted
        .lock()
        .unwrap()
        .iter()
        .map(|it| it.name.clone())
        .collect();
    assert_eq!(deleted, ["web", "gone"]);

    // Once more: it is gone, and that is what was wanted.
    site.run(&step).await.unwrap();
}

#[tokio::test]
async fn only_the_very_object_goes_while_it_is_ours() {
    let Some(site) = Site::new("careful").await else {
        return;
    };
    for (case, changed, left) in [
        ("moved", false, false),
        ("handed over", true, true),
        ("seen to be handed over", true, true),
        ("said to be kept", true, true),
        ("seen to be kept", true, true),
        ("taken by an owner", true, true),
        ("replaced", true, true),
        ("gone", false, false),
    ] {
        if site.live("ConfigMap one").await.is_some() {
            site.delete("ConfigMap one").await;
        }
        let both = config_map("one", "a") + &config_map("two", "a");
        site.apply(&both).await.unwrap();
        let step = site.plan(&config_map("two", "a")).await;
        let step = site.prune(step, &["ConfigMap one"]).await;
        match case {
            "moved" => merge(&site, "ConfigMap one", json!({"data": {"other": "x"}})).await,
            "handed over" | "seen to be handed over" => {
                let label = json!({"metadata": {"labels": {marks::APPLICATION: "another"}}});
                merge(&site, "ConfigMap one", label).await;
            }
            "said to be kept" | "seen to be kept" => {
                let keep = json!({"metadata": {"annotations": {marks::PRUNE: "disabled"}}});
                merge(&site, "ConfigMap one", keep).await;
            }
            "taken by an owner" => {
                let two = site.live("ConfigMap two").await.unwrap();
                let uid = &two["metadata"]["uid"];
                let owner =
                    json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "two", "uid": uid});
                let owned = json!({"metadata": {"ownerReferences": [owner]}});
                merge(&site, "ConfigMap one", owned).await;
            }
            "replaced" => {
                site.delete("ConfigMap one").await;
                drop(site.apply(&both).await.unwrap());
            }
            _ => site.delete("ConfigMap one").await,
        }
        // What the watcher saw is what the plan was made on, or something newer.
        let step = match case {
            "seen to be handed over" | "seen to be kept" => {
                let again = towpath::plan::Apply {
                    prune: Vec::new(),
                    ..step
                };
                site.prune(again, &["ConfigMap one"]).await
            }
            _ => step,
        };
        let result = site.run(&step).await;
        let is_changed = matches!(result, Err(ClusterError::Changed { .. }));
        assert_eq!(
            (is_changed, result.is_ok()),
            (changed, !changed),
            "{case}: {result:?}"
        );
        assert_eq!(site.live("ConfigMap one").await.is_some(), left, "{case}");
    }
}

#[tokio::test]
async fn what_is_not_let_go_keeps_nothing_else_and_stays_in_the_set() {
    let Some(site) = Site::new("survivor").await else {
        return;
    };
    let all = [
        config_map("kept", "a"),
        config_map("gone", "a"),
        workload("web", "shop", "  replicas: 0"),
    ]
    .concat();
    site.apply(&all).await.unwrap();
    super::refused::policy(
        &site,
        "request.operation != 'DELETE' || oldObject.metadata.name != 'kept'",
        async || {
            let api = site.api("ConfigMap kept").await;
            let parameters = kube::api::DeleteParams::default().dry_run();
            api.delete("kept", &parameters).await.is_err()
        },
    )
    .await;
    let step = site.plan(&workload("web", "shop", "  replicas: 0")).await;
    let step = site
        .prune(step, &["ConfigMap kept", "ConfigMap gone"])
        .await;
    members(
        &site,
        &["ConfigMap", "ReplicationController"],
        &[&site.namespace],
    );
    let error = site.run(&step).await.unwrap_err();
    assert!(matches!(error, ClusterError::Prevented { .. }), "{error:?}");
    let said = error.to_string();
    assert!(
        said.contains("/kept") && said.contains("cannot be deleted") && said.contains("not so"),
        "{said}"
    );
    assert_eq!(site.marked("ConfigMap").await, ["kept"]);
    assert_eq!(
        site.parent().await.unwrap().0,
        "ConfigMap,ReplicationController"
    );

    // What has something to finish first is on its way, which is no error.
    let finalizer = json!({"metadata": {"finalizers": ["example.com/wait"]}});
    merge(&site, "ReplicationController web", finalizer).await;
    let step = site.plan(&config_map("kept", "a")).await;
    let step = site.prune(step, &["ReplicationController web"]).await;
    site.run(&step).await.unwrap();
    let web = site.live("ReplicationController web").await.unwrap();
    assert!(web["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(
        site.parent().await.unwrap().0,
        "ConfigMap,ReplicationController"
    );
    merge(
        &site,
        "ReplicationController web",
        json!({"metadata": {"finalizers": null}}),
    )
    .await;
}

#[tokio::test]
async fn the_parent_names_what_comes_before_it_comes_and_what_failed_half_way() {
    let Some(site) = Site::new("parent").await else {
        return;
    };
    site.apply(&config_map("one", "a")).await.unwrap();
    // The second of two Secrets exceeds the quota, which no dry run shows.
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": { "name": "small", "namespace": site.namespace },
        "spec": { "hard": { "count/secrets": "1" } },
    });
    bed::apply(&site.admin, &quota).await.unwrap();
    bed::wait(
        site.api("ResourceQuota small").await,
        "small",
        |it: Option<&kube::api::DynamicObject>| {
            it.is_some_and(|it| it.data["status"]["used"]["count/secrets"] == "0")
        },
    )
    .await;
    let secret =
        |name: &str| format!("---\napiVersion: v1\nkind: Secret\nmetadata: {{ name: {name} }}\n");
    let manifests = config_map("one", "a")
        + &secret("a")
        + &secret("b")
        + &workload("web", "shop", "  replicas: 0");
    let error = site.refuses(&manifests, "exceeded quota: small").await;
    assert!(matches!(error, ClusterError::Prevented { .. }), "{error:?}");
    assert_eq!(site.marked("Secret").await.len(), 1, "one of them was made");
    assert_eq!(
        site.live("ReplicationController web").await,
        None,
        "its stage did not come"
    );
    assert_eq!(
        site.parent().await.unwrap().0,
        "ConfigMap,ReplicationController,Secret"
    );

    // A parent that somebody deleted is whole again with the next apply that is told of it.
    site.delete(&format!("ConfigMap {}", site.set.set().name))
        .await;
    site.set.noticed(None);
    members(
        &site,
        &["ConfigMap", "Secret"],
        &[&site.namespace, "elsewhere"],
    );
    site.apply(&config_map("one", "b")).await.unwrap();
    assert_eq!(
        site.parent().await.unwrap(),
        ("ConfigMap,Secret".to_owned(), "elsewhere".to_owned())
    );
}

#[tokio::test]
async fn a_parent_of_somebody_else_is_not_touched() {
    let Some(site) = Site::new("tooling").await else {
        return;
    };
    let set = site.set.set();
    for (id, tool, expected) in [
        (
            set.id.as_str(),
            "kubectl/v1.36",
            "the set belongs to the tool `kubectl`",
        ),
        (
            "applyset-other-v1",
            "towpath/v0.1.0",
            "it has the name of this environment's set, and is not",
        ),
    ] {
        let parent = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": set.name, "namespace": set.namespace,
                "labels": { marks::SET_ID: id }, "annotations": { marks::TOOLING: tool },
            },
        });
        bed::apply(&site.admin, &parent).await.unwrap();
        let error = site.refuses(&config_map("one", "a"), expected).await;
        assert!(matches!(error, ClusterError::Prevented { .. }), "{error:?}");
        assert_eq!(site.live("ConfigMap one").await, None);
        site.delete(&format!("ConfigMap {}", set.name)).await;
    }
}

#[tokio::test]
async fn two_applies_at_once_both_have_their_kinds_named() {
    let Some(site) = Site::new("twice").await else {
        return;
    };
    let one = site.plan(&config_map("one", "a")).await;
    let two = site.plan(&workload("web", "shop", "  replicas: 0")).await;
    let (one, two) = tokio::join!(site.run(&one), site.run(&two));
    one.unwrap();
    two.unwrap();
    assert_eq!(
        site.parent().await.unwrap().0,
        "ConfigMap,ReplicationController"
    );
}
