//! What the cluster must still do, and how it went: hooks, apply, verdict, health lost while soaking.
//!
//! Phases are read off the cluster in every round: the jobs that run before, then the rest, then the
//! jobs that run after, then the smoke tests, then the verdict. A newer commit is another desired
//! state, so it ends the waiting in any of them.

use std::time::Duration;

use jiff::Timestamp;

use super::difference::Difference;
use super::hooks::{Hooks, hooks};
use super::settle::{record, wait_on};
use super::smoke::{Smoking, smoking};
use super::{
    Apply, Change, Decision, Live, Observed, Prune, Ready, Reason, Step, Waiting, Walk, foreign,
    step, unreadable_source, wait,
};
use crate::clock::after;
use crate::manifest::Hook;
use crate::model::record::{Deployment, Run, Statement, Verdict};
use crate::model::{Health, Part};

/// How soon a source that must be read again is read.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long after a deployment was recorded its apply goes before what can wait.
const APPLY_FIRST_FOR: Duration = Duration::from_secs(10);

/// Does what the cluster does not run yet of what the head asks for, and judges how it went.
///
/// Continues with what to wait for while a rollout is on its way, or what only a person can settle.
pub(super) fn roll_out(ready: &Ready<'_>) -> Walk<Option<Waiting>> {
    let Some(deployment) = &ready.records.deployment else {
        return Walk::Continue(None);
    };
    // What failed before it was applied is not applied by itself.
    if deployment.is_abandoned() {
        return Walk::Continue(None);
    }
    let live = read_live(ready)?;
    let rollout = Rollout {
        ready,
        deployment,
        live,
        difference: Difference::of(
            ready.unit,
            ready.records,
            deployment,
            &ready.desired.rendered.objects,
            live,
        ),
    };
    let applying = match refused(ready, deployment) {
        Some(reason) if deployment.verdict.is_none() => rollout.fail(reason)?,
        Some(reason) if !rollout.difference.is_empty() => Some(Waiting::on(Reason::Refused {
            reason: reason.to_owned(),
        })),
        _ => rollout.apply()?,
    };
    let judging = match &applying {
        // Nothing is judged before all of it is applied.
        Some(_) if deployment.verdict.is_none() => None,
        _ => rollout.judge()?,
    };
    let waiting = [applying, judging].into_iter().flatten();
    let waiting = waiting.chain(rollout.difference.reported);
    Walk::Continue(waiting.reduce(Waiting::or))
}

/// Applies what was just deployed, before anything is done that can wait. One that keeps failing holds up
/// nothing for long.
pub(super) fn apply_first(ready: &Ready<'_>) -> Walk {
    let just =
        |it: &&Deployment| it.verdict.is_none() && ready.unit.now < after(it.at, APPLY_FIRST_FOR);
    if ready.records.deployment.as_ref().filter(just).is_none() {
        return Walk::Continue(());
    }
    match roll_out(ready) {
        Walk::Break(Decision::Step(step)) if matches!(*step, Step::Apply(_)) => {
            Walk::Break(Decision::Step(step))
        }
        _ => Walk::Continue(()),
    }
}

/// What the cluster said of this desired state, if it will not take it.
fn refused<'a>(ready: &'a Ready<'_>, deployment: &Deployment) -> Option<&'a str> {
    let refusal = ready.unit.view.learned.refused.as_ref()?;
    let state = ready.desired.rendered.state;
    let about_this = (refusal.state, refusal.asked_at) == (state, deployment.at);
    about_this.then_some(refusal.reason.as_str())
}

/// A deployment on its way.
struct Rollout<'a> {
    ready: &'a Ready<'a>,
    deployment: &'a Deployment,
    live: &'a Live,
    difference: Difference,
}

impl Rollout<'_> {
    /// The next apply, if there is anything left to apply. Hooks are run for a verdict: a deployment
    /// that has one runs none.
    ///
    /// Continues with what to wait for before the rest is applied.
    fn apply(&self) -> Walk<Option<Waiting>> {
        let Difference { change, prune, .. } = &self.difference;
        let judged = self.deployment.verdict.is_some();
        let (before, later) = match judged {
            true => (Hooks::Done, Vec::new()),
            false => (self.hooks(Hook::Before), self.due(Hook::After)),
        };
        match before {
            Hooks::Due(hooks) => {
                let later = change.iter().cloned().chain(later).collect();
                self.step(hooks, later, &[])
            }
            Hooks::Running(progress) => self.wait_for(progress),
            Hooks::Failed(why) => self.fail(&format!("what runs before the rest failed: {why}")),
            Hooks::Done if self.difference.is_empty() => Walk::Continue(None),
            Hooks::Done => self.step(change.clone(), later, prune),
        }
    }

    fn step(
        &self,
        change: Vec<Change>,
        later: Vec<Change>,
        prune: &[Prune],
    ) -> Walk<Option<Waiting>> {
        let all = || change.iter().chain(&later);
        foreign::allowed(self.ready, self.live, all().map(|change| &change.reference))?;
        self.not_behind(all())?;
        step(Step::Apply(Apply {
            number: self.deployment.number,
            asked_at: self.deployment.at,
            commit: self.deployment.commit,
            release: self.deployment.release.clone(),
            rendered: self.ready.desired.rendered.clone(),
            change,
            later,
            prune: prune.to_vec(),
        }))
    }

    /// An object marked by a later commit is never replaced by an earlier one: a mark that is not
    /// known to be behind the head asks for a fresh look at the branch first.
    fn not_behind<'c>(&self, mut change: impl Iterator<Item = &'c Change>) -> Walk {
        let Ready {
            unit,
            infra,
            records,
            ..
        } = self.ready;
        let (Observed::Seen { at: looked, .. }, Some(Observed::Seen { at: listed, .. })) =
            (&unit.view.infra, &unit.view.live)
        else {
            return Walk::Continue(());
        };
        let unknown = change.find_map(|change| {
            let mark = self.live.objects.get(&change.reference)?.mark.as_ref()?;
            let known = infra.behind.contains(&mark.commit) || records.knows(mark.commit);
            (!known).then_some(mark)
        });
        match unknown {
            Some(mark) if looked < listed => {
                let reason = Reason::Behind {
                    commit: mark.commit,
                    seen: "the cluster runs".to_owned(),
                };
                wait_on(Waiting::on(reason).until(after(unit.now, LOOK_AGAIN)))
            }
            _ => Walk::Continue(()),
        }
    }

    fn hooks(&self, moment: Hook) -> Hooks {
        hooks(self.ready, self.deployment, self.live, moment)
    }

    fn due(&self, moment: Hook) -> Vec<Change> {
        match self.hooks(moment) {
            Hooks::Due(due) => due,
            Hooks::Running(_) | Hooks::Failed(_) | Hooks::Done => Vec::new(),
        }
    }

    /// The verdict, once it can be given; health lost after it.
    fn judge(&self) -> Walk<Option<Waiting>> {
        let health = self.health();
        if self.deployment.verdict.is_some() {
            if self.deployment.is_healthy() {
                degraded(self.ready, self.deployment, &health)?;
            }
            return Walk::Continue(None);
        }
        match &health {
            Health::Failed(reason) => return self.fail(reason),
            Health::InProgress(progress) => return self.wait_for(progress.clone()),
            Health::Current | Health::NotExercised(_) => {}
        }
        match self.hooks(Hook::After) {
            Hooks::Due(hooks) => return self.step(hooks, Vec::new(), &[]),
            Hooks::Running(progress) => return self.wait_for(progress),
            Hooks::Failed(why) => {
                return self.fail(&format!("what runs after the rest failed: {why}"));
            }
            Hooks::Done => {}
        }
        match smoking(self.ready, self.deployment, self.begun()) {
            Smoking::Due(smoke) => return step(Step::Smoke(smoke)),
            Smoking::Failed { why, again } => {
                let waiting = self.wait_for(why)?;
                let sooner = |waiting: Waiting| {
                    let next = waiting.next.map_or(again, |next| next.min(again));
                    waiting.until(next)
                };
                return Walk::Continue(waiting.map(sooner));
            }
            Smoking::Passed => {}
        }
        let exercised = health == Health::Current;
        self.state(Verdict::Healthy { exercised })
    }

    fn health(&self) -> Health {
        let missing = Health::InProgress("an object is not there yet".to_owned());
        let desired = self.ready.desired.rendered.objects.iter();
        let lasting = desired.filter(|object| !super::hooks::is_hook(object));
        let parts = lasting.map(|object| {
            let found = self.live.objects.get(&object.reference);
            Part {
                runs: !object.images.is_empty(),
                health: found.map_or(&missing, |found| &found.health),
            }
        });
        Health::of_all(parts)
    }

    /// Waits for the rollout, until it has failed.
    fn wait_for(&self, progress: String) -> Walk<Option<Waiting>> {
        let begun = self.begun();
        let timeout = self.ready.unit.environment.health.timeout;
        let deadline = after(begun, timeout);
        if self.ready.unit.now >= deadline {
            let seconds = timeout.as_secs();
            return self.fail(&format!("not healthy within {seconds} s: {progress}"));
        }
        let reason = Reason::Converging {
            release: self.deployment.release.clone(),
            progress,
            deadline,
        };
        Walk::Continue(Some(Waiting::on(reason).since(begun).until(deadline)))
    }

    /// The deadline runs from the last apply, and only while the cluster answers.
    fn begun(&self) -> Timestamp {
        let desired = self.ready.desired.rendered.objects.iter();
        let applied =
            desired.filter_map(|object| Some(self.live.objects.get(&object.reference)?.applied_at));
        let begun = applied.fold(self.deployment.at, Timestamp::max);
        let answering = self.live.answering_since;
        answering.map_or(begun, |since| begun.max(since))
    }

    fn fail(&self, reason: &str) -> Walk<Option<Waiting>> {
        self.state(Verdict::Failed {
            reason: reason.to_owned(),
            applied: self.difference.change.is_empty(),
        })
    }

    fn state(&self, verdict: Verdict) -> Walk<Option<Waiting>> {
        let statement = Statement::Verdict {
            number: self.deployment.number,
            release: self.deployment.release.clone(),
            state: self.deployment.state,
            verdict,
        };
        record(self.ready, self.deployment.commit, false, vec![statement]).map_continue(|()| None)
    }
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
    let longest = ready.unit.pipeline.soak_of(&ready.unit.environment.name);
    after(run.healthy_at, longest)
}

fn read_live<'a>(ready: &Ready<'a>) -> Walk<&'a Live> {
    match ready.unit.view.live.as_ref().map(Observed::read) {
        Some(Ok(live)) => Walk::Continue(live),
        Some(Err(unreadable)) => unreadable_source(unreadable),
        None => wait(Reason::NotOurs),
    }
}

#[cfg(test)]
mod tests;
