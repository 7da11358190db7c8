//! The simulation: every seed keeps every invariant, the same seed is the same run, and all that can happen does.
//!
//! `TOWPATH_SEEDS=FIRST..LAST` says which seeds are run.

use towpath::sim::{self, Run};

/// Seeds where nobody says which.
const SEEDS: std::ops::Range<u64> = 0..200;

fn seeds() -> std::ops::Range<u64> {
    let Ok(chosen) = std::env::var("TOWPATH_SEEDS") else {
        return SEEDS;
    };
    let (first, last) = chosen
        .split_once("..")
        .expect("TOWPATH_SEEDS is FIRST..LAST");
    first.parse().unwrap()..last.parse().unwrap()
}

#[test]
fn every_seed_keeps_every_invariant() {
    let done = sim::many(&Run::new(0), seeds(), false);
    if let Some(seed) = done.broken.first() {
        let (ended, script) = sim::shrunk(&Run::new(*seed));
        let violation = ended.violation.unwrap();
        panic!(
            "seed {seed} breaks {}: {}\nwhat is left of it:\n{}\nand what happened:\n{}",
            violation.name,
            violation.detail,
            script.join("\n"),
            ended.history.join("\n")
        );
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..10 {
        let (first, second) = (Run::new(seed).run(), Run::new(seed).run());
        assert_eq!(first.history, second.history, "seed {seed}");
        assert_eq!(first.seen, second.seen, "seed {seed}");
    }
}

/// Each mistake is found by the check of the invariant that it breaks, with all others off; one that nobody can see
/// is not.
#[test]
fn each_mutant_is_found_by_its_own_check() {
    let mut table = String::new();
    let mut missed = Vec::new();
    for mutant in sim::mutants() {
        let run = Run {
            planner: mutant.planner,
            careless: mutant.careless,
            only: mutant.breaks,
            ..Run::new(0)
        };
        let seeds = if mutant.breaks.is_some() {
            0..1000
        } else {
            0..40
        };
        let done = sim::many(&run, seeds, false);
        let found = done.broken.first();
        let told = found.map_or("not found".to_owned(), |seed| format!("seed {seed}"));
        let breaks = mutant.breaks.unwrap_or("nothing");
        table += &format!("{breaks:8} {:45} {told}\n", mutant.name);
        if found.is_some() != mutant.breaks.is_some() {
            missed.push(mutant.name);
        }
    }
    println!("{table}");
    assert!(
        missed.is_empty(),
        "not as they should be: {missed:?}\n{table}"
    );
}

/// What is drawn is also what happens: acts, faults, kinds of steps and of records, reasons.
#[test]
fn all_that_can_happen_does() {
    let done = sim::many(&Run::new(0), 0..60, false);
    println!("{:#?}", done.seen);
}
