//! The requests of an infra repository: one source for all its units.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::source::{Failed, Source};
use crate::forge::{ForgeError, Found, Requests, SharedReadForge, Visibility};
use crate::model::CommitId;
use crate::plan::{Observed, Request, RequestState};

/// How long an answer holds to who may read the repository.
const VISIBILITY_FOR: SignedDuration = SignedDuration::from_hours(1);

/// A repository's requests and what is kept of them.
pub struct RequestSource {
    forge: SharedReadForge,
    /// When it was last told who may read the repository.
    told: Mutex<Option<Timestamp>>,
    /// What is kept.
    pub source: Source<Arc<Requests>>,
}

impl RequestSource {
    pub(super) fn new(forge: SharedReadForge, now: Timestamp) -> Self {
        let source = Source::new(forge.name(), now);
        Self {
            forge,
            told: Mutex::default(),
            source,
        }
    }

    /// Looks at the forge; says whether there is news.
    pub async fn read(&self, now: Timestamp) -> bool {
        let before = self.source.observed();
        // What was known before it failed is asked for anew: an answer may have been half of it.
        let before = before.read().cloned().unwrap_or_default();
        let read = match self.forge.requests(&before, now).await {
            Ok(mut read) => {
                read.visibility = self.ask_visibility(before.visibility, now).await;
                Ok(match read == *before {
                    true => before.clone(),
                    false => Arc::new(read),
                })
            }
            Err(error) => Err(error),
        };
        self.source.keep(read.map_err(failed), now)
    }

    /// Who may read the repository; `None`: the forge does not say.
    async fn ask_visibility(
        &self,
        before: Option<Visibility>,
        now: Timestamp,
    ) -> Option<Visibility> {
        let told = || self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = told().is_some_and(|told| now.duration_since(told) < VISIBILITY_FOR);
        if is_new {
            return before;
        }
        match self.forge.visibility().await {
            Ok(visibility) => {
                *told() = Some(now);
                Some(visibility)
            }
            // Asked again in the next look.
            Err(ForgeError::Unavailable { .. }) => before,
            Err(error) => {
                tracing::warn!(%error, "who may read the repository is not known");
                *told() = Some(now);
                None
            }
        }
    }

    /// Who may read the repository, as it was last told; `None`: that is not known.
    pub fn visibility(&self) -> Option<Visibility> {
        self.source.observed().read().ok()?.visibility
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

    /// The branches whose request changed since, and as what those of them that were merged came to the
    /// branch: then the repository has news, too. `None`: any may have.
    pub fn changed(&self, before: &Observed<Arc<Requests>>) -> Option<Changed> {
        let after = self.source.observed();
        let (Ok(before), Ok(after)) = (before.read(), after.read()) else {
            return None;
        };
        if before.visibility != after.visibility {
            return None;
        }
        let heads: BTreeSet<String> = after
            .changed(before)
            .into_iter()
            .map(str::to_owned)
            .collect();
        let changed = after.changed(before).into_iter();
        let merged = changed.flat_map(|head| after.merged(head)).collect();
        Some(Changed { heads, merged })
    }
}

/// What changed about requests.
pub struct Changed {
    /// Their branches.
    pub heads: BTreeSet<String>,
    /// For each of them that was merged the commit that this made; `None`: the forge does not say.
    pub merged: Vec<Option<CommitId>>,
}

impl Requests {
    fn merged<'a>(&'a self, head: &'a str) -> impl Iterator<Item = Option<CommitId>> {
        self.from(head).filter_map(|request| match request.state {
            RequestState::Merged { commit } => Some(commit),
            _ => None,
        })
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
