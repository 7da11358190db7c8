//! A simulation: the real loop against servers in this process, with a clock of its own. One seed is one run, and
//! the same run each time.
//!
//! Owns what a run is made of ([`draw`], [`script`]), what happens in it ([`act`], [`wire`]), what is told of it ([`ledger`])
//! and what must hold ([`check`]). Nothing of Towpath knows that it is simulated.

mod act;
mod check;
mod coverage;
mod draw;
mod history;
mod ledger;
mod many;
mod mutant;
mod policy;
mod probe;
mod script;
mod shrink;
mod site;
mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::broadcast::Receiver;

pub use check::Violation;
pub use coverage::ALL_SHOWN;
pub use many::{Many, many};
pub use mutant::{Careless, Mutant, mutants};
pub use shrink::shrunk;

use crate::event;
use crate::model::EnvironmentName;
use crate::plan::{Decision, Reason, UnitPlan};
use crate::reconcile::{BUG, Planner, Reconciler};
use act::People;
use check::Checks;
use coverage::ANOTHER_GATE;
use draw::{Dice, Shape};
use ledger::{Fact, Ledger, Who};
use script::{Act, Drawn, Event};
use site::Site;
use wire::Wires;

/// Steps of a run where nobody says how many.
pub const STEPS: usize = 40;

/// Rounds within which everything comes to its end once nothing goes wrong any more.
const ROUNDS: usize = 200;

/// How many seconds a process goes by what it saw before, at most.
const LOOKS: i64 = 30;

/// When every run begins.
const BEGIN: i64 = 1_767_225_600; // 2026-01-01T00:00:00Z

/// A run.
#[derive(Debug, Clone)]
pub struct Run {
    /// What it is drawn from.
    pub seed: u64,
    /// How many steps it has before everything is left to itself.
    pub steps: usize,
    /// Who decides.
    pub planner: Planner,
    /// What effects leave out of what they were planned on.
    pub careless: Careless,
    /// Whether it is drawn as runs were in the beginning, without policies and what is tried at the end.
    pub plain: bool,
    /// The one invariant that is checked; `None`: all.
    pub only: Option<&'static str>,
}

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Ended {
    /// What was broken first.
    pub violation: Option<Violation>,
    /// Names of what happened: acts, faults, records, reasons, steps.
    pub seen: BTreeSet<String>,
    /// What happened at the servers, line by line.
    pub history: Vec<String>,
}

impl Run {
    /// The run of a seed, with everything as usual.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            steps: STEPS,
            planner: Planner::default(),
            careless: Careless::No,
            plain: false,
            only: None,
        }
    }

    /// Runs it, in a runtime of its own whose clock stands still. Not from within another runtime.
    pub fn run(&self) -> Ended {
        self.play(&Drawn::new(self.seed, self.steps, self.plain))
    }

    fn play(&self, drawn: &Drawn) -> Ended {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return Ended::wrong(format!("no runtime: {error}")),
        };
        runtime.block_on(async {
            match Stage::new(self, drawn) {
                Ok(stage) => stage.play(drawn).await,
                Err(why) => Ended::wrong(why),
            }
        })
    }
}

impl Ended {
    fn wrong(detail: String) -> Self {
        Self {
            violation: Some(Violation {
                name: "end",
                detail,
            }),
            seen: BTreeSet::new(),
            history: Vec::new(),
        }
    }
}

/// A run while it goes on.
struct Stage {
    site: Site,
    people: People,
    processes: Vec<Arc<Reconciler>>,
    /// What each process tells of.
    events: Vec<Receiver<event::Event>>,
    checks: Checks,
    is_checked: bool,
    /// What the check of finished plans found.
    bug: Option<String>,
    /// Seconds since the turns before.
    paused: i64,
}

impl Stage {
    fn new(run: &Run, drawn: &Drawn) -> Result<Self, String> {
        let begin = Timestamp::from_second(BEGIN).map_err(|error| error.to_string())?;
        let ledger = Ledger::new(drawn.shape.clone(), begin);
        let site = Site::new(
            drawn.shape.clone(),
            Wires::new(ledger, run.careless),
            run.planner,
        )?;
        let people = People::new(&site);
        let processes = 0..drawn.shape.clocks.len();
        let processes: Vec<Arc<Reconciler>> =
            processes.map(|it| site.start(Who::Towpath(it))).collect();
        Ok(Self {
            site,
            people,
            events: processes.iter().map(|it| it.events()).collect(),
            processes,
            checks: Checks::new(run.only),
            paused: 0,
            bug: None,
            is_checked: run.only.is_none_or(|only| !check::NAMES.contains(&only)),
        })
    }

    async fn play(mut self, drawn: &Drawn) -> Ended {
        self.people.begin(&self.site);
        for _ in 0..6 {
            self.pass(10);
            self.turns(None).await;
        }
        let mut violation = self.look();
        let mut script = drawn.script.iter().peekable();
        for (step, pause) in drawn.pauses.iter().enumerate() {
            if violation.is_some() {
                break;
            }
            self.pass(*pause);
            self.site.ledger().step = step;
            while let Some(event) = script.next_if(|event| event.step <= step) {
                self.people.act(&self.site, *event).await;
                self.restart(event);
                if event.act == Act::Reconfigure
                    && let Err(why) = self.reconfigure(event)
                {
                    return Ended::wrong(why);
                }
            }
            let mut dice = Dice::new(drawn.shape.clocks.len() as u64 ^ (step as u64) << 8);
            self.turns(Some(&mut dice)).await;
            violation = self.look();
        }
        if violation.is_none() {
            violation = self.come_to_an_end().await;
        }
        if violation.is_none() {
            violation = self.probe(drawn.probe).await;
        }
        for text in People::shown(&self.site) {
            let who = Who::Towpath(0);
            self.site.ledger().look_for_secrets(who, "a request", &text);
        }
        let violation = violation.or_else(|| self.look());
        self.ended(violation)
    }

    /// Somebody starts a process anew.
    fn restart(&mut self, event: &Event) {
        if event.act == Act::Restart {
            let index = Dice::new(event.dice).roll(self.processes.len());
            self.start(index);
        }
    }

    /// Everybody has another configuration from now on.
    fn reconfigure(&mut self, event: &Event) -> Result<(), String> {
        let shape = self.site.shape.reconfigured(&mut Dice::new(event.dice));
        let gates = |shape: &Shape| Vec::from_iter(shape.places.iter().map(|it| it.gate));
        if gates(&shape) != gates(&self.site.shape) {
            self.site.ledger().seen.insert(ANOTHER_GATE.to_owned());
        }
        self.site.reconfigure(shape)?;
        self.people.learn(&self.site);
        for index in 0..self.processes.len() {
            self.start(index);
        }
        Ok(())
    }

    fn start(&mut self, index: usize) {
        if let Some(process) = self.processes.get_mut(index) {
            *process = self.site.start(Who::Towpath(index));
            if let Some(events) = self.events.get_mut(index) {
                *events = process.events();
            }
        }
    }

    fn pass(&mut self, seconds: i64) {
        self.paused = seconds;
        let mut ledger = self.site.ledger();
        let now = ledger.now.checked_add(SignedDuration::from_secs(seconds));
        ledger.now = now.unwrap_or(Timestamp::MAX);
    }

    /// A turn of every process: each looks, and does what is to be done. With dice, some are late, and some go by
    /// what they saw before.
    async fn turns(&mut self, mut dice: Option<&mut Dice>) {
        let may_be_blind = self.paused <= LOOKS;
        for index in 0..self.processes.len() {
            let (late, blind) = match &mut dice {
                Some(dice) => (dice.one_in(6), may_be_blind && dice.one_in(5)),
                None => (false, false),
            };
            let Some(process) = self.processes.get(index).filter(|_| !late) else {
                continue;
            };
            let (process, wires) = (process.clone(), self.site.wires.clone());
            let now = self.site.ledger().clock(Who::Towpath(index));
            let pipelines = &self.site.pipelines;
            let turn = async {
                if !blind {
                    process.observatory().read_all(pipelines, now).await;
                }
                process.round(now).await;
            };
            tokio::select! {
                biased;
                () = turn => self.see(index, &process),
                () = wires.died.notified() => self.start(index),
            }
        }
        for unit in People::opened_twice(&self.site) {
            let who = Who::Towpath(0);
            self.site.ledger().note(who, Fact::OpenedTwice { unit });
        }
    }

    /// What a process said of its units.
    fn see(&mut self, index: usize, process: &Reconciler) {
        let mut ledger = self.site.wires.ledger();
        let who = Who::Towpath(index);
        while let Some(event) = self.events.get_mut(index).and_then(|it| it.try_recv().ok()) {
            let text = event.to_json(event.at).to_string();
            ledger.look_for_secrets(who, "an event", &text);
        }
        for posted in process.board().all() {
            for unit in &posted.plan.units {
                for note in &unit.notes {
                    ledger.look_for_secrets(who, "a note", note);
                }
                let said = unit.decision.to_string();
                ledger.look_for_secrets(who, "a reason", &said);
                let name = match &unit.decision {
                    Decision::Step(step) => format!("step {}", step.kind()),
                    Decision::Waiting(waiting) => {
                        let reason = &waiting.reason;
                        // The check of finished plans kept it from being done: it is a mistake all the same.
                        if let Reason::BrokenManifests(why) = reason
                            && why.starts_with(BUG)
                        {
                            let place = &unit.environment;
                            self.bug.get_or_insert_with(|| format!("{place}: {why}"));
                        }
                        format!("reason {}", reason.name())
                    }
                };
                ledger.seen.insert(name);
            }
        }
    }

    fn look(&mut self) -> Option<Violation> {
        let found = self.checks.look(&self.site.ledger());
        let bug = self.bug.take().filter(|_| self.is_checked);
        let bug = bug.map(|detail| Violation {
            name: "plan",
            detail,
        });
        found.or(bug)
    }

    /// Nothing goes wrong any more, and nobody does anything: everything comes to its end, and stays there.
    async fn come_to_an_end(&mut self) -> Option<Violation> {
        self.site.wires.heal();
        for cluster in self.site.clusters.values() {
            cluster.temper(|temper| {
                temper.prevented = None;
                temper.contested.clear();
            });
            cluster.behave(|it| it.fail.retain(|told| told != act::HOOK));
        }
        if let Some(violation) = self.settle().await {
            return Some(violation);
        }
        self.settled().await
    }

    /// Goes on until nothing is written any more.
    async fn settle(&mut self) -> Option<Violation> {
        let mut quiet = 0;
        for _ in 0..ROUNDS {
            self.site.ledger().step += 1;
            self.pass(if quiet > 0 { 240 } else { 60 });
            let before = self.site.writes();
            self.turns(None).await;
            if let Some(violation) = self.look() {
                return Some(violation);
            }
            quiet = match before == self.site.writes() {
                true => quiet + 1,
                false => 0,
            };
            // Longer than any deadline and any soak: no timer is due any more.
            if quiet > 3 {
                return None;
            }
        }
        self.is_checked.then(|| Violation {
            name: "I7",
            detail: format!("it does not settle within {ROUNDS} rounds"),
        })
    }

    /// How many units wait for another manifest, of each process: one that starts tries once more. What is shown
    /// before that hides it: there it counts where the cluster refuses images.
    fn refused(&self) -> u64 {
        let hides = |reason: &Reason| {
            let mut shown_before = Reason::NAMES.iter().take_while(|it| **it != "refused");
            shown_before.any(|it| *it == reason.name())
        };
        let refuses = |it: &EnvironmentName| {
            let cluster = self.site.clusters.get(it);
            cluster.is_some_and(|it| it.refuses_images())
        };
        let waits = |unit: &&UnitPlan| match &unit.decision {
            Decision::Waiting(waiting) => match &waiting.reason {
                Reason::Refused { .. } => true,
                reason => hides(reason) && refuses(&unit.environment),
            },
            Decision::Step(_) => false,
        };
        let posted = self.processes.iter().flat_map(|it| it.board().all());
        let refused = posted.map(|it| it.plan.units.iter().filter(waits).count() as u64);
        refused.sum()
    }

    /// All is done: what is left waits for a person, and processes that start anew find nothing to do.
    async fn settled(&mut self) -> Option<Violation> {
        for process in &self.processes {
            for posted in process.board().all() {
                for unit in &posted.plan.units {
                    let environment = &unit.environment;
                    let stuck = match &unit.decision {
                        Decision::Step(step) => Some(step.to_string()),
                        Decision::Waiting(waiting) => {
                            is_stuck(&waiting.reason).then(|| waiting.reason.to_string())
                        }
                    };
                    if let Some(stuck) = stuck.filter(|_| self.is_checked) {
                        let application = &posted.plan.application;
                        return Some(Violation {
                            name: "end",
                            detail: format!("{application} in {environment} is stuck: {stuck}"),
                        });
                    }
                }
            }
        }
        for (index, process) in self.processes.iter().enumerate() {
            let posted = process.board().all();
            let ledger = self.site.ledger();
            let now = ledger.clock(Who::Towpath(index));
            let wrong = self
                .checks
                .explained(&self.site, &ledger, index, &posted, now);
            let untold = || {
                posted.iter().find_map(|posted| {
                    let world = process.world(&posted.plan.application, now)?;
                    self.checks.untold(posted, &world, now)
                })
            };
            let wrong = wrong.or_else(untold);
            if wrong.is_some() {
                return wrong;
            }
        }
        let before = self.site.writes();
        let refused = self.refused();
        for index in 0..self.processes.len() {
            self.start(index);
        }
        for _ in 0..4 {
            self.pass(1);
            self.turns(None).await;
        }
        let after = self.site.writes();
        (self.is_checked && !before.is_still(&after, refused)).then(|| Violation {
            name: "I7",
            detail: format!("a process that starts anew writes: {before:?}, then {after:?}"),
        })
    }

    fn ended(self, violation: Option<Violation>) -> Ended {
        let ledger = self.site.ledger();
        let history = ledger.entries.iter().map(|entry| {
            let clock = entry.at.as_second() - BEGIN;
            format!(
                "{:>3} {clock:>6}s {:?}: {}",
                entry.step,
                entry.who,
                entry.fact.line(&ledger)
            )
        });
        let shape = std::iter::once(ledger.shape.to_string());
        Ended {
            violation,
            history: shape.chain(history).collect(),
            seen: ledger.seen.clone(),
        }
    }
}

/// Whether that is no reason to rest on once nothing goes wrong any more.
fn is_stuck(reason: &Reason) -> bool {
    let stuck = [
        "unreadable",
        "retrying",
        "unreadable-records",
        "converging",
        "soaking",
        "behind",
        "went-back",
        "scheduled",
        "rate",
        "young",
    ];
    stuck.contains(&reason.name())
}
