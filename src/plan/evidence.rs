//! What an environment's rules say of a release's evidence: whether it may come, and what it lacks.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;

use super::{Observed, Ready, Reason, Unit, Waiting, World};
use crate::model::record::{Found, UnitRecords};
use crate::model::{
    ApplicationName, Attachment, Digest, Environment, EnvironmentName, EvidencePlace, EvidenceRule,
    EvidenceSource, Follow, ImageRepository, ImageVersion, Pipeline, Release, Right, Weighed,
};

/// So many of what a release lacks are named in a sentence.
const NAMED: usize = 3;

/// So many of the newest releases are asked about.
const AWAITED: usize = 5;

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
    /// Why it is not known, or why something that was said does not count.
    pub aside: Option<String>,
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
    pairs(rules, release)
        .map(|(rule, (repository, image))| {
            let recorded = records.found(&image.digest, &rule.asks.name).cloned();
            let recorded = recorded.filter(|_| rule.from.is_none());
            let key = (rule.place(repository), image.digest);
            let attached = unit.world.attached.get(&key);
            let known = attached.map(Observed::read);
            let (said, nothing) = match known {
                Some(Ok(said)) => (&*said.found, said.nothing.as_deref()),
                _ => ([].as_slice(), None),
            };
            let (told, unheard) = attached_to(unit, rule, image.digest, said);
            let found = match (told, recorded) {
                (Some(told), Some(recorded)) if told.at <= recorded.at => Some(recorded),
                (told, recorded) => told.or(recorded),
            };
            let weighed = rule.weigh(found.as_ref().map(|it| (&it.finding, it.at)), unit.now);
            // What would hold may be attached.
            let unread = match known {
                Some(Ok(_)) => None,
                Some(Err(unreadable)) => Some(unreadable.why.clone()),
                None => Some(format!("{} was not asked yet", key.0)),
            };
            let open = matches!(weighed, Weighed::Missing | Weighed::Stale);
            let unread = unread.filter(|_| open);
            Proved {
                rule: rule.clone(),
                repository: repository.clone(),
                digest: image.digest,
                found,
                weighed: match unread {
                    Some(_) => Weighed::Unknown,
                    None => weighed,
                },
                aside: unread.or(unheard).or(nothing.map(str::to_owned)),
            }
        })
        .collect()
}

/// What was last attached to an image of what a rule asks for, of what counts; and why something else does not.
fn attached_to(
    unit: &Unit<'_>,
    rule: &EvidenceRule,
    digest: Digest,
    attached: &[Attachment],
) -> (Option<Found>, Option<String>) {
    let authority = &unit.environment.authority;
    let (mut last, mut unheard) = (None::<Found>, None);
    // What is dated later than now would never be too old.
    let said = attached
        .iter()
        .filter(|it| it.finding.name == rule.asks.name && it.at <= unit.now);
    for it in said {
        let signer = it.signer.as_ref().and_then(|key| authority.of(key));
        let may = signer.filter(|signer| signer.may(Right::Evidence));
        let by = match (&rule.from, authority.is_open(), may) {
            (Some(source), _, _) => source.to_string(),
            (None, true, _) => "whoever attached it".to_owned(),
            (None, false, Some(signer)) => signer.who.clone(),
            (None, false, None) => {
                unheard = Some(
                    "what is attached is not signed with a key of `authority` that may `evidence`"
                        .to_owned(),
                );
                continue;
            }
        };
        if last.as_ref().is_none_or(|last| last.at <= it.at) {
            last = Some(Found {
                digest,
                finding: it.finding.clone(),
                by,
                at: it.at,
            });
        }
    }
    (last, unheard)
}

/// The images whose evidence decides something now, and where it is to be asked for: of what is proposed, asked for,
/// or newer than what runs.
pub fn awaited(
    pipeline: &Pipeline,
    world: &World,
    now: Timestamp,
) -> BTreeSet<(EvidencePlace, Digest)> {
    let environments = pipeline.environments.iter();
    let ruled = environments.filter(|it| !it.evidence.is_empty() && !pipeline.removed);
    let units = ruled.filter_map(|it| Unit::of(pipeline, world, &it.name, now));
    units
        .flat_map(|unit| {
            let releases = coming(&unit).into_iter();
            let asked = releases.flat_map(|it| asked(unit.environment, &it));
            asked.collect::<Vec<_>>()
        })
        .collect()
}

/// Where an environment's rules ask for evidence of a release's images.
pub fn asked(environment: &Environment, release: &Release) -> BTreeSet<(EvidencePlace, Digest)> {
    pairs(&environment.evidence, release)
        .map(|(rule, (repository, image))| (rule.place(repository), image.digest))
        .collect()
}

/// Each rule with each image that it asks about.
fn pairs<'a>(
    rules: &'a [EvidenceRule],
    release: &'a Release,
) -> impl Iterator<Item = (&'a EvidenceRule, (&'a ImageRepository, &'a ImageVersion))> {
    let images = || release.images.iter();
    rules
        .iter()
        .flat_map(move |rule| images().map(move |image| (rule, image)))
}

fn coming(unit: &Unit<'_>) -> Vec<Release> {
    let Some(records) = records(unit) else {
        return Vec::new();
    };
    let mut newest: Vec<Release> = match &unit.environment.follow {
        Follow::Environments { all, .. } => {
            let upstream = all.iter().filter_map(|name| {
                let infra = unit.world.units.get(name)?.infra.read().ok()?;
                infra.records.as_deref().ok()
            });
            upstream.flat_map(UnitRecords::deployed).cloned().collect()
        }
        follow => {
            let known = unit.world.catalogue.read().ok();
            known.map_or_else(Vec::new, |known| known.releases(follow))
        }
    };
    newest.retain(|it| {
        let running = records.running();
        running.is_none_or(|running| it.is_newer_than(running))
    });
    newest.sort_by(|a, b| b.compare(a));
    newest.dedup_by(|a, b| a.is(&b.digests()));
    newest.truncate(AWAITED);
    let proposed = records.proposal.iter().map(|it| &it.release);
    let promoted = records.promotion.iter().map(|it| &it.promoted.release);
    newest.extend(proposed.chain(promoted).cloned());
    newest
}

/// Whether it is known what is attached to what is proposed to an environment, as far as that decides anything.
pub fn is_known(
    pipeline: &Pipeline,
    world: &World,
    environment: &EnvironmentName,
    now: Timestamp,
) -> bool {
    let unit = Unit::of(pipeline, world, environment, now);
    let proposed = unit.as_ref().and_then(records);
    let proposed = proposed.and_then(|records| records.proposal.as_ref());
    let (Some(unit), Some(proposed)) = (unit, proposed) else {
        return true;
    };
    let mut all = of(&unit, &proposed.release).into_iter();
    !all.any(|it| it.weighed == Weighed::Unknown)
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
        match &lack.rule.from {
            Some(EvidenceSource::Endpoint(endpoint)) => {
                return format!("what {endpoint} answers, ");
            }
            Some(EvidenceSource::Check(check)) => return format!("{check} that passes, "),
            None => {}
        }
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
        let aside = self.aside.as_deref();
        let Some(found) = &self.found else {
            return match (self.weighed, &self.rule.from, aside) {
                (Weighed::Unknown, _, Some(aside)) | (_, Some(_), Some(aside)) => {
                    f.write_str(aside)
                }
                (_, None, Some(aside)) => {
                    write!(f, "nobody said so whose word counts: {aside}")
                }
                (_, Some(source), None) => write!(f, "{source} knows nothing of it"),
                (_, None, None) => f.write_str("nobody said so"),
            };
        };
        let at = found.at.round(jiff::Unit::Second).unwrap_or(found.at);
        write!(f, "{}, said by {} at {at}", found.finding, found.by)?;
        let is_old = matches!(self.weighed, Weighed::Stale | Weighed::Unknown);
        if let Some(max_age) = self.rule.max_age.filter(|_| is_old) {
            let age = super::sentence::in_words(max_age);
            write!(f, ", which is more than {age} ago")?;
        }
        match aside.filter(|_| self.weighed != Weighed::Holds) {
            Some(aside) => write!(f, "; {aside}"),
            None => Ok(()),
        }
    }
}
