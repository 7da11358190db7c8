//! The one writer of an infra repository: what waits for it while a push is on its way goes into
//! the next one together.
//!
//! A batch refused for another reason than a lost race is retried in halves, so that one bad edit
//! holds back only itself.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::batch::{Batch, Heads, heads};
use super::moves::{Moves, UnitKey};
use super::{Failure, Outcome};
use crate::git::{GitError, Pushed, Repository};
use crate::model::{ApplicationName, Author, Environment, EnvironmentName, Pipeline};
use crate::plan::Step;

/// A step and the unit it is for.
#[derive(Debug, Clone)]
pub struct Order {
    pipeline: Arc<Pipeline>,
    index: usize,
    /// The step.
    pub step: Step,
    /// Where the environment has no records yet, its deployments are numbered beyond this.
    pub numbered_beyond: u64,
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
            numbered_beyond: 0,
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

    pub(super) fn unit(&self) -> UnitKey {
        (self.name().clone(), self.application().clone())
    }

    /// The unit's application.
    pub fn application(&self) -> &ApplicationName {
        &self.pipeline.application.name
    }
}

/// See the module.
pub struct Writer {
    pub(super) repository: Repository,
    pub(super) author: Author,
    queue: Mutex<Vec<Waiting>>,
    /// Held by whoever pushes.
    turn: tokio::sync::Mutex<Moves>,
}

struct Waiting {
    order: Order,
    reply: oneshot::Sender<Outcome>,
}

impl Writer {
    /// The writer of this repository.
    pub fn new(repository: Repository, author: Author) -> Self {
        Self {
            repository,
            author,
            queue: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Carries the step out together with whatever else waits for this repository.
    pub async fn submit(&self, order: Order, now: Timestamp) -> Outcome {
        let (reply, mut outcome) = oneshot::channel();
        self.queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Waiting { order, reply });
        // Whoever has something to write at this very moment comes along.
        tokio::task::yield_now().await;
        let mut turn = tokio::select! {
            biased;
            // Somebody else took the order along: whoever still waits for a turn goes on with more.
            outcome = &mut outcome => return outcome.unwrap_or(Outcome::Lost),
            turn = self.turn.lock() => turn,
        };
        let waiting =
            std::mem::take(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner));
        if !waiting.is_empty() {
            let planned = heads(&self.repository.seen());
            self.write(&planned, &mut turn, waiting, now).await;
        }
        drop(turn);
        outcome.await.unwrap_or(Outcome::Lost)
    }

    /// Writes one batch, in halves where it is refused.
    async fn write(
        &self,
        planned: &Heads,
        moves: &mut Moves,
        waiting: Vec<Waiting>,
        now: Timestamp,
    ) {
        let mut parts = vec![waiting];
        while let Some(part) = parts.pop() {
            let mut batch = Batch::new(&self.repository, planned, moves, &self.author, now);
            let mut fit = Vec::new();
            for waiting in part {
                match batch.add(&waiting.order) {
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
            let (pushed, updates) = match batch.finish() {
                Ok(push) => {
                    let updates = push.updates().to_vec();
                    (self.repository.push(push).await, updates)
                }
                Err(error) => (Err(error), Vec::new()),
            };
            match pushed {
                Ok(Pushed::Refused { .. }) if fit.len() > 1 => {
                    let later = fit.split_off(fit.len() / 2);
                    for half in [later, fit] {
                        parts.push(half.into_iter().map(|(waiting, _)| waiting).collect());
                    }
                }
                Ok(Pushed::Landed) => {
                    let units = fit
                        .iter()
                        .map(|(waiting, _)| waiting.order.unit())
                        .collect();
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
                    let outcome = outcome(self.repository.address(), other);
                    fit.into_iter().for_each(|(waiting, _)| {
                        drop(waiting.reply.send(outcome.clone()));
                    });
                }
            }
        }
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
            // A hook that refuses says the same of every ref.
            let mut why: Vec<String> = Vec::new();
            let messages = messages.trim().replace('\n', " ");
            let told = reasons.values().cloned().chain([messages]);
            for text in told.filter(|text| !text.is_empty()) {
                if !why.contains(&text) {
                    why.push(text);
                }
            }
            Outcome::Failed(Failure {
                source: address.to_owned(),
                why: format!("the push was refused: {}", why.join("; ")),
                retry_after: None,
                prevented: false,
            })
        }
        Err(error) => Outcome::Failed(Failure {
            source: address.to_owned(),
            why: error.to_string(),
            retry_after: error.retry_after(),
            prevented: false,
        }),
    }
}
