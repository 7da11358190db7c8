//! Scratch branches that were left: by a process that ended between the steps of a commit, or by a step that was
//! not planned again. The next try of the same unit takes one up; what nobody goes on with is taken away.

use std::collections::BTreeMap;

use gix::ObjectId;
use jiff::{SignedDuration, Timestamp};

use super::writer::Writer;
use crate::git::{Push, Pushed};
use crate::model::SCRATCH;

/// A commit that is on its way takes seconds, two minutes at most where a forge is slow. Another process's is not
/// disturbed.
const LEFT_FOR: SignedDuration = SignedDuration::from_mins(5);

/// Per scratch branch where it stood, and since when it was seen there.
pub(super) type Left = BTreeMap<String, (ObjectId, Timestamp)>;

impl Writer {
    /// Takes away what was left for long, as far as the last look shows it. Without such a branch nothing is asked.
    pub async fn sweep(&self, now: Timestamp) {
        if !self.repository.commits_elsewhere() {
            return;
        }
        // Whoever writes goes on with one of them, maybe.
        let Ok(mut turn) = self.turn.try_lock() else {
            return;
        };
        let seen = self.repository.seen_below(&format!("refs/heads/{SCRATCH}"));
        let known = std::mem::take(&mut turn.left);
        for (name, shown) in seen {
            let known = known.get(&name).filter(|(at, _)| *at == shown.id);
            let since = known.map_or(now, |(_, since)| *since);
            if now.duration_since(since) < LEFT_FOR {
                turn.left.insert(name, (shown.id, since));
                continue;
            }
            match self
                .repository
                .push(Push::new().delete(&name, shown.id))
                .await
            {
                Ok(Pushed::Landed) => {
                    tracing::info!(
                        repository = self.repository.address(),
                        name,
                        "was left, and is taken away"
                    );
                }
                // It is looked at anew: who moved it goes on with it.
                other => tracing::debug!(
                    repository = self.repository.address(),
                    name,
                    ?other,
                    "stays"
                ),
            }
        }
    }
}
