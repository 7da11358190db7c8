//! As whom a cluster is looked at, and how little that needs.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::json;
use towpath::cluster::ClusterError;
use towpath::cluster::kubernetes::Policy;
use towpath::model::{Access, ServiceAccount};

use super::site::{Site, anything, is_healthy};

const CONFIG_MAP: &str = "{ apiVersion: v1, kind: ConfigMap, metadata: { name: a } }";
const SECRET: &str = "{ apiVersion: v1, kind: Secret, metadata: { name: s } }";

/// What looking at, and applying, these resources takes.
fn rule(resources: &[&str], verbs: &[&str]) -> serde_json::Value {
    json!({ "apiGroups": [""], "resources": resources, "verbs": verbs })
}

#[tokio::test]
async fn an_environment_of_some_namespaces_needs_no_rights_beyond_them() {
    let Some(bed) = super::super::shared() else {
        return;
    };
    let nothing = json!([rule(&["nothing"], &["get"])]);
    let mut site = Site::with(bed, "inside", nothing, Duration::from_secs(20)).await;
    let verbs = ["get", "list", "watch", "patch", "create"];
    let rules = json!([rule(&["configmaps", "secrets"], &verbs)]);
    let namespace = site.namespace.clone();
    bed.allow(&site.admin, &site.user, Some(&namespace), rules)
        .await;
    let kubeconfig = bed.plane.kubeconfig("bed", &site.user).unwrap();
    site.restart_as(
        &kubeconfig,
        Policy {
            access: Some(Access {
                namespaces: Some(BTreeSet::from([namespace.clone()])),
                impersonate: None,
                cluster_scoped: BTreeSet::new(),
            }),
            ..anything()
        },
    );
    let desired = site.deploy(&format!("{CONFIG_MAP}\n---\n{SECRET}")).await;
    assert!(is_healthy(&site.live(&desired).await));
    let beyond = site.rendered(&CONFIG_MAP.replace("name: a", "name: a, namespace: default"));
    let error = site.apply(&beyond).await.unwrap_err();
    assert!(error.to_string().contains("namespace"), "{error}");
}

#[tokio::test]
async fn what_is_applied_is_applied_as_its_service_account() {
    let Some(bed) = super::super::shared() else {
        return;
    };
    let look = rule(&["configmaps", "secrets"], &["get", "list", "watch"]);
    let parent = rule(&["configmaps"], &["patch", "create"]);
    let act = rule(&["serviceaccounts"], &["impersonate"]);
    let rules = json!([look, parent, act]);
    let mut site = Site::with(bed, "account", rules, Duration::from_secs(20)).await;
    let kubeconfig = bed.plane.kubeconfig("bed", &site.user).unwrap();
    let namespace = site.namespace.clone();
    let policy = Policy {
        access: Some(Access {
            namespaces: None,
            impersonate: Some(ServiceAccount {
                namespace: namespace.clone(),
                name: "default".to_owned(),
            }),
            cluster_scoped: BTreeSet::new(),
        }),
        ..anything()
    };
    site.restart_as(&kubeconfig, policy);
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": { "name": "deployer", "namespace": namespace },
        "rules": [rule(&["configmaps"], &["get", "patch", "create"])],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": { "name": "deployer", "namespace": namespace },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployer" },
        "subjects": [{ "kind": "ServiceAccount", "name": "default", "namespace": namespace }],
    });
    for object in [role, binding] {
        drop(
            super::super::bed::apply(&site.admin, &object)
                .await
                .unwrap(),
        );
    }
    site.deploy(CONFIG_MAP).await;
    // Towpath itself may not, and neither may the account.
    let desired = site.rendered(&format!("{CONFIG_MAP}\n---\n{SECRET}"));
    let error = site.apply(&desired).await.unwrap_err();
    let account = format!("system:serviceaccount:{namespace}:default");
    assert!(matches!(error, ClusterError::Prevented { .. }), "{error:?}");
    assert!(error.to_string().contains(&account), "{error}");
}

#[tokio::test]
async fn a_credential_that_is_refused_is_asked_for_anew() {
    let Some(bed) = super::super::shared() else {
        return;
    };
    let mut site = Site::new(bed, "credential").await;
    let right: serde_yaml::Value =
        serde_yaml::from_str(&bed.plane.kubeconfig("bed", &site.user).unwrap()).unwrap();
    let token = right["users"][0]["user"]["token"].as_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("plugin");
    let runs = folder.path().join("runs");
    let answers = folder.path().join("token");
    let script = format!(
        "#!/bin/sh\necho run >> {}\nprintf '{{\"status\":{{\"token\":\"%s\"}}}}' \"$(cat {})\"\n",
        runs.display(),
        answers.display()
    );
    std::fs::write(&plugin, script).unwrap();
    std::fs::set_permissions(&plugin, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(&answers, "long-expired").unwrap();
    let mut kubeconfig = right.clone();
    kubeconfig["users"][0]["user"] = serde_yaml::to_value(json!({ "exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": plugin, "interactiveMode": "Never",
    } }))
    .unwrap();
    site.restart_as(&serde_yaml::to_string(&kubeconfig).unwrap(), anything());
    let desired = site.rendered(CONFIG_MAP);
    let error = site.try_live(&desired).await.unwrap_err();
    assert!(
        error.to_string().contains("does not accept our credential"),
        "{error}"
    );
    // The next one that the plugin gives is taken without anybody having to do anything.
    std::fs::write(&answers, token).unwrap();
    let again = async {
        while site.try_live(&desired).await.is_err() {
            site.told().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), again)
        .await
        .unwrap();
    drop(site.apply(&desired).await.unwrap());
    assert!(is_healthy(&site.live(&desired).await));
    // It is run where a credential is needed, not for each request.
    let before = std::fs::read_to_string(&runs).unwrap().lines().count();
    for manifest in [SECRET, CONFIG_MAP] {
        drop(site.try_live(&site.rendered(manifest)).await.unwrap());
    }
    assert_eq!(
        std::fs::read_to_string(&runs).unwrap().lines().count(),
        before
    );
}
