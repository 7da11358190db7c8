//! Carries steps out, and tells what came of them. A step that failed is not tried again in place:
//! the unit waits a while, says so, and the next round plans anew.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::Level;

use super::failing::{Failing, Tried};
use super::{Reconciler, Towed};
use crate::act::{Failure, Happened, Order, Outcome, Writer};
use crate::cluster::{self, ClusterError, UnitScope};
use crate::event::{Event, EventKind};
use crate::model::record::{Statement, Taken};
use crate::model::{Environment, EnvironmentName};
use crate::plan::{
    self, Apply, Decision, Learned, Plan, Refusal, Smoke, Smoked, Step, Taking, World,
};

impl Reconciler {
    /// Carries one step out. Gives what happened by it.
    pub(super) async fn act(
        &self,
        towed: &Arc<Towed>,
        environment: &EnvironmentName,
        step: Step,
        now: Timestamp,
    ) -> Vec<Event> {
        let Some(environment) = towed.pipeline.environment(environment) else {
            return Vec::new();
        };
        let tried = Tried::by(&step);
        let began = Instant::now();
        // Written out only where somebody reads it.
        let shown = tracing::enabled!(Level::TRACE).then(|| step.to_string());
        tracing::trace!(environment = %environment.name, step = shown, "begins");
        let outcome = match step {
            Step::Apply(apply) => self.apply(towed, environment, &apply, now).await,
            Step::Smoke(smoke) => self.smoke(towed, environment, &smoke, now).await,
            step @ (Step::Open(_) | Step::Close(_) | Step::Disarm(_)) => {
                self.ask(towed, environment, &step, now).await
            }
            step => self.write(towed, environment, step, now).await,
        };
        tracing::trace!(environment = %environment.name, step = shown, took = ?began.elapsed(), "ends");
        let mut memory = towed.memory();
        match outcome {
            Outcome::Done(happened) => {
                let failing = memory.failing.get(&environment.name);
                if failing.is_some_and(|failing| failing.is_of(tried)) {
                    memory.failing.remove(&environment.name);
                }
                drop(memory);
                events(towed, environment, happened, now)
            }
            Outcome::Lost => {
                if tried == Tried::Write {
                    self.pulse.lost_a_race();
                }
                Vec::new()
            }
            Outcome::Failed(failure) => {
                tracing::warn!(
                    application = %towed.pipeline.application.name,
                    environment = %environment.name,
                    source = %failure.source,
                    why = %failure.why,
                    "a step failed"
                );
                let before = memory.failing.remove(&environment.name);
                let longest = tried.longest(&self.intervals);
                let failing = Failing::next(before, tried, failure, longest, now);
                memory.failing.insert(environment.name.clone(), failing);
                Vec::new()
            }
        }
    }

    pub(super) async fn write(
        &self,
        towed: &Arc<Towed>,
        environment: &Environment,
        step: Step,
        now: Timestamp,
    ) -> Outcome {
        let (Some(writer), Some(source)) = (
            self.writers.get(&environment.repository),
            self.observatory.infra.get(&environment.repository),
        ) else {
            return Outcome::Lost;
        };
        let Some(order) = Order::new(towed.pipeline.clone(), &environment.name, step) else {
            return Outcome::Lost;
        };
        let records_taken = records_taken(&order.step);
        let recorded = matches!(order.step, Step::Record(_)).then(|| order.step.clone());
        let judged = async {
            if let Some(record) = &recorded {
                self.judge_ahead(towed, environment, record, now).await;
            }
            // What came of the step is told by the other one. Were this to end, the other would be asked again in the
            // same moment, in which it lets others come along.
            std::future::pending().await
        };
        let outcome = tokio::select! {
            biased;
            outcome = writer.submit(order, now) => outcome,
            outcome = judged => outcome,
        };
        self.heard(writer).await;
        match outcome {
            Outcome::Done(_) => {
                source.take_own(now).await;
                if records_taken {
                    towed.learned(&environment.name, |learned| learned.taken = None);
                }
            }
            _ => source.catch_up(now).await,
        }
        outcome
    }

    /// Returns once the repository's server has said all it has to say, unless this goes on towing: a server may break
    /// off its hooks when the process that pushed is gone.
    pub(super) async fn heard(&self, writer: &Writer) {
        if !self.tows.load(Ordering::Relaxed) {
            writer.answered().await;
        }
    }

    /// Has the cluster judge what follows a record while that is on its way. Nobody waits for it.
    async fn judge_ahead(
        &self,
        towed: &Towed,
        environment: &Environment,
        step: &Step,
        now: Timestamp,
    ) {
        let Some(cluster) = self.clusters.get(&environment.name) else {
            return;
        };
        let pipeline = &towed.pipeline;
        let mut world = self.observatory.world(pipeline, now);
        towed.memory().teach(&mut world);
        if let Some(apply) = plan::ahead(pipeline, &world, &environment.name, step, now) {
            let scope = UnitScope {
                environment: environment.name.clone(),
                application: pipeline.application.name.clone(),
            };
            let began = Instant::now();
            cluster.judge_ahead(&scope, &apply, now).await;
            tracing::trace!(environment = %environment.name, took = ?began.elapsed(), "was judged ahead");
        }
    }

    async fn apply(
        &self,
        towed: &Towed,
        environment: &Environment,
        apply: &Apply,
        now: Timestamp,
    ) -> Outcome {
        let (Some(cluster), Some(live)) = (
            self.clusters.get(&environment.name),
            self.observatory.live_of(&towed.pipeline, environment),
        ) else {
            return Outcome::Lost;
        };
        let scope = UnitScope {
            environment: environment.name.clone(),
            application: towed.pipeline.application.name.clone(),
        };
        let applied = cluster.apply(&scope, apply, now).await;
        live.read(now).await;
        match applied {
            Ok(applied) => {
                if !applied.taken.is_empty() {
                    towed.learned(&environment.name, |learned| {
                        took(learned, apply, applied.taken);
                    });
                }
                Outcome::Done(match apply.only_runs_hooks() {
                    true => Vec::new(),
                    false => vec![is_applied(apply)],
                })
            }
            Err(ClusterError::Changed { .. }) => Outcome::Lost,
            // What the cluster will not take is known from here on: it is planned with, not tried again.
            Err(error @ ClusterError::Refused { .. }) => {
                let refusal = Refusal {
                    state: apply.rendered.state,
                    asked_at: apply.asked_at,
                    reason: error.to_string(),
                };
                towed.learned(&environment.name, |learned| learned.refused = Some(refusal));
                Outcome::Done(Vec::new())
            }
            Err(error) => Outcome::Failed(Failure {
                source: cluster.name().to_owned(),
                why: error.to_string(),
                prevented: matches!(error, ClusterError::Prevented { .. }),
                retry_after: match error {
                    ClusterError::Unavailable { retry_after, .. } => retry_after,
                    _ => None,
                },
            }),
        }
    }

    /// Asks every test; the first that does not pass says what was seen.
    async fn smoke(
        &self,
        towed: &Towed,
        environment: &Environment,
        smoke: &Smoke,
        now: Timestamp,
    ) -> Outcome {
        let mut failed = None;
        for test in &smoke.tests {
            if let Err(seen) = self.probe.ask(test).await {
                failed = Some(seen);
                break;
            }
        }
        let smoked = Smoked {
            number: smoke.number,
            begun: smoke.begun,
            at: now,
            failed,
        };
        towed.learned(&environment.name, |learned| learned.smoked = Some(smoked));
        Outcome::Done(Vec::new())
    }

    /// Tells of what happened by an effect, which ended at this moment.
    pub(super) fn tell_all(&self, events: Vec<Event>, at: Timestamp) {
        events
            .into_iter()
            .for_each(|event| self.emit(Event { at, ..event }));
    }

    fn emit(&self, event: Event) {
        tracing::info!(
            application = %event.application,
            environment = event.environment.as_ref().map(tracing::field::display),
            release = event.release.as_ref().map(tracing::field::display),
            commit = event.commit.as_ref().map(tracing::field::display),
            number = event.number,
            reason = event.reason.as_deref(),
            "{}", event.kind.name()
        );
        // Nobody may be listening.
        drop(self.events.send(event));
    }

    /// Tells of releases that are new, and of units that came to a stop.
    pub(super) fn tell(&self, towed: &Towed, world: &World, plan: &Plan, now: Timestamp) {
        let event = |kind, environment, release, reason| Event {
            at: now,
            kind,
            environment,
            application: towed.pipeline.application.name.clone(),
            release,
            commit: None,
            number: None,
            reason,
        };
        let mut news = Vec::new();
        let mut memory = towed.memory();
        if let Ok(catalogue) = world.catalogue.read() {
            let told = memory.told.replace(catalogue.clone());
            // In most rounds it is the very same one.
            if let Some(told) = told.filter(|told| !Arc::ptr_eq(told, catalogue)) {
                let new = catalogue.since(&told).into_iter();
                news.extend(new.map(|it| event(EventKind::ReleaseSeen, None, Some(it), None)));
            }
        }
        for unit in &plan.units {
            let Decision::Waiting(waiting) = &unit.decision else {
                continue;
            };
            if !waiting.reason.is_stopped() {
                memory.stopped.remove(&unit.environment);
                continue;
            }
            let reason = waiting.reason.to_string();
            if memory
                .stopped
                .insert(unit.environment.clone(), reason.clone())
                .as_ref()
                != Some(&reason)
            {
                let environment = Some(unit.environment.clone());
                news.push(event(
                    EventKind::Held,
                    environment,
                    unit.release.clone(),
                    Some(reason),
                ));
            }
        }
        drop(memory);
        news.into_iter().for_each(|event| self.emit(event));
    }
}

pub(super) fn events(
    towed: &Towed,
    environment: &Environment,
    happened: Vec<Happened>,
    at: Timestamp,
) -> Vec<Event> {
    let event = |happened: Happened| Event {
        at,
        kind: happened.kind,
        environment: Some(environment.name.clone()),
        application: towed.pipeline.application.name.clone(),
        release: happened.release,
        commit: happened.commit,
        number: happened.number,
        reason: happened.reason,
    };
    happened.into_iter().map(event).collect()
}

impl Towed {
    /// Changes what is remembered of a unit.
    fn learned(&self, environment: &EnvironmentName, change: impl FnOnce(&mut Learned)) {
        let mut memory = self.memory();
        let mut learned = memory.learned.remove(environment).unwrap_or_default();
        change(&mut learned);
        memory.learned.insert(environment.clone(), learned);
    }
}

/// Adds what an apply took to what is to be recorded of its deployment.
fn took(learned: &mut Learned, apply: &Apply, taken: Vec<cluster::Taken>) {
    let taken = taken.into_iter().map(|taken| Taken {
        object: taken.object.to_string(),
        manager: taken.manager,
        fields: taken.fields,
    });
    match &mut learned.taken {
        Some(before) if before.number == apply.number => before.taken.extend(taken),
        other => {
            *other = Some(Taking {
                number: apply.number,
                commit: apply.commit,
                taken: taken.collect(),
            });
        }
    }
}

fn is_applied(apply: &Apply) -> Happened {
    Happened {
        kind: EventKind::Applied,
        release: apply.release.clone(),
        commit: Some(apply.commit),
        number: Some(apply.number),
        reason: None,
    }
}

/// Whether the step records what applies took.
fn records_taken(step: &Step) -> bool {
    let Step::Record(record) = step else {
        return false;
    };
    let mut statements = record.statements.iter();
    statements.any(|it| matches!(it, Statement::Took { .. }))
}
