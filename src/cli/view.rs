//! What commands show of a plan: one set of words for tables, JSON and YAML.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::model::record::{Cause, Judged, Verdict};
use crate::model::{Environment, ObjectRef, Release, Weighed};
use crate::plan::{Decision, Desired, Plan, Reason, Step, UnitPlan, Waiting, World};

/// A unit, as scripts read it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct UnitView {
    application: String,
    environment: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<ReleaseView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deployment: Option<u64>,
    /// `step` or the reason's name.
    state: String,
    /// The sentence for people.
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unblock: Option<String>,
    /// How far a rollout is, as the cluster tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<String>,
    /// When it has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<Timestamp>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

/// A release, as scripts read it.
#[derive(Debug, Serialize)]
pub(super) struct ReleaseView {
    name: String,
    images: std::collections::BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
}

impl ReleaseView {
    pub(super) fn of(release: &Release) -> Self {
        let images = release.images.iter();
        Self {
            name: release.name.clone(),
            images: images
                .map(|(at, image)| (at.to_string(), image.digest.to_string()))
                .collect(),
            commit: release.commit.clone(),
        }
    }
}

impl UnitView {
    pub(super) fn of(plan: &Plan, unit: &UnitPlan) -> Self {
        let waiting = waiting(unit);
        Self {
            application: plan.application.to_string(),
            environment: unit.environment.to_string(),
            release: unit.release.as_ref().map(ReleaseView::of),
            deployment: unit.number,
            state: state(unit).to_owned(),
            reason: sentence(unit),
            progress: rollout(unit).map(|(progress, _)| progress.to_owned()),
            deadline: rollout(unit).map(|(_, deadline)| moment(deadline)),
            since: waiting.and_then(|waiting| waiting.since).map(moment),
            next: waiting.and_then(|waiting| waiting.next).map(moment),
            unblock: waiting.and_then(|it| it.reason.unblock(&plan.application, &unit.environment)),
            notes: unit.notes.clone(),
        }
    }
}

/// What a unit waits for, if it waits.
pub(super) fn waiting(unit: &UnitPlan) -> Option<&Waiting> {
    match &unit.decision {
        Decision::Waiting(waiting) => Some(waiting),
        Decision::Step(_) => None,
    }
}

/// How far a rollout is and when it has failed, if one is on its way.
fn rollout(unit: &UnitPlan) -> Option<(&str, Timestamp)> {
    match &waiting(unit)?.reason {
        Reason::Converging {
            progress, deadline, ..
        } => Some((progress, *deadline)),
        _ => None,
    }
}

/// What a unit does or waits for, beside columns that say the rest.
pub(super) fn cell(unit: &UnitPlan, now: Timestamp) -> String {
    match rollout(unit) {
        Some((progress, deadline)) => {
            format!("{progress}; {} left", span(deadline.duration_since(now)))
        }
        None => sentence(unit),
    }
}

/// The word for the state of a unit.
pub(super) fn state(unit: &UnitPlan) -> &'static str {
    waiting(unit).map_or("step", |waiting| waiting.reason.name())
}

/// The sentence that says what a unit does or waits for.
pub(super) fn sentence(unit: &UnitPlan) -> String {
    match &unit.decision {
        Decision::Step(step) => step_sentence(step),
        Decision::Waiting(waiting) => waiting.reason.to_string(),
    }
}

fn step_sentence(step: &Step) -> String {
    match step {
        Step::Write(write) => format!("commit {} ({})", write.release, write.cause.as_str()),
        Step::Propose(propose) => format!("propose {}", propose.release),
        Step::Withdraw(withdraw) => {
            format!(
                "withdraw the proposal of {}: {}",
                withdraw.release, withdraw.reason
            )
        }
        Step::Open(_) | Step::Close(_) | Step::Disarm(_) | Step::Merge(_) => step.to_string(),
        Step::Record(statements) if statements.statements.is_empty() => step.to_string(),
        Step::Record(statements) => {
            let kinds: Vec<_> = statements.statements.iter().map(|it| it.kind()).collect();
            format!(
                "record {} at {}",
                kinds.join(", "),
                statements.commit.short()
            )
        }
        Step::Apply(apply) if apply.only_runs_hooks() => {
            format!(
                "run {} of deployment {}",
                jobs(apply.change.len()),
                apply.number
            )
        }
        Step::Apply(apply) => {
            let mut parts = vec![format!("apply {}", counted(apply.change.len()))];
            if !apply.prune.is_empty() {
                parts.push(format!("prune {}", counted(apply.prune.len())));
            }
            format!("{} of deployment {}", parts.join(", "), apply.number)
        }
        Step::Smoke(smoke) => {
            format!("ask whether deployment {} answers", smoke.number)
        }
    }
}

/// The objects and files that a step touches, a line each.
pub(super) fn details(step: &Step) -> Vec<String> {
    let path = |path: &String| path.clone();
    let object = |verb: &str, reference: &ObjectRef| format!("{verb} {reference}");
    match step {
        Step::Write(write) => write.files.iter().map(|file| path(&file.path)).collect(),
        Step::Propose(propose) => propose.files.iter().map(|file| path(&file.path)).collect(),
        Step::Apply(apply) => {
            let changes = apply.change.iter().map(|it| match it.anew {
                true => object("run", &it.reference),
                false => object("apply", &it.reference),
            });
            changes
                .chain(apply.prune.iter().map(|it| object("prune", &it.reference)))
                .collect()
        }
        Step::Smoke(smoke) => smoke.tests.iter().map(|it| it.get.to_string()).collect(),
        Step::Open(open) => vec![open.branch.clone()],
        Step::Withdraw(_) | Step::Record(_) => Vec::new(),
        Step::Close(_) | Step::Disarm(_) | Step::Merge(_) => Vec::new(),
    }
}

fn counted(objects: usize) -> String {
    if objects == 1 {
        "1 object".to_owned()
    } else {
        format!("{objects} objects")
    }
}

fn jobs(count: usize) -> String {
    match count {
        1 => "1 job".to_owned(),
        count => format!("{count} jobs"),
    }
}

/// A moment for people: seconds are enough.
pub(super) fn moment(at: Timestamp) -> Timestamp {
    at.round(jiff::Unit::Second).unwrap_or(at)
}

/// How long ago, in the largest unit that says enough.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> String {
    span(now.duration_since(at))
}

/// How long, in the largest unit that says enough.
pub(super) fn span(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// The colour that a state is shown in.
pub(super) fn style(unit: &UnitPlan) -> anstyle::Style {
    use anstyle::AnsiColor::{Cyan, Green, Red, Yellow};
    let color = match waiting(unit).map(|waiting| &waiting.reason) {
        None => Cyan,
        Some(Reason::UpToDate { .. }) => Green,
        Some(reason) if reason.is_stopped() => Red,
        Some(Reason::Unreadable(_)) => Red,
        Some(_) => Yellow,
    };
    color.on_default()
}

/// What a unit's branch asks for.
///
/// # Errors
/// Why it cannot be read or rendered, in one sentence.
pub(super) fn desired<'a>(
    world: &'a World,
    environment: &Environment,
) -> Result<&'a Desired, String> {
    let unit = world.units.get(&environment.name);
    let unit = unit.ok_or_else(|| format!("{} was not read", environment.repository))?;
    let infra = unit.infra.read();
    let infra = infra.map_err(|it| Reason::Unreadable(it.clone()).to_string())?;
    infra.desired.as_ref().map_err(Clone::clone)
}

/// How a deployment came.
pub(super) fn came(cause: Cause) -> &'static str {
    match cause {
        Cause::Baseline => "was there",
        Cause::Automation => "committed",
        Cause::Merge => "merged",
        Cause::Hand => "committed by hand",
        Cause::Rollback => "put back",
    }
}

/// How it ended, and what it took where that is to be told: ` after 12s`.
pub(super) fn ended(judged: Option<&Judged>, took: &str) -> String {
    match judged.map(|judged| &judged.verdict) {
        None => "not judged yet".to_owned(),
        Some(Verdict::Healthy { exercised: true }) => format!("healthy{took}"),
        Some(Verdict::Healthy { exercised: false }) => format!("healthy{took}, not exercised"),
        Some(Verdict::Failed { reason, .. }) => format!("failed{took}: {reason}"),
        Some(Verdict::Superseded) => format!("superseded{took}"),
    }
}

/// The colour of what a rule says.
pub(super) fn weighed(weighed: Weighed) -> anstyle::Style {
    use anstyle::AnsiColor::{Green, Red, Yellow};
    match weighed {
        Weighed::Holds => Green.on_default(),
        Weighed::Missing | Weighed::Stale | Weighed::Unknown => Yellow.on_default(),
        Weighed::Failing => Red.on_default(),
    }
}
