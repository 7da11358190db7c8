//! Freezes: what keeps an environment from taking what comes by itself, when it began and when it opens.

use jiff::Timestamp;

use super::{Ready, Reason, Waiting};
use crate::model::freeze;
use crate::model::record::Standing;
use crate::model::{Environment, Release};

/// A freeze that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frozen {
    /// Why.
    pub reason: String,
    /// Who said it, or where it is written.
    pub by: String,
    /// Since when.
    pub since: Timestamp,
    /// When it opens; `None`: once a person thaws it.
    pub until: Option<Timestamp>,
    /// Whether it is a person's, not a window of the environment's file.
    pub by_person: bool,
}

/// The freeze of an environment at this moment: of a person's and a window the one that ends last.
pub fn frozen(environment: &Environment, standing: &Standing, now: Timestamp) -> Option<Frozen> {
    let said = standing.freeze.as_ref().filter(|it| it.holds(now));
    let said = said.map(|freeze| Frozen {
        reason: freeze.reason.clone(),
        by: freeze.by.clone(),
        since: freeze.at,
        until: freeze.until,
        by_person: true,
    });
    let written = freeze::frozen(&environment.freeze, now).map(|(window, interval)| Frozen {
        reason: window.reason.clone(),
        by: window.place.clone(),
        since: interval.from,
        until: Some(interval.to),
        by_person: false,
    });
    let ends = |frozen: &Frozen| frozen.until.unwrap_or(Timestamp::MAX);
    match (said, written) {
        (Some(said), Some(written)) if ends(&written) > ends(&said) => Some(written),
        (said, written) => said.or(written),
    }
}

impl Frozen {
    /// One sentence for people.
    pub fn notice(&self) -> String {
        let reason = Reason::Frozen {
            release: None,
            frozen: self.clone(),
        };
        reason.to_string()
    }
}

/// The freeze that this unit's environment is in.
pub(super) fn of(ready: &Ready<'_>) -> Option<Frozen> {
    let unit = ready.unit;
    frozen(unit.environment, &ready.infra.standing, unit.now)
}

/// Waits for the environment to open.
pub(super) fn waiting(frozen: Frozen, release: Option<Release>) -> Waiting {
    let (since, until) = (frozen.since, frozen.until);
    let waiting = Waiting::on(Reason::Frozen { release, frozen }).since(since);
    match until {
        Some(until) => waiting.until(until),
        None => waiting,
    }
}

/// What is on its way waits for the freeze first; what has nothing to come is as it is.
pub(super) fn before(ready: &Ready<'_>, waiting: Waiting) -> Waiting {
    let release = match &waiting.reason {
        Reason::Declined { release }
        | Reason::Evidence { release, .. }
        | Reason::Soaking { release, .. } => Some(release.clone()),
        Reason::Young { release, .. } => Some(release.clone()),
        Reason::Upstream { release, .. } => release.clone(),
        Reason::Incomplete { .. } => None,
        _ => return waiting,
    };
    match of(ready) {
        Some(frozen) => waiting.or(self::waiting(frozen, release)),
        None => waiting,
    }
}
