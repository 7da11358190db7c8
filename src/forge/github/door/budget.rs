//! How much GitHub lets us ask: its primary limit, its secondary ones, and one write at a time
//! ([limits](https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api)).
//!
//! One for each host and credential. What only shows things stops first, so that proposals go on.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::Trouble;
use crate::clock;
use crate::http::{self, Meter, retry_after};
use crate::secret::words;

/// Where a secondary limit names no time, GitHub asks for at least a minute.
const SECONDARY: Duration = Duration::from_secs(60);

/// What is left of the limit for what others wait for.
const RESERVE: u64 = 10;

/// What is shown of an answer.
const WORDS: usize = 300;

/// See the module.
pub struct Budget {
    state: Mutex<State>,
    writing: Semaphore,
    meter: Meter,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    limit: Option<u64>,
    remaining: Option<u64>,
    reset: Option<Timestamp>,
    closed_until: Option<Timestamp>,
}

/// How much may still be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Requests.
    pub remaining: u64,
    /// Of so many.
    pub limit: u64,
    /// Until then.
    pub reset: Timestamp,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            writing: Semaphore::new(1),
            meter: Meter::default(),
        }
    }
}

impl Budget {
    /// Counts what is asked with this.
    pub fn metered(meter: Meter) -> Self {
        Self {
            meter,
            ..Self::default()
        }
    }

    /// What counts.
    pub(super) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// How much may still be asked, as far as is known.
    pub fn left(&self) -> Option<Left> {
        let state = self.state();
        Some(Left {
            remaining: state.remaining?,
            limit: state.limit?,
            reset: state.reset?,
        })
    }

    /// Lets a request through, a write when no other is on its way.
    pub(super) async fn admit(
        &self,
        reads: bool,
        is_patient: bool,
    ) -> Result<Option<SemaphorePermit<'_>>, Trouble> {
        self.open(is_patient)?;
        if reads {
            return Ok(None);
        }
        let turn = self.writing.acquire().await;
        // Who had the turn before may have been told to wait.
        self.open(is_patient)?;
        Ok(turn.ok())
    }

    fn open(&self, is_patient: bool) -> Result<(), Trouble> {
        let (state, now) = (self.state(), clock::now());
        if let Some(until) = state.closed_until.filter(|until| now < *until) {
            return Err(later("it limits how often it is asked", until, now));
        }
        let (Some(remaining), Some(limit), Some(reset)) =
            (state.remaining, state.limit, state.reset)
        else {
            return Ok(());
        };
        let kept = if is_patient { limit / RESERVE } else { 0 };
        if remaining <= kept && now < reset {
            let what = format!("{remaining} of {limit} requests an hour are left");
            return Err(later(&what, reset, now));
        }
        Ok(())
    }

    /// Hears what an answer says of the limit.
    pub(super) fn hear(&self, headers: &HeaderMap) {
        // Others, such as that of GraphQL, are counted apart.
        let resource = headers.get("x-ratelimit-resource");
        if resource.is_some_and(|resource| resource != "core") {
            return;
        }
        let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
        let (Some(limit), Some(remaining), Some(reset)) = (
            number("x-ratelimit-limit"),
            number("x-ratelimit-remaining"),
            number("x-ratelimit-reset"),
        ) else {
            return;
        };
        let reset = i64::try_from(reset).ok().map(Timestamp::from_second);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.limit = Some(limit);
        state.remaining = Some(remaining);
        state.reset = reset.and_then(Result::ok);
    }

    /// Whether an answer says that it is too much, and for how long.
    pub(super) fn limited(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Option<Trouble> {
        let said = said(body);
        let asked = retry_after(headers);
        let secondary = said.contains("secondary rate limit") || said.contains("abuse detection");
        let used_up = headers
            .get("x-ratelimit-remaining")
            .is_some_and(|it| it == "0");
        let is_limit =
            asked.is_some() || secondary || used_up || status == StatusCode::TOO_MANY_REQUESTS;
        if !is_limit {
            return None;
        }
        let now = clock::now();
        let reset = self.state().reset.filter(|_| used_up && asked.is_none());
        let until = reset.filter(|reset| now < *reset);
        let until = until.or_else(|| now.checked_add(asked.unwrap_or(SECONDARY)).ok())?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed_until = Some(until);
        drop(state);
        Some(later(
            &format!("{} ({})", said, status.as_u16()),
            until,
            now,
        ))
    }

    fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn later(what: &str, until: Timestamp, now: Timestamp) -> Trouble {
    let left = Duration::try_from(until.duration_since(now)).unwrap_or_default();
    Trouble::Later {
        detail: what.to_owned(),
        retry_after: Some(http::bounded_wait(left)),
    }
}

/// The message of an error, on one line.
fn said(body: &[u8]) -> String {
    let message = serde_json::from_slice::<serde_json::Value>(body).ok();
    let message = message.and_then(|it| Some(it.get("message")?.as_str()?.to_owned()));
    words(
        &message.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned()),
        WORDS,
    )
}
