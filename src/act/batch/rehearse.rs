//! What a push would bring, told instead of pushed.

use super::Batch;
use crate::act::{Committed, Moved, Rehearsal};
use crate::git::GitError;
use crate::model::CommitId;

impl Batch<'_> {
    /// The same push, which is told alone: nobody is asked for a commit.
    pub(in crate::act) fn rehearsing(self) -> Self {
        Self {
            rehearses: true,
            ..self
        }
    }

    /// Remembers what is said of a commit.
    pub(super) fn tell(&mut self, branch: &str, message: &str, files: Vec<String>) {
        self.rehearsal.commits.push(Committed {
            branch: branch.to_owned(),
            subject: message.lines().next().unwrap_or_default().to_owned(),
            files,
        });
    }

    /// What the push would bring.
    pub(in crate::act) async fn rehearse(mut self) -> Result<Rehearsal, GitError> {
        let mut rehearsal = std::mem::take(&mut self.rehearsal);
        let push = self.finish().await?;
        let moved = push.updates().iter().filter(|it| !it.is_verification());
        rehearsal.refs = moved
            .map(|update| Moved {
                name: update.name.clone(),
                from: update.old.map(CommitId),
                is_deleted: update.new.is_none(),
            })
            .collect();
        Ok(rehearsal)
    }
}
