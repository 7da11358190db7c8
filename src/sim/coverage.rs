//! What runs are drawn for, and whether it happened: acts of people, trouble, steps and reasons of the planner, what is
//! tried at the end.

use super::Many;
use super::script::Act;
use crate::plan::{Reason, Step};

/// Reasons and steps that no run is drawn for.
const NOT_DRAWN: [&str; 5] = [
    "reason unreadable-records",
    "reason unwritable",
    "reason second-word",
    "reason nothing-released",
    "step merge",
];

/// So many runs show all that is drawn.
pub const ALL_SHOWN: u64 = 1000;

/// What fewer may not show.
const RARE: [&str; 8] = [
    "reason outpaced",
    "reason behind",
    "reason refused",
    "reason prune-limit",
    "reason confirm",
    "reason removed",
    "step disarm",
    ANOTHER_GATE,
];

/// Somebody gave an environment another gate.
pub(super) const ANOTHER_GATE: &str = "another gate";

/// So few runs need not show anything.
const FEW: u64 = 60;

impl Many {
    /// What should have happened in so many runs, and did not: of fewer than sixty, nothing.
    pub fn never_happened(&self) -> Vec<String> {
        if self.runs < FEW {
            return Vec::new();
        }
        let is_drawn =
            |it: &str| !NOT_DRAWN.contains(&it) && (self.runs >= ALL_SHOWN || !RARE.contains(&it));
        let missing = all().filter(|it| is_drawn(it) && !self.seen.contains(it));
        missing.collect()
    }
}

fn all() -> impl Iterator<Item = String> {
    let reasons = Reason::NAMES.iter().map(|it| format!("reason {it}"));
    let steps = Step::KINDS.iter().map(|it| format!("step {it}"));
    let acts = Act::PLAIN.iter().chain(Act::MORE);
    let acts = acts.map(|(_, act)| format!("act {act:?}"));
    let strikes = ["Before", "After", "DieBefore", "DieAfter"];
    let servers = [
        "read of git",
        "write of git",
        "read of cluster",
        "write of cluster",
    ];
    let trouble = strikes
        .into_iter()
        .flat_map(move |strike| servers.map(|it| format!("{strike} at a {it}")));
    let probes = ["apart", "overtake", "overtake by hand"].map(|it| format!("probe {it}"));
    let all = reasons.chain(steps).chain(acts).chain(trouble);
    all.chain(probes).chain([ANOTHER_GATE.to_owned()])
}
