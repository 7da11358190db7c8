//! What a person asked for with `towpath promote`: whether it is still to come, and whether it may.

use jiff::Timestamp;

use super::upstream::Upstream;
use super::{Ready, Reason, Unit, Waiting, evidence};
use crate::model::record::{Promotion, UnitRecords};
use crate::model::{EnvironmentName, Follow, Release};

/// What a person asked for, as long as something older is there.
struct Asked<'a> {
    promotion: &'a Promotion,
    /// Whether it comes as it is, proven or not.
    is_forced: bool,
}

impl<'a> Asked<'a> {
    fn of(unit: &Unit<'_>, records: &'a UnitRecords, running: Option<&Release>) -> Option<Self> {
        let promotion = records.promotion.as_ref()?;
        let release = &promotion.promoted.release;
        let comes = running.is_none_or(|running| release.is_newer_than(running));
        comes.then(|| Self {
            promotion,
            is_forced: promotion.is_forced(&unit.environment.authority),
        })
    }

    fn release(&self) -> &'a Release {
        &self.promotion.promoted.release
    }
}

/// What is to come because a person asked for it: as long as something older is there, and it is proven or
/// forced. One that is not has no effect yet, or any more; the next one goes on as if nobody had asked.
pub(super) fn due<'a>(ready: &Ready<'a>) -> Option<&'a Promotion> {
    let asked = Asked::of(ready.unit, ready.records, ready.head.release())?;
    let may = asked.is_forced || is_proven(ready.unit, asked.release());
    may.then_some(asked.promotion)
}

/// What is said of one that a person asked for, and that is not proven.
pub(super) fn pending(unit: &Unit<'_>, records: &UnitRecords) -> Option<String> {
    let asked = Asked::of(unit, records, records.running())?;
    let (promotion, release) = (asked.promotion, asked.release());
    let waits = !asked.is_forced && !is_proven(unit, release);
    let by = promotion.who();
    waits.then(|| match promotion.promoted.unproven {
        true => format!(
            "{by} promoted {release} unproven: it comes once another person with a key that may `override` says so, too, or it is proven"
        ),
        false => format!("{by} promoted {release}: it comes once it is proven"),
    })
}

/// What keeps one that is not proven from coming where it takes two people, and fewer said so.
pub(super) fn unseconded(ready: &Ready<'_>) -> Option<Waiting> {
    let asked = Asked::of(ready.unit, ready.records, ready.head.release())?;
    let promotion = asked.promotion;
    let waits = promotion.promoted.unproven && !asked.is_forced;
    let reason = Reason::SecondWord {
        release: asked.release().clone(),
        by: promotion.who(),
    };
    waits.then(|| Waiting::on(reason).since(promotion.at))
}

/// What it waits for, where a person said not before when.
pub(super) fn scheduled(promotion: &Promotion, now: Timestamp) -> Option<Waiting> {
    let until = promotion.promoted.not_before.filter(|at| now < *at)?;
    let reason = Reason::Scheduled {
        release: promotion.promoted.release.clone(),
        by: promotion.by.clone(),
        until,
    };
    Some(Waiting::on(reason).since(promotion.at).until(until))
}

/// Whether everything that the environment follows proves it now, and its evidence is in; what is taken from
/// registries needs no other proof.
pub(super) fn is_proven(unit: &Unit<'_>, release: &Release) -> bool {
    if !evidence::lacking(unit, release).is_empty() {
        return false;
    }
    match &unit.environment.follow {
        Follow::Environments { all, .. } => {
            all.iter().all(|name| is_proven_in(unit, name, release))
        }
        Follow::Branches(_) | Follow::Tags(_) => true,
    }
}

/// Whether a followed environment proves it now.
pub(super) fn is_proven_in(unit: &Unit<'_>, name: &EnvironmentName, release: &Release) -> bool {
    let Follow::Environments { soak, .. } = &unit.environment.follow else {
        return true;
    };
    let digests = release.digests();
    Upstream::read(unit, name).is_ok_and(|upstream| {
        let mut runs = upstream.records.runs.iter();
        runs.any(|run| run.release.is(&digests) && upstream.is_proven(run, *soak, unit.now))
    })
}
