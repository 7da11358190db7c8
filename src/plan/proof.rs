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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record::{Statement, Verdict};
    use crate::model::{Digest, EvidenceResult};
    use crate::plan::check::tests::{
        HEALTHY, commit, failed, finding, pipeline, ran, release, world,
    };

    /// How what is proposed in production stands, in a word.
    fn stands(production: &str, upstream: Vec<Statement>, here: &[Vec<Statement>]) -> &'static str {
        let world = world(upstream, Ok(here.concat()), None);
        let production = pipeline(production);
        let environment = "production".parse().unwrap();
        match proof(&production, &world, &environment, Timestamp::UNIX_EPOCH) {
            Some(Proof::Proven(why)) if why.contains("was healthy here") => "back",
            Some(Proof::Proven(_)) => "proven",
            Some(Proof::Open(_)) => "open",
            Some(Proof::Spoiled(_)) => "spoiled",
            None => "none",
        }
    }

    fn proposed(minor: u8) -> Vec<Statement> {
        vec![Statement::Proposed {
            release: release(minor),
            proposal: commit(),
        }]
    }

    /// Only what is older than what runs and was healthy here goes back; anything else is proven upstream.
    #[test]
    fn only_what_was_healthy_here_is_gone_back_to() {
        let healthy = |number, minor| ran(number, minor, HEALTHY);
        let upstream = |minor| healthy(1, minor);
        for (upstream, here, expected) in [
            (vec![], vec![healthy(1, 0)], "none"),
            (upstream(1), vec![healthy(1, 0), proposed(1)], "proven"),
            (vec![], vec![healthy(1, 0), proposed(1)], "open"),
            (
                ran(1, 1, failed()),
                vec![healthy(1, 0), proposed(1)],
                "open",
            ),
            (
                vec![],
                vec![healthy(1, 0), healthy(2, 1), proposed(0)],
                "back",
            ),
            // Older, and never healthy here.
            (vec![], vec![healthy(1, 1), proposed(0)], "open"),
            (
                vec![],
                vec![ran(1, 0, Verdict::Superseded), healthy(2, 1), proposed(0)],
                "open",
            ),
            // Healthy here once, and newer than what was gone back to.
            (
                vec![],
                vec![healthy(1, 1), healthy(2, 0), proposed(1)],
                "open",
            ),
            (
                upstream(1),
                vec![healthy(1, 1), healthy(2, 0), proposed(1)],
                "proven",
            ),
        ] {
            let shown = format!("{upstream:?} {here:?}");
            assert_eq!(stands("gate: branch", upstream, &here), expected, "{shown}");
        }
    }

    /// Evidence that speaks against a release spoils it; what is missing may still come.
    #[test]
    fn evidence_spoils_what_it_speaks_against() {
        let ruled = "gate: branch\nevidence: [{ rule: scan }]";
        let found = |result| {
            vec![Statement::Evidence {
                digest: Digest::of(&[1]),
                finding: finding("scan", result),
            }]
        };
        for (said, expected) in [
            (vec![], "open"),
            (found(EvidenceResult::Pass), "proven"),
            (found(EvidenceResult::Fail), "spoiled"),
        ] {
            let here = [ran(1, 0, HEALTHY), said, proposed(1)];
            assert_eq!(stands(ruled, ran(1, 1, HEALTHY), &here), expected);
        }
    }
}
