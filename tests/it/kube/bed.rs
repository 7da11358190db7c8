//! A plane with pods that have fates, and what tests need of it: namespaces, users with rights, waiting.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::wait::{Condition, await_condition};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::plane::{ASK, Plane, User};
use super::pods::{self, Fate, Rule};

/// What a plane that works needs at most for anything that a test waits for.
const WAIT: Duration = Duration::from_secs(60);

/// A running plane and its pods. What it makes goes when it is dropped.
pub(crate) struct Bed {
    /// The plane.
    pub(crate) plane: Plane,
    rules: watch::Sender<Vec<Rule>>,
    namespaces: AtomicUsize,
    _faker: JoinSet<()>,
}

impl Bed {
    /// Starts one; it lives in the runtime that it is started in.
    pub(crate) async fn start(binary: &Path) -> anyhow::Result<Self> {
        let plane = Plane::start(binary).await?;
        let client = plane.client(&Plane::faker()).await?;
        let node = plane.node();
        pods::make_node(client.clone(), &node).await?;
        let (rules, given) = watch::channel(Vec::new());
        let mut faker = JoinSet::new();
        faker.spawn(pods::fake(client, node, given));
        Ok(Self {
            plane,
            rules,
            namespaces: AtomicUsize::new(0),
            _faker: faker,
        })
    }

    /// From now on containers of this namespace whose image has `image` in its name have this fate, also
    /// those that already run. A later call for the same image counts more.
    pub(crate) fn fate(&self, namespace: &str, image: &str, fate: Fate) {
        self.rules.send_modify(|rules| {
            rules.push(Rule {
                namespace: namespace.to_owned(),
                image: image.to_owned(),
                fate,
            });
        });
    }

    /// A client that may do everything. One for each test: it belongs to the test's runtime.
    pub(crate) async fn admin(&self) -> Client {
        self.plane.client(&Plane::admin()).await.unwrap()
    }

    /// Makes a namespace that nobody else has, and waits until pods can be made in it.
    pub(crate) async fn namespace(&self, client: &Client, prefix: &str) -> String {
        let number = self.namespaces.fetch_add(1, Ordering::Relaxed);
        let name = format!("{prefix}-{number}");
        let namespace = serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
        Api::<Namespace>::all(client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .unwrap();
        let accounts = Api::<ServiceAccount>::namespaced(client.clone(), &name);
        wait(accounts, "default", |it: Option<&ServiceAccount>| {
            it.is_some()
        })
        .await;
        name
    }

    /// Allows the user what `rules` says (as in a Role), in one namespace or in the whole cluster, and
    /// waits until that holds.
    pub(crate) async fn allow(
        &self,
        client: &Client,
        user: &User,
        namespace: Option<&str>,
        rules: Value,
    ) {
        let (role, binding) = match namespace {
            Some(_) => ("Role", "RoleBinding"),
            None => ("ClusterRole", "ClusterRoleBinding"),
        };
        let name = format!("allow-{}", user.name);
        let role_object = json!({ "rules": rules });
        let binding_object = json!({
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": name },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user.name }],
        });
        for (kind, mut object) in [(role, role_object), (binding, binding_object)] {
            object["apiVersion"] = json!("rbac.authorization.k8s.io/v1");
            object["kind"] = json!(kind);
            object["metadata"] = json!({ "name": name, "namespace": namespace });
            apply(client, &object).await.unwrap();
        }
        for rule in rules.as_array().into_iter().flatten() {
            until_allowed(client, user, namespace, rule).await;
        }
    }
}

/// Waits until the API server goes by the rule: it hears of roles a moment after they were written.
async fn until_allowed(client: &Client, user: &User, namespace: Option<&str>, rule: &Value) {
    let resource = rule["resources"][0].as_str().unwrap();
    let (resource, part) = resource.split_once('/').unwrap_or((resource, ""));
    let question = json!({ "spec": { "user": user.name, "resourceAttributes": {
        "namespace": namespace.unwrap_or_default(),
        "verb": rule["verbs"][0],
        "group": rule["apiGroups"][0],
        "resource": resource,
        "subresource": part,
        "name": rule["resourceNames"][0].as_str().unwrap_or_default(),
    } } });
    let question: SubjectAccessReview = serde_json::from_value(question).unwrap();
    let reviews = Api::<SubjectAccessReview>::all(client.clone());
    let began = Instant::now();
    loop {
        let answer = reviews.create(&PostParams::default(), &question).await;
        if answer.unwrap().status.unwrap().allowed {
            return;
        }
        assert!(began.elapsed() < WAIT, "{} may not {rule}", user.name);
        tokio::time::sleep(ASK).await;
    }
}

/// Applies one object as `kubectl apply --server-side` would, as the manager `test`.
///
/// # Errors
/// What the API server says.
pub(crate) async fn apply(client: &Client, object: &Value) -> kube::Result<DynamicObject> {
    let text = |field: &Value| field.as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let (group, version) = version.split_once('/').unwrap_or(("", &version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
    let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let name = text(&object["metadata"]["name"]);
    api.patch(&name, &PatchParams::apply("test"), &Patch::Apply(object))
        .await
}

/// Watches the object until it is as wanted.
pub(crate) async fn wait<K>(api: Api<K>, name: &str, wanted: impl Condition<K>) -> Option<K>
where
    K: Resource + Clone + std::fmt::Debug + Send + DeserializeOwned + 'static,
{
    let waiting = tokio::time::timeout(WAIT, await_condition(api, name, wanted));
    match waiting.await {
        Ok(object) => object.unwrap(),
        Err(_) => panic!("{name} did not become as wanted"),
    }
}
