//! What a person asked for with `towpath promote`: whether it is still to come, and whether it may.

use super::next::Upstream;
use super::{Ready, Unit};
use crate::model::record::Promotion;
use crate::model::{Follow, Release};

/// What is to come because a person asked for it: as long as something older is there, and it is proven or
/// forced. One that lost its proof has no effect; the next one goes on as if nobody had asked.
pub(super) fn due<'a>(ready: &Ready<'a>) -> Option<&'a Promotion> {
    let promotion = ready.records.promotion.as_ref()?;
    let release = &promotion.promoted.release;
    let running = ready.head.release();
    let comes = running.is_none_or(|running| release.is_newer_than(running));
    let may = promotion.promoted.unproven || is_proven(ready.unit, release);
    (comes && may).then_some(promotion)
}

/// Whether everything that the environment follows proves it now; what is taken from registries needs no proof.
pub(super) fn is_proven(unit: &Unit<'_>, release: &Release) -> bool {
    let Follow::Environments { all, soak } = &unit.environment.follow else {
        return true;
    };
    let digests = release.digests();
    all.iter().all(|name| {
        Upstream::read(unit, name).is_ok_and(|upstream| {
            let mut runs = upstream.records.runs.iter();
            runs.any(|run| run.release.is(&digests) && upstream.is_proven(run, *soak, unit.now))
        })
    })
}
