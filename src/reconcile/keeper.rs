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
use crate::observe::{
    Bell, HistorySource, InfraSource, LiveSource, RequestSource, Snapshot, Stale, TagSource,
};
use crate::plan::Observed;

/// How long none of the looks that are on their way may end: a large repository over a thin line. Whatever
/// sends nothing ends long before.
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
    let mut ended = Instant::now();
    let mut table = Timetable::new(sources.len(), ended);
    for (index, source) in sources.iter().enumerate() {
        source.stale().ring(&bell, index);
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
            beat.read(source.stale().clear());
            reading.push(async move { (index, source.look(clock::now()).await) });
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
                if let Some(found) = found {
                    news(source, found);
                }
                let rest = || source.rest(interval, clock::now());
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

#[cfg(test)]
mod tests;
