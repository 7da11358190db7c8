//! A Towpath that runs in the test's own process: what it says of its units, and waiting for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use towpath::model::record::Verdict;
use towpath::plan::{Decision, Reason, Waiting};
use towpath::reconcile::{Posted, Reconciler};

use super::site::{NEAR, Site, tag};

/// What anything takes at most that comes at all, on a machine that does other things at the same time.
const WAIT: Duration = Duration::from_secs(180);

/// How often servers are asked whether something has come.
const ASK: Duration = Duration::from_millis(20);

/// A running Towpath.
pub(super) struct Towing {
    pub(super) reconciler: Arc<Reconciler>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Towing {
    /// Has it tow until its end is asked for.
    pub(super) fn start(reconciler: Arc<Reconciler>) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(Arc::clone(&reconciler).run(stop.clone()));
        Self {
            reconciler,
            stop,
            task,
        }
    }

    pub(super) async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(WAIT, self.task)
            .await
            .unwrap()
            .unwrap();
    }

    /// Waits until this is so.
    pub(super) async fn until(&self, what: &str, mut is: impl AsyncFnMut() -> bool) {
        let began = Instant::now();
        while !is().await {
            let late = began.elapsed() > WAIT;
            assert!(!late, "{what}: not within {WAIT:?}{}", self.all());
            tokio::time::sleep(ASK).await;
        }
    }

    fn posted(&self, application: &str) -> Option<Arc<Posted>> {
        let mut all = self.reconciler.board().all().into_iter();
        all.find(|it| it.pipeline.application.name.as_str() == application)
    }

    /// Says that there are new images, as a registry's webhook does.
    pub(super) fn hears_of_images(&self) {
        for repository in self.reconciler.observatory().tags.keys() {
            self.reconciler.hear_of_images(repository, None);
        }
    }

    /// Whether the newest deployment is of this release, and healthy.
    pub(super) fn runs(&self, application: &str, environment: &str, number: u64) -> bool {
        let environment = environment.parse().unwrap();
        self.posted(application).is_some_and(|posted| {
            let records = posted.records.get(&environment);
            let newest = records.and_then(|records| records.deployment.as_ref());
            newest.is_some_and(|it| {
                let verdict = it.verdict.as_ref().map(|it| &it.verdict);
                it.release.as_ref().is_some_and(|it| it.name == tag(number))
                    && matches!(verdict, Some(Verdict::Healthy { .. }))
            })
        })
    }

    /// What the near unit waits for, where that is a server.
    pub(super) fn struck(&self, site: &Site) -> Option<Waiting> {
        let posted = self.posted(site.near_application())?;
        let unit = posted.plan.unit(&NEAR.parse().unwrap())?;
        let Decision::Waiting(waiting) = &unit.decision else {
            return None;
        };
        let is = matches!(
            waiting.reason,
            Reason::Unreadable(_) | Reason::Retrying { .. }
        );
        is.then(|| waiting.clone())
    }

    /// What each unit was decided on, for who wonders why something does not come.
    pub(super) fn all(&self) -> String {
        let mut told = String::new();
        for posted in self.reconciler.board().all() {
            for unit in &posted.plan.units {
                let said = match &unit.decision {
                    Decision::Waiting(waiting) => waiting.reason.to_string(),
                    Decision::Step(step) => format!("{step:?}").chars().take(80).collect(),
                };
                told += &format!("\n  {}: {said} (busy: {})", unit.environment, posted.busy);
            }
        }
        told
    }
}
