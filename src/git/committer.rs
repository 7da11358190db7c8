//! Commits that somebody else makes in our place, such as a forge that vouches for what comes about through its
//! API: on a scratch branch that nobody else reads, and compared with what was drafted here.
//!
//! Owns what counts as made, lost and refused; that is told from the branch, never from words. Never moves the
//! branch that the commit is for: whoever asked pushes it there, and takes the scratch branch away with that push.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::object::{Commit, Kind, Object};
use super::tree::Mode;
use super::{GitError, Push, Pushed, Reach, Repository, refusal};
use crate::model::CommitId;
use crate::shown::on_one_line;

/// How much of a path is told.
const PATH: usize = 200;

/// A commit to be made on top of a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Making {
    /// The branch, without `refs/heads/`.
    pub branch: String,
    /// Where it stands; elsewhere nothing is made.
    pub head: CommitId,
    /// The message.
    pub message: String,
    /// The files that it changes or adds, with what they hold then.
    pub files: Vec<(String, Bytes)>,
}

/// Why a commit was not made, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotMade {
    /// Who said what.
    pub why: String,
    /// How long to wait is asked for.
    pub retry_after: Option<Duration>,
}

/// Who makes commits in our place.
#[async_trait]
pub trait Committer: Send + Sync {
    /// What people call it.
    fn name(&self) -> &str;

    /// Makes one commit, asked for once.
    ///
    /// # Errors
    /// [`NotMade`], also where it may have been made all the same: the branch tells.
    async fn commit(&self, making: &Making) -> Result<CommitId, NotMade>;
}

/// What a scratch branch was found to be.
enum Begun {
    /// It stands where the commit is to be made.
    Ready,
    /// An earlier try left this very commit there.
    Made(CommitId),
    /// Somebody else moved it.
    Lost,
}

impl Repository {
    /// The same repository, whose new commits on branches somebody else makes.
    #[must_use]
    pub fn committing(self, committer: Option<Arc<dyn Committer>>) -> Self {
        Self { committer, ..self }
    }

    /// Whether somebody else makes its new commits on branches.
    pub fn commits_elsewhere(&self) -> bool {
        self.committer.is_some()
    }

    /// Whether a commit that changes these files, which have these modes, can be made elsewhere; it is where nobody else
    /// makes them.
    ///
    /// # Errors
    /// [`GitError::NotMade`] where a file has a mode that no committer sets.
    pub fn can_be_made<'a>(
        &self,
        files: impl IntoIterator<Item = (&'a str, Mode)>,
    ) -> Result<(), GitError> {
        let Some(committer) = &self.committer else {
            return Ok(());
        };
        for (path, mode) in files {
            let what = match mode {
                Mode::File => continue,
                Mode::Executable => "an executable file",
                Mode::Symlink => "a symbolic link",
                Mode::Directory | Mode::Submodule => "no file",
            };
            let path = on_one_line(path, PATH);
            return Err(not_made(format!(
                "{path} is {what}, and {} sets no modes: make it a plain file, or let git make the commits",
                committer.name()
            )));
        }
        Ok(())
    }

    /// Has a drafted commit made elsewhere, with these files, by way of this branch, which stands at that commit
    /// then. What an earlier try left there is taken up. `None`: somebody else moved the branch.
    ///
    /// # Errors
    /// [`GitError::NotMade`] where it was not made, or not as it was drafted; any [`GitError`] of the way there.
    pub async fn make(
        &self,
        drafted: &Commit,
        files: Vec<(String, Bytes)>,
        branch: &str,
    ) -> Result<Option<CommitId>, GitError> {
        let (Some(committer), Some(onto)) = (&self.committer, drafted.parents.first()) else {
            return Err(not_made("nobody else makes commits here".to_owned()));
        };
        let name = format!("refs/heads/{branch}");
        let making = Making {
            branch: branch.to_owned(),
            head: *onto,
            message: drafted.message.clone(),
            files,
        };
        let made = match self.begin(&name, drafted, *onto).await? {
            Begun::Ready => self.ask(committer.as_ref(), &making, &name).await?,
            Begun::Made(left) => Some(left),
            Begun::Lost => None,
        };
        let Some(made) = made else { return Ok(None) };
        self.fetch(&[made.0], Reach::Tip).await?;
        let Some(difference) = self.difference(drafted, &self.commit(made)?, &making.files)? else {
            return Ok(Some(made));
        };
        self.give_up(&name, made).await;
        Err(not_made(format!(
            "{} made {} otherwise than it was drafted: {difference}",
            committer.name(),
            made.short()
        )))
    }

    /// Lets the scratch branch begin where the commit is to be made.
    async fn begin(&self, name: &str, drafted: &Commit, onto: CommitId) -> Result<Begun, GitError> {
        let push = Push::new().update(name, None, onto.0);
        let left = match self.push(push).await? {
            Pushed::Landed => return Ok(Begun::Ready),
            Pushed::Lost { refs, .. } => refs.get(name).map(|shown| CommitId(shown.id)),
            refused => return Err(refused_branch(name, refused)),
        };
        let Some(left) = left else {
            return Ok(Begun::Lost);
        };
        self.fetch(&[left.0], Reach::Tip).await?;
        let commit = self.commit(left)?;
        let says = |commit: &Commit| commit.message.trim_end().to_owned();
        if (commit.tree, &commit.parents, says(&commit))
            == (drafted.tree, &drafted.parents, says(drafted))
        {
            return Ok(Begun::Made(left));
        }
        let push = Push::new().update(name, Some(left.0), onto.0);
        match self.push(push).await? {
            Pushed::Landed => Ok(Begun::Ready),
            Pushed::Lost { .. } => Ok(Begun::Lost),
            refused => Err(refused_branch(name, refused)),
        }
    }

    /// Asks for the commit. Where it is said not to have been made, the branch tells whether that is so.
    async fn ask(
        &self,
        committer: &dyn Committer,
        making: &Making,
        name: &str,
    ) -> Result<Option<CommitId>, GitError> {
        let NotMade { why, retry_after } = match committer.commit(making).await {
            Ok(made) => return Ok(Some(made)),
            Err(not_made) => not_made,
        };
        if let Ok(refs) = self.look(&[name.to_owned()]).await {
            let at = refs.get(name).map(|shown| CommitId(shown.id));
            if at != Some(making.head) {
                return Ok(None);
            }
            self.give_up(name, making.head).await;
        }
        Err(GitError::NotMade { why, retry_after })
    }

    /// How a commit differs from the drafted one, in words; `None`: not where it matters.
    fn difference(
        &self,
        drafted: &Commit,
        made: &Commit,
        files: &[(String, Bytes)],
    ) -> Result<Option<String>, GitError> {
        if made.parents != drafted.parents {
            return Ok(Some("it follows other commits".to_owned()));
        }
        if made.tree == drafted.tree {
            return Ok(None);
        }
        for (path, content) in files {
            let wanted = Object::new(Kind::Blob, content.clone()).id;
            let found = self.lookup(made.tree, path)?;
            if !found.is_some_and(|it| it.mode == Mode::File && it.id == wanted) {
                return Ok(Some(format!("{} is another", on_one_line(path, PATH))));
            }
        }
        let onto = made.parents.first().map(|parent| self.commit(*parent));
        let before = onto.transpose()?.map(|commit| commit.tree);
        let changed = self.changed(before, Some(made.tree))?;
        let mut beside = changed.iter().map(|change| &change.path);
        let beside = beside.find(|path| !files.iter().any(|(file, _)| file == *path));
        Ok(Some(match beside {
            Some(path) => format!("{} changed, too", on_one_line(path, PATH)),
            None => "a directory is another".to_owned(),
        }))
    }

    /// Takes the scratch branch away, where it still stands there. What could not be taken away is later.
    async fn give_up(&self, name: &str, at: CommitId) {
        match self.push(Push::new().delete(name, at.0)).await {
            Ok(Pushed::Landed) => {}
            other => tracing::debug!(repository = self.address(), name, ?other, "stays for now"),
        }
    }
}

fn not_made(why: String) -> GitError {
    GitError::NotMade {
        why,
        retry_after: None,
    }
}

fn refused_branch(name: &str, pushed: Pushed) -> GitError {
    let why = match pushed {
        Pushed::Refused {
            reasons, messages, ..
        } => refusal(&reasons, &messages),
        other => format!("{other:?}"),
    };
    not_made(format!("the branch {name} cannot be made: {why}"))
}
