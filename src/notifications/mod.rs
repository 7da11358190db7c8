//! Notifications: who is told of what was decided.
//!
//! Beside the rounds, and never in their way: what is to be told is read off the records ([`news`]) and the newest
//! plans ([`waits`]), sent ([`send`]), and then written down in a ref of its own ([`ledger`]). So a message is sent
//! at least once, over restarts and by several Towpaths, each time under the same key. Decides nothing, and no
//! decision knows of it.

mod lane;
mod ledger;
mod news;
mod send;
mod standing;
mod waits;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use ledger::notified_ref;
pub use standing::{Counts, Standings};

use crate::clock;
use crate::http::Outward;
use crate::model::{
    ApplicationName, Author, EnvironmentName, Gate, Notification, Pipeline, Receiver,
    RepositoryUrl, Scheme,
};
use crate::observe::{InfraSource, RecordsSeen};
use crate::plan::{Decision, Reason};
use crate::reconcile::{Looks, Reconciler};
use lane::{Lane, State};
use ledger::Ledger;
use news::News;
use send::Sent;

/// How long a Towpath leaves what it did not record itself to the one that did.
const OTHERS: Duration = Duration::from_secs(15);

/// Several Towpaths tell of what waits for long up to so far apart, so that the second finds it told.
const APART_MAX: Duration = Duration::from_secs(20);

/// Rounds come in thousands: it is looked again after each, but not at once.
const LOOKS: Looks = Looks {
    least: Duration::from_millis(200),
    most: Duration::from_secs(60),
};

/// How long one Towpath waits for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pace {
    /// Before it tells of what it did not record itself.
    pub others: Duration,
    /// Before it tells of what waits for long.
    pub apart: Duration,
}

impl Pace {
    /// For one of several.
    pub fn among_others() -> Self {
        let most = u64::try_from(APART_MAX.as_millis()).unwrap_or(1).max(1);
        // Seeded anew in each process, which is all that is asked of it.
        let drawn = RandomState::new().hash_one(0) % most;
        Self {
            others: OTHERS,
            apart: Duration::from_millis(drawn),
        }
    }
}

/// Who is told, and how.
pub struct Told {
    /// Who.
    pub notifications: Vec<Notification>,
    /// What is connected with.
    pub outward: Outward,
    /// As whom it is written down.
    pub author: Author,
    /// How long others are waited for.
    pub pace: Pace,
    /// Where it is counted how that goes.
    pub standings: Standings,
}

/// See the module.
pub struct Notifier {
    lanes: Vec<Arc<Lane>>,
}

/// An environment, as far as news are about it.
struct Place {
    environment: EnvironmentName,
    repository: RepositoryUrl,
    infra: Arc<InfraSource>,
    /// The applications that a gate stands before.
    gated: BTreeSet<ApplicationName>,
    /// Those whose gate is a request.
    requests: BTreeSet<ApplicationName>,
}

impl Notifier {
    /// Tells what this reconciler's records and rounds say. Nothing is sent before [`Self::run`] or [`Self::turn`].
    pub fn new(reconciler: &Arc<Reconciler>, pipelines: &[Arc<Pipeline>], told: Told) -> Self {
        let places = places(reconciler, pipelines);
        let ledgers: Vec<Arc<Ledger>> = places
            .iter()
            .map(|place| {
                let repository = place.infra.reader.repository().clone();
                let environment = place.environment.clone();
                Arc::new(Ledger::new(repository, environment, told.author.clone()))
            })
            .collect();
        let mut lanes = Vec::new();
        for notification in told.notifications {
            let standing = told.standings.of(&notification.name);
            let notification = Arc::new(notification);
            for (place, ledger) in places.iter().zip(&ledgers) {
                if notification.is_about(&place.environment) {
                    lanes.push(Arc::new(Lane {
                        notification: notification.clone(),
                        place: place.clone(),
                        ledger: ledger.clone(),
                        standing: standing.clone(),
                        outward: told.outward.clone(),
                        pace: told.pace,
                        reconciler: reconciler.clone(),
                        state: tokio::sync::Mutex::new(State::default()),
                    }));
                }
            }
        }
        Self { lanes }
    }

    /// Tells everybody what is to be told now. Gives when time alone may bring something to tell.
    pub async fn turn(&self, now: Timestamp) -> Option<Timestamp> {
        let turns = self.lanes.iter().map(|lane| lane.step(now));
        join_all(turns).await.into_iter().flatten().min()
    }

    /// Tells until stopped; a message on its way is finished, and what was sent is written down.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        for lane in &self.lanes {
            let (lane, stop) = (lane.clone(), stop.clone());
            tasks.spawn(async move {
                let board = lane.reconciler.board();
                board.follow(LOOKS, &stop, |now| lane.step(now)).await;
            });
        }
        tasks.close();
        tasks.wait().await;
    }

    /// Tells what is left to tell, for no longer than this: before a process ends that found all settled.
    pub async fn finish(&self, at_most: Duration) {
        let told = async {
            loop {
                let now = clock::now();
                let next = self.turn(now).await;
                let soon = clock::after(now, at_most);
                let Some(next) = next.filter(|next| *next < soon) else {
                    return;
                };
                let rest = Duration::try_from(next - now).unwrap_or_default();
                tokio::time::sleep(rest.max(LOOKS.least)).await;
            }
        };
        if tokio::time::timeout(at_most, told).await.is_err() {
            tracing::warn!(
                "not everybody was told of news in time: the next start goes on with it"
            );
        }
    }
}

/// Sends a message that says nothing but that it came.
///
/// # Errors
/// What was answered, or seen, in its place.
pub async fn test(
    outward: &Outward,
    notification: &Notification,
    now: Timestamp,
) -> Result<(), String> {
    let message = words::test(notification, now);
    match send::send(outward, &notification.receiver, &message).await {
        Sent::Taken => Ok(()),
        Sent::Later { why, .. } | Sent::Refused { why } => Err(why),
    }
}

/// Whether a receiver can be connected to; nothing is sent. `false`: a proxy would connect, which is not tried.
///
/// # Errors
/// What is in the way.
pub async fn reach(outward: &Outward, notification: &Notification) -> Result<bool, String> {
    let url = send::address(notification.receiver.url()).await?;
    if let Receiver::Webhook {
        secret: Some(secret),
        ..
    } = &notification.receiver
    {
        crate::secret::named(secret).await?;
    }
    outward.connect(&url).await
}

/// The environments that this process acts for.
fn places(reconciler: &Reconciler, pipelines: &[Arc<Pipeline>]) -> Vec<Arc<Place>> {
    let observatory = reconciler.observatory();
    let acts_for = observatory.acts_for();
    let mut places: BTreeMap<EnvironmentName, Place> = BTreeMap::new();
    for pipeline in pipelines {
        let application = &pipeline.application.name;
        for environment in &pipeline.environments {
            let infra = observatory.infra.get(&environment.repository);
            let Some(infra) = infra.filter(|_| acts_for.contains(&environment.name)) else {
                continue;
            };
            let place = places.entry(environment.name.clone());
            let place = place.or_insert_with(|| Place {
                environment: environment.name.clone(),
                repository: environment.repository.clone(),
                infra: infra.clone(),
                gated: BTreeSet::new(),
                requests: BTreeSet::new(),
            });
            if environment.gate != Gate::None {
                place.gated.insert(application.clone());
            }
            if environment.gate == Gate::PullRequest {
                place.requests.insert(application.clone());
            }
        }
    }
    places.into_values().map(Arc::new).collect()
}

impl Place {
    /// The records, where they were read and are believed; the inner `None`: there are none.
    fn records(&self) -> Option<Option<RecordsSeen>> {
        let seen = self.infra.source.observed();
        seen.read().ok()?.records(&self.environment)
    }

    /// What people call the open request of an application, as far as the newest plan tells.
    fn request(&self, reconciler: &Reconciler, application: &ApplicationName) -> Option<String> {
        let mut posted = reconciler.board().all().into_iter();
        let is_it = |it: &crate::reconcile::Posted| {
            it.plan.application == *application && !it.pipeline.removed
        };
        let posted = posted.find(|it| is_it(it))?;
        match &posted.plan.unit(&self.environment)?.decision {
            Decision::Waiting(waiting) => match &waiting.reason {
                Reason::Gate {
                    request,
                    is_branch: false,
                    ..
                } if request.starts_with('#') => Some(request.clone()),
                _ => None,
            },
            Decision::Step(_) => None,
        }
    }

    /// The page of the request, else of the commit, where the repository has pages.
    fn page(&self, reconciler: &Reconciler, news: &News) -> Option<String> {
        if self.repository.scheme() != Scheme::Http {
            return None;
        }
        let page = self.repository.as_str().trim_end_matches(".git");
        let application = news.application.as_ref();
        let application = application.filter(|it| self.requests.contains(*it));
        if let Some(request) = application.and_then(|it| self.request(reconciler, it)) {
            // Forges lead on from there to the request of this number.
            let number = request.trim_start_matches('#');
            return Some(format!("{page}/issues/{number}"));
        }
        news.commit.map(|commit| format!("{page}/commit/{commit}"))
    }
}
