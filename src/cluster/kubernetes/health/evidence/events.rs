//! Events, reduced to what they say about an object's health.

use jiff::Timestamp;
use serde_json::Value;

use super::super::seen::text_at;
use super::super::text;

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFacts {
    /// The uid of the object it is about.
    pub about: Box<str>,
    is_warning: bool,
    warning: Warning,
}

/// Something that a controller complained of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Warning {
    pub(in super::super) reason: Box<str>,
    pub(in super::super) message: Box<str>,
    /// When it was said first and last.
    pub(in super::super) first: Timestamp,
    pub(in super::super) last: Timestamp,
}

impl EventFacts {
    /// What an event (of `v1` or `events.k8s.io/v1`) says about health; `None`: nothing.
    pub fn of(event: &Value) -> Option<Self> {
        let text = |pointers: [&str; 2]| pointers.iter().find_map(|it| text_at(event, it));
        let time = |pointer: &str| text_at(event, pointer)?.parse::<Timestamp>().ok();
        let about = text(["/involvedObject/uid", "/regarding/uid"])?;
        let reason = text(["/reason", "/reason"]).unwrap_or_default();
        let is_warning = text_at(event, "/type") == Some("Warning");
        if !is_warning && reason != WAIT_FOR_FIRST_CONSUMER {
            return None;
        }
        let told = [
            "/series/lastObservedTime",
            "/lastTimestamp",
            "/deprecatedLastTimestamp",
            "/eventTime",
            "/metadata/creationTimestamp",
        ];
        let begun = ["/firstTimestamp", "/deprecatedFirstTimestamp", "/eventTime"];
        let last = told.into_iter().find_map(time)?;
        Some(Self {
            about: about.into(),
            is_warning,
            warning: Warning {
                reason: text::clean(reason).into(),
                message: text::clean(text(["/message", "/note"]).unwrap_or_default()).into(),
                first: begun.into_iter().find_map(time).unwrap_or(last),
                last,
            },
        })
    }
}

impl Warning {
    /// What a condition says, which has no second time.
    pub(in super::super) fn standing(reason: &str, message: &str, since: Timestamp) -> Self {
        Self {
            reason: text::clean(reason).into(),
            message: text::clean(message).into(),
            first: since,
            last: since,
        }
    }

    pub(in super::super) fn told(&self) -> String {
        text::reason(&self.reason, &self.message)
    }
}

const WAIT_FOR_FIRST_CONSUMER: &str = "WaitForFirstConsumer";

/// What events say about one object.
#[derive(Debug, Default)]
pub(super) struct About {
    pub(super) refusal: Option<Warning>,
    pub(super) warning: Option<Warning>,
    pub(super) waits_for_consumer: bool,
}

/// What was said about an object since its spec was written: what was said before is about another.
pub(super) fn about(uid: &str, events: &[&EventFacts], since: Option<Timestamp>) -> About {
    let mut about = About::default();
    if uid.is_empty() {
        return about;
    }
    for event in events.iter().filter(|event| *event.about == *uid) {
        if !event.is_warning {
            about.waits_for_consumer = true;
            continue;
        }
        let mut warning = event.warning.clone();
        if let Some(since) = since {
            if warning.last < since {
                continue;
            }
            warning.first = warning.first.max(since);
        }
        let slot = match warning.reason.as_ref() {
            "FailedCreate" => &mut about.refusal,
            _ => &mut about.warning,
        };
        if slot.as_ref().is_none_or(|known| known.last < warning.last) {
            *slot = Some(warning);
        }
    }
    about
}

/// The newest warning about a pod.
pub(super) fn newest_warning(pod: &str, events: &[&EventFacts]) -> Option<String> {
    let about = events
        .iter()
        .filter(|event| event.is_warning && !pod.is_empty() && *event.about == *pod);
    about
        .max_by_key(|event| event.warning.last)
        .map(|event| event.warning.told())
}
