//! What forges show that nothing waits for: the words of a request, the statuses of commits, deployments on
//! application commits. Each is compared with what is shown already, and made only where it differs.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::words::PATIENCE;
use super::{Reconciler, Towed};
use crate::forge::{Deployed, ForgeError, PROVEN, Progress, Status};
use crate::model::record::{Cause, Deployment, Verdict};
use crate::model::{
    CommitId, Environment, EnvironmentName, Follow, Gate, KeepTags, Pipeline, Release,
    RepositoryUrl, Scheme,
};
use crate::plan::{self, Infra, Plan, Proof, Request, UnitView, World, frozen, proof};
use crate::shown::on_one_line;

/// What could not be shown is left alone for so long, unless the forge asks for more.
const AGAIN: Duration = Duration::from_secs(60);

/// Forges take no longer description.
pub(super) const DESCRIPTION: usize = 136;

/// Something to show.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Show {
    /// What a request says.
    Words(Request),
    /// A status of a commit of this repository, which came about at that moment.
    Status(RepositoryUrl, CommitId, Timestamp, Status),
    /// A deployment of a commit of this repository.
    Deployed(RepositoryUrl, Deployed),
}

impl Reconciler {
    /// What is not shown yet, as far as is known.
    pub(super) fn to_show(
        &self,
        towed: &Towed,
        world: &World,
        plan: &Plan,
        now: Timestamp,
    ) -> Vec<(EnvironmentName, Show)> {
        let mut all = Vec::new();
        if towed.pipeline.removed || self.forges.is_empty() {
            return all;
        }
        for environment in &towed.pipeline.environments {
            let name = &environment.name;
            let view = world.units.get(name);
            let Some(view) = view.filter(|view| view.live.is_some()) else {
                continue;
            };
            let shows = self
                .words(&towed.pipeline, environment, world, view, plan, now)
                .into_iter()
                .chain(self.proven(&towed.pipeline, environment, world, view, now))
                .chain(self.deployment(&towed.pipeline, environment, world, view));
            let memory = towed.memory();
            let known = memory.shown.get(name);
            let news = shows.filter(|show| known.is_none_or(|known| !known.contains(show)));
            for show in news {
                all.extend(
                    known
                        .and_then(|known| show.ends(known))
                        .map(|it| (name.clone(), it)),
                );
                all.push((name.clone(), show));
            }
        }
        all
    }

    /// The words of an open request, where they were made from something else.
    fn words(
        &self,
        pipeline: &Pipeline,
        environment: &Environment,
        world: &World,
        view: &UnitView,
        plan: &Plan,
        now: Timestamp,
    ) -> Option<Show> {
        let request = open_request(environment, view)?;
        let mut units = plan.units.iter();
        let unit = units.find(|unit| unit.environment == environment.name);
        if !self.may_be_said(pipeline, environment, world, unit, now) {
            return None;
        }
        let facts = self
            .known(pipeline, environment, world, unit)?
            .facts(environment);
        (request.says != Some(facts)).then(|| Show::Words(request.clone()))
    }

    /// `towpath/proven` on the head of an open request.
    fn proven(
        &self,
        pipeline: &Pipeline,
        environment: &Environment,
        world: &World,
        view: &UnitView,
        now: Timestamp,
    ) -> Option<Show> {
        let request = open_request(environment, view)?;
        let url = &environment.repository;
        self.forges.get(url)?;
        if is_silent_for_now(environment, world, now)
            || !plan::is_known(pipeline, world, &environment.name, now)
        {
            return None;
        }
        let (progress, description) = match proof(pipeline, world, &environment.name, now)? {
            Proof::Proven(why) => (Progress::Success, why),
            Proof::Open(why) => (Progress::Pending, why),
            Proof::Spoiled(why) => (Progress::Failure, why),
        };
        let frozen = view.infra.read().ok();
        let frozen = frozen.and_then(|infra| frozen_now(environment, infra, now));
        let description = match frozen {
            Some(frozen) => format!("{description}; {frozen}"),
            None => description,
        };
        let status = Status {
            context: PROVEN.to_owned(),
            progress,
            description: on_one_line(&description, DESCRIPTION),
            url: None,
        };
        let infra = view.infra.read().ok()?;
        let at = infra.records.as_ref().ok()?.proposal.as_ref()?.at;
        Some(Show::Status(url.clone(), request.head, at, status))
    }

    /// The newest deployment, on its infra commit and on the application's commit.
    fn deployment(
        &self,
        pipeline: &Pipeline,
        environment: &Environment,
        world: &World,
        view: &UnitView,
    ) -> Vec<Show> {
        let mut shows = Vec::new();
        let infra = view.infra.read().ok();
        let records = infra.and_then(|infra| infra.records.as_ref().ok());
        let deployment = records.and_then(|records| records.deployment.as_ref());
        // What was there before Towpath is not its deployment.
        let Some(deployment) = deployment.filter(|it| it.cause != Cause::Baseline) else {
            return shows;
        };
        let (progress, description) = standing(deployment);
        let description = on_one_line(&description, DESCRIPTION);
        let url = tag_page(environment, deployment);
        if self.forges.contains_key(&environment.repository) {
            let status = Status {
                context: self.context(pipeline, environment),
                progress,
                description: description.clone(),
                url: url.clone(),
            };
            let repository = environment.repository.clone();
            let (commit, at) = (deployment.commit, deployment.at);
            shows.push(Show::Status(repository, commit, at, status));
        }
        let source = pipeline.application.source.as_ref();
        let source = source.filter(|source| self.forges.contains_key(&source.url));
        let release = deployment.release.as_ref();
        if let (Some(source), Some(commit)) = (source, release.and_then(|it| commit_of(it, world)))
        {
            let deployed = Deployed {
                commit,
                environment: environment.name.to_string(),
                progress,
                description,
                url,
            };
            shows.push(Show::Deployed(source.url.clone(), deployed));
        }
        shows
    }

    /// An environment that several applications share has a status for each.
    fn context(&self, pipeline: &Pipeline, environment: &Environment) -> String {
        let name = &environment.name;
        let goes_there = |towed: &&Arc<Towed>| towed.pipeline.environment(name).is_some();
        match self.pipelines.iter().filter(goes_there).nth(1) {
            Some(_) => format!("towpath/{name}/{}", pipeline.application.name),
            None => format!("towpath/{name}"),
        }
    }

    /// How long what could not be shown is left alone: what answers again is seen within one poll.
    pub(super) fn show_again(&self) -> Duration {
        AGAIN.min(self.intervals.forge)
    }

    /// Shows it. Gives when the rest may be tried again, where something could not be shown.
    pub(super) async fn show(
        &self,
        towed: &Arc<Towed>,
        shows: Vec<(EnvironmentName, Show)>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let mut again = None;
        for (environment, show) in shows {
            match self.show_one(towed, &environment, &show, now).await {
                Ok(true) => towed.memory().remember(environment, show),
                Ok(false) => again = now.checked_add(self.show_again()).ok(),
                Err(error) => {
                    tracing::warn!(%environment, %error, "a forge does not show it");
                    let wait = match error {
                        ForgeError::Unavailable { retry_after, .. } => retry_after,
                        _ => None,
                    };
                    return now.checked_add(wait.unwrap_or(self.show_again())).ok();
                }
            }
        }
        again
    }

    /// Whether all of it is shown: what a cluster says may be missing.
    async fn show_one(
        &self,
        towed: &Arc<Towed>,
        environment: &EnvironmentName,
        show: &Show,
        now: Timestamp,
    ) -> Result<bool, ForgeError> {
        match show {
            Show::Words(request) => self.rewrite(towed, environment, request, now).await,
            Show::Status(url, commit, at, status) => {
                let Some(forge) = self.forges.get(url) else {
                    return Ok(true);
                };
                // On what came about since this process began, it would be known.
                let is_shown = match *at < self.begun {
                    true => forge.statuses(*commit).await?.contains(status),
                    false => false,
                };
                if !is_shown {
                    forge.set_status(*commit, status).await?;
                }
                Ok(true)
            }
            Show::Deployed(url, deployed) => {
                if let Some(forge) = self.forges.get(url) {
                    forge.show_deployed(deployed).await?;
                }
                Ok(true)
            }
        }
    }

    async fn rewrite(
        &self,
        towed: &Arc<Towed>,
        environment: &EnvironmentName,
        request: &Request,
        now: Timestamp,
    ) -> Result<bool, ForgeError> {
        let (pipeline, application) = (&towed.pipeline, &towed.pipeline.application.name);
        let (Some(environment), Some(world)) = (
            pipeline.environment(environment),
            self.world(application, now),
        ) else {
            return Ok(true);
        };
        let url = &environment.repository;
        let (Some(forge), Some(source)) =
            (self.forges.get(url), self.observatory.requests.get(url))
        else {
            return Ok(true);
        };
        let plan = plan::plan(pipeline, &world, now);
        let mut units = plan.units.iter();
        let unit = units.find(|unit| unit.environment == environment.name);
        if !self.may_be_said(pipeline, environment, &world, unit, now) {
            return Ok(true);
        }
        let content = self.content(pipeline, environment, &world, unit, now).await;
        let Some(content) = content else {
            return Ok(true);
        };
        if request.says != Some(content.facts) {
            let found = forge.rewrite(request, &content, now).await?;
            source.take_own(found, now);
        }
        let known = self.known(pipeline, environment, &world, unit);
        let facts = known.map(|known| known.facts(environment));
        Ok(facts == Some(content.facts))
    }
}

impl super::Memory {
    /// A newer one of its kind takes the place of what was shown.
    fn remember(&mut self, environment: EnvironmentName, show: Show) {
        let mut shown = self.shown.remove(&environment).unwrap_or_default();
        shown.retain(|before| !before.is_replaced_by(&show));
        // What a request says is told by the request itself.
        if !matches!(show, Show::Words(_)) {
            shown.push(show);
        }
        self.shown.insert(environment, shown);
    }
}

impl Show {
    /// What ends the status of a commit before, which is not looked at any more.
    fn ends(&self, known: &[Self]) -> Option<Self> {
        let Self::Status(_, commit, _, newer) = self else {
            return None;
        };
        known.iter().find_map(|it| match it {
            Self::Status(url, before, at, status)
                if before != commit
                    && status.context == newer.context
                    && status.context != PROVEN
                    && status.progress == Progress::Pending =>
            {
                let status = Status {
                    progress: Progress::Success,
                    description: "a newer deployment took its place".to_owned(),
                    ..status.clone()
                };
                Some(Self::Status(url.clone(), *before, *at, status))
            }
            _ => None,
        })
    }

    fn is_replaced_by(&self, newer: &Self) -> bool {
        match (self, newer) {
            (Self::Status(.., one), Self::Status(.., other)) => one.context == other.context,
            (Self::Deployed(..), Self::Deployed(..)) => true,
            _ => false,
        }
    }
}

/// What is said of the environment's freeze: a person who merges goes over it.
fn frozen_now(environment: &Environment, infra: &Infra, now: Timestamp) -> Option<String> {
    frozen(environment, &infra.standing, now).map(|it| it.notice())
}

/// The open request of a unit whose gate has one.
fn open_request<'a>(environment: &Environment, view: &'a UnitView) -> Option<&'a Request> {
    let request = view.request.read().ok()?.as_ref();
    request.filter(|request| environment.gate == Gate::PullRequest && request.is_open())
}

/// Whether an environment that this one follows could not be read for a moment.
fn is_silent_for_now(environment: &Environment, world: &World, now: Timestamp) -> bool {
    let Follow::Environments { all, .. } = &environment.follow else {
        return false;
    };
    let silent = all
        .iter()
        .filter_map(|name| world.units.get(name)?.infra.read().err());
    let mut since = silent.map(|unreadable| now.duration_since(unreadable.since));
    since.any(|since| since < PATIENCE)
}

/// The commit that a release was built from: as recorded, or as was learned since, where its tag was seen
/// in the source repository later than its image.
fn commit_of(release: &Release, world: &World) -> Option<String> {
    let learned = || {
        let catalogue = world.catalogue.read().ok()?;
        catalogue.find(&release.digests())?.commit.clone()
    };
    release.commit.clone().or_else(learned)
}

fn standing(deployment: &Deployment) -> (Progress, String) {
    let release = deployment.release.as_ref();
    let name = release.map_or_else(|| "an unknown image".to_owned(), ToString::to_string);
    let number = deployment.number;
    match deployment.verdict.as_ref().map(|judged| &judged.verdict) {
        None => (
            Progress::Pending,
            format!("deployment {number}: {name} rolls out"),
        ),
        Some(Verdict::Healthy { .. }) => (
            Progress::Success,
            format!("deployment {number}: {name} is healthy"),
        ),
        Some(Verdict::Failed { reason, .. }) => (
            Progress::Failure,
            format!("deployment {number}: {name} failed: {reason}"),
        ),
        Some(Verdict::Superseded) => (
            Progress::Failure,
            format!("deployment {number}: {name} was superseded"),
        ),
    }
}

/// The page of the deployment's tag, whose message has the whole verdict; `None`: there is none yet.
fn tag_page(environment: &Environment, deployment: &Deployment) -> Option<String> {
    deployment.verdict.as_ref()?;
    let url = &environment.repository;
    if environment.tags.keep == KeepTags::None || url.scheme() != Scheme::Http {
        return None;
    }
    let page = url.as_str().trim_end_matches(".git");
    let tag = environment.tags.name(deployment.number);
    Some(format!("{page}/releases/tag/{tag}"))
}
