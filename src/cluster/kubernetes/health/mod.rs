//! How a live object does, from what the cluster says of it: pure, one file a kind. Never asks
//! anybody, never reads the clock, never decides what follows.
//!
//! The rules are those of kstatus (<https://pkg.go.dev/sigs.k8s.io/cli-utils/pkg/kstatus/status>),
//! made stricter where they call something current that nobody has looked at yet, and quicker where
//! pods already say that waiting is in vain. What an object itself does not tell comes as
//! [`Evidence`], reduced from its pods and events; what nobody can know of a custom resource comes as
//! [`Rules`] from the configuration.
//!
//! Three kinds of trouble are told apart everywhere: what cannot pass by itself fails at once
//! (an image that is not there, a container that crashes again and again, a pod that admission
//! denies); what may pass is given [`PATIENCE`] (a quota, a missing Secret); the rest is only told
//! (a pod without a node, a registry that does not answer), and the environment's deadline decides.

mod api_service;
mod cron_job;
mod custom;
mod custom_resource_definition;
mod daemon_set;
mod deployment;
mod evidence;
mod expression;
mod horizontal_pod_autoscaler;
mod job;
mod namespace;
mod persistent_volume_claim;
mod pod;
mod pod_disruption_budget;
mod replica_set;
mod rules;
mod seen;
mod service;
mod stateful_set;
pub(super) mod text;
mod trouble;
mod workload;

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

pub use evidence::{Around, Definition, EventFacts, Evidence, PodFacts, RevisionFacts, evidence};
pub use rules::{InvalidRule, Rules};

use crate::model::Health;
use seen::{Moment, Seen};

/// How long trouble is waited for that may pass by itself though it usually does not: a quota that
/// pods on their way out still fill (they have 30 s by default), a Secret that another controller
/// is about to make.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The health of a live object at a time.
///
/// `object` is the object as the server shows it; any JSON gives an answer. `evidence` is what
/// [`evidence()`] made of what belongs to it. `now` is best the server's time: it is compared with
/// times that the server wrote.
///
/// The text in the answer names the object.
pub fn health(object: &Value, evidence: &Evidence, rules: &Rules, now: Timestamp) -> Health {
    read(object, evidence, rules, &Moment::new(now))
}

/// When [`health`] may answer otherwise by the passing of time alone: some patience or grace ends
/// then. `None`: it will not.
pub fn next_look(
    object: &Value,
    evidence: &Evidence,
    rules: &Rules,
    now: Timestamp,
) -> Option<Timestamp> {
    let moment = Moment::new(now);
    read(object, evidence, rules, &moment);
    moment.next()
}

fn read(object: &Value, evidence: &Evidence, rules: &Rules, moment: &Moment) -> Health {
    let seen = Seen::new(object, evidence, moment);
    if let Some(leaving) = leaving(&seen) {
        return leaving;
    }
    if !seen.is_observed() {
        return deployment::not_made(&seen).unwrap_or_else(|| {
            seen.in_progress("its controller has not seen its newest spec yet")
        });
    }
    match rules.of(&seen) {
        Some(rule) => rule.health(&seen),
        None => by_kind(&seen),
    }
}

/// Being deleted is never the end by itself: finalizers may take any time, and the deadline tells
/// who holds it.
fn leaving(seen: &Seen<'_>) -> Option<Health> {
    let since = seen.text("/metadata/deletionTimestamp")?;
    let finalizers = seen.list("/metadata/finalizers");
    let finalizers: Vec<&str> = finalizers.iter().filter_map(Value::as_str).collect();
    let mut told = format!("is being deleted since {}", text::clean(since));
    if !finalizers.is_empty() {
        told = format!("{told}, held by {}", text::clean(&finalizers.join(", ")));
    }
    if let Some(why) = namespace::remains(seen) {
        told = format!("{told}: {why}");
    }
    Some(seen.in_progress(told))
}

/// Whether a group is one of Kubernetes' own: its kinds have no definition that could be read.
pub fn is_built_in(group: &str) -> bool {
    BUILT_IN.contains(&group)
}

fn by_kind(seen: &Seen<'_>) -> Health {
    match (seen.group(), seen.kind()) {
        ("apps", "Deployment") => deployment::health(seen),
        ("apps", "StatefulSet") => stateful_set::health(seen),
        ("apps", "DaemonSet") => daemon_set::health(seen),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => replica_set::health(seen),
        ("batch", "Job") => job::health(seen),
        ("batch", "CronJob") => cron_job::health(seen),
        ("", "Pod") => pod::health(seen),
        ("", "Service") => service::health(seen),
        ("", "PersistentVolumeClaim") => persistent_volume_claim::health(seen),
        ("", "Namespace") => namespace::health(seen),
        ("policy", "PodDisruptionBudget") => pod_disruption_budget::health(seen),
        ("autoscaling", "HorizontalPodAutoscaler") => horizontal_pod_autoscaler::health(seen),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            custom_resource_definition::health(seen)
        }
        ("apiregistration.k8s.io", "APIService") => api_service::health(seen),
        (group, _) if BUILT_IN.contains(&group) => Health::Current,
        _ => custom::health(seen),
    }
}

/// Kubernetes' own groups. Their other kinds do what they state as soon as they are stored, or, as
/// an Ingress, in a way that not every controller reports.
const BUILT_IN: [&str; 23] = [
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "extensions",
    "flowcontrol.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
    "storagemigration.k8s.io",
];
