//! Which release comes next, and whether it may come now.

use super::head::Head;
use super::upstream::Upstream;
use super::{
    Ready, Reason, Waiting, Walk, evidence, freeze, gate, pace, promotion, release,
    unreadable_waiting,
};
use crate::clock::after;
use crate::model::record::{Pin, Promotion, Run};
use crate::model::{EnvironmentName, Follow, Gate, OnFailure, Pace, Release, StopTheLine, Weighed};

/// How many releases in a row may be superseded before somebody is told.
const OUTPACED: usize = 3;

/// The step that brings the next release, or why there is none to bring.
pub(super) fn release(ready: &Ready<'_>) -> Walk<Waiting> {
    if let Some(chosen) = chosen(ready) {
        // What was healthy here is gone back to; a fix that is yet to be proven here comes like any other.
        let ran = ready.records.ran(&chosen.digests());
        if let Some(waiting) = evidence::waiting(ready.unit, chosen).filter(|_| !ran) {
            return Walk::Continue(with_failure(ready, waiting));
        }
        let waiting = release::roll_back(ready, chosen)?;
        return Walk::Continue(with_failure(ready, waiting));
    }
    let asked = promotion::due(ready);
    let named = asked.map(|it| it.promoted.release.clone());
    let candidate = match named.map_or_else(|| candidate(ready), Ok) {
        Ok(candidate) => candidate,
        Err(waiting) => {
            let waiting = match promotion::unseconded(ready) {
                Some(unseconded) => unseconded.or(waiting),
                None => waiting,
            };
            let target = rollback_target(ready);
            let proposed = ready.records.proposal.as_ref();
            let is_target =
                |run: &Run| proposed.is_some_and(|it| it.release.is(&run.release.digests()));
            if !target.is_some_and(is_target) {
                release::withdraw_unproven(ready)?;
            }
            let waiting = match target {
                Some(run) => release::roll_back(ready, &run.release)?,
                None => freeze::before(ready, waiting),
            };
            return Walk::Continue(with_failure(ready, waiting));
        }
    };
    let waiting = blocked(ready, &candidate, asked.is_some());
    let waiting = match waiting {
        None => closed(ready, &candidate, asked)?,
        waiting => waiting,
    };
    if let Some(waiting) = waiting {
        return Walk::Continue(with_failure(ready, waiting));
    }
    let waiting = match ready.unit.environment.gate {
        Gate::None => release::write(ready, &candidate),
        Gate::Branch | Gate::PullRequest => release::propose(ready, &candidate),
    };
    waiting.map_continue(|waiting| with_failure(ready, looked_at(ready, &candidate, waiting)))
}

/// What waits for a person is looked at again when its evidence is too old.
fn looked_at(ready: &Ready<'_>, release: &Release, waiting: Waiting) -> Waiting {
    let next = match (waiting.next, evidence::expires(ready.unit, release)) {
        (Some(next), Some(expires)) => Some(next.min(expires)),
        (next, expires) => next.or(expires),
    };
    Waiting { next, ..waiting }
}

/// What keeps the environment from taking it at this moment. What is proposed already stays so: whether it is
/// merged is a person's.
fn closed(
    ready: &Ready<'_>,
    candidate: &Release,
    asked: Option<&Promotion>,
) -> Walk<Option<Waiting>> {
    let over_freeze = asked.is_some_and(|asked| asked.promoted.during_freeze);
    let frozen = freeze::of(ready).filter(|_| !over_freeze);
    let frozen = || {
        frozen
            .clone()
            .map(|it| freeze::waiting(it, Some(candidate.clone())))
    };
    let scheduled = || promotion::scheduled(asked?, ready.unit.now);
    let limited = || match asked {
        Some(_) => None,
        None => pace::limited(ready.unit, ready.infra, candidate),
    };
    let Some(waiting) = frozen().or_else(scheduled).or_else(limited) else {
        return Walk::Continue(None);
    };
    // Without a gate, also where there was one, nobody merges it: it would come by itself.
    let open = ready.infra.proposal.is_some() && ready.unit.is_gated();
    match ready.records.proposal.as_ref().filter(|_| open) {
        Some(proposed) if proposed.release.is(&candidate.digests()) => Walk::Continue(None),
        Some(proposed) => {
            release::withdraw_unproven(ready)?;
            let gate = gate::waits(ready, proposed, candidate);
            Walk::Continue(Some(Waiting {
                next: waiting.next,
                ..gate
            }))
        }
        None => Walk::Continue(Some(waiting)),
    }
}

/// What a person asked to go back to, as long as the branch asks for something else. One whose proposal was
/// declined since is not brought.
fn chosen<'a>(ready: &Ready<'a>) -> Option<&'a Release> {
    let chosen = ready.records.pin.as_ref()?.release.as_ref()?;
    let digests = chosen.digests();
    let running = ready.head.release()?;
    let stands = !running.is(&digests) && !ready.records.has_declined(&digests);
    stands.then_some(chosen)
}

/// The newest release that this environment follows, if it is newer than everything that ran or
/// failed here.
fn candidate(ready: &Ready<'_>) -> Result<Release, Waiting> {
    let (newest, coming) = match &ready.unit.environment.follow {
        Follow::Branches(_) | Follow::Tags(_) => released(ready)?,
        Follow::Environments { all, soak } => promoted(ready, all, *soak)?,
    };
    // What is still on its way upstream is looked at again in time, whatever holds this one up.
    let wait = |waiting: Waiting| match coming.clone() {
        Some(coming) => waiting.or(coming),
        None => waiting,
    };
    let records = ready.records;
    let running = ready.head.release();
    if running.is_some_and(|running| !newest.is_newer_than(running)) {
        return Err(wait(idle(ready)));
    }
    let older_than_failure = records.failures.iter().any(|failure| {
        !failure.release.is(&newest.digests()) && !newest.is_newer_than(&failure.release)
    });
    let over = records.pin.as_ref().and_then(|pin| pin.over.as_ref());
    let pinned_over = over.is_some_and(|over| !newest.is_newer_than(over));
    if older_than_failure || pinned_over {
        return Err(wait(idle(ready)));
    }
    if let Some(declined) = records
        .declined
        .iter()
        .find(|it| !newest.is_newer_than(&it.release))
    {
        let reason = Reason::Declined {
            release: declined.release.clone(),
        };
        let declined = Waiting::on(reason).since(declined.at);
        return Err(wait(match &records.pin {
            Some(_) => declined.or(idle(ready)),
            None => declined,
        }));
    }
    Ok(newest)
}

/// The newest release of the registry that the environment admits.
fn released(ready: &Ready<'_>) -> Result<(Release, Option<Waiting>), Waiting> {
    let catalogue = ready
        .unit
        .world
        .catalogue
        .read()
        .map_err(unreadable_waiting)?;
    let follow = &ready.unit.environment.follow;
    let running = ready.head.release();
    let (old, young) = pace::aged(ready, catalogue.releases(follow), running);
    let (mut backed, lacking) = evidence::backed(ready, old, running);
    let coming = either(lacking, young);
    let newest = backed.pop();
    let incomplete = catalogue.incomplete(follow).into_iter().next_back();
    match (newest, incomplete) {
        (Some(newest), _) => Ok((newest, coming)),
        (None, _) if coming.is_some() => Err(coming.unwrap_or_else(|| idle(ready))),
        (None, Some(it)) => Err(Waiting::on(Reason::Incomplete {
            name: it.name.clone(),
            missing: it.missing.clone(),
        })),
        // What is pinned takes nothing that may still be released.
        (None, None) => Err(match (ready.head.release(), &ready.records.pin) {
            (None, None) => Waiting::on(Reason::NothingReleased),
            _ => idle(ready),
        }),
    }
}

/// The newest release that is proven in every followed environment, and what is newer and on its way.
fn promoted(
    ready: &Ready<'_>,
    all: &[EnvironmentName],
    soak: std::time::Duration,
) -> Result<(Release, Option<Waiting>), Waiting> {
    let mut proven: Option<Vec<Release>> = None;
    let mut waiting: Option<Waiting> = None;
    for environment in all {
        let mut upstream = Upstream::read(ready.unit, environment)?;
        // What is proposed was proven when it was: health lost after the soak takes no proof away, where a person
        // has still to say yes.
        let proposed = ready.records.proposal.as_ref();
        if let (Some(proposed), Some(running)) = (proposed, upstream.records.running())
            && ready.unit.is_gated()
            && proposed.release.is(&running.digests())
        {
            upstream.failing = None;
        }
        let mut here = upstream.proven(soak, ready.unit.now);
        if let Some(before) = &proven {
            here.retain(|release| before.iter().any(|it| it.is(&release.digests())));
        }
        let running = ready.head.release();
        let coming = upstream.waiting(soak, ready.unit.now, running);
        // What soaks is told to lack evidence before it has soaked: whoever is to bring it has the time.
        let lacking = match coming.as_ref().map(|it| &it.reason) {
            Some(Reason::Soaking { release, .. }) => evidence::waiting(ready.unit, release),
            _ => None,
        };
        waiting = either(waiting, either(lacking, coming));
        proven = Some(here);
    }
    let running = ready.head.release();
    let (old, young) = pace::aged(ready, proven.unwrap_or_default(), running);
    let (backed, lacking) = evidence::backed(ready, old, running);
    let newest = backed.into_iter().max_by(Release::compare);
    let waiting = either(either(waiting, lacking), young);
    match (newest, waiting) {
        (Some(newest), Some(waiting)) => {
            // What is proven now goes first, unless it already runs and something newer is on its way.
            let goes = running.is_none_or(|running| newest.is_newer_than(running));
            if goes {
                Ok((newest, Some(waiting)))
            } else {
                Err(waiting)
            }
        }
        (Some(newest), None) => Ok((newest, None)),
        (None, Some(waiting)) => Err(waiting),
        (None, None) => Err(idle(ready)),
    }
}

/// The one to show of two, where both wait.
fn either(one: Option<Waiting>, other: Option<Waiting>) -> Option<Waiting> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.or(other)),
        (one, other) => one.or(other),
    }
}

/// Why a proposed release no longer has what made it proposable: something upstream speaks against it, or its
/// evidence.
pub(super) fn fallen(ready: &Ready<'_>, release: &Release) -> Option<String> {
    let authority = &ready.unit.environment.authority;
    if ready
        .records
        .forced(&release.digests(), authority)
        .is_some()
    {
        return None;
    }
    if !stands_upstream(ready, release) {
        return Some("it is no longer proven upstream".to_owned());
    }
    // What was healthy here is gone back to, whatever was found out since.
    let ran = ready.records.ran(&release.digests());
    let lacks = evidence::lacking(ready.unit, release);
    // What is not known takes nothing back.
    let mut lacks = lacks.iter().filter(|it| it.weighed != Weighed::Unknown);
    let lack = lacks.next().filter(|_| !ran)?;
    // Nobody's own words: forges are told of it.
    Some(format!(
        "its evidence is {}: {}",
        lack.weighed,
        lack.asked()
    ))
}

fn stands_upstream(ready: &Ready<'_>, release: &Release) -> bool {
    let Follow::Environments { all, .. } = &ready.unit.environment.follow else {
        return true;
    };
    let digests = release.digests();
    all.iter().all(|environment| {
        // What cannot be read takes nothing back.
        let Ok(upstream) = Upstream::read(ready.unit, environment) else {
            return true;
        };
        let mut runs = upstream
            .records
            .runs
            .iter()
            .filter(|run| run.release.is(&digests));
        runs.all(|run| run.spoiled.is_none() && !upstream.failed_since(run))
    })
}

/// What keeps a newer release from coming now. One that a person asked for takes no turns.
fn blocked(ready: &Ready<'_>, candidate: &Release, is_asked: bool) -> Option<Waiting> {
    let environment = ready.unit.environment;
    let records = ready.records;
    if let Some(pin) = &records.pin
        && !ready.unit.is_gated()
    {
        return Some(pinned(ready, pin));
    }
    let stopped = &ready.infra.standing.failed;
    if environment.stop_the_line == StopTheLine::Environment
        && let Some((application, reason)) = stopped
            .iter()
            .find(|(it, _)| **it != ready.unit.pipeline.application.name)
    {
        return Some(Waiting::on(Reason::LineStopped {
            reason: format!("{application} failed: {reason}"),
        }));
    }
    if is_asked {
        return None;
    }
    let deployment = records.deployment.as_ref()?;
    let unproven = match &deployment.verdict {
        None => true,
        Some(_) => deployment.is_healthy() && !soaked(ready, deployment.number),
    };
    if environment.pace == Pace::Proven && !ready.unit.is_gated() && unproven {
        let reason = Reason::Paced {
            release: candidate.clone(),
        };
        return Some(Waiting::on(reason).since(deployment.at));
    }
    None
}

/// Whether the running release has run as long as the followers ask.
fn soaked(ready: &Ready<'_>, number: u64) -> bool {
    let Some(run) = ready.records.runs.iter().find(|run| run.number == number) else {
        return true;
    };
    let longest = ready.unit.pipeline.soak_of(&ready.unit.environment.name);
    run.spoiled.is_some() || after(run.healthy_at, longest) <= ready.unit.now
}

/// What to go back to, where a failure asks for it: never twice, never to what was not healthy here, never away from
/// what a person chose.
fn rollback_target<'a>(ready: &Ready<'a>) -> Option<&'a Run> {
    let environment = ready.unit.environment;
    if environment.on_failure != OnFailure::Rollback || ready.records.pin.is_some() {
        return None;
    }
    let deployment = ready.records.deployment.as_ref()?;
    let again = deployment.cause == crate::model::record::Cause::Rollback;
    let release = deployment.release.as_ref()?;
    let target = ready.records.last_healthy_but(&release.digests())?;
    let declined = ready.records.has_declined(&target.release.digests());
    let stands = target.spoiled.is_none() && !again && !declined;
    (deployment.failed().is_some() && stands).then_some(target)
}

/// A failed deployment is the reason, whatever else would be waited for below it. What a person
/// could merge to end it is told with it.
fn with_failure(ready: &Ready<'_>, waiting: Waiting) -> Waiting {
    let failed = ready.records.deployment.as_ref().and_then(|deployment| {
        let judged = deployment.verdict.as_ref()?;
        let mut reason = deployment.failed()?.to_owned();
        if let Reason::Gate { .. } = &waiting.reason {
            reason = format!("{reason}; {}", waiting.reason);
        }
        let reason = Reason::Failed {
            release: deployment.release.clone(),
            reason,
        };
        Some(Waiting::on(reason).since(judged.at))
    });
    match failed {
        Some(failed) => waiting.or(failed),
        None => waiting,
    }
}

/// Nothing newer is there: say what there is to say about that.
pub(super) fn idle(ready: &Ready<'_>) -> Waiting {
    let records = ready.records;
    if let Some(pin) = &records.pin {
        return pinned(ready, pin);
    }
    if records.outpaced >= OUTPACED {
        return Waiting::on(Reason::Outpaced {
            count: records.outpaced,
        });
    }
    if let Ok(catalogue) = ready.unit.world.catalogue.read()
        && let Some(it) = catalogue
            .incomplete(&ready.unit.environment.follow)
            .into_iter()
            .next_back()
        && newer_than_running(ready, it)
    {
        let reason = Reason::Incomplete {
            name: it.name.clone(),
            missing: it.missing.clone(),
        };
        return Waiting::on(reason);
    }
    if let Some(failure) = records.failures.last()
        && records
            .running()
            .is_some_and(|running| failure.release.is_newer_than(running))
    {
        let reason = Reason::Failed {
            release: Some(failure.release.clone()),
            reason: failure.reason.clone(),
        };
        return Waiting::on(reason).since(failure.at);
    }
    if let Head::Unclear(why) = &ready.head {
        return Waiting::on(Reason::BrokenManifests(why.clone()));
    }
    Waiting::on(Reason::UpToDate {
        release: ready.head.release().cloned(),
    })
}

/// What a person chose. Where the way back to it was declined, that is told: something else runs.
fn pinned(ready: &Ready<'_>, pin: &Pin) -> Waiting {
    let release = pin.release.clone();
    let reason = match (release.as_ref().map(Release::digests), ready.head.release()) {
        (Some(chosen), Some(runs)) if !runs.is(&chosen) && ready.records.has_declined(&chosen) => {
            format!("{}; its proposal was declined, and {runs} runs", pin.reason)
        }
        _ => pin.reason.clone(),
    };
    Waiting::on(Reason::Pinned { release, reason }).since(pin.at)
}

fn newer_than_running(ready: &Ready<'_>, it: &crate::model::catalogue::Incomplete) -> bool {
    let running = ready
        .records
        .running()
        .and_then(|release| release.rank.version.as_ref());
    match (&it.version, running) {
        (Some(version), Some(running)) => version > running,
        _ => ready
            .records
            .running()
            .is_none_or(|running| it.built > running.rank.built),
    }
}
