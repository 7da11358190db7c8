//! A person's hold on the cluster itself: it stops everything at once, whether or not git answers,
//! and becomes a record when it does.

use std::ops::ControlFlow;

use super::{
    Decision, Infra, Observed, Reason, Scope, Statements, Step, Unit, Waiting, Walk, step,
};
use crate::model::record::{BRAKE, Statement};

/// Held by the cluster's word alone: nothing that could be recorded on was read.
pub(super) fn unrecorded(unit: &Unit<'_>) -> Walk {
    let Some(reason) = pulled(unit).flatten() else {
        return Walk::Continue(());
    };
    let reason = Reason::Held {
        reason: reason.to_owned(),
        by: BRAKE.to_owned(),
        scope: Scope::Environment,
        place: None,
    };
    ControlFlow::Break(Decision::Waiting(Waiting::on(reason)))
}

/// States that a brake was pulled or let go. A person's own hold is left as it is: it holds as well,
/// and letting the brake go does not lift it.
pub(super) fn record(unit: &Unit<'_>, infra: &Infra) -> Walk {
    let Some(pulled) = pulled(unit) else {
        return Walk::Continue(());
    };
    let hold = infra.standing.hold.as_ref();
    let hold = hold.filter(|hold| hold.holds(unit.now));
    let ours = hold.filter(|hold| hold.by == BRAKE);
    let statement = match (pulled, hold, ours) {
        (Some(reason), None, _) => held(reason),
        (Some(reason), _, Some(ours)) if ours.reason != reason => held(reason),
        (None, _, Some(_)) => Statement::Resumed {
            reason: "the annotation is gone".to_owned(),
        },
        _ => return Walk::Continue(()),
    };
    step(Step::Record(Statements {
        statements: vec![statement],
        commit: infra.head,
        by: BRAKE.to_owned(),
        scope: Scope::Environment,
        closes_proposal: false,
        planned_on: infra.planned_on(),
    }))
}

fn held(reason: &str) -> Statement {
    Statement::Held {
        reason: reason.to_owned(),
        until: None,
    }
}

/// What the cluster says of a brake; `None`: it was not asked.
fn pulled<'a>(unit: &Unit<'a>) -> Option<Option<&'a str>> {
    let live = unit.view.live.as_ref().map(Observed::read)?.ok()?;
    Some(live.brake.as_deref())
}
