//! Rounds of what the configuration no longer has: few, and nobody waits for them.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Reconciler, Towed};
use crate::clock;

/// How often such applications are looked for and at.
const LOOK: Duration = Duration::from_secs(5);

/// How long one look may take.
const LOOK_MAX: Duration = Duration::from_secs(30 * 60);

impl Reconciler {
    pub(super) fn keep_removed(self: &Arc<Self>, tasks: &TaskTracker, stop: &CancellationToken) {
        let (this, stop, effects) = (self.clone(), stop.clone(), tasks.clone());
        tasks.spawn(async move {
            let mut rounds = this.board.changes();
            let beat = this
                .pulse
                .of("the look for removed applications".to_owned());
            let mut told = BTreeSet::new();
            while !stop.is_cancelled() {
                let known = this.observatory.knows_removed();
                // Clusters are asked here, each with a deadline of its own.
                beat.rests(LOOK_MAX);
                tokio::select! {
                    () = this.observatory.read_removed(clock::now()) => {}
                    () = stop.cancelled() => break,
                }
                let left = this.observatory.left_behind();
                if left
                    .iter()
                    .any(|(environment, _)| !told.contains(environment))
                {
                    for left in this.observatory.read_left_behind().await {
                        if told.insert(left.environment.clone()) {
                            tracing::warn!(environment = %left.environment, "{left}");
                        }
                    }
                }
                beat.turns();
                for towed in this.removed() {
                    this.tow(&towed, &effects, clock::now());
                }
                if known {
                    this.looked_for_removed.store(true, Ordering::Relaxed);
                }
                beat.rests(LOOK);
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    // The first look is worth one as soon as the repositories were read.
                    _ = rounds.changed(), if !known => {}
                    () = stop.cancelled() => {}
                }
            }
            beat.ends();
        });
    }

    /// Whether applications that the configuration no longer has were looked for at least once.
    pub fn has_looked_for_removed(&self) -> bool {
        self.looked_for_removed.load(Ordering::Relaxed)
    }

    /// What is removed now, with what is remembered of it. What no longer runs is forgotten.
    pub(super) fn removed(&self) -> Vec<Arc<Towed>> {
        let pipelines = self.observatory.removed();
        let mut kept = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *kept);
        for pipeline in pipelines {
            let name = pipeline.application.name.clone();
            let towed = match before.remove(&name) {
                Some(towed) if towed.pipeline == pipeline => towed,
                _ => Arc::new(Towed::new(pipeline)),
            };
            kept.insert(name, towed);
        }
        for name in before.keys() {
            self.board.take_down(name);
        }
        kept.values().cloned().collect()
    }
}
