//! The pod faker: the node that every pod runs on and what becomes of its containers there, by rules on
//! their images. Owns pods' statuses and the node's logs; never anything else in the plane.
//!
//! Only pods of jobs are bound to the node, so that their logs can be read: a pod that is bound goes only
//! when its node says so, which the others need not wait for.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};

use super::plane::Node;

/// The node's name.
const NODE: &str = "node-1";

/// What a container that fails writes before.
const LAST_WORDS: &str =
    "applying migration 41\napplying migration 42\nmigration 42 failed: relation exists\n";

/// How long after a refused connection the next one is tried.
const AGAIN: Duration = Duration::from_millis(50);

/// How many statuses are written at a time: each needs a connection.
const WRITERS: usize = 16;

/// What becomes of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It runs and is ready after a while.
    Ready(Duration),
    /// It runs and never becomes ready.
    NeverReady,
    /// Its image cannot be had.
    ImagePullBackOff,
    /// It runs and exits, again and again.
    CrashLoopBackOff,
    /// It exits with 0; so do those of jobs without a rule.
    Succeeded,
    /// It exits with 1.
    Failed,
}

/// Which containers have which fate. The last rule that fits counts; without one they become ready at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    /// The pod's namespace; empty for all.
    pub(crate) namespace: String,
    /// A part of the image's name: a tag, a digest.
    pub(crate) image: String,
    /// What becomes of it.
    pub(crate) fate: Fate,
}

/// Reads `NAMESPACE IMAGE FATE`, with `*` for every namespace and a fate as in `ready`, `ready:200ms`,
/// `never-ready`, `image-pull-back-off`, `crash-loop-back-off`, `succeeded`, `failed`.
impl FromStr for Rule {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> anyhow::Result<Self> {
        let [namespace, image, fate] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            bail!("`{line}` is not NAMESPACE IMAGE FATE");
        };
        let (fate, after) = fate.split_once(':').unwrap_or((fate, "0s"));
        let after: jiff::SignedDuration = after.parse()?;
        Ok(Self {
            namespace: namespace.trim_matches('*').to_owned(),
            image: image.to_owned(),
            fate: match fate {
                "ready" => Fate::Ready(after.try_into().context("a fate cannot be in the past")?),
                "never-ready" => Fate::NeverReady,
                "image-pull-back-off" => Fate::ImagePullBackOff,
                "crash-loop-back-off" => Fate::CrashLoopBackOff,
                "succeeded" => Fate::Succeeded,
                "failed" => Fate::Failed,
                _ => bail!("there is no fate `{fate}`"),
            },
        })
    }
}

/// Makes the node that pods of DaemonSets are meant for and that pods of jobs are bound to.
///
/// # Errors
/// What the API server says.
pub(crate) async fn make_node(client: Client, node: &Node) -> anyhow::Result<()> {
    let object: k8s_openapi::api::core::v1::Node = serde_json::from_value(json!({
        "metadata": { "name": NODE },
        "status": {
            "conditions": [{ "type": "Ready", "status": "True" }],
            "addresses": [{ "type": "InternalIP", "address": "127.0.0.1" }],
            "daemonEndpoints": { "kubeletEndpoint": { "Port": node.port } },
        },
    }))?;
    Api::all(client)
        .create(&PostParams::default(), &object)
        .await?;
    Ok(())
}

/// Gives every pod its fate, again where the rules change, until the rules' sender is gone. Goes on after
/// the API server was away.
pub(crate) async fn fake(client: Client, node: Node, mut rules: watch::Receiver<Vec<Rule>>) {
    let mut events = watcher(Api::<Pod>::all(client.clone()), watcher::Config::default()).boxed();
    let mut pods = Pods {
        client,
        node: Arc::new(node),
        known: HashMap::new(),
        patches: JoinSet::new(),
        writers: Arc::new(Semaphore::new(WRITERS)),
    };
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(Event::Apply(pod) | Event::InitApply(pod))) => {
                    pods.look(pod, &rules.borrow());
                }
                Some(Ok(Event::Delete(pod))) => pods.forget(&pod),
                Some(Ok(Event::Init | Event::InitDone)) => {}
                Some(Err(_)) => tokio::time::sleep(AGAIN).await,
                None => return,
            },
            changed = rules.changed() => {
                if changed.is_err() {
                    return;
                }
                pods.look_again(&rules.borrow_and_update());
            }
            Some(_) = pods.patches.join_next() => {}
        }
    }
}

/// Every pod that is there, and what it was told.
struct Pods {
    client: Client,
    node: Arc<Node>,
    known: HashMap<String, Known>,
    patches: JoinSet<()>,
    writers: Arc<Semaphore>,
}

struct Known {
    pod: Pod,
    fates: Vec<Fate>,
    patch: AbortHandle,
}

impl Pods {
    fn look(&mut self, pod: Pod, rules: &[Rule]) {
        let api = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        if is_leaving(&pod) {
            self.forget(&pod);
            self.patches.spawn(let_go(api, pod));
            return;
        }
        let fates = fates(&pod, rules);
        let uid = pod.uid().unwrap_or_default();
        let phase = pod.status.as_ref().and_then(|it| it.phase.as_deref());
        let is_over = matches!(phase, Some("Succeeded" | "Failed"));
        match self.known.get_mut(&uid) {
            Some(known) if known.fates == fates || is_over => {
                known.pod = pod;
                return;
            }
            Some(known) => known.patch.abort(),
            None => {}
        }
        let telling = Telling {
            api,
            node: Arc::clone(&self.node),
            pod: pod.clone(),
            fates: fates.clone(),
            writers: Arc::clone(&self.writers),
        };
        let patch = self.patches.spawn(telling.tell());
        self.known.insert(uid, Known { pod, fates, patch });
    }

    fn look_again(&mut self, rules: &[Rule]) {
        let pods: Vec<Pod> = self.known.values().map(|known| known.pod.clone()).collect();
        for pod in pods {
            self.look(pod, rules);
        }
    }

    fn forget(&mut self, pod: &Pod) {
        if let Some(known) = self.known.remove(&pod.uid().unwrap_or_default()) {
            known.patch.abort();
        }
    }
}

/// A pod that is about to be told its fates.
struct Telling {
    api: Api<Pod>,
    node: Arc<Node>,
    pod: Pod,
    fates: Vec<Fate>,
    writers: Arc<Semaphore>,
}

impl Telling {
    /// Waits as long as the slowest container needs, then writes the logs and the status.
    async fn tell(self) {
        let waits = self.fates.iter().map(|fate| match fate {
            Fate::Ready(after) => *after,
            _ => Duration::ZERO,
        });
        tokio::time::sleep(waits.max().unwrap_or_default()).await;
        let Ok(_turn) = self.writers.acquire().await else {
            return;
        };
        if is_job(&self.pod) {
            self.bind().await;
            self.write_logs().expect("the plane's directory is ours");
        }
        // A pod of the same name that came after it is refused.
        let body = json!({ "metadata": { "uid": self.pod.uid() }, "status": status(&self.pod, &self.fates) });
        let (name, params) = (self.pod.name_any(), PatchParams::default());
        let patch = Patch::Merge(&body);
        until_answered(|| self.api.patch_status(&name, &params, &patch)).await;
    }

    /// Refused where it was bound before.
    async fn bind(&self) {
        let name = self.pod.name_any();
        let binding = json!({
            "metadata": { "name": name, "uid": self.pod.uid() },
            "target": { "kind": "Node", "name": NODE },
        });
        let params = PostParams::default();
        until_answered(|| {
            self.api
                .create_subresource::<_, Value>("binding", &name, &params, &binding)
        })
        .await;
    }

    fn write_logs(&self) -> std::io::Result<()> {
        let namespace = self.pod.namespace().unwrap_or_default();
        let folder = self.node.logs.join(namespace).join(self.pod.name_any());
        std::fs::create_dir_all(&folder)?;
        let containers = self.pod.spec.iter().flat_map(|spec| &spec.containers);
        for (container, fate) in containers.zip(&self.fates) {
            for (ending, text) in logs(*fate) {
                std::fs::write(folder.join(format!("{}{ending}", container.name)), text)?;
            }
        }
        Ok(())
    }
}

/// Asks again where nobody answers.
async fn until_answered<T, A: Future<Output = kube::Result<T>>>(mut ask: impl FnMut() -> A) {
    while let Err(error) = ask().await {
        if matches!(&error, kube::Error::Api(status) if (400..429).contains(&status.code)) {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Whether it waits for its node to let it go.
fn is_leaving(pod: &Pod) -> bool {
    let bound = pod.spec.as_ref().is_some_and(|it| it.node_name.is_some());
    let meta = &pod.metadata;
    bound && meta.deletion_timestamp.is_some() && meta.deletion_grace_period_seconds != Some(0)
}

/// Says that its containers have stopped.
async fn let_go(api: Api<Pod>, pod: Pod) {
    let params = DeleteParams::default()
        .grace_period(0)
        .preconditions(Preconditions {
            uid: pod.uid(),
            resource_version: None,
        });
    let name = pod.name_any();
    until_answered(|| api.delete(&name, &params)).await;
}

fn is_job(pod: &Pod) -> bool {
    let policy = pod
        .spec
        .as_ref()
        .and_then(|it| it.restart_policy.as_deref());
    policy != Some("Always")
}

/// What a container has written, by the ending of its file.
fn logs(fate: Fate) -> &'static [(&'static str, &'static str)] {
    match fate {
        Fate::Failed => &[("", LAST_WORDS)],
        Fate::CrashLoopBackOff => &[("", "starting\n"), (".previous", LAST_WORDS)],
        Fate::ImagePullBackOff => &[],
        Fate::Ready(_) | Fate::NeverReady | Fate::Succeeded => &[("", "starting\n")],
    }
}

fn fates(pod: &Pod, rules: &[Rule]) -> Vec<Fate> {
    let namespace = pod.namespace().unwrap_or_default();
    let Some(spec) = &pod.spec else {
        return Vec::new();
    };
    let is_job = is_job(pod);
    let fate = |image: &str| {
        let fits = |rule: &&Rule| {
            (rule.namespace.is_empty() || rule.namespace == namespace)
                && image.contains(&rule.image)
        };
        match rules.iter().rev().find(fits) {
            Some(rule) => rule.fate,
            None if is_job => Fate::Succeeded,
            None => Fate::Ready(Duration::ZERO),
        }
    };
    let images = spec.containers.iter().map(|it| it.image.as_deref());
    images
        .map(|image| fate(image.unwrap_or_default()))
        .collect()
}

fn status(pod: &Pod, fates: &[Fate]) -> Value {
    let now = towpath::clock::now().round(jiff::Unit::Second);
    let now = now.map(|now| now.to_string()).unwrap_or_default();
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let containers = containers.zip(fates).map(|(container, fate)| {
        let image = container.image.as_deref().unwrap_or_default();
        container_status(&container.name, image, *fate, &now)
    });
    let ready = fates.iter().all(|fate| matches!(fate, Fate::Ready(_)));
    let phase = if fates.contains(&Fate::ImagePullBackOff) {
        "Pending"
    } else if fates.contains(&Fate::Failed) {
        "Failed"
    } else if fates.iter().all(|fate| *fate == Fate::Succeeded) {
        "Succeeded"
    } else {
        "Running"
    };
    let conditions = [
        ("PodScheduled", true),
        ("Initialized", true),
        ("ContainersReady", ready),
        ("Ready", ready),
    ]
    .map(|(kind, is)| {
        let status = if is { "True" } else { "False" };
        let reason = (!is).then_some("ContainersNotReady");
        json!({ "type": kind, "status": status, "reason": reason, "lastTransitionTime": now })
    });
    json!({
        "phase": phase,
        "startTime": now,
        "conditions": conditions,
        "containerStatuses": containers.collect::<Vec<_>>(),
    })
}

fn container_status(name: &str, image: &str, fate: Fate, now: &str) -> Value {
    let exited = |code: i32, reason: &str| json!({ "terminated": { "exitCode": code, "reason": reason, "startedAt": now, "finishedAt": now } });
    let waits = |reason: &str, message: String| json!({ "waiting": { "reason": reason, "message": message } });
    let running = json!({ "running": { "startedAt": now } });
    let (state, last, restarts) = match fate {
        Fate::Ready(_) | Fate::NeverReady => (running, json!({}), 0),
        Fate::ImagePullBackOff => {
            let message = format!("Back-off pulling image \"{image}\"");
            (waits("ImagePullBackOff", message), json!({}), 0)
        }
        Fate::CrashLoopBackOff => {
            let message = format!("back-off 40s restarting failed container={name}");
            let state = waits("CrashLoopBackOff", message);
            (state, exited(1, "Error"), 3)
        }
        Fate::Succeeded => (exited(0, "Completed"), json!({}), 0),
        Fate::Failed => (exited(1, "Error"), json!({}), 0),
    };
    json!({
        "name": name,
        "image": image,
        "imageID": image,
        "ready": matches!(fate, Fate::Ready(_)),
        "started": matches!(fate, Fate::Ready(_) | Fate::NeverReady),
        "restartCount": restarts,
        "state": state,
        "lastState": last,
    })
}
