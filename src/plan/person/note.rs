//! The problem log: what a person notes of a deployment that went wrong.

use super::Person;
use crate::model::CommitId;
use crate::model::record::Statement;
use crate::plan::{Scope, Step, Walk};

/// What is noted of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The deployment's number.
    pub number: u64,
    /// Its commit: the note stands with it.
    pub commit: CommitId,
    /// What its trouble came from.
    pub cause: Option<String>,
    /// What mended it.
    pub fix: Option<String>,
}

impl Person<'_> {
    /// The record of a note. Nothing is decided on it, so it is taken of any deployment, however old.
    ///
    /// # Errors
    /// Why it cannot be recorded now, or that it says nothing, in one sentence.
    pub fn annotate(&self, note: &Note) -> Result<Step, String> {
        let said = |text: &Option<String>| {
            let text = text.as_ref().map(|it| it.trim().to_owned());
            text.filter(|it| !it.is_empty())
        };
        let (cause, fix) = (said(&note.cause), said(&note.fix));
        if cause.is_none() && fix.is_none() {
            return Err("say what it came from, what mended it, or both".to_owned());
        }
        self.with(|unit| {
            let (infra, _) = unit.read()?;
            let number = note.number;
            let statement = Statement::Annotated { number, cause, fix };
            let mut step = self.state(infra, Scope::Unit, vec![statement]);
            if let Step::Record(record) = &mut step {
                record.commit = note.commit;
            }
            Walk::Continue(Ok(step))
        })
    }
}
