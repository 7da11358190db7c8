//! What people say to Towpath, as the records that state it. Each is made from what was observed, or it is
//! said why it cannot be. Writes nothing.

mod approve;
mod choose;
mod evidence;
mod hotfix;
mod merge;
mod named;
mod note;
mod promote;
mod stop;

use std::ops::ControlFlow;

use jiff::Timestamp;

pub use approve::{Adoption, Allowed, ForeignObject};
pub use note::Note;
pub use promote::Promote;
pub use stop::Stop;

use super::{Decision, Infra, Scope, Statements, Step, Unit, Walk, World};
use crate::model::record::Statement;
use crate::model::{EnvironmentName, Pipeline};

/// A person in front of one unit, as it was observed.
pub struct Person<'a> {
    /// Of which pipeline.
    pub pipeline: &'a Pipeline,
    /// What was observed.
    pub world: &'a World,
    /// In which environment.
    pub environment: &'a EnvironmentName,
    /// Who it is.
    pub by: &'a str,
    /// When it is said.
    pub now: Timestamp,
}

impl Person<'_> {
    fn with<T>(
        &self,
        tell: impl FnOnce(&Unit<'_>) -> Walk<Result<T, String>>,
    ) -> Result<T, String> {
        let Some(unit) = Unit::of(self.pipeline, self.world, self.environment, self.now) else {
            let application = &self.pipeline.application.name;
            return Err(format!(
                "{application} does not go to `{}`",
                self.environment
            ));
        };
        match tell(&unit) {
            ControlFlow::Continue(told) => told,
            ControlFlow::Break(Decision::Waiting(waiting)) => Err(waiting.reason.to_string()),
            ControlFlow::Break(Decision::Step(step)) => Err(format!("first to be done: {step}")),
        }
    }

    /// The record of one statement about the unit.
    fn say(&self, infra: &Infra, statement: Statement) -> Step {
        self.state(infra, Scope::Unit, vec![statement])
    }

    fn state(&self, infra: &Infra, scope: Scope, statements: Vec<Statement>) -> Step {
        Step::Record(Statements {
            statements,
            commit: infra.head,
            by: self.by.to_owned(),
            scope,
            closes_proposal: false,
            planned_on: infra.planned_on(),
        })
    }
}

/// What the unit's request is called on its forge.
fn on_forge<'a>(unit: &Unit<'a>) -> &'a str {
    let request = unit.view.request.read().ok().and_then(Option::as_ref);
    request.map_or("its request", |request| &request.name)
}
