//! The process that knocks at one door.

#![allow(
    clippy::print_stderr,
    reason = "a process of its own tells its parent what broke"
)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fastrand::Rng;
use towpath::doors::{self, Answer, Door};

use super::mutate::Mutator;
use super::{AT_HAND, INPUTS, SLOW, fixtures, number};

/// What one input may take of a processor.
const LONGEST: Duration = Duration::from_secs(1);

/// After so long an input is taken to have no end.
const ENDLESS: Duration = Duration::from_secs(30);

/// What is told of an input that took too long, which is not made smaller: that would take too long.
const SLOW_ONE: &str = "it took";

/// A broken input is made smaller by so many tries.
const TRIES: usize = 400;

/// Takes its time by design: what bounds it is shown by the cases of manifests.
const LEFT_OUT: &str = "alias-bomb.yaml";

/// Knocks with the corpus as it is, then with what is made of it.
pub(super) fn at(name: &str) {
    let door = doors::all()
        .into_iter()
        .find(|door| door.name == name)
        .unwrap();
    let corpus = corpus(&door);
    let only: Vec<Vec<u8>> = corpus.iter().map(|(_, bytes)| bytes.clone()).collect();
    let knocker = Knocker::new(door);
    let mut taken = 0;
    let mut valid = 0;
    for (name, bytes) in &corpus {
        let answer = knocker.knock(bytes, &format!("of the corpus, {name}"));
        valid += u32::from(answer == Answer::Taken);
    }
    assert!(valid > 0, "nothing in the corpus of {name} is taken");
    let part = SLOW
        .iter()
        .find(|(slow, _)| *slow == name)
        .map_or(1, |(_, part)| *part);
    let inputs = (number("TOWPATH_DOORS").unwrap_or(INPUTS) / part).max(1);
    let seed = number("TOWPATH_DOORS_SEED").unwrap_or(0);
    let began = Instant::now();
    for index in 0..inputs {
        let random = Rng::with_seed(u64::from(seed) << 32 | u64::from(index));
        let mut mutator = Mutator {
            random,
            words: door.words,
            corpus: &only,
        };
        let made = mutator.of(&only[index as usize % only.len()]);
        let answer = knocker.knock(&made, &format!("seed {seed}, input {index}"));
        taken += u32::from(answer == Answer::Taken);
    }
    let rate = f64::from(inputs) / began.elapsed().as_secs_f64();
    println!(
        "knocked {} + {inputs} times, {taken} of these taken, {rate:.0} a second",
        corpus.len()
    );
}

/// The door's own inputs, and those of other tests that come in there.
fn corpus(door: &Door) -> Vec<(String, Vec<u8>)> {
    let mut corpus = files(&fixtures("doors").join(door.name), &[]);
    assert!(!corpus.is_empty(), "fixtures/doors/{} is empty", door.name);
    match door.name {
        "manifest" => corpus.extend(files(&fixtures("manifests/edit"), &["yaml", "json"])),
        "images-yaml" => corpus.extend(files(&fixtures("manifests/images-yaml"), &["yaml"])),
        "kubernetes-health" => {
            for entry in fs::read_dir(fixtures("health")).unwrap() {
                corpus.extend(files(&entry.unwrap().path(), &["json"]));
            }
        }
        "webhook" => {
            for entry in fs::read_dir(fixtures("webhooks")).unwrap() {
                let path = entry.unwrap().path();
                let sender = path.file_name().unwrap().to_str().unwrap();
                for (name, bytes) in if path.is_dir() {
                    files(&path, &["json"])
                } else {
                    Vec::new()
                } {
                    let event = name.split('.').next().unwrap();
                    let first = format!("{sender} {event}\n");
                    corpus.push((name.clone(), [first.as_bytes(), &bytes].concat()));
                }
            }
        }
        _ => {}
    }
    corpus.sort();
    corpus
}

/// The files of a folder, with these endings or with any.
fn files(folder: &Path, endings: &[&str]) -> Vec<(String, Vec<u8>)> {
    let paths = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let ends = |path: &Path| {
        path.extension()
            .is_some_and(|it| endings.iter().any(|ending| it == *ending))
    };
    let paths = paths.filter(|path| path.is_file() && (endings.is_empty() || ends(path)));
    let named = paths.map(|path| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, fs::read(&path).unwrap())
    });
    named.filter(|(name, _)| name != LEFT_OUT).collect()
}

struct Knocker {
    door: Door,
    at_hand: File,
    /// When the input at hand came, in milliseconds from the beginning; 0: there is none.
    since: Arc<AtomicU64>,
    began: Instant,
    /// Where the last panic came from, and what it said.
    panic: Arc<Mutex<String>>,
}

/// How long this thread had a processor: others may have one meanwhile (`/proc/thread-self/schedstat`, of whose numbers it
/// is the first, in nanoseconds).
fn worked() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds = stat
        .split_whitespace()
        .next()
        .and_then(|it| it.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap())
}

impl Knocker {
    fn new(door: Door) -> Self {
        let at_hand = File::create(std::env::var_os(AT_HAND).unwrap()).unwrap();
        let panic = Arc::new(Mutex::new(String::new()));
        let told = Arc::clone(&panic);
        panic::set_hook(Box::new(move |info| {
            *told.lock().unwrap_or_else(PoisonError::into_inner) = info.to_string();
        }));
        let (since, began) = (Arc::new(AtomicU64::new(0)), Instant::now());
        let watched = Arc::clone(&since);
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(Duration::from_secs(1));
                let since = watched.load(Ordering::Relaxed);
                let now = began.elapsed();
                if since > 0 && now > Duration::from_millis(since) + ENDLESS {
                    eprintln!("it has no end within {ENDLESS:?}");
                    std::process::exit(3);
                }
            }
        });
        Self {
            door,
            at_hand,
            since,
            began,
            panic,
        }
    }

    /// Its answer; where it breaks, the process ends with the smallest input that breaks it at hand.
    fn knock(&self, input: &[u8], whence: &str) -> Answer {
        match self.tried(input) {
            Ok(answer) => answer,
            Err(why) => {
                let slow = why.starts_with(SLOW_ONE);
                let small = if slow {
                    input.to_vec()
                } else {
                    self.smaller(input)
                };
                self.keep(&small);
                eprintln!("{whence}: {why}");
                std::process::exit(2);
            }
        }
    }

    fn tried(&self, input: &[u8]) -> Result<Answer, String> {
        self.keep(input);
        let mut fastest = Duration::MAX;
        // Other processes take from each other's caches: who is slow is slow thrice.
        for _ in 0..3 {
            let began = worked();
            let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.since.store(now.max(1), Ordering::Relaxed);
            let knocked = panic::catch_unwind(AssertUnwindSafe(|| (self.door.knock)(input)));
            self.since.store(0, Ordering::Relaxed);
            let knocked = knocked.map_err(|_| {
                let told = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
                told.clone()
            })?;
            let answer = knocked?;
            fastest = fastest.min(worked().saturating_sub(began));
            if fastest <= LONGEST {
                return Ok(answer);
            }
        }
        Err(format!("{SLOW_ONE} {fastest:?}"))
    }

    /// A smaller input that breaks it, too: parts are left out as long as that can be done.
    fn smaller(&self, input: &[u8]) -> Vec<u8> {
        let (mut small, mut tries) = (input.to_vec(), 0);
        let mut length = small.len() / 2;
        while length > 0 && tries < TRIES {
            let mut at = 0;
            while at < small.len() && tries < TRIES {
                let mut shorter = small.clone();
                shorter.drain(at..(at + length).min(shorter.len()));
                tries += 1;
                match self.tried(&shorter) {
                    Ok(_) => at += length,
                    Err(_) => small = shorter,
                }
            }
            length /= 2;
        }
        small
    }

    fn keep(&self, input: &[u8]) {
        self.at_hand.write_all_at(input, 0).unwrap();
        self.at_hand.set_len(input.len() as u64).unwrap();
    }
}
