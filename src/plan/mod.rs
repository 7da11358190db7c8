//! Decides, purely: what was observed goes in, one decision per unit comes out.
//!
//! No I/O, no clock, no async, no randomness. The walk of one unit reads top to bottom in
//! [`decide`]: what is unreadable or held, what has happened and is not recorded, which release
//! comes next, what the cluster must still do, how it went.

mod ahead;
mod brake;
pub mod check;
mod difference;
pub mod edit;
mod evidence;
mod fate;
mod foreign;
mod freeze;
mod gate;
mod head;
mod hooks;
mod journey;
mod next;
mod notes;
mod pace;
mod person;
mod promotion;
mod proof;
mod release;
mod removed;
mod rollout;
mod sentence;
mod settle;
mod smoke;
mod stand;
mod step;
mod upstream;
mod waiting;
mod world;

use std::fmt;
use std::ops::ControlFlow;

use jiff::Timestamp;

pub use ahead::ahead;
pub use evidence::{Proved, asked, awaited, evidence, is_known};
pub use fate::{Fate, fate};
pub use freeze::{Frozen, frozen};
pub use journey::{Journey, Stopped, journey};
pub use pace::full_until;
pub use person::{Adoption, Allowed, ForeignObject, Note, Person, Promote, Stop};
pub use proof::{Proof, proof, proof_of};
pub use stand::{Last, Stand, Word, stand};
pub use step::{
    Apply, Change, Close, Disarm, Merge, Open, PlannedOn, Propose, Prune, Scope, Smoke, Statements,
    Step, Withdraw, Write,
};
pub use upstream::Unproven;
pub use waiting::{Reason, Waiting};
pub use world::{
    ChangedBy, Desired, Drifted, Infra, Learned, Live, LiveObject, Mark, Observed, Proposal,
    Refusal, Request, RequestState, Smoked, Taking, UnitView, Unreadable, World,
};

use crate::clock;
use crate::model::record::{Deployment, Hold, UnitRecords};
use crate::model::{ApplicationName, Environment, EnvironmentName, Pipeline, Release};
use head::Head;

/// What the next round does for one application.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The application.
    pub application: ApplicationName,
    /// Its units in pipeline order.
    pub units: Vec<UnitPlan>,
}

impl Plan {
    /// What it does for the unit in this environment.
    pub fn unit(&self, environment: &EnvironmentName) -> Option<&UnitPlan> {
        let mut units = self.units.iter();
        units.find(|unit| unit.environment == *environment)
    }
}

/// What the next round does for one unit.
#[derive(Debug, Clone)]
pub struct UnitPlan {
    /// The environment.
    pub environment: EnvironmentName,
    /// What its branch asks for, where that is known.
    pub release: Option<Release>,
    /// The newest deployment's number.
    pub number: Option<u64>,
    /// The one decision.
    pub decision: Decision,
    /// The freeze that its environment is in.
    pub frozen: Option<Frozen>,
    /// What else there is to say: it blocks nothing.
    pub notes: Vec<String>,
}

/// A unit gets exactly one.
#[derive(Debug, Clone)]
pub enum Decision {
    /// Do this.
    Step(Box<Step>),
    /// Do nothing, and why.
    Waiting(Waiting),
}

impl fmt::Display for Decision {
    /// The step, or the reason, as a sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(step) => step.fmt(f),
            Self::Waiting(waiting) => waiting.reason.fmt(f),
        }
    }
}

/// A walk that goes on, or has come to its decision.
type Walk<T = ()> = ControlFlow<Decision, T>;

/// One unit with everything it is decided on.
struct Unit<'a> {
    pipeline: &'a Pipeline,
    environment: &'a Environment,
    world: &'a World,
    view: &'a UnitView,
    now: Timestamp,
}

/// A unit whose repository, records and manifests could be read.
struct Ready<'a> {
    unit: &'a Unit<'a>,
    infra: &'a Infra,
    records: &'a UnitRecords,
    /// A recorded deployment that never reached the branch: `records` is without it.
    unlanded: Option<&'a Deployment>,
    desired: &'a Desired,
    head: Head,
}

/// What the next round does for this pipeline, given what was observed.
pub fn plan(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    let units = pipeline.environments.iter().filter_map(|environment| {
        let unit = Unit::of(pipeline, world, &environment.name, now)?;
        let gone = pipeline.removed && removed::is_gone(&unit);
        (!gone).then(|| plan_unit(&unit))
    });
    Plan {
        application: pipeline.application.name.clone(),
        units: units.collect(),
    }
}

fn plan_unit(unit: &Unit<'_>) -> UnitPlan {
    let records = unit
        .view
        .infra
        .read()
        .ok()
        .and_then(|infra| infra.records.as_deref().ok());
    let decided = match unit.pipeline.removed {
        true => removed::decide(unit),
        false => decide(unit),
    };
    let decision = match decided {
        ControlFlow::Break(decision) => decision,
        ControlFlow::Continue(waiting) => Decision::Waiting(waiting),
    };
    let infra = unit.view.infra.read().ok();
    let frozen =
        infra.and_then(|infra| freeze::frozen(unit.environment, &infra.standing, unit.now));
    let notes = notes::notes(unit, records, frozen.as_ref(), &decision);
    UnitPlan {
        environment: unit.environment.name.clone(),
        release: records.and_then(UnitRecords::running).cloned(),
        number: records
            .and_then(|records| records.deployment.as_ref())
            .map(|it| it.number),
        decision,
        frozen,
        notes,
    }
}

/// The walk of one unit: the first part that has something to do, or must wait, decides.
fn decide(unit: &Unit<'_>) -> Walk<Waiting> {
    let ready = unit.ready()?;
    settle::adopt(&ready)?;
    settle::taken(&ready)?;
    settle::head(&ready)?;
    settle::proposal(&ready)?;
    settle::served(&ready)?;
    let next = next::release(&ready)?;
    let rollout = rollout::roll_out(&ready)?;
    Walk::Continue(match rollout {
        Some(rollout) => next.or(rollout),
        None => next,
    })
}

impl<'a> Unit<'a> {
    /// The application in this environment; `None` where it does not go there, or nobody looked.
    fn of(
        pipeline: &'a Pipeline,
        world: &'a World,
        environment: &EnvironmentName,
        now: Timestamp,
    ) -> Option<Self> {
        let environment = pipeline.environment(environment)?;
        Some(Self {
            pipeline,
            environment,
            world,
            view: world.units.get(&environment.name)?,
            now,
        })
    }

    /// What must be readable before anything is decided.
    fn ready(&'a self) -> Walk<Ready<'a>> {
        if self.view.live.is_none() {
            return wait(Reason::NotOurs);
        }
        let (infra, records) = self.read()?;
        brake::record(self, infra)?;
        gate::label(self, infra, records)?;
        self.held(infra, records)?;
        if infra.went_back {
            let believed = clock::after(infra.head_since, WENT_BACK_BELIEVED_AFTER);
            if self.now < believed {
                let waiting = Waiting::on(Reason::WentBack).since(infra.head_since);
                return ControlFlow::Break(Decision::Waiting(waiting.until(believed)));
            }
        }
        let desired = match &infra.desired {
            Ok(desired) => desired,
            Err(why) => return wait(Reason::BrokenManifests(why.clone())),
        };
        let (records, unlanded) = match &infra.unlanded {
            Some(without) if !self.is_applied(records) => (&**without, records.deployment.as_ref()),
            _ => (records, None),
        };
        let head = Head::identify(self, records, &desired.rendered);
        Walk::Continue(Ready {
            unit: self,
            infra,
            records,
            unlanded,
            desired,
            head,
        })
    }

    /// What its cluster runs.
    fn live(&self) -> Result<&'a Live, String> {
        match self.view.live.as_ref().map(Observed::read) {
            Some(Ok(live)) => Ok(live),
            Some(Err(unreadable)) => Err(Reason::Unreadable(unreadable.clone()).to_string()),
            None => Err(Reason::NotOurs.to_string()),
        }
    }

    /// What its repository and its records say.
    fn read(&self) -> Walk<(&'a Infra, &'a UnitRecords)> {
        let infra = match self.view.infra.read() {
            Ok(infra) => infra,
            Err(unreadable) => {
                brake::unrecorded(self)?;
                return unreadable_source(unreadable);
            }
        };
        match &infra.records {
            Ok(records) => Walk::Continue((infra, records)),
            Err(why) => {
                brake::unrecorded(self)?;
                wait(Reason::UnreadableRecords(why.clone()))
            }
        }
    }

    /// Whether the cluster has objects of the newest deployment: then it was on the branch once.
    fn is_applied(&self, records: &UnitRecords) -> bool {
        let newest = records.deployment.as_ref().map(|it| it.commit);
        let live = self.view.live.as_ref().and_then(|live| live.read().ok());
        let marks = live.iter().flat_map(|live| live.objects.values());
        marks
            .filter_map(|found| found.mark.as_ref())
            .any(|mark| Some(mark.commit) == newest)
    }

    /// A person's hold on the unit or its environment stops everything.
    fn held(&self, infra: &Infra, records: &UnitRecords) -> Walk {
        let holds = |hold: &&Hold| hold.holds(self.now);
        let here = records.hold.as_ref().filter(holds);
        let everywhere = infra.standing.hold.as_ref().filter(holds);
        let (hold, scope) = match (here, everywhere) {
            (Some(hold), _) => (hold, Scope::Unit),
            (None, Some(hold)) => (hold, Scope::Environment),
            (None, None) => return self.held_by_file(),
        };
        let reason = Reason::Held {
            reason: hold.reason.clone(),
            by: hold.by.clone(),
            scope,
            place: None,
        };
        let waiting = Waiting::on(reason).since(hold.at);
        ControlFlow::Break(Decision::Waiting(match hold.until {
            Some(until) => waiting.until(until),
            None => waiting,
        }))
    }

    /// A hold that stands in the environment's file, where no record says one.
    fn held_by_file(&self) -> Walk {
        let hold = self.environment.hold.as_ref();
        let Some(hold) = hold.filter(|hold| hold.holds(self.now)) else {
            return Walk::Continue(());
        };
        let waiting = Waiting::on(Reason::Held {
            reason: hold.reason.clone(),
            by: hold.place.clone(),
            scope: Scope::Environment,
            place: Some(hold.place.clone()),
        });
        ControlFlow::Break(Decision::Waiting(match hold.until {
            Some(until) => waiting.until(until),
            None => waiting,
        }))
    }

    fn is_gated(&self) -> bool {
        self.environment.gate != crate::model::Gate::None
    }
}

impl Infra {
    fn planned_on(&self) -> PlannedOn {
        PlannedOn {
            head: self.head,
            records: self.records_head,
            proposal: self.proposal.as_ref().map(|proposal| proposal.head),
        }
    }
}

impl Ready<'_> {
    fn planned_on(&self) -> PlannedOn {
        self.infra.planned_on()
    }
}

/// A replica that lags shows an old head; a branch that was really rewritten still shows it 30 s later.
const WENT_BACK_BELIEVED_AFTER: std::time::Duration = std::time::Duration::from_secs(30);

fn step<T>(step: Step) -> Walk<T> {
    ControlFlow::Break(Decision::Step(Box::new(step)))
}

fn wait<T>(reason: Reason) -> Walk<T> {
    ControlFlow::Break(Decision::Waiting(Waiting::on(reason)))
}

fn unreadable_source<T>(unreadable: &Unreadable) -> Walk<T> {
    ControlFlow::Break(Decision::Waiting(unreadable_waiting(unreadable)))
}

fn unreadable_waiting(unreadable: &Unreadable) -> Waiting {
    Waiting {
        reason: Reason::Unreadable(unreadable.clone()),
        since: Some(unreadable.since),
        next: unreadable.retry,
    }
}
