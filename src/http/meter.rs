//! Counts what is asked of each host and what it says is left. Knows no address beyond the host.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use url::Url;

/// Hosts that are told apart: those of the configuration, and who they redirect to.
const HOSTS_MAX: usize = 256;

/// What further hosts are counted under.
const OTHERS: &str = "other";

/// See the module. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Mutex<BTreeMap<String, HostMeter>>>);

/// What was counted of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostMeter {
    /// Requests by what came of them.
    pub calls: BTreeMap<Called, u64>,
    /// What it said to be left.
    pub budget: Option<Budget>,
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Called {
    /// Answered.
    Answered,
    /// Answered that nothing changed (304).
    Unchanged,
    /// Not answered because of a limit: 429, or 403 with a limit that is used up.
    Limited,
    /// Another 4xx.
    Refused,
    /// 5xx, or no answer.
    Failed,
}

impl Called {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Unchanged => "unchanged",
            Self::Limited => "limited",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// How many requests are left until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// How many.
    pub remaining: u64,
    /// When there are more again.
    pub resets: Option<Timestamp>,
}

impl Meter {
    /// Counts a request that was answered.
    pub fn answered(&self, url: &Url, status: StatusCode, headers: &HeaderMap) {
        let budget = budget(headers);
        let is_used_up = budget.is_some_and(|budget| budget.remaining == 0);
        let called = match status.as_u16() {
            304 => Called::Unchanged,
            429 => Called::Limited,
            403 if is_used_up || headers.contains_key("retry-after") => Called::Limited,
            400..500 => Called::Refused,
            500.. => Called::Failed,
            _ => Called::Answered,
        };
        self.count(url, called, budget);
    }

    /// Counts a request that was not answered.
    pub fn failed(&self, url: &Url) {
        self.count(url, Called::Failed, None);
    }

    /// What was counted so far, by host.
    pub fn hosts(&self) -> BTreeMap<String, HostMeter> {
        self.kept().clone()
    }

    fn count(&self, url: &Url, called: Called, budget: Option<Budget>) {
        let host = url.host_str().unwrap_or_default();
        let port = url.port().map(|port| format!(":{port}"));
        let mut host = format!("{host}{}", port.unwrap_or_default());
        let mut kept = self.kept();
        if kept.len() >= HOSTS_MAX && !kept.contains_key(&host) {
            OTHERS.clone_into(&mut host);
        }
        let meter = kept.entry(host).or_default();
        *meter.calls.entry(called).or_default() += 1;
        if budget.is_some() {
            meter.budget = budget;
        }
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, HostMeter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// GitHub's headers (<https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api>), of its
/// main limit alone, and those of Docker Hub (<https://docs.docker.com/docker-hub/usage/pulls/>), whose
/// numbers end in `;w=…`.
fn budget(headers: &HeaderMap) -> Option<Budget> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    if text("x-ratelimit-resource").is_some_and(|resource| resource != "core") {
        return None;
    }
    let remaining = text("x-ratelimit-remaining").or_else(|| text("ratelimit-remaining"))?;
    let remaining = remaining.split(';').next()?.trim().parse().ok()?;
    let resets = text("x-ratelimit-reset").and_then(|text| text.parse().ok());
    let resets = resets.and_then(|second| Timestamp::from_second(second).ok());
    Some(Budget { remaining, resets })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart_and_budgets_kept() {
        let url: Url = "https://api.github.com/repos/acme/infra".parse().unwrap();
        let meter = Meter::default();
        let headers = |pairs: &[(&'static str, &str)]| {
            let pairs = pairs
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            pairs.collect::<HeaderMap>()
        };
        let left = |left| [("x-ratelimit-remaining", left), ("x-ratelimit-reset", "60")];
        for (status, headers, called) in [
            (200, headers(&left("4999")), Called::Answered),
            (304, headers(&[]), Called::Unchanged),
            (403, headers(&[]), Called::Refused),
            (403, headers(&[("retry-after", "60")]), Called::Limited),
            (403, headers(&left("0")), Called::Limited),
            (429, headers(&[]), Called::Limited),
            (502, headers(&[]), Called::Failed),
        ] {
            let before = meter.hosts().remove("api.github.com").unwrap_or_default();
            meter.answered(&url, StatusCode::from_u16(status).unwrap(), &headers);
            let after = meter.hosts().remove("api.github.com").unwrap();
            let count = |meter: &HostMeter| meter.calls.get(&called).copied().unwrap_or_default();
            assert_eq!(count(&after), count(&before) + 1, "{status} {headers:?}");
        }
        let kept = meter.hosts().remove("api.github.com").unwrap().budget;
        let resets = Timestamp::from_second(60).ok();
        assert_eq!(
            kept,
            Some(Budget {
                remaining: 0,
                resets
            })
        );
        let hub = headers(&[("ratelimit-remaining", "76;w=21600")]);
        assert_eq!(budget(&hub).unwrap().remaining, 76);
        let search = headers(&[
            ("x-ratelimit-remaining", "9"),
            ("x-ratelimit-resource", "search"),
        ]);
        assert_eq!(budget(&search), None);
    }

    #[test]
    fn hosts_are_bounded() {
        let meter = Meter::default();
        for number in 0..2 * HOSTS_MAX {
            meter.failed(&format!("https://host-{number}/").parse().unwrap());
        }
        let hosts = meter.hosts();
        assert_eq!(hosts.len(), HOSTS_MAX + 1);
        let others = &hosts[OTHERS].calls[&Called::Failed];
        assert_eq!(*others, HOSTS_MAX as u64);
    }
}
