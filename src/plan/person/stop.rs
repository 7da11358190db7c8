//! Holds and freezes: a person stops everything in a unit or an environment, or what comes to an environment by
//! itself, and lets it go on.

use jiff::Timestamp;

use super::Person;
use crate::model::record::{BRAKE, HOLD_LABEL, Hold, LABEL, Statement};
use crate::plan::{Scope, Step, Unit, Walk, frozen};

/// What is said with a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// Why, for those who find it.
    pub reason: String,
    /// When it ends by itself; `None`: a person ends it.
    pub until: Option<Timestamp>,
}

impl Stop {
    fn is_to_come(&self, now: Timestamp, what: &str) -> Result<(), String> {
        match self.until.filter(|until| *until <= now) {
            Some(until) => Err(format!("{until} is past: nothing would be {what}")),
            None => Ok(()),
        }
    }
}

impl Person<'_> {
    /// The record of a hold. One that stands already is replaced: what was said last counts.
    ///
    /// # Errors
    /// Why it cannot be recorded now, in one sentence.
    pub fn hold(&self, scope: Scope, stop: &Stop) -> Result<Step, String> {
        stop.is_to_come(self.now, "held")?;
        self.with(|unit| {
            let (infra, _) = unit.read()?;
            let held = Statement::Held {
                reason: stop.reason.clone(),
                until: stop.until,
            };
            Walk::Continue(Ok(self.state(infra, scope, vec![held])))
        })
    }

    /// The record of a hold's end.
    ///
    /// # Errors
    /// Why there is nothing to end here, or where it is ended, in one sentence.
    pub fn resume(&self, scope: Scope, reason: &str) -> Result<Step, String> {
        let environment = self.environment;
        self.with(|unit| {
            let (infra, records) = unit.read()?;
            let (here, everywhere) = (records.hold.as_ref(), infra.standing.hold.as_ref());
            let holds = |hold: &&Hold| hold.holds(self.now);
            let hold = match scope {
                Scope::Unit => here.filter(holds),
                Scope::Environment => everywhere.filter(holds),
            };
            Walk::Continue(match hold {
                Some(hold) => liftable(hold).map(|()| {
                    let reason = reason.to_owned();
                    self.state(infra, scope, vec![Statement::Resumed { reason }])
                }),
                None if everywhere.is_some_and(|hold| hold.holds(self.now)) => Err(format!(
                    "the whole of {environment} is held: `towpath resume --environment {environment}`"
                )),
                None => match unit.environment.hold.as_ref().filter(|it| it.holds(self.now)) {
                    Some(stated) => Err(format!("it is held in {}: take `hold` out there", stated.place)),
                    None => Err(not_held(unit, scope)),
                },
            })
        })
    }
}

impl Person<'_> {
    /// The record of a freeze of the whole environment. One that stands already is replaced.
    ///
    /// # Errors
    /// Why it cannot be recorded now, in one sentence.
    pub fn freeze(&self, stop: &Stop) -> Result<Step, String> {
        stop.is_to_come(self.now, "frozen")?;
        self.with(|unit| {
            let (infra, _) = unit.read()?;
            let frozen = Statement::Frozen {
                reason: stop.reason.clone(),
                until: stop.until,
            };
            Walk::Continue(Ok(self.state(infra, Scope::Environment, vec![frozen])))
        })
    }

    /// The record of a freeze's end.
    ///
    /// # Errors
    /// That nobody froze it, or where that stands, in one sentence.
    pub fn thaw(&self, reason: &str) -> Result<Step, String> {
        self.with(|unit| {
            let (infra, _) = unit.read()?;
            let said = infra.standing.freeze.as_ref();
            let frozen = frozen(unit.environment, &infra.standing, self.now);
            Walk::Continue(match (said.filter(|it| it.holds(self.now)), frozen) {
                (Some(_), _) => {
                    let reason = reason.to_owned();
                    let thawed = vec![Statement::Thawed { reason }];
                    Ok(self.state(infra, Scope::Environment, thawed))
                }
                (None, Some(frozen)) => Err(format!(
                    "{} is frozen by its file: {} says when it opens, and `towpath promote --during-freeze` goes over it",
                    self.environment, frozen.by
                )),
                (None, None) => Err(format!("nobody froze {}", self.environment)),
            })
        })
    }
}

/// A hold that was said elsewhere would be stated again as long as it stands there.
fn liftable(hold: &Hold) -> Result<(), String> {
    match hold.by.as_str() {
        BRAKE => Err(
            "it is held on the cluster: take the annotation `towpath.dev/hold` off the environment's ApplySet parent with kubectl"
                .to_owned(),
        ),
        LABEL => Err(format!(
            "it is held by a label: take `{HOLD_LABEL}` off the request"
        )),
        _ => Ok(()),
    }
}

fn not_held(unit: &Unit<'_>, scope: Scope) -> String {
    let environment = &unit.environment.name;
    match scope {
        Scope::Unit => format!(
            "nothing holds {} in {environment}",
            unit.pipeline.application.name
        ),
        Scope::Environment => format!("nothing holds {environment} as a whole"),
    }
}
