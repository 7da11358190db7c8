//! What an environment may ask for besides where its releases come from: freezes, rates, ages, evidence, smoke
//! tests, limits of what is deleted. Drawn, and written as its configuration.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

use super::BEGIN;
use super::draw::Dice;

/// The evidence that is asked for.
pub(super) const EVIDENCE: &str = "acceptance";

/// An environment's policies. All times are seconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Policy {
    /// So many deployments in so long a time.
    pub(super) rate: Option<(usize, i64)>,
    pub(super) min_age: i64,
    /// Whether evidence is asked for, and how old it may be.
    pub(super) evidence: Option<Option<i64>>,
    pub(super) smoke: bool,
    /// A window without changes, from the beginning of the run.
    pub(super) freeze: Option<(i64, i64)>,
    /// How many objects may go at once.
    pub(super) limit: Option<usize>,
    /// Whether a ConfigMap goes only after a yes.
    pub(super) confirms: bool,
    /// Whether one failure stops all.
    pub(super) stops: bool,
    /// Whether changed objects are only reported.
    pub(super) reports: bool,
    /// Whether a newer release takes the place of one that is approved.
    pub(super) replaces: bool,
    /// Whether what is taken out of the configuration is deleted.
    pub(super) clears: bool,
}

impl Policy {
    /// Few policies at a time: what each does is to be seen.
    pub(super) fn new(dice: &mut Dice) -> Self {
        let mut policy = Self::default();
        for _ in 0..dice.roll(4) {
            match dice.roll(11) {
                0 => policy.rate = Some((1 + dice.roll(2), 60 + dice.roll(240) as i64)),
                1 => policy.min_age = 10 + dice.roll(110) as i64,
                2 | 3 => {
                    let age = dice.one_in(2).then(|| 60 + dice.roll(240) as i64);
                    policy.evidence = Some(age);
                }
                4 => policy.smoke = true,
                5 => {
                    let from = 60 * dice.roll(20) as i64;
                    policy.freeze = Some((from, from + 60 * (1 + dice.roll(7) as i64)));
                }
                6 => policy.limit = Some(1 + dice.roll(2)),
                7 => policy.confirms = true,
                8 => policy.stops = true,
                9 => policy.reports = true,
                _ => (policy.replaces, policy.clears) = (true, true),
            }
        }
        policy
    }

    /// Whether it lets releases come as they are found.
    pub(super) fn is_quick(&self) -> bool {
        let waits = self.rate.is_some() || self.min_age > 0 || self.evidence.is_some();
        !waits && self.freeze.is_none()
    }

    /// Whether its window is shut at that moment.
    pub(super) fn is_frozen(&self, at: Timestamp) -> bool {
        self.freeze.is_some_and(|(from, to)| {
            let seconds = at.as_second() - BEGIN;
            (from..to).contains(&seconds)
        })
    }

    /// How many objects may be deleted at once, of few.
    pub(super) fn limit(&self) -> usize {
        self.limit.unwrap_or(10)
    }

    /// The keys of the environment's file.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut add = |line: String| {
            // Writing to a text cannot fail.
            let _done = writeln!(text, "{line}");
        };
        if let Some((most, per)) = self.rate {
            add(format!("rate: {{ at-most: {most}, per: {per}s }}"));
        }
        if self.min_age > 0 {
            add(format!("min-age: {}s", self.min_age));
        }
        if let Some(age) = self.evidence {
            let age = age.map_or(String::new(), |age| format!(", max-age: {age}s"));
            add(format!("evidence: [{{ rule: {EVIDENCE}{age} }}]"));
        }
        if self.smoke {
            add("smoke: [{ get: 'https://{application}.example.com/healthz' }]".to_owned());
        }
        if let Some((from, to)) = self.freeze {
            let at = |seconds: i64| {
                let at = Timestamp::from_second(BEGIN + seconds).unwrap_or(Timestamp::MAX);
                at.strftime("%Y-%m-%dT%H:%M").to_string()
            };
            add(format!(
                "freeze: [{{ from: {}, to: {} }}]",
                at(from),
                at(to)
            ));
        }
        let mut prune = Vec::new();
        prune.extend(self.limit.map(|limit| format!("limit: {limit}")));
        prune.extend(self.confirms.then(|| "confirm: [ConfigMap]".to_owned()));
        prune.extend(self.clears.then(|| "removed: true".to_owned()));
        if !prune.is_empty() {
            add(format!("prune: {{ {} }}", prune.join(", ")));
        }
        if self.stops {
            add("stop-the-line: environment".to_owned());
        }
        if self.reports {
            add("drift: report".to_owned());
        }
        if self.replaces {
            add("request: { on-newer: replace }".to_owned());
        }
        text
    }

    /// A moment so many seconds later.
    pub(super) fn later(now: Timestamp, seconds: usize) -> Timestamp {
        let after = SignedDuration::from_secs(seconds as i64);
        now.checked_add(after).unwrap_or(now)
    }
}
