//! What a person says to Towpath, written as a record like everything else: on what was looked at,
//! or not at all.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Reconciler, Towed};
use crate::act::Outcome;
use crate::model::{ApplicationName, EnvironmentName};
use crate::plan::{Decision, Person, Step, UnitPlan};

/// How often a lost race is looked at again before it is given up.
const TRIES: usize = 5;

/// Steps of one unit that what a person said may take: the proposal before it closed, the new one made, its
/// request opened; and lost races.
const STEPS: usize = 10;

impl Reconciler {
    /// Writes what a person says of a unit. `say` makes it from what is observed, and is asked again
    /// where the world moved on meanwhile. What it needs must have been read.
    ///
    /// # Errors
    /// What `say` says against it, or what the repository answered.
    pub async fn say(
        &self,
        application: &ApplicationName,
        environment: &EnvironmentName,
        by: &str,
        say: impl Fn(&Person<'_>) -> Result<Step, String>,
        now: Timestamp,
    ) -> Result<(), String> {
        let towed = self.unit(application, environment)?;
        let there = towed.pipeline.environment(environment);
        let there = there.ok_or_else(|| nowhere(application, environment))?;
        for _ in 0..TRIES {
            let world = self.observatory.world(&towed.pipeline, now);
            let step = say(&Person {
                pipeline: &towed.pipeline,
                world: &world,
                environment,
                by,
                now,
            })?;
            match self.write(&towed, there, step, now).await {
                Outcome::Done(_) => return Ok(()),
                Outcome::Lost => {}
                Outcome::Failed(failure) => {
                    return Err(format!("{}: {}", failure.source, failure.why));
                }
            }
        }
        Err(format!(
            "{} changed each time it was written: try again",
            there.repository
        ))
    }

    /// Carries out, as far as git and the forge go, what was said of a unit: the commit, or the proposal and its
    /// request. What the cluster is to do is left to the Towpath that runs. Gives what comes next.
    ///
    /// # Errors
    /// There is no such unit.
    pub async fn carry_out(
        self: &Arc<Self>,
        application: &ApplicationName,
        environment: &EnvironmentName,
        now: Timestamp,
    ) -> Result<Option<UnitPlan>, String> {
        let towed = self.unit(application, environment)?;
        let mut next = None;
        for _ in 0..STEPS {
            let (_, plan) = self.plan(&towed, now);
            let mut units = plan.units.into_iter();
            next = units.find(|unit| unit.environment == *environment);
            match next.as_ref().map(|unit| &unit.decision) {
                Some(Decision::Step(step)) if is_of_git(step) => {
                    let step = Step::clone(step);
                    drop(self.act(&towed, environment, step, now).await);
                }
                _ => break,
            }
        }
        Ok(next)
    }

    fn unit(
        &self,
        application: &ApplicationName,
        environment: &EnvironmentName,
    ) -> Result<Arc<Towed>, String> {
        let removed = self.removed();
        let mut all = self.pipelines.iter().chain(&removed);
        let unit = all.find(|towed| {
            let pipeline = &towed.pipeline;
            pipeline.application.name == *application && pipeline.environment(environment).is_some()
        });
        unit.cloned()
            .ok_or_else(|| nowhere(application, environment))
    }
}

fn nowhere(application: &ApplicationName, environment: &EnvironmentName) -> String {
    format!("{application} does not go to `{environment}`")
}

/// Whether it changes git or the forge, and states nothing that is only seen.
fn is_of_git(step: &Step) -> bool {
    match step {
        Step::Write(_)
        | Step::Propose(_)
        | Step::Withdraw(_)
        | Step::Open(_)
        | Step::Close(_)
        | Step::Disarm(_) => true,
        Step::Record(_) | Step::Apply(_) | Step::Smoke(_) => false,
    }
}
