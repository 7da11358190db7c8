//! One release on its way through all environments: the one thing that stops it, and where.
//!
//! Put together from what was decided of each unit; decides nothing itself.

use jiff::Timestamp;

use super::fate::{Fate, fate_of};
use super::{
    Decision, Plan, Reason, Stand, Step, Unit, UnitPlan, Waiting, Word, World, evidence, freeze,
    pace, promotion, upstream,
};
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
            word => {
                // What goes on further on waits no longer where a newer one took its place.
                let goes_on = matches!(word, Word::Proposed | Word::RollingOut | Word::Soaking);
                let passed = |it: &(_, &Stand)| goes_on && it.1.word == Word::Superseded;
                stop = stop.filter(|it| !passed(it)).or(Some((environment, stand)));
            }
        }
    }
    let asked = Asked {
        pipeline,
        world,
        plan,
        release,
        now,
    };
    let stopped = stop.map(|(environment, stand)| asked.stopped(environment, stand));
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

/// What is asked about.
struct Asked<'a> {
    pipeline: &'a Pipeline,
    world: &'a World,
    plan: &'a Plan,
    release: &'a Release,
    now: Timestamp,
}

impl Asked<'_> {
    /// What stops it where it stands so.
    fn stopped(&self, environment: &Environment, stand: &Stand) -> Stopped {
        if let Some(unit) = self.speaks(environment, stand.word) {
            return of_unit(self.plan, unit, &environment.name);
        }
        if stand.word == Word::Nowhere && self.newer_first(environment).is_some() {
            return self.stands(environment, stand);
        }
        match self.waits(environment, stand.word) {
            Some(waiting) => of_waiting(self.plan, &waiting, &environment.name),
            None => self.stands(environment, stand),
        }
    }

    fn unit(&self, environment: &EnvironmentName) -> Option<&UnitPlan> {
        let mut units = self.plan.units.iter();
        units.find(|it| it.environment == *environment)
    }

    /// The unit of which what was decided tells it.
    fn speaks(&self, environment: &Environment, word: Word) -> Option<&UnitPlan> {
        let here = self.unit(&environment.name);
        let about = |unit: &&UnitPlan| is_about(unit, self.release);
        match word {
            // What never comes waits for nothing.
            Word::Nowhere if self.newer_first(environment).is_some() => here.filter(about),
            Word::Nowhere | Word::Proposed | Word::RollingOut | Word::Soaking => {
                // What follows says how long it soaks.
                let mut all = here.into_iter().chain(&self.plan.units);
                here.filter(|it| stops(it, word))
                    .or_else(|| all.find(about))
            }
            Word::Failed | Word::Declined => {
                here.filter(|it| matches!(it.decision, Decision::Waiting(_)) && about(it))
            }
            Word::Superseded | Word::Unknown | Word::Proven | Word::Running => None,
        }
    }

    /// What it waits for, where nothing that was decided speaks of it, because something else stands before it.
    fn waits(&self, environment: &Environment, word: Word) -> Option<Waiting> {
        let unit = Unit::of(self.pipeline, self.world, &environment.name, self.now)?;
        match word {
            Word::Nowhere => self.is_to_come(&unit),
            Word::Soaking => {
                let infra = unit.view.infra.read().ok()?;
                let digests = self.release.digests();
                let mut runs = infra.records.as_ref().ok()?.runs.iter().rev();
                let run = runs.find(|it| it.release.is(&digests))?;
                let soak = self.pipeline.soak_of(&environment.name);
                Some(upstream::soaking(&environment.name, run, soak))
            }
            _ => None,
        }
    }

    /// What keeps it from coming, whatever else is the matter there; in the order in which units tell reasons.
    fn is_to_come(&self, unit: &Unit<'_>) -> Option<Waiting> {
        let release = self.release;
        let infra = unit.view.infra.read().ok()?;
        let asked = infra.records.as_ref().ok()?.promotion.as_ref();
        let asked = asked.filter(|it| it.promoted.release.is(&release.digests()));
        let is_forced = asked.is_some_and(|it| it.is_forced(&unit.environment.authority));
        let over_freeze = asked.is_some_and(|it| it.promoted.during_freeze);

        let frozen = freeze::frozen(unit.environment, &infra.standing, unit.now);
        let frozen = frozen.filter(|_| !over_freeze);
        let frozen = frozen.map(|it| freeze::waiting(it, Some(release.clone())));
        let lacking = || evidence::waiting(unit, release).filter(|_| !is_forced);
        let by_itself = || match asked {
            None => {
                pace::young_still(unit, release).or_else(|| pace::limited(unit, infra, release))
            }
            Some(asked) => promotion::scheduled(asked, unit.now),
        };
        frozen.or_else(lacking).or_else(by_itself)
    }

    /// What can be said of where it stands alone.
    fn stands(&self, environment: &Environment, stand: &Stand) -> Stopped {
        let release = self.release;
        let told = |reason: Reason| {
            let unblock = reason.unblock(&self.plan.application, &environment.name);
            (reason.to_string(), unblock)
        };
        let (sentence, unblock) = match stand.word {
            Word::Nowhere => (self.not_there(environment), None),
            Word::Failed => told(Reason::Failed {
                release: Some(release.clone()),
                reason: stand.why.clone().unwrap_or_default(),
            }),
            Word::Declined => told(Reason::Declined {
                release: release.clone(),
            }),
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

    /// What is newer, and there already or chosen to come there first.
    fn newer_first(&self, environment: &Environment) -> Option<&Release> {
        let unit = self.unit(&environment.name)?;
        let chosen = chosen(&unit.decision).into_iter().flatten();
        let mut first = unit.release.as_ref().into_iter().chain(chosen);
        first.find(|it| it.is_newer_than(self.release))
    }

    /// Why it did not come to an environment where nobody speaks of it.
    fn not_there(&self, environment: &Environment) -> String {
        let release = self.release;
        let Some(unit) = self.unit(&environment.name) else {
            return format!("{release} did not come there yet");
        };
        let is_newer = |it: &&Release| it.is_newer_than(release);
        if let Some(newer) = unit.release.as_ref().filter(is_newer) {
            return format!("{newer} came before {release}");
        }
        let mut spoken_of = spoken_of(unit).into_iter().flatten();
        match spoken_of.find(is_newer) {
            Some(newer) => format!(
                "{newer} is newer and stands before {release}: {}",
                unit.decision
            ),
            None => self
                .unproven(environment)
                .or_else(|| self.other_first(unit))
                .unwrap_or_else(|| format!("{release} did not come there yet: {}", unit.decision)),
        }
    }

    /// What is older and comes first, because a person chose it.
    fn other_first(&self, unit: &UnitPlan) -> Option<String> {
        let (release, digests) = (self.release, self.release.digests());
        let mut chosen = chosen(&unit.decision).into_iter().flatten();
        let other = chosen.find(|it| !it.is(&digests))?;
        Some(format!(
            "{other} stands before {release}: {}",
            unit.decision
        ))
    }

    /// Where it would have to be proven first, and is not.
    fn unproven(&self, environment: &Environment) -> Option<String> {
        let Follow::Environments { all, .. } = &environment.follow else {
            return None;
        };
        let (release, digests) = (self.release, self.release.digests());
        let is_it = |other: &Release| other.is(&digests);
        let version = release.rank.version.as_ref();
        let mut fates = all.iter().map(|name| {
            let fate = fate_of(self.pipeline, self.world, name, &is_it, version, self.now);
            (name, fate)
        });
        let (name, fate) = fates.find(|(_, fate)| *fate != Fate::Proven)?;
        let upstream = self.pipeline.environment(name);
        let comes = upstream.is_none_or(|it| {
            let follows = matches!(it.follow, Follow::Environments { .. });
            follows || takes(it, self.world, release, &[])
        });
        Some(match fate {
            Fate::Awaited if !comes => {
                format!("{release} is not proven in {name}, which does not take it")
            }
            fate => format!("{release} is not proven in {name}: {fate}"),
        })
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
    let mut named = spoken_of(unit).into_iter().flatten();
    named.any(|it| it.is(&digests))
}

/// The releases that what was decided of a unit names.
fn spoken_of(unit: &UnitPlan) -> [Option<&Release>; 2] {
    match &unit.decision {
        Decision::Step(step) if let Step::Withdraw(withdraw) = &**step => {
            [Some(&withdraw.release), None]
        }
        Decision::Waiting(waiting) if let Concern::Proving(release) = concern(&waiting.reason) => {
            [release, None]
        }
        decision => chosen(decision),
    }
}

/// Those of them that come before any older one, once nothing keeps them: not what has yet to be proven, nor what is
/// taken back.
fn chosen(decision: &Decision) -> [Option<&Release>; 2] {
    match decision {
        Decision::Step(step) => [brought(step), None],
        Decision::Waiting(waiting) => match concern(&waiting.reason) {
            Concern::These(releases) => releases,
            Concern::Coming(release) => [release, None],
            Concern::Proving(_) | Concern::All | Concern::RollingOut | Concern::None => {
                [None, None]
            }
        },
    }
}

fn brought(step: &Step) -> Option<&Release> {
    match step {
        Step::Write(write) => Some(&write.release),
        Step::Propose(propose) => Some(&propose.release),
        Step::Open(open) => Some(&open.release),
        _ => None,
    }
}

/// Whom a reason concerns.
enum Concern<'a> {
    /// Every release, wherever it stands.
    All,
    /// Every release that has not come yet; the one that would come first, where that is known.
    Coming(Option<&'a Release>),
    /// What rolls out: what has not come yet may be what mends it.
    RollingOut,
    /// This one, which has yet to be proven before it is chosen.
    Proving(Option<&'a Release>),
    /// These, which are on their way.
    These([Option<&'a Release>; 2]),
    /// None of those on their way.
    None,
}

/// Every reason is listed, so that none is forgotten.
fn concern(reason: &Reason) -> Concern<'_> {
    match reason {
        Reason::NotOurs
        | Reason::Unreadable(_)
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
        | Reason::Removed { .. } => Concern::All,
        Reason::Frozen { release, .. } => Concern::Coming(release.as_ref()),
        Reason::Refused { .. } => Concern::RollingOut,
        Reason::Declined { release }
        | Reason::Paced { release }
        | Reason::Rate { release, .. }
        | Reason::Scheduled { release, .. } => Concern::These([Some(release), None]),
        Reason::Gate {
            release, follows, ..
        } => Concern::These([Some(release), follows.as_ref()]),
        Reason::Failed { release, .. } | Reason::Converging { release, .. } => {
            Concern::These([release.as_ref(), None])
        }
        Reason::SecondWord { release, .. }
        | Reason::Evidence { release, .. }
        | Reason::Soaking { release, .. }
        | Reason::Young { release, .. } => Concern::Proving(Some(release)),
        Reason::Upstream { release, .. } => Concern::Proving(release.as_ref()),
        Reason::Incomplete { .. }
        | Reason::Outpaced { .. }
        | Reason::PruneLimit { .. }
        | Reason::Confirm { .. }
        | Reason::Contested { .. }
        | Reason::Drifted { .. }
        | Reason::NothingReleased
        | Reason::UpToDate { .. } => Concern::None,
    }
}

/// Whether what a unit waits for stops any release that stands there so.
fn stops(unit: &UnitPlan, word: Word) -> bool {
    let Decision::Waiting(waiting) = &unit.decision else {
        return false;
    };
    match concern(&waiting.reason) {
        Concern::All => true,
        Concern::Coming(_) => word == Word::Nowhere,
        Concern::RollingOut => word == Word::RollingOut,
        Concern::Proving(_) | Concern::These(_) | Concern::None => false,
    }
}

#[cfg(test)]
mod tests;
