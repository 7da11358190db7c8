//! What happened, for people: deployments with how each ended, and what was said between them. Made from all
//! records; what is true now is [`super::present`]'s.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use super::{Cause, Judged, Record, Statement, Verdict};
use crate::model::{ApplicationName, CommitId, EnvironmentName, Release};

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    /// A deployment of one application.
    Deployment(PastDeployment),
    /// What somebody said, or what was noticed beside deployments.
    Said(Record),
}

/// A deployment of one application, and how it ended.
#[derive(Debug, Clone, PartialEq)]
pub struct PastDeployment {
    /// When it was recorded.
    pub at: Timestamp,
    /// Where.
    pub environment: EnvironmentName,
    /// Of what.
    pub application: ApplicationName,
    /// Its number.
    pub number: u64,
    /// The commit.
    pub commit: CommitId,
    /// What it deploys, where its images are known.
    pub release: Option<Release>,
    /// How it came.
    pub cause: Cause,
    /// Who stated it.
    pub by: String,
    /// How it ended, once it did.
    pub judged: Option<Judged>,
    /// What people noted of its trouble, oldest first.
    pub noted: Vec<Noted>,
}

/// What a person noted of a deployment's trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// What it came from.
    pub cause: Option<String>,
    /// What mended it.
    pub fix: Option<String>,
}

impl PastDeployment {
    /// What it came from, as it was last noted.
    pub fn cause_noted(&self) -> Option<&str> {
        self.noted.iter().rev().find_map(|it| it.cause.as_deref())
    }

    /// What mended it, as it was last noted.
    pub fn fix_noted(&self) -> Option<&str> {
        self.noted.iter().rev().find_map(|it| it.fix.as_deref())
    }

    /// Whether something was wrong with it: it failed, or somebody noted of what.
    pub fn is_problem(&self) -> bool {
        let verdict = self.judged.as_ref().map(|it| &it.verdict);
        matches!(verdict, Some(Verdict::Failed { .. })) || !self.noted.is_empty()
    }
}

impl Happening {
    /// When.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Deployment(deployment) => deployment.at,
            Self::Said(record) => record.at,
        }
    }

    /// Of which application; `None`: the whole environment.
    pub fn application(&self) -> Option<&ApplicationName> {
        match self {
            Self::Deployment(deployment) => Some(&deployment.application),
            Self::Said(record) => record.application.as_ref(),
        }
    }
}

/// The deployments among what happened by these records of one environment, oldest first.
pub fn deployments(records: impl IntoIterator<Item = Record>) -> Vec<PastDeployment> {
    let deployments = history(records).into_iter().filter_map(|it| match it {
        Happening::Deployment(past) => Some(past),
        Happening::Said(_) => None,
    });
    deployments.collect()
}

/// What happened by these records of one environment, oldest first. Proposals, and what applies took from others,
/// are left out.
pub fn history(records: impl IntoIterator<Item = Record>) -> Vec<Happening> {
    let mut happenings = Vec::new();
    // Where the deployments of each application stand, by number.
    let mut stands: HashMap<(ApplicationName, u64), usize> = HashMap::new();
    for record in records {
        match (&record.statement, &record.application) {
            (
                Statement::Deployment {
                    number,
                    release,
                    cause,
                    ..
                },
                Some(application),
            ) => {
                stands.insert((application.clone(), *number), happenings.len());
                happenings.push(Happening::Deployment(PastDeployment {
                    at: record.at,
                    environment: record.environment.clone(),
                    application: application.clone(),
                    number: *number,
                    commit: record.commit,
                    release: release.clone(),
                    cause: *cause,
                    by: record.by.clone(),
                    judged: None,
                    noted: Vec::new(),
                }));
            }
            (
                Statement::Verdict {
                    number, verdict, ..
                },
                Some(application),
            ) => {
                let at = stands.get(&(application.clone(), *number)).copied();
                if let Some(Happening::Deployment(deployment)) =
                    at.and_then(|at| happenings.get_mut(at))
                {
                    judge(deployment, verdict, record.at);
                }
            }
            (Statement::Annotated { number, cause, fix }, Some(application)) => {
                let at = stands.get(&(application.clone(), *number)).copied();
                if let Some(Happening::Deployment(deployment)) =
                    at.and_then(|at| happenings.get_mut(at))
                {
                    deployment.noted.push(Noted {
                        at: record.at,
                        by: record.by.clone(),
                        cause: cause.clone(),
                        fix: fix.clone(),
                    });
                }
                happenings.push(Happening::Said(record));
            }
            _ if is_told(&record.statement) => happenings.push(Happening::Said(record)),
            _ => {}
        }
    }
    happenings
}

/// The first verdict counts; of what was asked for again after it failed, the last.
fn judge(deployment: &mut PastDeployment, verdict: &Verdict, at: Timestamp) {
    let failed = |it: &Judged| matches!(it.verdict, Verdict::Failed { .. });
    if deployment.judged.as_ref().is_none_or(failed) {
        deployment.judged = Some(Judged {
            verdict: verdict.clone(),
            at,
        });
    }
}

fn is_told(statement: &Statement) -> bool {
    match statement {
        Statement::Degraded { .. }
        | Statement::Withdrawn { proposal: None, .. }
        | Statement::Declined { .. }
        | Statement::Pinned { .. }
        | Statement::Unpinned { .. }
        | Statement::Held { .. }
        | Statement::Resumed { .. }
        | Statement::Retried { .. }
        | Statement::Promoted(_)
        | Statement::Frozen { .. }
        | Statement::Thawed { .. }
        | Statement::Ungated { .. }
        | Statement::ApprovedPrune { .. }
        | Statement::ApprovedAdoption { .. }
        | Statement::Refused { .. }
        | Statement::Evidence { .. }
        | Statement::Annotated { .. } => true,
        Statement::Adopted { .. }
        | Statement::Deployment { .. }
        | Statement::Verdict { .. }
        | Statement::Proposed { .. }
        | Statement::Withdrawn { .. }
        | Statement::Took { .. } => false,
    }
}

/// What many deployments come to: the four figures by which teams compare themselves
/// (<https://dora.dev/guides/dora-metrics-four-keys/>).
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// How many were healthy.
    pub healthy: usize,
    /// How many failed.
    pub failed: usize,
    /// How many were superseded before they were judged, or are not judged yet.
    pub other: usize,
    /// From the newest image's creation to the healthy verdict: half were faster.
    pub lead_time: Option<SignedDuration>,
    /// From a failed verdict to the unit's next healthy one: half were faster.
    pub time_to_restore: Option<SignedDuration>,
}

/// Sums deployments up; baselines are none.
pub fn summary<'a>(happenings: impl IntoIterator<Item = &'a Happening>) -> Summary {
    let (mut healthy, mut failed, mut other) = (0, 0, 0);
    let (mut leads, mut restores) = (Vec::new(), Vec::new());
    let mut broken: HashMap<(&EnvironmentName, &ApplicationName), Timestamp> = HashMap::new();
    for happening in happenings {
        let Happening::Deployment(deployment) = happening else {
            continue;
        };
        if deployment.cause == Cause::Baseline {
            continue;
        }
        let unit = (&deployment.environment, &deployment.application);
        match &deployment.judged {
            Some(Judged {
                verdict: Verdict::Healthy { .. },
                at,
            }) => {
                healthy += 1;
                if let Some(since) = broken.remove(&unit) {
                    restores.push(at.duration_since(since));
                }
                // To go back is no new release.
                if let Some(release) = deployment.release.as_ref()
                    && deployment.cause != Cause::Rollback
                {
                    leads.push(at.duration_since(release.rank.built));
                }
            }
            Some(Judged {
                verdict: Verdict::Failed { .. },
                at,
            }) => {
                failed += 1;
                broken.entry(unit).or_insert(*at);
            }
            _ => other += 1,
        }
    }
    Summary {
        healthy,
        failed,
        other,
        lead_time: median(leads),
        time_to_restore: median(restores),
    }
}

fn median(mut durations: Vec<SignedDuration>) -> Option<SignedDuration> {
    durations.sort_unstable();
    durations.get(durations.len() / 2).copied()
}

#[cfg(test)]
mod tests;
