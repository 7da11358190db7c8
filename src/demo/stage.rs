//! The running Towpath of the demo: the same set-up as always, woken by the demo's servers, and
//! watched until what the story tells of has happened.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::moment::{Moment, ladder};
use super::place::Place;
use crate::cli::setup::Setup;
use crate::clock;
use crate::config::Location;
use crate::event::{Event, EventKind};
use crate::model::RepositoryUrl;
use crate::plan::Decision;
use crate::reconcile::Reconciler;

/// How long any one thing of the story may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// See the module.
pub struct Stage {
    reconciler: Arc<Reconciler>,
    tasks: Vec<JoinHandle<()>>,
    stop: CancellationToken,
    events: broadcast::Receiver<Event>,
    board: watch::Receiver<u64>,
    audience: mpsc::Sender<Moment>,
    /// Everything that happened so far.
    pub log: Vec<Event>,
}

impl Stage {
    /// Reads the configuration and starts towing.
    ///
    /// # Errors
    /// The configuration's mistakes, or what cannot be set up.
    pub async fn start(place: &Place, audience: mpsc::Sender<Moment>) -> anyhow::Result<Self> {
        let mut setup = Setup::load(Location::Folder(place.configuration())).await?;
        setup.config.settings.cache = Some(place.cache());
        let now = clock::now();
        let outside = setup.outside(&[], now)?;
        let pipelines = setup.config.pipelines.iter().cloned().map(Arc::new).collect();
        let author = &setup.config.settings.author;
        let reconciler =
            Arc::new(Reconciler::new(pipelines, &outside, author, setup.intervals(), now));
        let stop = CancellationToken::new();
        let (events, board) = (reconciler.events(), reconciler.board().changes());
        let tasks = vec![
            tokio::spawn(wake_by_git(reconciler.clone(), place, stop.clone())),
            tokio::spawn(wake_by_registry(reconciler.clone(), place, stop.clone())),
            tokio::spawn(reconciler.clone().run(stop.clone())),
        ];
        Ok(Self { reconciler, tasks, stop, events, board, audience, log: Vec::new() })
    }

    /// Waits until something has happened, and shows everything that happens meanwhile.
    ///
    /// # Errors
    /// It does not happen in time: says what every environment waits for.
    pub async fn until(&mut self, what: &str, done: impl Fn(&[Event]) -> bool) -> anyhow::Result<()> {
        let waited = tokio::time::timeout(PATIENCE, self.watch(&done)).await;
        match waited {
            Ok(watched) => watched,
            Err(_) => bail!("{what} did not happen within {PATIENCE:?}:\n{}", self.reasons()),
        }
    }

    /// Waits as long as it takes: for a person.
    ///
    /// # Errors
    /// Towing ended.
    pub async fn until_a_person(&mut self, done: impl Fn(&[Event]) -> bool) -> anyhow::Result<()> {
        self.watch(&done).await
    }

    /// Waits until nothing is going on any more and every deployment so far has its tag.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub async fn until_settled(&mut self, deployments: usize) -> anyhow::Result<()> {
        let recorded = |log: &[Event]| {
            log.iter().filter(|event| event.kind == EventKind::Recorded).count() >= deployments
        };
        self.until("the last deployment's tag", recorded).await?;
        let reconciler = self.reconciler.clone();
        let idle = move |_: &[Event]| reconciler.board().all().iter().all(|posted| posted.is_idle());
        self.until("rest", idle).await
    }

    async fn watch(&mut self, done: &impl Fn(&[Event]) -> bool) -> anyhow::Result<()> {
        while !done(&self.log) {
            tokio::select! {
                biased;
                event = self.events.recv() => {
                    let event = event.context("towing ended")?;
                    self.log.push(event.clone());
                    self.show(Moment::Event(event)).await;
                }
                changed = self.board.changed() => {
                    changed.context("towing ended")?;
                    for posted in self.reconciler.board().all() {
                        self.show(Moment::Ladder(ladder(&posted.world, &posted.plan))).await;
                    }
                }
            }
        }
        Ok(())
    }

    /// Tells the watcher.
    pub async fn show(&self, moment: Moment) {
        // A watcher that is gone has seen enough.
        let _seen = self.audience.send(moment).await;
    }

    fn reasons(&self) -> String {
        let mut lines = Vec::new();
        for posted in self.reconciler.board().all() {
            for unit in &posted.plan.units {
                let reason = match &unit.decision {
                    Decision::Step(_) => "a step is under way".to_owned(),
                    Decision::Waiting(waiting) => waiting.reason.to_string(),
                };
                lines.push(format!("  {}: {reason}", unit.environment));
            }
        }
        lines.join("\n")
    }

    /// Lets effects on their way end.
    pub async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            // A task that panicked has said so.
            let _ended = task.await;
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Each push to the git server wakes, as a webhook would.
fn wake_by_git(
    reconciler: Arc<Reconciler>,
    place: &Place,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    let mut pushes = place.git.pushes();
    let address = place.git.address();
    async move {
        while let Some(repository) = next(&mut pushes, &stop).await {
            let url = format!("http://{address}/{repository}.git");
            if let Ok(url) = url.parse::<RepositoryUrl>() {
                reconciler.git_may_have_changed(&url);
            }
        }
    }
}

/// Each notification of the registry wakes.
fn wake_by_registry(
    reconciler: Arc<Reconciler>,
    place: &Place,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    let mut pushes = place.receiver.pushes();
    let host = place.registry.address();
    async move {
        while let Some(path) = next(&mut pushes, &stop).await {
            if let Ok(repository) = format!("{host}/{path}").parse() {
                reconciler.images_may_have_changed(&repository);
            }
        }
    }
}

async fn next(
    news: &mut broadcast::Receiver<String>,
    stop: &CancellationToken,
) -> Option<String> {
    loop {
        let received = tokio::select! {
            received = news.recv() => received,
            () = stop.cancelled() => return None,
        };
        match received {
            Ok(name) => return Some(name),
            Err(broadcast::error::RecvError::Closed) => return None,
            // What was missed is found by polling.
            Err(broadcast::error::RecvError::Lagged(_)) => {}
        }
    }
}

/// Whether an event of this kind happened to a release in an environment.
pub fn happened(log: &[Event], kind: EventKind, environment: &str, release: &str) -> bool {
    log.iter().any(|event| {
        event.kind == kind
            && event.environment.as_ref().is_some_and(|it| it.as_str() == environment)
            && event.release.as_ref().is_some_and(|it| it.name == release)
    })
}
