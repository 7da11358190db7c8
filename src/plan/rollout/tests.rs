//! What is applied over what the cluster runs, in plans of one unit.

use std::sync::Arc;

use super::*;
use crate::model::CommitId;
use crate::model::record::Cause;
use crate::plan::check::tests::{commit, desired, pipeline, planned_on, release, second_of, world};
use crate::plan::{Infra, LiveObject, Mark, Refusal, Scope, Statements, ahead, plan};

/// A deployment of release 0 in production, with its verdict.
fn deployed(verdict: Option<Verdict>) -> Vec<Statement> {
    let (number, release) = (1, Some(release(0)));
    let state = desired(0).rendered.state;
    let deployment = Statement::Deployment {
        number,
        release: release.clone(),
        state,
        cause: Cause::Automation,
    };
    let verdict = verdict.map(|verdict| Statement::Verdict {
        number,
        release: release.clone(),
        state,
        verdict,
    });
    let adopted = Statement::Adopted {
        release: release.clone(),
    };
    [adopted, deployment].into_iter().chain(verdict).collect()
}

/// The cluster runs the object of release `minor`, applied for this commit.
fn live(minor: u8, by: CommitId) -> Live {
    let object = &desired(minor).rendered.objects[0];
    let found = LiveObject {
        uid: "uid-1".to_owned(),
        version: "1".to_owned(),
        mark: Some(Mark {
            application: "shop".parse().unwrap(),
            environment: "production".parse().unwrap(),
            hash: object.hash(),
            commit: by,
        }),
        engine: None,
        managers: Vec::new(),
        service_type: None,
        health: Health::Current,
        applied_at: second_of(0),
        drift: None,
        kept: None,
        claimed: None,
    };
    Live {
        objects: [(object.reference.clone(), found)].into_iter().collect(),
        answering_since: None,
        brake: None,
    }
}

/// What is decided of production: the step's kind or the reason's name. The branch was looked at in second
/// `looked`, the cluster in second 5; `behind` is behind the branch's head.
fn decided(
    verdict: Option<Verdict>,
    live: Live,
    looked: i64,
    behind: Option<CommitId>,
    refused: Option<Refusal>,
) -> &'static str {
    let mut world = world(vec![], Ok(deployed(verdict)), Some(live.clone()));
    let environment = "production".parse().unwrap();
    let view = world.units.get_mut(&environment).unwrap();
    let infra = Infra {
        behind: Arc::new(behind.into_iter().collect()),
        ..Infra::clone(view.infra.read().unwrap())
    };
    view.infra = Observed::Seen {
        value: Arc::new(infra),
        at: second_of(looked),
    };
    view.live = Some(Observed::Seen {
        value: Arc::new(live),
        at: second_of(5),
    });
    view.learned.refused = refused;
    let plan = plan(&pipeline(""), &world, second_of(6));
    match &plan.unit(&environment).unwrap().decision {
        Decision::Step(step) => step.kind(),
        Decision::Waiting(waiting) => waiting.reason.name(),
    }
}

/// An object of a commit that is not known to be behind the head waits for a look at the branch since, and for no more.
#[test]
fn an_object_of_a_later_commit_is_not_replaced() {
    let other: CommitId = "22".repeat(20).parse().unwrap();
    for (by, looked, behind, expected) in [
        (other, 4, None, "behind"),
        (other, 5, None, "apply"),
        (other, 6, None, "apply"),
        // Behind the head, or a deployment of the unit: one is enough.
        (other, 4, Some(other), "apply"),
        (commit(), 4, None, "apply"),
    ] {
        let found = decided(None, live(1, by), looked, behind, None);
        assert_eq!(found, expected, "{by} {looked} {behind:?}");
    }
}

/// What the cluster refused of a healthy deployment is told as long as it differs.
#[test]
fn what_was_refused_is_told_as_long_as_it_differs() {
    let refused = || {
        Some(Refusal {
            state: desired(0).rendered.state,
            asked_at: second_of(0),
            reason: "denied by the webhook policy.example.com".to_owned(),
        })
    };
    let healthy = || Some(Verdict::Healthy { exercised: true });
    let told = |minor| decided(healthy(), live(minor, commit()), 6, None, refused());
    assert_eq!(told(1), "refused");
    assert_eq!(told(0), "up-to-date");
}

/// The apply that a record of a deployment leads to is told before it has landed; a baseline's is not.
#[test]
fn the_apply_that_follows_a_deployment_is_told_ahead() {
    let recorded = |scope, statement| {
        Step::Record(Statements {
            statements: vec![statement],
            commit: commit(),
            by: "towpath".to_owned(),
            scope,
            closes_proposal: false,
            planned_on: planned_on(),
        })
    };
    let deployment = |cause| Statement::Deployment {
        number: 2,
        release: Some(release(0)),
        state: desired(0).rendered.state,
        cause,
    };
    let ahead = |runs, step: &Step| {
        let here = deployed(Some(Verdict::Superseded));
        let world = world(vec![], Ok(here), Some(live(runs, commit())));
        let environment = "production".parse().unwrap();
        let ahead = ahead(&pipeline(""), &world, &environment, step, second_of(6));
        ahead.map(|it| (it.number, it.change.len()))
    };
    let by_hand = recorded(Scope::Unit, deployment(Cause::Hand));
    assert_eq!(ahead(1, &by_hand), Some((2, 1)));
    // Nothing is to be applied, or nobody waits for it.
    assert_eq!(ahead(0, &by_hand), None);
    let baseline = recorded(Scope::Unit, deployment(Cause::Baseline));
    let everywhere = recorded(Scope::Environment, deployment(Cause::Hand));
    let retried = recorded(
        Scope::Unit,
        Statement::Retried {
            release: release(0),
        },
    );
    for step in [baseline, everywhere, retried] {
        assert_eq!(ahead(1, &step), None, "{step}");
    }
}
