//! Where records are kept: git notes, `refs/notes/towpath/<environment>`.
//!
//! ```text
//! 3f/9c01…                        the note of commit 3f9c01…: its records, one a line, oldest first
//! present/environment             the standing of the environment
//! present/applications/<name>     the records that say what is true of that unit now
//! ```
//!
//! The notes are what git itself reads (`git log --notes='towpath/*'`); it keeps what else stands
//! in the tree. `present/` can be made anew from the notes; it makes reading the present one look,
//! however many notes there are. This module never decides what is recorded.

mod added;
mod counted;
mod verify;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use gix::ObjectId;

use super::{CommitDraft, Draft, Found, GitError, Repository, Signature};
use crate::model::record::{NUMBER_MAX, Record, Standing, Statement, UnitRecords};
use crate::model::{ApplicationName, CommitId, EnvironmentName};

pub use added::read_added;
pub use counted::{OPEN_MAX, accepted_by, counted, sign};
pub use verify::{Verified, verify};

const STANDING: &str = "present/environment";

const UNITS: &str = "present/applications";

/// What is no note.
const PRESENT: &str = "present/";

/// The ref that holds an environment's records.
pub fn records_ref(environment: &EnvironmentName) -> String {
    format!("refs/notes/towpath/{environment}")
}

fn unit_path(application: &ApplicationName) -> String {
    format!("{UNITS}/{application}")
}

/// Two levels, as git itself lays out notes once there are some hundreds: a push then carries
/// 256 + n/256 entries instead of n.
fn note_path(commit: CommitId) -> String {
    let hex = commit.to_string();
    format!("{}/{}", &hex[..2], &hex[2..])
}

/// Why records could not be read: the way there, or what stands in them.
#[derive(Debug, thiserror::Error)]
pub enum NotesError {
    /// The objects could not be read.
    #[error(transparent)]
    Git(#[from] GitError),
    /// What was read is no record.
    #[error("{path}, line {line}: {reason}")]
    Invalid {
        /// The path in the records' tree.
        path: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no number left.
    #[error("no deployment has the number {0}: take back what gave a deployment so high a number")]
    Numbered(u64),
    /// The environment lists keys, and nobody who may `record` ever signed its records.
    #[error(
        "nothing of {0} is signed with a key of `authority` that may `record`: read it (`git log --notes`, docs/records.md), and accept it with `towpath records sign {1}`"
    )]
    Unsigned(String, EnvironmentName),
}

/// Reads a file of the records' tree.
trait Files {
    fn find(&self, tree: ObjectId, path: &str) -> Result<Option<Found>, GitError>;
    fn read(&self, id: ObjectId) -> Result<Bytes, GitError>;

    fn file(&self, tree: ObjectId, path: &str) -> Result<Option<Bytes>, GitError> {
        let found = self.find(tree, path)?;
        found.map(|found| self.read(found.id)).transpose()
    }
}

impl Files for Repository {
    fn find(&self, tree: ObjectId, path: &str) -> Result<Option<Found>, GitError> {
        self.lookup(tree, path)
    }

    fn read(&self, id: ObjectId) -> Result<Bytes, GitError> {
        self.blob(id)
    }
}

impl Files for Draft {
    fn find(&self, tree: ObjectId, path: &str) -> Result<Option<Found>, GitError> {
        self.lookup(tree, path)
    }

    fn read(&self, id: ObjectId) -> Result<Bytes, GitError> {
        self.blob(id)
    }
}

/// The blob in which a unit's present stands, so that an unchanged one need not be read again.
///
/// # Errors
/// Any [`GitError`] of reading the mirror.
pub fn unit_blob(
    repository: &Repository,
    tree: ObjectId,
    application: &ApplicationName,
) -> Result<Option<ObjectId>, GitError> {
    Ok(repository
        .lookup(tree, &unit_path(application))?
        .map(|found| found.id))
}

/// What the records say of a unit now.
///
/// # Errors
/// [`NotesError::Invalid`] names the line that cannot be read.
pub fn read_unit(
    repository: &Repository,
    tree: ObjectId,
    application: &ApplicationName,
) -> Result<UnitRecords, NotesError> {
    let records = read_lines(repository, tree, &unit_path(application))?;
    Ok(UnitRecords::fold(records).at_rest())
}

/// The applications that the records tell of. Where those of an earlier tree are known, only what differs from it is
/// looked at: every push of ours asks.
///
/// # Errors
/// Any [`GitError`] of reading the mirror.
pub fn recorded(
    repository: &Repository,
    tree: ObjectId,
    before: Option<(ObjectId, Arc<BTreeSet<ApplicationName>>)>,
) -> Result<Arc<BTreeSet<ApplicationName>>, GitError> {
    let folder = |tree| Ok(repository.lookup(tree, UNITS)?.map(|it| it.id));
    let (old, mut all) = match before {
        Some((tree, known)) => (folder(tree)?, known),
        None => (None, Arc::default()),
    };
    for unit in repository.changed(old, folder(tree)?)? {
        if unit.old.is_some() == unit.new.is_some() {
            continue;
        }
        let Ok(name) = unit.path.parse() else {
            continue;
        };
        match unit.new {
            Some(_) => Arc::make_mut(&mut all).insert(name),
            None => Arc::make_mut(&mut all).remove(&name),
        };
    }
    Ok(all)
}

/// What the records say of the environment now.
///
/// # Errors
/// [`NotesError::Invalid`] where it cannot be read.
pub fn read_standing(repository: &Repository, tree: ObjectId) -> Result<Standing, NotesError> {
    standing(repository, tree)
}

/// The records about one commit, oldest first.
///
/// # Errors
/// [`NotesError::Invalid`] names the line that cannot be read.
pub fn read_note(
    repository: &Repository,
    tree: ObjectId,
    commit: CommitId,
) -> Result<Vec<Record>, NotesError> {
    read_lines(repository, tree, &note_path(commit))
}

/// Every record of the environment, in the order in which they were stated. Reads every note.
///
/// # Errors
/// [`NotesError::Invalid`] names the line that cannot be read.
pub fn read_all(repository: &Repository, tree: ObjectId) -> Result<Vec<Record>, NotesError> {
    let mut records = Vec::new();
    repository.reading_much(|| {
        for file in repository.changed(None, Some(tree))? {
            if let Some((_, id)) = file.new.filter(|_| !file.path.starts_with(PRESENT)) {
                records.extend(lines(&repository.blob(id)?, &file.path)?);
            }
        }
        Ok::<_, NotesError>(())
    })?;
    // Stable: of one note the lines stay in their order.
    records.sort_by_key(|record| record.at);
    Ok(records)
}

fn standing(files: &impl Files, tree: ObjectId) -> Result<Standing, NotesError> {
    let Some(bytes) = files.file(tree, STANDING)? else {
        return Ok(Standing::default());
    };
    Standing::from_json(&String::from_utf8_lossy(&bytes)).map_err(|error| NotesError::Invalid {
        path: STANDING.to_owned(),
        line: 1,
        reason: error.to_string(),
    })
}

fn read_lines(files: &impl Files, tree: ObjectId, path: &str) -> Result<Vec<Record>, NotesError> {
    match files.file(tree, path)? {
        Some(bytes) => lines(&bytes, path),
        None => Ok(Vec::new()),
    }
}

fn lines(bytes: &[u8], path: &str) -> Result<Vec<Record>, NotesError> {
    let text = String::from_utf8_lossy(bytes);
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| {
            Record::from_line(line).map_err(|error| NotesError::Invalid {
                path: path.to_owned(),
                line: index + 1,
                reason: error.to_string(),
            })
        })
        .collect()
}

/// Records of one environment being written: several units' may go into one push. What is added is
/// kept as it was said and written once, by [`Self::commit`]: a note that a thousand units share is
/// neither read nor made anew for each.
pub struct NotesDraft {
    parent: Option<CommitId>,
    /// The records' tree as it is.
    tree: Option<ObjectId>,
    standing: Standing,
    notes: BTreeMap<CommitId, Note>,
    units: BTreeMap<ApplicationName, UnitRecords>,
    written: Vec<Record>,
}

/// A commit's note as it will be.
struct Note {
    text: Vec<u8>,
    /// Whose deployments it tells of, under which number; without those that have their tag, where
    /// none lacks it.
    deployed: BTreeSet<(Option<ApplicationName>, u64)>,
}

impl NotesDraft {
    /// Begins on the records' head, with the tree of those that count: its own, or that of [`counted`].
    ///
    /// # Errors
    /// [`NotesError`] where what is there cannot be read.
    pub fn begin(
        draft: &Draft,
        head: Option<CommitId>,
        tree: Option<ObjectId>,
    ) -> Result<Self, NotesError> {
        let standing = match tree {
            Some(tree) => standing(draft, tree)?,
            None => Standing::default(),
        };
        Ok(Self {
            parent: head,
            tree,
            standing,
            notes: BTreeMap::new(),
            units: BTreeMap::new(),
            written: Vec::new(),
        })
    }

    /// Deployments are numbered from here on, if they are not already beyond it.
    pub fn continue_from(&mut self, number: u64) {
        self.standing.number = self.standing.number.max(number);
    }

    /// Adds records, which take their number now; gives them back as they are written.
    ///
    /// # Errors
    /// [`NotesError`] where what is there cannot be read; then nothing is added.
    pub fn add(
        &mut self,
        draft: &Draft,
        mut records: Vec<Record>,
    ) -> Result<Vec<Record>, NotesError> {
        for record in &records {
            self.open(draft, record)?;
        }
        let next = self.standing.number + 1;
        if next > NUMBER_MAX {
            return Err(NotesError::Numbered(next));
        }
        for record in &mut records {
            if let Statement::Deployment { .. } = record.statement {
                let taken = self.shared_number(record).unwrap_or(next);
                if let Statement::Deployment { number, .. } = &mut record.statement {
                    *number = taken;
                }
            }
        }
        records.iter().for_each(|record| self.take(record));
        Ok(records)
    }

    /// Notes that a deployment has its tag, or needs none.
    pub fn close(&mut self, number: u64) {
        self.standing.close(number);
    }

    /// The standing as it will be.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// One commit over what was added.
    ///
    /// # Errors
    /// Any [`GitError`] of reading the mirror.
    pub fn commit(mut self, draft: &mut Draft, author: &Signature) -> Result<CommitId, GitError> {
        let tree = self.tree(draft)?;
        Ok(draft.commit(&CommitDraft {
            tree,
            parents: self.parent.into_iter().collect(),
            author: author.clone(),
            committer: author.clone(),
            message: message(&self.written),
        }))
    }

    /// The tree with what was added.
    fn tree(&mut self, draft: &mut Draft) -> Result<ObjectId, GitError> {
        let mut edits = vec![(STANDING.to_owned(), Some(self.standing.to_json().into()))];
        let commits: BTreeSet<_> = self.written.iter().map(|record| record.commit).collect();
        let units: BTreeSet<_> = self
            .written
            .iter()
            .map(|record| &record.application)
            .collect();
        for (commit, note) in std::mem::take(&mut self.notes) {
            if commits.contains(&commit) {
                // Without the room to grow: it is kept for a while.
                let text = note.text.into_boxed_slice();
                edits.push((note_path(commit), Some(text.into())));
            }
        }
        for (application, present) in std::mem::take(&mut self.units) {
            let application = Some(application);
            let Some(name) = application
                .as_ref()
                .filter(|_| units.contains(&application))
            else {
                continue;
            };
            let lines = present.standing();
            let lines = lines.iter().map(|record| record.to_line() + "\n");
            let text = lines.collect::<String>().into_bytes();
            edits.push((unit_path(name), Some(text.into())));
        }
        draft.edit(self.tree, edits)
    }

    /// The number that the commit has through another application's deployment, while that has no
    /// tag. A unit that comes back to a commit it had before is deployed anew.
    fn shared_number(&self, record: &Record) -> Option<u64> {
        let number = self.standing.number_of(record.commit)?;
        let note = self.notes.get(&record.commit)?;
        let own = (record.application.clone(), number);
        (!note.deployed.contains(&own)).then_some(number)
    }

    /// Reads what a record will stand beside, unless it was read before.
    fn open(&mut self, draft: &Draft, record: &Record) -> Result<(), NotesError> {
        if let Entry::Vacant(entry) = self.notes.entry(record.commit) {
            let is_open = self.standing.number_of(record.commit).is_some();
            entry.insert(Note::read(draft, self.tree, record.commit, is_open)?);
        }
        if let Some(application) = &record.application
            && !self.units.contains_key(application)
        {
            let before = match self.tree {
                Some(tree) => read_lines(draft, tree, &unit_path(application))?,
                None => Vec::new(),
            };
            self.units
                .insert(application.clone(), UnitRecords::fold(before));
        }
        Ok(())
    }

    fn take(&mut self, record: &Record) {
        if let Some(note) = self.notes.get_mut(&record.commit) {
            note.take(record);
        }
        let unit = record.application.as_ref();
        if let Some(present) = unit.and_then(|unit| self.units.get_mut(unit)) {
            present.take(record.clone());
        }
        self.standing.take(record);
        self.written.push(record.clone());
    }
}

impl Note {
    fn read(
        draft: &Draft,
        tree: Option<ObjectId>,
        commit: CommitId,
        is_open: bool,
    ) -> Result<Self, NotesError> {
        let path = note_path(commit);
        let text = match tree {
            Some(tree) => draft.file(tree, &path)?.unwrap_or_default(),
            None => Bytes::new(),
        };
        let records = match is_open {
            true => lines(&text, &path)?,
            false => Vec::new(),
        };
        let deployed = records.iter().filter_map(deployed).collect();
        let mut text = text.to_vec();
        if text.last().is_some_and(|byte| *byte != b'\n') {
            text.push(b'\n');
        }
        Ok(Self { text, deployed })
    }

    fn take(&mut self, record: &Record) {
        self.text.extend_from_slice(record.to_line().as_bytes());
        self.text.push(b'\n');
        self.deployed.extend(deployed(record));
    }
}

/// Whose deployment a record states, under which number.
fn deployed(record: &Record) -> Option<(Option<ApplicationName>, u64)> {
    match record.statement {
        Statement::Deployment { number, .. } => Some((record.application.clone(), number)),
        _ => None,
    }
}

/// A subject that says what was recorded, for `git log` on the records ref.
fn message(records: &[Record]) -> String {
    let subject = |record: &Record| {
        let line: serde_json::Value =
            serde_json::from_str(&record.to_line()).unwrap_or(serde_json::Value::Null);
        let text = |key: &str| {
            line.get(key)
                .and_then(|value| value.as_str())
                .unwrap_or_default()
                .to_owned()
        };
        let release = line
            .pointer("/release/name")
            .and_then(|name| name.as_str())
            .unwrap_or_default();
        let mut words = vec![
            text("record"),
            text("verdict"),
            text("application"),
            release.to_owned(),
        ];
        words.retain(|word| !word.is_empty());
        words.join(" ")
    };
    match records {
        [] => "deployment tags\n".to_owned(),
        [one] => subject(one) + "\n",
        [first, rest @ ..] => {
            let rest: Vec<_> = rest.iter().map(subject).collect();
            format!(
                "{} and {} more\n\n{}\n",
                subject(first),
                rest.len(),
                rest.join("\n")
            )
        }
    }
}
