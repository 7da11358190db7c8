//! What the cluster must still do, and how it went: apply, verdict, health lost while soaking.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::settle::{record, wait_on};
use super::waiting::after;
use super::{
    Apply, Change, Live, LiveObject, Observed, Prune, Ready, Reason, Step, Waiting, Walk, step,
    unreadable_source, wait,
};
use crate::manifest::Object;
use crate::model::record::{Deployment, Run, Statement, Verdict};
use crate::model::{Drift, Health, ObjectRef, Part};

/// How soon a source that must be read again is read.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Everything the head asks for that the cluster does not run yet.
pub(super) fn apply(ready: &Ready<'_>) -> Walk {
    let Some(deployment) = &ready.records.deployment else {
        return Walk::Continue(());
    };
    let live = read_live(ready)?;
    let (change, prune) = difference(ready, live);
    if change.is_empty() && prune.is_empty() {
        return Walk::Continue(());
    }
    let was_applied = deployment.verdict.is_some();
    if was_applied && ready.unit.environment.drift == Drift::Report {
        let objects = change
            .iter()
            .map(|change| change.reference.to_string())
            .collect();
        return wait(Reason::Drifted { objects });
    }
    not_behind(ready, live, &change)?;
    within_prune_limit(ready, live, &prune)?;
    step(Step::Apply(Apply {
        number: deployment.number,
        commit: deployment.commit,
        release: deployment.release.clone(),
        rendered: ready.desired.rendered.clone(),
        change,
        prune,
    }))
}

/// What differs, by each object's own hash; and what is ours and no longer asked for.
fn difference(ready: &Ready<'_>, live: &Live) -> (Vec<Change>, Vec<Prune>) {
    let desired = &ready.desired.rendered.objects;
    let changed = |object: &&Arc<Object>| {
        let mark = live
            .objects
            .get(&object.reference)
            .and_then(|found| found.mark.as_ref());
        mark.is_none_or(|mark| mark.hash != object.hash() || !is_ours(ready, mark))
    };
    let change = desired.iter().filter(changed).map(|object| Change {
        reference: object.reference.clone(),
        version: live
            .objects
            .get(&object.reference)
            .map(|found| found.version.clone()),
    });
    let surplus = |(reference, found): &(&ObjectRef, &LiveObject)| {
        found.mark.as_ref().is_some_and(|mark| is_ours(ready, mark))
            && desired
                .binary_search_by(|object| object.reference.cmp(reference))
                .is_err()
    };
    let prune = live
        .objects
        .iter()
        .filter(surplus)
        .map(|(reference, found)| Prune {
            reference: reference.clone(),
            uid: found.uid.clone(),
        });
    (change.collect(), prune.collect())
}

fn is_ours(ready: &Ready<'_>, mark: &super::Mark) -> bool {
    mark.environment == ready.unit.environment.name
        && mark.application == ready.unit.pipeline.application.name
}

/// An object marked by a later commit is never replaced by an earlier one: a mark that is not
/// known to be behind the head asks for a fresh look at the branch first.
fn not_behind(ready: &Ready<'_>, live: &Live, change: &[Change]) -> Walk {
    let (Observed::Seen { at: looked, .. }, Some(Observed::Seen { at: listed, .. })) =
        (&ready.unit.view.infra, &ready.unit.view.live)
    else {
        return Walk::Continue(());
    };
    let unknown = change.iter().find_map(|change| {
        let mark = live.objects.get(&change.reference)?.mark.as_ref()?;
        let known = ready.infra.behind.contains(&mark.commit) || ready.records.knows(mark.commit);
        (!known).then_some(mark)
    });
    match unknown {
        Some(mark) if looked < listed => {
            let reason = Reason::Behind {
                commit: mark.commit,
            };
            wait_on(Waiting::on(reason).until(after(ready.unit.now, LOOK_AGAIN)))
        }
        _ => Walk::Continue(()),
    }
}

fn within_prune_limit(ready: &Ready<'_>, live: &Live, prune: &[Prune]) -> Walk {
    let ours = live
        .objects
        .values()
        .filter(|found| found.mark.is_some())
        .count();
    let limit = ready.unit.environment.prune.limit_of(ours);
    match prune.len() > limit {
        true => wait(Reason::PruneLimit {
            count: prune.len(),
            limit,
        }),
        false => Walk::Continue(()),
    }
}

/// The verdict of the newest deployment, once it can be given; health lost after it.
///
/// Continues with what to wait for while a rollout is on its way.
pub(super) fn judge(ready: &Ready<'_>) -> Walk<Option<Waiting>> {
    let Some(deployment) = &ready.records.deployment else {
        return Walk::Continue(None);
    };
    let live = read_live(ready)?;
    let health = health(ready, live);
    match &deployment.verdict {
        None => first_verdict(ready, deployment, live, &health),
        Some(judged) if judged.verdict == Verdict::Healthy => {
            degraded(ready, deployment, &health)?;
            Walk::Continue(None)
        }
        Some(_) => Walk::Continue(None),
    }
}

fn first_verdict(
    ready: &Ready<'_>,
    deployment: &Deployment,
    live: &Live,
    health: &Health,
) -> Walk<Option<Waiting>> {
    let begun = begun(ready, deployment, live);
    let timeout = ready.unit.environment.health.timeout;
    let deadline = after(begun, timeout);
    let verdict = match health {
        Health::Current | Health::NotExercised(_) => Verdict::Healthy,
        Health::Failed(reason) => Verdict::Failed {
            reason: reason.clone(),
        },
        Health::InProgress(progress) if ready.unit.now >= deadline => Verdict::Failed {
            reason: format!("not healthy within {} s: {progress}", timeout.as_secs()),
        },
        Health::InProgress(progress) => {
            let reason = Reason::Converging {
                release: deployment.release.clone(),
                progress: progress.clone(),
                deadline,
            };
            return Walk::Continue(Some(Waiting::on(reason).since(begun).until(deadline)));
        }
    };
    let statement = Statement::Verdict {
        number: deployment.number,
        release: deployment.release.clone(),
        state: deployment.state,
        verdict,
    };
    record(ready, deployment.commit, false, vec![statement]).map_continue(|()| None)
}

/// The deadline runs from the last apply, and only while the cluster answers.
fn begun(ready: &Ready<'_>, deployment: &Deployment, live: &Live) -> Timestamp {
    let desired = ready.desired.rendered.objects.iter();
    let applied =
        desired.filter_map(|object| Some(live.objects.get(&object.reference)?.applied_at));
    let begun = applied.fold(deployment.at, Timestamp::max);
    live.answering_since.map_or(begun, |since| begun.max(since))
}

/// Health lost while somebody waits for the soak to end takes the proof away.
fn degraded(ready: &Ready<'_>, deployment: &Deployment, health: &Health) -> Walk {
    let Health::Failed(reason) = health else {
        return Walk::Continue(());
    };
    let runs = &ready.records.runs;
    let Some(run) = runs.iter().find(|run| run.number == deployment.number) else {
        return Walk::Continue(());
    };
    if run.spoiled.is_some() || ready.unit.now >= soaked_at(ready, run) {
        return Walk::Continue(());
    }
    let statement = Statement::Degraded {
        number: deployment.number,
        release: deployment.release.clone(),
        reason: reason.clone(),
    };
    record(ready, deployment.commit, false, vec![statement])
}

/// When the longest soak that anybody asks of this environment ends.
fn soaked_at(ready: &Ready<'_>, run: &Run) -> Timestamp {
    let followers = ready.unit.pipeline.followers(&ready.unit.environment.name);
    let longest = followers.map(|(_, soak)| soak).max().unwrap_or_default();
    after(run.healthy_at, longest)
}

fn health(ready: &Ready<'_>, live: &Live) -> Health {
    let missing = Health::InProgress("an object is not there yet".to_owned());
    let desired = ready.desired.rendered.objects.iter();
    let parts = desired.map(|object| Part {
        runs: !object.images.is_empty(),
        health: live
            .objects
            .get(&object.reference)
            .map_or(&missing, |found| &found.health),
    });
    Health::of_all(parts)
}

fn read_live<'a>(ready: &Ready<'a>) -> Walk<&'a Live> {
    match ready.unit.view.live.as_ref().map(Observed::read) {
        Some(Ok(live)) => Walk::Continue(live),
        Some(Err(unreadable)) => unreadable_source(unreadable),
        None => wait(Reason::NotOurs),
    }
}
