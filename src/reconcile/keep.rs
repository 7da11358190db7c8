//! Keeps the sources: reads each in the background when it is stale or its time has come, and wakes
//! the pipelines that may be concerned by news.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Reconciler, Towed};
use crate::clock;
use crate::cluster::SharedReadCluster;
use crate::model::{ApplicationName, Digest, EnvironmentName, ImageRepository, RepositoryUrl};
use crate::observe::{Concerned, InfraSource};
use crate::plan::{Decision, Plan, Reason, World};

/// How soon tags that could not be looked up are tried again.
const LOOK_UP_AGAIN: Duration = Duration::from_secs(5);

/// Reads the source whenever the source is due, until stopped; `$news` when it brought news.
macro_rules! keep {
    ($tasks:expr, $stop:expr, $interval:expr, $source:expr, $news:expr) => {{
        let (source, stop, interval, news) = ($source, $stop.clone(), $interval, $news);
        $tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = source.source.due(interval(), clock::now()) => {}
                    () = stop.cancelled() => return,
                }
                tokio::select! {
                    is_news = source.read(clock::now()) => if is_news { news() },
                    () = stop.cancelled() => return,
                }
            }
        });
    }};
}

impl Reconciler {
    /// Says that a git repository may have changed. Gives whether it is one of ours.
    pub fn git_may_have_changed(&self, url: &RepositoryUrl) -> bool {
        let infra = self
            .observatory
            .infra
            .get(url)
            .map(|it| it.source.mark_stale());
        let history = self
            .observatory
            .histories
            .get(url)
            .map(|it| it.source.mark_stale());
        infra.is_some() || history.is_some()
    }

    /// Says that an image repository may have changed, and which tag of it points to what now. Gives
    /// whether it is one of ours.
    pub fn images_may_have_changed(
        &self,
        repository: &ImageRepository,
        tag: Option<(&str, Option<Digest>)>,
    ) -> bool {
        let Some(source) = self.observatory.tags.get(repository) else {
            return false;
        };
        if let Some((tag, digest)) = tag {
            source.reader.tell(tag, digest);
        }
        source.source.mark_stale();
        true
    }

    pub(super) fn keep_sources(self: &Arc<Self>, tasks: &TaskTracker, stop: &CancellationToken) {
        let observatory = &self.observatory;
        for source in observatory.infra.values() {
            self.keep_infra(source.clone(), tasks, stop);
        }
        for (repository, source) in &observatory.tags {
            let (this, repository) = (self.clone(), repository.clone());
            let (told, interval) = (source.clone(), self.intervals.registry);
            keep!(
                tasks,
                stop,
                move || told.reader.again_after().unwrap_or(interval),
                source.clone(),
                move || {
                    this.wake(|towed| {
                        let mut images = towed.pipeline.application.images.iter();
                        images.any(|image| image.repository == repository)
                    });
                }
            );
        }
        for (url, source) in &observatory.histories {
            let (this, url) = (self.clone(), url.clone());
            let interval = self.intervals.git;
            keep!(tasks, stop, move || interval, source.clone(), move || {
                this.wake(|towed| {
                    towed
                        .pipeline
                        .application
                        .source
                        .as_ref()
                        .is_some_and(|it| it.url == url)
                });
            });
        }
        let mut clusters: Vec<SharedReadCluster> = Vec::new();
        for ((_, application), source) in &observatory.live {
            let (this, application) = (self.clone(), application.clone());
            let interval = self.intervals.cluster;
            keep!(tasks, stop, move || interval, source.clone(), move || {
                this.wake(|towed| towed.pipeline.application.name == application);
            });
            if !clusters
                .iter()
                .any(|known| Arc::ptr_eq(known, source.cluster()))
            {
                clusters.push(source.cluster().clone());
            }
        }
        for cluster in clusters {
            self.watch_cluster(cluster, tasks, stop);
        }
    }

    /// Infra repositories serve many applications: only those whose part changed are woken.
    fn keep_infra(
        self: &Arc<Self>,
        source: Arc<InfraSource>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let (this, stop) = (self.clone(), stop.clone());
        tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = source.source.due(this.intervals.git, clock::now()) => {}
                    () = stop.cancelled() => return,
                }
                let before = source.source.observed();
                tokio::select! {
                    is_news = source.read(clock::now()) => if is_news {
                        this.wake_concerned(&source, &before);
                    },
                    () = stop.cancelled() => return,
                }
            }
        });
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
                && let Reason::Behind { .. } = waiting.reason
                && let Some(environment) = towed.pipeline.environment(&unit.environment)
            {
                self.git_may_have_changed(&environment.repository);
            }
        }
    }

    /// Has the tags looked up that only manifests name; a round follows. Gives how long the pipeline
    /// may rest for that.
    pub(super) fn look_up(
        self: &Arc<Self>,
        towed: &Arc<Towed>,
        world: &World,
        tasks: &TaskTracker,
        now: Timestamp,
    ) -> Duration {
        let open = self.observatory.unresolved(&towed.pipeline, world);
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

    /// Whether the tags that only manifests name were looked up at least once.
    pub(super) fn is_looked_up(&self, towed: &Towed, world: &World) -> bool {
        let open = self.observatory.unresolved(&towed.pipeline, world);
        open.is_empty() || towed.memory().looked_up
    }

    fn watch_cluster(
        self: &Arc<Self>,
        cluster: SharedReadCluster,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let (this, stop) = (self.clone(), stop.clone());
        tasks.spawn(async move {
            loop {
                let changed = tokio::select! {
                    changed = cluster.changed(clock::now()) => changed,
                    () = stop.cancelled() => return,
                };
                this.mark_live_stale(&cluster, &changed);
            }
        });
    }

    fn mark_live_stale(&self, cluster: &SharedReadCluster, changed: &BTreeSet<ApplicationName>) {
        for ((_, application), source) in &self.observatory.live {
            if Arc::ptr_eq(source.cluster(), cluster) && changed.contains(application) {
                source.source.mark_stale();
            }
        }
    }

    /// Wakes the pipelines that may be concerned.
    fn wake(&self, concerned: impl Fn(&Towed) -> bool) {
        for towed in self.pipelines.iter().filter(|towed| concerned(towed)) {
            towed.wake.notify_one();
        }
    }

    /// Whether any unit of the environment has something going on.
    pub(super) fn is_quiet(&self, environment: &EnvironmentName) -> bool {
        let busy = |towed: &Arc<Towed>| towed.memory().in_flight.contains_key(environment);
        !self.pipelines.iter().any(busy)
    }
}
