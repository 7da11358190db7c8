//! What a person is asked, and what their yes is recorded as.
//!
//! A yes is about what was seen when it was said: deletions of one deployment, live objects that one
//! desired state names.

use super::super::foreign::{self, Whose};
use super::super::{Infra, Ready, Step, Unit, Walk, difference};
use super::Person;
use crate::model::ObjectRef;
use crate::model::record::Statement;

/// Live objects that the unit's desired state names, and what adopting them means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adoption {
    /// Objects that are there and not ours.
    pub foreign: Vec<ForeignObject>,
    /// Objects that are not there: they are made.
    pub missing: Vec<ObjectRef>,
    /// Objects that are ours and were applied from another manifest: they are changed.
    pub changed: Vec<ObjectRef>,
}

/// A live object that is not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignObject {
    /// Which.
    pub reference: ObjectRef,
    /// Whose it is, for people.
    pub whose: String,
    /// Who manages its fields, as the server tells.
    pub managers: Vec<String>,
    /// What lets it be taken over.
    pub allowed: Allowed,
}

/// What lets a live object that is not ours be taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// It is allowed already.
    Already,
    /// A person's yes.
    ByPerson,
    /// The environment, which must name this engine.
    ByEngine(String),
    /// Nothing: another unit asks for it, too.
    Never,
}

impl Person<'_> {
    /// What would be taken over, made and changed.
    ///
    /// # Errors
    /// Why that cannot be told now, in one sentence.
    pub fn adoption(&self) -> Result<Adoption, String> {
        self.with(|unit| Walk::Continue(adoption_of(&unit.ready()?)))
    }

    /// The record of a person's yes to taking over what is not ours.
    ///
    /// # Errors
    /// Why there is nothing to say yes to, in one sentence.
    pub fn approve_adoption(&self) -> Result<Step, String> {
        let environment = self.environment;
        self.with(|unit| {
            let ready = unit.ready()?;
            let adoption = adoption_of(&ready);
            Walk::Continue(adoption.and_then(|adoption| {
                let mut asked = adoption.foreign.iter().map(|object| &object.allowed);
                if !asked.any(|allowed| *allowed == Allowed::ByPerson) {
                    return Err(format!(
                        "nothing of {} in {environment} waits for this yes",
                        self.pipeline.application.name
                    ));
                }
                let state = ready.desired.rendered.state;
                Ok(self.say(ready.infra, Statement::ApprovedAdoption { state }))
            }))
        })
    }

    /// The record of a person's yes to what a deployment deletes.
    ///
    /// # Errors
    /// Why there is nothing to say yes to, in one sentence.
    pub fn approve_prune(&self, number: u64) -> Result<Step, String> {
        self.with(|unit| {
            let (infra, deletions) = deletions_of(unit, number)?;
            let say = |_| self.say(infra, Statement::ApprovedPrune { number });
            Walk::Continue(deletions.map(say))
        })
    }

    /// What a deployment no longer asks for and waits to delete.
    ///
    /// # Errors
    /// Why there is nothing that waits, in one sentence.
    pub fn deletions(&self, number: u64) -> Result<Vec<ObjectRef>, String> {
        self.with(|unit| Walk::Continue(deletions_of(unit, number)?.1))
    }
}

fn adoption_of(ready: &Ready<'_>) -> Result<Adoption, String> {
    let live = ready.unit.live()?;
    let mut adoption = Adoption {
        foreign: Vec::new(),
        missing: Vec::new(),
        changed: Vec::new(),
    };
    for object in &ready.desired.rendered.objects {
        let reference = object.reference.clone();
        let Some(found) = live.objects.get(&reference) else {
            adoption.missing.push(reference);
            continue;
        };
        let Some(whose) = foreign::whose(ready.unit, found) else {
            let applied = found.mark.as_ref().map(|mark| mark.hash);
            if object.run.is_none() && applied != Some(object.hash()) {
                adoption.changed.push(reference);
            }
            continue;
        };
        let allowed = match &whose {
            _ if foreign::is_allowed(ready, &whose) => Allowed::Already,
            Whose::Engine(engine) => Allowed::ByEngine(engine.clone()),
            Whose::AlsoAskedFor(_) => Allowed::Never,
            Whose::HandedOver(_) | Whose::OtherEnvironment(_) | Whose::Nobody => Allowed::ByPerson,
        };
        adoption.foreign.push(ForeignObject {
            reference,
            whose: whose.to_string(),
            managers: found.managers.clone(),
            allowed,
        });
    }
    Ok(adoption)
}

fn deletions_of<'a>(
    unit: &'a Unit<'a>,
    number: u64,
) -> Walk<(&'a Infra, Result<Vec<ObjectRef>, String>)> {
    let (infra, records, desired) = match unit.pipeline.removed {
        true => {
            let (infra, records) = unit.read()?;
            (infra, records, &[][..])
        }
        false => {
            let ready = unit.ready()?;
            (
                ready.infra,
                ready.records,
                &ready.desired.rendered.objects[..],
            )
        }
    };
    let newest = records.deployment.as_ref().map(|newest| newest.number);
    let deletions = match newest {
        None => Err("nothing was deployed yet".to_owned()),
        Some(newest) if newest != number => Err(format!(
            "the newest deployment is {newest}, not {number}: look at what it deletes with `towpath explain`"
        )),
        Some(_) => unit.live().and_then(|live| {
            let deletions = difference::deletions(unit, records, number, desired, live);
            deletions
                .waiting
                .map(|_| deletions.asked)
                .ok_or_else(|| format!("nothing that deployment {number} deletes waits for a yes"))
        }),
    };
    Walk::Continue((infra, deletions))
}
