//! The last lines that a failed Job wrote, for the text of its verdict.
//!
//! Owns which container's log tells why the Job failed, and what of that log is shown. What is shown ends
//! up in records as it was written: nobody can know which words in it are secret, so that a Job whose log
//! may hold some says so by an annotation ([`manifest::LOGS`]). A log that cannot be read delays nothing for
//! long and is no error: there are no lines then.

use std::time::Duration;

use futures_util::AsyncReadExt as _;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use kube::api::{Api, ListParams, LogParams};
use kube::{Client, ResourceExt as _};
use serde_json::Value;

use super::answer::{self, Asked};
use super::health::text;
use crate::manifest;

/// As many lines are shown.
const LINES: usize = 5;

/// What stands between them.
const BETWEEN: &str = " | ";

/// As many lines are read: some may be blank.
const LINES_READ: i64 = 20;

/// As much is read. What is longer comes without its end: the kubelet counts from the first of the lines.
const BYTES_READ: u32 = 256 << 10;

/// As many pods are looked at. A Job has seven that failed before it gives up, unless it says otherwise.
const PODS: u32 = 100;

/// All of it may take so long: a verdict waits for it.
const DEADLINE: Duration = Duration::from_secs(3);

/// The label by which a Job's controller marks the Job's pods.
const OWNER: &str = "batch.kubernetes.io/controller-uid";

/// A Job whose log may be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobLog {
    namespace: String,
    name: String,
    uid: String,
}

impl JobLog {
    /// The log of an object as the server shows it, if that is a Job which runs for every release
    /// ([`manifest::RUN`]) and does not keep its log to itself ([`manifest::LOGS`]).
    pub fn of(object: &Value) -> Option<Self> {
        let api = object["apiVersion"].as_str()?;
        let is_job = object["kind"] == "Job" && api.starts_with("batch/");
        let metadata = &object["metadata"];
        let annotation = |key: &str| metadata["annotations"][key].as_str();
        let is_told = metadata["annotations"].get(manifest::LOGS).is_none();
        if !is_job || annotation(manifest::RUN).is_none() || !is_told {
            return None;
        }
        let text = |key: &str| metadata[key].as_str().map(str::to_owned);
        Some(Self {
            namespace: text("namespace")?,
            name: text("name")?,
            uid: text("uid")?,
        })
    }

    /// The same, once the Job has failed: before that, what it wrote tells nothing.
    pub fn of_failed(object: &Value) -> Option<Self> {
        let conditions = object["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        let is_over = conditions.any(|it| {
            it["status"] == "True" && (it["type"] == "Failed" || it["type"] == "FailureTarget")
        });
        Self::of(object).filter(|_| is_over)
    }

    /// The last lines that the container wrote which failed in the newest failed pod: at most 5, as one
    /// line of at most 2 KiB, without control characters and terminal escapes. `None` where there are none
    /// or they could not be read within 3 s.
    ///
    /// Needs the verbs `list` on `pods` and `get` on `pods/log`.
    pub async fn last_lines(&self, client: &Client) -> Option<String> {
        let why = match tokio::time::timeout(DEADLINE, self.read(client)).await {
            Ok(Ok(log)) => return shown(&log),
            Ok(Err(why)) => why,
            Err(_) => format!("no answer within {} s", DEADLINE.as_secs()),
        };
        let Self {
            namespace, name, ..
        } = self;
        tracing::info!(namespace, job = name, why, "what it wrote is not told");
        None
    }

    async fn read(&self, client: &Client) -> Result<Vec<u8>, String> {
        let pods = Api::<Pod>::namespaced(client.clone(), &self.namespace);
        let which = ListParams::default()
            .labels(&format!("{OWNER}={}", self.uid))
            .fields("status.phase!=Succeeded")
            .limit(PODS);
        let found = pods.list(&which).await;
        let found = found.map_err(|error| self.refused("list", "pods", &error))?;
        let culprit = culprit(&found.items, &self.uid).ok_or("no failed pod of it is there")?;
        let what = LogParams {
            container: Some(culprit.container.to_owned()),
            previous: culprit.was_restarted,
            tail_lines: Some(LINES_READ),
            limit_bytes: Some(BYTES_READ.into()),
            ..LogParams::default()
        };
        let log = pods.log_stream(&culprit.pod, &what).await;
        let log = log.map_err(|error| self.refused("get", "pods/log", &error))?;
        let mut bytes = Vec::new();
        let read = log.take(BYTES_READ.into()).read_to_end(&mut bytes).await;
        read.map_err(|error| answer::chain(&error))?;
        Ok(bytes)
    }

    fn refused(&self, verb: &'static str, resource: &str, error: &kube::Error) -> String {
        let asked = Asked {
            verb,
            resource: resource.to_owned(),
            namespace: Some(self.namespace.clone()),
        };
        answer::detail(&asked, error)
    }
}

/// The container that tells why a Job failed.
#[derive(Debug, PartialEq, Eq)]
struct Culprit<'a> {
    pod: String,
    container: &'a str,
    /// It runs again, or is about to: what counts is what it wrote before.
    was_restarted: bool,
}

/// How a container tells of a failure; the first tells most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Telling {
    /// It ended badly.
    Failed,
    /// It ended badly and was restarted since.
    Restarted,
    /// It is being stopped: the Job took too long.
    Stopped,
}

/// Looks in the newest pod of the Job in which anything failed.
fn culprit<'a>(pods: &'a [Pod], job: &str) -> Option<Culprit<'a>> {
    let is_owned = |pod: &&Pod| pod.owner_references().iter().any(|it| it.uid == job);
    let found = pods.iter().filter(is_owned).filter_map(|pod| {
        let (telling, container) = failed(pod)?;
        let culprit = Culprit {
            pod: pod.name_any(),
            container,
            was_restarted: telling == Telling::Restarted,
        };
        Some((pod.creation_timestamp(), culprit))
    });
    let newest = found.max_by(|(at, one), (other_at, other)| {
        at.cmp(other_at).then_with(|| one.pod.cmp(&other.pod))
    });
    newest.map(|(_, culprit)| culprit)
}

/// Of several containers the one that ended first: sidecars are stopped after it, which they may call a
/// failure of their own.
fn failed(pod: &Pod) -> Option<(Telling, &str)> {
    let status = pod.status.as_ref()?;
    let containers = status.container_statuses.iter().flatten();
    let before = status.init_container_statuses.iter().flatten();
    let is_stopped = pod.metadata.deletion_timestamp.is_some();
    let tellings = containers.chain(before).filter_map(|container| {
        let (telling, ended) = telling(container, is_stopped)?;
        Some((telling, ended, container.name.as_str()))
    });
    let first = tellings.min_by_key(|(telling, ended, _)| (*telling, *ended));
    first.map(|(telling, _, name)| (telling, name))
}

/// What a container tells, and when it ended.
fn telling(
    container: &ContainerStatus,
    is_stopped: bool,
) -> Option<(Telling, Option<jiff::Timestamp>)> {
    let state = container.state.as_ref()?;
    let last = container.last_state.as_ref();
    let ended_badly = |telling, ended: Option<&ContainerStateTerminated>| {
        let ended = ended.filter(|it| it.exit_code != 0)?;
        Some((telling, ended.finished_at.as_ref().map(|at| at.0)))
    };
    ended_badly(Telling::Failed, state.terminated.as_ref())
        .or_else(|| {
            let last = last.and_then(|last| last.terminated.as_ref());
            ended_badly(
                Telling::Restarted,
                last.filter(|_| state.terminated.is_none()),
            )
        })
        .or_else(|| (is_stopped && state.running.is_some()).then_some((Telling::Stopped, None)))
}

/// The end of a log, fit to stand within a line in front of a person.
pub(super) fn shown(log: &[u8]) -> Option<String> {
    let log = String::from_utf8_lossy(log);
    let lines: Vec<String> = log
        .split('\n')
        .map(visible)
        .filter(|line| !line.is_empty())
        .collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    (!last.is_empty()).then(|| last.join(BETWEEN))
}

/// What a terminal would show of a line in the end: after the last return of the carriage, without what
/// steers the terminal.
fn visible(line: &str) -> String {
    let line = line.trim_end_matches('\r');
    let line = line.rsplit_once('\r').map_or(line, |(_, last)| last);
    text::clean(&anstream::adapter::strip_str(line).to_string())
}

#[cfg(test)]
mod tests;
