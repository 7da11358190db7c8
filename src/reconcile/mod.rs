//! The loop: wake → observe → plan → act.
//!
//! A round is one application's pipeline. It is level-triggered: what wakes it carries no data,
//! every round plans anew from what is observed. Effects run beside the rounds, at most one per
//! unit, so that a slow one holds up nobody else.

mod board;
mod effect;
mod keep;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use board::{Board, Posted};

use crate::act::Writer;
use crate::clock;
use crate::cluster::SharedCluster;
use crate::event::Event;
use crate::model::{Author, Digests, EnvironmentName, Pipeline, RepositoryUrl};
use crate::observe::{Intervals, Observatory, Outside};
use crate::plan::{self, Decision, Plan, Reason, Step, Unreadable, Waiting, World};

/// Events kept for a watcher that is slow to take them.
const EVENTS: usize = 4096;

/// Nothing waits for tags: those that could not be made are left alone for a while.
const TAGS_AGAIN: Duration = Duration::from_secs(60);

/// The longest a pipeline rests: a timer that cannot be represented still ends.
const REST_MAX: Duration = Duration::from_secs(3600);

/// Tows the releases of a set of pipelines.
pub struct Reconciler {
    pipelines: Vec<Arc<Towed>>,
    observatory: Observatory,
    writers: BTreeMap<RepositoryUrl, Arc<Writer>>,
    clusters: BTreeMap<EnvironmentName, SharedCluster>,
    intervals: Intervals,
    board: Board,
    events: broadcast::Sender<Event>,
    tagging: tokio::sync::Mutex<()>,
}

/// A pipeline and what its rounds remember of each other: all of it may be forgotten at any time.
struct Towed {
    pipeline: Arc<Pipeline>,
    wake: Notify,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// Units with an effect on its way.
    in_flight: BTreeMap<EnvironmentName, ()>,
    /// Whether deployment tags are being made.
    tagging: bool,
    /// When tags that could not be made may be tried again.
    tags_again: Option<Timestamp>,
    /// Units whose last effect failed, and when it may be tried again.
    failing: BTreeMap<EnvironmentName, Failing>,
    /// When tags that only manifests name may be looked up again.
    look_up_next: Option<Timestamp>,
    /// Whether they were looked up at least once.
    looked_up: bool,
    /// Releases already told of; `None` before the first look.
    told: Option<Vec<Digests>>,
    /// The reason each unit was last told to be stopped for.
    stopped: BTreeMap<EnvironmentName, String>,
}

struct Failing {
    unreadable: Unreadable,
    count: u32,
}

impl Reconciler {
    /// Tows these pipelines, applying to these clusters. Nothing is read or written before
    /// [`Self::run`] or [`Self::round`].
    pub fn new(
        pipelines: Vec<Arc<Pipeline>>,
        outside: &Outside,
        clusters: BTreeMap<EnvironmentName, SharedCluster>,
        author: &Author,
        intervals: Intervals,
        now: Timestamp,
    ) -> Self {
        let observatory = Observatory::new(&pipelines, outside, now);
        let writers = outside.repositories.iter().map(|(url, repository)| {
            (
                url.clone(),
                Arc::new(Writer::new(repository.clone(), author.clone())),
            )
        });
        let towed = pipelines.into_iter().map(|pipeline| {
            Arc::new(Towed {
                pipeline,
                wake: Notify::new(),
                memory: Mutex::default(),
            })
        });
        Self {
            pipelines: towed.collect(),
            observatory,
            writers: writers.collect(),
            clusters,
            intervals,
            board: Board::default(),
            events: broadcast::channel(EVENTS).0,
            tagging: tokio::sync::Mutex::default(),
        }
    }

    /// How many pipelines there are.
    pub fn len(&self) -> usize {
        self.pipelines.len()
    }

    /// Whether there is nothing to tow.
    pub fn is_empty(&self) -> bool {
        self.pipelines.is_empty()
    }

    /// What happens, from now on.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// What each pipeline's last round came to.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// What is observed.
    pub fn observatory(&self) -> &Observatory {
        &self.observatory
    }

    /// Tows until stopped; effects on their way are finished.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        self.keep_sources(&tasks, &stop);
        for towed in &self.pipelines {
            let (this, towed) = (self.clone(), towed.clone());
            let (stop, effects) = (stop.clone(), tasks.clone());
            tasks.spawn(async move {
                while !stop.is_cancelled() {
                    let rest = this.tow(&towed, &effects, clock::now());
                    tokio::select! {
                        () = towed.wake.notified() => {}
                        () = tokio::time::sleep(rest) => {}
                        () = stop.cancelled() => {}
                    }
                }
            });
        }
        tasks.close();
        tasks.wait().await;
    }

    /// One round of one pipeline: plans, and sets its steps going. Gives how long it may rest.
    fn tow(
        self: &Arc<Self>,
        towed: &Arc<Towed>,
        effects: &TaskTracker,
        now: Timestamp,
    ) -> Duration {
        let (world, plan) = self.plan(towed, now);
        self.tell(towed, &world, &plan, now);
        for (environment, step) in self.due(towed, &plan) {
            let (this, towed) = (self.clone(), towed.clone());
            effects.spawn(async move {
                let happened = this.act(&towed, &environment, step, clock::now()).await;
                towed.memory().in_flight.remove(&environment);
                this.tell_all(happened, clock::now());
                towed.wake.notify_one();
            });
        }
        if self.has_tags_to_make(towed, &world, &plan) && towed.memory().begin_tagging(now) {
            let (this, towed) = (self.clone(), towed.clone());
            effects.spawn(async move {
                let (happened, all) = this.make_tags(&towed, clock::now()).await;
                this.tell_all(happened, clock::now());
                towed.memory().end_tagging(all, clock::now());
                towed.wake.notify_one();
            });
        }
        self.look_again(towed, &plan);
        let look_up = self.look_up(towed, &world, effects, now);
        let rest = rest(&plan, now).min(look_up);
        self.post(towed, world, plan);
        rest
    }

    /// One round of every pipeline, each effect waited for: what a simulated clock needs. Gives how
    /// many steps there were.
    pub async fn round(self: &Arc<Self>, now: Timestamp) -> usize {
        let mut planned = Vec::new();
        let mut acts = Vec::new();
        for towed in &self.pipelines {
            let (world, plan) = self.plan(towed, now);
            self.tell(towed, &world, &plan, now);
            for (environment, step) in self.due(towed, &plan) {
                acts.push(async move {
                    let happened = self.act(towed, &environment, step, now).await;
                    towed.memory().in_flight.remove(&environment);
                    self.tell_all(happened, now);
                });
            }
            planned.push((towed, world, plan));
        }
        let steps = acts.len();
        futures_util::future::join_all(acts).await;
        for (towed, world, plan) in planned {
            if self.has_tags_to_make(towed, &world, &plan) {
                let (happened, _) = self.make_tags(towed, now).await;
                self.tell_all(happened, now);
            }
            self.post(towed, world, plan);
        }
        steps
    }

    /// Observes and plans. A step that just failed waits its turn, and says so.
    fn plan(&self, towed: &Towed, now: Timestamp) -> (World, Plan) {
        let world = self.observatory.world(&towed.pipeline, now);
        let mut plan = plan::plan(&towed.pipeline, &world, now);
        let findings = plan::check::check(&towed.pipeline, &world, &plan);
        let memory = towed.memory();
        for unit in &mut plan.units {
            if !matches!(unit.decision, Decision::Step(_)) {
                continue;
            }
            if let Some(finding) = findings
                .iter()
                .find(|it| it.environment == unit.environment)
            {
                tracing::error!(%finding, "the plan breaks an invariant: nothing is done");
                let why = format!("a bug: its plan breaks {finding}");
                unit.decision = Decision::Waiting(Waiting::on(Reason::BrokenManifests(why)));
            } else if let Some(failing) = memory.failing.get(&unit.environment)
                && failing.unreadable.retry.is_some_and(|retry| now < retry)
            {
                unit.decision = Decision::Waiting(failing.waiting());
            }
        }
        drop(memory);
        (world, plan)
    }

    /// The steps of units that have no effect on its way; they have one from here on.
    fn due(&self, towed: &Towed, plan: &Plan) -> Vec<(EnvironmentName, Step)> {
        let mut memory = towed.memory();
        let mut due = Vec::new();
        for unit in &plan.units {
            if let Decision::Step(step) = &unit.decision
                && memory
                    .in_flight
                    .insert(unit.environment.clone(), ())
                    .is_none()
            {
                due.push((unit.environment.clone(), Step::clone(step)));
            }
        }
        due
    }

    fn post(&self, towed: &Towed, world: World, plan: Plan) {
        let busy = towed.memory().is_busy();
        let tried = self.observatory.is_tried(&towed.pipeline);
        let tried = tried && self.is_looked_up(towed, &world);
        self.board.post(Posted {
            pipeline: towed.pipeline.clone(),
            world,
            plan,
            busy,
            tried,
        });
    }
}

impl Towed {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn is_busy(&self) -> bool {
        self.tagging || !self.in_flight.is_empty()
    }

    /// Whether nobody makes tags yet, and none just failed; somebody does from here on.
    fn begin_tagging(&mut self, now: Timestamp) -> bool {
        if self.tags_again.is_some_and(|again| now < again) {
            return false;
        }
        !std::mem::replace(&mut self.tagging, true)
    }

    fn end_tagging(&mut self, made: bool, now: Timestamp) {
        self.tagging = false;
        self.tags_again = if made {
            None
        } else {
            now.checked_add(TAGS_AGAIN).ok()
        };
    }
}

impl Failing {
    fn waiting(&self) -> Waiting {
        Waiting {
            reason: Reason::Retrying(self.unreadable.clone()),
            since: Some(self.unreadable.since),
            next: self.unreadable.retry,
        }
    }
}

/// Until the first moment at which time alone changes something.
fn rest(plan: &Plan, now: Timestamp) -> Duration {
    let next = plan.units.iter().filter_map(|unit| match &unit.decision {
        Decision::Waiting(waiting) => waiting.next,
        Decision::Step(_) => None,
    });
    let left = next.min().map(|next| next.duration_since(now));
    left.map_or(REST_MAX, |left| {
        Duration::try_from(left).unwrap_or_default()
    })
    .min(REST_MAX)
}
