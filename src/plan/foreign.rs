//! Live objects that are not ours: whether they may be taken over.

use super::{Live, LiveObject, Ready, Reason, Unit, Walk, wait};
use crate::model::ObjectRef;

/// Waits where one of these would be taken over and may not be.
pub(super) fn allowed<'a>(
    ready: &Ready<'_>,
    live: &Live,
    objects: impl IntoIterator<Item = &'a ObjectRef>,
) -> Walk {
    let asked = objects.into_iter().filter_map(|reference| {
        let found = live.objects.get(reference)?;
        let whose = whose(ready.unit, found)?;
        (!is_allowed(ready, &whose)).then(|| format!("{reference} ({whose})"))
    });
    let objects: Vec<String> = asked.collect();
    match objects.is_empty() {
        true => Walk::Continue(()),
        false => wait(Reason::Adopting { objects }),
    }
}

/// Whose a live object is that is not the unit's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whose {
    /// Another unit has it and asks for it, too.
    AlsoAskedFor(String),
    /// Another application of the environment had it and no longer asks for it: it is handed over.
    HandedOver(String),
    /// It carries the mark of another environment, which may be another Towpath's.
    OtherEnvironment(String),
    /// An engine's.
    Engine(String),
    /// Nobody marked it.
    Nobody,
}

/// As messages say it, in brackets behind the object.
impl std::fmt::Display for Whose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AlsoAskedFor(unit) => {
                write!(f, "{unit} asks for it, too: take it out of one of the two")
            }
            Self::HandedOver(unit) => write!(f, "handed over by {unit}"),
            Self::OtherEnvironment(unit) => write!(f, "marked by {unit}"),
            Self::Engine(engine) => f.write_str(engine),
            Self::Nobody => f.write_str("nobody's mark"),
        }
    }
}

/// `None`: it is the unit's own.
pub(super) fn whose(unit: &Unit<'_>, found: &LiveObject) -> Option<Whose> {
    let environment = &unit.environment.name;
    if found.is_of(&unit.pipeline.application.name, environment) {
        return None;
    }
    let marked = found.mark.as_ref();
    let unit = marked.map(|mark| format!("{} in {}", mark.application, mark.environment));
    Some(match (unit, &found.claimed, &found.engine) {
        (Some(_), Some(claimed), _) => Whose::AlsoAskedFor(claimed.clone()),
        (_, _, Some(engine)) => Whose::Engine(engine.clone()),
        (Some(unit), None, None) => match marked.is_some_and(|it| it.environment == *environment) {
            true => Whose::HandedOver(unit),
            false => Whose::OtherEnvironment(unit),
        },
        (None, _, None) => Whose::Nobody,
    })
}

/// Whether the environment, or a person for this desired state, said yes to taking it over. Engines
/// are only ever allowed by name: their next round would take it back.
pub(super) fn is_allowed(ready: &Ready<'_>, whose: &Whose) -> bool {
    let adopt = &ready.unit.environment.adopt;
    match whose {
        Whose::AlsoAskedFor(_) => false,
        Whose::HandedOver(_) => true,
        Whose::Engine(engine) => adopt.engines.contains(engine),
        Whose::OtherEnvironment(_) | Whose::Nobody => {
            adopt.auto || ready.records.approved_adoption == Some(ready.desired.rendered.state)
        }
    }
}
