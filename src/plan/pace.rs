//! How often and how early releases come by themselves: minimum ages, and how many deployments at once.

use jiff::Timestamp;

use super::{Infra, Ready, Reason, Unit, Waiting};
use crate::clock::after;
use crate::model::record::Standing;
use crate::model::{Rate, Release};

/// The releases that are old enough, and what the newest of the others waits for, if it is newer than `running`.
pub(super) fn aged(
    ready: &Ready<'_>,
    releases: Vec<Release>,
    running: Option<&Release>,
) -> (Vec<Release>, Option<Waiting>) {
    let (old, young): (Vec<_>, Vec<_>) = releases
        .into_iter()
        .partition(|release| old_at(ready.unit, release) <= ready.unit.now);
    let newest = young.into_iter().max_by(Release::compare);
    let newest = newest.filter(|it| {
        let newer = |than: Option<&Release>| than.is_none_or(|than| it.is_newer_than(than));
        newer(running) && newer(old.iter().max_by(|a, b| a.compare(b)))
    });
    let waiting = newest.and_then(|release| young_still(ready.unit, &release));
    (old, waiting)
}

/// What a release waits for that is not old enough.
pub(super) fn young_still(unit: &Unit<'_>, release: &Release) -> Option<Waiting> {
    let until = old_at(unit, release);
    let young = Reason::Young {
        release: release.clone(),
        until,
    };
    (until > unit.now).then(|| Waiting::on(young).since(release.rank.built).until(until))
}

fn old_at(unit: &Unit<'_>, release: &Release) -> Timestamp {
    after(release.rank.built, unit.environment.min_age)
}

/// What a release waits for where enough came of late.
pub(super) fn limited(unit: &Unit<'_>, infra: &Infra, release: &Release) -> Option<Waiting> {
    let rate = unit.environment.rate?;
    let until = full_until(rate, &infra.standing, unit.now)?;
    let reason = Reason::Rate {
        release: release.clone(),
        rate,
        until,
    };
    Some(Waiting::on(reason).until(until))
}

/// When the next deployment may come, where as many as may came of late.
pub fn full_until(rate: Rate, standing: &Standing, now: Timestamp) -> Option<Timestamp> {
    let first = standing.recent.len().checked_sub(rate.at_most)?;
    let ends = after(*standing.recent.get(first)?, rate.per);
    (now < ends).then_some(ends)
}
