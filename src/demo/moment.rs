//! What a watcher of the demo is told, as it happens.

use jiff::Timestamp;

use super::reviewer::Page;
use crate::event::Event;
use crate::model::EnvironmentName;
use crate::model::record::Verdict;
use crate::plan::{Decision, Reason, Step};
use crate::reconcile::Posted;

/// Something a watcher may want to show.
#[derive(Debug, Clone)]
pub enum Moment {
    /// A chapter begins.
    Chapter(&'static str),
    /// The chapter came to its end.
    Done(String),
    /// Something happened.
    Event(Box<Event>),
    /// Where every environment stands now.
    Ladder(Vec<Rung>),
    /// A pull request as its reviewer sees it.
    Request(Box<Page>),
    /// A person is asked to merge, with the command of these lines.
    Merge(Vec<String>),
}

/// One environment of the ladder.
#[derive(Debug, Clone, PartialEq)]
pub struct Rung {
    /// Which.
    pub environment: EnvironmentName,
    /// What runs, or rolls out.
    pub release: Option<String>,
    /// The deployment's number.
    pub number: Option<u64>,
    /// How it does.
    pub state: State,
    /// What is done, or waited for.
    pub note: String,
    /// When the wait ends by itself.
    pub until: Option<Timestamp>,
}

/// How an environment does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing is recorded yet.
    New,
    /// A deployment has no verdict yet.
    RollingOut,
    /// The newest deployment is healthy.
    Healthy,
    /// It failed.
    Failed,
}

impl State {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::RollingOut => "rolling out",
            Self::Healthy => "healthy",
            Self::Failed => "failed",
        }
    }
}

/// The ladder that a round shows.
pub fn ladder(posted: &Posted) -> Vec<Rung> {
    let rungs = posted.plan.units.iter().map(|unit| {
        let records = posted.records.get(&unit.environment);
        let deployment = records.and_then(|records| records.deployment.as_ref());
        let judged = deployment.map(|it| it.verdict.as_ref().map(|judged| &judged.verdict));
        let state = match judged {
            None => State::New,
            Some(Some(Verdict::Failed { .. })) => State::Failed,
            Some(Some(Verdict::Healthy { .. })) => State::Healthy,
            Some(None | Some(Verdict::Superseded)) => State::RollingOut,
        };
        let (note, until) = note(&unit.decision);
        Rung {
            environment: unit.environment.clone(),
            release: deployment
                .and_then(|it| it.release.as_ref())
                .map(ToString::to_string),
            number: unit.number,
            state,
            note,
            until,
        }
    });
    rungs.collect()
}

/// A few words: the whole sentences are `explain`'s.
fn note(decision: &Decision) -> (String, Option<Timestamp>) {
    let waiting = match decision {
        Decision::Step(step) => return (doing(step), None),
        Decision::Waiting(waiting) => waiting,
    };
    let text = match &waiting.reason {
        Reason::UpToDate { .. } | Reason::NothingReleased => String::new(),
        Reason::Unreadable(_) => "looking".to_owned(),
        Reason::Soaking {
            release,
            environment,
            until,
        } => {
            return (format!("{release} soaks in {environment}"), Some(*until));
        }
        Reason::Upstream {
            environment,
            release,
            ..
        } => match release {
            Some(release) => format!("{release} is not proven in {environment}"),
            None => format!("waits for {environment}"),
        },
        Reason::Gate { release, .. } => format!("{release} waits for its merge"),
        Reason::Failed { reason, .. } => format!("held: {}", without_object(reason)),
        Reason::Converging { progress, .. } => without_object(progress).to_owned(),
        other => other.to_string(),
    };
    (text, None)
}

/// There is one workload: its name says nothing new.
fn without_object(text: &str) -> &str {
    text.split_once(": ").map_or(text, |(_, rest)| rest)
}

fn doing(step: &Step) -> String {
    match step {
        Step::Write(write) => format!("committing {}", write.release),
        Step::Propose(propose) => format!("proposing {}", propose.release),
        Step::Withdraw(withdraw) => format!("withdrawing {}", withdraw.release),
        Step::Merge(merge) => format!("merging {}", merge.release),
        Step::Open(open) => format!("asking for {}", open.release),
        Step::Close(close) => format!("closing {}", close.request.name),
        Step::Disarm(disarm) => format!("disarming {}", disarm.request.name),
        Step::Apply(_) => "applying".to_owned(),
        Step::Record(_) => "recording".to_owned(),
        Step::Smoke(_) => "asking".to_owned(),
    }
}
