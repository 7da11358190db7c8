//! Who works on an in-memory server besides Towpath: commits, merges, reverts, deletes, rewrites.

use std::collections::HashSet;

use gix::ObjectId;
use jiff::Timestamp;

use super::MemoryRemote;
use crate::git::{Change, CommitDraft, Draft, GitError, Mode, Signature, TagDraft, locked};
use crate::model::CommitId;

/// How a branch is merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// A commit with both sides as parents.
    Commit,
    /// One new commit with the branch's changes.
    Squash,
    /// The branch moves to the other's commit.
    FastForward,
}

/// Someone with write access. Branches are named without `refs/heads/`.
pub struct Person {
    remote: MemoryRemote,
    name: String,
}

impl Person {
    pub(super) fn new(remote: MemoryRemote, name: &str) -> Self {
        let name = name.to_owned();
        Self { remote, name }
    }

    /// Commits files (`None` removes one) onto a branch, which begins where it does not exist.
    ///
    /// # Errors
    /// [`GitError::Path`] for a path that cannot stand in a tree.
    pub fn commit(
        &self,
        branch: &str,
        files: &[(&str, Option<&str>)],
        message: &str,
        now: Timestamp,
    ) -> Result<CommitId, GitError> {
        let head = self.head(branch);
        let mut draft = self.draft();
        let tree = match head {
            Some(head) => Some(draft.read_commit(head)?.tree),
            None => None,
        };
        let edits = files.iter().map(|(path, content)| {
            (
                (*path).to_owned(),
                content.map(|text| text.to_owned().into()),
            )
        });
        let tree = draft.edit(tree, edits)?;
        self.finish(
            draft,
            branch,
            tree,
            head.into_iter().collect(),
            message,
            now,
        )
    }

    /// Merges `from` into `into`, file by file; where both changed a file, `from` wins.
    ///
    /// # Errors
    /// [`GitError::Malformed`] where a branch does not exist or a fast-forward is none.
    pub fn merge(
        &self,
        from: &str,
        into: &str,
        how: Merge,
        now: Timestamp,
    ) -> Result<CommitId, GitError> {
        let (ours, theirs) = (self.existing(into)?, self.existing(from)?);
        let mut draft = self.draft();
        if how == Merge::FastForward {
            if !self.ancestors(&draft, theirs)?.contains(&ours) {
                return Err(GitError::Malformed(format!(
                    "`{from}` does not follow `{into}`"
                )));
            }
            self.set(into, Some(theirs));
            return Ok(theirs);
        }
        let history = self.ancestors(&draft, ours)?;
        let base = self
            .ancestors(&draft, theirs)?
            .into_iter()
            .find(|id| history.contains(id));
        let base = base
            .map(|id| draft.read_commit(id))
            .transpose()?
            .map(|commit| commit.tree);
        let theirs_tree = draft.read_commit(theirs)?.tree;
        let ours_tree = draft.read_commit(ours)?.tree;
        let changes = self.remote.objects.changed(base, Some(theirs_tree))?;
        let tree = apply(&mut draft, ours_tree, changes, |change| change.new)?;
        let parents = match how {
            Merge::Commit => vec![ours, theirs],
            _ => vec![ours],
        };
        self.finish(
            draft,
            into,
            tree,
            parents,
            &format!("Merge {from} into {into}"),
            now,
        )
    }

    /// Takes one commit's changes back.
    ///
    /// # Errors
    /// [`GitError::Malformed`] where the branch does not exist.
    pub fn revert(
        &self,
        branch: &str,
        commit: CommitId,
        now: Timestamp,
    ) -> Result<CommitId, GitError> {
        let head = self.existing(branch)?;
        let mut draft = self.draft();
        let reverted = draft.read_commit(commit)?;
        let before = match reverted.parents.first() {
            Some(parent) => Some(draft.read_commit(*parent)?.tree),
            None => None,
        };
        let changes = self.remote.objects.changed(before, Some(reverted.tree))?;
        let tree = draft.read_commit(head)?.tree;
        let tree = apply(&mut draft, tree, changes, |change| change.old)?;
        let message = format!(
            "Revert \"{}\"\n\nThis reverts commit {commit}.",
            reverted.subject()
        );
        self.finish(draft, branch, tree, vec![head], &message, now)
    }

    /// Marks a commit with an annotated tag.
    ///
    /// # Errors
    /// [`GitError::Malformed`] where the name cannot be a tag's.
    pub fn tag(
        &self,
        name: &str,
        target: CommitId,
        message: &str,
        now: Timestamp,
    ) -> Result<ObjectId, GitError> {
        let mut draft = self.draft();
        let id = draft.tag(&TagDraft {
            name: name.to_owned(),
            target,
            tagger: self.signature(now),
            message: message.to_owned(),
        })?;
        self.keep(&draft, id)?;
        locked(&self.remote.state)
            .refs
            .insert(format!("refs/tags/{name}"), id);
        Ok(id)
    }

    /// Deletes a branch.
    pub fn delete(&self, branch: &str) {
        self.set(branch, None);
    }

    /// Moves a branch wherever they like.
    pub fn force(&self, branch: &str, to: CommitId) {
        self.set(branch, Some(to));
    }

    /// Where a branch is.
    pub fn head(&self, branch: &str) -> Option<CommitId> {
        let name = format!("refs/heads/{branch}");
        locked(&self.remote.state)
            .refs
            .get(&name)
            .copied()
            .map(CommitId)
    }

    /// A commit's first parent.
    pub fn parent(&self, commit: CommitId) -> Option<CommitId> {
        let read = self.remote.objects.commit(commit).ok()?;
        read.parents.first().copied()
    }

    /// Whether a branch has this commit.
    pub fn has(&self, branch: &str, commit: CommitId) -> bool {
        let head = self.head(branch);
        let behind = head.and_then(|head| self.ancestors(&self.draft(), head).ok());
        behind.is_some_and(|behind| behind.contains(&commit))
    }

    /// Whether the server has the commit, wherever it stands.
    pub fn knows(&self, commit: CommitId) -> bool {
        self.remote.objects.commit(commit).is_ok()
    }

    /// A file's content on a branch.
    pub fn read(&self, branch: &str, path: &str) -> Option<String> {
        let commit = self.remote.objects.commit(self.head(branch)?).ok()?;
        let found = self.remote.objects.lookup(commit.tree, path).ok()??;
        let content = self.remote.objects.blob(&found.id).ok()?;
        String::from_utf8(content.to_vec()).ok()
    }

    fn existing(&self, branch: &str) -> Result<CommitId, GitError> {
        self.head(branch)
            .ok_or_else(|| GitError::Malformed(format!("there is no branch `{branch}`")))
    }

    fn set(&self, branch: &str, to: Option<CommitId>) {
        let name = format!("refs/heads/{branch}");
        let refs = &mut locked(&self.remote.state).refs;
        match to {
            Some(id) => refs.insert(name, id.0),
            None => refs.remove(&name),
        };
    }

    fn draft(&self) -> Draft {
        Draft::over(self.remote.objects.clone())
    }

    fn signature(&self, now: Timestamp) -> Signature {
        Signature {
            name: self.name.clone(),
            email: format!("{}@example.com", self.name.replace(' ', ".")),
            time: now,
        }
    }

    fn finish(
        &self,
        mut draft: Draft,
        branch: &str,
        tree: ObjectId,
        parents: Vec<CommitId>,
        message: &str,
        now: Timestamp,
    ) -> Result<CommitId, GitError> {
        let id = draft.commit(&CommitDraft {
            tree,
            parents,
            author: self.signature(now),
            committer: self.signature(now),
            message: message.to_owned(),
        });
        self.keep(&draft, id.0)?;
        self.set(branch, Some(id));
        Ok(id)
    }

    fn keep(&self, draft: &Draft, tip: ObjectId) -> Result<(), GitError> {
        let objects = draft.reachable([tip])?;
        self.remote
            .objects
            .keep(objects.into_iter().map(|new| new.object));
        Ok(())
    }

    /// The commit and all before it, nearest first.
    fn ancestors(&self, draft: &Draft, tip: CommitId) -> Result<Vec<CommitId>, GitError> {
        let mut seen = HashSet::from([tip]);
        let mut found = vec![tip];
        let mut next = 0;
        while let Some(id) = found.get(next).copied() {
            next += 1;
            let parents = draft.read_commit(id)?.parents;
            found.extend(parents.into_iter().filter(|id| seen.insert(*id)));
        }
        Ok(found)
    }
}

/// Sets every changed path to one side of its change.
fn apply(
    draft: &mut Draft,
    tree: ObjectId,
    changes: Vec<Change>,
    side: impl Fn(&Change) -> Option<(Mode, ObjectId)>,
) -> Result<ObjectId, GitError> {
    let mut edits = Vec::new();
    for change in changes {
        let content = side(&change).map(|(_, id)| draft.blob(id)).transpose()?;
        edits.push((change.path, content));
    }
    draft.edit(Some(tree), edits)
}
