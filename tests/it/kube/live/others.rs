//! Other people's objects, and what other units ask for.

use serde_json::json;
use towpath::clock;
use towpath::cluster::{ReadCluster as _, UnitScope};
use towpath::present::diff::Trial;

use super::super::bed::apply;
use super::site::{BLOG, SHOP, Site, only, rendered};

fn config_map(name: &str) -> String {
    format!("{{ apiVersion: v1, kind: ConfigMap, metadata: {{ name: {name} }} }}\n")
}

#[tokio::test]
async fn whose_an_object_is_is_told() {
    let Some(bed) = super::super::shared() else {
        return;
    };
    let site = Site::new(bed, "whose").await;
    let cases = [
        (json!({}), None),
        (
            json!({ "labels": { "kustomize.toolkit.fluxcd.io/name": "apps" } }),
            Some("flux"),
        ),
        (
            json!({ "labels": { "helm.toolkit.fluxcd.io/name": "apps" } }),
            Some("flux"),
        ),
        (
            json!({ "annotations": { "argocd.argoproj.io/tracking-id": "shop:/ConfigMap:x/y" } }),
            Some("argocd"),
        ),
        (
            json!({ "annotations": { "meta.helm.sh/release-name": "shop" } }),
            Some("helm"),
        ),
        (
            json!({ "labels": { "applyset.kubernetes.io/part-of": "applyset-x-v1" } }),
            Some("applyset"),
        ),
    ];
    // What is not ours is not followed: what was listed is believed for a while.
    for (number, (metadata, _)) in cases.iter().enumerate() {
        let name = format!("c{number}");
        let mut object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "namespace": site.namespace }, "data": { "a": "b" } });
        json_patch::merge(&mut object["metadata"], metadata);
        drop(apply(&site.admin, &object).await.unwrap());
    }
    for (number, (metadata, engine)) in cases.into_iter().enumerate() {
        let name = format!("c{number}");
        let live = site.live(&site.rendered(&config_map(&name))).await;
        let found = only(&live, "ConfigMap");
        assert_eq!(
            (found.engine.as_deref(), &found.mark),
            (engine, &None),
            "{metadata}"
        );
        assert_eq!(found.managers, ["test"], "{metadata}");
    }
}

#[tokio::test]
async fn what_is_not_to_be_deleted_says_why() {
    let Some(bed) = super::super::shared() else {
        return;
    };
    let site = Site::new(bed, "kept").await;
    let all = ["a", "b", "c"].map(config_map).join("---\n");
    site.deploy(&all).await;
    let owner = site.read("ConfigMap a").await.unwrap();
    let owned = json!({ "metadata": { "ownerReferences": [{ "apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": owner["metadata"]["uid"] }] } });
    site.change("ConfigMap b", "somebody", owned).await;
    let disabled = json!({ "metadata": { "annotations": { "towpath.dev/prune": "disabled" } } });
    site.change("ConfigMap c", "somebody", disabled).await;
    // An operator copies labels and annotations of what it was made for.
    let copy = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": "d", "namespace": site.namespace,
            "labels": owner["metadata"]["labels"], "annotations": owner["metadata"]["annotations"],
        },
    });
    drop(apply(&site.admin, &copy).await.unwrap());
    let desired = site.rendered(&config_map("a"));
    let kept = |live: &towpath::plan::Live| -> Vec<Option<String>> {
        live.objects.values().map(|it| it.kept.clone()).collect()
    };
    let live = site
        .until(&desired, |live| kept(live).iter().flatten().count() == 3)
        .await;
    assert_eq!(
        kept(&live),
        [
            None,
            Some("it belongs to ConfigMap a".to_owned()),
            Some("its annotation towpath.dev/prune says `disabled`".to_owned()),
            Some("Towpath never applied it: somebody copied its labels".to_owned()),
        ]
    );
}

#[tokio::test]
async fn what_another_unit_asks_for_is_claimed() {
    let Some(bed) = super::super::shared() else {
        return;
    };
    let mut site = Site::new(bed, "claimed").await;
    let other_environment = format!("{}-other", site.namespace);
    let other = site.restart_with(&other_environment);
    let both = ["a", "b"].map(config_map).join("---\n");
    site.deploy(&both).await;
    let desired = site.rendered(&config_map("a"));
    let claimed = |live: &towpath::plan::Live| -> Vec<Option<String>> {
        live.objects.values().map(|it| it.claimed.clone()).collect()
    };
    assert_eq!(claimed(&site.live(&desired).await), [None, None]);

    // Another application of the environment asks for what this one no longer does.
    let moved = site.rendered(&config_map("b"));
    let blog = site.unit(BLOG);
    drop(
        site.cluster
            .live(&blog, Some(&moved), clock::now())
            .await
            .unwrap(),
    );
    let by_blog = Some(format!("blog in {}", site.namespace));
    site.until(&desired, |live| claimed(live) == [None, by_blog.clone()])
        .await;
    drop(site.apply_as(BLOG, &moved).await.unwrap());
    site.until(&desired, |live| live.objects.len() == 1).await;

    // So does one of another environment on the same cluster.
    let unit = UnitScope {
        environment: other_environment.parse().unwrap(),
        application: SHOP.parse().unwrap(),
    };
    let wanted = rendered(&site.namespace, &config_map("a"));
    let seen = other
        .live(&unit, Some(&wanted), clock::now())
        .await
        .unwrap();
    let mark = only(&seen, "ConfigMap").mark.as_ref().unwrap();
    assert_eq!(mark.environment.as_str(), site.namespace);
    let by_other = Some(format!("shop in {other_environment}"));
    site.until(&desired, |live| claimed(live) == [by_other.clone()])
        .await;
}

#[tokio::test]
async fn what_would_change_is_shown_and_nothing_is() {
    let Some(bed) = super::super::shared() else {
        return;
    };
    let site = Site::new(bed, "preview").await;
    let both = ["a", "b"].map(config_map).join("---\n");
    site.deploy(&both).await;
    let manifests = r#"
{ apiVersion: v1, kind: ConfigMap, metadata: { name: a }, data: { k: v } }
---
{ apiVersion: v1, kind: Secret, metadata: { name: s }, stringData: { k: v } }
---
{ apiVersion: v1, kind: ConfigMap, metadata: { name: c, namespace: nowhere-NS } }
---
{ apiVersion: example.com/v1, kind: Unknown, metadata: { name: u } }
---
{ apiVersion: v1, kind: Service, metadata: { name: wrong }, spec: { ports: [{ port: 99999 }] } }
"#;
    let desired = site.rendered(manifests);
    let unit = site.unit(SHOP);
    let shown = site
        .cluster
        .preview(&unit, &desired, clock::now())
        .await
        .unwrap();
    let lines: Vec<String> = shown
        .iter()
        .map(|it| {
            let data = |value: &Option<serde_json::Value>| match value {
                Some(value) => value["data"].to_string(),
                None => "-".to_owned(),
            };
            let note = match &it.trial {
                Trial::Taken => String::new(),
                Trial::Refused(why) => why.clone(),
                other => format!("{other:?}"),
            };
            let note = note.replace(&site.namespace, "NS");
            format!(
                "{} {} -> {} {} {note}",
                it.reference.group_kind(),
                data(&it.before),
                data(&it.after),
                it.secret
            )
        })
        .collect();
    assert_eq!(lines.len(), 6, "{lines:#?}");
    assert_eq!(
        lines[0],
        "ConfigMap - -> null false ConfigMap nowhere-NS/c cannot be applied now: the namespace `nowhere-NS` does not exist: create it, or add its manifest"
    );
    assert_eq!(lines[1], r#"ConfigMap null -> {"k":"v"} false "#);
    assert_eq!(lines[2], r#"Secret - -> {"k":"dg=="} true "#);
    assert!(
        lines[3].starts_with("Service - -> null false ") && lines[3].contains("99999"),
        "{}",
        lines[3]
    );
    assert_eq!(
        lines[4],
        "Unknown.example.com - -> null false Unknown.example.com NS/u cannot be applied now: the cluster does not serve `Unknown.example.com`: its CRD is not installed"
    );
    assert_eq!(lines[5], "ConfigMap null -> - false ");
    let before = site.read("ConfigMap a").await.unwrap();
    assert_eq!(before["data"], serde_json::Value::Null);
}

#[tokio::test]
async fn what_comes_in_the_same_commit_is_told_as_not_tried() {
    let Some(bed) = super::super::shared() else {
        return;
    };
    let site = Site::new(bed, "untried").await;
    let manifests = "
{ apiVersion: v1, kind: Namespace, metadata: { name: new-NS } }
---
{ apiVersion: v1, kind: Secret, metadata: { name: inside, namespace: new-NS } }
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: things.NS.example.com }
spec:
  group: NS.example.com
  scope: Namespaced
  names: { plural: things, singular: thing, kind: Thing }
  versions: [{ name: v1, served: true, storage: true, schema: { openAPIV3Schema: { type: object } } }]
---
{ apiVersion: NS.example.com/v1, kind: Thing, metadata: { name: one } }
---
{ apiVersion: v1, kind: Secret, metadata: { name: s }, stringData: { port: 8080 } }
";
    let desired = site.rendered(manifests);
    let unit = site.unit(SHOP);
    let shown = site.cluster.preview(&unit, &desired, clock::now()).await;
    let lines = shown.unwrap().into_iter().map(|it| {
        let trial = match it.trial {
            Trial::Taken => "taken".to_owned(),
            Trial::Anew => "anew".to_owned(),
            Trial::Refused(why) | Trial::Left(why) => why,
            Trial::Untried(first) => format!("after {}", first[0]),
        };
        format!("{}: {trial}", it.reference).replace(&site.namespace, "NS")
    });
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "CustomResourceDefinition.apiextensions.k8s.io things.NS.example.com: taken",
            "Namespace new-NS: taken",
            "Secret NS/s: Secret NS/s is refused: failed to create typed patch object (NS/s; /v1, Kind=Secret): .data.port: expected string, and something else stands there (kubernetes/shop.yaml:17)",
            "Secret new-NS/inside: after Namespace new-NS",
            "Thing.NS.example.com NS/one: after CustomResourceDefinition.apiextensions.k8s.io things.NS.example.com",
        ]
    );
}
