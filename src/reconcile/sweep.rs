//! Has scratch branches taken away that were left, where commits are made elsewhere.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Reconciler;
use crate::clock;

/// Nothing waits for it.
const EACH: Duration = Duration::from_secs(60);

impl Reconciler {
    /// Takes away what was left for long.
    pub(super) async fn sweep(&self, now: Timestamp) {
        futures_util::future::join_all(self.writers.values().map(|it| it.sweep(now))).await;
    }

    /// Does so now and then.
    pub(super) fn keep_swept(self: &Arc<Self>, tasks: &TaskTracker, stop: &CancellationToken) {
        if !self.writers.values().any(|it| it.commits_elsewhere()) {
            return;
        }
        let (this, stop) = (self.clone(), stop.clone());
        tasks.spawn(async move {
            while stop
                .run_until_cancelled(tokio::time::sleep(EACH))
                .await
                .is_some()
            {
                this.sweep(clock::now()).await;
            }
        });
    }
}
