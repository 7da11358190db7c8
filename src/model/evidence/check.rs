//! What forges were told of a commit, by check runs and by statuses, as evidence about the images that were built of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Attachment, EvidenceName, EvidenceResult, Finding, Said, link};
use crate::model::{CommitId, RepositoryUrl};
use crate::shown::on_one_line;

/// How much of a forge's word for how something ended is told.
const WORD_MAX: usize = 40;

/// What rules ask the forge of a source repository for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EvidenceCheck {
    /// The source repository.
    pub source: RepositoryUrl,
    /// The name of the check run, or the context of the status.
    pub name: String,
    /// What it is evidence of.
    pub evidence: EvidenceName,
}

/// How far a check is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckEnd {
    /// It has not ended.
    Running,
    /// Well.
    Passed,
    /// Not well.
    Failed,
    /// In a way that says neither, in the forge's word: `skipped`.
    Neither(String),
}

/// A check of a commit: a check run, or the newest status of a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitCheck {
    /// How far it is.
    pub end: CheckEnd,
    /// When it ended, or was said last; `None`: it has not ended.
    pub at: Option<Timestamp>,
    /// Where people read more.
    pub link: Option<String>,
}

impl EvidenceCheck {
    /// What the checks of this name on a commit come to; `None`: the repository has no such commit.
    ///
    /// Several may have the name: another App's, or one for each of two events. None of them may have failed, all
    /// must have ended, and one must have passed.
    pub fn says(&self, commit: CommitId, checks: Option<&[CommitCheck]>) -> Said {
        let Some(checks) = checks else {
            return self.nothing(commit, "is not known: the repository has no such commit");
        };
        let ended = |end: CheckEnd| checks.iter().filter(move |it| it.end == end);
        let newest = |end| ended(end).max_by_key(|it| it.at);
        if let Some(failed) = newest(CheckEnd::Failed) {
            return self.found(EvidenceResult::Fail, failed);
        }
        if ended(CheckEnd::Running).next().is_some() {
            return self.nothing(commit, "still runs");
        }
        if let Some(passed) = newest(CheckEnd::Passed) {
            return self.found(EvidenceResult::Pass, passed);
        }
        match checks.first().map(|it| &it.end) {
            Some(CheckEnd::Neither(word)) => {
                let word = on_one_line(word, WORD_MAX);
                self.nothing(commit, &format!("ended as `{word}`, which says neither"))
            }
            _ => self.nothing(commit, "was not reported"),
        }
    }

    /// That an image does not say of which commit it was built.
    pub fn without_commit(&self) -> Said {
        let why = "the image's label `org.opencontainers.image.revision` names no whole commit";
        Said {
            nothing: Some(format!("{self} is not known: {why}").into()),
            ..Said::default()
        }
    }

    fn found(&self, result: EvidenceResult, check: &CommitCheck) -> Said {
        let finding = Finding {
            name: self.evidence.clone(),
            result,
            scores: BTreeMap::new(),
            link: check.link.as_deref().and_then(|it| link(it).ok()),
        };
        Said::from(vec![Attachment {
            finding,
            at: check.at.unwrap_or(Timestamp::UNIX_EPOCH),
            signer: None,
        }])
    }

    fn nothing(&self, commit: CommitId, why: &str) -> Said {
        let commit = commit.short();
        Said {
            found: Arc::default(),
            nothing: Some(format!("{self} {why} ({commit})").into()),
        }
    }
}

/// `` `lighthouse` on github.com/acme/shop ``
impl fmt::Display for EvidenceCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` on ", self.name)?;
        match self.source.parts() {
            Some((host, path)) => write!(f, "{host}/{path}"),
            None => write!(f, "{}", self.source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_a_name_must_agree() {
        let check = EvidenceCheck {
            source: "https://github.com/acme/shop".parse().unwrap(),
            name: "Lighthouse CI".to_owned(),
            evidence: "lighthouse".parse().unwrap(),
        };
        let commit = "0123456789012345678901234567890123456789".parse().unwrap();
        let one = |word: &str| CommitCheck {
            end: match word {
                "running" => CheckEnd::Running,
                "passed" => CheckEnd::Passed,
                "failed" => CheckEnd::Failed,
                other => CheckEnd::Neither(other.to_owned()),
            },
            at: (word != "running").then_some(Timestamp::UNIX_EPOCH),
            link: Some(format!("https://ci.example.com/{word}")),
        };
        let on = "`Lighthouse CI` on github.com/acme/shop";
        for (words, told) in [
            (
                None,
                format!("{on} is not known: the repository has no such commit (0123456)"),
            ),
            (Some(""), format!("{on} was not reported (0123456)")),
            (Some("running"), format!("{on} still runs (0123456)")),
            (Some("passed running"), format!("{on} still runs (0123456)")),
            (
                Some("skipped"),
                format!("{on} ended as `skipped`, which says neither (0123456)"),
            ),
            (
                Some("passed"),
                "pass https://ci.example.com/passed".to_owned(),
            ),
            (
                Some("skipped passed neutral"),
                "pass https://ci.example.com/passed".to_owned(),
            ),
            (
                Some("passed failed running"),
                "fail https://ci.example.com/failed".to_owned(),
            ),
        ] {
            let checks: Option<Vec<_>> =
                words.map(|it: &str| it.split_whitespace().map(one).collect());
            let said = check.says(commit, checks.as_deref());
            let told_now = match (said.found.first(), &said.nothing) {
                (Some(it), None) => {
                    assert_eq!(it.finding.name, check.evidence);
                    let link = it.finding.link.as_ref().unwrap();
                    format!("{} {link}", it.finding.result.as_str())
                }
                (None, Some(nothing)) => nothing.to_string(),
                other => panic!("{other:?}"),
            };
            assert_eq!(told_now, told, "{words:?}");
        }
    }
}
