//! An object with what else is known, as the kinds' rules read it: nothing that is missing or of
//! another form is an error here, it just is not there.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::evidence::Evidence;
use super::text;
use crate::clock;
use crate::model::{Health, Identity, ObjectRef};

/// Now, and when time alone will next change an answer.
#[derive(Debug)]
pub(super) struct Moment {
    now: Timestamp,
    next: Cell<Option<Timestamp>>,
}

impl Moment {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            now,
            next: Cell::new(None),
        }
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.next.get()
    }

    /// Whether so much time has passed since then. If not, the end of it is noted.
    pub(super) fn has_passed(&self, since: Timestamp, patience: Duration) -> bool {
        let end = clock::after(since, patience);
        if self.now >= end {
            return true;
        }
        let next = self.next.get().map_or(end, |next| next.min(end));
        self.next.set(Some(next));
        false
    }
}

/// An object, its evidence and the moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) object: &'a Value,
    pub(super) evidence: &'a Evidence,
    pub(super) moment: &'a Moment,
}

impl<'a> Seen<'a> {
    pub(super) fn new(object: &'a Value, evidence: &'a Evidence, moment: &'a Moment) -> Self {
        Self {
            object,
            evidence,
            moment,
        }
    }

    /// The API group; empty for the core group.
    pub(super) fn group(&self) -> &'a str {
        group(self.object)
    }

    pub(super) fn kind(&self) -> &'a str {
        self.text("/kind").unwrap_or_default()
    }

    /// A text that is not empty.
    pub(super) fn text(&self, pointer: &str) -> Option<&'a str> {
        text_at(self.object, pointer)
    }

    pub(super) fn time(&self, pointer: &str) -> Option<Timestamp> {
        self.text(pointer)?.parse().ok()
    }

    /// A number of things.
    pub(super) fn count(&self, pointer: &str) -> Option<i64> {
        self.object.pointer(pointer)?.as_i64()
    }

    /// A number of things that a controller leaves out where there are none.
    pub(super) fn number(&self, pointer: &str) -> i64 {
        self.count(pointer).unwrap_or(0)
    }

    pub(super) fn is_true(&self, pointer: &str) -> bool {
        self.object.pointer(pointer).and_then(Value::as_bool) == Some(true)
    }

    pub(super) fn list(&self, pointer: &str) -> &'a [Value] {
        let list = self.object.pointer(pointer).and_then(Value::as_array);
        list.map_or(&[], Vec::as_slice)
    }

    pub(super) fn generation(&self) -> Option<i64> {
        self.count("/metadata/generation")
    }

    /// Whether the object's controller has seen its newest generation, as far as it says which one
    /// it saw.
    pub(super) fn is_observed(&self) -> bool {
        match (self.observed(), self.generation()) {
            (Some(observed), Some(generation)) => observed == generation,
            _ => true,
        }
    }

    /// Whether the controller has said which generation it saw: some kinds always do.
    pub(super) fn was_observed(&self) -> bool {
        self.observed().is_some()
    }

    /// Argo Rollouts write the number as a text.
    fn observed(&self) -> Option<i64> {
        let pointer = "/status/observedGeneration";
        self.count(pointer)
            .or_else(|| self.text(pointer)?.parse().ok())
    }

    pub(super) fn condition(&self, kind: &str) -> Option<Condition<'a>> {
        conditions(self.list("/status/conditions")).find(|condition| condition.kind == kind)
    }

    /// When the spec was last written, or else the object made.
    pub(super) fn written_at(&self) -> Option<Timestamp> {
        self.evidence
            .written_at
            .or_else(|| self.time("/metadata/creationTimestamp"))
    }

    /// Whether something said at that time can be about the newest spec. What has no time is
    /// believed.
    pub(super) fn is_since_written(&self, at: Option<Timestamp>) -> bool {
        match (at, self.written_at()) {
            (Some(at), Some(written)) => at >= written,
            _ => true,
        }
    }

    pub(super) fn in_progress(&self, why: impl fmt::Display) -> Health {
        Health::InProgress(self.about(why))
    }

    pub(super) fn failed(&self, why: impl fmt::Display) -> Health {
        Health::Failed(self.about(why))
    }

    pub(super) fn not_exercised(&self, why: impl fmt::Display) -> Health {
        Health::NotExercised(self.about(why))
    }

    fn about(&self, why: impl fmt::Display) -> String {
        let reference = ObjectRef::from(Identity {
            group: self.group().to_owned(),
            kind: self.kind().to_owned(),
            namespace: self.text("/metadata/namespace").map(str::to_owned),
            name: self.text("/metadata/name").unwrap_or_default().to_owned(),
        });
        format!("{reference}: {why}")
    }
}

/// A statement that a controller keeps in an object's status.
#[derive(Debug, Clone, Copy)]
pub(super) struct Condition<'a> {
    pub(super) kind: &'a str,
    /// `True`, `False` or `Unknown`.
    pub(super) status: &'a str,
    pub(super) reason: &'a str,
    message: &'a str,
    /// The generation it speaks of, if it says so.
    pub(super) observed: Option<i64>,
    /// When it came to be, or was last repeated.
    pub(super) since: Option<Timestamp>,
}

impl Condition<'_> {
    pub(super) fn is(&self, status: &str) -> bool {
        self.status == status
    }

    /// `Reason: message`, or its name where it has neither.
    pub(super) fn why(&self) -> String {
        match text::reason(self.reason, self.message) {
            why if why.is_empty() => text::clean(&format!("{} is {}", self.kind, self.status)),
            why => why,
        }
    }

    /// The message, or the reason where there is none.
    pub(super) fn message(&self) -> String {
        match text::clean(self.message) {
            message if message.is_empty() => self.why(),
            message => message,
        }
    }
}

/// The conditions in a list of them.
pub(super) fn conditions(list: &[Value]) -> impl Iterator<Item = Condition<'_>> {
    list.iter().map(|condition| {
        let time = |pointer| text_at(condition, pointer).and_then(|time| time.parse().ok());
        Condition {
            kind: text_at(condition, "/type").unwrap_or_default(),
            status: text_at(condition, "/status").unwrap_or_default(),
            reason: text_at(condition, "/reason").unwrap_or_default(),
            message: text_at(condition, "/message").unwrap_or_default(),
            observed: condition.get("observedGeneration").and_then(Value::as_i64),
            since: time("/lastUpdateTime").or_else(|| time("/lastTransitionTime")),
        }
    })
}

/// The API group of an object; empty for the core group.
pub(super) fn group(object: &Value) -> &str {
    let version = text_at(object, "/apiVersion").unwrap_or_default();
    version.split_once('/').map_or("", |(group, _)| group)
}

/// A text that is not empty.
pub(super) fn text_at<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    let text = object.pointer(pointer)?.as_str()?;
    (!text.is_empty()).then_some(text)
}
