//! The standing of an environment, kept beside its units' records: the newest number, which
//! deployments have no tag yet, who failed, the hold and the freeze of the whole environment, and when the
//! newest deployments were.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::line::{NUMBER_MAX, beyond};
use super::present::{REFUSED, keep_newest};
use super::{Cause, Hold, InvalidRecord, OpenDeployment, Record, Standing, Statement, Verdict};
use crate::model::{CommitId, Rate};

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Written {
    v: u32,
    number: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    newest: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    open: Vec<OpenWritten>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    failed: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hold: Option<HoldWritten>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    freeze: Option<HoldWritten>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    recent: Vec<Timestamp>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    refused: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct HoldWritten {
    at: Timestamp,
    by: String,
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct OpenWritten {
    number: u64,
    commit: String,
}

impl Standing {
    /// Takes one more record in.
    pub fn take(&mut self, record: &Record) {
        match (&record.statement, &record.application) {
            (Statement::Deployment { number, cause, .. }, Some(application)) => {
                if *number >= self.number {
                    self.number = *number;
                    self.newest = Some(record.commit);
                }
                let open = OpenDeployment {
                    number: *number,
                    commit: record.commit,
                };
                if !self.open.contains(&open) {
                    self.open.push(open);
                    self.count(record.at, *cause);
                }
                self.failed.remove(application);
                self.refused.clear();
            }
            (Statement::Verdict { verdict, .. }, Some(application)) => match verdict {
                Verdict::Failed { reason, .. } => {
                    self.failed.insert(application.clone(), reason.clone());
                }
                Verdict::Healthy { .. } | Verdict::Superseded => {
                    self.failed.remove(application);
                }
            },
            (Statement::Held { reason, until }, None) => {
                self.hold = Some(said(record, reason, *until));
            }
            (Statement::Resumed { .. }, None) => self.hold = None,
            (Statement::Frozen { reason, until }, None) => {
                self.freeze = Some(said(record, reason, *until));
            }
            (Statement::Thawed { .. }, None) => self.freeze = None,
            (Statement::Refused { .. }, None) => {
                keep_newest(&mut self.refused, record.statement.to_string(), REFUSED);
            }
            _ => {}
        }
    }

    /// Counts a deployment, once for all applications that it is of. What was there before is none.
    fn count(&mut self, at: Timestamp, cause: Cause) {
        if cause == Cause::Baseline {
            return;
        }
        // Nobody counts parts of seconds.
        let at = Timestamp::from_second(at.as_second()).unwrap_or(at);
        keep_newest(&mut self.recent, at, Rate::AT_MOST);
    }

    /// The newest number of a commit among deployments that have no tag yet.
    pub fn number_of(&self, commit: CommitId) -> Option<u64> {
        let mut open = self.open.iter().rev();
        open.find(|open| open.commit == commit)
            .map(|open| open.number)
    }

    /// The commit of a deployment that has no tag yet.
    pub fn commit_of(&self, number: u64) -> Option<CommitId> {
        self.open
            .iter()
            .find(|open| open.number == number)
            .map(|open| open.commit)
    }

    /// A deployment has its tag, or needs none.
    pub fn close(&mut self, number: u64) {
        self.open.retain(|open| open.number != number);
    }

    /// The written form: one JSON object.
    pub fn to_json(&self) -> String {
        let open = self.open.iter().map(|open| OpenWritten {
            number: open.number,
            commit: open.commit.to_string(),
        });
        let written = Written {
            v: VERSION,
            number: self.number,
            newest: self.newest.map(|commit| commit.to_string()),
            open: open.collect(),
            failed: self
                .failed
                .iter()
                .map(|(application, reason)| (application.to_string(), reason.clone()))
                .collect(),
            hold: self.hold.clone().map(HoldWritten::from),
            freeze: self.freeze.clone().map(HoldWritten::from),
            recent: self.recent.clone(),
            refused: self.refused.clone(),
        };
        serde_json::to_string(&written).expect("it holds nothing but texts and numbers") + "\n"
    }

    /// Reads the written form.
    ///
    /// # Errors
    /// [`InvalidRecord`] says what is wrong with it.
    pub fn from_json(text: &str) -> Result<Self, InvalidRecord> {
        let malformed = |error: &dyn std::fmt::Display| InvalidRecord::Malformed(error.to_string());
        let written: Written = serde_json::from_str(text).map_err(|error| malformed(&error))?;
        if written.v != VERSION {
            return Err(InvalidRecord::Version(written.v));
        }
        if written.number > NUMBER_MAX {
            return Err(InvalidRecord::Malformed(beyond(written.number)));
        }
        let commit = |text: &str| text.parse::<CommitId>().map_err(|error| malformed(&error));
        let mut standing = Self {
            number: written.number,
            newest: written.newest.as_deref().map(commit).transpose()?,
            refused: written.refused,
            ..Self::default()
        };
        for open in written.open {
            let commit = commit(&open.commit)?;
            standing.open.push(OpenDeployment {
                number: open.number,
                commit,
            });
        }
        for (application, reason) in written.failed {
            let application = application.parse().map_err(|error| malformed(&error))?;
            standing.failed.insert(application, reason);
        }
        standing.hold = written.hold.map(Hold::from);
        standing.freeze = written.freeze.map(Hold::from);
        standing.recent = written.recent;
        Ok(standing)
    }
}

fn said(record: &Record, reason: &str, until: Option<Timestamp>) -> Hold {
    Hold {
        reason: reason.to_owned(),
        by: record.by.clone(),
        at: record.at,
        until,
    }
}

impl From<Hold> for HoldWritten {
    fn from(hold: Hold) -> Self {
        Self {
            at: hold.at,
            by: hold.by,
            reason: hold.reason,
            until: hold.until,
        }
    }
}

impl From<HoldWritten> for Hold {
    fn from(written: HoldWritten) -> Self {
        Self {
            at: written.at,
            by: written.by,
            reason: written.reason,
            until: written.until,
        }
    }
}
