//! A simulation: the real loop against servers in this process, with a clock of its own. One seed is one run, and
//! the same run each time.
//!
//! Owns what a run is made of ([`draw`]), what happens in it ([`act`], [`wire`]), what is told of it ([`ledger`])
//! and what must hold ([`check`]). Nothing of Towpath knows that it is simulated.

mod act;
mod check;
mod draw;
mod ledger;
mod many;
mod mutant;
mod shrink;
mod site;
mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

pub use check::Violation;
pub use many::{Many, many};
pub use mutant::{Mutant, mutants};
pub use shrink::shrunk;

use crate::plan::{Decision, Reason};
use crate::reconcile::{BUG, Planner, Reconciler};
use act::People;
use check::Checks;
use draw::{Act, Dice, Drawn, Event};
use ledger::{Fact, Ledger, Who};
use site::Site;
use wire::Wires;

/// Names of all that may happen beside Towpath.
pub fn acts() -> Vec<String> {
    let acts = Act::ALL.iter();
    acts.map(|(_, act)| format!("{act:?}")).collect()
}

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
    /// Whether pushes name whatever is there, not what they were planned on.
    pub careless: bool,
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
            careless: false,
            only: None,
        }
    }

    /// Runs it, in a runtime of its own whose clock stands still. Not from within another runtime.
    pub fn run(&self) -> Ended {
        self.play(&Drawn::new(self.seed, self.steps))
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
        let shape = Arc::new(drawn.shape.clone());
        let ledger = Ledger::new(shape.clone(), begin);
        let site = Site::new(shape, Wires::new(ledger, run.careless), run.planner)?;
        let people = People::new(&site);
        let processes = 0..drawn.shape.clocks.len();
        let processes = processes.map(|it| site.start(Who::Towpath(it))).collect();
        Ok(Self {
            site,
            people,
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
            }
            let mut dice = Dice::new(drawn.shape.clocks.len() as u64 ^ (step as u64) << 8);
            self.turns(Some(&mut dice)).await;
            violation = self.look();
        }
        if violation.is_none() {
            violation = self.come_to_an_end().await;
        }
        self.ended(violation)
    }

    /// Somebody starts a process anew.
    fn restart(&mut self, event: &Event) {
        if event.act == Act::Restart {
            let index = Dice::new(event.dice).roll(self.processes.len());
            self.start(index);
        }
    }

    fn start(&mut self, index: usize) {
        if let Some(process) = self.processes.get_mut(index) {
            *process = self.site.start(Who::Towpath(index));
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
                () = turn => self.see(&process),
                () = wires.died.notified() => self.start(index),
            }
        }
        for unit in People::opened_twice(&self.site) {
            let who = Who::Towpath(0);
            self.site.ledger().note(who, Fact::OpenedTwice { unit });
        }
    }

    /// What a process said of its units.
    fn see(&mut self, process: &Reconciler) {
        let mut ledger = self.site.wires.ledger();
        for posted in process.board().all() {
            for unit in &posted.plan.units {
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
            cluster.temper(|temper| temper.prevented = None);
        }
        let mut quiet = 0;
        for _ in 0..ROUNDS {
            self.site.ledger().step += 1;
            self.pass(60);
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
            if quiet > 12 {
                return self.settled().await;
            }
        }
        self.is_checked.then(|| Violation {
            name: "I7",
            detail: format!("it does not settle within {ROUNDS} rounds"),
        })
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
        let before = self.site.writes();
        for index in 0..self.processes.len() {
            self.start(index);
        }
        for _ in 0..4 {
            self.pass(1);
            self.turns(None).await;
        }
        let after = self.site.writes();
        (self.is_checked && before != after).then(|| Violation {
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
    ];
    stuck.contains(&reason.name())
}

impl Fact {
    fn line(&self, ledger: &Ledger) -> String {
        let place = |at: usize| ledger.shape.places.get(at).map_or("?", |it| it.name);
        let named = |images: &Option<ledger::Images>| match images {
            Some(images) => ledger.name(images),
            None => "nothing".to_owned(),
        };
        match self {
            Self::Wrote {
                unit,
                before,
                after,
                commit,
                forward,
            } => {
                let back = if *forward { "" } else { " (back)" };
                format!(
                    "{} {}: {} -> {} {}{back}",
                    place(unit.0),
                    unit.1,
                    named(before),
                    named(after),
                    commit.short()
                )
            }
            Self::Proposed { unit, images } => {
                format!("{} {}: proposed {}", place(unit.0), unit.1, named(images))
            }
            Self::Recorded { place: at, record } => {
                let of = record.application.as_ref().map_or("", |it| it.as_str());
                format!(
                    "{} {of}: {} (by {})",
                    place(*at),
                    record.statement,
                    record.by
                )
            }
            Self::Forgot { place: at, detail } => format!("{}: {detail}", place(*at)),
            Self::Pruned { unit, object, .. } => {
                format!("{} {}: deleted {object}", place(unit.0), unit.1)
            }
            Self::OpenedTwice { unit } => {
                format!("{} {}: two open requests", place(unit.0), unit.1)
            }
        }
    }
}
