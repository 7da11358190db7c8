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

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use gix::ObjectId;

use super::{CommitDraft, Draft, Found, GitError, Repository, Signature};
use crate::model::record::{Record, Standing, Statement, UnitRecords};
use crate::model::{ApplicationName, CommitId, EnvironmentName};

const STANDING: &str = "present/environment";

const UNITS: &str = "present/applications";

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
    Ok(UnitRecords::fold(records))
}

/// The applications that the records tell of.
///
/// # Errors
/// Any [`GitError`] of reading the mirror.
pub fn recorded(
    repository: &Repository,
    tree: ObjectId,
) -> Result<BTreeSet<ApplicationName>, GitError> {
    let Some(folder) = repository.lookup(tree, UNITS)? else {
        return Ok(BTreeSet::new());
    };
    let units = repository.changed(None, Some(folder.id))?;
    Ok(units.iter().filter_map(|it| it.path.parse().ok()).collect())
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
    let Some(bytes) = files.file(tree, path)? else {
        return Ok(Vec::new());
    };
    let text = String::from_utf8_lossy(&bytes);
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

/// Records of one environment being written: several units' may go into one push.
pub struct NotesDraft {
    parent: Option<CommitId>,
    tree: Option<ObjectId>,
    standing: Standing,
    /// The number to begin with where there are no records: existing tags are continued.
    written: Vec<Record>,
}

impl NotesDraft {
    /// Begins on the records' head.
    ///
    /// # Errors
    /// [`NotesError`] where what is there cannot be read.
    pub fn begin(draft: &Draft, head: Option<CommitId>) -> Result<Self, NotesError> {
        let tree = head
            .map(|head| draft.read_commit(head))
            .transpose()?
            .map(|commit| commit.tree);
        let standing = match tree {
            Some(tree) => standing(draft, tree)?,
            None => Standing::default(),
        };
        Ok(Self {
            parent: head,
            tree,
            standing,
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
    /// [`NotesError`] where what is there cannot be read.
    pub fn add(
        &mut self,
        draft: &mut Draft,
        records: Vec<Record>,
    ) -> Result<Vec<Record>, NotesError> {
        let mut numbered = Vec::new();
        for mut record in records {
            if matches!(record.statement, Statement::Deployment { .. }) {
                let taken = self.number(draft, &record)?;
                if let Statement::Deployment { number, .. } = &mut record.statement {
                    *number = taken;
                }
            }
            numbered.push(record);
        }
        self.write(draft, &numbered)?;
        numbered
            .iter()
            .for_each(|record| self.standing.take(record));
        self.written.extend(numbered.iter().cloned());
        Ok(numbered)
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
        let tree = draft.put(self.tree, STANDING, self.standing.to_json())?;
        self.tree = Some(tree);
        Ok(draft.commit(&CommitDraft {
            tree,
            parents: self.parent.into_iter().collect(),
            author: author.clone(),
            committer: author.clone(),
            message: message(&self.written),
        }))
    }

    /// The number that the commit has through another application's deployment, while that has no
    /// tag; else the next one. A unit that comes back to a commit it had before is deployed anew.
    fn number(&self, draft: &Draft, record: &Record) -> Result<u64, NotesError> {
        let next = self.standing.number + 1;
        let Some(number) = self.standing.number_of(record.commit) else {
            return Ok(next);
        };
        let note = match self.tree {
            Some(tree) => read_lines(draft, tree, &note_path(record.commit))?,
            None => Vec::new(),
        };
        let own = note.iter().any(|other| {
            other.application == record.application
                && matches!(other.statement, Statement::Deployment { number: it, .. } if it == number)
        });
        Ok(if own { next } else { number })
    }

    fn write(&mut self, draft: &mut Draft, records: &[Record]) -> Result<(), NotesError> {
        let mut notes: BTreeMap<String, String> = BTreeMap::new();
        let mut units: BTreeMap<&ApplicationName, Vec<Record>> = BTreeMap::new();
        for record in records {
            let lines = notes.entry(note_path(record.commit)).or_default();
            lines.push_str(&record.to_line());
            lines.push('\n');
            if let Some(application) = &record.application {
                units.entry(application).or_default().push(record.clone());
            }
        }
        let mut edits = Vec::new();
        for (path, lines) in notes {
            let before = match self.tree {
                Some(tree) => draft.file(tree, &path)?,
                None => None,
            };
            let mut bytes = before.map(|bytes| bytes.to_vec()).unwrap_or_default();
            if bytes.last().is_some_and(|byte| *byte != b'\n') {
                bytes.push(b'\n');
            }
            bytes.extend_from_slice(lines.as_bytes());
            edits.push((path, Some(bytes.into())));
        }
        for (application, records) in units {
            let path = unit_path(application);
            let before = match self.tree {
                Some(tree) => read_lines(draft, tree, &path)?,
                None => Vec::new(),
            };
            let mut present = UnitRecords::fold(before);
            for record in records {
                present.take(record);
            }
            let lines: String = present
                .standing()
                .iter()
                .map(|record| record.to_line() + "\n")
                .collect();
            edits.push((path, Some(lines.into_bytes().into())));
        }
        self.tree = Some(draft.edit(self.tree, edits)?);
        Ok(())
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
