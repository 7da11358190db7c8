//! Fields that others hold: taken and named, taken over, respected, or a reason to refuse.

use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use towpath::cluster::kubernetes::marks::PART_OF;
use towpath::cluster::{ClusterError, Taken};
use towpath::model::Conflicts;

use super::between::{Between, Fate};
use super::site::{Site, config_map, workload};

const CLIENT_SIDE: &str = "kubectl-client-side-apply";

/// Makes an object with a plain create, as this manager.
async fn made_by(site: &Site, manager: &str, manifest: &str) {
    let object: DynamicObject = serde_json::from_value(value(site, manifest)).unwrap();
    let api = site.api(&named(&object)).await;
    let parameters = PostParams {
        field_manager: Some(manager.to_owned()),
        ..PostParams::default()
    };
    api.create(&parameters, &object).await.unwrap();
}

/// Applies an object as another tool would, taking what it wants.
async fn applied_by(site: &Site, manager: &str, manifest: &str) {
    let value = value(site, manifest);
    let object: DynamicObject = serde_json::from_value(value.clone()).unwrap();
    let api = site.api(&named(&object)).await;
    let parameters = PatchParams::apply(manager).force();
    let name = object.metadata.name.unwrap();
    api.patch(&name, &parameters, &Patch::Apply(&value))
        .await
        .unwrap();
}

/// Changes an object by a merge patch, as this manager.
async fn merged_by(site: &Site, manager: &str, object: &str, patch: Value) {
    let parameters = PatchParams {
        field_manager: Some(manager.to_owned()),
        ..PatchParams::default()
    };
    let (_, name) = object.split_once(' ').unwrap();
    let api = site.api(object).await;
    api.patch(name, &parameters, &Patch::Merge(&patch))
        .await
        .unwrap();
}

fn value(site: &Site, manifest: &str) -> Value {
    // As it stands: what is rendered has none of the marks that other tools write.
    let mut value: Value = serde_yaml::from_str(manifest).unwrap();
    value["metadata"]["namespace"] = json!(site.namespace);
    value
}

fn named(object: &DynamicObject) -> String {
    let kind = &object.types.as_ref().unwrap().kind;
    format!("{kind} {}", object.metadata.name.as_ref().unwrap())
}

/// Who holds fields of an object: `manager operation`.
async fn managers(site: &Site, object: &str) -> Vec<String> {
    let live = site.live(object).await.unwrap();
    let entries = live["metadata"]["managedFields"].as_array().unwrap().iter();
    let entries = entries.filter(|entry| entry["subresource"].is_null());
    entries
        .map(|entry| {
            let text = |key: &str| entry[key].as_str().unwrap().to_owned();
            format!("{} {}", text("manager"), text("operation"))
        })
        .collect()
}

fn taken_from(taken: &[Taken], manager: &str) -> Vec<String> {
    let of = taken.iter().filter(|taken| taken.manager == manager);
    of.flat_map(|taken| taken.fields.clone()).collect()
}

#[tokio::test]
async fn fields_of_others_are_taken_and_named_or_a_reason_to_refuse() {
    let Some(mut site) = Site::new("conflict").await else {
        return;
    };
    let ours = workload("web", "shop:2", "  replicas: 2");
    applied_by(&site, "scaler", &workload("web", "shop:1", "  replicas: 5")).await;
    site.conflicts = Conflicts::Refuse;
    let error = site.refuses(&ours, "`scaler` holds ").await.to_string();
    for part in [
        "`.spec.replicas`",
        "`.spec.template.spec.containers[name=\"web\"].image`",
        "`conflicts: force`",
    ] {
        assert!(error.contains(part), "{error}");
    }
    let web = site.live("ReplicationController web").await.unwrap();
    assert_eq!(web["spec"]["replicas"], json!(5));

    site.conflicts = Conflicts::Force;
    let applied = site.apply(&ours).await.unwrap();
    let fields = taken_from(&applied.taken, "scaler");
    assert_eq!(
        fields,
        [
            ".spec.replicas",
            ".spec.template.spec.containers[name=\"web\"].image"
        ]
    );
    let web = site.live("ReplicationController web").await.unwrap();
    assert_eq!(web["spec"]["replicas"], json!(2));

    // Where nobody else's field would change, nothing is taken and nothing more is asked.
    let before = site.asked();
    let applied = site
        .apply(&workload("web", "shop:3", "  replicas: 2"))
        .await
        .unwrap();
    assert_eq!(applied.taken, []);
    assert_eq!(
        site.asked_since(&before),
        [
            "dry run replicationcontrollers/web",
            "apply replicationcontrollers/web"
        ]
    );
}

#[tokio::test]
async fn what_kubectl_applied_becomes_ours() {
    for manager in [CLIENT_SIDE, "before-first-apply"] {
        let Some(site) = Site::new("kubectl").await else {
            return;
        };
        let theirs = workload("web", "shop:1", "  replicas: 0").replace(
            "image: \"shop:1\"",
            "image: \"shop:1\", env: [{ name: OLD, value: x }]",
        );
        let theirs = theirs.replace("name: web }\nspec", "name: web, annotations: { kubectl.kubernetes.io/last-applied-configuration: \"{}\" }, labels: { old: \"1\" } }\nspec");
        made_by(&site, manager, &theirs).await;

        let applied = site
            .apply(&workload("web", "shop:2", "  replicas: 0"))
            .await
            .unwrap();
        let parent = site.set.set().name.replace(&site.namespace, "NS");
        let asked: Vec<_> = site
            .asked()
            .into_iter()
            .filter(|line| !line.contains(&parent))
            .collect();
        assert_eq!(
            asked,
            [
                "dry run replicationcontrollers/web",
                "get replicationcontrollers/web",
                "edit replicationcontrollers/web",
                "dry run replicationcontrollers/web",
                "apply replicationcontrollers/web",
            ]
        );
        let web = site.live("ReplicationController web").await.unwrap();
        assert_eq!(
            web["metadata"]["labels"]["old"],
            json!(null),
            "what the manifest does not state goes"
        );
        assert_eq!(
            web["spec"]["template"]["spec"]["containers"][0]["env"],
            json!(null)
        );
        assert_eq!(
            web["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"],
            json!(null)
        );
        assert_eq!(
            managers(&site, "ReplicationController web").await,
            ["towpath Apply"]
        );
        assert!(
            !taken_from(&applied.taken, manager).is_empty(),
            "{applied:?}"
        );

        // From then on it costs what every object costs.
        let before = site.asked();
        site.apply(&workload("web", "shop:3", "  replicas: 0"))
            .await
            .unwrap();
        assert_eq!(site.asked_since(&before).len(), 2);
    }
}

#[tokio::test]
async fn a_list_item_that_another_manager_holds_too_is_no_obstacle() {
    let Some(site) = Site::new("item").await else {
        return;
    };
    // Ports are told apart by number: both would stand there under one name, which is not valid.
    let port = |number: u16| {
        workload("web", "shop:1", "  replicas: 0").replace(
            "image: \"shop:1\"",
            &format!("image: \"shop:1\", ports: [{{ name: http, containerPort: {number} }}]"),
        )
    };
    made_by(&site, CLIENT_SIDE, &port(80)).await;
    site.apply(&port(8080)).await.unwrap();
    let web = site.live("ReplicationController web").await.unwrap();
    let ports = &web["spec"]["template"]["spec"]["containers"][0]["ports"];
    assert_eq!(
        *ports,
        json!([{ "name": "http", "containerPort": 8080, "protocol": "TCP" }])
    );
}

#[tokio::test]
async fn what_a_person_did_with_kubectl_is_undone_but_for_restarts() {
    let Some(mut site) = Site::new("person").await else {
        return;
    };
    let annotate =
        |name: &str| json!({"spec": {"template": {"metadata": {"annotations": { name: "now" }}}}});
    for (conflicts, left) in [
        (Conflicts::Refuse, json!("now")),
        (Conflicts::Force, json!(null)),
    ] {
        site.conflicts = conflicts;
        let name = format!("{conflicts:?}").to_lowercase();
        let object = format!("ReplicationController {name}");
        site.apply(&workload(&name, "shop:1", "  replicas: 0"))
            .await
            .unwrap();
        merged_by(&site, "kubectl-edit", &object, annotate("edited")).await;
        merged_by(&site, "kubectl-rollout", &object, annotate("restarted")).await;
        merged_by(&site, "injector", &object, annotate("injected")).await;
        site.apply(&workload(&name, "shop:2", "  replicas: 0"))
            .await
            .unwrap();
        let live = site.live(&object).await.unwrap();
        let annotations = &live["spec"]["template"]["metadata"]["annotations"];
        assert_eq!(annotations["edited"], left);
        assert_eq!(annotations["restarted"], json!("now"));
        assert_eq!(
            annotations["injected"],
            json!("now"),
            "what others own and no manifest states is theirs"
        );
    }
}

#[tokio::test]
async fn an_autoscaler_keeps_what_the_manifest_does_not_state() {
    let Some(site) = Site::new("scaled").await else {
        return;
    };
    site.apply(&workload("web", "shop:1", "  replicas: 2"))
        .await
        .unwrap();
    let api = site.api("ReplicationController web").await;
    let scale = Patch::Merge(json!({"spec": {"replicas": 4}}));
    let parameters = PatchParams {
        field_manager: Some("kube-controller-manager".to_owned()),
        ..PatchParams::default()
    };
    api.patch_scale("web", &parameters, &scale).await.unwrap();
    let applied = site.apply(&workload("web", "shop:2", "")).await.unwrap();
    assert_eq!(applied.taken, []);
    assert_eq!(
        site.live("ReplicationController web").await.unwrap()["spec"]["replicas"],
        json!(4)
    );
    // Stated, it is taken, and told.
    let applied = site
        .apply(&workload("web", "shop:2", "  replicas: 1"))
        .await
        .unwrap();
    assert_eq!(
        taken_from(&applied.taken, "kube-controller-manager"),
        [".spec.replicas"]
    );
}

#[tokio::test]
async fn an_engines_objects_become_ours_where_that_is_allowed() {
    let flux = "labels: { kustomize.toolkit.fluxcd.io/name: shop }";
    let helm = "annotations: { meta.helm.sh/release-name: shop }, labels: { app.kubernetes.io/managed-by: Helm }";
    for (engine, manager, marked) in [
        ("flux", "kustomize-controller", flux),
        ("helm", "helm", helm),
    ] {
        let Some(mut site) = Site::new("engine").await else {
            return;
        };
        let ours = workload("web", "shop:1", "  replicas: 0");
        let theirs = ours.replace(
            "name: web }\nspec",
            &format!("name: web, {marked} }}\nspec"),
        );
        match engine {
            "flux" => applied_by(&site, manager, &theirs).await,
            _ => made_by(&site, manager, &theirs).await,
        }
        site.engines = vec![engine.to_owned()];
        let applied = site.apply(&ours).await.unwrap();
        assert!(!taken_from(&applied.taken, manager).is_empty());
        assert_eq!(
            managers(&site, "ReplicationController web").await,
            ["towpath Apply"]
        );
        let web = site.live("ReplicationController web").await.unwrap();
        let metadata = web["metadata"].to_string();
        assert!(
            !metadata.contains("fluxcd") && !metadata.contains("meta.helm.sh"),
            "{metadata}"
        );
    }
}

#[tokio::test]
async fn an_object_of_another_set_is_refused() {
    let Some(site) = Site::new("foreign").await else {
        return;
    };
    for (manager, expected) in [
        (
            "kapp",
            "it belongs to another ApplySet, which `kapp` applies",
        ),
        ("kubectl", "it belongs to another ApplySet: take its label"),
    ] {
        let ours = workload(manager, "shop:1", "  replicas: 0");
        let theirs = ours.replace(
            " }\nspec",
            &format!(", labels: {{ {PART_OF}: applyset-x-v1 }} }}\nspec"),
        );
        applied_by(&site, manager, &theirs).await;
        let error = site.refuses(&ours, expected).await;
        assert!(matches!(error, ClusterError::Refused { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn what_was_taken_is_told_even_if_the_apply_failed_after_it() {
    let Some(site) = Site::new("told").await else {
        return;
    };
    applied_by(&site, "scaler", &config_map("one", "theirs")).await;
    let step = site
        .plan(&(config_map("one", "ours") + &workload("web", "shop", "  replicas: 0")))
        .await;
    let client = Between::client(site.client.clone(), |line| {
        let is_apply = line.contains("/replicationcontrollers/") && !line.contains("dryRun");
        match is_apply {
            true => Fate::Answered(503, "{}".to_owned()),
            false => Fate::Pass,
        }
    });
    let error = site.run_with(client, &step).await.unwrap_err();
    assert!(
        matches!(error, ClusterError::Unavailable { .. }),
        "{error:?}"
    );
    let again = site.plan(&workload("web", "shop", "  replicas: 0")).await;
    let applied = site.run(&again).await.unwrap();
    assert_eq!(taken_from(&applied.taken, "scaler"), [".data.key"]);
    let again = site.plan(&workload("web", "shop:2", "  replicas: 0")).await;
    assert_eq!(site.run(&again).await.unwrap().taken, []);
}
