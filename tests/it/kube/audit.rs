//! What was asked of a plane, read from its audit log. A request is in it before its answer arrives, so a
//! count taken after an answer is exact.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

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
