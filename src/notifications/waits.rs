//! Which units wait for one reason for long, by what each round decided. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::news::News;
use crate::model::{ApplicationName, EnvironmentName, Occasion, Release};
use crate::plan::{Decision, UnitPlan};

/// What is known of the units of an environment.
#[derive(Debug, Default)]
pub(super) struct Watching {
    units: BTreeMap<ApplicationName, Seen>,
}

#[derive(Debug)]
enum Seen {
    /// It waits for something that should not last.
    Waits(Waits),
    /// It does not.
    Goes,
}

/// A unit that waits.
#[derive(Debug, Clone)]
pub(super) struct Waits {
    pub(super) application: ApplicationName,
    /// The reason's name.
    pub(super) reason: &'static str,
    since: Timestamp,
    sentence: String,
    unblock: Option<String>,
    release: Option<Release>,
    number: Option<u64>,
}

/// What is to be told, and when more may be.
#[derive(Debug, Default)]
pub(super) struct Due {
    pub(super) due: Vec<Waits>,
    pub(super) next: Option<Timestamp>,
}

impl Watching {
    /// Takes in what was decided of a unit.
    pub(super) fn see(&mut self, application: &ApplicationName, unit: &UnitPlan, now: Timestamp) {
        let Decision::Waiting(waiting) = &unit.decision else {
            // What is tried again waits for the same as before, until it waits for something else.
            return;
        };
        let reason = &waiting.reason;
        if reason.is_patient() {
            self.units.insert(application.clone(), Seen::Goes);
            return;
        }
        let before = match self.units.get(application) {
            Some(Seen::Waits(waits)) if waits.reason == reason.name() => Some(waits.since),
            _ => None,
        };
        let waits = Waits {
            application: application.clone(),
            reason: reason.name(),
            since: waiting.since.or(before).unwrap_or(now),
            sentence: reason.to_string(),
            unblock: reason.unblock(application, &unit.environment),
            release: unit.release.clone(),
            number: unit.number,
        };
        self.units.insert(application.clone(), Seen::Waits(waits));
    }

    /// Whether a unit may still wait, as far as is known.
    pub(super) fn may_wait(&self, application: &str) -> bool {
        let mut units = self.units.iter();
        let unit = units.find(|(name, _)| name.as_str() == application);
        !matches!(unit, Some((_, Seen::Goes)))
    }

    /// The units that have waited as long, counted from no earlier than `from`, and were not told of.
    pub(super) fn due(
        &self,
        from: Timestamp,
        after: Duration,
        now: Timestamp,
        is_told: impl Fn(&ApplicationName, &str) -> bool,
    ) -> Due {
        let mut due = Due::default();
        for (application, seen) in &self.units {
            let Seen::Waits(waits) = seen else { continue };
            if is_told(application, waits.reason) {
                continue;
            }
            let at = waits.since.max(from).checked_add(after);
            let at = at.unwrap_or(Timestamp::MAX);
            match now < at {
                true => due.next = Some(due.next.map_or(at, |next| next.min(at))),
                false => due.due.push(waits.clone()),
            }
        }
        due
    }
}

impl Waits {
    /// What is told of it, for the so-manieth time.
    pub(super) fn news(self, environment: &EnvironmentName, count: u64) -> News {
        let key = format!(
            "{environment}/{}/stuck/{}/{count}",
            self.application, self.reason
        );
        News {
            occasion: Occasion::Stuck,
            environment: environment.clone(),
            application: Some(self.application),
            release: self.release,
            number: self.number,
            commit: None,
            reason: Some(self.sentence),
            by: None,
            unblock: self.unblock,
            at: self.since,
            key,
        }
    }
}
