//! Whether records are whole: every line is read, and what `present/` repeats is what the notes say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gix::ObjectId;

use super::{NotesError, note_path, read_all, read_standing, read_unit, recorded};
use crate::git::Repository;
use crate::model::record::{Record, Statement, UnitRecords};
use crate::model::{ApplicationName, CommitId, EnvironmentName};

/// What was found in an environment's records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// How many there are.
    pub records: usize,
    /// How many deployments they tell of.
    pub deployments: usize,
    /// The applications that they tell of.
    pub applications: Arc<BTreeSet<ApplicationName>>,
    /// What is wrong, a sentence each.
    pub wrong: Vec<String>,
}

/// Reads every record of a tree, and compares.
///
/// # Errors
/// [`NotesError`] names the line that cannot be read.
pub fn verify(
    repository: &Repository,
    environment: &EnvironmentName,
    tree: ObjectId,
) -> Result<Verified, NotesError> {
    let records = read_all(repository, tree)?;
    let mut found = Verified {
        records: records.len(),
        applications: recorded(repository, tree, None)?,
        ..Verified::default()
    };
    let elsewhere = records.iter().filter(|it| it.environment != *environment);
    for record in elsewhere {
        found.wrong.push(format!(
            "{} is a record of {}",
            note_path(record.commit),
            record.environment
        ));
    }
    let numbers = numbers(&records, &mut found.wrong);
    found.deployments = numbers.len();
    let newest = numbers.last_key_value().map_or(0, |(number, _)| *number);
    let standing = read_standing(repository, tree)?;
    if standing.number < newest {
        found.wrong.push(format!(
            "the newest deployment is {newest}, and what is said to be true of the environment tells of {}",
            standing.number
        ));
    }
    let mut units: BTreeMap<ApplicationName, Vec<Record>> = BTreeMap::new();
    for record in records {
        if let Some(application) = record.application.clone() {
            units.entry(application).or_default().push(record);
        }
    }
    for (application, records) in units {
        let told = UnitRecords::fold(records).at_rest();
        if read_unit(repository, tree, &application)? != told {
            found.wrong.push(format!(
                "what is said to be true of {application} is not what its records come to"
            ));
        }
    }
    Ok(found)
}

/// The commit of each deployment's number. One number marks one commit.
fn numbers(records: &[Record], wrong: &mut Vec<String>) -> BTreeMap<u64, CommitId> {
    let mut numbers = BTreeMap::new();
    for record in records {
        let Statement::Deployment { number, .. } = record.statement else {
            continue;
        };
        let known = *numbers.entry(number).or_insert(record.commit);
        if known != record.commit {
            wrong.push(format!(
                "deployment {number} is told of {} and of {}",
                known.short(),
                record.commit.short()
            ));
        }
    }
    numbers
}
