//! Brings a release into an environment: writes its branch, or keeps its one living proposal.

use super::edit::Edit;
use super::{
    Propose, Ready, Reason, Step, Waiting, Walk, Write, gate, next, promotion, settle, step,
};
use crate::model::record::Cause;
use crate::model::{Follow, Release, Rollback};

/// Commits the release to the branch.
pub(super) fn write(ready: &Ready<'_>, release: &Release) -> Walk<Waiting> {
    commit(ready, release, Cause::Automation)
}

/// Goes back to a release, through the gate where there is one. Only what was healthy here may go past it.
pub(super) fn roll_back(ready: &Ready<'_>, release: &Release) -> Walk<Waiting> {
    let ran = ready.records.ran(&release.digests());
    let direct = ran && ready.unit.environment.rollback == Rollback::Direct;
    match (ready.unit.is_gated() && !direct, ran) {
        (true, _) => propose(ready, release),
        (false, true) => commit(ready, release, Cause::Rollback),
        (false, false) => commit(ready, release, Cause::Automation),
    }
}

fn commit(ready: &Ready<'_>, release: &Release, cause: Cause) -> Walk<Waiting> {
    let edit = match edit(ready, release) {
        Ok(edit) => edit,
        Err(waiting) => return Walk::Continue(waiting),
    };
    step(Step::Write(Write {
        release: release.clone(),
        state: edit.rendered.state,
        files: edit.files,
        cause,
        asked: is_asked(ready, release),
        from: from(ready, release),
        records: settle::supersede(ready),
        planned_on: ready.planned_on(),
    }))
}

/// Whether a person asked for this very release.
fn is_asked(ready: &Ready<'_>, release: &Release) -> bool {
    let digests = release.digests();
    let promoted = promotion::due(ready).map(|asked| &asked.promoted.release);
    let pinned = ready.records.pin.as_ref();
    let pinned = pinned.and_then(|pin| pin.release.as_ref());
    promoted.into_iter().chain(pinned).any(|it| it.is(&digests))
}

/// The edit, unless it cannot be made or has failed here before.
fn edit(ready: &Ready<'_>, release: &Release) -> Result<Edit, Waiting> {
    let edit = ready.desired.set(release).map_err(|why| {
        Waiting::on(Reason::Unwritable {
            release: release.clone(),
            why,
        })
    })?;
    if let Some(failure) = ready
        .records
        .failure(&release.digests(), &edit.rendered.state)
    {
        let reason = Reason::Failed {
            release: Some(failure.release.clone()),
            reason: failure.reason.clone(),
        };
        return Err(Waiting::on(reason).since(failure.at));
    }
    Ok(edit)
}

/// Keeps the one proposal about this release: opens it, rewrites it, or waits for a person.
pub(super) fn propose(ready: &Ready<'_>, release: &Release) -> Walk<Waiting> {
    let request = match ready.unit.view.request.read() {
        Ok(request) => request.clone(),
        Err(unreadable) => return Walk::Continue(super::unreadable_waiting(unreadable)),
    };
    let branch = ready.infra.proposal.as_ref();
    if let Some(unopened) = branch.and_then(|branch| branch.unopened.as_ref()) {
        return Walk::Continue(super::unreadable_waiting(unopened));
    }
    let recorded = ready.records.proposal.as_ref();
    if let (Some(branch), Some(recorded)) = (branch, recorded)
        && recorded.release.is(&release.digests())
        && branch.asks_for(release)
        && !branch.conflicts
        && !gate::is_behind(ready, branch, recorded, request.as_ref())
    {
        return gate::ask(ready, branch, recorded, request.as_ref());
    }
    if let Some(waiting) = gate::armed(ready, request.as_ref(), recorded, release)? {
        return Walk::Continue(waiting);
    }
    let edit = match edit(ready, release) {
        Ok(edit) => edit,
        Err(waiting) => return Walk::Continue(waiting),
    };
    let unwritable = |why| {
        let release = release.clone();
        Waiting::on(Reason::Unwritable { release, why })
    };
    // Over a person's commits a newer release is one more commit on top, never a rewrite.
    let persons = branch.filter(|branch| {
        recorded.is_some_and(|recorded| recorded.commit != branch.head || branch.by_people)
    });
    let (onto, files) = match persons {
        Some(branch) if branch.conflicts => {
            return Walk::Continue(unwritable(CONFLICTS.to_owned()));
        }
        Some(branch) => match branch.set(release) {
            Ok(edit) => (branch.head, edit.files),
            Err(why) => return Walk::Continue(unwritable(why)),
        },
        None => (ready.infra.head, edit.files),
    };
    step(Step::Propose(Propose {
        release: release.clone(),
        instead_of: ready.head.release().cloned(),
        files,
        onto,
        from: from(ready, release),
        planned_on: ready.planned_on(),
    }))
}

/// Why what a person committed to the proposal branch is left as it is.
const CONFLICTS: &str = "a person committed to its proposal branch, and the environment's branch changed the same files since: \
     merge that into it, or take those commits away";

/// The open proposal is taken back when nothing stands behind it any more.
pub(super) fn withdraw_unproven(ready: &Ready<'_>) -> Walk {
    let Some(recorded) = &ready.records.proposal else {
        return Walk::Continue(());
    };
    let fallen = next::fallen(ready, &recorded.release);
    match fallen.filter(|_| ready.infra.proposal.is_some()) {
        Some(reason) => settle::withdraw(ready, &recorded.release, recorded.commit, &reason),
        None => Walk::Continue(()),
    }
}

/// Where the release comes from, for people who read the message.
fn from(ready: &Ready<'_>, release: &Release) -> String {
    let authority = &ready.unit.environment.authority;
    if let Some(asked) = ready.records.forced(&release.digests(), authority) {
        let (by, reason) = (asked.who(), &asked.promoted.reason);
        return format!("{by}, who promoted it unproven: {reason}");
    }
    match &ready.unit.environment.follow {
        Follow::Environments { all, .. } => all
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
        Follow::Branches(_) => "a branch build".to_owned(),
        Follow::Tags(_) => "a tag".to_owned(),
    }
}
