//! The board: what each pipeline's last round came to, for whoever wants to know.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::model::record::UnitRecords;
use crate::model::{ApplicationName, EnvironmentName, FlatMap, Pipeline};
use crate::plan::{Decision, Plan};

/// What a round came to.
#[derive(Clone)]
pub struct Posted {
    /// Whose.
    pub pipeline: Arc<Pipeline>,
    /// What each unit's records said, where they could be read. The rest of what it was planned from
    /// is put together anew where somebody asks.
    pub records: FlatMap<EnvironmentName, Arc<UnitRecords>>,
    /// What was decided.
    pub plan: Plan,
    /// Whether an effect is on its way, or a question about what decides something.
    pub busy: bool,
    /// Whether every source it needs was tried at least once.
    pub tried: bool,
}

impl Posted {
    /// Whether nothing is going on: all was looked at, and every unit waits.
    pub fn is_idle(&self) -> bool {
        let waits = |decision: &Decision| matches!(decision, Decision::Waiting(_));
        self.tried && !self.busy && self.plan.units.iter().all(|unit| waits(&unit.decision))
    }
}

/// How often somebody looks at the board.
#[derive(Debug, Clone, Copy)]
pub struct Looks {
    /// So long at least between two looks, however much is posted.
    pub least: Duration,
    /// So long at most.
    pub most: Duration,
}

/// See the module.
pub struct Board {
    /// By application, and whether the configuration no longer has it.
    posted: Mutex<BTreeMap<(ApplicationName, bool), Arc<Posted>>>,
    changes: watch::Sender<u64>,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            posted: Mutex::default(),
            changes: watch::channel(0).0,
        }
    }
}

impl Board {
    /// Puts up what a round came to.
    pub fn post(&self, posted: Posted) {
        let key = (posted.plan.application.clone(), posted.pipeline.removed);
        let mut all = self.posted.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(key, Arc::new(posted));
        drop(all);
        self.changes
            .send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    /// Takes down what was told of an application that the configuration no longer has.
    pub(super) fn take_down(&self, application: &ApplicationName) {
        let mut all = self.posted.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&(application.clone(), true));
    }

    /// Everything that is up.
    pub fn all(&self) -> Vec<Arc<Posted>> {
        let posted = self.posted.lock().unwrap_or_else(PoisonError::into_inner);
        posted.values().cloned().collect()
    }

    /// Has something done after each change, and when it says that time alone gives it something to
    /// do, until stopped. What was begun is finished.
    pub async fn follow<F>(
        &self,
        looks: Looks,
        stop: &CancellationToken,
        mut look: impl FnMut(Timestamp) -> F,
    ) where
        F: Future<Output = Option<Timestamp>>,
    {
        let mut changes = self.changes();
        while !stop.is_cancelled() {
            changes.mark_unchanged();
            let now = clock::now();
            let next = look(now).await;
            let rest = next.and_then(|next| Duration::try_from(next - now).ok());
            let rest = rest.unwrap_or(looks.most).clamp(looks.least, looks.most);
            let changed = async {
                // Ends only with the board.
                drop(changes.changed().await);
                tokio::time::sleep(looks.least).await;
            };
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(rest) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Tells of each change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
