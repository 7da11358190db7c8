//! The one writer of an infra repository: what waits for it while a push is on its way goes into
//! the next one together.
//!
//! A batch refused for another reason than a lost race is retried in halves, so that one bad edit
//! holds back only itself; unless some of it stands, on a server without atomic push: what was planned without that is
//! planned anew. Where push follows push, statements that nobody waits for let the server
//! rest, and go along with more of their kind: a thousand units are adopted in some pushes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::batch::{Batch, Heads, heads};
use super::moves::{Moves, UnitKey};
use super::scratch::Left;
use super::tags::TagsDue;
use super::{Failure, Outcome, Rehearsal};
use crate::git::notes::records_ref;
use crate::git::{GitError, Pushed, Repository, refusal};
use crate::model::record::{Cause, Statement};
use crate::model::{
    ApplicationName, Author, Environment, EnvironmentName, Pipeline, proposal_branch,
};
use crate::plan::Step;

/// So many times as long as a push took, what nobody waits for stays out of the next one.
const REST: u32 = 4;

/// It does not stay out for longer than this, nor for less.
const REST_MAX: Duration = Duration::from_secs(1);
const REST_MIN: Duration = Duration::from_millis(10);

/// A step and the unit it is for.
#[derive(Debug, Clone)]
pub struct Order {
    pipeline: Arc<Pipeline>,
    index: usize,
    /// The step.
    pub step: Step,
}

impl Order {
    /// The step of this unit; `None` where the pipeline has no such environment.
    pub fn new(pipeline: Arc<Pipeline>, environment: &EnvironmentName, step: Step) -> Option<Self> {
        let index = pipeline
            .environments
            .iter()
            .position(|it| it.name == *environment)?;
        Some(Self {
            pipeline,
            index,
            step,
        })
    }

    /// The unit's environment.
    pub fn environment(&self) -> &Environment {
        &self.pipeline.environments[self.index]
    }

    /// The environment's name.
    pub fn name(&self) -> &EnvironmentName {
        &self.environment().name
    }

    /// Whether nothing goes on by it: it says what is so already.
    fn is_patient(&self) -> bool {
        let Step::Record(record) = &self.step else {
            return false;
        };
        record.statements.iter().all(|statement| match statement {
            Statement::Adopted { .. } | Statement::Verdict { .. } | Statement::Degraded { .. } => {
                true
            }
            Statement::Deployment { cause, .. } => *cause == Cause::Baseline,
            _ => false,
        })
    }

    pub(super) fn unit(&self) -> UnitKey {
        (self.name().clone(), self.application().clone())
    }

    /// The unit's application.
    pub fn application(&self) -> &ApplicationName {
        &self.pipeline.application.name
    }
}

/// The refs of a unit.
pub(super) struct Names {
    pub(super) branch: String,
    pub(super) records: String,
    pub(super) proposal: String,
}

impl Names {
    pub(super) fn of(order: &Order) -> Self {
        let environment = order.environment();
        Self {
            branch: format!("refs/heads/{}", environment.branch),
            records: records_ref(&environment.name),
            proposal: format!(
                "refs/heads/{}",
                proposal_branch(&environment.name, order.application())
            ),
        }
    }

    /// Whether one of them is.
    fn are_among(&self, names: &BTreeSet<String>) -> bool {
        [&self.branch, &self.records, &self.proposal]
            .into_iter()
            .any(|name| names.contains(name))
    }
}

/// See the module.
pub struct Writer {
    pub(super) repository: Repository,
    pub(super) author: Author,
    queue: Mutex<Vec<Waiting>>,
    /// Somebody does wait for what was queued.
    urgent: Notify,
    pub(super) tags_due: Mutex<TagsDue>,
    /// What servers still say to pushes that are done.
    pub(super) ends: TaskTracker,
    /// Held by whoever pushes.
    pub(super) turn: tokio::sync::Mutex<Turn>,
}

/// What one push leaves to the next.
#[derive(Default)]
pub(super) struct Turn {
    moves: Moves,
    pub(super) left: Left,
    /// Until when what nobody waits for stays out.
    rest_until: Option<Instant>,
}

/// The environments that have no records yet, and the number beyond which each one's deployments
/// are numbered.
pub(super) type Beyond = BTreeMap<EnvironmentName, u64>;

struct Waiting {
    order: Order,
    reply: oneshot::Sender<Outcome>,
}

impl Writer {
    /// The writer of this repository.
    pub fn new(repository: Repository, author: Author) -> Self {
        let ends = TaskTracker::new();
        // Closed, it can be waited for at any time; it takes more all the same.
        ends.close();
        Self {
            repository: repository.ending_in(ends.clone()),
            author,
            ends,
            queue: Mutex::default(),
            urgent: Notify::new(),
            tags_due: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Whether somebody else makes the commits on its branches.
    pub fn commits_elsewhere(&self) -> bool {
        self.repository.commits_elsewhere()
    }

    /// Carries the step out together with whatever else waits for this repository.
    pub async fn submit(&self, order: Order, now: Timestamp) -> Outcome {
        let (reply, mut outcome) = oneshot::channel();
        let patient = order.is_patient();
        self.queue().push(Waiting { order, reply });
        if !patient {
            self.urgent.notify_one();
        }
        // Whoever has something to write at this very moment comes along.
        tokio::task::yield_now().await;
        let mut turn = tokio::select! {
            biased;
            // Somebody else took the order along: whoever still waits for a turn goes on with more.
            outcome = &mut outcome => return outcome.unwrap_or(Outcome::Lost),
            turn = self.turn.lock() => turn,
        };
        self.rest(&turn).await;
        let mut waiting = std::mem::take(&mut *self.queue());
        let beyond = self.number(&mut waiting).await;
        if !waiting.is_empty() {
            self.answered().await;
            let begun = Instant::now();
            let planned = heads(&self.repository.seen());
            self.write(&planned, &mut turn.moves, &beyond, waiting, now)
                .await;
            let rest = (begun.elapsed() * REST).min(REST_MAX);
            turn.rest_until = match rest < REST_MIN {
                true => None,
                false => Instant::now().checked_add(rest),
            };
        }
        drop(turn);
        outcome.await.unwrap_or(Outcome::Lost)
    }

    /// What these steps would write together, pushed to nobody. All of them are planned on what is seen now.
    ///
    /// # Errors
    /// What came of them instead: a lost race, or why they cannot be written.
    pub async fn rehearse(&self, orders: &[Order], now: Timestamp) -> Result<Rehearsal, Outcome> {
        let turn = self.turn.lock().await;
        let planned = heads(&self.repository.seen());
        let failed = |error| Outcome::Failed(failure(self.repository.address(), &error));
        let mut beyond = Beyond::new();
        for order in orders {
            let environment = order.environment();
            if !planned.contains_key(&records_ref(&environment.name)) {
                let highest = self.highest_tag(environment).await.map_err(failed)?;
                beyond.insert(environment.name.clone(), highest);
            }
        }
        let (moves, author) = (&turn.moves, &self.author);
        let batch = Batch::new(&self.repository, &planned, moves, &beyond, author, now);
        let mut batch = batch.rehearsing();
        for order in orders {
            match batch.add(order).await {
                Outcome::Done(_) => {}
                unfit => return Err(unfit),
            }
        }
        batch.rehearse().await.map_err(failed)
    }

    /// Returns once the server has said all it has to say to the pushes so far.
    pub async fn answered(&self) {
        self.ends.wait().await;
    }

    /// Lets the server rest, for as long as nobody waits.
    async fn rest(&self, turn: &Turn) {
        loop {
            let is_patient = |waiting: &Waiting| waiting.order.is_patient();
            let until = turn
                .rest_until
                .filter(|_| self.queue().iter().all(is_patient));
            let Some(until) = until.filter(|until| Instant::now() < *until) else {
                return;
            };
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                () = self.urgent.notified() => {}
            }
        }
    }

    /// Deployments of an environment without records are numbered beyond the tags that are there:
    /// looked up for all who wait at once. Who would need it and cannot have it is told so.
    async fn number(&self, waiting: &mut Vec<Waiting>) -> Beyond {
        let seen = self.repository.seen();
        let mut beyond = Beyond::new();
        let mut failed = BTreeMap::new();
        for Waiting { order, .. } in waiting.iter() {
            let environment = order.environment();
            let known = seen.contains_key(&records_ref(&environment.name))
                || beyond.contains_key(&environment.name)
                || failed.contains_key(&environment.name);
            if known {
                continue;
            }
            match self.highest_tag(environment).await {
                Ok(number) => drop(beyond.insert(environment.name.clone(), number)),
                Err(error) => drop(failed.insert(environment.name.clone(), error)),
            }
        }
        let mut numbered = Vec::new();
        for it in std::mem::take(waiting) {
            match failed.get(it.order.name()) {
                Some(error) => {
                    let failure = failure(self.repository.address(), error);
                    drop(it.reply.send(Outcome::Failed(failure)));
                }
                None => numbered.push(it),
            }
        }
        *waiting = numbered;
        beyond
    }

    fn queue(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes one batch, in halves where it is refused.
    async fn write(
        &self,
        planned: &Heads,
        moves: &mut Moves,
        beyond: &Beyond,
        waiting: Vec<Waiting>,
        now: Timestamp,
    ) {
        let mut parts = vec![waiting];
        while let Some(part) = parts.pop() {
            let mut batch = Batch::new(&self.repository, planned, moves, beyond, &self.author, now);
            let mut fit = Vec::new();
            for waiting in part {
                match batch.add(&waiting.order).await {
                    Outcome::Done(happened) => fit.push((waiting, happened)),
                    unfit => drop(waiting.reply.send(unfit)),
                }
            }
            if batch.is_empty() {
                fit.into_iter().for_each(|(waiting, happened)| {
                    drop(waiting.reply.send(Outcome::Done(happened)));
                });
                continue;
            }
            let (pushed, updates) = match batch.finish().await {
                Ok(push) => {
                    let updates = push.updates().to_vec();
                    (self.repository.push(push).await, updates)
                }
                Err(error) => (Err(error), Vec::new()),
            };
            match pushed {
                Ok(Pushed::Refused { landed, .. }) if landed.is_empty() && fit.len() > 1 => {
                    let later = fit.split_off(fit.len() / 2);
                    for half in [later, fit] {
                        parts.push(half.into_iter().map(|(waiting, _)| waiting).collect());
                    }
                }
                Ok(Pushed::Landed) => {
                    let units = fit.iter().map(|(waiting, _)| waiting.order.unit());
                    let units = Arc::new(units.collect());
                    for update in updates.iter().filter(|it| !it.is_verification()) {
                        if let Some(to) = update.new {
                            moves.add(&update.name, update.old, to, &units);
                        }
                    }
                    fit.into_iter().for_each(|(waiting, happened)| {
                        drop(waiting.reply.send(Outcome::Done(happened)));
                    });
                }
                other => {
                    let refused = match &other {
                        Ok(Pushed::Refused { reasons, .. }) => reasons.keys().cloned().collect(),
                        _ => BTreeSet::new(),
                    };
                    let outcome = outcome(self.repository.address(), other);
                    let (failed, beside): (Vec<_>, Vec<_>) = fit
                        .into_iter()
                        .map(|(waiting, _)| waiting)
                        .partition(|it| Names::of(&it.order).are_among(&refused));
                    // Of whom nobody is named, all are.
                    let of_beside = match failed.is_empty() {
                        true => outcome.clone(),
                        false => Outcome::Lost,
                    };
                    tell(failed, &outcome);
                    tell(beside, &of_beside);
                }
            }
        }
    }
}

fn tell(waiting: Vec<Waiting>, outcome: &Outcome) {
    for it in waiting {
        drop(it.reply.send(outcome.clone()));
    }
}

/// What became of a push that did not land.
pub(super) fn outcome(address: &str, pushed: Result<Pushed, GitError>) -> Outcome {
    match pushed {
        Ok(Pushed::Landed) => Outcome::Done(Vec::new()),
        Ok(Pushed::Lost { .. }) => Outcome::Lost,
        Ok(Pushed::Refused {
            reasons, messages, ..
        }) => {
            let why = refusal(&reasons, &messages);
            Outcome::Failed(Failure {
                source: address.to_owned(),
                why: format!("the push was refused: {why}"),
                retry_after: None,
                prevented: false,
            })
        }
        Err(error) => Outcome::Failed(failure(address, &error)),
    }
}

fn failure(address: &str, error: &GitError) -> Failure {
    Failure {
        source: address.to_owned(),
        why: error.to_string(),
        retry_after: error.retry_after(),
        prevented: false,
    }
}
