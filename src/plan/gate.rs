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

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::sync::Arc;

    use super::*;
    use crate::model::CommitId;
    use crate::plan::check::tests::{desired, pipeline, release, second_of, world};
    use crate::plan::{Decision, Live, Observed};

    const EARLIER: u8 = 1;
    const RECORDED: u8 = 2;
    const BRANCH: u8 = 3;
    const ELSEWHERE: u8 = 4;
    const MERGE: u8 = 5;

    fn commit(of: u8) -> CommitId {
        format!("{of:02x}").repeat(20).parse().unwrap()
    }

    /// What a request about that commit, which ended in second 10, says of what is proposed, in second `now`;
    /// `branch`: the proposal's is still there; `seen`: the merge is behind the base's head.
    fn said(state: RequestState, about: u8, branch: bool, seen: bool, now: i64) -> &'static str {
        let proposed = |of| Statement::Proposed {
            release: release(1),
            proposal: commit(of),
        };
        let here = vec![proposed(EARLIER), proposed(RECORDED)];
        let mut world = world(vec![], Ok(here), Some(Live::default()));
        let environment = "production".parse().unwrap();
        let view = world.units.get_mut(&environment).unwrap();
        let proposal = Proposal {
            head: commit(BRANCH),
            desired: Ok(desired(1)),
            unopened: None,
            conflicts: false,
            by_people: true,
            beside: Vec::new(),
        };
        let request = Request {
            state,
            head: commit(about),
            ..proposal.as_request("towpath/shop", second_of(10))
        };
        let infra = Infra {
            proposal: branch.then_some(proposal),
            behind: Arc::new(seen.then(|| commit(MERGE)).into_iter().collect()),
            ..Infra::clone(view.infra.read().unwrap())
        };
        let at = second_of(now);
        let value = Arc::new(infra);
        view.infra = Observed::Seen { value, at };
        let value = Some(request);
        view.request = Observed::Seen { value, at };

        let mut pipeline = pipeline("gate: branch");
        pipeline.environments.last_mut().unwrap().gate = Gate::PullRequest;
        let unit = Unit::of(&pipeline, &world, &environment, at).unwrap();
        let ControlFlow::Continue(ready) = unit.ready() else {
            panic!("nothing can be decided");
        };
        match ended(&ready, ready.records.proposal.as_ref().unwrap()) {
            ControlFlow::Continue(()) => "nothing",
            ControlFlow::Break(Decision::Waiting(waiting)) => {
                assert!(
                    matches!(waiting.reason, Reason::Behind { commit: it, .. } if it == commit(MERGE))
                );
                assert_eq!(waiting.next, Some(second_of(40)));
                "merged"
            }
            ControlFlow::Break(Decision::Step(step)) => match *step {
                Step::Record(said) => {
                    let declined = Statement::Declined {
                        release: release(1),
                    };
                    assert_eq!(said.statements, [declined]);
                    match said.closes_proposal {
                        true => "declined with its branch",
                        false => "declined",
                    }
                }
                other => panic!("{other:?}"),
            },
        }
    }

    #[test]
    fn the_end_of_a_request_speaks_of_the_proposal_that_it_is_about() {
        let merged = RequestState::Merged {
            commit: Some(commit(MERGE)),
        };
        let unnamed = RequestState::Merged { commit: None };
        let closed = RequestState::Closed;
        for (state, about, branch, seen, now, expected) in [
            (RequestState::Open, RECORDED, false, false, 11, "nothing"),
            // The forge deleted the branch with the merge, and the git server lags.
            (merged, RECORDED, false, false, 11, "merged"),
            (merged, EARLIER, false, false, 11, "merged"),
            (merged, RECORDED, false, false, 39, "merged"),
            // It was undone since.
            (merged, RECORDED, false, false, 40, "declined"),
            (merged, RECORDED, false, true, 11, "declined"),
            (merged, RECORDED, true, true, 11, "declined with its branch"),
            (unnamed, RECORDED, false, false, 11, "declined"),
            // People's commits stand on the branch.
            (merged, BRANCH, true, false, 11, "merged"),
            (merged, BRANCH, false, false, 11, "nothing"),
            (merged, ELSEWHERE, true, false, 11, "nothing"),
            // Whoever opens it again asks again: its branch is left.
            (closed, RECORDED, true, false, 11, "declined"),
            (closed, EARLIER, false, false, 11, "declined"),
            (closed, BRANCH, true, false, 11, "declined"),
            (closed, ELSEWHERE, true, false, 11, "nothing"),
        ] {
            let shown = format!("{state:?} {about} {branch} {seen} {now}");
            assert_eq!(said(state, about, branch, seen, now), expected, "{shown}");
        }
    }
}
