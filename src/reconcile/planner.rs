//! Who decides: the planner, and the check that looks at its plans once more. A simulation puts others there, to see
//! that their mistakes are found.

use jiff::Timestamp;

use super::{Reconciler, Towed};
use crate::model::Pipeline;
use crate::plan::check::{self, Finding};
use crate::plan::{self, Decision, Plan, Reason, Waiting, World};

/// How it begins what it says of a plan that would break an invariant.
pub const BUG: &str = "a bug: its plan breaks";

/// See the module. Without more it is the one and only planner.
#[derive(Debug, Clone, Copy)]
pub struct Planner {
    /// Decides.
    pub plan: fn(&Pipeline, &World, Timestamp) -> Plan,
    /// Finds what a plan would break.
    pub check: fn(&Pipeline, &World, &Plan, Timestamp) -> Vec<Finding>,
}

impl Default for Planner {
    fn default() -> Self {
        Self {
            plan: plan::plan,
            check: check::check,
        }
    }
}

impl Reconciler {
    /// The same, with another planner.
    pub fn planned_by(mut self, planner: Planner) -> Self {
        self.planner = planner;
        self
    }

    /// Observes and plans. A step that just failed waits its turn, and says so.
    pub(super) fn plan(&self, towed: &Towed, now: Timestamp) -> (World, Plan) {
        let mut world = self.observatory.world(&towed.pipeline, now);
        towed.memory().teach(&mut world);
        let mut plan = (self.planner.plan)(&towed.pipeline, &world, now);
        let findings = (self.planner.check)(&towed.pipeline, &world, &plan, now);
        let memory = towed.memory();
        for unit in &mut plan.units {
            let Decision::Step(step) = &unit.decision else {
                continue;
            };
            if let Some(finding) = findings
                .iter()
                .find(|it| it.environment == unit.environment)
            {
                tracing::error!(%finding, "the plan breaks an invariant: nothing is done");
                let why = format!("{BUG} {finding}");
                unit.decision = Decision::Waiting(Waiting::on(Reason::BrokenManifests(why)));
            } else if let Some(failing) = memory.failing.get(&unit.environment)
                && failing.holds_up(step, now)
            {
                unit.decision = Decision::Waiting(failing.waiting());
            }
        }
        drop(memory);
        (world, plan)
    }
}
