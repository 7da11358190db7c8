//! States what has happened and is not recorded: adoption, what people committed, merged or
//! declined. What is recorded first is what everything later is decided from.

use std::ops::ControlFlow;

use super::head::Head;
use super::{
    Decision, Ready, Reason, Scope, Statements, Step, Unreadable, Waiting, Walk, Withdraw, foreign,
    gate, step, unreadable_source,
};
use crate::model::record::{Cause, Pin, Statement, TOWPATH, Verdict};
use crate::model::{CommitId, Gate, Release};

/// A unit without records is adopted: what its branch names is the baseline.
pub(super) fn adopt(ready: &Ready<'_>) -> Walk {
    if ready.records.adopted {
        return Walk::Continue(());
    }
    // Without the registry a tag has no digest, and the baseline would be recorded as unknown.
    recognisable(ready)?;
    let live = match ready.unit.view.live.as_ref().map(super::Observed::read) {
        Some(Ok(live)) => live,
        Some(Err(unreadable)) => return unreadable_source(unreadable),
        None => return super::wait(Reason::NotOurs),
    };
    let desired = ready.desired.rendered.objects.iter();
    foreign::allowed(ready, live, desired.map(|object| &object.reference))?;
    let release = ready.head.release().cloned();
    record(
        ready,
        ready.infra.head,
        false,
        vec![
            Statement::Adopted {
                release: release.clone(),
            },
            deployment(ready, release, Cause::Baseline),
        ],
    )
}

/// What an apply took from other managers, as long as it is not recorded.
pub(super) fn taken(ready: &Ready<'_>) -> Walk {
    let Some(taking) = &ready.unit.view.learned.taken else {
        return Walk::Continue(());
    };
    let newest = ready
        .records
        .deployment
        .as_ref()
        .map(|newest| newest.number);
    let known = |it: &_| newest == Some(taking.number) && ready.records.taken.contains(it);
    let taken = taking.taken.iter().filter(|it| !known(*it));
    let taken: Vec<_> = taken.cloned().collect();
    if taken.is_empty() {
        return Walk::Continue(());
    }
    let number = taking.number;
    let statement = Statement::Took { number, taken };
    record(ready, taking.commit, false, vec![statement])
}

/// A head that asks for another desired state than the recorded one is a deployment.
pub(super) fn head(ready: &Ready<'_>) -> Walk {
    let recorded = ready.records.deployment.as_ref();
    let state = ready.desired.rendered.state;
    if recorded.is_some_and(|deployment| deployment.state == state) {
        return Walk::Continue(());
    }
    let release = ready.head.release().cloned();
    let previous = ready.records.running();
    let same_images = match (&release, previous) {
        (Some(now), Some(before)) => before.is(&now.digests()),
        (None, None) => true,
        _ => false,
    };
    let proposed = ready.records.proposal.as_ref();
    let merged = release
        .as_ref()
        .is_some_and(|now| proposed.is_some_and(|proposed| proposed.release.is(&now.digests())));
    // What cannot be recognised without the registry is not called unknown while it cannot be asked.
    if !same_images && !merged && !matches!(ready.head, Head::Known(_)) {
        recognisable(ready)?;
    }
    let mut statements = supersede(ready);
    let cause = match (recorded, merged) {
        (None, _) => Cause::Baseline,
        (_, true) if is_older(release.as_ref(), previous) => Cause::Rollback,
        (_, true) => Cause::Merge,
        _ => Cause::Hand,
    };
    statements.push(deployment(ready, release.clone(), cause));
    if !same_images && recorded.is_some() {
        statements.extend(match merged {
            true => unpin_for(ready, release.as_ref()),
            false => by_hand(ready, release.as_ref(), previous),
        });
    }
    // A request that is still open is closed with words before its branch goes.
    let closes = merged && !gate::keeps_branch(ready);
    let changed = ready.infra.changed.as_ref();
    let commit = changed.map_or(ready.infra.head, |changed| changed.commit);
    record(ready, commit, closes, statements)
}

fn is_older(release: Option<&Release>, than: Option<&Release>) -> bool {
    matches!((release, than), (Some(release), Some(than)) if than.is_newer_than(release))
}

/// Whether the registry can tell what the head's images are.
fn recognisable(ready: &Ready<'_>) -> Walk {
    if let Err(unreadable) = ready.unit.world.catalogue.read() {
        return unreadable_source(unreadable);
    }
    if let Head::Open(reference) = &ready.head {
        return unreadable_source(&Unreadable {
            source: reference.repository.to_string(),
            why: format!("what `{reference}` points to is still to be looked up"),
            since: ready.unit.now,
            retry: None,
        });
    }
    Walk::Continue(())
}

/// A hand edit is believed. It pins when it goes back or asks for what nobody knows.
fn by_hand(
    ready: &Ready<'_>,
    release: Option<&Release>,
    previous: Option<&Release>,
) -> Vec<Statement> {
    let mut statements = Vec::new();
    if ready.unit.is_gated() {
        statements.push(Statement::Ungated {
            release: release.cloned(),
        });
    }
    let pin = |reason: &str| Statement::Pinned {
        release: release.cloned(),
        over: newest_over(ready.records.pin.as_ref(), previous),
        serves: None,
        reason: reason.to_owned(),
    };
    match (&ready.head, previous) {
        (Head::Known(now), Some(before)) if before.is_newer_than(now) => {
            statements.push(Statement::Withdrawn {
                release: before.clone(),
                proposal: None,
                reason: format!("a person went back to {now}"),
            });
            statements.push(pin("a person went back to it"));
        }
        (Head::Known(_), _) if ready.records.pin.is_some() => {
            statements.push(pin("a person committed it over a pin"));
        }
        (Head::Known(_), _) => {}
        (Head::Unknown(_) | Head::Unclear(_) | Head::Open(_), _) => {
            statements.push(pin("a person committed an image that no release knows"));
        }
    }
    statements
}

pub(super) fn newest_over(pin: Option<&Pin>, previous: Option<&Release>) -> Option<Release> {
    let before = pin.and_then(|pin| pin.over.as_ref());
    match (before, previous) {
        (Some(before), Some(previous)) if before.is_newer_than(previous) => Some(before.clone()),
        (before, previous) => previous.or(before).cloned(),
    }
}

/// The merge of another release's proposal ends a pin.
fn unpin_for(ready: &Ready<'_>, release: Option<&Release>) -> Vec<Statement> {
    let (Some(pin), Some(release)) = (&ready.records.pin, release) else {
        return Vec::new();
    };
    // It was proposed because a person chose it.
    if pin.is_on(&release.digests()) {
        return Vec::new();
    }
    vec![Statement::Unpinned {
        reason: format!("the proposal of {release} was merged"),
    }]
}

/// A pin that stands so that its release is proven for another environment ends once it came there, or nobody
/// asks for it there any more.
pub(super) fn served(ready: &Ready<'_>) -> Walk {
    let pin = ready.records.pin.as_ref();
    let Some((target, release)) = pin.and_then(|pin| pin.serves.as_ref().zip(pin.release.as_ref()))
    else {
        return Walk::Continue(());
    };
    let there = ready.unit.world.units.get(target);
    let there = there.and_then(|view| view.infra.read().ok()?.records.as_ref().ok());
    let Some(there) = there else {
        return Walk::Continue(());
    };
    let digests = release.digests();
    let came = there
        .running()
        .is_some_and(|it| it.is(&digests) || it.is_newer_than(release));
    let promotion = there.promotion.as_ref();
    let is_asked = promotion.is_some_and(|it| it.promoted.release.is(&digests));
    let reason = match (came, is_asked) {
        (true, _) => format!("{release} came to {target}"),
        (false, true) => return Walk::Continue(()),
        (false, false) => format!("nobody asks for {release} in {target} any more"),
    };
    let unpinned = vec![Statement::Unpinned { reason }];
    record(ready, ready.infra.head, false, unpinned)
}

/// A proposal that is gone was declined; one that asks for what already runs has no purpose.
pub(super) fn proposal(ready: &Ready<'_>) -> Walk {
    let Some(proposed) = &ready.records.proposal else {
        return leftover(ready);
    };
    let runs = ready
        .head
        .digests()
        .is_some_and(|digests| proposed.release.is(&digests));
    if runs {
        return withdraw(ready, &proposed.release, proposed.commit, RUNS);
    }
    gate::ended(ready, proposed)?;
    if ready.infra.proposal.is_some() {
        return Walk::Continue(());
    }
    record(
        ready,
        ready.infra.head,
        false,
        vec![Statement::Declined {
            release: proposed.release.clone(),
        }],
    )
}

pub(super) const RUNS: &str = "it already runs";

/// A branch whose proposal was taken back or merged, or that asks for what runs, has served: where a
/// server has no atomic push it may have stayed.
fn leftover(ready: &Ready<'_>) -> Walk {
    let Some(branch) = &ready.infra.proposal else {
        return Walk::Continue(());
    };
    if ready.unit.environment.gate == Gate::PullRequest {
        return gate::leftover(ready, branch);
    }
    let Some(release) = ready.head.release() else {
        return Walk::Continue(());
    };
    let served = ready.records.served.as_ref();
    if served.is_some_and(|served| served.commit == branch.head) {
        return withdraw(ready, release, branch.head, "its proposal is closed");
    }
    match branch.asks_for(release) {
        true => withdraw(ready, release, branch.head, RUNS),
        false => Walk::Continue(()),
    }
}

/// Takes a proposal back, with whatever a person put on top of it.
pub(super) fn withdraw(
    ready: &Ready<'_>,
    release: &Release,
    proposal: CommitId,
    reason: &str,
) -> Walk {
    let branch = ready.infra.proposal.as_ref();
    step(Step::Withdraw(Withdraw {
        release: release.clone(),
        proposal: branch.map_or(proposal, |branch| branch.head),
        reason: reason.to_owned(),
        keeps_branch: gate::keeps_branch(ready),
        planned_on: ready.planned_on(),
    }))
}

/// The deployment before, if it was never judged, is superseded by the one that is stated with this.
pub(super) fn supersede(ready: &Ready<'_>) -> Vec<Statement> {
    let unjudged = ready.records.deployment.iter().chain(ready.unlanded);
    let verdict = unjudged
        .filter(|before| before.verdict.is_none())
        .map(|before| Statement::Verdict {
            number: before.number,
            release: before.release.clone(),
            state: before.state,
            verdict: Verdict::Superseded,
        });
    verdict.collect()
}

fn deployment(ready: &Ready<'_>, release: Option<Release>, cause: Cause) -> Statement {
    Statement::Deployment {
        number: 0,
        release,
        state: ready.desired.rendered.state,
        cause,
    }
}

pub(super) fn record(
    ready: &Ready<'_>,
    commit: CommitId,
    closes_proposal: bool,
    statements: Vec<Statement>,
) -> Walk {
    let planned_on = ready.planned_on();
    let closes_proposal = closes_proposal && planned_on.proposal.is_some();
    step(Step::Record(Statements {
        statements,
        commit,
        by: TOWPATH.to_owned(),
        scope: Scope::Unit,
        closes_proposal,
        planned_on,
    }))
}

/// Used where a part of the walk ends in waiting since a known moment.
pub(super) fn wait_on(waiting: Waiting) -> Walk {
    ControlFlow::Break(Decision::Waiting(waiting))
}
