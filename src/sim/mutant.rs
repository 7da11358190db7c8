//! Planners with one mistake each, put where the one and only planner is: what shows that the checks find it. The
//! check of finished plans is off with them, so that the checks of the simulation are alone.

mod said;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::record::{Run, UnitRecords, Verdict};
use crate::model::{Digest, Follow, Gate, Health, OnFailure, Pipeline, Rank, Rollback};
use crate::plan::check::Finding;
use crate::plan::{
    Decision, Infra, Live, LiveObject, Observed, Plan, Prune, Step, UnitView, World, plan,
};
use crate::reconcile::Planner;
use said::{
    adopts_again, applies_late, asks_for_no_evidence, deletes_past_the_limit, ends_the_round,
    finds_all_up_to_date, holds_for_ever, ignores_freezes, leaves_the_idle_out, paces,
    records_manifests, shows_manifests, waits_for_all,
};

/// A planner with a mistake.
#[derive(Debug, Clone, Copy)]
pub struct Mutant {
    /// What it does wrong.
    pub name: &'static str,
    /// The invariant that this breaks; `None`: nothing that anybody could see.
    pub breaks: Option<&'static str>,
    /// Decides.
    pub planner: Planner,
    /// What its effects leave out of what they were planned on.
    pub careless: Careless,
}

/// What effects leave out of what they were planned on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Careless {
    /// Nothing.
    #[default]
    No,
    /// Refs: pushes name whatever is there.
    Refs,
    /// Versions: applies name whatever is there.
    Versions,
    /// What was said since of what is deleted: that it is to be kept.
    Keeps,
}

fn mutant(
    name: &'static str,
    breaks: &'static str,
    plan: fn(&Pipeline, &World, Timestamp) -> Plan,
) -> Mutant {
    Mutant {
        name,
        breaks: (!breaks.is_empty()).then_some(breaks),
        planner: Planner {
            plan,
            check: unchecked,
        },
        careless: Careless::No,
    }
}

fn unchecked(_: &Pipeline, _: &World, _: &Plan, _: Timestamp) -> Vec<Finding> {
    Vec::new()
}

/// All of them.
pub fn mutants() -> Vec<Mutant> {
    vec![
        mutant("promotes what was healthy for a moment", "I1", soaks_never),
        mutant("promotes what was said against", "I1", forgives),
        mutant("promotes what failed", "I1", promotes_failures),
        mutant("judges before all is ready", "I1", judges_early),
        mutant("follows one of several", "I1", follows_one),
        mutant("writes past the gate", "I2", passes_gates),
        mutant("goes back past the gate", "I2", goes_back_directly),
        mutant("takes every release for newer", "I3", finds_all_newer),
        mutant("goes back after failures, unasked", "I3", rolls_back),
        mutant("forgets what failed", "I4", forgets_failures),
        mutant(
            "takes each failure for another state's",
            "I4",
            mistakes_failures,
        ),
        mutant("overwrites pins", "I5", ignores_pins),
        mutant("goes on under a hold", "I5", ignores_holds),
        mutant(
            "goes on under an environment's hold",
            "I5",
            ignores_holds_of_environments,
        ),
        mutant("proposes what was declined", "I5", forgets_declines),
        mutant("takes no notice of freezes", "I5", ignores_freezes),
        mutant("asks for no evidence", "I1", asks_for_no_evidence),
        mutant("deletes past the limit", "I8", deletes_past_the_limit),
        mutant("applies again and again", "I7", applies_again),
        mutant("reads too old records", "I9", forgets_records),
        mutant("judges again", "I9", forgets_verdicts),
        Mutant {
            careless: Careless::Keeps,
            ..mutant("deletes what is to be kept", "I8", deletes_what_is_kept)
        },
        mutant("deletes what is asked for", "I8", deletes_what_is_asked_for),
        Mutant {
            careless: Careless::Refs,
            ..mutant("pushes whatever is there", "I6", plan)
        },
        Mutant {
            careless: Careless::Versions,
            ..mutant("applies over whatever is there", "I6", plan)
        },
        mutant("adopts again and again", "I7", adopts_again),
        mutant("waits until all can be read", "I10", waits_for_all),
        mutant(
            "ends the round at what cannot be read",
            "I10",
            ends_the_round,
        ),
        mutant("finds all up to date", "I11", finds_all_up_to_date),
        mutant("says nothing of who is idle", "I11", leaves_the_idle_out),
        mutant("goes on saying what is over", "I11", holds_for_ever),
        mutant("shows manifests", "I12", shows_manifests),
        mutant("records manifests", "I12", records_manifests),
        mutant("waits for each verdict", "I13", paces),
        mutant("applies once the rollout is over", "I13", applies_late),
        mutant("leaves notes out", "", leaves_notes_out),
    ]
}

/// The plan for a world with other records.
fn with_records(
    pipeline: &Pipeline,
    world: &World,
    now: Timestamp,
    change: impl Fn(&mut UnitRecords),
) -> Plan {
    let infra = |infra: &mut Infra| {
        if let Ok(records) = &mut infra.records {
            change(Arc::make_mut(records));
        }
    };
    with_infra(pipeline, world, now, infra)
}

fn with_infra(
    pipeline: &Pipeline,
    world: &World,
    now: Timestamp,
    change: impl Fn(&mut Infra),
) -> Plan {
    let view = |view: &mut UnitView| {
        if let Observed::Seen { value, .. } = &mut view.infra {
            change(Arc::make_mut(value));
        }
    };
    with_views(pipeline, world, now, view)
}

fn with_live(
    pipeline: &Pipeline,
    world: &World,
    now: Timestamp,
    change: impl Fn(&mut LiveObject),
) -> Plan {
    with_views(pipeline, world, now, |view| {
        if let Some(Observed::Seen { value, .. }) = &mut view.live {
            let live: &mut Live = Arc::make_mut(value);
            live.objects.values_mut().for_each(&change);
        }
    })
}

fn with_views(
    pipeline: &Pipeline,
    world: &World,
    now: Timestamp,
    change: impl Fn(&mut UnitView),
) -> Plan {
    let mut world = world.clone();
    world.units.values_mut().for_each(change);
    plan(pipeline, &world, now)
}

fn with_pipeline(
    pipeline: &Pipeline,
    world: &World,
    now: Timestamp,
    change: impl Fn(&mut crate::model::Environment),
) -> Plan {
    let mut pipeline = pipeline.clone();
    pipeline.environments.iter_mut().for_each(change);
    plan(&pipeline, world, now)
}

fn soaks_never(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    with_pipeline(pipeline, world, now, |environment| {
        if let Follow::Environments { soak, .. } = &mut environment.follow {
            *soak = Duration::ZERO;
        }
    })
}

fn forgives(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    with_records(pipeline, world, now, |records| {
        for run in &mut records.runs {
            run.spoiled = None;
        }
    })
}

fn promotes_failures(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    with_records(pipeline, world, now, |records| {
        let failed = records.failures.iter().map(|failure| Run {
            number: failure.number,
            commit: records.deployment.as_ref().map_or_else(
                || crate::model::CommitId(gix::ObjectId::null(gix::hash::Kind::Sha1)),
                |it| it.commit,
            ),
            release: failure.release.clone(),
            state: failure.state,
            healthy_at: failure.at,
            exercised: true,
            ended: None,
            spoiled: None,
        });
        let failed: Vec<Run> = failed.collect();
        records.runs.extend(failed);
        for failure in &mut records.failures {
            failure.at = Timestamp::UNIX_EPOCH;
        }
    })
}

fn judges_early(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    with_live(pipeline, world, now, |object| {
        object.health = Health::Current;
    })
}

fn follows_one(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    with_pipeline(pipeline, world, now, |environment| {
        if let Follow::Environments { all, .. } = &mut environment.follow {
            all.truncate(1);
        }
    })
}

fn passes_gates(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    with_pipeline(pipeline, world, now, |it| it.gate = Gate::None)
}

fn goes_back_directly(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    with_pipeline(pipeline, world, now, |it| it.rollback = Rollback::Direct)
}

fn finds_all_newer(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    with_records(pipeline, world, now, |records| {
        let Some(deployment) = &mut records.deployment else {
            return;
        };
        if let Some(release) = &deployment.release {
            let mut contents = (**release).clone();
            contents.rank = Rank {
                version: None,
                built: Timestamp::UNIX_EPOCH,
            };
            deployment.release = Some(contents.into());
        }
    })
}

fn rolls_back(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    with_pipeline(pipeline, world, now, |it| {
        it.on_failure = OnFailure::Rollback;
    })
}

fn forgets_failures(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    with_records(pipeline, world, now, |records| records.failures.clear())
}

fn mistakes_failures(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    with_records(pipeline, world, now, |records| {
        for failure in &mut records.failures {
            failure.state = Digest::of(b"another");
        }
    })
}

fn ignores_pins(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    with_records(pipeline, world, now, |records| records.pin = None)
}

fn ignores_holds(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    with_records(pipeline, world, now, |records| records.hold = None)
}

fn ignores_holds_of_environments(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    with_infra(pipeline, world, now, |infra| {
        Arc::make_mut(&mut infra.standing).hold = None;
    })
}

fn forgets_declines(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    with_records(pipeline, world, now, |records| records.declined.clear())
}

fn applies_again(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    with_live(pipeline, world, now, |object| {
        if let Some(mark) = &mut object.mark {
            mark.hash = Digest::of(b"another");
        }
    })
}

fn forgets_records(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    with_records(pipeline, world, now, |records| {
        let judged = records.deployment.as_ref().is_some_and(|it| {
            let verdict = it.verdict.as_ref().map(|it| &it.verdict);
            matches!(verdict, Some(Verdict::Healthy { .. }))
        });
        if judged {
            *records = UnitRecords::default();
        }
    })
}

fn forgets_verdicts(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    with_records(pipeline, world, now, |records| {
        if let Some(deployment) = &mut records.deployment {
            deployment.verdict = None;
        }
    })
}

fn deletes_what_is_kept(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    with_live(pipeline, world, now, |object| object.kept = None)
}

fn deletes_what_is_asked_for(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    let mut planned = plan(pipeline, world, now);
    for unit in &mut planned.units {
        let live = world.units.get(&unit.environment);
        let live = live.and_then(|view| view.live.as_ref()?.read().ok());
        let (Decision::Step(step), Some(live)) = (&mut unit.decision, live) else {
            continue;
        };
        if let Step::Apply(apply) = &mut **step {
            let ours = live
                .objects
                .iter()
                .filter(|(_, found)| found.mark.is_some());
            apply.prune = ours
                .map(|(reference, found)| Prune {
                    reference: reference.clone(),
                    uid: found.uid.clone(),
                })
                .collect();
        }
    }
    planned
}

fn leaves_notes_out(pipeline: &Pipeline, world: &World, now: Timestamp) -> Plan {
    let mut planned = plan(pipeline, world, now);
    for unit in &mut planned.units {
        unit.notes.clear();
    }
    planned
}
