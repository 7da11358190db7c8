//! The requests of an infra repository: one source for all its units.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::source::{Failed, Source};
use crate::forge::{ForgeError, Found, Requests, SharedReadForge};
use crate::plan::{Observed, Request, RequestState};

/// A repository's requests and what is kept of them.
pub struct RequestSource {
    forge: SharedReadForge,
    /// What is kept.
    pub source: Source<Arc<Requests>>,
}

impl RequestSource {
    pub(super) fn new(forge: SharedReadForge, now: Timestamp) -> Self {
        let source = Source::new(forge.name(), now);
        Self { forge, source }
    }

    /// Looks at the forge; says whether there is news.
    pub async fn read(&self, now: Timestamp) -> bool {
        let before = self.source.observed();
        // What was known before it failed is asked for anew: an answer may have been half of it.
        let before = before.read().cloned().unwrap_or_default();
        let read = self.forge.requests(&before, now).await;
        let read = read.map(|read| match read == *before {
            true => before.clone(),
            false => Arc::new(read),
        });
        self.source.keep(read.map_err(failed), now)
    }

    /// Takes in what an effect of ours made of a request. No request.
    pub fn take_own(&self, found: Found, now: Timestamp) {
        let Observed::Seen { value, .. } = self.source.observed() else {
            return;
        };
        let mut requests = Requests::clone(&value);
        requests.take(found);
        self.source.keep(Ok(Arc::new(requests)), now);
    }

    /// The newest request from this branch to that one.
    pub(super) fn of(&self, head: &str, base: &str) -> Observed<Option<Request>> {
        match self.source.observed() {
            Observed::Seen { value, at } => Observed::Seen {
                value: value.of(head, base).cloned(),
                at,
            },
            Observed::Unreadable(unreadable) => Observed::Unreadable(unreadable),
        }
    }

    /// The branches whose request changed since, and whether any of these was merged: then the
    /// repository has news, too. `None`: any may have.
    pub fn changed(&self, before: &Observed<Arc<Requests>>) -> Option<Changed> {
        let after = self.source.observed();
        let (Ok(before), Ok(after)) = (before.read(), after.read()) else {
            return None;
        };
        let heads: BTreeSet<String> = after
            .changed(before)
            .into_iter()
            .map(str::to_owned)
            .collect();
        let merged = after
            .changed(before)
            .iter()
            .any(|head| after.was_merged(head));
        Some(Changed { heads, merged })
    }
}

/// What changed about requests.
pub struct Changed {
    /// Their branches.
    pub heads: BTreeSet<String>,
    /// Whether one of them was merged.
    pub merged: bool,
}

impl Requests {
    fn was_merged(&self, head: &str) -> bool {
        self.from(head)
            .any(|request| matches!(request.state, RequestState::Merged { .. }))
    }
}

fn failed(error: ForgeError) -> Failed {
    let retry_after = match &error {
        ForgeError::Unavailable { retry_after, .. } => *retry_after,
        _ => None,
    };
    Failed {
        why: error.to_string(),
        retry_after,
    }
}
