//! What is true of records whoever wrote them at once: told from the history of their ref.

use std::collections::{BTreeMap, BTreeSet};

use gix::ObjectId;
use towpath::git::notes::{read_note, records_ref};
use towpath::git::{Change, Commit, Repository};
use towpath::model::record::{Cause, Record, Standing, Statement, UnitRecords};
use towpath::model::{CommitId, EnvironmentName};

use super::super::show;
use super::super::site::Site;
use super::Operator;

/// What was taken stands in the records, once per statement that it makes and what that is about.
pub(super) fn nothing_is_lost(
    records: &[Record],
    operators: &[Operator],
    environment: &EnvironmentName,
) {
    let mut said: BTreeMap<String, BTreeSet<(&str, bool)>> = BTreeMap::new();
    for record in records {
        let reason = match &record.statement {
            Statement::Held { reason, .. }
            | Statement::Resumed { reason }
            | Statement::Pinned { reason, .. }
            | Statement::Unpinned { reason }
            | Statement::Withdrawn { reason, .. }
            | Statement::Frozen { reason, .. }
            | Statement::Thawed { reason } => reason.clone(),
            Statement::Promoted(promoted) => promoted.reason.clone(),
            _ => continue,
        };
        if record.by != "towpath" {
            let kinds = said.entry(reason.clone()).or_default();
            assert!(
                kinds.insert((record.statement.kind(), record.application.is_some())),
                "{reason} stands twice"
            );
        }
    }
    for operator in operators {
        let here = operator.taken.iter().filter(|(at, _)| at == environment);
        for (_, reason) in here {
            assert!(
                said.contains_key(reason),
                "`{reason}` in {environment} is lost"
            );
        }
    }
}

/// Whatever Towpath deployed was allowed by what was recorded before it.
pub(super) fn respected(records: &[Record], is_followed: bool) {
    let (mut unit, mut standing) = (UnitRecords::default(), Standing::default());
    for record in records {
        if let Statement::Deployment {
            release: Some(release),
            state,
            cause: cause @ (Cause::Automation | Cause::Rollback),
            ..
        } = &record.statement
            // Behind the gate a person went back, by a merge: that may be recorded long after, once a hold ends.
            && !(is_followed && *cause == Cause::Rollback)
        {
            let shown = show::record(record);
            let digests = release.digests();
            let chosen = unit.pin.as_ref().and_then(|pin| pin.release.as_ref());
            let chosen = chosen.is_some_and(|it| it.is(&digests));
            let newer = unit.running().is_none_or(|it| release.is_newer_than(it));
            assert!(unit.hold.is_none(), "I5: under a hold: {shown}");
            assert!(
                standing.hold.is_none(),
                "I5: the environment is held: {shown}"
            );
            assert!(unit.pin.is_none() || chosen, "I5: over a pin: {shown}");
            assert!(newer || chosen, "I3: nobody asked to go back: {shown}");
            assert!(
                unit.failure(&digests, state).is_none() || *cause == Cause::Rollback,
                "I4: it failed with this state: {shown}"
            );
            assert!(!is_followed, "I2: past the gate: {shown}");
        }
        if record.application.is_some() {
            unit.take(record.clone());
        }
        standing.take(record);
    }
}

/// The records in the order in which they landed: from the history of their ref, not by their times.
pub(super) async fn in_order(site: &Site, environment: &EnvironmentName) -> Vec<Record> {
    let mirror = show::mirror(site.remote(environment.as_str())).await;
    let mut records = Vec::new();
    let mut before = None;
    let mut known: BTreeMap<CommitId, usize> = BTreeMap::new();
    for commit in commits(&mirror, environment) {
        for about in changed(&mirror, before, commit.tree) {
            let note = read_note(&mirror, commit.tree, about).unwrap();
            let seen = known.insert(about, note.len()).unwrap_or_default();
            assert!(note.len() > seen, "records of {about} are gone");
            records.extend(note.into_iter().skip(seen));
        }
        before = Some(commit.tree);
    }
    records
}

/// The commits of the records' ref, oldest first.
pub(super) fn commits(mirror: &Repository, environment: &EnvironmentName) -> Vec<Commit> {
    let mut commits = Vec::new();
    let mut next = Some(CommitId(mirror.seen()[&records_ref(environment)].id));
    while let Some(id) = next {
        let commit = mirror.commit(id).unwrap();
        next = commit.parents.first().copied();
        commits.push(commit);
    }
    commits.reverse();
    commits
}

/// The commits whose notes differ.
pub(super) fn changed(
    mirror: &Repository,
    before: Option<ObjectId>,
    now: ObjectId,
) -> Vec<CommitId> {
    let changes = mirror.changed(before, Some(now)).unwrap();
    let about = |change: Change| change.path.replace('/', "").parse().ok();
    changes.into_iter().filter_map(about).collect()
}
