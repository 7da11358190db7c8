//! What is sent and written where nothing stands in the way, and that nothing more is.

use serde_json::json;
use towpath::cluster::kubernetes::marks;

use super::site::{Site, config_map, metadata, workload};

#[tokio::test]
async fn a_new_object_costs_a_dry_run_and_an_apply_and_carries_its_marks() {
    let Some(site) = Site::new("plain").await else {
        return;
    };
    let manifests = config_map("one", "a") + &workload("web", "shop:1", "  replicas: 0");
    site.apply(&manifests).await.unwrap();
    let parent = site.set.set().name.replace(&site.namespace, "NS");
    let mut asked = site.asked();
    asked.sort();
    let expected = [
        "apply configmaps/one".to_owned(),
        format!("apply configmaps/{parent}"),
        "apply replicationcontrollers/web".to_owned(),
        "dry run configmaps/one".to_owned(),
        "dry run replicationcontrollers/web".to_owned(),
        format!("get configmaps/{parent}"),
    ];
    assert_eq!(asked, expected);

    let web = site.live("ReplicationController web").await.unwrap();
    let mark = marks::mark(&metadata(&web)).expect("it is marked");
    assert_eq!(mark.application.as_str(), "shop");
    assert_eq!(mark.environment.as_str(), site.namespace);
    assert_eq!(mark.commit.to_string(), format!("{:0>40}", 1));
    assert_eq!(
        web["metadata"]["labels"][marks::PART_OF],
        json!(site.set.set().id)
    );
    let managers = &web["metadata"]["managedFields"];
    assert_eq!(
        (&managers[0]["manager"], &managers[0]["operation"]),
        (&json!("towpath"), &json!("Apply"))
    );
    let returned: Vec<_> = site
        .sight
        .returned
        .lock()
        .unwrap()
        .iter()
        .map(|it| it["metadata"]["name"].clone())
        .collect();
    assert_eq!(
        returned,
        ["one", "web"],
        "what workloads read comes before them"
    );

    // The parent is known now, and an object of known kinds asks for nothing else.
    let before = site.asked();
    let changed = config_map("one", "b") + &workload("web", "shop:1", "  replicas: 0");
    site.apply(&changed).await.unwrap();
    assert_eq!(
        site.asked_since(&before),
        ["dry run configmaps/one", "apply configmaps/one"]
    );
    let one = site.live("ConfigMap one").await.unwrap();
    assert_eq!(
        one["metadata"]["annotations"][marks::COMMIT],
        json!(format!("{:0>40}", 2))
    );
    let web = site.live("ReplicationController web").await.unwrap();
    assert_eq!(
        web["metadata"]["annotations"][marks::COMMIT],
        json!(format!("{:0>40}", 1))
    );
}

#[tokio::test]
async fn what_is_as_it_should_be_does_not_move() {
    let Some(site) = Site::new("still").await else {
        return;
    };
    let manifests = config_map("one", "a") + &workload("web", "shop:1", "  replicas: 0");
    site.apply(&manifests).await.unwrap();
    let version = async |text: &str| metadata(&site.live(text).await.unwrap()).resource_version;
    let before = (version("ConfigMap one").await, site.asked().len());
    site.apply(&manifests).await.unwrap();
    assert_eq!(
        (version("ConfigMap one").await, site.asked().len()),
        before,
        "nothing to do, nothing asked"
    );

    // Asked to apply it all the same, as drift is set back, nothing moves either.
    let mut again = site.plan(&manifests).await;
    for object in &again.rendered.objects {
        let live = site.find(&object.reference).await.unwrap();
        again.change.push(towpath::plan::Change {
            reference: object.reference.clone(),
            version: live.metadata.resource_version,
            hash: object.hash(),
            anew: false,
        });
    }
    site.run(&again).await.unwrap();
    assert_eq!(version("ConfigMap one").await, before.0);
    let one = site.live("ConfigMap one").await.unwrap();
    let commit = &one["metadata"]["annotations"][marks::COMMIT];
    assert_eq!(
        *commit,
        json!(format!("{:0>40}", 1)),
        "where it last changed"
    );
}

#[tokio::test]
async fn one_refusal_and_nothing_is_applied() {
    let Some(site) = Site::new("partial").await else {
        return;
    };
    let good = config_map("good", "a");
    let bad = "---\napiVersion: v1\nkind: Service\nmetadata: { name: bad }\nspec: { ports: [{ port: 0 }] }\n";
    let unknown = workload("web", "shop:1", "  replica: 0");
    for (bad, expected) in [
        (
            bad,
            "Service NS/bad is refused: spec.ports[0].port: Invalid value: 0",
        ),
        (
            unknown.as_str(),
            ".spec.replica: field not declared in schema",
        ),
    ] {
        let expected = expected.replace("NS", &site.namespace);
        let error = site.refuses(&(good.clone() + bad), &expected).await;
        assert!(
            error.to_string().contains("kubernetes/shop.yaml:"),
            "{error}"
        );
        assert_eq!(site.live("ConfigMap good").await, None);
        assert_eq!(
            site.parent().await,
            None,
            "the set does not name what is not to come"
        );
    }
    let applied = site
        .asked()
        .into_iter()
        .filter(|line| line.starts_with("apply"));
    assert_eq!(applied.count(), 0);
}

#[tokio::test]
async fn objects_live_where_the_cluster_says() {
    let Some(mut site) = Site::new("where").await else {
        return;
    };
    let class = "---\napiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: { name: NS }\nvalue: 7\n";
    site.apply(&(class.to_owned() + &config_map("one", "a")))
        .await
        .unwrap();
    let name = format!("PriorityClass.scheduling.k8s.io {}", site.namespace);
    let class = site.live(&name).await.unwrap();
    assert_eq!(class["metadata"]["namespace"], json!(null));
    let (kinds, namespaces) = site.parent().await.unwrap();
    assert_eq!(kinds, "ConfigMap,PriorityClass.scheduling.k8s.io");
    assert_eq!(namespaces, "", "the parent's own goes without saying");
    site.delete(&name).await;

    // What an application may not hold is refused before anything is asked.
    site.allowed = Some(vec![site.namespace.clone()]);
    let before = site.asked();
    let elsewhere =
        config_map("two", "a").replace("name: two", "namespace: kube-system, name: two");
    site.refuses(
        &elsewhere,
        "`kube-system` is somebody else's (kubernetes/shop.yaml:2)",
    )
    .await;
    assert_eq!(site.asked_since(&before), [] as [&str; 0]);
}

#[tokio::test]
async fn what_a_later_step_applies_is_judged_with_the_first() {
    let Some(site) = Site::new("later").await else {
        return;
    };
    let good = config_map("first", "a") + &config_map("second", "a");
    let bad = config_map("first", "a")
        + "---\napiVersion: v1\nkind: Service\nmetadata: { name: second }\nspec: { ports: [{ port: 0 }] }\n";
    for (manifests, refused) in [(bad, true), (good, false)] {
        let mut step = site.plan(&manifests).await;
        step.later = step.change.split_off(1);
        let before = site.asked();
        let done = site.run(&step).await;
        assert_eq!(done.is_err(), refused, "{done:?}");
        assert_eq!(site.live("ConfigMap first").await.is_some(), !refused);
        assert_eq!(site.live("ConfigMap second").await, None);
        let asked = site.asked_since(&before);
        assert_eq!(
            asked
                .iter()
                .filter(|line| line.starts_with("dry run"))
                .count(),
            2
        );
    }
}
