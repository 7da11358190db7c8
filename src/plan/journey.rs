//! One release on its way through all environments: the one thing that stops it, and where.
//!
//! Put together from what was decided of each unit; decides nothing itself.

use jiff::Timestamp;

use super::{Decision, Plan, Reason, Stand, Step, Unit, UnitPlan, Waiting, Word, World, evidence};
use crate::model::{Environment, EnvironmentName, Follow, Pipeline, Release};

/// A release on its way.
#[derive(Debug, Clone, PartialEq)]
pub struct Journey {
    /// Where it stands, in pipeline order.
    pub stands: Vec<(EnvironmentName, Stand)>,
    /// What stops it; `None`: it is everywhere that it goes to.
    pub stopped: Option<Stopped>,
}

/// What stops a release, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Stopped {
    /// The first environment that it did not get through.
    pub environment: EnvironmentName,
    /// The reason's name, `step` where it is about to go on, or the word for where it stands.
    pub state: &'static str,
    /// The sentence for people.
    pub sentence: String,
    /// Since when.
    pub since: Option<Timestamp>,
    /// When it is looked at next, where time alone can change it.
    pub next: Option<Timestamp>,
    /// What unblocks it.
    pub unblock: Option<String>,
}

/// The way of a release, of which it is known where it stands in each environment.
pub fn journey(
    pipeline: &Pipeline,
    world: &World,
    plan: &Plan,
    release: &Release,
    stands: Vec<(EnvironmentName, Stand)>,
    now: Timestamp,
) -> Journey {
    let mut reached: Vec<&EnvironmentName> = Vec::new();
    let mut stop = None;
    for environment in &pipeline.environments {
        let Some((name, stand)) = stands.iter().find(|(name, _)| *name == environment.name) else {
            continue;
        };
        let goes = stand.word != Word::Nowhere || takes(environment, world, release, &reached);
        if !goes {
            continue;
        }
        reached.push(name);
        match stand.word {
            // Further on it is through already, whatever was before.
            Word::Proven | Word::Running => stop = None,
            _ => stop = stop.or(Some((environment, stand))),
        }
    }
    let stopped = stop.map(|(environment, stand)| {
        let stopped = stopped(plan, release, environment, stand);
        // What is proposed may hide that this one lacks something.
        let is_told = stopped.state != "not-there";
        let unit = Unit::of(pipeline, world, &environment.name, now).filter(|_| !is_told);
        match unit.and_then(|unit| evidence::waiting(&unit, release)) {
            Some(waiting) => of_waiting(plan, &waiting, &environment.name),
            None => stopped,
        }
    });
    Journey { stands, stopped }
}

/// Whether an environment would take the release once it is proven in these.
fn takes(
    environment: &Environment,
    world: &World,
    release: &Release,
    reached: &[&EnvironmentName],
) -> bool {
    match &environment.follow {
        Follow::Environments { all, .. } => all.iter().any(|it| reached.contains(&it)),
        follow => {
            let digests = release.digests();
            let known = world.catalogue.read().ok();
            let mut admitted = known.into_iter().flat_map(|it| it.releases(follow));
            admitted.any(|it| it.is(&digests))
        }
    }
}

fn stopped(plan: &Plan, release: &Release, environment: &Environment, stand: &Stand) -> Stopped {
    let application = &plan.application;
    let unit = |name: &EnvironmentName| plan.units.iter().find(|it| it.environment == *name);
    let here = unit(&environment.name);
    // What follows says how long it soaks.
    let about = here
        .into_iter()
        .chain(&plan.units)
        .find(|it| is_about(it, release));
    let general = here.filter(|it| stops_everything(it));
    if let (Some(unit), Word::Nowhere | Word::Proposed | Word::RollingOut | Word::Soaking) =
        (general.or(about), stand.word)
    {
        return of_unit(plan, unit, &environment.name);
    }
    let (sentence, unblock) = match stand.word {
        Word::Nowhere => match newest(here, release) {
            Some(newer) => (format!("{newer} came before {release}"), None),
            None => (format!("{release} did not come there yet"), None),
        },
        Word::Failed => {
            let reason = stand.why.clone().unwrap_or_default();
            let failed = Reason::Failed {
                release: Some(release.clone()),
                reason,
            };
            (
                failed.to_string(),
                failed.unblock(application, &environment.name),
            )
        }
        Word::Declined => {
            let declined = Reason::Declined {
                release: release.clone(),
            };
            (
                declined.to_string(),
                declined.unblock(application, &environment.name),
            )
        }
        Word::Superseded => (
            format!("a newer one came before {release} was proven there"),
            None,
        ),
        Word::RollingOut => (format!("{release} rolls out"), None),
        Word::Soaking => (format!("{release} is healthy, and soaks"), None),
        Word::Proposed => (format!("{release} is proposed"), None),
        Word::Unknown => (stand.why.clone().unwrap_or_default(), None),
        Word::Proven | Word::Running => (format!("{release} is {}", stand.word), None),
    };
    Stopped {
        environment: environment.name.clone(),
        state: match stand.word {
            Word::Nowhere => "not-there",
            Word::RollingOut => "converging",
            word => word.as_str(),
        },
        sentence,
        since: None,
        next: None,
        unblock,
    }
}

fn of_unit(plan: &Plan, unit: &UnitPlan, environment: &EnvironmentName) -> Stopped {
    match &unit.decision {
        Decision::Waiting(waiting) => {
            let stopped = of_waiting(plan, waiting, &unit.environment);
            let environment = environment.clone();
            Stopped {
                environment,
                ..stopped
            }
        }
        Decision::Step(step) => Stopped {
            environment: environment.clone(),
            state: "step",
            sentence: step.to_string(),
            since: None,
            next: None,
            unblock: None,
        },
    }
}

fn of_waiting(plan: &Plan, waiting: &Waiting, environment: &EnvironmentName) -> Stopped {
    let reason = &waiting.reason;
    Stopped {
        environment: environment.clone(),
        state: reason.name(),
        sentence: reason.to_string(),
        since: waiting.since,
        next: waiting.next,
        unblock: reason.unblock(&plan.application, environment),
    }
}

/// Whether what was decided of a unit concerns this very release.
fn is_about(unit: &UnitPlan, release: &Release) -> bool {
    let digests = release.digests();
    let named = match &unit.decision {
        Decision::Step(step) => brought(step),
        Decision::Waiting(waiting) => waited_for(&waiting.reason),
    };
    named.is_some_and(|it| it.is(&digests))
}

fn brought(step: &Step) -> Option<&Release> {
    match step {
        Step::Write(write) => Some(&write.release),
        Step::Propose(propose) => Some(&propose.release),
        Step::Withdraw(withdraw) => Some(&withdraw.release),
        Step::Open(open) => Some(&open.release),
        _ => None,
    }
}

fn waited_for(reason: &Reason) -> Option<&Release> {
    match reason {
        Reason::Unwritable { release, .. }
        | Reason::Declined { release }
        | Reason::SecondWord { release, .. }
        | Reason::Evidence { release, .. }
        | Reason::Soaking { release, .. }
        | Reason::Paced { release }
        | Reason::Gate { release, .. } => Some(release),
        Reason::Failed { release, .. }
        | Reason::Upstream { release, .. }
        | Reason::Converging { release, .. } => release.as_ref(),
        _ => None,
    }
}

/// Whether nothing at all goes on there.
fn stops_everything(unit: &UnitPlan) -> bool {
    let Decision::Waiting(waiting) = &unit.decision else {
        return false;
    };
    matches!(
        waiting.reason,
        Reason::Unreadable(_)
            | Reason::Retrying { .. }
            | Reason::UnreadableRecords(_)
            | Reason::BrokenManifests(_)
            | Reason::WentBack
            | Reason::Behind { .. }
            | Reason::Held { .. }
            | Reason::Adopting { .. }
            | Reason::Pinned { .. }
            | Reason::LineStopped { .. }
            | Reason::Unwritable { .. }
    )
}

/// What is there already, if it is newer.
fn newest<'a>(unit: Option<&'a UnitPlan>, release: &Release) -> Option<&'a Release> {
    let running = unit?.release.as_ref()?;
    running.is_newer_than(release).then_some(running)
}
