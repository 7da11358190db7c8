//! The request about a proposal, with `gate: pull-request`: when it is opened, closed or disarmed, what
//! its end says of the proposal, and the hold that its label states.
//!
//! The proposal itself is the branch and its record; both are there before the request is opened, and the
//! record is closed before the request is. So whatever is missing after a crash is found missing.

use super::{
    Close, Disarm, Infra, Open, Proposal, Ready, Reason, Request, RequestState, Scope, Statements,
    Step, Unit, Waiting, Walk, next, rollout, settle, step, unreadable_source,
};
use crate::clock::after;
use crate::model::record::{HOLD_LABEL, LABEL, Proposed, REOPENED, Statement, UnitRecords};
use crate::model::{Gate, OnNewer, Release, proposal_branch};

/// A replica of the git server that lags shows a merge late; one that is not there 30 s later was undone.
const MERGE_BELIEVED_FOR: std::time::Duration = std::time::Duration::from_secs(30);

/// States that the hold label was put on the open request or taken away. A person's own hold is left as it
/// is. What cannot be read changes nothing.
pub(super) fn label(unit: &Unit<'_>, infra: &Infra, records: &UnitRecords) -> Walk {
    let Some(Ok(request)) = request(unit) else {
        return Walk::Continue(());
    };
    let labelled = request.filter(|it| it.is_open() && it.labels.contains(HOLD_LABEL));
    let hold = records.hold.as_ref().filter(|hold| hold.holds(unit.now));
    let statement = match (labelled, hold) {
        (Some(request), None) => Statement::Held {
            reason: format!("{} is labelled", request.name),
            until: None,
        },
        (None, Some(hold)) if hold.by == LABEL => Statement::Resumed {
            reason: "the label is gone".to_owned(),
        },
        _ => return Walk::Continue(()),
    };
    step(Step::Record(Statements {
        statements: vec![statement],
        commit: infra.head,
        by: LABEL.to_owned(),
        scope: Scope::Unit,
        closes_proposal: false,
        planned_on: infra.planned_on(),
    }))
}

/// What the request's end says of the proposal: a person who closes it declines; what was merged comes to be
/// seen on the branch, or was undone since.
pub(super) fn ended(ready: &Ready<'_>, proposed: &Proposed) -> Walk {
    let branch = ready.infra.proposal.as_ref();
    let request = match request(ready.unit) {
        None => return Walk::Continue(()),
        Some(Ok(request)) => request,
        // What became of a branch that is gone, only the request tells.
        Some(Err(unreadable)) if branch.is_none() => return unreadable_source(unreadable),
        Some(Err(_)) => return Walk::Continue(()),
    };
    let Some(request) = request.filter(|it| is_about(it, proposed, branch)) else {
        return Walk::Continue(());
    };
    let merged = match request.state {
        RequestState::Open => return Walk::Continue(()),
        RequestState::Closed => false,
        RequestState::Merged { commit } => {
            let believed = after(request.since, MERGE_BELIEVED_FOR);
            if let Some(commit) = commit.filter(|it| !ready.infra.behind.contains(it))
                && ready.unit.now < believed
            {
                let seen = format!("{} was merged as", request.name);
                let waiting = Waiting::on(Reason::Behind { commit, seen });
                return settle::wait_on(waiting.since(request.since).until(believed));
            }
            true
        }
    };
    let release = proposed.release.clone();
    let declined = vec![Statement::Declined { release }];
    // A branch that was closed unmerged is left: whoever opens its request again asks again.
    settle::record(ready, ready.infra.head, merged, declined)
}

fn is_about(request: &Request, proposed: &Proposed, branch: Option<&Proposal>) -> bool {
    request.head == proposed.commit
        || proposed.earlier.contains(&request.head)
        || branch.is_some_and(|branch| branch.head == request.head)
}

/// What is left of proposals that ended: an open request that has no purpose, then its branch; or one that
/// a person opened again.
pub(super) fn leftover(ready: &Ready<'_>, branch: &Proposal) -> Walk {
    // Whoever merged it waits for what it brings, and not for this.
    rollout::apply_first(ready)?;
    let Some(Ok(request)) = request(ready.unit) else {
        return Walk::Continue(());
    };
    let served = ready.records.served.as_ref();
    let served = served.filter(|served| served.commit == branch.head);
    let runs = ready
        .head
        .release()
        .is_some_and(|it| branch.asks_for(it))
        .then(|| settle::RUNS.to_owned());
    let over = served.map(|served| served.reason.clone().unwrap_or(settle::RUNS.to_owned()));
    match (request.filter(|it| it.is_open()), over.or(runs)) {
        (Some(request), Some(reason)) => step(Step::Close(Close {
            request: request.clone(),
            reason,
        })),
        (Some(_), None) => reopened(ready, branch),
        (None, Some(_)) => settle::record(ready, ready.infra.head, true, Vec::new()),
        (None, None) => Walk::Continue(()),
    }
}

/// Who opens the request of a declined release again asks for it again.
fn reopened(ready: &Ready<'_>, branch: &Proposal) -> Walk {
    let mut declined = ready.records.declined.iter();
    let Some(declined) = declined.find(|it| branch.asks_for(&it.release)) else {
        return Walk::Continue(());
    };
    let release = declined.release.clone();
    step(Step::Record(Statements {
        statements: vec![Statement::Retried { release }],
        commit: ready.infra.head,
        by: REOPENED.to_owned(),
        scope: Scope::Unit,
        closes_proposal: false,
        planned_on: ready.planned_on(),
    }))
}

/// Keeps a newer release from replacing one that may be merged at any moment: it waits, or that is taken
/// back first.
pub(super) fn armed(
    ready: &Ready<'_>,
    request: Option<&Request>,
    recorded: Option<&Proposed>,
    release: &Release,
) -> Walk<Option<Waiting>> {
    let (Some(request), Some(recorded)) = (request.filter(|it| it.is_open()), recorded) else {
        return Walk::Continue(None);
    };
    if request.armed.is_none() || recorded.release.is(&release.digests()) {
        return Walk::Continue(None);
    }
    let fallen = next::fallen(ready, &recorded.release);
    if fallen.is_none() && ready.unit.environment.request.on_newer == OnNewer::Wait {
        let waiting = waiting(ready, recorded, Some(request), Some(release));
        return Walk::Continue(Some(waiting));
    }
    let reason = match fallen {
        None => format!("{release} takes its place"),
        Some(why) => format!("{}: {why}", recorded.release),
    };
    step(Step::Disarm(Disarm {
        request: request.clone(),
        reason,
    }))
}

/// Whether the proposal is to be made anew on the base's head, which has moved on, because the forge does not
/// merge it otherwise. Only what may be merged at any moment is, and nothing that people put commits on.
pub(super) fn is_behind(
    ready: &Ready<'_>,
    branch: &Proposal,
    recorded: &Proposed,
    request: Option<&Request>,
) -> bool {
    let request = request.filter(|it| it.is_open() && it.head == branch.head);
    request.is_some_and(|it| it.behind)
        && recorded.commit == branch.head
        && !branch.by_people
        && recorded.base != ready.infra.head
}

/// The proposal is as it should be: its request is opened, or a person is waited for.
pub(super) fn ask(
    ready: &Ready<'_>,
    branch: &Proposal,
    recorded: &Proposed,
    request: Option<&Request>,
) -> Walk<Waiting> {
    let environment = ready.unit.environment;
    let has_request = environment.gate == Gate::PullRequest;
    if has_request && !request.is_some_and(Request::is_open) {
        return step(Step::Open(Open {
            release: recorded.release.clone(),
            instead_of: ready.head.release().cloned(),
            branch: proposal_branch(&environment.name, &ready.unit.pipeline.application.name),
            head: branch.head,
            base: environment.branch.clone(),
        }));
    }
    Walk::Continue(waiting(ready, recorded, request, None))
}

/// A person is waited for, and a newer release follows what is proposed.
pub(super) fn waits(ready: &Ready<'_>, proposed: &Proposed, follows: &Release) -> Waiting {
    let request = ready.unit.view.request.read().ok().and_then(Option::as_ref);
    let request = request.filter(|it| it.is_open());
    waiting(ready, proposed, request, Some(follows))
}

fn waiting(
    ready: &Ready<'_>,
    recorded: &Proposed,
    request: Option<&Request>,
    follows: Option<&Release>,
) -> Waiting {
    let environment = ready.unit.environment;
    let branch = || proposal_branch(&environment.name, &ready.unit.pipeline.application.name);
    Waiting::on(Reason::Gate {
        release: recorded.release.clone(),
        request: request.map_or_else(branch, |request| request.name.clone()),
        is_branch: environment.gate != Gate::PullRequest,
        armed: request.and_then(|request| request.armed.clone()),
        follows: follows.cloned(),
    })
    .since(recorded.at)
}

/// Whether the proposal's branch stays when its record is closed: its request may be open, and is to be
/// closed with words first.
pub(super) fn keeps_branch(ready: &Ready<'_>) -> bool {
    match request(ready.unit) {
        None => false,
        Some(Ok(request)) => request.is_some_and(Request::is_open),
        Some(Err(_)) => true,
    }
}

/// The unit's request; `None`: its gate has none.
fn request<'a>(unit: &Unit<'a>) -> Option<Result<Option<&'a Request>, &'a super::Unreadable>> {
    let gated = unit.environment.gate == Gate::PullRequest;
    gated.then(|| unit.view.request.read().map(Option::as_ref))
}
