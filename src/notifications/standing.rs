//! How it goes with one receiver: what was sent, since when it does not answer, until when it asks to be left
//! alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::clock;
use crate::model::NotificationName;

/// That a receiver still does not answer is told as often.
const TOLD_AGAIN: Duration = Duration::from_secs(3600);

/// What was counted of a receiver since the process began.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// Messages that it took.
    pub sent: u64,
    /// Attempts that came to nothing.
    pub failed: u64,
    /// Messages that it did not want, and that are not sent again.
    pub refused: u64,
    /// Since when it has not been told what it should be, and why.
    pub failing: Option<(Timestamp, String)>,
}

/// How it goes with every receiver since the process began, whatever became of the configuration. Clones count
/// together.
#[derive(Debug, Clone, Default)]
pub struct Standings(Arc<Mutex<BTreeMap<NotificationName, Arc<Standing>>>>);

impl Standings {
    /// What was counted of each.
    pub fn counts(&self) -> BTreeMap<NotificationName, Counts> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = all.iter().map(|(name, it)| (name.clone(), it.counts()));
        counts.collect()
    }

    pub(super) fn of(&self, name: &NotificationName) -> Arc<Standing> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.entry(name.clone());
        let known = known.or_insert_with(|| Arc::new(Standing::new(name.clone())));
        known.clone()
    }
}

/// See the module. All lanes of a receiver share it.
#[derive(Debug)]
pub(super) struct Standing {
    name: NotificationName,
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    counts: Counts,
    /// When that it fails was told last.
    told: Option<Timestamp>,
    /// It asks to be left alone until then.
    alone_until: Option<Timestamp>,
}

impl Standing {
    pub(super) fn new(name: NotificationName) -> Self {
        let now = Mutex::default();
        Self { name, now }
    }

    pub(super) fn counts(&self) -> Counts {
        self.now().counts.clone()
    }

    /// Until when it asks to be left alone.
    pub(super) fn alone_until(&self) -> Option<Timestamp> {
        self.now().alone_until
    }

    /// It took a message.
    pub(super) fn took(&self) {
        self.now().counts.sent += 1;
        self.answers();
    }

    /// It does not want this message, which is not sent again.
    pub(super) fn refused(&self, key: &str, why: &str) {
        let name = &self.name;
        tracing::error!(notification = %name, %key, "{name} does not want this message, and it is not sent again: {why}");
        self.now().counts.refused += 1;
        self.answers();
    }

    /// An attempt came to nothing, and it asks to be left alone for as long.
    pub(super) fn does_not_take(&self, why: &str, wait: Option<Duration>, now: Timestamp) {
        self.now().counts.failed += 1;
        if let Some(wait) = wait {
            self.now().alone_until = now.checked_add(wait).ok();
        }
        self.fails(why, now);
    }

    /// It is not told what it should be.
    pub(super) fn fails(&self, why: &str, now: Timestamp) {
        let name = &self.name;
        let mut state = self.now();
        let since = state.counts.failing.take().map_or(now, |(since, _)| since);
        state.counts.failing = Some((since, why.to_owned()));
        let again = |told: Timestamp| now >= clock::after(told, TOLD_AGAIN);
        if state.told.is_none_or(again) {
            state.told = Some(now);
            drop(state);
            tracing::warn!(notification = %name, %since, "{name} is not told of news, which is tried again: {why}");
        }
    }

    /// It is told again.
    pub(super) fn answers(&self) {
        let mut state = self.now();
        state.told = None;
        state.alone_until = None;
        let before = state.counts.failing.take();
        drop(state);
        if let Some((since, _)) = before {
            let name = &self.name;
            tracing::info!(notification = %name, %since, "{name} is told of news again");
        }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
