//! The written form: one JSON object a line, version 1.
//!
//! ```text
//! {"v":1,"record":"verdict","at":"2026-11-21T05:00:00Z","environment":"qa","application":"shop",
//!  "commit":"3f…","number":7,"release":{…},"state":"sha256:…","verdict":"healthy","by":"towpath"}
//! ```
//!
//! Unknown fields are ignored, unknown versions and records are refused.

mod parts;

use std::collections::BTreeMap;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Promoted, Record, Statement, Taken, Verdict};
use crate::model::Release;
use parts::{ReleaseLine, TakenLine, finding, release_line, release_of};

/// The version of the format that this program writes and reads.
const VERSION: u32 = 1;

/// What a promotion may go over: the missing proof, a freeze.
const UNPROVEN: &str = "unproven";
const FREEZE: &str = "freeze";

/// A line that is no record this program can read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRecord {
    /// Written by a newer Towpath.
    #[error(
        "the record is of version {0}, this Towpath reads version {VERSION}: use a newer Towpath"
    )]
    Version(u32),
    /// A kind of record that this program does not know.
    #[error("`{0}` is a record this Towpath does not know: use a newer Towpath")]
    Unknown(String),
    /// Not a record at all.
    #[error("not a record: {0}")]
    Malformed(String),
}

#[derive(Serialize, Deserialize)]
struct Line {
    v: u32,
    record: String,
    at: Timestamp,
    environment: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    application: Option<String>,
    commit: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    release: Option<ReleaseLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    over: Option<ReleaseLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    serves: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proposal: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verdict: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    said: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<Timestamp>,
    /// Left out where it is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exercised: Option<bool>,
    /// Left out where it is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    applied: Option<bool>,
    /// What a person's word goes over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    despite: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    taken: Vec<TakenLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    scores: BTreeMap<String, f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    link: Option<String>,
    by: String,
}

impl Record {
    /// The record as one line of JSON, without the line feed.
    pub fn to_line(&self) -> String {
        serde_json::to_string(&line_of(self)).expect("a line holds nothing but texts and numbers")
    }

    /// Reads one line.
    ///
    /// # Errors
    /// [`InvalidRecord`] says what is wrong with it.
    pub fn from_line(text: &str) -> Result<Self, InvalidRecord> {
        #[derive(Deserialize)]
        struct Head {
            v: u32,
        }
        match serde_json::from_str::<Line>(text) {
            Ok(line) if line.v == VERSION => record_of(line),
            Ok(line) => Err(InvalidRecord::Version(line.v)),
            // A newer version may look otherwise.
            Err(error) => match serde_json::from_str::<Head>(text) {
                Ok(head) if head.v != VERSION => Err(InvalidRecord::Version(head.v)),
                _ => Err(InvalidRecord::Malformed(error.to_string())),
            },
        }
    }
}

fn line_of(record: &Record) -> Line {
    let mut line = Line {
        v: VERSION,
        record: record.statement.kind().to_owned(),
        at: record.at,
        environment: record.environment.to_string(),
        application: record.application.as_ref().map(ToString::to_string),
        commit: record.commit.to_string(),
        number: None,
        release: None,
        over: None,
        serves: None,
        state: None,
        cause: None,
        proposal: None,
        verdict: None,
        reason: None,
        said: None,
        until: None,
        after: None,
        exercised: None,
        applied: None,
        despite: Vec::new(),
        fix: None,
        taken: Vec::new(),
        digest: None,
        name: None,
        result: None,
        scores: BTreeMap::new(),
        link: None,
        by: record.by.clone(),
    };
    let optional = |release: &Option<Release>| release.as_ref().map(release_line);
    match &record.statement {
        Statement::Adopted { release } => {
            line.release = optional(release);
        }
        Statement::Deployment {
            number,
            release,
            state,
            cause,
        } => {
            line.number = Some(*number);
            line.release = optional(release);
            line.state = Some(state.to_string());
            line.cause = Some(cause.as_str().to_owned());
        }
        Statement::Verdict {
            number,
            release,
            state,
            verdict,
        } => {
            line.number = Some(*number);
            line.release = optional(release);
            line.state = Some(state.to_string());
            line.verdict = Some(verdict.as_str().to_owned());
            match verdict {
                Verdict::Healthy { exercised } => line.exercised = (!exercised).then_some(false),
                Verdict::Failed { reason, applied } => {
                    line.reason = Some(reason.clone());
                    line.applied = (!applied).then_some(false);
                }
                Verdict::Superseded => {}
            }
        }
        Statement::Degraded {
            number,
            release,
            reason,
        } => {
            line.number = Some(*number);
            line.release = optional(release);
            line.reason = Some(reason.clone());
        }
        Statement::Proposed { release, proposal } => {
            line.release = Some(release_line(release));
            line.proposal = Some(proposal.to_string());
        }
        Statement::Withdrawn {
            release,
            proposal,
            reason,
        } => {
            line.release = Some(release_line(release));
            line.proposal = proposal.map(|proposal| proposal.to_string());
            line.reason = Some(reason.clone());
        }
        Statement::Declined { release } => {
            line.release = Some(release_line(release));
        }
        Statement::Pinned {
            release,
            over,
            serves,
            reason,
        } => {
            line.release = optional(release);
            line.over = optional(over);
            line.serves = serves.as_ref().map(ToString::to_string);
            line.reason = Some(reason.clone());
        }
        Statement::Unpinned { reason } => {
            line.reason = Some(reason.clone());
        }
        Statement::Held { reason, until } | Statement::Frozen { reason, until } => {
            line.reason = Some(reason.clone());
            line.until = *until;
        }
        Statement::Resumed { reason } | Statement::Thawed { reason } => {
            line.reason = Some(reason.clone());
        }
        Statement::Retried { release } => {
            line.release = Some(release_line(release));
        }
        Statement::Promoted(promoted) => {
            line.release = Some(release_line(&promoted.release));
            line.reason = Some(promoted.reason.clone());
            line.after = promoted.not_before;
            let despite = [
                (promoted.unproven, UNPROVEN),
                (promoted.during_freeze, FREEZE),
            ];
            let despite = despite.into_iter().filter(|(is_so, _)| *is_so);
            line.despite = despite.map(|(_, word)| word.to_owned()).collect();
        }
        Statement::Ungated { release } => {
            line.release = optional(release);
        }
        Statement::Took { number, taken } => {
            line.number = Some(*number);
            line.taken = taken.iter().cloned().map(TakenLine::from).collect();
        }
        Statement::ApprovedPrune { number } => {
            line.number = Some(*number);
        }
        Statement::ApprovedAdoption { state } => {
            line.state = Some(state.to_string());
        }
        Statement::Evidence { digest, finding } => {
            line.digest = Some(digest.to_string());
            line.name = Some(finding.name.to_string());
            line.result = Some(finding.result.as_str().to_owned());
            let scores = finding.scores.iter();
            line.scores = scores.map(|(name, it)| (name.to_string(), *it)).collect();
            line.link = finding.link.as_ref().map(ToString::to_string);
        }
        Statement::Refused { said, reason } => {
            line.said = Some(said.clone());
            line.reason = Some(reason.clone());
        }
        Statement::Annotated { number, cause, fix } => {
            line.number = Some(*number);
            line.reason = cause.clone();
            line.fix = fix.clone();
        }
    }
    line
}

fn record_of(mut line: Line) -> Result<Record, InvalidRecord> {
    let release = line.release.take().map(release_of).transpose()?;
    let over = line.over.take().map(release_of).transpose()?;
    let required = || release.clone().ok_or_else(|| missing("release"));
    let number = || line.number.ok_or_else(|| missing("number"));
    let state = || parse(line.state.as_deref().ok_or_else(|| missing("state"))?);
    let reason = || line.reason.clone().unwrap_or_default();
    let statement = match line.record.as_str() {
        "adopted" => Statement::Adopted {
            release: release.clone(),
        },
        "deployment" => Statement::Deployment {
            number: number()?,
            release: release.clone(),
            state: state()?,
            cause: line
                .cause
                .as_deref()
                .ok_or_else(|| missing("cause"))?
                .parse()?,
        },
        "verdict" => Statement::Verdict {
            number: number()?,
            release: release.clone(),
            state: state()?,
            verdict: match line.verdict.as_deref() {
                Some("healthy") => Verdict::Healthy {
                    exercised: line.exercised.unwrap_or(true),
                },
                Some("failed") => Verdict::Failed {
                    reason: reason(),
                    applied: line.applied.unwrap_or(true),
                },
                Some("superseded") => Verdict::Superseded,
                Some(other) => return Err(InvalidRecord::Unknown(format!("verdict {other}"))),
                None => return Err(missing("verdict")),
            },
        },
        "degraded" => Statement::Degraded {
            number: number()?,
            release: release.clone(),
            reason: reason(),
        },
        "proposed" => Statement::Proposed {
            release: required()?,
            proposal: parse(
                line.proposal
                    .as_deref()
                    .ok_or_else(|| missing("proposal"))?,
            )?,
        },
        "withdrawn" => Statement::Withdrawn {
            release: required()?,
            proposal: line.proposal.as_deref().map(parse).transpose()?,
            reason: reason(),
        },
        "declined" => Statement::Declined {
            release: required()?,
        },
        "pinned" => Statement::Pinned {
            release: release.clone(),
            over,
            serves: line.serves.as_deref().map(parse).transpose()?,
            reason: reason(),
        },
        "unpinned" => Statement::Unpinned { reason: reason() },
        "held" => Statement::Held {
            reason: reason(),
            until: line.until,
        },
        "frozen" => Statement::Frozen {
            reason: reason(),
            until: line.until,
        },
        "thawed" => Statement::Thawed { reason: reason() },
        "resumed" => Statement::Resumed { reason: reason() },
        "retried" => Statement::Retried {
            release: required()?,
        },
        "promoted" => Statement::Promoted(promoted(&line, required()?)?),
        "ungated" => Statement::Ungated {
            release: release.clone(),
        },
        "took" => Statement::Took {
            number: number()?,
            taken: std::mem::take(&mut line.taken)
                .into_iter()
                .map(Taken::from)
                .collect(),
        },
        "approved-prune" => Statement::ApprovedPrune { number: number()? },
        "approved-adoption" => Statement::ApprovedAdoption { state: state()? },
        "evidence" => Statement::Evidence {
            digest: parse(line.digest.as_deref().ok_or_else(|| missing("digest"))?)?,
            finding: finding(&mut line)?,
        },
        "refused" => Statement::Refused {
            said: line.said.take().ok_or_else(|| missing("said"))?,
            reason: reason(),
        },
        "annotated" => Statement::Annotated {
            number: number()?,
            cause: line.reason.clone(),
            fix: line.fix.take(),
        },
        other => return Err(InvalidRecord::Unknown(other.to_owned())),
    };
    Ok(Record {
        at: line.at,
        environment: parse(&line.environment)?,
        application: line.application.as_deref().map(parse).transpose()?,
        by: line.by,
        commit: parse(&line.commit)?,
        statement,
    })
}

/// What goes over something that is not known is not half believed.
fn promoted(line: &Line, release: Release) -> Result<Promoted, InvalidRecord> {
    let known = |word: &&String| [UNPROVEN, FREEZE].contains(&word.as_str());
    let despite = |word: &str| line.despite.iter().any(|it| it == word);
    if let Some(word) = line.despite.iter().find(|word| !known(word)) {
        return Err(InvalidRecord::Unknown(format!("despite {word}")));
    }
    Ok(Promoted {
        release,
        reason: line.reason.clone().unwrap_or_default(),
        unproven: despite(UNPROVEN),
        during_freeze: despite(FREEZE),
        not_before: line.after,
    })
}

fn missing(field: &str) -> InvalidRecord {
    InvalidRecord::Malformed(format!("`{field}` is missing"))
}

fn parse<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, InvalidRecord> {
    text.parse()
        .map_err(|error: T::Err| InvalidRecord::Malformed(error.to_string()))
}
