//! Many seeds, on several threads.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::Run;

/// What many runs came to.
#[derive(Debug, Clone, Default)]
pub struct Many {
    /// How many were run.
    pub runs: u64,
    /// Seeds that broke something. After the first, none are begun.
    pub broken: BTreeSet<u64>,
    /// Names of what happened in any of them.
    pub seen: BTreeSet<String>,
}

/// Runs these seeds on so many threads, each as `run` says, until one breaks something. After each, `tell` hears what
/// they came to so far.
pub fn many(run: &Run, seeds: Range<u64>, threads: usize, tell: impl Fn(&Many) + Sync) -> Many {
    let (next, stop) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let done = Mutex::new(Many::default());
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let ended = Run {
                seed,
                ..run.clone()
            }
            .run();
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done.runs += 1;
            done.seen.extend(ended.seen);
            if ended.violation.is_some() {
                done.broken.insert(seed);
                stop.store(true, Ordering::Relaxed);
            }
            tell(&done);
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(work);
        }
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner)
}
