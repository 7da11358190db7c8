//! The loop: wake → observe → plan → act.
//!
//! A round is one application's pipeline. It is level-triggered: what wakes it carries no data,
//! every round plans anew from what is observed. Effects run beside the rounds, at most one per
//! unit, so that a slow one holds up nobody else.

mod board;
mod effect;
mod failing;
mod hear;
mod keep;
mod keeper;
mod merging;
mod person;
mod planner;
mod pulse;
mod removed;
mod request;
mod rest;
mod show;
mod sweep;
mod tagging;
mod timetable;
mod words;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use board::{Board, Looks, Posted};
pub use hear::Heard;
pub use planner::{BUG, Planner};
pub use pulse::{Counts, Pulse, Stalled};

use crate::act::Writer;
use crate::clock;
use crate::cluster::SharedCluster;
use crate::event::Event;
use crate::forge::SharedForge;
use crate::git::Repository;
use crate::model::catalogue::Catalogue;
use crate::model::{ApplicationName, Author, EnvironmentName, FlatMap, Pipeline, RepositoryUrl};
use crate::observe::{Intervals, Observatory, Outside};
use crate::plan::{Decision, Learned, Plan, Step, World};
use crate::smoke::Probe;
use failing::Failing;
use merging::Merging;
use rest::rest;
use show::Show;
use tagging::Tagging;

/// Events kept for a watcher that is slow to take them.
const EVENTS: usize = 4096;

/// Tows the releases of a set of pipelines.
pub struct Reconciler {
    pipelines: Vec<Arc<Towed>>,
    /// Of applications that the configuration no longer has.
    removed: Mutex<BTreeMap<ApplicationName, Arc<Towed>>>,
    looked_for_removed: AtomicBool,
    observatory: Observatory,
    planner: Planner,
    probe: Arc<dyn Probe>,
    writers: BTreeMap<RepositoryUrl, Arc<Writer>>,
    clusters: BTreeMap<EnvironmentName, SharedCluster>,
    forges: BTreeMap<RepositoryUrl, SharedForge>,
    /// Of repositories with a gated branch, what others are about to merge.
    merging: BTreeMap<RepositoryUrl, Arc<Merging>>,
    intervals: Intervals,
    /// When this process began.
    begun: Timestamp,
    board: Board,
    events: broadcast::Sender<Event>,
    tagging: tokio::sync::Mutex<()>,
    /// Whether it tows: then what servers still say to pushes that are done is heard beside all else.
    tows: AtomicBool,
    /// Per environment something that each effect on its way there holds a share of.
    acting: BTreeMap<EnvironmentName, Arc<()>>,
    pulse: Arc<Pulse>,
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
    in_flight: FlatMap<EnvironmentName, InFlight>,
    tagging: Tagging,
    /// Whether something is being shown on a forge.
    showing: bool,
    /// When what could not be shown may be tried again.
    show_again: Option<Timestamp>,
    /// What is shown of each unit on forges.
    shown: FlatMap<EnvironmentName, Vec<Show>>,
    /// Units whose last effect failed, and when it may be tried again.
    failing: FlatMap<EnvironmentName, Failing>,
    /// What effects on units came to, where that can be seen nowhere else.
    learned: FlatMap<EnvironmentName, Learned>,
    /// When tags that only manifests name may be looked up again.
    look_up_next: Option<Timestamp>,
    /// Whether it is being asked what is attached to images.
    asking_evidence: bool,
    /// Whether they were looked up at least once.
    looked_up: bool,
    /// The releases already told of; `None` before the first look.
    told: Option<Arc<Catalogue>>,
    /// The reason each unit was last told to be stopped for.
    stopped: FlatMap<EnvironmentName, String>,
}

/// An effect on its way. Only one that merely asks may be ended before it is done.
struct InFlight {
    asking: Option<Asking>,
    _acting: Option<Arc<()>>,
}

/// Smoke tests on their way.
struct Asking {
    number: u64,
    end: CancellationToken,
}

impl Reconciler {
    /// Tows these pipelines, applying to these clusters and asking on these forges. Nothing is read or written before
    /// [`Self::run`] or [`Self::round`].
    pub fn new(
        pipelines: Vec<Arc<Pipeline>>,
        outside: &Outside,
        clusters: BTreeMap<EnvironmentName, SharedCluster>,
        forges: BTreeMap<RepositoryUrl, SharedForge>,
        author: &Author,
        intervals: Intervals,
        now: Timestamp,
    ) -> Self {
        let observatory = Observatory::new(&pipelines, &pipelines, outside, now);
        let writers = outside.repositories.iter().map(|(url, repository)| {
            (
                url.clone(),
                Arc::new(Writer::new(repository.clone(), author.clone())),
            )
        });
        let environments = pipelines.iter().flat_map(|it| &it.environments);
        let acting = environments.map(|it| (it.name.clone(), Arc::default()));
        let acting = acting.collect();
        let towed = pipelines.into_iter().map(Towed::new).map(Arc::new);
        Self {
            merging: merging::of(&observatory),
            pipelines: towed.collect(),
            removed: Mutex::default(),
            looked_for_removed: AtomicBool::new(false),
            observatory,
            planner: Planner::default(),
            probe: outside.probe.clone(),
            writers: writers.collect(),
            clusters,
            forges,
            intervals,
            begun: now,
            board: Board::default(),
            events: broadcast::channel(EVENTS).0,
            tagging: tokio::sync::Mutex::default(),
            tows: AtomicBool::new(false),
            acting,
            pulse: Arc::new(Pulse::new(intervals.turn)),
        }
    }

    /// How many pipelines the configuration has.
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

    /// Whether its loops turn, and what they counted.
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// The applications of which a source was not tried yet.
    pub fn untried(&self) -> Vec<&ApplicationName> {
        let pipelines = self.pipelines.iter().map(|towed| &towed.pipeline);
        let untried = pipelines.filter(|pipeline| !self.observatory.is_tried(pipeline));
        untried.map(|pipeline| &pipeline.application.name).collect()
    }

    /// What is observed.
    pub fn observatory(&self) -> &Observatory {
        &self.observatory
    }

    /// Tows until stopped; effects on their way are finished.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        self.tows.store(true, Ordering::Relaxed);
        let mirrors = || {
            self.observatory
                .infra
                .values()
                .map(|it| it.reader.repository())
        };
        mirrors().for_each(Repository::hold_news);
        let tasks = TaskTracker::new();
        self.keep_sources(&tasks, &stop);
        self.keep_removed(&tasks, &stop);
        self.keep_merging(&tasks, &stop);
        self.keep_swept(&tasks, &stop);
        for towed in &self.pipelines {
            let (this, towed) = (self.clone(), towed.clone());
            let (stop, effects) = (stop.clone(), tasks.clone());
            tasks.spawn(async move {
                let name = &towed.pipeline.application.name;
                let beat = this.pulse.of(format!("the rounds of {name}"));
                while !stop.is_cancelled() {
                    beat.turns();
                    let rest = this.tow(&towed, &effects, clock::now());
                    beat.rests(rest);
                    tokio::select! {
                        () = towed.wake.notified() => {}
                        () = tokio::time::sleep(rest) => {}
                        () = stop.cancelled() => {}
                    }
                }
                beat.ends();
                towed.memory().end_asking();
            });
        }
        tasks.close();
        tasks.wait().await;
        self.tows.store(false, Ordering::Relaxed);
        futures_util::future::join_all(self.writers.values().map(|it| self.heard(it))).await;
        futures_util::future::join_all(mirrors().map(Repository::settle)).await;
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
        for (environment, step, end) in self.due(towed, &plan) {
            let (this, towed) = (self.clone(), towed.clone());
            effects.spawn(async move {
                let acting = this.act(&towed, &environment, step, clock::now());
                let happened = end.run_until_cancelled(acting).await.unwrap_or_default();
                towed.memory().in_flight.remove(&environment);
                this.tell_all(happened, clock::now());
                towed.wake.notify_one();
            });
        }
        let untagged = Self::untagged(towed, &world, &plan);
        if self.has_tags_to_make(&untagged) && towed.memory().tagging.begin(now) {
            let (this, towed) = (self.clone(), towed.clone());
            effects.spawn(async move {
                let (happened, all) = this.make_tags(&towed, clock::now()).await;
                this.tell_all(happened, clock::now());
                let longest = this.longest_untagged();
                towed.memory().tagging.end(all, longest, clock::now());
                towed.wake.notify_one();
            });
        }
        let shows = self.to_show(towed, &world, &plan, now);
        if !shows.is_empty() && towed.memory().begin_showing(now) {
            let (this, towed) = (self.clone(), towed.clone());
            effects.spawn(async move {
                let again = this.show(&towed, shows, clock::now()).await;
                towed.memory().end_showing(again);
                towed.wake.notify_one();
            });
        }
        self.look_again(towed, &plan);
        let (open, is_looked_up) = self.unresolved(towed, &world);
        let look_up = self.look_up(towed, open, effects, now);
        let attached = self.look_at_evidence(towed, &world, effects, now);
        let again = towed.memory().again(now);
        let mut rest = rest(&plan, now).min(look_up).min(attached).min(again);
        // What is in the way of a tag, such as somebody else's rollout, wakes nobody when it ends.
        if !untagged.is_empty() {
            rest = rest.min(self.longest_untagged());
        }
        self.post(towed, &world, plan, is_looked_up);
        rest
    }

    /// One round of every pipeline, each effect waited for: what a simulated clock needs. Gives how
    /// many steps there were.
    pub async fn round(self: &Arc<Self>, now: Timestamp) -> usize {
        let removed = self.removed();
        let mut planned = Vec::new();
        let mut acts = Vec::new();
        for towed in self.pipelines.iter().chain(&removed) {
            let (world, plan) = self.plan(towed, now);
            self.tell(towed, &world, &plan, now);
            for (environment, step, _) in self.due(towed, &plan) {
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
            if self.has_tags_to_make(&Self::untagged(towed, &world, &plan)) {
                let (happened, _) = self.make_tags(towed, now).await;
                self.tell_all(happened, now);
            }
            let shows = self.to_show(towed, &world, &plan, now);
            if !shows.is_empty() && towed.memory().begin_showing(now) {
                let again = self.show(towed, shows, now).await;
                towed.memory().end_showing(again);
            }
            let (_, is_looked_up) = self.unresolved(towed, &world);
            self.post(towed, &world, plan, is_looked_up);
        }
        self.judge_all(now).await;
        self.sweep(now).await;
        steps
    }

    /// What a pipeline of these is planned from now.
    pub fn world(&self, application: &ApplicationName, now: Timestamp) -> Option<World> {
        let removed = self.removed();
        let mut all = self.pipelines.iter().chain(&removed);
        let towed = all.find(|towed| towed.pipeline.application.name == *application)?;
        let mut world = self.observatory.world(&towed.pipeline, now);
        towed.memory().teach(&mut world);
        Some(world)
    }

    /// The steps of units that have no effect on its way; they have one from here on. What merely
    /// asks about a deployment that is no longer asked about is ended.
    fn due(&self, towed: &Towed, plan: &Plan) -> Vec<(EnvironmentName, Step, CancellationToken)> {
        let mut memory = towed.memory();
        let mut due = Vec::new();
        for unit in &plan.units {
            if let Some(asking) = memory.asking(&unit.environment) {
                if !asking.is_asked_by(&unit.decision) {
                    asking.end.cancel();
                }
                continue;
            }
            if let Decision::Step(step) = &unit.decision
                && !memory.in_flight.contains_key(&unit.environment)
            {
                let end = CancellationToken::new();
                let asking = match &**step {
                    Step::Smoke(smoke) => Some(Asking {
                        number: smoke.number,
                        end: end.clone(),
                    }),
                    _ => None,
                };
                let in_flight = InFlight {
                    asking,
                    _acting: self.acting.get(&unit.environment).cloned(),
                };
                memory.in_flight.insert(unit.environment.clone(), in_flight);
                due.push((unit.environment.clone(), Step::clone(step), end));
            }
        }
        due
    }

    fn post(&self, towed: &Towed, world: &World, plan: Plan, is_looked_up: bool) {
        let busy = towed.memory().is_busy();
        let tried = self.observatory.is_tried(&towed.pipeline) && is_looked_up;
        let records = world.units.iter().filter_map(|(environment, view)| {
            let records = view.infra.read().ok()?.records.as_ref().ok()?;
            Some((environment.clone(), records.clone()))
        });
        self.board.post(Posted {
            pipeline: towed.pipeline.clone(),
            records: records.collect(),
            plan,
            busy,
            tried,
        });
    }
}

impl Towed {
    fn new(pipeline: Arc<Pipeline>) -> Self {
        Self {
            pipeline,
            wake: Notify::new(),
            memory: Mutex::default(),
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// Puts what is remembered of each unit into the world, and remembers what does not stay to be seen.
    fn teach(&mut self, world: &mut World) {
        for (environment, view) in &mut world.units {
            let mut learned = self.learned.remove(environment).unwrap_or_default();
            learned.see(view);
            if learned != Learned::default() {
                self.learned.insert(environment.clone(), learned.clone());
            }
            view.learned = learned;
        }
    }

    /// The smoke tests that are on their way to this unit.
    fn asking(&self, environment: &EnvironmentName) -> Option<&Asking> {
        self.in_flight.get(environment)?.asking.as_ref()
    }

    /// Nobody will look at the answers any more.
    fn end_asking(&self) {
        let asking = self.in_flight.values().filter_map(|it| it.asking.as_ref());
        asking.for_each(|asking| asking.end.cancel());
    }

    fn is_busy(&self) -> bool {
        let asks = self.asking_evidence;
        asks || self.tagging.makes() || self.showing || !self.in_flight.is_empty()
    }

    /// Whether nobody shows anything yet, and nothing just failed; somebody does from here on.
    fn begin_showing(&mut self, now: Timestamp) -> bool {
        if self.show_again.is_some_and(|again| now < again) {
            return false;
        }
        !std::mem::replace(&mut self.showing, true)
    }

    fn end_showing(&mut self, again: Option<Timestamp>) {
        self.showing = false;
        self.show_again = again;
    }

    /// How long until what could not be made or shown is tried again: no plan knows of it.
    fn again(&self, now: Timestamp) -> Duration {
        let moments = [self.tagging.again(), self.show_again]
            .into_iter()
            .flatten();
        let left = moments.filter_map(|again| Duration::try_from(again.duration_since(now)).ok());
        left.min().unwrap_or(Duration::MAX)
    }
}

impl Asking {
    /// Whether the unit's newest plan is still to ask, or to wait for the answer.
    fn is_asked_by(&self, decision: &Decision) -> bool {
        match decision {
            Decision::Step(step) => {
                matches!(&**step, Step::Smoke(smoke) if smoke.number == self.number)
            }
            Decision::Waiting(_) => false,
        }
    }
}
