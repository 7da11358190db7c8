//! Budgets: so many requests an hour for each who asks, and the secondary limits beside them.
//!
//! Sources: [primary and secondary limits](https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api),
//! [a 304 costs nothing](https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api).

use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::access::{Grant, Kind};
use super::answer::Refusal;

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// How much may be asked.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Requests an hour of one user or installation.
    pub hourly: u64,
    /// Points a minute (a reading request is one, a writing one five): the secondary limit. GitHub's is 900.
    pub points: Option<u64>,
    /// Requests a minute that make content. GitHub's is 80.
    pub contents: Option<u64>,
    /// How many questions for a pull request are answered `mergeable: null` after one of its ends moved.
    pub unknown_mergeability: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            hourly: 5000,
            points: None,
            contents: None,
            unknown_mergeability: 1,
        }
    }
}

/// What everybody has used.
#[derive(Default)]
pub(super) struct Ledger(BTreeMap<String, Used>);

#[derive(Clone, Copy)]
struct Used {
    hour: Timestamp,
    requests: u64,
    minute: Timestamp,
    points: u64,
    contents: u64,
}

/// What is left for one who asks.
#[derive(Clone, Copy)]
pub(super) struct Budget {
    limit: u64,
    used: u64,
    reset: i64,
}

impl Ledger {
    /// Counts a request.
    ///
    /// # Errors
    /// The refusal, where the budget is spent; such a request counts for nothing.
    pub(super) fn spend(
        &mut self,
        limits: &Limits,
        grant: &Grant,
        is_read: bool,
        now: Timestamp,
    ) -> Result<Budget, (Refusal, Budget)> {
        let used = self.used(grant, now);
        if used.requests >= limits.hourly {
            let message = format!("API rate limit exceeded for {}.", key(grant));
            return Err((Refusal::new(403, message), used.budget(limits)));
        }
        let cost = if is_read { 1 } else { 5 };
        let over =
            |used: u64, cost: u64, limit: Option<u64>| limit.is_some_and(|it| used + cost > it);
        if over(used.points, cost, limits.points)
            || (!is_read && over(used.contents, 1, limits.contents))
        {
            let wait = (used.minute + MINUTE).duration_since(now).as_secs().max(1);
            let message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
            let refusal = Refusal::new(403, message).with("retry-after", &wait.to_string());
            return Err((refusal, used.budget(limits)));
        }
        used.requests += 1;
        used.points += cost;
        used.contents += u64::from(!is_read);
        Ok(used.budget(limits))
    }

    /// Takes the last request back: its answer was a 304.
    pub(super) fn refund(&mut self, limits: &Limits, grant: &Grant, now: Timestamp) -> Budget {
        let used = self.used(grant, now);
        used.requests = used.requests.saturating_sub(1);
        used.budget(limits)
    }

    pub(super) fn budget(&mut self, limits: &Limits, grant: &Grant, now: Timestamp) -> Budget {
        self.used(grant, now).budget(limits)
    }

    fn used(&mut self, grant: &Grant, now: Timestamp) -> &mut Used {
        let used = self.0.entry(key(grant)).or_insert(Used {
            hour: now,
            requests: 0,
            minute: now,
            points: 0,
            contents: 0,
        });
        if now >= used.hour + HOUR {
            used.hour = now;
            used.requests = 0;
        }
        if now >= used.minute + MINUTE {
            used.minute = now;
            used.points = 0;
            used.contents = 0;
        }
        used
    }
}

impl Used {
    fn budget(&self, limits: &Limits) -> Budget {
        Budget {
            limit: limits.hourly,
            used: self.requests,
            reset: (self.hour + HOUR).as_second(),
        }
    }
}

impl Budget {
    pub(super) fn shown(&self) -> Value {
        json!({
            "limit": self.limit,
            "used": self.used,
            "remaining": self.limit.saturating_sub(self.used),
            "reset": self.reset,
        })
    }

    pub(super) fn write(&self, headers: &mut HeaderMap) {
        let remaining = self.limit.saturating_sub(self.used);
        for (name, value) in [
            ("x-ratelimit-limit", self.limit.to_string()),
            ("x-ratelimit-remaining", remaining.to_string()),
            ("x-ratelimit-used", self.used.to_string()),
            ("x-ratelimit-reset", self.reset.to_string()),
            ("x-ratelimit-resource", "core".to_owned()),
        ] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }
}

/// Whose budget it is: every token of one user, or one installation.
fn key(grant: &Grant) -> String {
    match grant.kind {
        Kind::Nobody => "this address".to_owned(),
        Kind::Installation(id) => format!("installation ID {id}"),
        Kind::App(id) => format!("app ID {id}"),
        Kind::Classic | Kind::FineGrained => format!("user ID {}", grant.login),
    }
}
