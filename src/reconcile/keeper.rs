//! Reads sources in the background: each when it is stale or its time has come, only so many at a
//! time. What stands behind them is one outside system: what it keeps waiting is itself.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::pulse::Beat;
use super::timetable::Timetable;
use crate::clock;
use crate::forge::Requests;
use crate::model::catalogue::Tags;
use crate::observe::{
    Bell, History, HistorySource, InfraSource, LiveSource, RequestSource, Snapshot, Source,
    TagSource,
};
use crate::plan::{Live, Observed};

/// How long none of the looks that are on their way may end: a large repository over a thin line. Whatever
/// sends nothing ends long before.
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
    let mut ended = Instant::now();
    let mut table = Timetable::new(sources.len(), ended);
    for (index, source) in sources.iter().enumerate() {
        source.source().stale().ring(&bell, index);
        source.source().retry_within(source.interval(interval));
    }
    loop {
        let now = Instant::now();
        if !table.is_reading() {
            ended = now;
        }
        let goes_on = now.saturating_duration_since(ended) < READ_MAX;
        if goes_on {
            beat.turns();
        }
        bell.take().into_iter().for_each(|index| table.hear(index));
        while let Some(index) = table.next(now) {
            let source = sources[index].clone();
            beat.read(source.source().stale().clear());
            reading.push(async move { (index, look(&*source, clock::now()).await) });
        }
        let due = table.due();
        let rest = due.map(|due| due.saturating_duration_since(now));
        // A look that takes long is no reason not to turn meanwhile.
        let turn = table.is_reading().then(|| beat.turn());
        let rest = rest.into_iter().chain(turn).min();
        if goes_on {
            beat.rests(rest.unwrap_or(Duration::MAX));
        }
        let timer = async {
            match rest {
                Some(rest) => tokio::time::sleep_until(now + rest).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some((index, found)) = reading.next() => {
                ended = Instant::now();
                let source = &sources[index];
                if let Some(before) = found {
                    news(source, before);
                }
                let source = source.source();
                let rest = || source.rest(sources[index].interval(interval), clock::now());
                let rest = (!source.stale().is()).then(rest);
                table.read(index, rest, ended);
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
    let began = Instant::now();
    let news = it.read(now).await;
    tracing::trace!(source = it.source().name(), news, took = ?began.elapsed(), "was read");
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

#[cfg(test)]
mod tests;
