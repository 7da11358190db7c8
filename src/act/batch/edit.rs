//! The commits of a push: drafted here, then signed here or made elsewhere.

use super::{Batch, Unfit};
use crate::act::writer::Order;
use crate::git::{CommitDraft, Signature};
use crate::model::{CommitId, scratch_branch};
use crate::plan::edit::FileEdit;

impl Batch<'_> {
    /// One commit on `onto` with these files, if each still is what the plan saw.
    pub(super) async fn edit(
        &mut self,
        order: &Order,
        onto: CommitId,
        files: &[FileEdit],
        message: String,
    ) -> Result<CommitId, Unfit> {
        let before = self.draft.read_commit(onto)?.tree;
        let (mut edits, mut modes) = (Vec::new(), Vec::new());
        for file in files {
            let found = self.draft.lookup(before, &file.path)?;
            if found.map(|found| found.id) != file.before {
                return Err(Unfit::Lost);
            }
            modes.extend(found.map(|found| (file.path.as_str(), found.mode)));
            edits.push((file.path.clone(), Some(file.after.clone().into())));
        }
        self.repository.can_be_made(modes)?;
        let tree = self.draft.edit(Some(before), edits)?;
        let signature = Signature::of(self.author, self.now);
        let commit = self.draft.commit(&CommitDraft {
            tree,
            parents: vec![onto],
            author: signature.clone(),
            committer: signature,
            message,
        });
        match self.repository.commits_elsewhere() {
            true if self.rehearses => Ok(commit),
            true => self.made(order, commit, files).await,
            false => Ok(self.repository.sign(&mut self.draft, commit).await?),
        }
    }

    /// The same commit as it is made elsewhere. Its scratch branch goes with the push.
    async fn made(
        &mut self,
        order: &Order,
        commit: CommitId,
        files: &[FileEdit],
    ) -> Result<CommitId, Unfit> {
        let drafted = self.draft.read_commit(commit)?;
        let files = files
            .iter()
            .map(|file| (file.path.clone(), file.after.clone().into()));
        let branch = scratch_branch(order.name(), order.application());
        let made = self
            .repository
            .make(&drafted, files.collect(), &branch)
            .await?;
        let made = made.ok_or(Unfit::Lost)?;
        self.scratch.insert(format!("refs/heads/{branch}"), made.0);
        Ok(made)
    }
}
