//! What an environment's rules say of a release's evidence: whether it may come, and what it lacks.

use std::fmt;

use jiff::Timestamp;

use super::{Ready, Reason, Unit, Waiting, World};
use crate::model::record::{Found, UnitRecords};
use crate::model::{
    ApplicationName, Digest, EnvironmentName, EvidenceRule, ImageRepository, Pipeline, Release,
    Weighed,
};

/// So many of what a release lacks are named in a sentence.
const NAMED: usize = 3;

/// What one rule says of one image of a release.
#[derive(Debug, Clone, PartialEq)]
pub struct Proved {
    /// The rule.
    pub rule: EvidenceRule,
    /// The image's repository.
    pub repository: ImageRepository,
    /// The image.
    pub digest: Digest,
    /// What was found out about it.
    pub found: Option<Found>,
    /// What the rule says of that.
    pub weighed: Weighed,
}

/// What the rules of an environment say of a release: one for each rule and image, in the order of the rules. Empty
/// where it has none, and where its records cannot be read.
pub fn evidence(
    pipeline: &Pipeline,
    world: &World,
    environment: &EnvironmentName,
    release: &Release,
    now: Timestamp,
) -> Vec<Proved> {
    let unit = Unit::of(pipeline, world, environment, now);
    unit.map_or_else(Vec::new, |unit| of(&unit, release))
}

/// The same, of a unit.
pub(super) fn of(unit: &Unit<'_>, release: &Release) -> Vec<Proved> {
    let rules = &unit.environment.evidence;
    let Some(records) = records(unit).filter(|_| !rules.is_empty()) else {
        return Vec::new();
    };
    let images = || release.images.iter();
    let pairs = rules
        .iter()
        .flat_map(|rule| images().map(move |it| (rule, it)));
    pairs
        .map(|(rule, (repository, image))| {
            let found = records.found(&image.digest, &rule.asks.name);
            Proved {
                rule: rule.clone(),
                repository: repository.clone(),
                digest: image.digest,
                found: found.cloned(),
                weighed: rule.weigh(found.map(|it| (&it.finding, it.at)), unit.now),
            }
        })
        .collect()
}

fn records<'a>(unit: &Unit<'a>) -> Option<&'a UnitRecords> {
    let infra = unit.view.infra.read().ok()?;
    infra.records.as_deref().ok()
}

/// What a release lacks.
pub(super) fn lacking(unit: &Unit<'_>, release: &Release) -> Vec<Proved> {
    let mut all = of(unit, release);
    all.retain(|it| it.weighed != Weighed::Holds);
    all
}

/// What a release waits for that lacks evidence.
pub(super) fn waiting(unit: &Unit<'_>, release: &Release) -> Option<Waiting> {
    let lacks = lacking(unit, release);
    let since = lacks.iter().map(|it| it.since(release)).min()?;
    let release = release.clone();
    Some(Waiting::on(Reason::Evidence { release, lacks }).since(since))
}

/// When the first of what a release has is too old.
pub(super) fn expires(unit: &Unit<'_>, release: &Release) -> Option<Timestamp> {
    let all = of(unit, release);
    let ends = all.iter().filter_map(Proved::expires);
    ends.filter(|at| *at > unit.now).min()
}

/// The newest release that lacks nothing, and what a newer one waits for. None is asked about that is not newer than
/// `running`.
pub(super) fn backed(
    ready: &Ready<'_>,
    mut releases: Vec<Release>,
    running: Option<&Release>,
) -> (Vec<Release>, Option<Waiting>) {
    if ready.unit.environment.evidence.is_empty() {
        return (releases, None);
    }
    releases.sort_by(|a, b| b.compare(a));
    let mut newest = None;
    for release in releases {
        let is_newer = running.is_none_or(|running| release.is_newer_than(running));
        match waiting(ready.unit, &release).filter(|_| is_newer) {
            Some(waiting) => newest = newest.or(Some(waiting)),
            None => return (vec![release], newest),
        }
    }
    (Vec::new(), newest)
}

/// What there is to say of what a release has.
pub(super) fn note(unit: &Unit<'_>, release: &Release) -> Option<String> {
    let all = of(unit, release);
    let said = all.iter().map(ToString::to_string);
    let said = said.collect::<Vec<_>>().join("; ");
    (!all.is_empty()).then(|| format!("evidence of {release}: {said}"))
}

/// Why a release does not come, in one sentence.
pub(super) fn sentence(release: &Release, lacks: &[Proved]) -> String {
    let said = lacks.iter().take(NAMED).map(ToString::to_string);
    let said = said.collect::<Vec<_>>().join("; ");
    let more = match lacks.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!("{release} lacks evidence: {said}{more}")
}

/// What brings a release nevertheless, or what it lacks.
pub(super) fn unblock(
    application: &ApplicationName,
    environment: &EnvironmentName,
    release: &Release,
    lacks: &[Proved],
) -> String {
    let add = lacks.first().map_or_else(String::new, |lack| {
        let asks = &lack.rule.asks;
        let score = asks.score.as_ref();
        let score = score.map_or_else(String::new, |it| format!(" --score {}=…", it.field));
        format!(
            "`towpath evidence add {} {} --result pass{score}`, ",
            lack.digest, asks.name
        )
    });
    format!("{add}or `towpath promote {application} {environment} {release} --unproven --reason …`")
}

impl Proved {
    /// When what was found is too old.
    pub fn expires(&self) -> Option<Timestamp> {
        self.rule.expires(self.found.as_ref()?.at)
    }

    /// `` `scan.critical == 0` of registry.example.com/acme/shop (0123456789ab) ``
    pub(super) fn asked(&self) -> String {
        let (asks, digest) = (&self.rule.asks, self.digest.short());
        format!("`{asks}` of {} ({digest})", self.repository)
    }

    /// Since when it is so.
    fn since(&self, release: &Release) -> Timestamp {
        let built = release.rank.built;
        match (self.weighed, &self.found) {
            (Weighed::Stale, _) => self.expires().unwrap_or(built),
            (_, Some(found)) => found.at,
            (_, None) => built,
        }
    }
}

/// What is asked, and what was found: `pass, critical 0, said by ci@example.com at …`.
impl fmt::Display for Proved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.asked())?;
        let Some(found) = &self.found else {
            return f.write_str("nobody said so");
        };
        let at = found.at.round(jiff::Unit::Second).unwrap_or(found.at);
        write!(f, "{}, said by {} at {at}", found.finding, found.by)?;
        match (self.weighed, self.rule.max_age) {
            (Weighed::Stale, Some(max_age)) => {
                let age = super::sentence::in_words(max_age);
                write!(f, ", which is more than {age} ago")
            }
            _ => Ok(()),
        }
    }
}
