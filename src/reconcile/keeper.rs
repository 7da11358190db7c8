//! Reads sources in the background: each when it is stale or its time has come, only so many at a
//! time. What stands behind them is one outside system: what it keeps waiting is itself.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::pulse::Beat;
use crate::clock;
use crate::forge::Requests;
use crate::model::catalogue::Tags;
use crate::observe::{
    Bell, History, HistorySource, InfraSource, LiveSource, RequestSource, Snapshot, Source,
    TagSource,
};
use crate::plan::{Live, Observed};

/// Sources of one outside system that are read at a time. It has its own limits besides.
const AT_A_TIME: usize = 64;

/// How long a read may take: a large repository over a thin line. Whatever sends nothing ends long before.
const READ_MAX: Duration = Duration::from_secs(30 * 60);

/// A source that is read in the background.
pub(super) trait Kept: Send + Sync {
    /// What it holds.
    type Value: Clone + PartialEq + Send + Sync;

    /// Whether nobody may tell when it changes: one that did so unheard is then read more often for a while.
    const PACED: bool;

    /// Where it is kept.
    fn source(&self) -> &Source<Self::Value>;

    /// Reads it; says whether there is news.
    fn read(&self, now: Timestamp) -> impl Future<Output = bool> + Send;

    /// How often it is read, where it has its own limits.
    fn interval(&self, configured: Duration) -> Duration {
        configured
    }
}

/// Where each source stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// Until then, as far as is known.
    Rests(Instant),
    Queued,
    IsRead,
}

/// Keeps these sources until stopped. `news` is called for each that has some, with what was known before.
pub(super) async fn keep<S: Kept>(
    sources: Vec<Arc<S>>,
    interval: Duration,
    news: impl Fn(&S, Observed<S::Value>),
    beat: Beat,
    stop: CancellationToken,
) {
    let bell = Arc::new(Bell::default());
    let mut reading = FuturesUnordered::new();
    let mut queue = VecDeque::new();
    let begin = Instant::now();
    let mut stands = vec![Stand::Rests(begin); sources.len()];
    let mut timers: BTreeSet<(Instant, usize)> = (0..sources.len()).map(|it| (begin, it)).collect();
    for (index, source) in sources.iter().enumerate() {
        source.source().stale().ring(&bell, index);
    }
    loop {
        beat.turns();
        let now = Instant::now();
        while let Some((_, index)) = timers.first().copied().filter(|(due, _)| *due <= now) {
            timers.pop_first();
            stands[index] = Stand::Queued;
            queue.push_back(index);
        }
        for index in bell.take() {
            // One that is read at this very moment is looked after when that is done.
            if let Stand::Rests(due) = stands[index] {
                timers.remove(&(due, index));
                stands[index] = Stand::Queued;
                // Of this one something was heard, of others nothing.
                queue.push_front(index);
            }
        }
        while reading.len() < AT_A_TIME
            && let Some(index) = queue.pop_front()
        {
            stands[index] = Stand::IsRead;
            let source = sources[index].clone();
            beat.read(source.source().stale().clear());
            reading.push(async move { (index, look(&*source, clock::now()).await) });
        }
        let next = timers.first().map(|(due, _)| *due);
        let rest = next.map(|due| due.saturating_duration_since(now));
        beat.rests(match rest {
            Some(rest) => rest,
            None => READ_MAX,
        });
        let timer = async {
            match next {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some((index, found)) = reading.next() => {
                let source = &sources[index];
                if let Some(before) = found {
                    news(source, before);
                }
                if source.source().stale().is() {
                    stands[index] = Stand::Queued;
                    queue.push_front(index);
                } else {
                    let rest = source.source().rest(source.interval(interval), clock::now());
                    let due = Instant::now() + rest;
                    stands[index] = Stand::Rests(due);
                    timers.insert((due, index));
                }
            }
            () = bell.rung() => {}
            () = timer => {}
            () = stop.cancelled() => break,
        }
    }
    beat.ends();
}

/// Reads one; gives what was known before, where there is news.
async fn look<S: Kept>(it: &S, now: Timestamp) -> Option<Observed<S::Value>> {
    let before = it.source().observed();
    let news = it.read(now).await;
    if S::PACED {
        it.source().looked(&before, news, now);
    }
    news.then_some(before)
}

impl Kept for RequestSource {
    type Value = Arc<Requests>;
    const PACED: bool = false;

    fn source(&self) -> &Source<Self::Value> {
        &self.source
    }

    async fn read(&self, now: Timestamp) -> bool {
        Self::read(self, now).await
    }
}

impl Kept for InfraSource {
    type Value = Arc<Snapshot>;
    const PACED: bool = true;

    fn source(&self) -> &Source<Self::Value> {
        &self.source
    }

    async fn read(&self, now: Timestamp) -> bool {
        Self::read(self, now).await
    }
}

impl Kept for TagSource {
    type Value = Arc<Tags>;
    const PACED: bool = true;

    fn source(&self) -> &Source<Self::Value> {
        &self.source
    }

    async fn read(&self, now: Timestamp) -> bool {
        Self::read(self, now).await
    }

    fn interval(&self, configured: Duration) -> Duration {
        self.reader.again_after().unwrap_or(configured)
    }
}

impl Kept for HistorySource {
    type Value = Arc<History>;
    const PACED: bool = true;

    fn source(&self) -> &Source<Self::Value> {
        &self.source
    }

    async fn read(&self, now: Timestamp) -> bool {
        Self::read(self, now).await
    }
}

impl Kept for LiveSource {
    type Value = Arc<Live>;
    const PACED: bool = false;

    fn source(&self) -> &Source<Self::Value> {
        &self.source
    }

    async fn read(&self, now: Timestamp) -> bool {
        Self::read(self, now).await
    }
}
