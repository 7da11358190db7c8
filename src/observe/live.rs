//! What a unit's cluster runs: listed for the objects that its manifests name, and for those that
//! carry our mark.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::source::{Failed, Source};
use super::unreadable;
use crate::cluster::{SharedReadCluster, UnitScope};
use crate::manifest::Rendered;
use crate::model::{ApplicationName, CommitId, EnvironmentName};
use crate::plan::{Infra, Live, Observed};

/// What a unit's cluster runs, and what is kept of it.
pub struct LiveSource {
    scope: UnitScope,
    cluster: SharedReadCluster,
    desired: Mutex<Option<Arc<Rendered>>>,
    /// The head of the branch that last told it.
    told_at: Mutex<Option<CommitId>>,
    /// What is kept, and for which named objects it was read.
    pub source: Source<Arc<Live>>,
    read_for: Mutex<Option<Option<Arc<Rendered>>>>,
}

impl LiveSource {
    pub(super) fn new(
        application: &ApplicationName,
        environment: &EnvironmentName,
        cluster: &SharedReadCluster,
        now: Timestamp,
    ) -> Self {
        let scope = UnitScope {
            environment: environment.clone(),
            application: application.clone(),
        };
        Self {
            scope,
            cluster: cluster.clone(),
            desired: Mutex::default(),
            told_at: Mutex::default(),
            source: Source::new(cluster.name(), now),
            read_for: Mutex::default(),
        }
    }

    /// Whose objects they are.
    pub fn application(&self) -> &ApplicationName {
        &self.scope.application
    }

    /// The cluster.
    pub fn cluster(&self) -> &SharedReadCluster {
        &self.cluster
    }

    /// Lists the unit's objects; says whether there is news.
    pub async fn read(&self, now: Timestamp) -> bool {
        let desired = locked(&self.desired).clone();
        let read = self.cluster.live(&self.scope, desired.as_ref(), now).await;
        let read = read.map_err(|error| Failed {
            why: error.to_string(),
            retry_after: retry_after(&error),
        });
        let since = self.source.answering_since(now);
        let read = read.map(|live| {
            Arc::new(Live {
                answering_since: since,
                ..live
            })
        });
        // The same objects read for other names are news too: until now they could not be shown.
        let for_others = !self.is_read_for(desired.as_ref());
        *locked(&self.read_for) = Some(desired);
        self.source.keep(read, now) || for_others
    }

    /// Tells what the unit's manifests ask for. If they name other objects than before, it is read
    /// again.
    pub(super) fn desire(&self, infra: &Infra) {
        let Ok(wanted) = &infra.desired else { return };
        *locked(&self.told_at) = Some(infra.head);
        let mut desired = locked(&self.desired);
        let same = |known: &Arc<Rendered>| Arc::ptr_eq(known, &wanted.rendered);
        if desired.as_ref().is_some_and(same) {
            return;
        }
        let names_others = !name_the_same(desired.as_ref(), Some(&wanted.rendered));
        *desired = Some(wanted.rendered.clone());
        let mut read_for = locked(&self.read_for);
        match read_for.as_mut() {
            // What was read of the same objects stays true.
            Some(known) if !names_others => known.clone_from(&desired),
            _ => self.source.mark_stale(),
        }
    }

    /// What the unit's manifests ask for at this head of the branch, if that was told; without a head,
    /// what was told last.
    pub(super) fn told(&self, head: Option<CommitId>) -> Option<Arc<Rendered>> {
        let is_told = head.is_none() || *locked(&self.told_at) == head;
        locked(&self.desired).clone().filter(|_| is_told)
    }

    /// What was last read, if it was read for the objects that are named now.
    pub(super) fn observed(&self) -> Observed<Arc<Live>> {
        let desired = locked(&self.desired).clone();
        match self.source.observed() {
            Observed::Seen { at, .. } if !self.is_read_for(desired.as_ref()) => {
                let why = "it is being read";
                Observed::Unreadable(unreadable(self.source.name(), why, at))
            }
            observed => observed,
        }
    }

    fn is_read_for(&self, desired: Option<&Arc<Rendered>>) -> bool {
        let read_for = locked(&self.read_for);
        let known = read_for.as_ref();
        known.is_some_and(|known| name_the_same(known.as_ref(), desired))
    }
}

fn name_the_same(a: Option<&Arc<Rendered>>, b: Option<&Arc<Rendered>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) if Arc::ptr_eq(a, b) => true,
        (Some(a), Some(b)) => {
            let pairs = a.objects.iter().zip(&b.objects);
            a.objects.len() == b.objects.len()
                && pairs.into_iter().all(|(a, b)| a.reference == b.reference)
        }
        (None, None) => true,
        _ => false,
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn retry_after(error: &crate::cluster::ClusterError) -> Option<Duration> {
    match error {
        crate::cluster::ClusterError::Unavailable { retry_after, .. } => *retry_after,
        _ => None,
    }
}
