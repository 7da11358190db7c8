//! The running Towpath of the demo: the same set-up as always, woken by the demo's servers, and
//! watched until what the story tells of has happened.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::json;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::moment::{Moment, ladder};
use super::place::Place;
use crate::cli::setup::Setup;
use crate::clock;
use crate::config::Location;
use crate::event::{Event, EventKind};
use crate::plan::Decision;
use crate::reconcile::Reconciler;

/// How long any one thing of the story may take on a busy machine; on a cluster, where images are pulled
/// and nodes may have to be made first.
const PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE_ABROAD: Duration = Duration::from_secs(300);

/// How long effects on their way may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// See the module.
pub struct Stage {
    reconciler: Arc<Reconciler>,
    towing: JoinHandle<()>,
    telling: JoinHandle<()>,
    stop: CancellationToken,
    events: broadcast::Receiver<Event>,
    board: watch::Receiver<u64>,
    audience: mpsc::Sender<Moment>,
    patience: Duration,
    /// Everything that happened so far.
    pub log: Vec<Event>,
}

impl Stage {
    /// Reads the configuration and starts towing.
    ///
    /// # Errors
    /// The configuration's mistakes, or what cannot be set up.
    pub async fn start(
        place: &Place,
        audience: mpsc::Sender<Moment>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let mut setup = Setup::load(Location::Folder(place.configuration())).await?;
        setup.config.settings.cache = Some(place.cache());
        let now = clock::now();
        let reconciler = setup.reconciler(&[], now)?;
        let stop = stop.child_token();
        let (events, board) = (reconciler.events(), reconciler.board().changes());
        place.hooks.serve(&reconciler);
        let told = Told {
            client: place.client.clone(),
            receiver: place.hooks_url.join("generic")?,
            git: place.git.address(),
        };
        Ok(Self {
            telling: tokio::spawn(tell_of_pushes(told, place.git.pushes())),
            towing: tokio::spawn(reconciler.clone().run(stop.clone())),
            reconciler,
            stop,
            events,
            board,
            audience,
            patience: match place.ground() {
                Some(_) => PATIENCE_ABROAD,
                None => PATIENCE,
            },
            log: Vec::new(),
        })
    }

    /// Waits until something has happened, and shows everything that happens meanwhile.
    ///
    /// # Errors
    /// It does not happen in time: says what every environment waits for.
    pub async fn until(
        &mut self,
        what: &str,
        done: impl Fn(&[Event]) -> bool,
    ) -> anyhow::Result<()> {
        let patience = self.patience;
        let waited = tokio::time::timeout(patience, self.watch(&done)).await;
        match waited {
            Ok(watched) => watched,
            Err(_) => bail!(
                "{what} did not happen within {patience:?}:\n{}",
                self.reasons()
            ),
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
            log.iter()
                .filter(|event| event.kind == EventKind::Recorded)
                .count()
                >= deployments
        };
        self.until("the last deployment's tag", recorded).await?;
        let reconciler = self.reconciler.clone();
        let idle = move |_: &[Event]| {
            reconciler
                .board()
                .all()
                .iter()
                .all(|posted| posted.is_idle())
        };
        self.until("rest", idle).await
    }

    async fn watch(&mut self, done: &impl Fn(&[Event]) -> bool) -> anyhow::Result<()> {
        while !done(&self.log) {
            tokio::select! {
                biased;
                event = self.events.recv() => {
                    let event = event.context("towing ended")?;
                    self.log.push(event.clone());
                    self.show(Moment::Event(Box::new(event))).await;
                }
                () = self.stop.cancelled() => bail!("stopped before the end"),
                changed = self.board.changed() => {
                    changed.context("towing ended")?;
                    for posted in self.reconciler.board().all() {
                        self.show(Moment::Ladder(ladder(&posted))).await;
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
    pub async fn stop(mut self) {
        self.stop.cancel();
        if tokio::time::timeout(STOP_TIMEOUT, &mut self.towing)
            .await
            .is_err()
        {
            tracing::warn!("an effect did not end in time");
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
        self.telling.abort();
    }
}

/// Tells the receiver of webhooks of each push to the git server, as a forge does.
async fn tell_of_pushes(hook: Told, mut pushes: broadcast::Receiver<String>) {
    loop {
        let repository = match pushes.recv().await {
            Ok(repository) => repository,
            Err(broadcast::error::RecvError::Closed) => return,
            // What was missed is found by polling.
            Err(broadcast::error::RecvError::Lagged(_)) => continue,
        };
        let url = format!("http://{}/{repository}.git", hook.git);
        let body = json!({ "repositories": [url] });
        let sent = hook
            .client
            .post(hook.receiver.clone())
            .body(body.to_string())
            .send()
            .await;
        if let Err(error) = sent {
            tracing::warn!(%error, "a webhook is lost");
        }
    }
}

/// Who is told of pushes, and from where.
struct Told {
    client: reqwest::Client,
    receiver: Url,
    git: SocketAddr,
}

/// Whether an event of this kind happened to a release in an environment.
pub fn happened(log: &[Event], kind: EventKind, environment: &str, release: &str) -> bool {
    log.iter().any(|event| {
        event.kind == kind
            && event
                .environment
                .as_ref()
                .is_some_and(|it| it.as_str() == environment)
            && event.release.as_ref().is_some_and(|it| it.name == release)
    })
}
