//! What the server refuses, and whether a manifest, somebody in the cluster, or patience helps.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use towpath::cluster::ClusterError;

use super::super::bed;
use super::between::{Between, Fate};
use super::site::{Site, config_map, workload};
use super::staged::{crd, thing};

/// Has the cluster refuse changes of ConfigMaps in the site's namespace that this CEL expression does not hold for, and
/// returns once it does.
pub(super) async fn policy(site: &Site, holds: &str, is_in_force: impl AsyncFn() -> bool) {
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": { "name": site.namespace },
        "spec": {
            "matchConstraints": {
                "resourceRules": [{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE", "DELETE"], "resources": ["configmaps"] }],
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": site.namespace } },
            },
            "validations": [{ "expression": holds, "message": "not so" }],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": { "name": site.namespace },
        "spec": { "policyName": site.namespace, "validationActions": ["Deny"] },
    });
    bed::apply(&site.admin, &policy).await.unwrap();
    bed::apply(&site.admin, &binding).await.unwrap();
    comes(is_in_force).await;
}

/// Asks until it is so. The server tells nobody when it begins to heed a policy.
pub(super) async fn comes(is_so: impl AsyncFn() -> bool) {
    let asking = async {
        while !is_so().await {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let within = std::time::Duration::from_secs(60);
    tokio::time::timeout(within, asking)
        .await
        .expect("it comes");
}

pub(super) async fn dry(site: &Site, object: &Value) -> bool {
    let api = site.api("ConfigMap x").await;
    let object = serde_json::from_value(object.clone()).unwrap();
    let parameters = kube::api::PostParams {
        dry_run: true,
        ..kube::api::PostParams::default()
    };
    api.create(&parameters, &object).await.is_ok()
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Helps {
    Manifest,
    Somebody,
    Patience,
}

pub(super) async fn check(site: &Site, manifests: &str, helps: Helps, expected: &str) {
    let error = site.refuses(manifests, expected).await;
    let found = match error {
        ClusterError::Refused { .. } => Helps::Manifest,
        ClusterError::Prevented { .. } => Helps::Somebody,
        ClusterError::Unavailable { .. } => Helps::Patience,
        other => panic!("{other:?}"),
    };
    assert_eq!(found, helps, "{expected}");
}

#[tokio::test]
async fn manifests_that_no_cluster_takes() {
    let Some(site) = Site::new("content").await else {
        return;
    };
    // A crowd of annotations; an object that is too large altogether is told offline.
    let many = config_map("many", "a").replace(
        "name: many",
        &format!(
            "name: many, annotations: {{ text: {} }}",
            "x".repeat(300_000)
        ),
    );
    let wrong = workload("web", "shop", "  replicas: many");
    for (manifests, helps, expected) in [
        (
            many.as_str(),
            Helps::Manifest,
            "metadata.annotations: Too long: may not be more than 262144 bytes",
        ),
        (
            &wrong,
            Helps::Manifest,
            ".spec.replicas: expected numeric (int or float), got string",
        ),
        (
            &thing("one", "size: 1"),
            Helps::Somebody,
            "its CRD is not installed",
        ),
        (
            &config_map("one", "a").replace("name: one", "namespace: no-such, name: one"),
            Helps::Somebody,
            "the namespace `no-such` does not exist",
        ),
    ] {
        check(&site, manifests, helps, expected).await;
    }
    assert!(site.asked().iter().all(|line| !line.starts_with("apply")));

    // What is small enough for us and too large for the cluster, with what it keeps beside it.
    let text = "x".repeat((3 << 19) - 300);
    let huge =
        crd("Namespaced", "text: { type: string }") + &thing("huge", &format!("text: {text}"));
    check(
        &site,
        &huge,
        Helps::Manifest,
        "it is too large for the cluster",
    )
    .await;
    // The kind is there now, in another version.
    let newer = thing("one", "text: a").replace("example.com/v1", "example.com/v2");
    check(&site, &newer, Helps::Manifest, "write apiVersion `").await;
    site.delete(&format!(
        "CustomResourceDefinition.apiextensions.k8s.io things.{}.example.com",
        site.namespace
    ))
    .await;
}

#[tokio::test]
async fn a_namespace_that_goes_away() {
    let Some(site) = Site::new("ending").await else {
        return;
    };
    let held = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "held", "namespace": site.namespace, "finalizers": ["example.com/wait"] },
    });
    bed::apply(&site.admin, &held).await.unwrap();
    site.delete(&format!("Namespace {}", site.namespace)).await;
    let expected = format!("the namespace `{}` is being deleted", site.namespace);
    check(&site, &config_map("one", "a"), Helps::Somebody, &expected).await;
    let free = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "held", "namespace": site.namespace } });
    bed::apply(&site.admin, &free).await.unwrap();
}

#[tokio::test]
async fn admission_that_refuses_or_does_not_answer() {
    let Some(site) = Site::new("admission").await else {
        return;
    };
    let forbidden = json!({ "metadata": { "name": "x" }, "data": { "key": "forbidden" } });
    policy(&site, "request.operation == 'DELETE' || !has(object.data) || !('key' in object.data) || object.data.key != 'forbidden'", async || {
        !dry(&site, &forbidden).await
    })
    .await;
    check(
        &site,
        &config_map("one", "forbidden"),
        Helps::Manifest,
        "denied request: not so",
    )
    .await;
    site.apply(&config_map("one", "allowed")).await.unwrap();

    let webhook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": { "name": site.namespace },
        "webhooks": [{
            "name": "down.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": { "url": "https://127.0.0.1:1/" },
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": site.namespace } },
            "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"] }],
        }],
    });
    bed::apply(&site.admin, &webhook).await.unwrap();
    let fine = json!({ "metadata": { "name": "x" }, "data": { "key": "fine" } });
    comes(async || !dry(&site, &fine).await).await;
    check(
        &site,
        &config_map("two", "fine"),
        Helps::Patience,
        "failed calling webhook \"down.example.com\"",
    )
    .await;
    let kind = "ValidatingWebhookConfiguration.admissionregistration.k8s.io";
    site.delete(&format!("{kind} {}", site.namespace)).await;
}

#[tokio::test]
async fn a_quota_that_is_used_up() {
    let Some(site) = Site::new("quota").await else {
        return;
    };
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": { "name": "small", "namespace": site.namespace },
        "spec": { "hard": { "count/services": "0" } },
    });
    bed::apply(&site.admin, &quota).await.unwrap();
    bed::wait(
        site.api("ResourceQuota small").await,
        "small",
        |it: Option<&kube::api::DynamicObject>| {
            it.is_some_and(|it| it.data["status"]["used"]["count/services"] == "0")
        },
    )
    .await;
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: { name: web }\nspec: { ports: [{ port: 80 }] }\n";
    let expected = "exceeded quota: small, requested: count/services=1, used: count/services=0, limited: count/services=0: raise the quota";
    check(&site, service, Helps::Somebody, expected).await;
}

#[tokio::test]
async fn rights_that_are_missing_are_named() {
    let set =
        |verbs: Value| json!([{ "apiGroups": [""], "resources": ["configmaps"], "verbs": verbs }]);
    for (rules, manifests, verb, resource) in [
        (None, config_map("one", "a"), "patch", "configmaps"),
        (
            Some(set(json!(["patch"]))),
            config_map("one", "a"),
            "create",
            "configmaps",
        ),
        (
            Some(set(json!(["get", "create", "patch"]))),
            workload("web", "shop", ""),
            "patch",
            "replicationcontrollers",
        ),
    ] {
        let Some(site) = Site::with_rights("rights", rules).await else {
            return;
        };
        let expected = format!(
            "`{}` lacks a right: grant the verb `{verb}` on `{resource}` in namespace `{}`",
            site.user.name, site.namespace
        );
        check(&site, &manifests, Helps::Somebody, &expected).await;
    }
}

#[tokio::test]
async fn a_server_that_asks_to_wait_is_heeded_and_nothing_more_is_sent() {
    let Some(site) = Site::new("busy").await else {
        return;
    };
    let busy = |seconds: u32| {
        let status = json!({ "kind": "Status", "status": "Failure", "message": "busy", "reason": "TooManyRequests", "details": { "retryAfterSeconds": seconds }, "code": 429 });
        status.to_string()
    };
    let many: String = (0..100)
        .map(|number| config_map(&format!("c{number}"), "a"))
        .collect();
    let step = site.plan(&many).await;
    for is_dry_run in [true, false] {
        let body = busy(3);
        let answered = Arc::new(AtomicUsize::new(0));
        let count = answered.clone();
        let client = Between::client(site.client.clone(), move |line| {
            let is_met = line.contains("force=") && line.contains("dryRun=All") == is_dry_run;
            if !is_met {
                return Fate::Pass;
            }
            count.fetch_add(1, Ordering::Relaxed);
            Fate::Answered(429, body.clone())
        });
        let error = site.run_with(client, &step).await.unwrap_err();
        let ClusterError::Unavailable { retry_after, .. } = error else {
            panic!("{error:?}");
        };
        assert_eq!(retry_after, Some(std::time::Duration::from_secs(3)));
        assert!(
            answered.load(Ordering::Relaxed) <= 32,
            "those that travelled already"
        );
        assert_eq!(site.marked("ConfigMap").await, [] as [&str; 0]);
    }
    site.run(&step).await.unwrap();
    assert_eq!(site.marked("ConfigMap").await.len(), 100);
}
