//! What a unit's cluster runs: listed for the objects that its manifests name, and for those that
//! carry our mark.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use jiff::Timestamp;

use super::source::{Failed, Source};
use super::unreadable;
use crate::cluster::{SharedCluster, UnitScope};
use crate::manifest::Rendered;
use crate::model::{Environment, ObjectRef, Pipeline};
use crate::plan::{Infra, Live, Observed};

/// What a unit's cluster runs, and what is kept of it.
pub struct LiveSource {
    scope: UnitScope,
    cluster: SharedCluster,
    named: Mutex<Arc<Vec<ObjectRef>>>,
    /// The desired state that names them, so that the same is not compared again.
    named_by: Mutex<Weak<Rendered>>,
    /// What is kept, and for which named objects it was read.
    pub source: Source<Arc<Live>>,
    read_for: Mutex<Option<Arc<Vec<ObjectRef>>>>,
}

impl LiveSource {
    pub(super) fn new(
        pipeline: &Pipeline,
        environment: &Environment,
        cluster: &SharedCluster,
        now: Timestamp,
    ) -> Self {
        let scope = UnitScope {
            environment: environment.name.clone(),
            application: pipeline.application.name.clone(),
        };
        Self {
            scope,
            cluster: cluster.clone(),
            named: Mutex::default(),
            named_by: Mutex::default(),
            source: Source::new(cluster.name(), now),
            read_for: Mutex::default(),
        }
    }

    /// The cluster.
    pub fn cluster(&self) -> &SharedCluster {
        &self.cluster
    }

    /// Lists the unit's objects; says whether there is news.
    pub async fn read(&self, now: Timestamp) -> bool {
        let named = self
            .named
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let read = self.cluster.live(&self.scope, &named, now).await;
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
        let read_for = self
            .read_for
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .replace(named.clone());
        // The same objects read for other names are news too: until now they could not be shown.
        let for_others = read_for.as_ref() != Some(&named);
        self.source.keep(read, now) || for_others
    }

    /// Tells which objects the unit's manifests name. If others than before, it is read again.
    pub(super) fn name_objects(&self, infra: &Infra) {
        let Ok(desired) = &infra.desired else { return };
        let mut named_by = self.named_by.lock().unwrap_or_else(PoisonError::into_inner);
        if std::ptr::eq(named_by.as_ptr(), Arc::as_ptr(&desired.rendered)) {
            return;
        }
        *named_by = Arc::downgrade(&desired.rendered);
        let references = desired
            .rendered
            .objects
            .iter()
            .map(|object| &object.reference);
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if !named.iter().eq(references.clone()) {
            *named = Arc::new(references.cloned().collect());
            self.source.mark_stale();
        }
    }

    /// What was last read, if it was read for the objects that are named now.
    pub(super) fn observed(&self) -> Observed<Arc<Live>> {
        let named = self
            .named
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let read_for = self
            .read_for
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        match (self.source.observed(), read_for) {
            (Observed::Seen { at, .. }, read_for) if read_for.as_ref() != Some(&named) => {
                let why = "it is being read";
                Observed::Unreadable(unreadable(self.source.name(), why, at))
            }
            (observed, _) => observed,
        }
    }
}

fn retry_after(error: &crate::cluster::ClusterError) -> Option<Duration> {
    match error {
        crate::cluster::ClusterError::Unavailable { retry_after, .. } => *retry_after,
        _ => None,
    }
}
