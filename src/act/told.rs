//! What written records tell those who watch, and what they say already.

use super::{Happened, Order};
use crate::event::EventKind;
use crate::model::record::{BRAKE, Cause, Record, Standing, Statement, Verdict};
use crate::model::{CommitId, Follow, Release};

/// Whether the environment's records say already what would be stated of it.
pub(super) fn is_true(statement: &Statement, standing: &Standing, by: &str) -> bool {
    let hold = standing.hold.as_ref().filter(|hold| hold.by == by);
    let freeze = standing.freeze.as_ref();
    match statement {
        Statement::Frozen { reason, until } => freeze.is_some_and(|freeze| {
            freeze.by == by && freeze.reason == *reason && freeze.until == *until
        }),
        Statement::Thawed { .. } => freeze.is_none(),
        Statement::Held { reason, until } => {
            hold.is_some_and(|hold| hold.reason == *reason && hold.until == *until)
        }
        // The cluster's word lifts its own hold alone, a person's any.
        Statement::Resumed { .. } => standing
            .hold
            .as_ref()
            .is_none_or(|hold| by == BRAKE && hold.by != BRAKE),
        _ => false,
    }
}

/// Whether what comes there was somewhere else before.
pub(super) fn follows_environments(order: &Order) -> bool {
    matches!(order.environment().follow, Follow::Environments { .. })
}

/// The number of the deployment among these.
pub(super) fn number(records: &[Record]) -> Option<u64> {
    records.iter().find_map(|record| match record.statement {
        Statement::Deployment { number, .. } => Some(number),
        _ => None,
    })
}

/// What is told of a release.
pub(super) fn about(
    kind: EventKind,
    release: &Release,
    commit: CommitId,
    number: Option<u64>,
) -> Happened {
    Happened {
        kind,
        release: Some(release.clone()),
        commit: Some(commit),
        number,
        reason: None,
    }
}

/// What a record tells those who watch.
pub(super) fn happened(order: &Order, record: &Record) -> Vec<Happened> {
    let tell = |kind, release: &Option<Release>, number, reason: Option<&String>| Happened {
        kind,
        release: release.clone(),
        commit: Some(record.commit),
        number,
        reason: reason.cloned(),
    };
    match &record.statement {
        Statement::Deployment {
            number,
            release,
            cause: Cause::Merge | Cause::Rollback,
            ..
        } => {
            let mut happened = vec![tell(EventKind::Merged, release, Some(*number), None)];
            if follows_environments(order) {
                happened.push(tell(EventKind::Promoted, release, Some(*number), None));
            }
            happened
        }
        Statement::Verdict {
            number,
            release,
            verdict: Verdict::Healthy { .. },
            ..
        } => {
            vec![tell(EventKind::Healthy, release, Some(*number), None)]
        }
        Statement::Verdict {
            number,
            release,
            verdict: Verdict::Failed { reason, .. },
            ..
        } => {
            vec![tell(
                EventKind::Failed,
                release,
                Some(*number),
                Some(reason),
            )]
        }
        Statement::Declined { release } => {
            vec![tell(
                EventKind::Declined,
                &Some(release.clone()),
                None,
                None,
            )]
        }
        _ => Vec::new(),
    }
}
