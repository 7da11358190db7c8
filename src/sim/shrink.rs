//! Makes a run that breaks something smaller: what happens in it is left out, piece by piece, as long as the same
//! invariant is broken.

use super::script::{Drawn, Event};
use super::{Ended, Run};

/// Runs that are tried at most.
const TRIES: usize = 200;

/// The smallest run found that breaks what this one breaks, and what is left of its script. A run that breaks
/// nothing is given as it is.
pub fn shrunk(run: &Run) -> (Ended, Vec<String>) {
    let mut drawn = Drawn::new(run.seed, run.steps, run.plain);
    let mut smallest = run.play(&drawn);
    let Some(name) = smallest.violation.as_ref().map(|it| it.name) else {
        return (smallest, lines(&drawn.script));
    };
    let mut size = drawn.script.len().div_ceil(2);
    let mut tries = 0;
    while size > 0 && tries < TRIES {
        let mut at = 0;
        while at < drawn.script.len() && tries < TRIES {
            tries += 1;
            let mut fewer = drawn.clone();
            fewer.script.drain(at..(at + size).min(drawn.script.len()));
            let ended = run.play(&fewer);
            match ended.violation.as_ref().is_some_and(|it| it.name == name) {
                true => (drawn, smallest) = (fewer, ended),
                false => at += size,
            }
        }
        size /= 2;
    }
    (smallest, lines(&drawn.script))
}

fn lines(script: &[Event]) -> Vec<String> {
    let lines = script.iter();
    lines
        .map(|event| format!("step {}: {:?}", event.step, event.act))
        .collect()
}
