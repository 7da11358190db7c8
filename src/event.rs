//! Events: what happened, for people and pages that watch. No decision reads them.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::model::{ApplicationName, CommitId, EnvironmentName, Release};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: EventKind,
    /// Where; `None` for what concerns the application as a whole.
    pub environment: Option<EnvironmentName>,
    /// To which application.
    pub application: ApplicationName,
    /// About which release.
    pub release: Option<Release>,
    /// The infra commit.
    pub commit: Option<CommitId>,
    /// The deployment's number.
    pub number: Option<u64>,
    /// What else there is to say.
    pub reason: Option<String>,
}

/// The kinds of events, in the order in which a release meets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventKind {
    /// All its images exist.
    ReleaseSeen,
    /// It is committed to an environment's branch.
    Committed,
    /// It is proposed to a gated environment.
    Proposed,
    /// The request about its proposal is opened.
    Opened,
    /// A person merged the proposal.
    Merged,
    /// A person declined the proposal.
    Declined,
    /// It went from one environment to the next.
    Promoted,
    /// The cluster was told to run it.
    Applied,
    /// It became healthy.
    Healthy,
    /// It did not.
    Failed,
    /// The unit waits for a person or a newer release.
    Held,
    /// The deployment has its tag.
    Recorded,
}

impl EventKind {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReleaseSeen => "release-seen",
            Self::Committed => "committed",
            Self::Proposed => "proposed",
            Self::Opened => "opened",
            Self::Merged => "merged",
            Self::Declined => "declined",
            Self::Promoted => "promoted",
            Self::Applied => "applied",
            Self::Healthy => "healthy",
            Self::Failed => "failed",
            Self::Held => "held",
            Self::Recorded => "recorded",
        }
    }
}

impl Event {
    /// The event as one JSON object; `at_ms` counts from `start`.
    pub fn to_json(&self, start: Timestamp) -> Value {
        let mut object = Map::new();
        let milliseconds = self.at.duration_since(start).as_millis();
        object.insert(
            "at_ms".to_owned(),
            json!(i64::try_from(milliseconds).unwrap_or(i64::MAX)),
        );
        object.insert("event".to_owned(), json!(self.kind.name()));
        let mut put = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                object.insert(key.to_owned(), Value::String(value));
            }
        };
        put(
            "environment",
            self.environment.as_ref().map(ToString::to_string),
        );
        put("application", Some(self.application.to_string()));
        put(
            "release",
            self.release.as_ref().map(|release| release.name.clone()),
        );
        let digest = self
            .release
            .as_ref()
            .and_then(|release| release.images.values().next());
        put("digest", digest.map(|image| image.digest.to_string()));
        put("commit", self.commit.map(|commit| commit.to_string()));
        put("reason", self.reason.clone());
        if let Some(number) = self.number {
            object.insert("number".to_owned(), json!(number));
        }
        Value::Object(object)
    }
}
