//! A unit that the configuration no longer has: what it runs is left running and told, or deleted
//! where the environment says so, with the same questions as any other deletion.

use std::sync::Arc;

use super::difference::deletions;
use super::{
    Apply, Live, LiveObject, Observed, Reason, Step, Unit, Waiting, Walk, brake, step, wait,
};
use crate::manifest::Rendered;
use crate::model::ObjectRef;

/// The one decision.
pub(super) fn decide(unit: &Unit<'_>) -> Walk<Waiting> {
    let live = match unit.view.live.as_ref().map(Observed::read) {
        Some(Ok(live)) => live,
        Some(Err(unreadable)) => return super::unreadable_source(unreadable),
        None => return wait(Reason::NotOurs),
    };
    let (infra, records) = unit.read()?;
    brake::record(unit, infra)?;
    unit.held(infra, records)?;
    let left = || {
        let objects = ours(unit, live).map(|(reference, _)| reference.to_string());
        Waiting::on(Reason::Removed {
            objects: objects.collect(),
        })
    };
    if !unit.environment.prune.removed {
        return Walk::Continue(left());
    }
    let newest = records.deployment.as_ref();
    let number = newest.map_or(0, |newest| newest.number);
    let deletions = deletions(unit, records, number, &[], live);
    if deletions.free.is_empty() {
        return Walk::Continue(deletions.waiting.unwrap_or_else(left));
    }
    step(Step::Apply(Apply {
        number,
        asked_at: newest.map_or(unit.now, |newest| newest.at),
        commit: newest.map_or(infra.head, |newest| newest.commit),
        release: None,
        rendered: Arc::new(Rendered::nothing()),
        change: Vec::new(),
        later: Vec::new(),
        prune: deletions.free,
    }))
}

/// Whether nothing is left of it: what another unit asks for is that unit's from now on.
pub(super) fn is_gone(unit: &Unit<'_>) -> bool {
    let live = unit.view.live.as_ref().map(Observed::read);
    matches!(live, Some(Ok(live)) if ours(unit, live).next().is_none())
}

fn ours<'a>(
    unit: &'a Unit<'_>,
    live: &'a Live,
) -> impl Iterator<Item = (&'a ObjectRef, &'a LiveObject)> {
    let (application, environment) = (&unit.pipeline.application.name, &unit.environment.name);
    let objects = live.objects.iter();
    objects.filter(|(_, found)| found.is_of(application, environment) && found.claimed.is_none())
}
