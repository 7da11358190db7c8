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
use crate::observe::{
    Bell, HistorySource, InfraSource, LiveSource, RequestSource, Snapshot, Stale, TagSource,
};
use crate::plan::Observed;

/// Sources of one outside system that are read at a time. It has its own limits besides.
const AT_A_TIME: usize = 64;

/// How long a read may take: a large repository over a thin line. Whatever sends nothing ends long before.
const READ_MAX: Duration = Duration::from_secs(30 * 60);

/// A source that is read in the background.
pub(super) trait Kept: Send + Sync {
    /// What is known of news, beside that there are some.
    type News: Send;

    /// Whether it may have changed.
    fn stale(&self) -> &Stale;

    /// How long it may be left alone, if nothing is heard of it.
    fn rest(&self, interval: Duration, now: Timestamp) -> Duration;

    /// Reads it; gives something where there is news.
    fn look(&self, now: Timestamp) -> impl Future<Output = Option<Self::News>> + Send;
}

/// Where each source stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// Until then, as far as is known.
    Rests(Instant),
    Queued,
    IsRead,
}

/// Keeps these sources until stopped. `news` is called for each that has some.
pub(super) async fn keep<S: Kept>(
    sources: Vec<Arc<S>>,
    interval: Duration,
    news: impl Fn(&S, S::News),
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
        source.stale().ring(&bell, index);
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
            beat.read(source.stale().clear());
            reading.push(async move { (index, source.look(clock::now()).await) });
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
                if let Some(found) = found {
                    news(source, found);
                }
                if source.stale().is() {
                    stands[index] = Stand::Queued;
                    queue.push_front(index);
                } else {
                    let due = Instant::now() + source.rest(interval, clock::now());
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

impl Kept for RequestSource {
    /// What was known before.
    type News = Observed<Arc<Requests>>;

    fn stale(&self) -> &Stale {
        self.source.stale()
    }

    fn rest(&self, interval: Duration, now: Timestamp) -> Duration {
        self.source.rest(interval, now)
    }

    async fn look(&self, now: Timestamp) -> Option<Self::News> {
        let before = self.source.observed();
        self.read(now).await.then_some(before)
    }
}

impl Kept for InfraSource {
    /// What was known before.
    type News = Observed<Arc<Snapshot>>;

    fn stale(&self) -> &Stale {
        self.source.stale()
    }

    fn rest(&self, interval: Duration, now: Timestamp) -> Duration {
        self.source.rest(interval, now)
    }

    async fn look(&self, now: Timestamp) -> Option<Self::News> {
        let before = self.source.observed();
        let news = self.read(now).await;
        self.source.looked(&before, news, now);
        news.then_some(before)
    }
}

impl Kept for TagSource {
    type News = ();

    fn stale(&self) -> &Stale {
        self.source.stale()
    }

    fn rest(&self, interval: Duration, now: Timestamp) -> Duration {
        let interval = self.reader.again_after().unwrap_or(interval);
        self.source.rest(interval, now)
    }

    async fn look(&self, now: Timestamp) -> Option<()> {
        let before = self.source.observed();
        let news = self.read(now).await;
        self.source.looked(&before, news, now);
        news.then_some(())
    }
}

impl Kept for HistorySource {
    type News = ();

    fn stale(&self) -> &Stale {
        self.source.stale()
    }

    fn rest(&self, interval: Duration, now: Timestamp) -> Duration {
        self.source.rest(interval, now)
    }

    async fn look(&self, now: Timestamp) -> Option<()> {
        let before = self.source.observed();
        let news = self.read(now).await;
        self.source.looked(&before, news, now);
        news.then_some(())
    }
}

impl Kept for LiveSource {
    type News = ();

    fn stale(&self) -> &Stale {
        self.source.stale()
    }

    fn rest(&self, interval: Duration, now: Timestamp) -> Duration {
        self.source.rest(interval, now)
    }

    async fn look(&self, now: Timestamp) -> Option<()> {
        self.read(now).await.then_some(())
    }
}
