//! What steps tell those who watch, once they took effect. Writes nothing.

use super::{Happened, Order};
use crate::event::EventKind;
use crate::model::record::{Cause, Record, Statement, Verdict};
use crate::model::{CommitId, Follow, Release};

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
