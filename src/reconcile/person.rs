//! What a person says to Towpath, written as a record like everything else: on what was looked at,
//! or not at all.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Reconciler, Towed};
use crate::act::{Order, Outcome, Rehearsal};
use crate::model::record::{Record, Statement};
use crate::model::{ApplicationName, EnvironmentName, Release};
use crate::plan::{self, Decision, Observed, Person, Scope, Statements, Step, UnitPlan, World};

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
            let (_, step) = self.said(&towed, environment, by, &say, now)?;
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

    /// Whether the images of the release that a person chooses are still there. Gives what could not be found out: who
    /// puts a release back while a registry is down is not kept from it.
    ///
    /// # Errors
    /// What `say` says against it, or which images are gone.
    pub async fn has_images(
        &self,
        application: &ApplicationName,
        environment: &EnvironmentName,
        by: &str,
        say: impl Fn(&Person<'_>) -> Result<Step, String>,
        now: Timestamp,
    ) -> Result<Vec<String>, String> {
        let towed = self.unit(application, environment)?;
        let (_, step) = self.said(&towed, environment, by, &say, now)?;
        let Some(release) = chosen(&step) else {
            return Ok(Vec::new());
        };
        let missing = self.observatory.missing(release).await;
        match missing.gone.is_empty() {
            true => Ok(missing.unknown),
            false => Err(format!(
                "the registry does not have {} of {release} any more: push it again, or choose another release",
                missing.gone.join(" and ")
            )),
        }
    }

    /// What [`Self::say`] would write, and, where it carries out, what [`Self::carry_out`] would first of all.
    /// Nothing is written anywhere. Gives also what would come next.
    ///
    /// # Errors
    /// As [`Self::say`].
    pub async fn rehearse(
        &self,
        application: &ApplicationName,
        environment: &EnvironmentName,
        by: &str,
        say: impl Fn(&Person<'_>) -> Result<Step, String>,
        carries: bool,
        now: Timestamp,
    ) -> Result<(Rehearsal, Option<UnitPlan>), String> {
        let towed = self.unit(application, environment)?;
        let there = towed.pipeline.environment(environment);
        let there = there.ok_or_else(|| nowhere(application, environment))?;
        let writer = self.writers.get(&there.repository);
        let writer = writer.ok_or_else(|| nowhere(application, environment))?;
        let (mut world, step) = self.said(&towed, environment, by, &say, now)?;
        if let Step::Record(statements) = &step {
            imagine(&mut world, application, environment, statements, now);
        }
        let mut next = None;
        if carries {
            let plan = plan::plan(&towed.pipeline, &world, now);
            next = plan.unit(environment).cloned();
        }
        let mut steps = vec![step];
        if let Some(Decision::Step(step)) = next.as_ref().map(|unit| &unit.decision)
            && let Step::Write(_) | Step::Propose(_) | Step::Withdraw(_) = &**step
        {
            steps.push(Step::clone(step));
            next = None;
        }
        let order = |step| Order::new(towed.pipeline.clone(), environment, step);
        let orders: Vec<Order> = steps.into_iter().filter_map(order).collect();
        match writer.rehearse(&orders, now).await {
            Ok(rehearsal) => Ok((rehearsal, next)),
            Err(Outcome::Failed(failure)) => Err(format!("{}: {}", failure.source, failure.why)),
            Err(_) => Err(format!("{} changed meanwhile: try again", there.repository)),
        }
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
            next = plan.unit(environment).cloned();
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

    /// What is observed, and the step that a person makes of it.
    fn said(
        &self,
        towed: &Towed,
        environment: &EnvironmentName,
        by: &str,
        say: &impl Fn(&Person<'_>) -> Result<Step, String>,
        now: Timestamp,
    ) -> Result<(World, Step), String> {
        let world = self.observatory.world(&towed.pipeline, now);
        let step = say(&Person {
            pipeline: &towed.pipeline,
            world: &world,
            environment,
            by,
            now,
        })?;
        Ok((world, step))
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

/// The release that is to come by what is said.
fn chosen(step: &Step) -> Option<&Release> {
    let Step::Record(said) = step else {
        return None;
    };
    said.statements.iter().find_map(|it| match it {
        Statement::Pinned { release, .. } => release.as_ref(),
        Statement::Promoted(promoted) => Some(&promoted.release),
        _ => None,
    })
}

/// The world in which this was recorded.
fn imagine(
    world: &mut World,
    application: &ApplicationName,
    environment: &EnvironmentName,
    said: &Statements,
    now: Timestamp,
) {
    let Some(view) = world.units.get_mut(environment) else {
        return;
    };
    let Observed::Seen { value: infra, .. } = &mut view.infra else {
        return;
    };
    let infra = Arc::make_mut(infra);
    for statement in &said.statements {
        let unit = (said.scope == Scope::Unit).then(|| application.clone());
        let record = Record {
            at: now,
            environment: environment.clone(),
            application: unit,
            by: said.by.clone(),
            commit: said.commit,
            statement: statement.clone(),
        };
        Arc::make_mut(&mut infra.standing).take(&record);
        if let (Ok(records), Scope::Unit) = (&mut infra.records, said.scope) {
            Arc::make_mut(records).take(record);
        }
    }
    if said.closes_proposal {
        infra.proposal = None;
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
        Step::Merge(_) | Step::Record(_) | Step::Apply(_) | Step::Smoke(_) => false,
    }
}
