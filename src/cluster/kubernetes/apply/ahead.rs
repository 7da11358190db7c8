//! What the server judged before its apply was due: while the record that must stand first is on its way, the
//! server is asked what it thinks of the very requests that will follow.
//!
//! A judgement holds for one request of the same bytes, which names the live version it stands on, and not for
//! long. Where it does not hold, or is not there, the server is asked as ever.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::dry_run::{Looked, Ready};
use super::item::Item;
use super::{ApplyContext, Hand, Seen, each};
use crate::cluster::UnitScope;
use crate::cluster::kubernetes::refusal::Refusal;
use crate::model::{Digest, ObjectRef};
use crate::plan::Apply;

/// How long the server's word is taken for what it would say now: the apply itself is judged in any case.
const HOLDS_FOR: Duration = Duration::from_secs(5);

/// No more than this is remembered.
const MOST: usize = 1000;

/// See the module.
#[derive(Debug, Default)]
pub struct Ahead(Mutex<HashMap<ObjectRef, Judged>>);

#[derive(Debug)]
struct Judged {
    at: Instant,
    /// Of the request's body.
    asked: Digest,
    ready: Ready,
    /// What the item stands on since it was judged.
    version: Option<String>,
    uid: Option<String>,
    seen: Option<Seen>,
}

impl Ahead {
    /// How an object is applied, if the server just judged this very request. An item stands on what was found
    /// then.
    pub(super) fn take(&self, hand: &Hand<'_>, item: &mut Item<'_>) -> Option<Ready> {
        let judged = self.locked().remove(&item.reference)?;
        let holds = judged.at.elapsed() < HOLDS_FOR;
        if !holds || item.body(hand).ok().map(|body| Digest::of(&body)) != Some(judged.asked) {
            return None;
        }
        item.version = judged.version;
        item.uid = judged.uid;
        item.seen = judged.seen;
        Some(judged.ready)
    }

    fn keep(&self, object: ObjectRef, judged: Judged) {
        let mut all = self.locked();
        if all.len() >= MOST {
            all.retain(|_, judged| judged.at.elapsed() < HOLDS_FOR);
        }
        if all.len() < MOST {
            all.insert(object, judged);
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<ObjectRef, Judged>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has the server judge what it can judge before anything of the apply is there. What it has against any of it
/// is told by the apply.
pub async fn judge_ahead(
    context: &ApplyContext<'_>,
    scope: &UnitScope,
    apply: &Apply,
    now: Timestamp,
) {
    let hand = Hand::new(context, scope, apply, now);
    let Ok(mut work) = hand.work(apply).await else {
        return;
    };
    let due = work.items.iter_mut().filter(|item| item.needs.is_none());
    let judged = each(due, |item| async {
        let judged = match item.body(&hand) {
            Ok(body) => hand.judge_one(item, Digest::of(&body)).await,
            Err(refusal) => Err(refusal),
        };
        ((), judged)
    });
    drop(judged.await);
}

impl Hand<'_> {
    async fn judge_one(&self, item: &mut Item<'_>, asked: Digest) -> Result<(), Refusal> {
        if let Looked::Ready(ready) = self.look(item).await? {
            let judged = Judged {
                at: Instant::now(),
                asked,
                ready,
                version: item.version.clone(),
                uid: item.uid.clone(),
                seen: item.seen.clone(),
            };
            self.context.ahead.keep(item.reference.clone(), judged);
        }
        Ok(())
    }
}
