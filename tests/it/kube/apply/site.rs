//! An environment on the shared plane, as whoever plans applies sees it: manifests go in, what is live is read,
//! the difference is applied.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams};
use serde::Deserialize as _;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use towpath::cluster::kubernetes::apply::{
    Ahead, Allows, ApplyContext, Seen, Sight, apply, judge_ahead,
};
use towpath::cluster::kubernetes::connect::{Access, Connection, Target};
use towpath::cluster::kubernetes::kinds::Kinds;
use towpath::cluster::kubernetes::marks::{self, Set};
use towpath::cluster::kubernetes::set::{ApplySet, Members};
use towpath::cluster::{Applied, ClusterError, UnitScope};
use towpath::manifest::{ImageFields, Layer, Rendered, Rendering, parse, render};
use towpath::model::{Conflicts, Identity, ObjectRef};
use towpath::plan::{Apply, Change, Prune};

use super::super::audit::{Asked, asked};
use super::super::bed::Bed;
use super::super::plane::User;

/// Long enough for a plane under load, and no test waits for it but those about silence.
const TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) struct Site {
    pub(crate) bed: &'static Bed,
    /// Somebody else, who may do everything.
    pub(crate) admin: Client,
    pub(crate) namespace: String,
    /// Who applies.
    pub(crate) user: User,
    pub(crate) client: Client,
    pub(crate) conflicts: Conflicts,
    pub(crate) engines: Vec<String>,
    pub(crate) application: String,
    pub(crate) set: ApplySet,
    pub(crate) sight: Known,
    pub(crate) allowed: Option<Vec<String>>,
    kinds: Kinds,
    permits: Semaphore,
    ahead: Ahead,
    commits: Mutex<u8>,
    kubeconfig: tempfile::NamedTempFile,
}

/// What was seen when the plan was made, and what the apply told.
#[derive(Default)]
pub(crate) struct Known {
    seen: Mutex<BTreeMap<ObjectRef, Seen>>,
    pub(crate) returned: Mutex<Vec<Value>>,
    pub(crate) deleted: Mutex<Vec<ObjectRef>>,
    pub(crate) members: Mutex<Option<Members>>,
}

impl Sight for Known {
    fn seen(&self, object: &ObjectRef) -> Option<Seen> {
        self.seen.lock().unwrap().get(object).cloned()
    }

    fn returned(&self, object: &str) {
        let object = serde_json::from_str(object).unwrap();
        self.returned.lock().unwrap().push(object);
    }

    fn deleted(&self, object: &ObjectRef, _: &str) {
        self.deleted.lock().unwrap().push(object.clone());
    }

    fn members(&self) -> Option<Members> {
        self.members.lock().unwrap().clone()
    }
}

fn connect(kubeconfig: &Path, timeout: Duration) -> Client {
    let target = Target::Context {
        context: "bed".to_owned(),
        kubeconfig: Some(kubeconfig.to_owned()),
    };
    let access = Access {
        target,
        timeout,
        proxy: None,
    };
    Connection::new(access).client()
}

impl Site {
    /// A namespace of its own, and a user that may do everything and of whom every request is counted.
    pub(crate) async fn new(prefix: &str) -> Option<Self> {
        let all = json!([{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] }]);
        Self::with_rights(prefix, Some(all)).await
    }

    /// The same with a user that may do what these rules of a ClusterRole say.
    pub(crate) async fn with_rights(prefix: &str, rules: Option<Value>) -> Option<Self> {
        let bed = super::super::shared()?;
        Some(Self::on(bed, prefix, rules).await)
    }

    /// The same on a plane of one's own.
    pub(crate) async fn on(bed: &'static Bed, prefix: &str, rules: Option<Value>) -> Self {
        let admin = bed.admin().await;
        let namespace = bed.namespace(&admin, prefix).await;
        let user = bed.plane.new_user();
        if let Some(rules) = rules {
            bed.allow(&admin, &user, None, rules).await;
        }
        let kubeconfig = tempfile::NamedTempFile::new().unwrap();
        let text = bed.plane.kubeconfig("bed", &user).unwrap();
        std::fs::write(kubeconfig.path(), text).unwrap();
        let client = connect(kubeconfig.path(), TIMEOUT);
        let environment = namespace.parse().unwrap();
        Self {
            bed,
            kinds: Kinds::new(client.clone()),
            set: ApplySet::new(Set::of(&environment, &namespace), client.clone()),
            admin,
            namespace,
            user,
            client,
            conflicts: Conflicts::Force,
            engines: Vec::new(),
            application: "shop".to_owned(),
            sight: Known::default(),
            allowed: None,
            permits: Semaphore::new(32),
            ahead: Ahead::default(),
            commits: Mutex::new(0),
            kubeconfig,
        }
    }

    /// Another client of who applies, whose requests have this deadline.
    pub(crate) fn hasty(&self, timeout: Duration) -> Client {
        connect(self.kubeconfig.path(), timeout)
    }

    /// The manifests, in which `NS` stands for the site's namespace.
    pub(crate) fn rendered(&self, manifests: &str) -> Arc<Rendered> {
        let fields = ImageFields::default();
        let text = manifests.replace("NS", &self.namespace);
        let file = parse("kubernetes/shop.yaml", text.as_bytes(), &fields).unwrap();
        let layer = Layer {
            directory: "kubernetes",
            files: &[Arc::new(file)],
            images: None,
        };
        let rendering = Rendering {
            default_namespace: &self.namespace,
            fields: &fields,
            access: None,
        };
        Arc::new(render(&[layer], &[], rendering).unwrap())
    }

    /// What an apply of these manifests would be, by what is live now: everything that does not carry the hash of its
    /// manifest is applied. Nothing is deleted.
    pub(crate) async fn plan(&self, manifests: &str) -> Apply {
        let rendered = self.rendered(manifests);
        let mut change = Vec::new();
        let mut seen = BTreeMap::new();
        for object in &rendered.objects {
            let live = self.find(&object.reference).await;
            let metadata = live.as_ref().map(|live| &live.metadata);
            let mark = metadata.and_then(marks::mark);
            if let (Some(metadata), Some(live)) = (metadata, &live) {
                seen.insert(
                    self.settled(live, &object.reference),
                    Seen::of(metadata).unwrap(),
                );
            }
            if mark.is_none_or(|mark| mark.hash != object.hash()) {
                change.push(Change {
                    reference: object.reference.clone(),
                    version: metadata.and_then(|it| it.resource_version.clone()),
                    hash: object.hash(),
                    anew: object.run.is_some(),
                });
            }
        }
        *self.sight.seen.lock().unwrap() = seen;
        let mut commits = self.commits.lock().unwrap();
        *commits += 1;
        Apply {
            number: 1,
            asked_at: towpath::clock::now(),
            commit: format!("{:040x}", *commits).parse().unwrap(),
            release: None,
            rendered,
            change,
            later: Vec::new(),
            prune: Vec::new(),
        }
    }

    /// Has the apply delete these too, as they are live now: `Kind name`.
    pub(crate) async fn prune(&self, mut apply: Apply, objects: &[&str]) -> Apply {
        for text in objects {
            let reference = self.reference(text);
            let live = self.find(&reference).await.expect("it is there");
            let seen = Seen::of(&live.metadata).unwrap();
            apply.prune.push(Prune {
                reference: reference.clone(),
                uid: seen.uid.clone(),
            });
            self.sight.seen.lock().unwrap().insert(reference, seen);
        }
        apply
    }

    pub(crate) async fn run(&self, step: &Apply) -> Result<Applied, ClusterError> {
        self.run_with(self.client.clone(), step).await
    }

    /// Applies with another client than the site's own.
    pub(crate) async fn run_with(
        &self,
        client: Client,
        step: &Apply,
    ) -> Result<Applied, ClusterError> {
        let allows = |object: &ObjectRef| self.allows(object);
        let context = self.context(client, &allows);
        apply(&context, &self.scope(), step, towpath::clock::now()).await
    }

    /// Has the server judge what is about to be applied.
    pub(crate) async fn judge_ahead(&self, step: &Apply) {
        let allows = |object: &ObjectRef| self.allows(object);
        let context = self.context(self.client.clone(), &allows);
        judge_ahead(&context, &self.scope(), step, towpath::clock::now()).await;
    }

    fn allows(&self, object: &ObjectRef) -> Result<(), String> {
        match (&self.allowed, &object.namespace) {
            (Some(allowed), Some(namespace)) if !allowed.contains(namespace) => {
                Err(format!("the namespace `{namespace}` is somebody else's"))
            }
            _ => Ok(()),
        }
    }

    fn context<'a>(&'a self, client: Client, allows: Allows<'a>) -> ApplyContext<'a> {
        ApplyContext {
            cluster: "the bed",
            client,
            kinds: &self.kinds,
            set: &self.set,
            conflicts: self.conflicts,
            engines: &self.engines,
            allows,
            permits: &self.permits,
            sight: &self.sight,
            ahead: &self.ahead,
        }
    }

    fn scope(&self) -> UnitScope {
        UnitScope {
            environment: self.namespace.parse().unwrap(),
            application: self.application.parse().unwrap(),
        }
    }

    /// Plans and applies.
    pub(crate) async fn apply(&self, manifests: &str) -> Result<Applied, ClusterError> {
        self.run(&self.plan(manifests).await).await
    }

    /// Plans and applies, which must end with an error that says this.
    pub(crate) async fn refuses(&self, manifests: &str, expected: &str) -> ClusterError {
        let error = self.apply(manifests).await.expect_err("it is refused");
        let said = error.to_string();
        assert!(said.contains(expected), "{said}\nshould say: {expected}");
        error
    }

    /// `Kind name` or `Kind.group name`, of the kinds that tests use.
    pub(crate) fn reference(&self, text: &str) -> ObjectRef {
        let (kind, name) = text.split_once(' ').unwrap();
        let (kind, group) = match kind.split_once('.') {
            Some((kind, group)) => (kind, group),
            None => match kind {
                "Deployment" | "StatefulSet" => (kind, "apps"),
                "Job" => (kind, "batch"),
                "Role" | "RoleBinding" | "ClusterRole" => (kind, "rbac.authorization.k8s.io"),
                _ => (kind, ""),
            },
        };
        let cluster_scoped = ["Namespace", "ClusterRole", "PriorityClass"].contains(&kind);
        ObjectRef::from(Identity {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: (!cluster_scoped).then(|| self.namespace.clone()),
            name: name.to_owned(),
        })
    }

    /// An object as it is live, read by somebody else.
    pub(crate) async fn live(&self, text: &str) -> Option<Value> {
        let live = self.find(&self.reference(text)).await?;
        Some(serde_json::to_value(live).unwrap())
    }

    pub(crate) async fn find(&self, reference: &ObjectRef) -> Option<DynamicObject> {
        let kind = self.kinds.find(&reference.group, &reference.kind);
        let kind = kind.await.unwrap()?;
        let api = kind.api(self.admin.clone(), None, reference.namespace.as_deref());
        api.get_opt(&reference.name).await.unwrap()
    }

    /// The API of an object's kind, for somebody else.
    pub(crate) async fn api(&self, text: &str) -> Api<DynamicObject> {
        let reference = self.reference(text);
        let kind = self.kinds.find(&reference.group, &reference.kind);
        let kind = kind.await.unwrap().unwrap();
        kind.api(self.admin.clone(), None, reference.namespace.as_deref())
    }

    pub(crate) async fn delete(&self, text: &str) {
        let reference = self.reference(text);
        let parameters = DeleteParams::default();
        let api = self.api(text).await;
        drop(api.delete(&reference.name, &parameters).await.unwrap());
    }

    /// The names of the objects of a kind that carry the environment's mark.
    pub(crate) async fn marked(&self, kind: &str) -> Vec<String> {
        let label = format!("{}={}", marks::ENVIRONMENT, self.namespace);
        let listed = self.api(&format!("{kind} x")).await;
        let listed = listed.list(&ListParams::default().labels(&label)).await;
        let names = listed.unwrap().items.into_iter();
        names.filter_map(|object| object.metadata.name).collect()
    }

    /// The kinds and namespaces that the set's parent names.
    pub(crate) async fn parent(&self) -> Option<(String, String)> {
        let parent = self
            .live(&format!("ConfigMap {}", self.set.set().name))
            .await?;
        let annotation = |name: &str| {
            let text = parent["metadata"]["annotations"][name].as_str();
            text.unwrap_or_default().to_owned()
        };
        Some((
            annotation(marks::GROUP_KINDS),
            annotation(marks::NAMESPACES),
        ))
    }

    /// What the user asked since it began, without what kinds there are: `get`, `dry run`, `apply`, `edit`,
    /// `delete`, and of what.
    pub(crate) fn asked(&self) -> Vec<String> {
        let asked = asked(&self.bed.plane, &self.user).into_iter();
        let of_objects =
            asked.filter(|it| it.object.matches('/').count() == 2 && !it.object.ends_with('/'));
        of_objects.map(|asked| self.line(&asked)).collect()
    }

    /// What the user asked beyond what it had asked then.
    pub(crate) fn asked_since(&self, before: &[String]) -> Vec<String> {
        self.asked().split_off(before.len())
    }

    fn line(&self, asked: &Asked) -> String {
        let what = match asked.verb.as_str() {
            "patch" if asked.uri.contains("dryRun=All") => "dry run",
            "patch" if !asked.uri.contains("force=") => "edit",
            "patch" => "apply",
            verb => verb,
        };
        let object = asked.object.replace(&self.namespace, "NS");
        let object = object.strip_prefix("NS/").unwrap_or(&object);
        format!("{what} {object}")
    }

    fn settled(&self, live: &DynamicObject, reference: &ObjectRef) -> ObjectRef {
        ObjectRef::from(Identity {
            namespace: live.metadata.namespace.clone(),
            ..Identity::clone(reference)
        })
    }
}

/// A ConfigMap of one entry.
pub(crate) fn config_map(name: &str, value: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name} }}\ndata: {{ key: \"{value}\" }}\n"
    )
}

/// A workload that nothing in the bed works on, so that nobody but the test moves it, with more of its
/// spec as YAML.
pub(crate) fn workload(name: &str, image: &str, more: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: ReplicationController\nmetadata: {{ name: {name} }}\nspec:\n  selector: {{ app: {name} }}\n  \
         template: {{ metadata: {{ labels: {{ app: {name} }} }}, spec: {{ containers: [{{ name: web, image: \"{image}\" }}] }} }}\n{more}\n"
    )
}

/// A Deployment of no replicas, with the value of the label that it selects by.
pub(crate) fn deployment(name: &str, label: &str, more: &str) -> String {
    format!(
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n{more}\nspec:\n  replicas: 0\n  selector: {{ matchLabels: {{ app: \"{label}\" }} }}\n  \
         template: {{ metadata: {{ labels: {{ app: \"{label}\" }} }}, spec: {{ containers: [{{ name: web, image: shop }}] }} }}\n"
    )
}

/// The metadata of an object that was read.
pub(crate) fn metadata(object: &Value) -> ObjectMeta {
    ObjectMeta::deserialize(&object["metadata"]).unwrap()
}
