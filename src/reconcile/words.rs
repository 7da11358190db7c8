//! What a request says: the facts about a proposal, put together from what is observed. The words themselves
//! are [`crate::present::request`]'s.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Reconciler;
use crate::cluster::{Preview, UnitScope};
use crate::forge::Content;
use crate::model::record::{Deployment, UnitRecords, Verdict};
use crate::model::{Digest, Environment, EnvironmentName, Follow, KeepTags, Pipeline, RequestDiff};
use crate::plan::{Decision, Infra, Reason, UnitPlan, World};
use crate::present::request::{self, About, BLOCK_MAX, Outcome, Proven, Runs};

/// Whether all that a request says can be known now. As long as something does not answer, it goes on
/// saying what it said.
pub(super) fn is_known(environment: &Environment, world: &World, unit: Option<&UnitPlan>) -> bool {
    let is_read = |name: &EnvironmentName| {
        let infra = world.units.get(name).map(|view| view.infra.read());
        infra.is_some_and(|infra| infra.is_ok_and(|infra| infra.records.is_ok()))
    };
    let upstream = match &environment.follow {
        Follow::Environments { all, .. } => all.iter().all(is_read),
        _ => true,
    };
    let decision = unit.map(|unit| &unit.decision);
    let is_planned = !matches!(
        decision,
        Some(Decision::Waiting(waiting)) if matches!(waiting.reason, Reason::Unreadable(_))
    );
    upstream && is_planned
}

/// The facts about what is proposed to an environment, but for what its cluster says of it.
pub(super) fn about(
    pipeline: &Pipeline,
    environment: &Environment,
    world: &World,
    unit: Option<&UnitPlan>,
) -> Option<About> {
    let infra = world.units.get(&environment.name)?.infra.read().ok()?;
    let records = infra.records.as_ref().ok()?;
    let proposed = records.proposal.as_ref()?;
    let source = pipeline.application.source.as_ref();
    Some(About {
        application: pipeline.application.name.clone(),
        environment: environment.name.clone(),
        branch: environment.branch.clone(),
        release: proposed.release.clone(),
        instead_of: records.running().cloned(),
        built: BTreeMap::new(),
        source: source.map(|source| source.url.clone()),
        commits: None,
        proven: proven(pipeline, environment, world, proposed.release.digests()),
        notices: notices(infra, records, unit),
        change: Outcome::Unknown(String::new()),
        diff: environment.request.diff.unwrap_or(RequestDiff::Fields),
        beside: Vec::new(),
        base: proposed.base,
        runs: records.deployment.as_ref().map(runs),
        on_failure: environment.on_failure,
        rollback: environment.rollback,
    })
}

/// What all of it is made from; what the cluster says of it follows from that.
pub(super) fn facts(about: &About, environment: &Environment, world: &World) -> Digest {
    let infra = world.units.get(&environment.name);
    let infra = infra.and_then(|view| view.infra.read().ok());
    let head = infra.and_then(|infra| Some(infra.proposal.as_ref()?.head));
    Digest::of(format!("{about:?} {head:?} {:?}", environment.request.title).as_bytes())
}

/// The content made of the facts; `None` where there is no room for it, which there is.
fn content(about: &About, environment: &Environment, facts: Digest) -> Option<Content> {
    Some(Content {
        title: request::title(about, &environment.request.title),
        block: request::block(about, BLOCK_MAX)?,
        facts,
    })
}

impl Reconciler {
    /// What the request of a unit is to say, its cluster asked.
    pub(super) async fn content(
        &self,
        pipeline: &Pipeline,
        environment: &Environment,
        world: &World,
        unit: Option<&UnitPlan>,
        now: Timestamp,
    ) -> Option<Content> {
        let mut about = about(pipeline, environment, world, unit)?;
        let mut facts = facts(&about, environment, world);
        about.change = self.outcome(pipeline, environment, world, now).await;
        if let Outcome::Unknown(why) = &about.change {
            // It is made again, once the cluster answers.
            facts = Digest::of(format!("{facts} {why}").as_bytes());
        }
        content(&about, environment, facts)
    }

    async fn outcome(
        &self,
        pipeline: &Pipeline,
        environment: &Environment,
        world: &World,
        now: Timestamp,
    ) -> Outcome {
        let unknown = |why: &str| Outcome::Unknown(why.to_owned());
        let infra = world.units.get(&environment.name);
        let infra = infra.and_then(|view| view.infra.read().ok());
        let desired = infra.and_then(|it| it.proposal.as_ref()?.desired.as_ref().ok());
        let Some(desired) = desired else {
            return unknown("the proposal branch cannot be rendered");
        };
        let Some(cluster) = self.clusters.get(&environment.name) else {
            return unknown("another Towpath acts for this environment");
        };
        let scope = UnitScope {
            environment: environment.name.clone(),
            application: pipeline.application.name.clone(),
        };
        match cluster.preview(&scope, &desired.rendered, now).await {
            Ok(mut previews) => {
                previews.sort_by(|a, b| a.reference.cmp(&b.reference));
                Outcome::Tried(previews.into_iter().map(Preview::tried).collect())
            }
            Err(error) => unknown(&error.to_string()),
        }
    }
}

fn notices(infra: &Infra, records: &UnitRecords, unit: Option<&UnitPlan>) -> Vec<String> {
    let holds = records.hold.iter().chain(&infra.standing.hold);
    let mut notices: Vec<String> = holds
        .map(|hold| format!("held by {}: {}", hold.by, hold.reason))
        .collect();
    if let Some(pin) = &records.pin {
        let reason = Reason::Pinned {
            release: pin.release.clone(),
            reason: pin.reason.clone(),
        };
        notices.push(reason.to_string());
    }
    if let Some(Decision::Waiting(waiting)) = unit.map(|unit| &unit.decision)
        && let Reason::Gate {
            follows: Some(newer),
            ..
        } = &waiting.reason
    {
        notices.push(format!("{newer} follows once this is merged or closed"));
    }
    notices
}

fn proven(
    pipeline: &Pipeline,
    environment: &Environment,
    world: &World,
    digests: crate::model::Digests,
) -> Vec<Proven> {
    let Follow::Environments { all, soak } = &environment.follow else {
        return Vec::new();
    };
    let of = |name: &EnvironmentName| {
        let upstream = pipeline.environment(name)?;
        let infra = world.units.get(name)?.infra.read().ok()?;
        let records = infra.records.as_ref().ok()?;
        let mut runs = records.runs.iter().rev();
        let run = runs.find(|run| run.release.is(&digests))?;
        let tagged = upstream.tags.keep != KeepTags::None;
        Some(Proven {
            environment: name.clone(),
            number: run.number,
            tag: tagged.then(|| upstream.tags.name(run.number)),
            repository: upstream.repository.clone(),
            healthy_at: run.healthy_at,
            exercised: run.exercised,
            soak: *soak,
            soaked_at: run.healthy_at.checked_add(*soak).ok(),
            smoke: upstream.smoke.iter().map(|it| it.get.to_string()).collect(),
        })
    };
    all.iter().filter_map(of).collect()
}

fn runs(deployment: &Deployment) -> Runs {
    let verdict = deployment.verdict.as_ref().map(|judged| &judged.verdict);
    Runs {
        number: deployment.number,
        commit: deployment.commit,
        standing: match verdict {
            None => "rolling out",
            Some(Verdict::Healthy { .. }) => "healthy",
            Some(Verdict::Failed { .. }) => "failed",
            Some(Verdict::Superseded) => "superseded",
        }
        .to_owned(),
    }
}
