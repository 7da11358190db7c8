//! When what happened to each release, counted from the moment the registry had its image.

use jiff::Timestamp;
use serde::Serialize;

use super::builds::Build;
use crate::event::{Event, EventKind};

/// The stations of a release in one environment, in milliseconds; `None` where it has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Times {
    /// All its images were seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<i64>,
    /// The commit landed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub committed: Option<i64>,
    /// The proposal stood.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proposed: Option<i64>,
    /// The merge was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merged: Option<i64>,
    /// The cluster had it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub applied: Option<i64>,
    /// It was healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthy: Option<i64>,
    /// It failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<i64>,
}

impl Times {
    /// The times of a release in an environment.
    pub fn of(build: &Build, environment: &str, log: &[Event]) -> Self {
        let digest = |event: &Event| {
            let release = event.release.as_ref();
            release.is_some_and(|it| it.images.values().any(|image| image.digest == build.digest))
        };
        let here = |event: &Event| {
            event
                .environment
                .as_ref()
                .is_some_and(|it| it.as_str() == environment)
        };
        let first = |kind: EventKind, counts: &dyn Fn(&Event) -> bool| {
            let mut events = log
                .iter()
                .filter(|event| event.kind == kind && digest(event));
            events
                .find(|event| counts(event))
                .map(|event| since(build.pushed, event.at))
        };
        let committed = first(EventKind::Committed, &here);
        Self {
            // Seen once, where it is taken from the registry.
            seen: committed.and_then(|_| first(EventKind::ReleaseSeen, &|_| true)),
            committed,
            proposed: first(EventKind::Proposed, &here),
            merged: first(EventKind::Merged, &here),
            applied: first(EventKind::Applied, &here),
            healthy: first(EventKind::Healthy, &here),
            failed: first(EventKind::Failed, &here),
        }
    }
}

/// Milliseconds from one moment to another.
pub fn since(start: Timestamp, at: Timestamp) -> i64 {
    i64::try_from(at.duration_since(start).as_millis()).unwrap_or(i64::MAX)
}
