//! Keeps the sources: reads each in the background when it is stale or its time has come, and wakes
//! the pipelines that may be concerned by news.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::keeper::keep;
use super::{Reconciler, Towed};
use crate::clock;
use crate::cluster::SharedReadCluster;
use crate::model::{
    Application, ApplicationName, CommitId, EnvironmentName, Gate, ImageReference, ImageRepository,
    RepositoryUrl, proposal_branch,
};
use crate::observe::{
    Concerned, EVIDENCE_AGAIN, HistorySource, InfraSource, LiveSource, RequestSource, TagSource,
};
use crate::plan::{Decision, Plan, Reason, World, awaited};

/// How soon tags that could not be looked up are tried again.
const LOOK_UP_AGAIN: Duration = Duration::from_secs(5);

impl Reconciler {
    pub(super) fn keep_sources(self: &Arc<Self>, tasks: &TaskTracker, stop: &CancellationToken) {
        let observatory = &self.observatory;
        // Infra repositories serve many applications: only those whose part changed are woken.
        for (url, source) in &observatory.infra {
            self.keep_open(url.clone(), source.clone(), tasks, stop);
            let (this, at) = (self.clone(), url.clone());
            let news = move |source: &InfraSource, before| {
                this.wake_merging(&at);
                this.wake_concerned(source, &before);
            };
            tasks.spawn(keep(
                vec![source.clone()],
                self.intervals.git,
                news,
                self.pulse.of(format!("the look at {url}")),
                stop.clone(),
            ));
        }
        self.keep_requests(tasks, stop);
        self.keep_tags(tasks, stop);
        for (url, source) in &observatory.histories {
            let users = self.towed(|application| {
                let source = application.source.as_ref();
                source.is_some_and(|source| source.url == *url)
            });
            tasks.spawn(keep(
                vec![source.clone()],
                self.intervals.git,
                move |_: &HistorySource, _| users.iter().for_each(|towed| towed.wake.notify_one()),
                self.pulse.of(format!("the look at {url}")),
                stop.clone(),
            ));
        }
        self.keep_clusters(tasks, stop);
    }

    /// The requests of each infra repository. Of news only those units are woken whose request it is.
    fn keep_requests(self: &Arc<Self>, tasks: &TaskTracker, stop: &CancellationToken) {
        for (url, source) in &self.observatory.requests {
            let pulse = self.pulse.of(format!("the look at the requests of {url}"));
            let (this, url) = (self.clone(), url.clone());
            let news = move |source: &RequestSource, before| {
                let changed = source.changed(&before);
                this.wake_merging(&url);
                match &changed {
                    Some(changed) => {
                        let merged = changed.merged.iter();
                        merged.for_each(|commit| this.seek(&url, *commit));
                    }
                    None => this.seek(&url, None),
                }
                this.wake(|towed| {
                    let application = &towed.pipeline.application.name;
                    let mut environments = towed.pipeline.environments.iter();
                    environments.any(|it| {
                        let branch = || proposal_branch(&it.name, application);
                        it.repository == url
                            && it.gate == Gate::PullRequest
                            && changed
                                .as_ref()
                                .is_none_or(|changed| changed.heads.contains(&branch()))
                    })
                });
            };
            tasks.spawn(keep(
                vec![source.clone()],
                self.intervals.forge,
                news,
                pulse,
                stop.clone(),
            ));
        }
    }

    /// One registry's image repositories together: another one that does not answer delays none.
    fn keep_tags(self: &Arc<Self>, tasks: &TaskTracker, stop: &CancellationToken) {
        let mut users: BTreeMap<ImageRepository, Vec<Arc<Towed>>> = BTreeMap::new();
        for towed in &self.pipelines {
            for image in &towed.pipeline.application.images {
                let of = users.entry(image.repository.clone()).or_default();
                of.push(towed.clone());
            }
        }
        let users = Arc::new(users);
        let mut hosts: BTreeMap<&str, Vec<Arc<TagSource>>> = BTreeMap::new();
        for (repository, source) in &self.observatory.tags {
            let of = hosts.entry(repository.host()).or_default();
            of.push(source.clone());
        }
        for (host, sources) in hosts {
            let users = users.clone();
            let news = move |source: &TagSource, _| {
                let users = users.get(source.reader.repository());
                users
                    .into_iter()
                    .flatten()
                    .for_each(|towed| towed.wake.notify_one());
            };
            let beat = self.pulse.of(format!("the look at {host}"));
            let interval = self.intervals.registry;
            tasks.spawn(keep(sources, interval, news, beat, stop.clone()));
        }
    }

    /// One cluster's units together.
    fn keep_clusters(self: &Arc<Self>, tasks: &TaskTracker, stop: &CancellationToken) {
        let mut clusters: Vec<(SharedReadCluster, Vec<Arc<LiveSource>>)> = Vec::new();
        for source in self.observatory.live.values() {
            let same =
                |(known, _): &&mut (SharedReadCluster, _)| Arc::ptr_eq(known, source.cluster());
            match clusters.iter_mut().find(same) {
                Some((_, sources)) => sources.push(source.clone()),
                None => clusters.push((source.cluster().clone(), vec![source.clone()])),
            }
        }
        let by_name = self.pipelines.iter().map(|towed| {
            let name = towed.pipeline.application.name.clone();
            (name, towed.clone())
        });
        let by_name: Arc<BTreeMap<_, _>> = Arc::new(by_name.collect());
        for (cluster, sources) in clusters {
            let mut units: BTreeMap<ApplicationName, Vec<Arc<LiveSource>>> = BTreeMap::new();
            for source in &sources {
                let of = units.entry(source.application().clone()).or_default();
                of.push(source.clone());
            }
            let by_name = by_name.clone();
            let news = move |source: &LiveSource, _| {
                if let Some(towed) = by_name.get(source.application()) {
                    towed.wake.notify_one();
                }
            };
            let beat = self.pulse.of(format!("the look at {}", cluster.name()));
            let interval = self.intervals.cluster;
            tasks.spawn(keep(sources, interval, news, beat, stop.clone()));
            tasks.spawn(watch(cluster, units, stop.clone()));
        }
    }

    /// The pipelines of such applications.
    fn towed(&self, is_such: impl Fn(&Application) -> bool) -> Vec<Arc<Towed>> {
        let such = |towed: &&Arc<Towed>| is_such(&towed.pipeline.application);
        self.pipelines.iter().filter(such).cloned().collect()
    }

    /// Opens encrypted files as they are asked for.
    fn keep_open(
        self: &Arc<Self>,
        url: RepositoryUrl,
        source: Arc<InfraSource>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let (this, stop) = (self.clone(), stop.clone());
        tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = source.reader.asked_to_open() => {}
                    () = stop.cancelled() => return,
                }
                tokio::select! {
                    any = source.reader.open_asked(clock::now()) => if any {
                        this.wake(|towed| {
                            let mut environments = towed.pipeline.environments.iter();
                            environments.any(|it| it.repository == url)
                        });
                    },
                    () = stop.cancelled() => return,
                }
            }
        });
    }

    /// Has what others are about to merge judged again.
    fn wake_merging(&self, url: &RepositoryUrl) {
        if let Some(merging) = self.merging.get(url) {
            merging.wake.notify_one();
        }
    }

    fn wake_concerned(
        &self,
        source: &InfraSource,
        before: &crate::plan::Observed<Arc<crate::observe::Snapshot>>,
    ) {
        let after = source.source.observed();
        let concerned = match (before.read(), after.read()) {
            (Ok(before), Ok(after)) => source.reader.concerned(before, after),
            _ => Concerned::All,
        };
        self.wake(|towed| {
            let mut environments = towed.pipeline.environments.iter();
            environments.any(|it| concerned.is(it, &towed.pipeline.application.name))
        });
    }

    /// Has a branch looked at again at once that is behind what its cluster runs.
    pub(super) fn look_again(&self, towed: &Towed, plan: &Plan) {
        for unit in &plan.units {
            if let Decision::Waiting(waiting) = &unit.decision
                && let Reason::Behind { commit, .. } = waiting.reason
                && let Some(environment) = towed.pipeline.environment(&unit.environment)
            {
                self.seek(&environment.repository, Some(commit));
            }
        }
    }

    /// Has a repository looked at for a commit that should be on a branch; `None`: for whatever is new.
    fn seek(&self, url: &RepositoryUrl, commit: Option<CommitId>) {
        match (commit, self.observatory.infra.get(url)) {
            (Some(commit), Some(infra)) => infra.seek(commit),
            _ => drop(self.hear_of_git(url, None)),
        }
    }

    /// Tags that only manifests name and no look resolved yet, and whether they were looked up.
    pub(super) fn unresolved(
        &self,
        towed: &Towed,
        world: &World,
    ) -> (BTreeSet<ImageReference>, bool) {
        let open = self.observatory.unresolved(&towed.pipeline, world);
        let is_looked_up = open.is_empty() || towed.memory().looked_up;
        (open, is_looked_up)
    }

    /// Has these tags looked up, which only manifests name; a round follows. Gives how long the pipeline
    /// may rest for that.
    pub(super) fn look_up(
        self: &Arc<Self>,
        towed: &Arc<Towed>,
        open: BTreeSet<ImageReference>,
        tasks: &TaskTracker,
        now: Timestamp,
    ) -> Duration {
        if open.is_empty() {
            return Duration::MAX;
        }
        let mut memory = towed.memory();
        if memory.look_up_next.is_none_or(|next| next <= now) {
            memory.look_up_next = now.checked_add(LOOK_UP_AGAIN).ok();
            let (this, towed) = (self.clone(), towed.clone());
            tasks.spawn(async move {
                this.observatory.resolve(&open, clock::now()).await;
                towed.memory().looked_up = true;
                towed.wake.notify_one();
            });
        }
        LOOK_UP_AGAIN
    }

    /// Has registries asked what is attached to images as evidence, where that decides something; a round follows.
    /// Gives how long the pipeline may rest for that.
    pub(super) fn look_at_evidence(
        self: &Arc<Self>,
        towed: &Arc<Towed>,
        world: &World,
        tasks: &TaskTracker,
        now: Timestamp,
    ) -> Duration {
        let awaited = awaited(&towed.pipeline, world, now);
        if awaited.is_empty() {
            return Duration::MAX;
        }
        let images = self.observatory.unattached(awaited, now);
        let mut memory = towed.memory();
        if !images.is_empty() && !memory.asking_evidence {
            memory.asking_evidence = true;
            let (this, towed) = (self.clone(), towed.clone());
            tasks.spawn(async move {
                this.observatory.read_attached(&images, clock::now()).await;
                towed.memory().asking_evidence = false;
                towed.wake.notify_one();
            });
        }
        EVIDENCE_AGAIN
    }

    /// Wakes the pipelines that may be concerned.
    pub(super) fn wake(&self, concerned: impl Fn(&Towed) -> bool) {
        for towed in self.pipelines.iter().filter(|towed| concerned(towed)) {
            towed.wake.notify_one();
        }
    }

    /// Whether no unit of the environment has something going on: asked in each round, so that nobody
    /// is looked at for it.
    pub(super) fn is_quiet(&self, environment: &EnvironmentName) -> bool {
        let acting = self.acting.get(environment);
        acting.is_none_or(|acting| Arc::strong_count(acting) == 1)
    }
}

/// Has the units read again whose objects changed, as the cluster tells it.
async fn watch(
    cluster: SharedReadCluster,
    units: BTreeMap<ApplicationName, Vec<Arc<LiveSource>>>,
    stop: CancellationToken,
) {
    loop {
        let changed = tokio::select! {
            changed = cluster.changed(clock::now()) => changed,
            () = stop.cancelled() => return,
        };
        let sources = changed
            .iter()
            .filter_map(|application| units.get(application));
        sources
            .flatten()
            .for_each(|source| source.source.mark_stale());
    }
}
