//! What cannot change while it lives, and Jobs that run anew.

use serde_json::json;
use towpath::cluster::ClusterError;

use super::site::{Site, deployment};

const RECREATE: &str = "  annotations: { towpath.dev/recreate: \"true\" }";

fn job(name: &str, image: &str, more: &str) -> String {
    format!(
        "---\napiVersion: batch/v1\nkind: Job\nmetadata: {{ name: {name}, annotations: {{ towpath.dev/run: before }} }}\nspec:\n{more}\n  \
         template: {{ spec: {{ restartPolicy: Never, containers: [{{ name: run, image: \"{image}\" }}] }} }}\n"
    )
}

async fn uid(site: &Site, object: &str) -> String {
    let live = site.live(object).await.expect("it is there");
    live["metadata"]["uid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_cannot_change_is_refused_or_made_anew_where_the_manifest_says_so() {
    let Some(site) = Site::new("anew").await else {
        return;
    };
    let object = "Deployment web";
    site.apply(&deployment("web", "one", "")).await.unwrap();
    let first = uid(&site, object).await;

    let error = site
        .refuses(
            &deployment("web", "two", ""),
            "spec.selector: Invalid value",
        )
        .await;
    assert!(
        error
            .to_string()
            .contains("annotate it `towpath.dev/recreate: \"true\"`"),
        "{error}"
    );
    assert_eq!(uid(&site, object).await, first);

    // What is wrong otherwise deletes nothing, whatever the manifest says.
    let wrong = deployment("web", "two", RECREATE).replace(
        "matchLabels: { app: \"two\" }",
        "matchLabels: { app: \"three\" }",
    );
    let error = site
        .refuses(&wrong, "`selector` does not match template `labels`")
        .await;
    assert!(matches!(error, ClusterError::Refused { .. }), "{error:?}");
    let wrong = deployment("web", "one", RECREATE).replace("replicas: 0", "replicas: -1");
    site.refuses(&wrong, "spec.replicas: Invalid value: -1")
        .await;
    assert_eq!(uid(&site, object).await, first);

    site.apply(&deployment("web", "two", RECREATE))
        .await
        .unwrap();
    let live = site.live(object).await.unwrap();
    assert_ne!(live["metadata"]["uid"], json!(first));
    assert_eq!(live["spec"]["selector"]["matchLabels"]["app"], json!("two"));
    assert_eq!(
        live["metadata"]["labels"]["towpath.dev/application"],
        json!("shop")
    );

    // One that can be changed is changed.
    let second = uid(&site, object).await;
    site.apply(&deployment("web", "two", RECREATE).replace("image: shop", "image: shop:2"))
        .await
        .unwrap();
    assert_eq!(uid(&site, object).await, second);
}

#[tokio::test]
async fn what_holds_data_is_made_anew_only_by_its_name() {
    let Some(site) = Site::new("claim").await else {
        return;
    };
    let claim = |class: &str, value: &str| {
        format!(
            "---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{ name: data, annotations: {{ towpath.dev/recreate: \"{value}\" }} }}\n\
             spec: {{ accessModes: [ReadWriteOnce], storageClassName: {class}, resources: {{ requests: {{ storage: 1Gi }} }} }}\n"
        )
    };
    let object = "PersistentVolumeClaim data";
    site.apply(&claim("one", "true")).await.unwrap();
    let first = uid(&site, object).await;
    let error = site
        .refuses(
            &claim("two", "true"),
            "spec: Forbidden: spec is immutable after creation",
        )
        .await;
    assert!(
        !error.to_string().contains("StorageClassName"),
        "values are not shown: {error}"
    );
    assert_eq!(uid(&site, object).await, first);

    let set = |service: &str, value: &str| {
        deployment(
            "web",
            "one",
            &format!("  annotations: {{ towpath.dev/recreate: \"{value}\" }}"),
        )
        .replace("kind: Deployment", "kind: StatefulSet")
        .replace(
            "replicas: 0",
            &format!("replicas: 0\n  serviceName: {service}"),
        )
    };
    let object = "StatefulSet web";
    site.apply(&set("one", "true")).await.unwrap();
    let first = uid(&site, object).await;
    site.refuses(
        &set("two", "true"),
        "spec: Forbidden: updates to statefulset spec",
    )
    .await;
    assert_eq!(uid(&site, object).await, first);
    site.apply(&set("two", "StatefulSet")).await.unwrap();
    assert_ne!(uid(&site, object).await, first);
}

#[tokio::test]
async fn a_job_runs_anew_when_it_changes() {
    let Some(site) = Site::new("job").await else {
        return;
    };
    let object = "Job migrate";
    site.apply(&job("migrate", "shop:1", "  backoffLimit: 0"))
        .await
        .unwrap();
    let first = uid(&site, object).await;
    site.apply(&job("migrate", "shop:1", "  backoffLimit: 0"))
        .await
        .unwrap();
    assert_eq!(uid(&site, object).await, first, "unchanged");
    site.apply(&job("migrate", "shop:2", "  backoffLimit: 0"))
        .await
        .unwrap();
    let second = uid(&site, object).await;
    assert_ne!(second, first);
    // Also for what could be changed in place.
    site.apply(&job("migrate", "shop:2", "  ttlSecondsAfterFinished: 100"))
        .await
        .unwrap();
    assert_ne!(uid(&site, object).await, second);
    // What is wrong deletes nothing.
    let third = uid(&site, object).await;
    site.refuses(
        &job("migrate", "shop:3", "  parallelism: -1"),
        "spec.parallelism",
    )
    .await;
    assert_eq!(uid(&site, object).await, third);
}

#[tokio::test]
async fn a_job_that_its_ttl_took_is_no_error() {
    let Some(site) = Site::new("ttl").await else {
        return;
    };
    let brief = |image: &str| job("brief", image, "  ttlSecondsAfterFinished: 0");
    site.apply(&brief("shop:1")).await.unwrap();
    let api = site.api("Job brief").await;
    let gone = |job: Option<&kube::api::DynamicObject>| job.is_none();
    if site.live("Job brief").await.is_some() {
        let step = site.plan(&brief("shop:2")).await;
        super::super::bed::wait(api, "brief", gone).await;
        match site.run(&step).await {
            Err(ClusterError::Changed { .. }) => {}
            // It went before it was planned.
            Ok(_) => assert_eq!(step.change[0].version, None),
            Err(error) => panic!("{error:?}"),
        }
    }
    site.apply(&brief("shop:3")).await.unwrap();
}
