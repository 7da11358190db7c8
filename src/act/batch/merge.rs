//! A person's yes to a proposal, carried out as a merge commit.

use super::super::{Happened, Order, message};
use super::{Batch, Names, Unfit};
use crate::git::{CommitDraft, Draft, Merging};
use crate::plan::Merge;

impl Batch<'_> {
    /// A merge commit, as a person makes one. That it was merged is seen on the branch like any merge.
    pub(super) fn merge(&mut self, order: &Order, merge: &Merge) -> Result<Vec<Happened>, Unfit> {
        let names = Names::of(order);
        let head = merge.planned_on.head;
        let tree = |draft: &Draft, commit| draft.read_commit(commit).map(|commit| commit.tree);
        let (from, ours, theirs) = (
            tree(&self.draft, merge.base)?,
            tree(&self.draft, head)?,
            tree(&self.draft, merge.proposal)?,
        );
        let tree = match self.repository.merging(from, ours, theirs)? {
            Merging::Tree(tree) => tree,
            Merging::Edits(edits) => self.draft.edit(Some(ours), edits)?,
            Merging::Both(path) => {
                return Err(Unfit::Failed(format!(
                    "the branch and the proposal both changed {path}: merge it with git"
                )));
            }
        };
        let by = message::signature(&merge.by, self.now);
        let message = message::merge(order.application(), order.name(), &merge.release);
        let files = self.repository.changed(Some(ours), Some(theirs))?;
        let files = files.into_iter().map(|change| change.path).collect();
        self.tell(&names.branch, &message, files);
        let commit = self.draft.commit(&CommitDraft {
            tree,
            parents: vec![head, merge.proposal],
            author: by.clone(),
            committer: by,
            message,
        });
        self.after.insert(names.branch, Some(commit.0));
        self.read.extend([names.records, names.proposal]);
        Ok(Vec::new())
    }
}
