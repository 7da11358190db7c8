//! What a request says: the facts about a proposal, put together from what is observed. The words themselves
//! are [`crate::present::request`]'s.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::Reconciler;
use crate::cluster::{Preview, UnitScope};
use crate::forge::{Content, Visibility};
use crate::git::Commit;
use crate::model::record::{Deployment, Proposed, UnitRecords, Verdict};
use crate::model::{
    CommitId, Digest, Environment, EnvironmentName, Follow, KeepTags, Pipeline, Release,
    RequestDiff, Weighed,
};
use crate::plan::{self, Decision, Frozen, Infra, Observed, Reason, UnitPlan, World};
use crate::present::request::{
    self, About, BLOCK_MAX, Built, Commits, Evidence, Outcome, Proven, Runs, Unlike,
};
use crate::present::unlike::{Side, unlike};
use crate::registry::ImageConfig;

/// For so long, what is shown stays as it is while something that it rests on cannot be read: a look that
/// fails once is no news, and a process that starts has read nothing yet.
pub(super) const PATIENCE: SignedDuration = SignedDuration::from_mins(1);

/// How many source commits are told, the newest.
const COMMITS: usize = 20;

/// What a request is made from, as far as it is known without asking anybody. What images say of
/// themselves and what the cluster says follow from that.
pub(super) struct Known {
    about: About,
    /// The proposal's head.
    head: Option<CommitId>,
    /// The source commits of what runs and of what is proposed, where the mirror has both.
    between: Option<(CommitId, CommitId)>,
}

impl Known {
    /// One value for all of it.
    pub(super) fn facts(&self, environment: &Environment) -> Digest {
        let Self {
            about,
            head,
            between,
        } = self;
        let title = &environment.request.title;
        Digest::of(format!("{about:?} {head:?} {between:?} {title:?}").as_bytes())
    }
}

/// The facts about what is proposed to an environment.
fn about(
    pipeline: &Pipeline,
    environment: &Environment,
    world: &World,
    unit: Option<&UnitPlan>,
    visibility: Option<Visibility>,
) -> Option<About> {
    let infra = world.units.get(&environment.name)?.infra.read().ok()?;
    let records = infra.records.as_ref().ok()?;
    let proposed = records.proposal.as_ref()?;
    let source = pipeline.application.source.as_ref();
    let proposal = infra.proposal.as_ref();
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
        evidence: evidence(pipeline, environment, world, proposed),
        notices: notices(environment, infra, records, unit),
        change: Outcome::Unknown(String::new()),
        diff: environment.request.diff.unwrap_or(match visibility {
            Some(Visibility::Private) => RequestDiff::Full,
            // Where it is not known, as if everybody could read it.
            Some(Visibility::Public | Visibility::Internal) | None => RequestDiff::Fields,
        }),
        beside: proposal.map_or_else(Vec::new, |it| it.beside.clone()),
        unlike: unlike_upstream(pipeline, environment, world),
        base: proposed.base,
        runs: records.deployment.as_ref().map(runs),
        on_failure: environment.on_failure,
        rollback: environment.rollback,
    })
}

/// How what is proposed is no copy of the first environment that is followed. The branch tells, as it is now: of a
/// proposal that sets the release's images alone, nothing else is left once it is merged.
fn unlike_upstream(
    pipeline: &Pipeline,
    environment: &Environment,
    world: &World,
) -> Option<Unlike> {
    let Follow::Environments { all, .. } = &environment.follow else {
        return None;
    };
    let upstream = pipeline.environment(all.first()?)?;
    let infra = |name: &EnvironmentName| world.units.get(name)?.infra.read().ok();
    let before = infra(&upstream.name)?.desired.as_ref().ok()?;
    let here = infra(&environment.name)?;
    let proposal = here.proposal.as_ref()?;
    let after = match proposal.beside.is_empty() {
        true => &here.desired,
        false => &proposal.desired,
    };
    let after = after.as_ref().ok()?;
    let images = pipeline.application.images.iter();
    let images: Vec<_> = images.map(|it| it.repository.clone()).collect();
    let objects = unlike(
        Side {
            rendered: &before.rendered,
            namespace: upstream.cluster.namespace(),
        },
        Side {
            rendered: &after.rendered,
            namespace: environment.cluster.namespace(),
        },
        &images,
    );
    (!objects.is_empty()).then(|| Unlike {
        environment: upstream.name.clone(),
        objects,
    })
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
    /// Whether a request may say something else now: as long as something that it rests on does not answer,
    /// it goes on saying what it said. Of the source repository, which it can do without, not for long.
    pub(super) fn may_be_said(
        &self,
        pipeline: &Pipeline,
        environment: &Environment,
        world: &World,
        unit: Option<&UnitPlan>,
        now: Timestamp,
    ) -> bool {
        let is_read = |name: &EnvironmentName| {
            let infra = world.units.get(name).map(|view| view.infra.read());
            infra.is_some_and(|infra| infra.is_ok_and(|infra| infra.records.is_ok()))
        };
        let upstream = match &environment.follow {
            Follow::Environments { all, .. } => all.iter().all(is_read),
            _ => true,
        };
        let source = pipeline.application.source.as_ref();
        let source = source.and_then(|it| self.observatory.histories.get(&it.url));
        let is_awaited = source.is_some_and(|source| match source.source.observed() {
            Observed::Seen { .. } => false,
            Observed::Unreadable(unreadable) => {
                source.reader.known().is_none() && now.duration_since(unreadable.since) < PATIENCE
            }
        });
        let is_planned = !matches!(
            unit.map(|unit| &unit.decision),
            Some(Decision::Waiting(waiting)) if matches!(waiting.reason, Reason::Unreadable(_))
        );
        let is_known = plan::is_known(pipeline, world, &environment.name, now);
        upstream && !is_awaited && is_planned && is_known
    }

    /// What the request of a unit is made from. Asks nobody.
    pub(super) fn known(
        &self,
        pipeline: &Pipeline,
        environment: &Environment,
        world: &World,
        unit: Option<&UnitPlan>,
    ) -> Option<Known> {
        let requests = self.observatory.requests.get(&environment.repository);
        let visibility = requests.and_then(|requests| requests.visibility());
        let about = about(pipeline, environment, world, unit, visibility)?;
        let infra = world.units.get(&environment.name)?.infra.read().ok()?;
        Some(Known {
            head: infra.proposal.as_ref().map(|it| it.head),
            between: self.between(&about),
            about,
        })
    }

    /// The source commits of what runs and of what is proposed.
    fn between(&self, about: &About) -> Option<(CommitId, CommitId)> {
        let source = self.observatory.histories.get(about.source.as_ref()?)?;
        let history = source.reader.known()?;
        let commit = |release: &Release| history.find(release.commit.as_deref()?);
        Some((commit(about.instead_of.as_ref()?)?, commit(&about.release)?))
    }

    fn commits(&self, known: &Known) -> Option<Commits> {
        let (before, after) = known.between?;
        let source = self
            .observatory
            .histories
            .get(known.about.source.as_ref()?)?;
        let between = source.reader.between(before, after, COMMITS);
        Some(Commits {
            newest: between.newest.iter().map(commit).collect(),
            count: between.count,
        })
    }

    /// What the request of a unit is to say, its cluster asked.
    pub(super) async fn content(
        &self,
        pipeline: &Pipeline,
        environment: &Environment,
        world: &World,
        unit: Option<&UnitPlan>,
        now: Timestamp,
    ) -> Option<Content> {
        let known = self.known(pipeline, environment, world, unit)?;
        let mut facts = known.facts(environment);
        let commits = self.commits(&known);
        let mut about = known.about;
        about.commits = commits;
        let mut releases = vec![&about.release];
        releases.extend(&about.instead_of);
        let labels = self.observatory.labels(&releases).await;
        about.built = labels
            .by_digest
            .into_iter()
            .map(|(digest, said)| (digest, built(said)))
            .collect();
        about.change = self.outcome(pipeline, environment, world, now).await;
        let unknown = match &about.change {
            Outcome::Unknown(why) => Some(why),
            Outcome::Tried(_) => None,
        };
        for why in unknown.into_iter().chain(&labels.unknown) {
            // It is made again, once they answer.
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
                self.observatory.hand_over(&scope, &mut previews, now);
                previews.sort_by(|a, b| a.reference.cmp(&b.reference));
                Outcome::Tried(previews.into_iter().map(Preview::tried).collect())
            }
            Err(error) => unknown(&error.to_string()),
        }
    }
}

fn built(said: ImageConfig) -> Built {
    Built {
        revision: said.revision,
        source: said.source,
        created: said.created,
    }
}

fn commit(commit: &Commit) -> request::Commit {
    request::Commit {
        id: commit.id,
        subject: commit.subject().to_owned(),
        author: commit.author.name.clone(),
    }
}

fn notices(
    environment: &Environment,
    infra: &Infra,
    records: &UnitRecords,
    unit: Option<&UnitPlan>,
) -> Vec<String> {
    let holds = records.hold.iter().chain(&infra.standing.hold);
    let mut notices: Vec<String> = holds
        .map(|hold| format!("held by {}: {}", hold.by, hold.reason))
        .collect();
    notices.extend(
        unit.and_then(|unit| unit.frozen.as_ref())
            .map(Frozen::notice),
    );
    let promotion = records.promotion.as_ref();
    notices.extend(promotion.and_then(|it| it.notice(&environment.authority)));
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

/// What was found out about what is proposed, as of when it was proposed: what is too old since is said by its
/// proposal being taken back.
fn evidence(
    pipeline: &Pipeline,
    environment: &Environment,
    world: &World,
    proposed: &Proposed,
) -> Vec<Evidence> {
    let release = &proposed.release;
    let all = plan::evidence(pipeline, world, &environment.name, release, proposed.at);
    let said = all.into_iter().map(|it| Evidence {
        rule: it.rule.asks.to_string(),
        repository: it.repository,
        holds: it.weighed == Weighed::Holds,
        found: it.found,
    });
    said.collect()
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
