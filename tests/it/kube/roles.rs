//! The roles that `towpath rbac` prints, on a real API server: with them everything is allowed that
//! they are there for, and nothing beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use towpath::cluster::ReadCluster as _;
use towpath::cluster::kubernetes::connect::{Access, Target};
use towpath::cluster::kubernetes::{KubernetesCluster, Place};
use towpath::cluster::rbac::{self, Asked, Holder, Resource, Right, Role, Subject, Wanted};
use towpath::model::{Identity, ObjectRef, ServiceAccount};

use super::Bed;
use super::bed::apply;
use super::plane::User;

/// Roles take effect a moment after they were written.
const EFFECT: Duration = Duration::from_secs(20);

fn object(version: &str, kind: &str, name: &str, namespace: &str, more: Value) -> Value {
    let mut object = json!({
        "apiVersion": version,
        "kind": kind,
        "metadata": { "name": name, "namespace": namespace },
    });
    json_patch::merge(&mut object, &more);
    object
}

/// What the environment asks for, and whether it is applied as the service account `deployer`.
fn objects(namespace: &str) -> Vec<(Value, bool)> {
    let rbac = "rbac.authorization.k8s.io/v1";
    let pods = json!({
        "metadata": { "labels": { "app": "web" } },
        "spec": { "containers": [{ "name": "web", "image": "fine" }] },
    });
    let selector = json!({ "matchLabels": { "app": "web" } });
    let deployment = json!({ "spec": { "selector": selector, "template": pods } });
    let role =
        json!({ "rules": [{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"] }] });
    let binding = json!({
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:aggregate-to-view" },
    });
    let service = json!({ "spec": { "ports": [{ "port": 80 }] } });
    vec![
        (
            object("apps/v1", "Deployment", "web", namespace, deployment),
            false,
        ),
        (object(rbac, "Role", "reader", namespace, role), false),
        (
            object(rbac, "RoleBinding", "viewers", namespace, binding),
            false,
        ),
        (object("v1", "Service", "web", namespace, service), true),
    ]
}

fn reference(object: &Value) -> ObjectRef {
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let version = text("/apiVersion").unwrap();
    ObjectRef::from(Identity {
        group: version
            .split_once('/')
            .map_or("", |(group, _)| group)
            .to_owned(),
        kind: text("/kind").unwrap(),
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name").unwrap(),
    })
}

/// What the environment needs.
fn roles(namespace: &str, namespaced: bool) -> Vec<Role> {
    let namespaces = BTreeSet::from([namespace.to_owned()]);
    let deployer = ServiceAccount {
        namespace: namespace.to_owned(),
        name: "deployer".to_owned(),
    };
    let objects = objects(namespace);
    let described: Vec<(ObjectRef, Resource, Option<ObjectRef>, bool)> = objects
        .iter()
        .map(|(object, as_deployer)| {
            let reference = reference(object);
            let resource = rbac::built_in(&reference.group, &reference.kind).unwrap();
            (reference, resource, rbac::bound(object), *as_deployer)
        })
        .collect();
    let wanted = described
        .iter()
        .map(|(reference, resource, binds, as_deployer)| Wanted {
            reference,
            resource,
            binds: binds.as_ref(),
            applied_as: as_deployer.then_some(&deployer),
        });
    rbac::roles(&Asked {
        environment: &namespace.parse().unwrap(),
        namespace,
        objects: &wanted.collect::<Vec<_>>(),
        namespaces: namespaced.then_some(&namespaces),
    })
}

/// The objects of every role for this user.
fn grants(namespace: &str, roles: &[Role], user: &User) -> Vec<Value> {
    let subject = Subject::User(user.name.clone());
    let grants = rbac::grants(&namespace.parse().unwrap(), roles, &subject).into_iter();
    grants
        .flat_map(|grant| [grant.role, grant.binding])
        .collect()
}

/// The environment's cluster as this user reaches it.
fn cluster(bed: &Bed, namespace: &str, user: &User) -> (KubernetesCluster, NamedTempFile) {
    let kubeconfig = NamedTempFile::new().unwrap();
    let text = bed.plane.kubeconfig("bed", user).unwrap();
    std::fs::write(kubeconfig.path(), text).unwrap();
    let place = Place::new(Access {
        target: Target::Context {
            context: "bed".to_owned(),
            kubeconfig: Some(kubeconfig.path().to_owned()),
        },
        timeout: Duration::from_secs(10),
        proxy: None,
    });
    let environment = namespace.parse().unwrap();
    let cluster = KubernetesCluster::new(&place, &environment, namespace, BTreeMap::new());
    (cluster, kubeconfig)
}

async fn acting_as(bed: &Bed, user: &User, account: &str) -> Client {
    let mut kubeconfig =
        Kubeconfig::from_yaml(&bed.plane.kubeconfig("plane", user).unwrap()).unwrap();
    let login = kubeconfig.auth_infos[0].auth_info.as_mut().unwrap();
    login.impersonate = Some(account.to_owned());
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .unwrap();
    Client::try_from(config).unwrap()
}

/// The code of a refusal.
async fn refused(client: &Client, object: &Value) -> Option<u16> {
    match apply(client, object).await {
        Ok(_) => None,
        Err(kube::Error::Api(status)) => Some(status.code),
        Err(error) => panic!("{error}"),
    }
}

async fn becomes_allowed(client: &Client, object: &Value) {
    let allowed = async {
        while let Some(code) = refused(client, object).await {
            assert_eq!(code, 403, "{object}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let allowed = tokio::time::timeout(EFFECT, allowed).await;
    assert!(allowed.is_ok(), "never allowed: {object}");
}

async fn status(client: &Client, method: &str, path: &str) -> u16 {
    let request = axum::http::Request::builder().method(method).uri(path);
    let request = request.body(kube::client::Body::empty()).unwrap();
    client.send(request).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn the_roles_allow_what_is_needed_and_no_more() {
    let Some(bed) = super::shared() else { return };
    let admin = bed.admin().await;
    for namespaced in [false, true] {
        let namespace = bed.namespace(&admin, "roles").await;
        let user = bed.plane.new_user();
        let client = bed.plane.client(&user).await.unwrap();
        let account = format!("system:serviceaccount:{namespace}:deployer");
        let deployer = acting_as(bed, &user, &account).await;
        let stranger = acting_as(
            bed,
            &user,
            &format!("system:serviceaccount:{namespace}:default"),
        )
        .await;
        let (objects, more) = (objects(&namespace), json!({}));
        assert_eq!(refused(&client, &objects[0].0).await, Some(403));
        let (cluster, _kubeconfig) = cluster(bed, &namespace, &user);
        let roles = roles(&namespace, namespaced);
        let rights = rbac::rights(&roles);
        let as_towpath = |right: &Right| right.holder == Holder::Towpath;
        // Who may not act as the other account has no answer about what that may.
        let (own, other): (Vec<Right>, Vec<Right>) = rights.into_iter().partition(as_towpath);
        assert_eq!(cluster.lacks(&own).await.unwrap(), own);
        assert!(!other.is_empty());
        for object in grants(&namespace, &roles, &user) {
            apply(&admin, &object).await.unwrap();
        }
        for (object, as_deployer) in &objects {
            let writer = if *as_deployer { &deployer } else { &client };
            becomes_allowed(writer, object).await;
        }
        let parent = object(
            "v1",
            "ConfigMap",
            &format!("towpath-{namespace}"),
            &namespace,
            more.clone(),
        );
        becomes_allowed(&client, &parent).await;
        assert_eq!(cluster.lacks(&own).await.unwrap(), []);
        assert_eq!(cluster.lacks(&other).await.unwrap(), []);
        let beside = Right {
            resource: "secrets".to_owned(),
            group: String::new(),
            ..own[0].clone()
        };
        let asked = [own[0].clone(), beside.clone(), own[1].clone()];
        assert_eq!(cluster.lacks(&asked).await.unwrap(), [beside]);

        let secrets =
            json!({ "rules": [{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"] }] });
        let admins = json!({
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
        });
        let rbac = "rbac.authorization.k8s.io/v1";
        for object in [
            object("v1", "ConfigMap", "other", &namespace, more.clone()),
            object("v1", "Secret", "other", &namespace, more.clone()),
            object(rbac, "Role", "other", &namespace, secrets),
            object(rbac, "RoleBinding", "other", &namespace, admins),
            // What is applied as somebody else is not allowed to Towpath itself.
            objects[3].0.clone(),
        ] {
            assert_eq!(refused(&client, &object).await, Some(403), "{object}");
        }
        assert_eq!(refused(&deployer, &objects[0].0).await, Some(403));
        assert_eq!(refused(&stranger, &objects[3].0).await, Some(403));

        let scopes = if namespaced {
            vec![format!("/namespaces/{namespace}")]
        } else {
            vec![String::new()]
        };
        for scope in scopes {
            for path in [
                format!("/apis/apps/v1{scope}/deployments"),
                format!("/apis/apps/v1{scope}/replicasets"),
                format!("/api/v1{scope}/pods"),
                format!("/api/v1{scope}/events"),
                format!("/api/v1{scope}/services"),
            ] {
                assert_eq!(status(&client, "GET", &path).await, 200, "{path}");
            }
            let path = format!("/api/v1{scope}/secrets");
            assert_eq!(status(&client, "GET", &path).await, 403, "{path}");
        }
        let elsewhere = status(
            &client,
            "GET",
            "/apis/apps/v1/namespaces/default/deployments",
        )
        .await;
        assert_eq!(elsewhere, if namespaced { 403 } else { 200 });
        let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/web");
        assert_eq!(status(&client, "DELETE", &path).await, 200);
    }
}
