//! Which records count, where an environment lists keys.
//!
//! A commit of the records that is signed with a key that may `record` is taken as a whole: Towpath signs what it
//! accepted. What others put on top of it is judged line by line: what stops counts whoever says it, all else by
//! whose key signed the commit that brought it. Lines that do not count are told of, and have no effect; notes that
//! were shortened or rewritten, and a changed `present/`, have none either.
//!
//! Fetches nothing: [`accepted_by`] says how far back the commits must be here.

use bytes::Bytes;
use gix::ObjectId;

use super::{NotesDraft, NotesError, PRESENT, note_path, records_ref};
use crate::git::{
    Change, Commit, CommitDraft, Draft, GitError, Push, Pushed, Reach, Repository, Signature,
};
use crate::model::record::{Hold, Record, Statement, TOWPATH};
use crate::model::{Authorised, Authority, CommitId, EnvironmentName, PublicKey, Right};

/// The furthest that is gone back to what was accepted. Towpath accepts what is there with its next record.
pub const OPEN_MAX: usize = 1_000;

/// So many lines that do not count are told of one by one, the others together: whoever may push must not be able
/// to fill the records with what has no effect.
const REFUSED_MAX: usize = 20;

/// With whose key the commit was accepted as a whole, if it was: who goes back in the records stops there.
pub fn accepted_by<'a>(
    repository: &Repository,
    commit: CommitId,
    authority: &'a Authority,
) -> Option<&'a Authorised> {
    let signer = authority.of(&repository.signer_of(commit)?);
    signer.filter(|it| it.may(Right::Record))
}

/// The tree of the records that count. Where it is none that the server has, it is kept here for whoever reads it;
/// nothing may be pushed that leads to it: see [`NotesDraft::accepted`].
///
/// # Errors
/// That nothing of them was ever accepted, and what to do; [`NotesError`] where they cannot be read.
pub fn counted(
    repository: &Repository,
    environment: &EnvironmentName,
    head: CommitId,
    authority: &Authority,
) -> Result<ObjectId, NotesError> {
    let mut draft = repository.draft();
    match judge(repository, &draft, environment, head, authority)? {
        Judged::Whole(tree) => Ok(tree),
        Judged::Open(mut notes) => {
            let tree = notes.tree(&mut draft)?;
            repository.keep(draft);
            Ok(tree)
        }
    }
}

impl NotesDraft {
    /// Begins on the records' head with those that count: what was put there since it was last accepted is added
    /// anew, line by line.
    ///
    /// # Errors
    /// As [`counted`].
    pub fn accepted(
        repository: &Repository,
        draft: &Draft,
        environment: &EnvironmentName,
        head: CommitId,
        authority: &Authority,
    ) -> Result<Self, NotesError> {
        match judge(repository, draft, environment, head, authority)? {
            Judged::Whole(tree) => Self::begin(draft, Some(head), Some(tree)),
            Judged::Open(notes) => Ok(*notes),
        }
    }
}

/// Records, judged.
enum Judged {
    /// All of them count.
    Whole(ObjectId),
    /// What was accepted, and what counts of the rest.
    Open(Box<NotesDraft>),
}

fn judge(
    repository: &Repository,
    draft: &Draft,
    environment: &EnvironmentName,
    head: CommitId,
    authority: &Authority,
) -> Result<Judged, NotesError> {
    let mut commit = repository.commit(head)?;
    if authority.is_open() {
        return Ok(Judged::Whole(commit.tree));
    }
    let unsigned = || NotesError::Unsigned(records_ref(environment), environment.clone());
    let mut open = Vec::new();
    while accepted_by(repository, commit.id, authority).is_none() {
        let parent = commit.parents.first().copied().ok_or_else(unsigned)?;
        open.push(commit);
        if open.len() > OPEN_MAX {
            return Err(unsigned());
        }
        commit = repository.commit(parent)?;
    }
    if open.is_empty() {
        return Ok(Judged::Whole(commit.tree));
    }
    let mut judge = Judge {
        repository,
        draft,
        environment,
        authority,
        notes: NotesDraft::begin(draft, Some(head), Some(commit.tree))?,
        told: 0,
        untold: None,
    };
    let mut before = commit.tree;
    for commit in open.iter().rev() {
        judge.take(before, commit)?;
        before = commit.tree;
    }
    judge.tell_of_the_rest()?;
    Ok(Judged::Open(Box::new(judge.notes)))
}

/// Accepts the records as they are: one signed commit more, that changes nothing. Gives what became of its push;
/// `None`: there are none.
///
/// # Errors
/// Any [`GitError`] of the way to the server.
pub async fn sign(
    repository: &Repository,
    environment: &EnvironmentName,
    author: &Signature,
) -> Result<Option<Pushed>, GitError> {
    let name = records_ref(environment);
    let refs = repository.look(std::slice::from_ref(&name)).await?;
    let Some(shown) = refs.get(&name) else {
        return Ok(None);
    };
    repository.fetch(&[shown.id], Reach::Tip).await?;
    let head = CommitId(shown.id);
    let mut draft = repository.draft();
    let commit = draft.commit(&CommitDraft {
        tree: repository.commit(head)?.tree,
        parents: vec![head],
        author: author.clone(),
        committer: author.clone(),
        message: "accepted as they are\n".to_owned(),
    });
    let commit = repository.sign(&mut draft, commit).await?;
    let push = Push::new().update(name, Some(shown.id), commit.0);
    repository.push(push.with(&draft)?).await.map(Some)
}

/// Takes what counts onto what was accepted.
struct Judge<'a> {
    repository: &'a Repository,
    draft: &'a Draft,
    environment: &'a EnvironmentName,
    authority: &'a Authority,
    notes: NotesDraft,
    /// How many lines that do not count were told of.
    told: usize,
    /// How many more there were, and the last of them as it would have been told of.
    untold: Option<(usize, Record)>,
}

impl Judge<'_> {
    /// Judges what one commit added.
    fn take(&mut self, before: ObjectId, commit: &Commit) -> Result<(), NotesError> {
        let signer = self.repository.signer_of(commit.id);
        for file in self.repository.changed(Some(before), Some(commit.tree))? {
            if !file.path.starts_with(PRESENT) {
                for line in self
                    .added(&file)?
                    .lines()
                    .filter(|it| !it.trim().is_empty())
                {
                    self.line(&file, line, signer.as_ref(), commit)?;
                }
            }
        }
        Ok(())
    }

    /// What was appended to a note; nothing where it was changed otherwise.
    fn added(&self, file: &Change) -> Result<String, GitError> {
        let read = |side: Option<(crate::git::Mode, ObjectId)>| match side {
            Some((_, id)) => self.repository.blob(id),
            None => Ok(Bytes::new()),
        };
        let (old, new) = (read(file.old)?, read(file.new)?);
        let added = new.strip_prefix(&old[..]).unwrap_or_default();
        Ok(String::from_utf8_lossy(added).into_owned())
    }

    fn line(
        &mut self,
        file: &Change,
        line: &str,
        signer: Option<&PublicKey>,
        commit: &Commit,
    ) -> Result<(), NotesError> {
        // What is no record here says nothing.
        let Ok(record) = Record::from_line(line) else {
            return Ok(());
        };
        if record.environment != *self.environment || note_path(record.commit) != file.path {
            return Ok(());
        }
        self.notes.open(self.draft, &record)?;
        let Some(reason) = self.objection(&record, signer) else {
            self.notes.add(self.draft, vec![record])?;
            return Ok(());
        };
        let (by, statement) = (&record.by, &record.statement);
        let said = format!("{by} said: {statement} ({})", commit.id.short());
        let refused = Record {
            by: TOWPATH.to_owned(),
            statement: Statement::Refused { said, reason },
            ..record
        };
        if self.told == REFUSED_MAX {
            let more = self.untold.as_ref().map_or(0, |(more, _)| *more);
            self.untold = Some((more + 1, refused));
            return Ok(());
        }
        self.told += 1;
        self.notes.add(self.draft, vec![refused])?;
        Ok(())
    }

    /// Tells together of what was too much to be told of one by one.
    fn tell_of_the_rest(&mut self) -> Result<(), NotesError> {
        let Some((more, mut last)) = self.untold.take() else {
            return Ok(());
        };
        if let Statement::Refused { said, .. } = &mut last.statement {
            *said = format!("{more} more, the last of them: {said}");
        }
        self.notes.add(self.draft, vec![last])?;
        Ok(())
    }

    /// Why a record does not count.
    fn objection(&self, record: &Record, signer: Option<&PublicKey>) -> Option<String> {
        let Some(right) = record.statement.right() else {
            let holds = self.hold_of(record);
            return loosens(&record.statement, holds).then(|| {
                "it would end a hold or a freeze sooner, which takes `resume`".to_owned()
            });
        };
        self.authority.objection(right, signer, &record.by)
    }

    /// The hold, or the freeze, in the record's scope as it is.
    fn hold_of(&self, record: &Record) -> Option<&Hold> {
        match (&record.statement, &record.application) {
            (Statement::Frozen { .. }, _) => self.notes.standing.freeze.as_ref(),
            (_, Some(application)) => self.notes.units.get(application)?.hold.as_ref(),
            (_, None) => self.notes.standing.hold.as_ref(),
        }
    }
}

/// Whether a hold or a freeze that is said anew would end before the one that holds.
fn loosens(statement: &Statement, holds: Option<&Hold>) -> bool {
    let (Statement::Held { until, .. } | Statement::Frozen { until, .. }, Some(hold)) =
        (statement, holds)
    else {
        return false;
    };
    match (until, hold.until) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(until), Some(held)) => *until < held,
    }
}
