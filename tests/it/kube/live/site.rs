//! An environment on a plane, looked at as a running process does: manifests go in, what the cluster runs
//! comes out, and every request is counted.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use towpath::clock;
use towpath::cluster::kubernetes::connect::{Access, Target};
use towpath::cluster::kubernetes::health::Rules;
use towpath::cluster::kubernetes::{KubernetesCluster, Place, Policy};
use towpath::cluster::{Applied, Cluster as _, ClusterError, ReadCluster as _, UnitScope};
use towpath::manifest::{ImageFields, Layer, Rendered, Rendering, parse, render};
use towpath::model::{Conflicts, Health, ObjectRef};
use towpath::plan::{Apply, Change, Live, LiveObject, Prune};

use super::super::audit::asked_in;
use super::super::bed::Bed;
use super::super::plane::User;

/// Long enough for a plane under load.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What a plane that works needs at most for anything that a test waits for.
const WAIT: Duration = Duration::from_secs(60);

pub(crate) struct Site {
    audit_log: PathBuf,
    /// Somebody else, who may do everything.
    pub(crate) admin: Client,
    pub(crate) namespace: String,
    pub(crate) user: User,
    pub(crate) cluster: KubernetesCluster,
    kubeconfig: tempfile::NamedTempFile,
    timeout: Duration,
    commits: AtomicU32,
}

/// An environment's applications in these tests.
pub(crate) const SHOP: &str = "shop";
pub(crate) const BLOG: &str = "blog";

impl Site {
    /// A namespace and an environment of that name, and a user that may do everything.
    pub(crate) async fn new(bed: &Bed, prefix: &str) -> Self {
        let all = json!([{ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] }]);
        Self::with(bed, prefix, all, TIMEOUT).await
    }

    /// The same with a user that may do what these rules of a ClusterRole say, and with this deadline.
    pub(crate) async fn with(bed: &Bed, prefix: &str, rules: Value, timeout: Duration) -> Self {
        let admin = bed.admin().await;
        let namespace = bed.namespace(&admin, prefix).await;
        let user = bed.plane.new_user();
        bed.allow(&admin, &user, None, rules).await;
        let kubeconfig = tempfile::NamedTempFile::new().unwrap();
        let text = bed.plane.kubeconfig("bed", &user).unwrap();
        std::fs::write(kubeconfig.path(), text).unwrap();
        let cluster = clusters(&kubeconfig, timeout, &[&namespace], anything()).remove(0);
        Self {
            audit_log: bed.plane.audit_log(),
            admin,
            namespace,
            user,
            cluster,
            kubeconfig,
            timeout,
            commits: AtomicU32::new(0),
        }
    }

    /// The process ends, and begins anew.
    pub(crate) fn restart(&mut self) {
        self.cluster = clusters(
            &self.kubeconfig,
            self.timeout,
            &[&self.namespace],
            anything(),
        )
        .remove(0);
    }

    /// The process begins anew with another kubeconfig, whose context is `bed`, and other policies.
    pub(crate) fn restart_as(&mut self, kubeconfig: &str, policy: Policy) {
        std::fs::write(self.kubeconfig.path(), kubeconfig).unwrap();
        let mut clusters = clusters(&self.kubeconfig, self.timeout, &[&self.namespace], policy);
        self.cluster = clusters.remove(0);
    }

    /// The same with a second environment beside it, which is given.
    pub(crate) fn restart_with(&mut self, other: &str) -> KubernetesCluster {
        let mut both = clusters(
            &self.kubeconfig,
            self.timeout,
            &[&self.namespace, other],
            anything(),
        );
        let other = both.remove(1);
        self.cluster = both.remove(0);
        other
    }

    pub(crate) fn unit(&self, application: &str) -> UnitScope {
        UnitScope {
            environment: self.namespace.parse().unwrap(),
            application: application.parse().unwrap(),
        }
    }

    /// The manifests, in which `NS` stands for the site's namespace.
    pub(crate) fn rendered(&self, manifests: &str) -> Arc<Rendered> {
        rendered(&self.namespace, manifests)
    }

    pub(crate) async fn live(&self, desired: &Arc<Rendered>) -> Live {
        self.try_live(desired).await.unwrap()
    }

    pub(crate) async fn try_live(&self, desired: &Arc<Rendered>) -> Result<Live, ClusterError> {
        let unit = self.unit(SHOP);
        self.cluster.live(&unit, Some(desired), clock::now()).await
    }

    /// Applies what differs, and deletes what is no longer asked for.
    pub(crate) async fn apply(&self, desired: &Arc<Rendered>) -> Result<Applied, ClusterError> {
        self.apply_as(SHOP, desired).await
    }

    pub(crate) async fn apply_as(
        &self,
        application: &str,
        desired: &Arc<Rendered>,
    ) -> Result<Applied, ClusterError> {
        let unit = self.unit(application);
        let now = clock::now();
        let live = self.cluster.live(&unit, Some(desired), now).await?;
        let step = self.step(&unit, desired, &live);
        self.cluster.apply(&unit, &step, now).await
    }

    /// What differs, as a plan finds it.
    pub(crate) fn step(&self, unit: &UnitScope, desired: &Arc<Rendered>, live: &Live) -> Apply {
        let is_ours = |it: &LiveObject| it.is_of(&unit.application, &unit.environment);
        let differs = |reference: &ObjectRef, hash| {
            live.objects.get(reference).is_none_or(|it| {
                let same = it.mark.as_ref().is_some_and(|mark| mark.hash == hash);
                !is_ours(it) || !same || it.drift.is_some()
            })
        };
        let objects = desired.objects.iter();
        let change = objects.filter(|object| differs(&object.reference, object.hash()));
        let change = change.map(|object| Change {
            reference: object.reference.clone(),
            version: live
                .objects
                .get(&object.reference)
                .map(|it| it.version.clone()),
            hash: object.hash(),
            anew: false,
        });
        let surplus = live.objects.iter().filter(|(reference, it)| {
            let asked = desired
                .objects
                .iter()
                .any(|object| object.reference == **reference);
            is_ours(it) && !asked && it.kept.is_none() && it.claimed.is_none()
        });
        let prune = surplus.map(|(reference, it)| Prune {
            reference: reference.clone(),
            uid: it.uid.clone(),
        });
        let number = self.commits.fetch_add(1, Ordering::Relaxed) + 1;
        Apply {
            number: number.into(),
            asked_at: clock::now(),
            commit: format!("{number:040x}").parse().unwrap(),
            release: None,
            rendered: desired.clone(),
            change: change.collect(),
            later: Vec::new(),
            prune: prune.collect(),
        }
    }

    /// Looks whenever the cluster tells of a change, until what is live is as wanted.
    pub(crate) async fn until(
        &self,
        desired: &Arc<Rendered>,
        wanted: impl Fn(&Live) -> bool,
    ) -> Live {
        let waiting = tokio::time::timeout(WAIT, async {
            loop {
                let live = self.live(desired).await;
                if wanted(&live) {
                    return live;
                }
                self.told().await;
            }
        });
        match waiting.await {
            Ok(live) => live,
            Err(_) => panic!(
                "it did not become as wanted: {:#?}",
                self.live(desired).await
            ),
        }
    }

    /// Looks until an object is seen as it is.
    pub(crate) async fn until_seen(&self, desired: &Arc<Rendered>, object: &str) {
        let read = self.read(object).await.unwrap();
        let version = read["metadata"]["resourceVersion"].as_str().unwrap();
        let version: u64 = version.parse().unwrap();
        let kind = object.split(' ').next().unwrap();
        let seen = async {
            let seen = |live: &Live| only(live, kind).version.parse::<u64>().unwrap();
            while seen(&self.live(desired).await) < version {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(WAIT, seen).await.unwrap();
    }

    /// Waits until the cluster tells that the application changed.
    pub(crate) async fn told(&self) {
        let shop = SHOP.parse().unwrap();
        while !self.cluster.changed(clock::now()).await.contains(&shop) {}
    }

    /// Applies, and looks until everything is healthy.
    pub(crate) async fn deploy(&self, manifests: &str) -> Arc<Rendered> {
        let desired = self.rendered(manifests);
        drop(self.apply(&desired).await.unwrap());
        self.until(&desired, is_healthy).await;
        desired
    }

    /// What the user asked, without what kinds there are and without what explains trouble: `list
    /// configmaps`, `dry run configmaps/a`.
    pub(crate) fn asked(&self) -> Vec<String> {
        let asked = asked_in(&self.audit_log, &self.user).into_iter();
        let lines = asked.filter_map(|asked| {
            let (_, what) = asked
                .object
                .split_once('/')
                .filter(|(_, what)| *what != "/")?;
            // What explains why a workload is not ready comes and goes with the workloads.
            let explains = ["pods", "replicasets", "controllerrevisions", "events"];
            if explains.contains(&what.trim_end_matches('/')) {
                return None;
            }
            let verb = match asked.verb.as_str() {
                "patch" if asked.uri.contains("dryRun=All") => "dry run",
                "patch" => "apply",
                "watch" if asked.uri.contains("sendInitialEvents") => "list",
                verb => verb,
            };
            Some(format!("{verb} {}", what.trim_end_matches('/')))
        });
        lines.collect()
    }

    /// What the user asked beyond that.
    pub(crate) fn asked_since(&self, before: &[String]) -> Vec<String> {
        self.asked().split_off(before.len())
    }

    /// Somebody else changes an object by a merge patch.
    pub(crate) async fn change(&self, text: &str, manager: &str, patch: Value) {
        let (api, name) = self.api(text).await;
        let parameters = PatchParams {
            field_manager: Some(manager.to_owned()),
            ..PatchParams::default()
        };
        let changed = api.patch(&name, &parameters, &Patch::Merge(patch)).await;
        drop(changed.unwrap());
    }

    /// An object as somebody else sees it.
    pub(crate) async fn read(&self, text: &str) -> Option<Value> {
        let (api, name) = self.api(text).await;
        let found = api.get_opt(&name).await.unwrap()?;
        Some(serde_json::to_value(found).unwrap())
    }

    /// `Kind name`, for somebody else.
    pub(crate) async fn api(&self, text: &str) -> (Api<DynamicObject>, String) {
        let (kind, name) = text.split_once(' ').unwrap();
        let (group, plural) = match kind {
            "Deployment" => ("apps", "deployments"),
            "Job" => ("batch", "jobs"),
            "ConfigMap" => ("", "configmaps"),
            "Secret" => ("", "secrets"),
            "Service" => ("", "services"),
            other => panic!("{other} is not known here"),
        };
        let resource = kube::api::ApiResource {
            group: group.to_owned(),
            version: "v1".to_owned(),
            api_version: match group {
                "" => "v1".to_owned(),
                group => format!("{group}/v1"),
            },
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        };
        let api = Api::namespaced_with(self.admin.clone(), &self.namespace, &resource);
        (api, name.to_owned())
    }
}

/// Whatever is asked for may be applied.
pub(crate) fn anything() -> Policy {
    Policy {
        conflicts: Conflicts::Force,
        engines: Vec::new(),
        access: None,
        rules: Rules::default(),
    }
}

/// Environments on one cluster, each with a namespace of its name.
fn clusters(
    kubeconfig: &tempfile::NamedTempFile,
    timeout: Duration,
    environments: &[&str],
    policy: Policy,
) -> Vec<KubernetesCluster> {
    let place = Place::new(Access {
        target: Target::Context {
            context: "bed".to_owned(),
            kubeconfig: Some(kubeconfig.path().to_owned()),
        },
        timeout,
        proxy: None,
    });
    let units = [SHOP, BLOG].map(|name| (name.parse().unwrap(), policy.clone()));
    let units: BTreeMap<_, _> = units.into();
    let environments = environments.iter();
    environments
        .map(|name| KubernetesCluster::new(&place, &name.parse().unwrap(), name, units.clone()))
        .collect()
}

/// The manifests, in which `NS` stands for the namespace.
pub(crate) fn rendered(namespace: &str, manifests: &str) -> Arc<Rendered> {
    let fields = ImageFields::default();
    let text = manifests.replace("NS", namespace);
    let file = parse("kubernetes/shop.yaml", text.as_bytes(), &fields).unwrap();
    let layer = Layer {
        directory: "kubernetes",
        files: &[Arc::new(file)],
        images: None,
    };
    let rendering = Rendering {
        default_namespace: namespace,
        access: None,
        fields: &fields,
    };
    Arc::new(render(&[layer], &[], rendering).unwrap())
}

/// Whether everything is ours and does what it should.
pub(crate) fn is_healthy(live: &Live) -> bool {
    let mut objects = live.objects.values();
    !live.objects.is_empty() && objects.all(|it| it.mark.is_some() && it.health == Health::Current)
}

/// The one object of a kind.
pub(crate) fn only<'a>(live: &'a Live, kind: &str) -> &'a LiveObject {
    let mut found = live.objects.iter().filter(|(it, _)| it.kind == kind);
    let (_, object) = found
        .next()
        .unwrap_or_else(|| panic!("no {kind}: {live:#?}"));
    assert!(found.next().is_none(), "more than one {kind}: {live:#?}");
    object
}
