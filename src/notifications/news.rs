//! What is worth telling, read off records: decisions, and not every step on the way to them. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::model::record::{Cause, Record, Statement, UnitRecords, Verdict};
use crate::model::{ApplicationName, CommitId, EnvironmentName, Occasion, Release};

/// Something to tell.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct News {
    /// What it is.
    pub(super) occasion: Occasion,
    /// Where.
    pub(super) environment: EnvironmentName,
    /// Of which application; `None`: of the whole environment.
    pub(super) application: Option<ApplicationName>,
    /// With which release, where it is about one that is known.
    pub(super) release: Option<Release>,
    /// As which deployment.
    pub(super) number: Option<u64>,
    /// The commit of the infra repository that it is about.
    pub(super) commit: Option<CommitId>,
    /// What was said or seen.
    pub(super) reason: Option<String>,
    /// Who said it, where that was a person.
    pub(super) by: Option<String>,
    /// What would unblock it.
    pub(super) unblock: Option<String>,
    /// When it happened, or since when it is so.
    pub(super) at: Timestamp,
    /// The same wherever and whenever it is told, and of nothing else.
    pub(super) key: String,
}

/// What the records so far say of a unit, and whether it is gated.
pub(super) struct Known {
    pub(super) records: UnitRecords,
    pub(super) is_gated: bool,
}

/// What these records tell, oldest first; `known` says what stood of a unit before them.
pub(super) fn of_records<E>(
    records: Vec<Record>,
    mut known: impl FnMut(&ApplicationName) -> Result<Known, E>,
) -> Result<Vec<News>, E> {
    let mut units: BTreeMap<ApplicationName, Known> = BTreeMap::new();
    let mut news = Vec::new();
    for record in records {
        let Some(application) = &record.application else {
            news.extend(of_environment(&record));
            continue;
        };
        if !units.contains_key(application) {
            units.insert(application.clone(), known(application)?);
        }
        if let Some(unit) = units.get_mut(application) {
            news.extend(of_unit(&record, unit));
            unit.records.take(record);
        }
    }
    Ok(news)
}

fn of_environment(record: &Record) -> Option<News> {
    let (occasion, reason) = match &record.statement {
        Statement::Held { reason, .. } => (Occasion::Held, reason),
        Statement::Resumed { reason } => (Occasion::Resumed, reason),
        Statement::Frozen { reason, .. } => (Occasion::Frozen, reason),
        Statement::Thawed { reason } => (Occasion::Thawed, reason),
        _ => return None,
    };
    Some(told(record, occasion, &None, None, Some(reason)))
}

fn of_unit(record: &Record, unit: &Known) -> Option<News> {
    let records = &unit.records;
    match &record.statement {
        // One that was only made anew on a base that moved is no news.
        Statement::Proposed { release, .. } => {
            let stands = records.proposal.as_ref();
            let is_known = stands.is_some_and(|it| it.release.is(&release.digests()));
            let release = Some(release.clone());
            (!is_known).then(|| told(record, Occasion::Proposed, &release, None, None))
        }
        Statement::Declined { release } => {
            let release = Some(release.clone());
            Some(told(record, Occasion::Declined, &release, None, None))
        }
        Statement::Verdict {
            number,
            release,
            verdict,
            ..
        } => {
            let deployment = records.deployment.as_ref();
            let deployment = deployment.filter(|it| it.number == *number);
            // The first verdict counts, and what was there before Towpath is not its deployment.
            let counts = |it: &crate::model::record::Deployment| {
                it.verdict.is_none() && it.cause != Cause::Baseline
            };
            if !deployment.is_none_or(counts) {
                return None;
            }
            let (occasion, reason) = match verdict {
                Verdict::Healthy { .. } if unit.is_gated => (Occasion::Healthy, None),
                Verdict::Failed { reason, .. } => (Occasion::Failed, Some(reason)),
                Verdict::Healthy { .. } | Verdict::Superseded => return None,
            };
            Some(told(record, occasion, release, Some(*number), reason))
        }
        Statement::Degraded {
            number,
            release,
            reason,
        } => {
            let (number, reason) = (Some(*number), Some(reason));
            Some(told(record, Occasion::Degraded, release, number, reason))
        }
        Statement::Held { reason, .. } => {
            Some(told(record, Occasion::Held, &None, None, Some(reason)))
        }
        Statement::Resumed { reason } => {
            Some(told(record, Occasion::Resumed, &None, None, Some(reason)))
        }
        Statement::Ungated { release } => {
            Some(told(record, Occasion::Ungated, release, None, None))
        }
        _ => None,
    }
}

fn told(
    record: &Record,
    occasion: Occasion,
    release: &Option<Release>,
    number: Option<u64>,
    reason: Option<&String>,
) -> News {
    let application = record.application.as_ref();
    let about = match number {
        Some(number) => number.to_string(),
        None => record.commit.short(),
    };
    let key = format!(
        "{}/{}/{occasion}/{about}/{}",
        record.environment,
        application.map_or("*", ApplicationName::as_str),
        record.at.as_nanosecond(),
    );
    News {
        occasion,
        environment: record.environment.clone(),
        application: application.cloned(),
        release: release.clone(),
        number,
        commit: Some(record.commit),
        reason: reason.filter(|it| !it.is_empty()).cloned(),
        by: (record.by != crate::model::record::TOWPATH).then(|| record.by.clone()),
        unblock: None,
        at: record.at,
        key,
    }
}

#[cfg(test)]
mod tests;
