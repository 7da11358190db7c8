//! Whether what is proposed is proven at this moment: what a check on its request says.

use jiff::Timestamp;

use super::next::Upstream;
use super::{Unit, World};
use crate::model::{EnvironmentName, Follow, Pipeline};

/// How a proposed release stands in the environments that this one follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// It is proven in all of them, or was healthy here before.
    Proven(String),
    /// At this moment it is not known, or not so: health was lost, a server does not answer.
    Open(String),
    /// It failed, or was taken back.
    Spoiled(String),
}

/// How the proposed release of an environment stands; `None`: nothing is proposed there.
pub fn proof(
    pipeline: &Pipeline,
    world: &World,
    environment: &EnvironmentName,
    now: Timestamp,
) -> Option<Proof> {
    let environment = pipeline.environment(environment)?;
    let view = world.units.get(&environment.name)?;
    let unit = Unit {
        pipeline,
        environment,
        world,
        view,
        now,
    };
    let records = view.infra.read().ok()?.records.as_ref().ok()?;
    let release = &records.proposal.as_ref()?.release;
    let digests = release.digests();
    let Follow::Environments { all, soak } = &environment.follow else {
        return Some(Proof::Proven(format!("{release} follows no environment")));
    };
    // To go back is no promotion.
    let back = records
        .running()
        .is_some_and(|it| it.is_newer_than(release));
    if back && records.runs.iter().any(|run| run.release.is(&digests)) {
        return Some(Proof::Proven(format!("{release} was healthy here")));
    }
    let mut open = None;
    for name in all {
        let upstream = match Upstream::read(&unit, name) {
            Ok(upstream) => upstream,
            Err(waiting) => {
                open.get_or_insert(waiting.reason.to_string());
                continue;
            }
        };
        let mut runs = upstream
            .records
            .runs
            .iter()
            .filter(|run| run.release.is(&digests));
        let spoiled = runs.clone().find_map(|run| {
            let failed = || upstream.failed_since(run).then(|| "it failed".to_owned());
            run.spoiled.clone().or_else(failed)
        });
        if let Some(why) = spoiled {
            return Some(Proof::Spoiled(format!("{release} in {name}: {why}")));
        }
        if !runs.any(|run| upstream.is_proven(run, *soak, now)) {
            open.get_or_insert(format!("{release} is not healthy in {name} at this moment"));
        }
    }
    let names: Vec<&str> = all.iter().map(EnvironmentName::as_str).collect();
    Some(match open {
        Some(why) => Proof::Open(why),
        None => Proof::Proven(format!("{release} is proven in {}", names.join(", "))),
    })
}
