//! What a merge would make of a directory: file by file, as people's changes are told apart. Nothing is
//! written to any server; what is made is kept in the mirror's memory alone.

use gix::ObjectId;

use super::draft::Edit;
use super::repository::Repository;
use super::{GitError, Mode};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merged {
    /// The directory.
    Tree(ObjectId),
    /// Both sides changed this file, each in its own way.
    Both(String),
}

/// What is to be written to make it so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merging {
    /// Nothing: the directory is here already.
    Tree(ObjectId),
    /// These files of the directory `ours`.
    Edits(Vec<Edit>),
    /// Nothing can be: both sides changed this file, each in its own way.
    Both(String),
}

impl Repository {
    /// The directory `ours` with what `theirs` changed since `from`.
    ///
    /// # Errors
    /// [`GitError::Missing`] where a side is not here.
    pub fn merged(
        &self,
        from: ObjectId,
        ours: ObjectId,
        theirs: ObjectId,
    ) -> Result<Merged, GitError> {
        Ok(match self.merging(from, ours, theirs)? {
            Merging::Tree(tree) => Merged::Tree(tree),
            Merging::Both(path) => Merged::Both(path),
            Merging::Edits(edits) => {
                let mut draft = self.draft();
                let tree = draft.edit(Some(ours), edits)?;
                self.keep(draft);
                Merged::Tree(tree)
            }
        })
    }

    /// What the directory `ours` lacks of what `theirs` changed since `from`.
    ///
    /// # Errors
    /// As [`Self::merged`].
    pub fn merging(
        &self,
        from: ObjectId,
        ours: ObjectId,
        theirs: ObjectId,
    ) -> Result<Merging, GitError> {
        if from == ours {
            return Ok(Merging::Tree(theirs));
        }
        let mut edits: Vec<Edit> = Vec::new();
        for change in self.changed(Some(from), Some(theirs))? {
            let here = self.lookup(ours, &change.path)?;
            let here = here.map(|found| (found.mode, found.id));
            if here == change.new {
                continue;
            }
            let plain =
                |side: &Option<(Mode, ObjectId)>| side.is_none_or(|(mode, _)| mode.is_file());
            if here != change.old || !plain(&here) || !plain(&change.new) {
                return Ok(Merging::Both(change.path));
            }
            let content = match change.new {
                Some((_, id)) => Some(self.blob(id)?),
                None => None,
            };
            edits.push((change.path, content));
        }
        Ok(match edits.is_empty() {
            true => Merging::Tree(ours),
            false => Merging::Edits(edits),
        })
    }
}
