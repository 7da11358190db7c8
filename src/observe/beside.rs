//! What a proposal changes otherwise than by setting its release's images: a person's commits on its
//! branch, mostly.

use super::branch::EnvironmentSeen;
use super::infra::{InfraReader, PROPOSAL_MAX};
use crate::git::{Change, Commit, GitError};
use crate::manifest::{self, IMAGES_FILE, ImageFields};
use crate::model::record::Proposed;
use crate::model::{CommitId, Environment, Images};

impl InfraReader {
    /// The files that differ from where the proposal was made, and from the branch's head: what is
    /// there by now is no news to whoever merges.
    pub(super) fn beside(
        &self,
        environment: &Environment,
        proposal: &Commit,
        proposed: Option<&Proposed>,
        seen: &EnvironmentSeen,
    ) -> Result<Vec<String>, GitError> {
        let Some(proposed) = proposed else {
            return Ok(Vec::new());
        };
        let base = self.forked_at(proposal, proposed.base, seen);
        // Where the history is not here (a person rewrote the branch), it is not known.
        let Ok(base) = self.repository.commit(base) else {
            return Ok(Vec::new());
        };
        let mut paths = Vec::new();
        for change in self
            .repository
            .changed(Some(base.tree), Some(proposal.tree))?
        {
            let there = match base.id == seen.head {
                true => None,
                false => self.repository.lookup(seen.tree, &change.path)?,
            };
            let is_there = there.is_some_and(|it| change.new.is_some_and(|(_, id)| id == it.id));
            if !is_there && !self.sets_images(environment, &change, &proposed.release.images) {
                paths.push(change.path);
            }
        }
        Ok(paths)
    }

    /// The newest commit of the environment's branch that the proposal stands on. A newer release on top of
    /// a person's commits was made on a later one, and does not stand on it.
    fn forked_at(&self, proposal: &Commit, made_on: CommitId, seen: &EnvironmentSeen) -> CommitId {
        let is_there = |id: &&CommitId| **id == made_on || seen.behind.contains(*id);
        let mut commit = proposal.clone();
        for _ in 0..PROPOSAL_MAX {
            if let Some(found) = commit.parents.iter().rev().find(is_there) {
                return *found;
            }
            let parent = commit.parents.first().copied();
            match parent.and_then(|parent| self.repository.commit(parent).ok()) {
                Some(parent) => commit = parent,
                None => break,
            }
        }
        made_on
    }

    /// Whether all that changes in a file are the images, as Towpath sets them.
    fn sets_images(&self, environment: &Environment, change: &Change, images: &Images) -> bool {
        let Some(directory) = environment.manifests.last() else {
            return false;
        };
        let within = change.path.strip_prefix(directory.as_str());
        let Some(name) = within.and_then(|rest| rest.strip_prefix('/')) else {
            return false;
        };
        let set = || -> Option<bool> {
            let (_, new) = change.new?;
            let new = self.repository.blob(new).ok()?;
            let old = match change.old {
                Some((_, old)) => Some(self.repository.blob(old).ok()?),
                None => None,
            };
            let fields = self.image_fields(environment).ok()?;
            let text = match name {
                IMAGES_FILE => set_beside(&change.path, old.as_deref(), &new, images)?,
                _ => set_in(&change.path, old.as_deref()?, &fields, images)?,
            };
            Some(text.as_bytes() == new)
        };
        set().unwrap_or(false)
    }
}

fn set_in(path: &str, old: &[u8], fields: &ImageFields, images: &Images) -> Option<String> {
    let file = manifest::parse(path, old, fields).ok()?;
    Some(manifest::set_image(&file, images).ok()??.text)
}

/// There stand only the images that other environments read, too.
fn set_beside(path: &str, old: Option<&[u8]>, new: &[u8], images: &Images) -> Option<String> {
    let named = manifest::parse_images(path, new).ok()?;
    let old = match old {
        Some(old) => Some(manifest::parse_images(path, old).ok()?),
        None => None,
    };
    let mut images = images.clone();
    images.retain(|repository, _| named.images().any(|it| it.repository == *repository));
    Some(
        manifest::set_in_images_yaml(old.as_ref(), &images)
            .ok()??
            .text,
    )
}
