//! What a record leads to in the cluster once it has landed, told before it has: the cluster can be asked
//! meanwhile what it thinks of it. It is not done by that: the next round plans it anew.

use std::ops::ControlFlow;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Apply, Decision, Infra, Observed, Scope, Step, Unit, UnitView, World, rollout};
use crate::model::record::{Cause, Record, Statement, UnitRecords};
use crate::model::{EnvironmentName, Pipeline};

/// The apply that follows this step of a unit, if it records a deployment. A baseline is not followed: it is
/// recorded with a thousand others.
pub fn ahead(
    pipeline: &Pipeline,
    world: &World,
    environment: &EnvironmentName,
    step: &Step,
    now: Timestamp,
) -> Option<Apply> {
    let Step::Record(record) = step else {
        return None;
    };
    let deploys = |statement: &Statement| matches!(statement, Statement::Deployment { cause, .. } if *cause != Cause::Baseline);
    if record.scope != Scope::Unit || !record.statements.iter().any(deploys) {
        return None;
    }
    let view = world.units.get(environment)?;
    let Observed::Seen { value: infra, at } = &view.infra else {
        return None;
    };
    let mut records = UnitRecords::clone(infra.records.as_ref().ok()?);
    for statement in &record.statements {
        records.take(Record {
            at: now,
            environment: environment.clone(),
            application: Some(pipeline.application.name.clone()),
            by: record.by.clone(),
            commit: record.commit,
            statement: statement.clone(),
        });
    }
    let infra = Infra {
        records: Ok(Arc::new(records)),
        ..Infra::clone(infra)
    };
    let view = UnitView {
        infra: Observed::Seen {
            value: Arc::new(infra),
            at: *at,
        },
        ..view.clone()
    };
    let unit = Unit {
        pipeline,
        environment: pipeline.environment(environment)?,
        world,
        view: &view,
        now,
    };
    let ControlFlow::Continue(ready) = unit.ready() else {
        return None;
    };
    match rollout::roll_out(&ready) {
        ControlFlow::Break(Decision::Step(step)) => match *step {
            Step::Apply(apply) => Some(apply),
            _ => None,
        },
        _ => None,
    }
}
