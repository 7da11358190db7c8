//! `towpath simulate`: the real loop against simulated servers, seed by seed.

use std::io::Write;
use std::time::Instant;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::{Output, exit};
use crate::sim::{self, Run, STEPS};

/// Run the loop against simulated servers, people and trouble, and check every invariant at each step
///
/// A seed is one run, and the same run each time. What breaks an invariant is made as small as it goes on breaking
/// it, and told: what was drawn, and what happened at the servers. What never happened in a thousand runs and more,
/// though it is drawn, is told and is no success either.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The first seed
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// How many seeds, from there on
    #[arg(long, default_value_t = 1, conflicts_with = "forever")]
    count: u64,

    /// Goes on until something is broken
    #[arg(long)]
    forever: bool,

    /// How many steps each run has before it is left to come to its end
    #[arg(long, default_value_t = STEPS)]
    rounds: usize,

    /// With one seed: print what happened, also where nothing was broken
    #[arg(long, conflicts_with = "forever")]
    history: bool,

    /// How the answer is written
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    output: Output,
}

/// What was run, as scripts read it.
#[derive(Serialize)]
struct View {
    seeds: u64,
    seconds: f64,
    /// What was drawn and never happened.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    broken: Option<BrokenView>,
}

#[derive(Serialize)]
struct BrokenView {
    seed: u64,
    invariant: &'static str,
    detail: String,
    script: Vec<String>,
    history: Vec<String>,
}

/// Writes the answer.
///
/// # Errors
/// The writer's.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<u8> {
    let begun = Instant::now();
    let last = match args.forever {
        true => u64::MAX,
        false => args.seed.saturating_add(args.count),
    };
    let run = Run {
        steps: args.rounds,
        ..Run::new(args.seed)
    };
    // A run has a runtime of its own, which cannot be inside of ours.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let progress = Progress::begin((!args.forever).then_some(args.count));
    let (done, ended) = on_a_thread(|| {
        let done = sim::many(&run, args.seed..last, threads, |so_far| {
            progress.played(so_far.runs);
        });
        let broken = done.broken.first().copied();
        if let Some(seed) = broken {
            progress.shrinks(seed);
        }
        let told = broken.or((args.count == 1).then_some(args.seed));
        let told = told.map(|seed| {
            sim::shrunk(&Run {
                seed,
                ..run.clone()
            })
        });
        (done, told)
    });
    progress.end();
    let broken = ended.as_ref().and_then(|(ended, script)| {
        let violation = ended.violation.as_ref()?;
        Some(BrokenView {
            seed: done.broken.first().copied()?,
            invariant: violation.name,
            detail: violation.detail.clone(),
            script: script.clone(),
            history: ended.history.clone(),
        })
    });
    if let (true, Some((ended, _)), None) = (args.history, &ended, &broken) {
        for line in &ended.history {
            writeln!(out, "{line}")?;
        }
    }
    // Fewer runs, or shorter ones, may not show all of it.
    let shows_all = args.rounds == STEPS && done.runs >= sim::ALL_SHOWN;
    let missing = match shows_all && broken.is_none() {
        true => done.never_happened(),
        false => Vec::new(),
    };
    let view = View {
        seeds: done.runs,
        seconds: begun.elapsed().as_secs_f64(),
        missing,
        broken,
    };
    let code = match view.broken.is_some() || !view.missing.is_empty() {
        true => exit::STOPPED,
        false => exit::OK,
    };
    if args.output != Output::Table {
        args.output.write(&view, out)?;
        return Ok(code);
    }
    if let Some(broken) = &view.broken {
        writeln!(
            out,
            "seed {} breaks {}: {}",
            broken.seed, broken.invariant, broken.detail
        )?;
        writeln!(out, "what was drawn, as little of it as breaks it:")?;
        for line in &broken.script {
            writeln!(out, "  {line}")?;
        }
        writeln!(out, "what happened at the servers:")?;
        for line in &broken.history {
            writeln!(out, "  {line}")?;
        }
        return Ok(code);
    }
    let each = view.seeds as f64 / view.seconds;
    writeln!(
        out,
        "{} seeds, nothing broken: {:.1} s, {each:.0} a second",
        view.seeds, view.seconds
    )?;
    if !view.missing.is_empty() {
        writeln!(out, "this never happened: {}", view.missing.join(", "))?;
    }
    Ok(code)
}

/// How far it is, on stderr where that is a terminal; elsewhere nothing is said.
struct Progress(ProgressBar);

impl Progress {
    /// So many seeds, or as many as come.
    fn begin(count: Option<u64>) -> Self {
        // Such a target draws nothing where stderr is no terminal, or a dumb one.
        let bar = ProgressBar::with_draw_target(count, ProgressDrawTarget::stderr());
        let template = match count {
            Some(_) => "{bar:30} {pos} of {len} seeds, {per_sec:0}, {eta} left {msg}",
            None => "{spinner} {pos} seeds in {elapsed}, {per_sec:0} {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self(bar)
    }

    fn played(&self, runs: u64) {
        self.0.set_position(runs);
    }

    /// What broke something is made smaller.
    fn shrinks(&self, seed: u64) {
        self.0.set_message(format!("— seed {seed} is made smaller"));
        self.0.tick();
    }

    /// Leaves nothing behind.
    fn end(&self) {
        self.0.finish_and_clear();
    }
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}
