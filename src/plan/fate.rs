//! What became of one release in one environment, for people and CI who wait for it.

use std::fmt;

use jiff::Timestamp;
use semver::Version;

use super::upstream::Upstream;
use super::{Unit, World};
use crate::model::record::{UnitRecords, Verdict};
use crate::model::{EnvironmentName, Pipeline, Release, parse_version};

/// What became of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It did not come there yet, or nobody knows it.
    Awaited,
    /// It stands on the proposal branch.
    Proposed,
    /// It is there and not judged yet.
    RollingOut,
    /// It is healthy there, and not yet for as long as those ask that follow.
    Soaking,
    /// It is proven there.
    Proven,
    /// It failed there, lost its health while it soaked, or was declined or taken back.
    Failed(String),
    /// A newer one came there before it.
    PassedOver(String),
    /// The records cannot be read.
    Unknown(String),
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Awaited => f.write_str("it did not come yet"),
            Self::Proposed => f.write_str("it is proposed"),
            Self::RollingOut => f.write_str("it rolls out"),
            Self::Soaking => f.write_str("it is healthy, and soaks"),
            Self::Proven => f.write_str("it is proven"),
            Self::Failed(why) => write!(f, "it failed: {why}"),
            Self::PassedOver(by) => write!(f, "{by} came before it"),
            Self::Unknown(why) => f.write_str(why),
        }
    }
}

/// What became of the release of that name, or whose digests begin so, in an environment. The longest soak of those
/// that follow counts; where nobody follows, the healthy verdict.
pub fn fate(
    pipeline: &Pipeline,
    world: &World,
    environment: &EnvironmentName,
    named: &str,
    now: Timestamp,
) -> Fate {
    let version = parse_version(named);
    let is_it = |release: &Release| release.is_named(named);
    fate_of(pipeline, world, environment, &is_it, version.as_ref(), now)
}

/// What became of the release that is the one, whose version this is, in an environment.
pub(super) fn fate_of(
    pipeline: &Pipeline,
    world: &World,
    environment: &EnvironmentName,
    is_it: &dyn Fn(&Release) -> bool,
    version: Option<&Version>,
    now: Timestamp,
) -> Fate {
    let Some(unit) = Unit::of(pipeline, world, environment, now) else {
        return Fate::Awaited;
    };
    let upstream = match Upstream::read(&unit, environment) {
        Ok(upstream) => upstream,
        Err(waiting) => return Fate::Unknown(waiting.reason.to_string()),
    };
    let records = upstream.records;
    if let Some(run) = records.runs.iter().rev().find(|run| is_it(&run.release)) {
        let soak = pipeline.soak_of(environment);
        return match &run.spoiled {
            Some(why) => Fate::Failed(why.clone()),
            None if upstream.failed_since(run) => Fate::Failed("it failed later".to_owned()),
            None if upstream.is_proven(run, soak, now) => Fate::Proven,
            None => Fate::Soaking,
        };
    }
    stopped(records, is_it, version).unwrap_or(Fate::Awaited)
}

fn stopped(
    records: &UnitRecords,
    is_it: &dyn Fn(&Release) -> bool,
    version: Option<&Version>,
) -> Option<Fate> {
    let running = records.deployment.as_ref();
    let running = running.filter(|it| it.release.as_ref().is_some_and(is_it));
    if let Some(deployment) = running {
        return Some(match deployment.verdict.as_ref().map(|it| &it.verdict) {
            Some(Verdict::Failed { reason, .. }) => Fate::Failed(reason.clone()),
            Some(Verdict::Superseded) => Fate::PassedOver("a newer deployment".to_owned()),
            Some(Verdict::Healthy { .. }) | None => Fate::RollingOut,
        });
    }
    if let Some(failure) = records.failures.iter().find(|it| is_it(&it.release)) {
        return Some(Fate::Failed(failure.reason.clone()));
    }
    if records.declined.iter().any(|it| is_it(&it.release)) {
        return Some(Fate::Failed("it was declined".to_owned()));
    }
    let proposed = records.proposal.as_ref();
    if proposed.is_some_and(|it| is_it(&it.release)) {
        return Some(Fate::Proposed);
    }
    // What never came and is older than what runs does not come any more.
    let running = records.running()?;
    let newer = running.rank.version.as_ref()? > version?;
    newer.then(|| Fate::PassedOver(running.to_string()))
}
