//! What people say to Towpath, as the records that state it. Each is made from what was observed, or it is
//! said why it cannot be. Writes nothing.

mod approve;
mod choose;
mod stop;

use std::ops::ControlFlow;

use jiff::Timestamp;

pub use approve::{
    Adoption, Allowed, ForeignObject, adoption, approve_adoption, approve_prune, deletions,
};
pub use choose::{decline, retry, roll_back, unpin};
pub use stop::{Stop, hold, resume};

use super::{Decision, Infra, Scope, Statements, Step, Unit, Walk, World};
use crate::model::record::Statement;
use crate::model::{EnvironmentName, Pipeline};

fn with<T>(
    pipeline: &Pipeline,
    world: &World,
    name: &EnvironmentName,
    now: Timestamp,
    tell: impl FnOnce(&Unit<'_>) -> Walk<Result<T, String>>,
) -> Result<T, String> {
    let (Some(environment), Some(view)) = (pipeline.environment(name), world.units.get(name))
    else {
        return Err(format!(
            "{} does not go to `{name}`",
            pipeline.application.name
        ));
    };
    let unit = Unit {
        pipeline,
        environment,
        world,
        view,
        now,
    };
    match tell(&unit) {
        ControlFlow::Continue(told) => told,
        ControlFlow::Break(Decision::Waiting(waiting)) => Err(waiting.reason.to_string()),
        ControlFlow::Break(Decision::Step(step)) => Err(format!("first to be done: {step}")),
    }
}

/// The record of one statement about the unit.
fn say(infra: &Infra, by: &str, statement: Statement) -> Step {
    state(infra, by, Scope::Unit, vec![statement])
}

fn state(infra: &Infra, by: &str, scope: Scope, statements: Vec<Statement>) -> Step {
    Step::Record(Statements {
        statements,
        commit: infra.head,
        by: by.to_owned(),
        scope,
        closes_proposal: false,
        planned_on: infra.planned_on(),
    })
}
