//! The simulation: every seed keeps every invariant, the same seed is the same run, what can happen does, and each
//! planner with a mistake is found by the check of the invariant that it breaks.
//!
//! `TOWPATH_SEEDS=FIRST..LAST` says which seeds are run. `TOWPATH_UPDATE=1` records for each mutant the seed that
//! still finds it, or else the first of a thousand that does (`fixtures/simulation/mutants.txt`).

use std::ops::Range;
use std::path::Path;

use towpath::sim::{self, Mutant, Run};

/// Seeds where nobody says which.
const SEEDS: Range<u64> = 0..60;

/// Within so many seeds each mutant is found.
const MUTANT_SEEDS: Range<u64> = 0..1000;

/// Which seeds, on how many threads: beside other tests on one, that they get on, too.
fn seeds() -> (Range<u64>, usize) {
    let Ok(chosen) = std::env::var("TOWPATH_SEEDS") else {
        return (SEEDS, 1);
    };
    let (first, last) = chosen
        .split_once("..")
        .expect("TOWPATH_SEEDS is FIRST..LAST");
    let seeds = first.parse().unwrap()..last.parse().unwrap();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    (seeds, threads)
}

/// All that can happen does: acts, trouble, steps and reasons.
#[test]
fn every_seed_keeps_every_invariant() {
    let (seeds, threads) = seeds();
    let done = sim::many(&Run::new(0), seeds, threads, |_| {});
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
    let missing = done.never_happened();
    assert!(missing.is_empty(), "this never happened: {missing:?}");
}

/// `fixtures/simulation/seeds.txt`: seeds that once broke something, how they were drawn then, which invariant, and
/// what it was.
#[test]
fn what_was_once_broken_is_not() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/simulation/seeds.txt");
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let mut words = line.split_whitespace();
        let seed = words.next().unwrap_or_default().parse().unwrap();
        let drawn = words.next().unwrap_or_default();
        assert!(["plain", "all"].contains(&drawn), "{line}");
        let run = Run {
            plain: drawn == "plain",
            ..Run::new(seed)
        };
        let ended = run.run();
        assert_eq!(ended.violation, None, "{line}");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..4 {
        let (first, second) = (Run::new(seed).run(), Run::new(seed).run());
        assert_eq!(first.history, second.history, "seed {seed}");
        assert_eq!(first.seen, second.seen, "seed {seed}");
    }
}

fn run(mutant: &Mutant, seed: u64) -> Run {
    Run {
        planner: mutant.planner,
        careless: mutant.careless,
        only: mutant.breaks,
        ..Run::new(seed)
    }
}

/// One line: the invariant, the seed that finds it, what it does wrong.
fn line(mutant: &Mutant, seed: Option<u64>) -> String {
    let breaks = mutant.breaks.unwrap_or("none");
    let seed = seed.map_or("-".to_owned(), |seed| seed.to_string());
    format!("{breaks:5} {seed:>4}  {}\n", mutant.name)
}

#[test]
fn each_mutant_is_found_by_its_own_check() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/simulation/mutants.txt");
    if std::env::var("TOWPATH_UPDATE").is_ok() {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        let found = sim::mutants().into_iter().map(|mutant| {
            let mut known = before.lines().filter(|it| it.ends_with(mutant.name));
            let known = known.find_map(|it| it.split_whitespace().nth(1)?.parse().ok());
            let found = mutant.breaks.and_then(|breaks| {
                let finds = |seed: &u64| {
                    let found = run(&mutant, *seed).run().violation;
                    found.is_some_and(|it| it.name == breaks)
                };
                known.filter(finds).or_else(|| {
                    let done = sim::many(&run(&mutant, 0), MUTANT_SEEDS, threads, |_| {});
                    done.broken.first().copied()
                })
            });
            let line = line(&mutant, found);
            eprint!("{line}");
            line
        });
        std::fs::write(&path, found.collect::<String>()).unwrap();
    }
    let recorded = std::fs::read_to_string(&path).unwrap();
    let mut lines = recorded.lines();
    for mutant in sim::mutants() {
        let recorded = lines.next().unwrap_or_default();
        let seed = recorded.split_whitespace().nth(1).unwrap_or_default();
        let seed: Option<u64> = seed.parse().ok();
        let expected = line(&mutant, seed);
        assert_eq!(
            recorded,
            expected.trim_end(),
            "record anew: TOWPATH_UPDATE=1"
        );
        let name = mutant.name;
        let Some(breaks) = mutant.breaks else {
            // Nobody can see it: nothing is found.
            let done = sim::many(&run(&mutant, 0), 0..20, 1, |_| {});
            assert!(done.broken.is_empty(), "`{name}` breaks {:?}", done.broken);
            continue;
        };
        let seed = seed.unwrap_or_else(|| panic!("`{name}` is never found"));
        let found = run(&mutant, seed).run().violation.map(|it| it.name);
        assert_eq!(
            found,
            Some(breaks),
            "`{name}` with seed {seed}: TOWPATH_UPDATE=1 looks anew"
        );
    }
    assert_eq!(lines.next(), None, "record anew: TOWPATH_UPDATE=1");
}
