//! Whether what is proposed, by us or by people, is proven at this moment: what a check on its request says.

use jiff::Timestamp;

use super::head::Head;
use super::upstream::Upstream;
use super::{Infra, Unit, World, evidence};
use crate::manifest::Rendered;
use crate::model::record::UnitRecords;
use crate::model::{EnvironmentName, Follow, Pipeline, Release, Weighed};

/// How a proposed release stands in the environments that this one follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// It is proven in all of them, was healthy here before, or a person promoted it unproven.
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
    let unit = Unit::of(pipeline, world, environment, now)?;
    let (_, records) = unit.records()?;
    Some(of_release(
        &unit,
        records,
        &records.proposal.as_ref()?.release,
    ))
}

/// Whether this may become what an environment asks for: the releases in it are proven, or run there already.
/// `None`: it is the very same.
pub fn proof_of(
    pipeline: &Pipeline,
    world: &World,
    environment: &EnvironmentName,
    rendered: &Rendered,
    now: Timestamp,
) -> Option<Proof> {
    let unit = Unit::of(pipeline, world, environment, now)?;
    let Some((infra, records)) = unit.records() else {
        return Some(Proof::Open("its records cannot be read".to_owned()));
    };
    let asked = infra.desired.as_ref().ok();
    if asked.is_some_and(|it| it.rendered.state == rendered.state) {
        return None;
    }
    let release = match Head::identify(&unit, records, rendered) {
        Head::Known(release) => release,
        Head::Unknown(release) => match world.catalogue.read() {
            Ok(_) => {
                return Some(Proof::Spoiled(format!(
                    "nobody knows the release {release}"
                )));
            }
            Err(unreadable) => return Some(Proof::Open(unreadable.why.clone())),
        },
        Head::Unclear(why) => return Some(Proof::Spoiled(why)),
        Head::Open(reference) => {
            let why = format!("`{reference}` names no digest");
            return Some(Proof::Spoiled(why));
        }
    };
    let running = asked.map(|it| Head::identify(&unit, records, &it.rendered));
    if running.is_some_and(|it| it.digests() == Some(release.digests())) {
        return Some(Proof::Proven(format!("{release} stays")));
    }
    Some(of_release(&unit, records, &release))
}

fn of_release(unit: &Unit<'_>, records: &UnitRecords, release: &Release) -> Proof {
    let now = unit.now;
    let digests = release.digests();
    // To go back is no promotion.
    let back = records
        .running()
        .is_some_and(|it| it.is_newer_than(release));
    if back && records.ran(&digests) {
        return Proof::Proven(format!("{release} was healthy here"));
    }
    let authority = &unit.environment.authority;
    let forced = records.forced(&digests, authority);
    if let Some(told) = forced.and_then(|it| it.notice(authority)) {
        return Proof::Proven(told);
    }
    let lacks = evidence::lacking(unit, release);
    if lacks.iter().any(|it| it.weighed == Weighed::Failing) {
        return Proof::Spoiled(evidence::sentence(release, &lacks));
    }
    let mut open = (!lacks.is_empty()).then(|| evidence::sentence(release, &lacks));
    let Follow::Environments { all, soak } = &unit.environment.follow else {
        return match open {
            Some(why) => Proof::Open(why),
            None => Proof::Proven(format!("{release} follows no environment")),
        };
    };
    for name in all {
        let upstream = match Upstream::read(unit, name) {
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
            return Proof::Spoiled(format!("{release} in {name}: {why}"));
        }
        if !runs.any(|run| upstream.is_proven(run, *soak, now)) {
            open.get_or_insert(format!("{release} is not healthy in {name} at this moment"));
        }
    }
    let names: Vec<&str> = all.iter().map(EnvironmentName::as_str).collect();
    match open {
        Some(why) => Proof::Open(why),
        None => Proof::Proven(format!("{release} is proven in {}", names.join(", "))),
    }
}

impl<'a> Unit<'a> {
    fn records(&self) -> Option<(&'a Infra, &'a UnitRecords)> {
        let infra = self.view.infra.read().ok()?;
        Some((infra, infra.records.as_ref().ok()?))
    }
}
