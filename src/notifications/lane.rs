//! One receiver in one environment: what it has not been told yet, in order, one message at a time.
//!
//! What is to be told is read off the records and the newest plans each time, so that nothing is queued that could
//! be lost: a message that cannot be sent is found again. What was sent is written down afterwards ([`Ledger`]).

mod unread;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::ledger::{Entry, Ledger, LedgerError, Stuck};
use super::news::News;
use super::send::{Sent, send};
use super::standing::Standing;
use super::waits::{Due, Watching};
use super::{Pace, Place, words};
use crate::backoff::backoff;
use crate::clock;
use crate::git::notes::{NotesError, read_unit};
use crate::git::{GitError, Repository};
use crate::http::Outward;
use crate::model::{CommitId, Notification, Occasion};
use crate::observe::RecordsSeen;
use crate::reconcile::Reconciler;
use unread::Gap;

/// After so many commits of records it is written down that there was nothing to tell.
const LAG: usize = 256;

/// It is written down what was sent at least once in as many messages.
const SENT_MAX: usize = 20;

/// How often a message that is not wanted is tried before it is given up.
const REFUSED_MAX: u32 = 3;

/// How long a proposal's news waits for its request's number.
const REQUEST_WAIT: Duration = Duration::from_secs(30);

/// The first pause after an attempt that failed; each further one is twice as long.
const AGAIN_MIN: Duration = Duration::from_secs(5);

/// The longest.
const AGAIN_MAX: Duration = Duration::from_secs(600);

/// The first pause after what was sent could not be written down; each further one is twice as long.
const REWRITE_MIN: Duration = Duration::from_secs(60);

/// The longest.
const REWRITE_MAX: Duration = Duration::from_secs(3600);

/// How soon records are looked at again that are newer elsewhere.
const BEHIND: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Lane {
    pub(super) notification: Arc<Notification>,
    pub(super) place: Arc<Place>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) standing: Arc<Standing>,
    pub(super) outward: Outward,
    pub(super) pace: Pace,
    pub(super) reconciler: Arc<Reconciler>,
    pub(super) state: tokio::sync::Mutex<State>,
}

/// What a lane remembers: all of it may be forgotten.
#[derive(Default)]
pub(super) struct State {
    /// What was sent.
    entry: Option<Entry>,
    /// Whether that is not written down yet.
    is_dirty: bool,
    /// The records of which all was told.
    told: Option<Option<CommitId>>,
    /// When newer ones were first seen.
    noticed: Option<(CommitId, Timestamp)>,
    watching: Watching,
    /// When it is tried again, and how often in a row that failed.
    again: Option<Timestamp>,
    failures: u32,
    /// When it is tried again to write down what was sent, and how often in a row that failed.
    write_again: Option<Timestamp>,
    write_failures: u32,
    /// The message that was not wanted, and how often.
    refused: Option<(String, u32)>,
}

/// Why it does not go on now.
enum Stop {
    /// Until a moment, and nothing is wrong.
    Until(Timestamp),
    /// Something is, and it is told already.
    Failed(Option<Duration>),
    /// Something is.
    Broken(String),
}

impl From<LedgerError> for Stop {
    fn from(error: LedgerError) -> Self {
        Self::Broken(error.to_string())
    }
}

impl From<GitError> for Stop {
    fn from(error: GitError) -> Self {
        Self::Broken(error.to_string())
    }
}

impl From<NotesError> for Stop {
    fn from(error: NotesError) -> Self {
        Self::Broken(error.to_string())
    }
}

impl Lane {
    /// Tells what is to be told now. Gives when to look again, if time alone may bring something.
    pub(super) async fn step(&self, now: Timestamp) -> Option<Timestamp> {
        let mut state = self.state.lock().await;
        let until = state.again.max(self.standing.alone_until());
        if let Some(until) = until.filter(|until| now < *until) {
            return Some(until);
        }
        let stop = self
            .tell(&mut state, now)
            .await
            .map_or_else(Some, |next| next.map(Stop::Until));
        let rewrite = self.write_down(&mut state, now).await;
        let after = |wait: Duration| now.checked_add(wait).ok();
        match stop {
            None | Some(Stop::Until(_)) => {
                if state.failures > 0 {
                    self.standing.answers();
                }
                (state.failures, state.again) = (0, None);
                let next = match stop {
                    Some(Stop::Until(until)) => Some(until),
                    _ => None,
                };
                [next, rewrite].into_iter().flatten().min()
            }
            Some(failed) => {
                let wait = match failed {
                    Stop::Failed(wait) => wait,
                    Stop::Broken(why) => {
                        self.standing.fails(&why, now);
                        None
                    }
                    Stop::Until(_) => None,
                };
                let doubled = backoff(AGAIN_MIN, state.failures, AGAIN_MAX);
                state.failures = state.failures.saturating_add(1);
                state.again = after(wait.unwrap_or(Duration::ZERO).max(doubled));
                state.again
            }
        }
    }

    async fn tell(&self, state: &mut State, now: Timestamp) -> Result<Option<Timestamp>, Stop> {
        // Records that are not read, or not believed, tell nothing.
        let Some(seen) = self.place.records() else {
            return Ok(None);
        };
        if state.entry.is_none() {
            self.begin(state, seen).await?;
        }
        self.subscribe(state, now);
        let due = self.watch(state, now);
        if state.told != Some(seen.map(|it| it.head))
            && let Some(seen) = seen
        {
            self.tell_news(state, seen, now).await?;
        }
        for due in due.due {
            self.tell_stuck(state, due, now).await?;
        }
        Ok(due.next)
    }

    fn repository(&self) -> &Repository {
        self.place.infra.reader.repository()
    }

    /// What was sent before this process began. What is configured for the first time begins now.
    async fn begin(&self, state: &mut State, seen: Option<RecordsSeen>) -> Result<(), Stop> {
        let entry = self.ledger.read(&self.notification.name).await?;
        state.is_dirty = entry.is_none();
        state.entry = Some(entry.unwrap_or_else(|| Entry {
            records: seen.map(|it| it.head),
            ..Entry::default()
        }));
        Ok(())
    }

    /// What is told for the first time is told from now on; what is no longer told is forgotten.
    fn subscribe(&self, state: &mut State, now: Timestamp) {
        let Some(entry) = &mut state.entry else {
            return;
        };
        let before = entry.on.clone();
        let words: Vec<&str> = self.notification.on.iter().map(|it| it.name()).collect();
        entry.on.retain(|word, _| words.contains(&word.as_str()));
        for word in words {
            entry.on.entry(word.to_owned()).or_insert(now);
        }
        state.is_dirty |= entry.on != before;
    }

    /// Writes down what was sent, unless that failed a moment ago: it holds up no message. Gives when it is tried
    /// again.
    async fn write_down(&self, state: &mut State, now: Timestamp) -> Option<Timestamp> {
        let entry = state.entry.as_ref().filter(|_| state.is_dirty)?;
        if let Some(again) = state.write_again.filter(|again| now < *again) {
            return Some(again);
        }
        let name = &self.notification.name;
        match self.ledger.write(name, entry, now).await {
            Ok(()) => {
                (state.write_failures, state.write_again) = (0, None);
                state.is_dirty = false;
            }
            Err(error) => {
                let environment = &self.place.environment;
                tracing::warn!(notification = %name, %environment, "what was sent cannot be written down, which is tried again; a restart sends it once more: {error}");
                let wait = backoff(REWRITE_MIN, state.write_failures, REWRITE_MAX);
                state.write_failures = state.write_failures.saturating_add(1);
                state.write_again = now.checked_add(wait).ok();
            }
        }
        state.write_again
    }

    /// Takes in what others sent meanwhile.
    async fn catch_up(&self, state: &mut State) -> Result<(), Stop> {
        let theirs = self.ledger.read(&self.notification.name).await?;
        if let (Some(entry), Some(theirs)) = (&mut state.entry, theirs) {
            *entry = self.ledger.later(entry, theirs).await;
        }
        Ok(())
    }

    async fn tell_news(
        &self,
        state: &mut State,
        seen: RecordsSeen,
        now: Timestamp,
    ) -> Result<(), Stop> {
        let mut is_fresh = false;
        loop {
            let from = state.entry.as_ref().and_then(|entry| entry.records);
            let (commits, is_own) = match self.gap(from, seen.head).await? {
                Gap::Known { commits, is_own } => (commits, is_own),
                Gap::Behind => return Err(until(now, BEHIND)),
                Gap::Lost => {
                    let (name, environment) = (&self.notification.name, &self.place.environment);
                    tracing::warn!(notification = %name, %environment, "what {name} was told of is not among the records any more: it is told what comes from now on");
                    self.settle(state, seen, true);
                    return Ok(());
                }
            };
            let news = self.news(state, from, seen).await?;
            if news.is_empty() {
                self.settle(state, seen, commits >= LAG);
                return Ok(());
            }
            self.leave_to_others(state, is_own, seen, now)?;
            self.await_requests(&news, seen, now)?;
            if !is_fresh {
                self.catch_up(state).await?;
                is_fresh = true;
                continue;
            }
            for (index, news) in news.iter().enumerate() {
                self.send(state, news, now).await?;
                if let Some(entry) = &mut state.entry {
                    entry.sent.insert(news.key.clone());
                }
                state.is_dirty = true;
                if (index + 1).is_multiple_of(SENT_MAX) {
                    self.write_down(state, now).await;
                }
            }
            self.settle(state, seen, true);
            return Ok(());
        }
    }

    /// All of these records is told.
    fn settle(&self, state: &mut State, seen: RecordsSeen, is_news: bool) {
        state.told = Some(Some(seen.head));
        state.noticed = None;
        if let Some(entry) = state.entry.as_mut().filter(|_| is_news) {
            let before = entry.clone();
            entry.records = Some(seen.head);
            entry.sent.clear();
            state.is_dirty |= *entry != before;
        }
    }

    /// What another Towpath, or a person, recorded is told by whoever recorded it, as long as that may be.
    fn leave_to_others(
        &self,
        state: &mut State,
        is_own: bool,
        seen: RecordsSeen,
        now: Timestamp,
    ) -> Result<(), Stop> {
        if is_own {
            return Ok(());
        }
        let noticed = match state.noticed {
            Some((head, at)) if head == seen.head => at,
            _ => now,
        };
        state.noticed = Some((seen.head, noticed));
        let ours = noticed
            .checked_add(self.pace.others)
            .unwrap_or(Timestamp::MAX);
        match now < ours {
            true => Err(Stop::Until(ours)),
            false => Ok(()),
        }
    }

    /// A proposal is told with its request's number, as soon as that is known. One that does not stand any more,
    /// because it was merged before it was told, has none to wait for.
    fn await_requests(&self, news: &[News], seen: RecordsSeen, now: Timestamp) -> Result<(), Stop> {
        let awaited = news
            .iter()
            .filter(|news| news.occasion == Occasion::Proposed);
        for news in awaited {
            let (Some(application), Some(release)) = (&news.application, &news.release) else {
                continue;
            };
            let until = clock::after(news.at, REQUEST_WAIT);
            if !self.place.requests.contains(application)
                || now >= until
                || self.place.request(&self.reconciler, application).is_some()
            {
                continue;
            }
            let stands = read_unit(self.repository(), seen.tree, application)?.proposal;
            if stands.is_some_and(|it| it.release.is(&release.digests())) {
                let soon = now.checked_add(Duration::from_secs(1));
                return Err(Stop::Until(soon.unwrap_or(until).min(until)));
            }
        }
        Ok(())
    }

    /// The units that wait for long and of which that is not told.
    fn watch(&self, state: &mut State, now: Timestamp) -> Due {
        let State {
            entry: Some(entry),
            watching,
            is_dirty,
            ..
        } = state
        else {
            return Due::default();
        };
        let Some(from) = entry.on.get(Occasion::Stuck.name()).copied() else {
            return Due::default();
        };
        let after = self.notification.stuck_after + self.pace.apart;
        for posted in self.reconciler.board().all() {
            let environment = posted.pipeline.environment(&self.place.environment);
            let is_known = posted.tried && !posted.pipeline.removed;
            let unit = posted.plan.unit(&self.place.environment);
            if let Some(unit) = unit.filter(|_| is_known && environment.is_some()) {
                watching.see(&posted.plan.application, unit, now);
            }
        }
        for (unit, told) in &mut entry.stuck {
            if told.reason.is_some() && !watching.may_wait(unit) {
                told.reason = None;
                *is_dirty = true;
            }
        }
        watching.due(from, after, now, |application, reason| {
            let told = entry.stuck.get(application.as_str());
            told.is_some_and(|told| told.reason.as_deref() == Some(reason))
        })
    }

    async fn tell_stuck(
        &self,
        state: &mut State,
        waiting: super::waits::Waits,
        now: Timestamp,
    ) -> Result<(), Stop> {
        self.catch_up(state).await?;
        let unit = waiting.application.to_string();
        let told = state
            .entry
            .as_ref()
            .and_then(|entry| entry.stuck.get(&unit));
        let told = told.cloned().unwrap_or_default();
        if told.reason.as_deref() == Some(waiting.reason) {
            return Ok(());
        }
        let count = told.count + 1;
        let reason = Some(waiting.reason.to_owned());
        let news = waiting.news(&self.place.environment, count);
        self.send(state, &news, now).await?;
        if let Some(entry) = &mut state.entry {
            entry.stuck.insert(unit, Stuck { count, reason });
        }
        state.is_dirty = true;
        Ok(())
    }

    /// Sends it, or gives it up where it is not wanted.
    async fn send(&self, state: &mut State, news: &News, now: Timestamp) -> Result<(), Stop> {
        let url = self.place.page(&self.reconciler, news);
        let message = words::message(&self.notification, news, url.as_deref(), now);
        match send(&self.outward, &self.notification.receiver, &message).await {
            Sent::Taken => {
                self.standing.took();
                Ok(())
            }
            Sent::Later { why, wait } => {
                self.standing.does_not_take(&why, wait, now);
                Err(Stop::Failed(wait))
            }
            Sent::Refused { why } => {
                let times = match &state.refused {
                    Some((key, times)) if *key == news.key => times + 1,
                    _ => 1,
                };
                state.refused = Some((news.key.clone(), times));
                if times < REFUSED_MAX {
                    self.standing.does_not_take(&why, None, now);
                    return Err(Stop::Failed(None));
                }
                self.standing.refused(&news.key, &why);
                Ok(())
            }
        }
    }
}

fn until(now: Timestamp, wait: Duration) -> Stop {
    Stop::Until(clock::after(now, wait))
}
