//! The simulation: every seed keeps every invariant, the same seed is the same run, and all that can happen does.
//!
//! `TOWPATH_SEEDS=FIRST..LAST` says which seeds are run.

use std::collections::BTreeSet;

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

/// What is drawn is also what happens: each act, each fault, each kind of step and of record.
#[test]
fn all_that_can_happen_does() {
    let mut seen = BTreeSet::new();
    for seed in 0..60 {
        seen.extend(Run::new(seed).run().seen);
    }
    eprintln!("{seen:#?}");
}
