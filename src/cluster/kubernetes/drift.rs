//! Whether an object that somebody touched differs from what was applied: asked of the server, by a dry
//! run of that object alone, once for each thing that was touched.
//!
//! Owns that question, and how often in a row an object was set back and changed again. Changes
//! nothing.

use std::collections::HashMap;
use std::num::NonZeroI64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::compare;
use super::marks::{self, MANAGER};
use super::refusal::Refusal;
use super::request::{Patch, Sender, Target, View};
use super::watch::{Key, Question, Suspect, Watch};
use crate::backoff::backoff;
use crate::cluster::ClusterError;
use crate::plan::Drifted;

/// How many objects are asked about at once.
const IN_FLIGHT: usize = 8;

/// How often an object is read anew that changes while it is asked about.
const TRIES: usize = 3;

/// From so many rounds on somebody is taken to fight, and given rest.
const PATIENCE: u32 = 3;

/// The first rest; doubled each further round.
const REST_MIN: Duration = Duration::from_secs(60);

/// The longest rest.
const REST_MAX: Duration = Duration::from_secs(3600);

/// An object that was left alone for so long after its rest is at peace again.
const PEACE: SignedDuration = SignedDuration::from_mins(10);

/// How often objects were set back and changed again.
#[derive(Default)]
pub(super) struct Fights(Mutex<HashMap<(usize, Key), Fight>>);

#[derive(Debug, Clone)]
struct Fight {
    rounds: u32,
    /// The apply after which it was changed last, by the server's time.
    applied: Option<NonZeroI64>,
    last: Timestamp,
    rest_until: Option<Timestamp>,
}

/// Asks about objects that somebody touched, and keeps the answers in the watch.
///
/// # Errors
/// [`ClusterError::Unavailable`].
pub(super) async fn settle(
    watch: &Watch,
    fights: &Fights,
    sender: &Sender<'_>,
    suspects: Vec<Suspect>,
    now: Timestamp,
) -> Result<(), ClusterError> {
    let asked = stream::iter(suspects).map(|suspect| one(watch, fights, sender, suspect, now));
    let answers: Vec<_> = asked.buffer_unordered(IN_FLIGHT).collect().await;
    answers.into_iter().collect()
}

async fn one(
    watch: &Watch,
    fights: &Fights,
    sender: &Sender<'_>,
    suspect: Suspect,
    now: Timestamp,
) -> Result<(), ClusterError> {
    let Some(question) = watch.question(&suspect) else {
        return Ok(());
    };
    for _ in 0..TRIES {
        let asked = ask(watch, fights, sender, &suspect, &question, now).await;
        match asked {
            Ok(()) => return Ok(()),
            // It changed between both questions: what differs could be anybody's.
            Err(Refusal::Stale | Refusal::Replaced) => {}
            Err(refusal) => {
                let object = &suspect.object.reference;
                return Err(super::apply::error(watch.cluster(), object, None, refusal));
            }
        }
    }
    // It does not stand still; the next look asks again.
    Ok(())
}

async fn ask(
    watch: &Watch,
    fights: &Fights,
    sender: &Sender<'_>,
    suspect: &Suspect,
    question: &Question,
    now: Timestamp,
) -> Result<(), Refusal> {
    let object = &suspect.object;
    let mut stated = marks::dressed(
        object,
        question.kind.namespaced,
        &question.mark,
        watch.set(),
    );
    let version = stated["apiVersion"].as_str().map(str::to_owned);
    let version = version.as_deref().and_then(|it| it.rsplit('/').next());
    let target = Target::new(&question.kind, version, &object.reference);
    let target = target.discreet(object.is_secret());
    // Where it is gone meanwhile the watch tells.
    let Some(live) = sender.get(&target, View::Whole).await? else {
        return Ok(());
    };
    let touched = compare::touched(&stated, &owned(&live), Some(&live));
    if touched.is_empty() {
        watch.is_whole(suspect);
        return Ok(());
    }
    let number = compare::fingerprint(&touched).max(1);
    if watch.knows(suspect, number) {
        return Ok(());
    }
    let patch = Patch {
        manager: MANAGER,
        dry_run: true,
        force: true,
        view: View::Whole,
    };
    stated["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
    let body = stated.to_string().into_bytes();
    let fields = match sender.apply(&target, patch, body).await {
        Ok(reply) => compare::differences(&live, &reply.value()?),
        Err(refusal @ (Refusal::Unavailable { .. } | Refusal::Stale | Refusal::Replaced)) => {
            return Err(refusal);
        }
        // What cannot be set back is told all the same; who tries hears why.
        Err(_) => touched.iter().map(|it| it.path().to_owned()).collect(),
    };
    let drift = (!fields.is_empty()).then(|| {
        let by = compare::holder(&fields, &live["metadata"]["managedFields"]);
        let fight = fights.another(suspect, question.applied, now);
        Drifted {
            fields,
            by,
            rounds: fight.rounds,
            rest_until: fight.rest_until,
        }
    });
    watch.found(suspect, number, drift);
    Ok(())
}

/// What our apply owns of a live object.
fn owned(live: &Value) -> Value {
    let managed = live["metadata"]["managedFields"].as_array();
    let ours = managed.into_iter().flatten().find(|entry| {
        entry["manager"] == MANAGER
            && entry["operation"] == "Apply"
            && entry.get("subresource").is_none()
    });
    ours.map_or(Value::Null, |entry| entry["fieldsV1"].clone())
}

impl Fights {
    /// An object was found changed since this apply of ours.
    fn another(&self, suspect: &Suspect, applied: Option<NonZeroI64>, now: Timestamp) -> Fight {
        let mut fights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (suspect.kind, suspect.key.clone());
        let at_peace = |fight: &Fight| {
            let since = fight
                .rest_until
                .map_or(fight.last, |rest| rest.max(fight.last));
            now.duration_since(since) > PEACE
        };
        fights.retain(|_, fight| !at_peace(fight));
        let fight = fights.entry(key).or_insert(Fight {
            rounds: 0,
            applied,
            last: now,
            rest_until: None,
        });
        // Only what was set back in between counts as another round.
        if fight.applied != applied {
            fight.rounds += 1;
            fight.applied = applied;
            fight.rest_until = rest(fight.rounds).and_then(|rest| now.checked_add(rest).ok());
        }
        fight.last = now;
        fight.clone()
    }
}

fn rest(rounds: u32) -> Option<Duration> {
    let doublings = rounds.checked_sub(PATIENCE)?;
    Some(backoff(REST_MIN, doublings, REST_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_fights_is_given_rest() {
        for (rounds, expected) in [
            (0, None),
            (2, None),
            (3, Some(60)),
            (4, Some(120)),
            (8, Some(1920)),
            (9, Some(3600)),
            (99, Some(3600)),
        ] {
            assert_eq!(rest(rounds), expected.map(Duration::from_secs), "{rounds}");
        }
    }
}
