//! What is wrong with a pod, how grave that is, and how people are told.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::Value;

use super::seen::{conditions, text_at};
use super::text;

/// A container that crashed so often after its first start is not waited for. The kubelet restarts it
/// at once the first time, and says CrashLoopBackOff from the second crash on; a third, some ten
/// seconds later, is no accident of the start any more.
const RESTARTS_TOLD: u64 = 2;

/// A pod that is not ready, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodTrouble {
    /// The pod's name.
    pub(super) pod: String,
    /// When it was made.
    pub(super) since: Option<Timestamp>,
    /// What its status tells.
    pub(super) trouble: Trouble,
    /// The newest warning about it, for what its status does not tell: mounts, probes, sandboxes.
    pub(super) warning: Option<String>,
}

/// Why a pod is not ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It has no node.
    Unscheduled {
        /// What the scheduler says.
        message: String,
    },
    /// A container does not run.
    Waiting {
        /// Which: `container app`, `init container migrate`.
        container: String,
        /// The kubelet's word for it.
        reason: String,
        message: String,
        restarts: u64,
        /// How it last ended.
        last: Option<Termination>,
    },
    /// A container runs, or ran a moment ago, and is not ready.
    NotReady {
        container: String,
        restarts: u64,
        last: Option<Termination>,
    },
    /// A container ended, for good.
    Ended {
        container: String,
        last: Termination,
    },
    /// Something about the whole pod: evicted, a readiness gate, nothing known yet.
    Other {
        /// `Reason: message`; may be empty.
        said: String,
    },
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Termination {
    exit_code: i64,
    reason: String,
    message: String,
}

/// What a trouble means for the wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Gravity {
    /// It does not pass by itself.
    Final,
    /// It may pass soon.
    Patient,
    /// It may pass any time.
    Passing,
}

impl PodTrouble {
    /// What is wrong with a pod; `None` where it is ready or has succeeded.
    pub(super) fn of(pod: &Value) -> Option<Self> {
        Some(Self {
            pod: text_at(pod, "/metadata/name")
                .map(text::clean)
                .unwrap_or_default(),
            since: text_at(pod, "/metadata/creationTimestamp").and_then(|at| at.parse().ok()),
            trouble: Trouble::of(pod)?,
            warning: None,
        })
    }

    pub(super) fn gravity(&self) -> Gravity {
        self.trouble.gravity()
    }

    /// Whether it is a container that crashes again and again: jobs count that themselves.
    pub(super) fn is_crashing(&self) -> bool {
        matches!(&self.trouble, Trouble::Waiting { reason, .. } if reason == "CrashLoopBackOff")
    }

    /// Whether its status leaves to events what is the matter.
    pub(super) fn needs_warning(&self) -> bool {
        match &self.trouble {
            Trouble::Waiting {
                reason, message, ..
            } => is_ordinary(reason) && message.is_empty(),
            Trouble::NotReady { .. } => true,
            Trouble::Other { said } => said.is_empty(),
            Trouble::Unscheduled { .. } | Trouble::Ended { .. } => false,
        }
    }

    /// `pod web-0: container app: …`; `None` where there is nothing to tell but that it is starting.
    pub(super) fn told(&self) -> Option<String> {
        Some(format!("pod {}: {}", self.pod, self.why()?))
    }

    /// What is told of it, without its name.
    pub(super) fn why(&self) -> Option<String> {
        match (self.trouble.told(), &self.warning) {
            (Some(trouble), Some(warning)) => Some(format!("{trouble}; {warning}")),
            (Some(trouble), None) => Some(trouble),
            (None, warning) => warning.clone(),
        }
    }
}

impl Trouble {
    fn of(pod: &Value) -> Option<Self> {
        let status = |pointer: &str| text_at(pod, pointer).unwrap_or_default();
        let phase = status("/status/phase");
        if phase == "Succeeded" {
            return None;
        }
        let containers: Vec<Container<'_>> = Container::all(pod).collect();
        let said = text::reason(status("/status/reason"), status("/status/message"));
        if phase == "Failed" {
            let ended = containers.iter().find_map(Container::ended);
            return Some(ended.unwrap_or(Self::Other { said }));
        }
        if let Some(unscheduled) = unscheduled(pod) {
            return Some(unscheduled);
        }
        let troubles = containers.iter().filter_map(Container::trouble);
        // Of equally grave ones the first: init containers come before those that wait for them.
        if let Some(worst) = troubles.min_by_key(Self::gravity) {
            return Some(worst);
        }
        let list = pod.pointer("/status/conditions").and_then(Value::as_array);
        let ready = conditions(list.map_or(&[], Vec::as_slice)).find(|it| it.kind == "Ready");
        match ready {
            Some(ready) if ready.is("True") => None,
            Some(ready) if !containers.is_empty() => Some(Self::Other { said: ready.why() }),
            _ => Some(Self::Other { said }),
        }
    }

    fn gravity(&self) -> Gravity {
        let Self::Waiting {
            reason,
            message,
            restarts,
            ..
        } = self
        else {
            return Gravity::Passing;
        };
        match reason.as_str() {
            "InvalidImageName" | "ErrImageNeverPull" => Gravity::Final,
            "ImagePullBackOff" if !is_registry_trouble(message) => Gravity::Final,
            "CrashLoopBackOff" if *restarts >= RESTARTS_TOLD => Gravity::Final,
            // A Secret or ConfigMap that is not there, or a container that cannot be made as it is stated.
            "CreateContainerConfigError" | "CreateContainerError" => Gravity::Patient,
            _ => Gravity::Passing,
        }
    }

    fn told(&self) -> Option<String> {
        match self {
            Self::Unscheduled { message } => Some(format!("cannot be scheduled: {message}")),
            Self::Waiting {
                container,
                reason,
                restarts,
                last,
                ..
            } if reason == "CrashLoopBackOff" => Some(crashing(
                container,
                "CrashLoopBackOff",
                *restarts,
                last.as_ref(),
            )),
            Self::Waiting {
                reason, message, ..
            } if is_ordinary(reason) && message.is_empty() => None,
            Self::Waiting {
                container,
                reason,
                message,
                ..
            } => Some(format!("{container}: {}", text::reason(reason, message))),
            Self::NotReady {
                restarts: 0,
                last: None,
                ..
            } => None,
            Self::NotReady {
                container,
                restarts,
                last,
            } => Some(crashing(container, "not ready", *restarts, last.as_ref())),
            Self::Ended { container, last } => Some(format!("{container}: {}", last.told())),
            Self::Other { said } if said.is_empty() => None,
            Self::Other { said } => Some(said.clone()),
        }
    }
}

impl Termination {
    fn of(terminated: &Value) -> Self {
        Self {
            exit_code: terminated
                .get("exitCode")
                .and_then(Value::as_i64)
                .unwrap_or(0),
            reason: text::clean(text_at(terminated, "/reason").unwrap_or_default()),
            message: text::clean(text_at(terminated, "/message").unwrap_or_default()),
        }
    }

    /// `exit code 137 (OOMKilled)`, with what the container left to say.
    fn told(&self) -> String {
        let mut told = format!("exit code {}", self.exit_code);
        // `Error` and `Completed` say no more than the code.
        if !matches!(self.reason.as_str(), "" | "Error" | "Completed") {
            let _ = write!(told, " ({})", self.reason);
        }
        if !self.message.is_empty() {
            let _ = write!(told, ": {}", self.message);
        }
        told
    }
}

/// A container's status.
struct Container<'a> {
    status: &'a Value,
    is_init: bool,
}

impl<'a> Container<'a> {
    fn all(pod: &'a Value) -> impl Iterator<Item = Self> {
        let lists = [
            ("/status/initContainerStatuses", true),
            ("/status/containerStatuses", false),
        ];
        lists.into_iter().flat_map(move |(pointer, is_init)| {
            let list = pod.pointer(pointer).and_then(Value::as_array);
            let list = list.map_or(&[][..], Vec::as_slice);
            list.iter().map(move |status| Self { status, is_init })
        })
    }

    fn name(&self) -> String {
        let kind = if self.is_init {
            "init container"
        } else {
            "container"
        };
        let name = text_at(self.status, "/name").unwrap_or_default();
        format!("{kind} {}", text::clean(name))
    }

    fn trouble(&self) -> Option<Trouble> {
        let restarts = self.status.get("restartCount").and_then(Value::as_u64);
        let restarts = restarts.unwrap_or(0);
        let last = self
            .status
            .pointer("/lastState/terminated")
            .map(Termination::of);
        if let Some(waiting) = self.status.pointer("/state/waiting") {
            let said = |pointer| text::clean(text_at(waiting, pointer).unwrap_or_default());
            return Some(Trouble::Waiting {
                container: self.name(),
                reason: said("/reason"),
                message: said("/message"),
                restarts,
                last,
            });
        }
        let ready = self.status.get("ready").and_then(Value::as_bool) == Some(true);
        let not_ready = |last| Trouble::NotReady {
            container: self.name(),
            restarts,
            last,
        };
        if let Some(terminated) = self.status.pointer("/state/terminated") {
            let ended = Termination::of(terminated);
            let is_done = ended.exit_code == 0 && (self.is_init || ready);
            return (!is_done).then(|| not_ready(Some(ended)));
        }
        // An init container that runs is doing what it is there for.
        let is_fine = ready || (self.is_init && restarts == 0);
        (!is_fine).then(|| not_ready(last))
    }

    /// How it ended, if badly.
    fn ended(&self) -> Option<Trouble> {
        let last = Termination::of(self.status.pointer("/state/terminated")?);
        (last.exit_code != 0).then(|| Trouble::Ended {
            container: self.name(),
            last,
        })
    }
}

fn unscheduled(pod: &Value) -> Option<Trouble> {
    let list = pod
        .pointer("/status/conditions")
        .and_then(Value::as_array)?;
    let scheduled = conditions(list).find(|it| it.kind == "PodScheduled")?;
    scheduled.is("False").then(|| Trouble::Unscheduled {
        message: scheduled.message(),
    })
}

fn crashing(container: &str, what: &str, restarts: u64, last: Option<&Termination>) -> String {
    let mut told = format!("{container}: {what}");
    if restarts > 0 {
        let plural = if restarts == 1 { "" } else { "s" };
        let _ = write!(told, " after {restarts} restart{plural}");
    }
    if let Some(last) = last {
        let _ = write!(told, ": {}", last.told());
    }
    told
}

/// What every container waits for before its first start.
fn is_ordinary(reason: &str) -> bool {
    matches!(reason, "" | "ContainerCreating" | "PodInitializing")
}

/// Whether an image could not be had for a reason that has nothing to do with the image.
fn is_registry_trouble(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    let passing = [
        "timeout",
        "deadline exceeded",
        "connection refused",
        "connection reset",
        "unexpected eof",
        "temporary failure",
        "server misbehaving",
        "network is unreachable",
        "no route to host",
        "too many requests",
        "toomanyrequests",
        "internal server error",
        "bad gateway",
        "service unavailable",
        "gateway time",
        "registryunavailable",
    ];
    passing.iter().any(|word| message.contains(word))
}
