//! As whom a cluster is looked at, and how little that needs.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenReview};
use k8s_openapi::api::core::v1::ServiceAccount as Account;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::json;
use towpath::cluster::ClusterError;
use towpath::cluster::kubernetes::Policy;
use towpath::model::{Access, ServiceAccount};

use super::super::bed::apply;
use super::site::{Site, anything, is_healthy};

const CONFIG_MAP: &str = "{ apiVersion: v1, kind: ConfigMap, metadata: { name: a } }";
const SECRET: &str = "{ apiVersion: v1, kind: Secret, metadata: { name: s } }";

/// What looking at, and applying, these resources takes.
fn rule(resources: &[&str], verbs: &[&str]) -> serde_json::Value {
    json!({ "apiGroups": [""], "resources": resources, "verbs": verbs })
}

/// A credential plugin that prints what a file says, and counts how often it is run.
struct Plugin(tempfile::TempDir);

impl Plugin {
    fn new(token: &str) -> Self {
        let plugin = Self(tempfile::tempdir().unwrap());
        let (runs, answers) = (plugin.path("runs"), plugin.path("token"));
        let script = format!(
            "#!/bin/sh\necho run >> {}\nprintf '{{\"status\":{{\"token\":\"%s\"}}}}' \"$(cat {})\"\n",
            runs.display(),
            answers.display()
        );
        let command = plugin.path("plugin");
        std::fs::write(&command, script).unwrap();
        std::fs::set_permissions(&command, std::fs::Permissions::from_mode(0o755)).unwrap();
        plugin.answers(token);
        plugin
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn answers(&self, token: &str) {
        std::fs::write(self.path("token"), token).unwrap();
    }

    fn runs(&self) -> usize {
        let runs = std::fs::read_to_string(self.path("runs")).unwrap();
        runs.lines().count()
    }

    /// This kubeconfig with the plugin for whom it names.
    fn kubeconfig(&self, kubeconfig: &str) -> String {
        let mut kubeconfig: serde_yaml::Value = serde_yaml::from_str(kubeconfig).unwrap();
        let exec = json!({ "exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": self.path("plugin"), "interactiveMode": "Never",
        } });
        kubeconfig["users"][0]["user"] = serde_yaml::to_value(exec).unwrap();
        serde_yaml::to_string(&kubeconfig).unwrap()
    }
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
        drop(apply(&site.admin, &object).await.unwrap());
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
    let plugin = Plugin::new("long-expired");
    let kubeconfig = plugin.kubeconfig(&serde_yaml::to_string(&right).unwrap());
    site.restart_as(&kubeconfig, anything());
    let desired = site.rendered(CONFIG_MAP);
    let error = site.try_live(&desired).await.unwrap_err();
    assert!(
        error.to_string().contains("does not accept our credential"),
        "{error}"
    );
    // The next one that the plugin gives is taken without anybody having to do anything.
    plugin.answers(token);
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
    let before = plugin.runs();
    for manifest in [SECRET, CONFIG_MAP] {
        drop(site.try_live(&site.rendered(manifest)).await.unwrap());
    }
    assert_eq!(plugin.runs(), before);
}

#[tokio::test]
async fn a_token_that_ends_is_followed_by_the_next() {
    let Some(bed) = super::super::shared() else {
        return;
    };
    let mut site = Site::new(bed, "token").await;
    let namespace = site.namespace.clone();
    let accounts = Api::<Account>::namespaced(site.admin.clone(), &namespace);
    let mut tokens = Vec::new();
    for name in ["first", "second"] {
        let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": name, "namespace": namespace } });
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": { "name": name, "namespace": namespace },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
            "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": namespace }],
        });
        for object in [account, binding] {
            drop(apply(&site.admin, &object).await.unwrap());
        }
        let asked = TokenRequest::default();
        let parameters = PostParams::default();
        let given = accounts
            .create_token_request(name, &parameters, &asked)
            .await;
        tokens.push(given.unwrap().status.unwrap().token.unwrap());
    }
    let plugin = Plugin::new(&tokens[0]);
    let kubeconfig = plugin.kubeconfig(&bed.plane.kubeconfig("bed", &site.user).unwrap());
    let inside = Policy {
        access: Some(Access {
            namespaces: Some(BTreeSet::from([namespace.clone()])),
            impersonate: None,
            cluster_scoped: BTreeSet::new(),
        }),
        ..anything()
    };
    site.restart_as(&kubeconfig, inside);
    site.deploy(CONFIG_MAP).await;
    let before = plugin.runs();

    // With its account the first ends at once; the server believes it a few seconds longer.
    plugin.answers(&tokens[1]);
    drop(
        accounts
            .delete("first", &DeleteParams::default())
            .await
            .unwrap(),
    );
    let review: TokenReview =
        serde_json::from_value(json!({ "spec": { "token": tokens[0] } })).unwrap();
    let reviews = Api::<TokenReview>::all(site.admin.clone());
    let ended = async {
        loop {
            let answer = reviews
                .create(&PostParams::default(), &review)
                .await
                .unwrap();
            if answer.status.unwrap().authenticated != Some(true) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ended)
        .await
        .unwrap();
    let desired = site.rendered(&format!("{CONFIG_MAP}\n---\n{SECRET}"));
    let again = async {
        while let Err(error) = site.apply(&desired).await {
            assert!(
                matches!(error, ClusterError::Unavailable { .. }),
                "{error:?}"
            );
        }
    };
    tokio::time::timeout(Duration::from_secs(30), again)
        .await
        .unwrap();
    assert!(is_healthy(&site.live(&desired).await));
    assert_eq!(
        plugin.runs(),
        before + 1,
        "the plugin is run once for the next token"
    );
}

#[tokio::test]
async fn a_right_to_look_that_is_missing_is_named() {
    let Some(bed) = super::super::shared() else {
        return;
    };
    let rules = json!([rule(&["configmaps"], &["get", "list", "watch"])]);
    let site = Site::with(bed, "blind", rules, Duration::from_secs(20)).await;
    let error = site.try_live(&site.rendered(SECRET)).await.unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("grant the verb `watch` on `secrets` in a ClusterRole"),
        "{said}"
    );
}
