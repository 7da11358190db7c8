//! Mistakes in what is said and waited for: who is told what, and who waits for whom.

use std::sync::Arc;

use jiff::Timestamp;

use super::{with_infra, with_pipeline, with_records};
use crate::model::record::{Statement, Verdict};
use crate::model::{Health, Pace, Pipeline};
use crate::plan::{
    Decision, Observed, Plan, Reason, Step, UnitView, Unreadable, Waiting, World, plan,
};

pub(super) fn adopts_again(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    with_records(pipeline, world, now, |records| records.adopted = false)
}

pub(super) fn waits_for_all(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    let mut planned = plan(pipeline, world, now);
    let Some(unreadable) = world.units.values().find_map(unreadable).cloned() else {
        return planned;
    };
    for unit in &mut planned.units {
        let waiting = Waiting::on(Reason::Unreadable(unreadable.clone()));
        unit.decision = Decision::Waiting(waiting);
    }
    planned
}

pub(super) fn ends_the_round(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    let mut planned = plan(pipeline, world, now);
    let mut units = planned.units.iter();
    let first = units.position(|unit| {
        let view = world.units.get(&unit.environment);
        view.and_then(unreadable).is_some()
    });
    if let Some(first) = first {
        planned.units.truncate(first + 1);
    }
    planned
}

/// What of a unit cannot be read.
fn unreadable(view: &UnitView) -> Option<&Unreadable> {
    let infra = view.infra.read().err();
    let request = view.request.read().err();
    let live = view.live.as_ref().and_then(|live| live.read().err());
    infra.or(request).or(live)
}

pub(super) fn finds_all_up_to_date(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    let mut planned = plan(pipeline, world, now);
    for unit in &mut planned.units {
        if let Decision::Waiting(_) = unit.decision {
            let release = unit.release.clone();
            let waiting = Waiting::on(Reason::UpToDate { release });
            unit.decision = Decision::Waiting(waiting);
        }
    }
    planned
}

pub(super) fn leaves_the_idle_out(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    let mut planned = plan(pipeline, world, now);
    planned.units.retain(|unit| match &unit.decision {
        Decision::Step(_) => true,
        Decision::Waiting(waiting) => !matches!(waiting.reason, Reason::UpToDate { .. }),
    });
    planned
}

pub(super) fn holds_for_ever(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    with_infra(pipeline, world, now, |infra| {
        let standing = Arc::make_mut(&mut infra.standing);
        let records = infra.records.as_mut().ok().map(Arc::make_mut);
        let unit = records.and_then(|records| records.hold.as_mut());
        for hold in unit.into_iter().chain(&mut standing.hold) {
            hold.until = None;
        }
    })
}

/// What the unit's manifests say, as one text.
fn manifests(world: &World, environment: &crate::model::EnvironmentName) -> Option<String> {
    let infra = world.units.get(environment)?.infra.read().ok()?;
    let objects = infra.desired.as_ref().ok()?.rendered.objects.iter();
    Some(objects.map(|object| object.value().to_string()).collect())
}

pub(super) fn shows_manifests(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    let mut planned = plan(pipeline, world, now);
    for unit in &mut planned.units {
        unit.notes.extend(manifests(world, &unit.environment));
    }
    planned
}

pub(super) fn records_manifests(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    let mut planned = plan(pipeline, world, now);
    for unit in &mut planned.units {
        let Decision::Step(step) = &mut unit.decision else {
            continue;
        };
        let Step::Record(record) = &mut **step else {
            continue;
        };
        for statement in &mut record.statements {
            if let Statement::Verdict { verdict, .. } = statement
                && let Verdict::Failed { reason, .. } = verdict
            {
                reason.extend(manifests(world, &unit.environment));
            }
        }
    }
    planned
}

pub(super) fn paces(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    with_pipeline(pipeline, world, now, |it| it.pace = Pace::Proven)
}

pub(super) fn applies_late(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    let mut planned = plan(pipeline, world, now);
    for unit in &mut planned.units {
        let live = world.units.get(&unit.environment);
        let live = live.and_then(|view| view.live.as_ref()?.read().ok());
        let mut objects = live.iter().flat_map(|live| live.objects.values());
        let rolls_out = objects.find_map(|found| match &found.health {
            Health::InProgress(progress) => Some(progress.clone()),
            _ => None,
        });
        let applies =
            matches!(&unit.decision, Decision::Step(it) if matches!(**it, Step::Apply(_)));
        if let Some(progress) = rolls_out.filter(|_| applies) {
            let waiting = Waiting::on(Reason::Converging {
                release: unit.release.clone(),
                progress,
                deadline: now,
            });
            unit.decision = Decision::Waiting(waiting);
        }
    }
    planned
}

pub(super) fn ignores_freezes(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    let mut world = world.clone();
    for view in world.units.values_mut() {
        if let Observed::Seen { value, .. } = &mut view.infra {
            Arc::make_mut(&mut Arc::make_mut(value).standing).freeze = None;
        }
    }
    with_pipeline(pipeline, &world, now, |it| it.freeze.clear())
}

pub(super) fn asks_for_no_evidence(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    with_pipeline(pipeline, world, now, |it| it.evidence.clear())
}

pub(super) fn deletes_past_the_limit(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    with_pipeline(pipeline, world, now, |it| {
        it.prune.limit = Some(usize::MAX);
        it.prune.confirm.clear();
    })
}
