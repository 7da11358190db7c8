//! The check `towpath/proven` on what others are about to merge into a gated branch: people's own requests, and
//! what a merge queue stands ready to merge. A branch that requires the check is thereby open to whatever
//! changes nothing of what runs, or runs only what is proven.
//!
//! Nothing waits for it, and nothing of it is needed again: it is judged anew from what is observed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Reconciler;
use super::show::DESCRIPTION;
use crate::clock;
use crate::forge::{ForgeError, PROVEN, Progress, SharedForge, Status};
use crate::git::{GitError, Merged};
use crate::model::{
    ApplicationName, CommitId, Environment, EnvironmentName, Gate, Pipeline, RepositoryUrl,
};
use crate::observe::{InfraSource, Observatory, Snapshot, WouldBe};
use crate::plan::{Proof, proof_of};
use crate::shown::on_one_line;

/// Rounds that follow each other closely are judged after together.
const REST: Duration = Duration::from_secs(1);

/// The longest that anything is left alone.
const REST_MAX: Duration = Duration::from_secs(3600);

/// How long one look may take: what is merged may have to be brought first.
const LOOK_MAX: Duration = Duration::from_secs(30 * 60);

/// A merge queue stands still behind what is not decided: so long it is waited for a proof that was lost.
const QUEUE_WAITS: Duration = Duration::from_secs(120);

/// What is remembered of one repository, and may be forgotten.
#[derive(Default)]
pub(super) struct Merging {
    pub(super) wake: Notify,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// What each commit would make of the units, merged into that head.
    judged: BTreeMap<(CommitId, CommitId), Arc<Outcome>>,
    /// What is shown on it, and since when.
    shown: BTreeMap<CommitId, (Status, Timestamp)>,
}

/// Something that is about to be merged.
#[derive(Clone)]
struct Candidate {
    commit: CommitId,
    base: String,
    is_queued: bool,
}

/// What would become of units.
enum Outcome {
    /// Those that would be another.
    Units(Vec<(EnvironmentName, ApplicationName, WouldBe)>),
    /// It is for people to say what comes of it.
    Unclear(String),
}

/// Of each repository whose gate has requests.
pub(super) fn of(observatory: &Observatory) -> BTreeMap<RepositoryUrl, Arc<Merging>> {
    let gated = observatory.requests.keys();
    gated.map(|url| (url.clone(), Arc::default())).collect()
}

impl Reconciler {
    pub(super) fn keep_merging(self: &Arc<Self>, tasks: &TaskTracker, stop: &CancellationToken) {
        for (url, merging) in &self.merging {
            let beat = self.pulse.of(format!("the check on requests of {url}"));
            let (this, url, stop) = (self.clone(), url.clone(), stop.clone());
            let merging = merging.clone();
            tasks.spawn(async move {
                let mut rounds = this.board.changes();
                while !stop.is_cancelled() {
                    beat.rests(LOOK_MAX);
                    let again = tokio::select! {
                        again = this.judge(&url, clock::now()) => again,
                        () = stop.cancelled() => break,
                    };
                    beat.rests(REST + REST_MAX);
                    tokio::select! {
                        () = tokio::time::sleep(REST) => {}
                        () = stop.cancelled() => break,
                    }
                    tokio::select! {
                        () = merging.wake.notified() => {}
                        _ = rounds.changed() => {}
                        () = tokio::time::sleep(again.unwrap_or(REST_MAX)) => {}
                        () = stop.cancelled() => {}
                    }
                }
                beat.ends();
            });
        }
    }

    /// Judges all that is about to be merged anywhere.
    pub(super) async fn judge_all(&self, now: Timestamp) {
        for url in self.merging.keys() {
            self.judge(url, now).await;
        }
    }

    /// Judges all that is about to be merged in a repository, and shows it. Gives how long what could not
    /// be judged or shown is left alone.
    pub(super) async fn judge(&self, url: &RepositoryUrl, now: Timestamp) -> Option<Duration> {
        let (merging, forge) = (self.merging.get(url)?, self.forges.get(url)?);
        let infra = self.observatory.infra.get(url)?;
        let snapshot = infra.source.observed();
        let snapshot = snapshot.read().ok()?.clone();
        let candidates = self.candidates(url, &snapshot);
        let mut kept = merging.kept.lock().await;
        let known = |commit: &CommitId| candidates.iter().any(|it| it.commit == *commit);
        kept.shown.retain(|commit, _| known(commit));
        kept.judged.retain(|(commit, _), _| known(commit));
        let mut again = None;
        for candidate in &candidates {
            let outcome = self.outcome_of(url, infra, &snapshot, &mut kept, candidate, now);
            let status = match outcome.await {
                Ok(Some(outcome)) => self.status_of(&outcome, now),
                Ok(None) => continue,
                Err(error) => {
                    tracing::debug!(%error, commit = %candidate.commit, "it is not judged");
                    again = Some(self.show_again());
                    continue;
                }
            };
            match shown(forge, &mut kept, candidate, status, now).await {
                Ok(next) => again = again.into_iter().chain(next).min(),
                Err(error) => {
                    tracing::warn!(%error, "a forge does not show it");
                    let wait = match error {
                        ForgeError::Unavailable { retry_after, .. } => retry_after,
                        _ => None,
                    };
                    return Some(wait.unwrap_or(self.show_again()));
                }
            }
        }
        again
    }

    /// The gated environments of a repository that this process acts for at least one of, by branch.
    fn gated<'a>(
        &'a self,
        url: &'a RepositoryUrl,
        base: &'a str,
    ) -> impl Iterator<Item = (&'a Pipeline, &'a Environment)> {
        self.pipelines.iter().flat_map(move |towed| {
            let environments = towed.pipeline.environments.iter();
            let there = environments.filter(move |it| {
                it.repository == *url && it.branch == base && it.gate == Gate::PullRequest
            });
            there.map(|environment| (&*towed.pipeline, environment))
        })
    }

    fn candidates(&self, url: &RepositoryUrl, snapshot: &Snapshot) -> Vec<Candidate> {
        let mut bases: Vec<&str> = self
            .pipelines
            .iter()
            .flat_map(|towed| &towed.pipeline.environments)
            .filter(|it| {
                it.repository == *url
                    && it.gate == Gate::PullRequest
                    && self.clusters.contains_key(&it.name)
            })
            .map(|it| it.branch.as_str())
            .collect();
        bases.sort_unstable();
        bases.dedup();
        let mut candidates = Vec::new();
        for base in &bases {
            candidates.extend(snapshot.queued(base).map(|commit| Candidate {
                commit,
                base: (*base).to_owned(),
                is_queued: true,
            }));
        }
        let requests = self.observatory.requests.get(url);
        let requests = requests.map(|source| source.source.observed());
        if let Some(Ok(requests)) = requests.as_ref().map(|it| it.read()) {
            let others = requests.others().filter(|it| bases.contains(&&*it.base));
            candidates.extend(others.map(|other| Candidate {
                commit: other.head,
                base: other.base.clone(),
                is_queued: false,
            }));
        }
        candidates
    }

    /// What a candidate would make of the units; `None` where their branch is not there.
    async fn outcome_of(
        &self,
        url: &RepositoryUrl,
        infra: &InfraSource,
        snapshot: &Snapshot,
        kept: &mut Kept,
        candidate: &Candidate,
        now: Timestamp,
    ) -> Result<Option<Arc<Outcome>>, GitError> {
        let Some((_, first)) = self.gated(url, &candidate.base).next() else {
            return Ok(None);
        };
        let Some(head) = snapshot.head(&first.name) else {
            return Ok(None);
        };
        let key = (candidate.commit, head);
        if let Some(known) = kept.judged.get(&key) {
            return Ok(Some(known.clone()));
        }
        let reader = &infra.reader;
        let merged = match candidate.is_queued {
            true => Some(Merged::Tree(reader.queued(candidate.commit).await?)),
            false => {
                reader
                    .merged(&first.name, snapshot, candidate.commit)
                    .await?
            }
        };
        let tree = match merged {
            Some(Merged::Tree(tree)) => tree,
            Some(Merged::Both(path)) => {
                let why = format!("{path} was changed on both sides: update the branch");
                return Ok(Some(Arc::new(Outcome::Unclear(why))));
            }
            None => {
                let why = "it left the branch long ago: update it".to_owned();
                return Ok(Some(Arc::new(Outcome::Unclear(why))));
            }
        };
        let (mut units, mut is_certain) = (Vec::new(), true);
        for (pipeline, environment) in self.gated(url, &candidate.base) {
            let would_be = reader.would_be(environment, snapshot, tree, now)?;
            is_certain &= !matches!(would_be, WouldBe::Unknown(_));
            if !matches!(would_be, WouldBe::Same) {
                let application = pipeline.application.name.clone();
                units.push((environment.name.clone(), application, would_be));
            }
        }
        let outcome = Arc::new(Outcome::Units(units));
        if is_certain {
            kept.judged.insert(key, outcome.clone());
        }
        Ok(Some(outcome))
    }

    fn status_of(&self, outcome: &Outcome, now: Timestamp) -> Status {
        let units = match outcome {
            Outcome::Units(units) => units,
            Outcome::Unclear(why) => return status(Progress::Pending, why),
        };
        let mut worst: Option<(Progress, String)> = None;
        for (environment, application, would_be) in units {
            let Some((progress, why)) = self.proof_of(environment, application, would_be, now)
            else {
                continue;
            };
            let rank = |progress: &Progress| match progress {
                Progress::Success => 0,
                Progress::Pending => 1,
                Progress::Failure => 2,
            };
            let why = format!("{application} in {environment}: {why}");
            worst = Some(match worst {
                Some((before, said)) if rank(&before) > rank(&progress) => (before, said),
                Some((before, said)) if before == progress => (before, format!("{said}; {why}")),
                _ => (progress, why),
            });
        }
        match worst {
            Some((progress, why)) => status(progress, &why),
            None => status(Progress::Success, "nothing that Towpath runs changes"),
        }
    }

    /// Whether a unit may become this; `None`: it would stay as it is.
    fn proof_of(
        &self,
        environment: &EnvironmentName,
        application: &ApplicationName,
        would_be: &WouldBe,
        now: Timestamp,
    ) -> Option<(Progress, String)> {
        let rendered = match would_be {
            WouldBe::Same => return None,
            WouldBe::Broken(why) => return Some((Progress::Failure, why.clone())),
            WouldBe::Unknown(why) => return Some((Progress::Pending, why.clone())),
            WouldBe::Asks(rendered) => rendered,
        };
        let is_it = |pipeline: &&Pipeline| pipeline.application.name == *application;
        let mut pipelines = self.pipelines.iter().map(|towed| &*towed.pipeline);
        let pipeline = pipelines.find(is_it)?;
        let world = self.world(application, now)?;
        let proof = proof_of(pipeline, &world, environment, rendered, now)?;
        Some(match proof {
            Proof::Proven(why) => (Progress::Success, why),
            Proof::Open(why) => (Progress::Pending, why),
            Proof::Spoiled(why) => (Progress::Failure, why),
        })
    }
}

fn status(progress: Progress, description: &str) -> Status {
    Status {
        context: PROVEN.to_owned(),
        progress,
        description: on_one_line(description, DESCRIPTION),
        url: None,
    }
}

/// Shows it, where something else is shown. Gives when a queue is not to wait any longer.
async fn shown(
    forge: &SharedForge,
    kept: &mut Kept,
    candidate: &Candidate,
    mut status: Status,
    now: Timestamp,
) -> Result<Option<Duration>, ForgeError> {
    let before = kept.shown.get(&candidate.commit);
    let mut again = None;
    let mut since = now;
    if candidate.is_queued && status.progress == Progress::Pending {
        since = before.map_or(now, |(_, since)| *since);
        let waits = now.duration_since(since);
        match Duration::try_from(waits).unwrap_or_default() {
            waited if waited < QUEUE_WAITS => again = Some(QUEUE_WAITS - waited),
            _ => status.progress = Progress::Failure,
        }
    }
    if before.is_some_and(|(before, _)| *before == status) {
        return Ok(again);
    }
    let is_shown = match before {
        Some(_) => false,
        // By a process before this one.
        None => forge.statuses(candidate.commit).await?.contains(&status),
    };
    if !is_shown {
        forge.set_status(candidate.commit, &status).await?;
    }
    kept.shown.insert(candidate.commit, (status, since));
    Ok(again)
}
