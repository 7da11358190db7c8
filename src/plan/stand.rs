//! Where one release stands in one environment, in a word: for people who ask about the release rather than
//! about the environment.
//!
//! What is true now comes from the present, which remembers the last releases alone; what became of older ones
//! from the past deployments. No decision is made on it.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::World;
use super::fate::{Fate, fate_of};
use crate::model::record::{PastDeployment, UnitRecords, Verdict};
use crate::model::{EnvironmentName, Pipeline, Release};

/// Where a release stands, as one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// It is healthy, and was so for as long as those ask that follow.
    Proven,
    /// It is healthy, and not yet for so long.
    Soaking,
    /// It is deployed and not judged yet.
    RollingOut,
    /// It stands on the proposal branch.
    Proposed,
    /// It is what runs, healthy, and nobody follows.
    Running,
    /// It failed, lost its health while it soaked, or was rolled away from.
    Failed,
    /// A newer one came before it was judged, or before it was proven.
    Superseded,
    /// A person closed its proposal.
    Declined,
    /// It never came.
    Nowhere,
    /// The records cannot be read.
    Unknown,
}

impl Word {
    /// The word, stable for scripts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Soaking => "soaking",
            Self::RollingOut => "rolling out",
            Self::Proposed => "proposed",
            Self::Running => "running",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
            Self::Declined => "declined",
            Self::Nowhere => "-",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where a release stands in an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stand {
    /// In a word.
    pub word: Word,
    /// Why, where the word asks for it.
    pub why: Option<String>,
    /// Its newest deployment there.
    pub number: Option<u64>,
    /// Whether it is what the environment's branch asked for last.
    pub current: bool,
}

/// The last deployment of a release in an environment, and the application's next one there.
#[derive(Debug, Clone, Copy)]
pub struct Last<'a> {
    /// Its own.
    pub attempt: &'a PastDeployment,
    /// The next, if there was one.
    pub next: Option<&'a PastDeployment>,
}

impl Stand {
    fn of(word: Word, why: Option<String>) -> Self {
        Self {
            word,
            why,
            number: None,
            current: false,
        }
    }
}

/// Where a release stands in an environment, where it was last deployed so.
pub fn stand(
    pipeline: &Pipeline,
    world: &World,
    environment: &EnvironmentName,
    release: &Release,
    last: Option<Last<'_>>,
    now: Timestamp,
) -> Stand {
    let digests = release.digests();
    let is_it = |other: &Release| other.is(&digests);
    let records = world
        .units
        .get(environment)
        .and_then(|view| view.infra.read().ok())
        .and_then(|infra| infra.records.as_ref().ok());
    let current = records
        .and_then(|records| records.running())
        .is_some_and(is_it);
    let version = release.rank.version.as_ref();
    let fate = fate_of(pipeline, world, environment, &is_it, version, now);
    // What is under way now says more than what it once was there.
    let under_way = records.and_then(|records| under_way(records, &is_it));
    let mut stand = match (under_way, fate) {
        (Some(stand), _) => stand,
        (_, Fate::Proven) if current && pipeline.followers(environment).next().is_none() => {
            Stand::of(Word::Running, None)
        }
        (_, Fate::Proven) => Stand::of(Word::Proven, None),
        (_, Fate::Soaking) if current => Stand::of(Word::Soaking, None),
        (_, Fate::Soaking) => Stand::of(Word::Superseded, None),
        (_, Fate::Failed(_)) if records.is_some_and(|it| is_declined(it, &is_it)) => {
            Stand::of(Word::Declined, None)
        }
        (_, Fate::Failed(why)) => Stand::of(Word::Failed, Some(why)),
        (_, Fate::RollingOut) => Stand::of(Word::RollingOut, None),
        (_, Fate::Proposed) => Stand::of(Word::Proposed, None),
        (_, Fate::Unknown(why)) => Stand::of(Word::Unknown, Some(why)),
        (_, Fate::Awaited | Fate::PassedOver(_)) => {
            let once = last.map(|last| once(pipeline, environment, last));
            once.unwrap_or(Stand::of(Word::Nowhere, None))
        }
    };
    stand.number = last.map(|last| last.attempt.number);
    stand.current = current;
    stand
}

/// A deployment of it that is the newest and not healthy, or its open proposal.
fn under_way(records: &UnitRecords, is_it: &dyn Fn(&Release) -> bool) -> Option<Stand> {
    let newest = records.deployment.as_ref();
    if let Some(newest) = newest.filter(|it| it.release.as_ref().is_some_and(is_it)) {
        return match newest.verdict.as_ref().map(|it| &it.verdict) {
            None => Some(Stand::of(Word::RollingOut, None)),
            Some(Verdict::Failed { reason, .. }) => {
                Some(Stand::of(Word::Failed, Some(reason.clone())))
            }
            Some(Verdict::Healthy { .. } | Verdict::Superseded) => None,
        };
    }
    let proposed = records.proposal.as_ref();
    let is_proposed = proposed.is_some_and(|it| is_it(&it.release));
    is_proposed.then(|| Stand::of(Word::Proposed, None))
}

/// Whether a person's no is all there is to tell: it neither ran nor failed.
fn is_declined(records: &UnitRecords, is_it: &dyn Fn(&Release) -> bool) -> bool {
    let ran = records.runs.iter().any(|it| is_it(&it.release));
    let failed = records.failures.iter().any(|it| is_it(&it.release));
    !ran && !failed && records.declined.iter().any(|it| is_it(&it.release))
}

/// What became of a release that the present no longer remembers.
fn once(pipeline: &Pipeline, environment: &EnvironmentName, last: Last<'_>) -> Stand {
    let soak =
        SignedDuration::try_from(pipeline.soak_of(environment)).unwrap_or(SignedDuration::MAX);
    let judged = last.attempt.judged.as_ref();
    match judged.map(|it| (&it.verdict, it.at)) {
        Some((Verdict::Healthy { .. }, at)) => {
            let ran = last.next.map(|next| next.at.duration_since(at));
            match ran.is_none_or(|ran| ran >= soak) {
                true => Stand::of(Word::Proven, None),
                false => Stand::of(Word::Superseded, None),
            }
        }
        Some((Verdict::Failed { reason, .. }, _)) => Stand::of(Word::Failed, Some(reason.clone())),
        Some((Verdict::Superseded, _)) | None => Stand::of(Word::Superseded, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record::{Cause, Judged};
    use crate::plan::check::tests::{HEALTHY, commit, failed, pipeline, release, second_of};

    fn past(at: i64, judged: Option<(Verdict, i64)>) -> PastDeployment {
        PastDeployment {
            at: second_of(at),
            environment: "qa".parse().unwrap(),
            application: "shop".parse().unwrap(),
            number: 1,
            commit: commit(),
            release: Some(release(1)),
            cause: Cause::Automation,
            by: "towpath".to_owned(),
            judged: judged.map(|(verdict, at)| Judged {
                verdict,
                at: second_of(at),
            }),
            noted: Vec::new(),
        }
    }

    #[test]
    fn what_nobody_remembers_is_told_from_its_deployment() {
        let mut pipeline = pipeline("");
        for environment in &mut pipeline.environments {
            if let crate::model::Follow::Environments { soak, .. } = &mut environment.follow {
                *soak = std::time::Duration::from_secs(60);
            }
        }
        for (judged, next, word) in [
            (Some((HEALTHY, 10)), None, Word::Proven),
            (Some((HEALTHY, 10)), Some(69), Word::Superseded),
            (Some((HEALTHY, 10)), Some(70), Word::Proven),
            (Some((HEALTHY, 10)), Some(71), Word::Proven),
            (Some((failed(), 10)), Some(70), Word::Failed),
            (Some((Verdict::Superseded, 10)), Some(70), Word::Superseded),
            (None, Some(70), Word::Superseded),
        ] {
            let (attempt, next) = (past(0, judged), next.map(|at| past(at, None)));
            let last = Last {
                attempt: &attempt,
                next: next.as_ref(),
            };
            let stand = once(&pipeline, &"qa".parse().unwrap(), last);
            assert_eq!(stand.word, word, "{attempt:?}, and then {next:?}");
        }
    }
}
