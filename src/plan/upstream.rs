//! A followed environment: what its records prove, and what is on its way there.

use std::fmt;

use jiff::Timestamp;

use super::{Infra, Observed, Reason, Unit, Waiting, unreadable_waiting};
use crate::clock::after;
use crate::model::record::{Run, UnitRecords, Verdict};
use crate::model::{EnvironmentName, Health, NotExercised, Release};

/// Why a healthy release is not proven.
const NOT_EXERCISED: &str = "it is healthy, but none of its workloads ran it (`health: { not-exercised: proven }` there lets that count)";

/// Why what runs in a followed environment is not proven there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unproven {
    /// The application does not go there.
    Elsewhere,
    /// Its rollout is not judged yet.
    RollingOut,
    /// It failed, for this reason.
    Failed(String),
    /// This was said against it since it was healthy.
    Spoiled(String),
    /// It is healthy, and nothing ran it.
    NotExercised,
    /// It fails now, which is not recorded yet.
    Failing(String),
    /// Which images it has is not known.
    Unknown,
}

impl fmt::Display for Unproven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elsewhere => f.write_str("the application does not go there"),
            Self::RollingOut => f.write_str("it rolls out"),
            Self::Failed(why) => write!(f, "it failed: {why}"),
            Self::Spoiled(why) | Self::Failing(why) => f.write_str(why),
            Self::NotExercised => f.write_str(NOT_EXERCISED),
            Self::Unknown => f.write_str("its images are not known"),
        }
    }
}

/// A followed environment as its records tell it.
pub(super) struct Upstream<'a> {
    name: &'a EnvironmentName,
    pub(super) records: &'a UnitRecords,
    pub(super) failing: Option<&'a str>,
    /// Whether what none of its workloads ran counts as proven there.
    unexercised_counts: bool,
}

impl<'a> Upstream<'a> {
    pub(super) fn read(unit: &'a Unit<'_>, name: &'a EnvironmentName) -> Result<Self, Waiting> {
        let nothing = || {
            Waiting::on(Reason::Upstream {
                environment: name.clone(),
                release: None,
                why: Unproven::Elsewhere,
            })
        };
        let view = unit.world.units.get(name).ok_or_else(nothing)?;
        let infra: &Infra = view.infra.read().map_err(unreadable_waiting)?;
        let records = infra
            .records
            .as_ref()
            .map_err(|why| Waiting::on(Reason::UnreadableRecords(why.clone())))?;
        // What failed a moment ago and is not recorded yet is not promoted either.
        let failing = match view.live.as_ref().map(Observed::read) {
            Some(Ok(live)) => live.objects.values().find_map(|found| match &found.health {
                Health::Failed(reason) if found.mark.is_some() => Some(reason.as_str()),
                _ => None,
            }),
            _ => None,
        };
        let environment = unit.pipeline.environment(name);
        Ok(Self {
            name,
            records,
            failing,
            unexercised_counts: environment
                .is_some_and(|it| it.health.not_exercised == NotExercised::Proven),
        })
    }

    pub(super) fn is_proven(&self, run: &Run, soak: std::time::Duration, now: Timestamp) -> bool {
        let ran_until = run.ended.map_or(now, |(ended, _)| ended);
        let current = run.ended.is_none();
        run.spoiled.is_none()
            && self.counts(run)
            && after(run.healthy_at, soak) <= ran_until
            && !(current && self.failing.is_some())
            && !self.failed_since(run)
    }

    /// Whether its workloads ran, or the environment says that they need not.
    fn counts(&self, run: &Run) -> bool {
        run.exercised || self.unexercised_counts
    }

    /// No later failure of the same release counts against it less than the success counts for it.
    pub(super) fn failed_since(&self, run: &Run) -> bool {
        let digests = run.release.digests();
        self.records
            .failures
            .iter()
            .any(|failure| failure.release.is(&digests) && failure.at >= run.healthy_at)
    }

    pub(super) fn proven(&self, soak: std::time::Duration, now: Timestamp) -> Vec<Release> {
        let runs = self
            .records
            .runs
            .iter()
            .filter(|run| self.is_proven(run, soak, now));
        runs.map(|run| run.release.clone()).collect()
    }

    /// What is on its way to being proven here, if it is newer than what runs downstream.
    pub(super) fn waiting(
        &self,
        soak: std::time::Duration,
        now: Timestamp,
        running: Option<&Release>,
    ) -> Option<Waiting> {
        let deployment = self.records.deployment.as_ref()?;
        let release = deployment.release.as_ref();
        if let (Some(release), Some(running)) = (release, running)
            && !release.is_newer_than(running)
        {
            return None;
        }
        let upstream = |why| {
            Waiting::on(Reason::Upstream {
                environment: self.name.clone(),
                release: release.cloned(),
                why,
            })
        };
        let Some(judged) = &deployment.verdict else {
            return Some(upstream(Unproven::RollingOut).since(deployment.at));
        };
        let run = self
            .records
            .runs
            .iter()
            .find(|run| run.number == deployment.number);
        match (&judged.verdict, run) {
            (Verdict::Failed { reason, .. }, _) => {
                Some(upstream(Unproven::Failed(reason.clone())).since(judged.at))
            }
            (_, Some(run)) if run.spoiled.is_some() => {
                let why = run.spoiled.clone().unwrap_or_default();
                Some(upstream(Unproven::Spoiled(why)).since(judged.at))
            }
            (_, Some(run)) if !self.counts(run) => {
                Some(upstream(Unproven::NotExercised).since(judged.at))
            }
            (_, Some(run)) if self.is_proven(run, soak, now) => None,
            (_, Some(_)) if self.failing.is_some() => {
                let why = self.failing.unwrap_or_default().to_owned();
                Some(upstream(Unproven::Failing(why)).since(judged.at))
            }
            (_, Some(run)) => Some(soaking(self.name, run, soak)),
            (_, None) => Some(upstream(Unproven::Unknown).since(judged.at)),
        }
    }
}

/// Waits until what runs healthy in an environment has soaked there.
pub(super) fn soaking(
    environment: &EnvironmentName,
    run: &Run,
    soak: std::time::Duration,
) -> Waiting {
    let until = after(run.healthy_at, soak);
    let reason = Reason::Soaking {
        release: run.release.clone(),
        environment: environment.clone(),
        until,
    };
    Waiting::on(reason).since(run.healthy_at).until(until)
}
