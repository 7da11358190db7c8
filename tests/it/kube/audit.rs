//! What was asked of a plane, read from its audit log. A request is in it before its answer arrives, so a
//! count taken after an answer is exact.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::plane::{Plane, User};

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// As in roles: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub(crate) verb: String,
    /// Path and query: `dryRun=All` stands here.
    pub(crate) uri: String,
    /// `NAMESPACE/RESOURCE/NAME`, each as far as there is one.
    pub(crate) object: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    user: Name,
    #[serde(default)]
    object_ref: Object,
}

#[derive(Deserialize)]
struct Name {
    username: String,
}

#[derive(Deserialize, Default)]
struct Object {
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    resource: String,
    #[serde(default)]
    name: String,
}

/// What this user asked of the plane since it started, in order.
pub(crate) fn asked(plane: &Plane, user: &User) -> Vec<Asked> {
    asked_in(&plane.audit_log(), user)
}

/// The same from the plane's audit log, for those who do not hold the plane.
pub(crate) fn asked_in(log: &Path, user: &User) -> Vec<Asked> {
    let log = std::fs::read_to_string(log).unwrap();
    // The last line may still be written.
    let whole = log
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    let events = whole.map(|line| serde_json::from_str::<Event>(line).unwrap());
    events
        .filter(|event| event.stage == "RequestReceived" && event.user.username == user.name)
        .map(|event| Asked {
            verb: event.verb,
            uri: event.request_uri,
            object: [
                event.object_ref.namespace,
                event.object_ref.resource,
                event.object_ref.name,
            ]
            .join("/"),
        })
        .collect()
}

/// How often each verb.
pub(crate) fn verbs(asked: &[Asked]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for one in asked {
        *counts.entry(one.verb.as_str()).or_default() += 1;
    }
    counts
}

/// Whether an apply of this user came after that offset; and where the log ends now.
pub(crate) fn apply_has_come(log: &Path, after: u64, user: &User) -> (bool, u64) {
    let log = std::fs::read(log).unwrap();
    let end = log
        .iter()
        .rposition(|it| *it == b'\n')
        .map_or(0, |it| it + 1);
    let after = usize::try_from(after).unwrap().min(end);
    let come = applies(&log[after..end], user).any(|it| it.event.stage == "RequestReceived");
    (come, end as u64)
}

/// Objects that this user applied more than once with the same mark, each time with success.
pub(crate) fn applied_twice(plane: &Plane, user: &User) -> Vec<String> {
    let log = std::fs::read(plane.audit_log()).unwrap();
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for apply in applies(&log, user).filter(|it| it.event.stage == "ResponseComplete") {
        let mark = &apply.sent["metadata"]["annotations"]["towpath.dev/hash"];
        let code = apply.answer["code"].as_u64();
        if mark.is_string() && code.is_some_and(|it| it < 300) {
            let path = apply.event.request_uri.split('?').next().unwrap();
            *times.entry(format!("{path} {mark}")).or_default() += 1;
        }
    }
    let doubled = times.into_iter().filter(|(_, times)| *times > 1);
    doubled
        .map(|(what, times)| format!("{what} was applied {times} times"))
        .collect()
}

/// An apply in the log.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Apply {
    #[serde(flatten)]
    event: Event,
    #[serde(default, rename = "requestObject")]
    sent: Value,
    #[serde(default, rename = "responseStatus")]
    answer: Value,
}

/// What this user applied, not to try it only. What an API server was about to write when it was killed is no line.
fn applies(log: &[u8], user: &User) -> impl Iterator<Item = Apply> {
    let lines = log.split(|it| *it == b'\n');
    let applies = lines.filter_map(|line| serde_json::from_slice::<Apply>(line).ok());
    applies.filter(|Apply { event, .. }| {
        let is_theirs = event.user.username == user.name;
        is_theirs && event.verb == "patch" && !event.request_uri.contains("dryRun")
    })
}
