//! The cluster of an environment: what it runs, and making it run something else.
//!
//! Split into a read half and a write half, so that commands which only look cannot change
//! anything by construction. What is applied was decided before; a cluster decides nothing.

pub mod kubernetes;
pub mod rbac;
pub mod simulated;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use self::rbac::Right;
use crate::manifest::Rendered;
use crate::model::{ApplicationName, EnvironmentName, Health, ObjectRef};
use crate::plan::{Apply, Live, Mark};
use crate::present::diff::{self, Trial, Tried, Versions};

/// The unit whose objects are looked at or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitScope {
    /// The environment.
    pub environment: EnvironmentName,
    /// The application.
    pub application: ApplicationName,
}

/// What a cluster could not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// It does not answer, or not now.
    #[error("{cluster} does not answer: {detail}")]
    Unavailable {
        /// Which cluster.
        cluster: String,
        /// What was seen.
        detail: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// An object is no longer what the plan saw.
    #[error("{object} changed since it was looked at")]
    Changed {
        /// Which.
        object: ObjectRef,
    },
    /// The cluster will not take the object as its manifest states it: only another manifest helps.
    #[error("{object} is refused: {reason}")]
    Refused {
        /// Which.
        object: ObjectRef,
        /// What the cluster said, with the field where it named one.
        reason: String,
    },
    /// The cluster does not let us now, whatever the manifest says: a right, a quota, a kind it does
    /// not know, a namespace that goes away. Somebody must change something there.
    #[error("{object} cannot be applied now: {reason}")]
    Prevented {
        /// Which.
        object: ObjectRef,
        /// What is missing, and who can help.
        reason: String,
    },
    /// This program cannot reach such a cluster.
    #[error("{0}")]
    Unsupported(String),
}

/// The half that only looks.
#[async_trait]
pub trait ReadCluster: Send + Sync {
    /// What people call it.
    fn name(&self) -> &str;

    /// The unit's objects, by our mark, and those that its desired state names, under anybody's.
    /// Where the desired state is not known, only those by our mark.
    ///
    /// # Errors
    /// [`ClusterError::Unavailable`] where it does not answer within its deadline.
    async fn live(
        &self,
        unit: &UnitScope,
        desired: Option<&Arc<Rendered>>,
        now: Timestamp,
    ) -> Result<Live, ClusterError>;

    /// What applying these objects for the unit would change, in their order; then what of the unit's
    /// would be deleted because nobody asks for it. Changes nothing.
    ///
    /// # Errors
    /// [`ClusterError::Unavailable`]; [`ClusterError::Unsupported`] where the cluster cannot tell.
    async fn preview(
        &self,
        unit: &UnitScope,
        desired: &Arc<Rendered>,
        now: Timestamp,
    ) -> Result<Vec<Preview>, ClusterError>;

    /// Everything in the cluster that belongs to the environment, of applications that are no longer
    /// configured too.
    ///
    /// # Errors
    /// [`ClusterError::Unavailable`].
    async fn inventory(&self, now: Timestamp) -> Result<Vec<Member>, ClusterError>;

    /// How it serves a kind; `None` where it does not. `group` is empty for the core group.
    ///
    /// # Errors
    /// [`ClusterError::Unavailable`] where it does not answer within its deadline.
    async fn served(&self, group: &str, kind: &str) -> Result<Option<Served>, ClusterError>;

    /// Where it has a Service of a load balancer reached from outside: names and addresses of hosts. None, where the
    /// Service is not there, or nobody gave it any.
    ///
    /// # Errors
    /// [`ClusterError::Unavailable`] where it does not answer within its deadline.
    async fn balanced_at(&self, _service: &ObjectRef) -> Result<Vec<String>, ClusterError> {
        Ok(Vec::new())
    }

    /// Which of these rights it does not grant, in their order. It is asked, and nothing is tried.
    ///
    /// # Errors
    /// [`ClusterError::Unavailable`] where it does not answer within its deadline.
    async fn lacks(&self, rights: &[Right]) -> Result<Vec<Right>, ClusterError>;

    /// Returns when something may have changed, and for which applications. Carries no data: whoever
    /// waits looks again.
    async fn changed(&self, now: Timestamp) -> BTreeSet<ApplicationName>;
}

/// How a cluster serves a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The resource's name in addresses and roles: `deployments`.
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

/// The half that changes.
#[async_trait]
pub trait Cluster: ReadCluster {
    /// Applies and prunes what the step names, each object only if it still is what the step saw.
    /// Nothing of it is applied where the cluster refuses any of it beforehand.
    ///
    /// # Errors
    /// [`ClusterError`]; objects that were applied before the error stay applied, and the next round
    /// goes on from there.
    async fn apply(
        &self,
        unit: &UnitScope,
        apply: &Apply,
        now: Timestamp,
    ) -> Result<Applied, ClusterError>;

    /// Has the cluster judge what is about to be applied, so that the apply need not wait for it. Changes
    /// nothing, may be given up at any moment, and what comes of it may be forgotten.
    async fn judge_ahead(&self, _unit: &UnitScope, _apply: &Apply, _now: Timestamp) {}
}

/// An object before and after an apply that was only tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// Which object.
    pub reference: ObjectRef,
    /// As it is; `None`: it is not there. Without its status and what the server notes about it.
    pub before: Option<Value>,
    /// As it would be; `None`: it is no longer asked for.
    pub after: Option<Value>,
    /// Whether its values are not to be shown.
    pub secret: bool,
    /// What came of trying it.
    pub trial: Trial,
}

impl Preview {
    /// Whether it would be deleted.
    pub fn is_deletion(&self) -> bool {
        self.after.is_none() && matches!(self.trial, Trial::Taken)
    }

    /// It stays as it is, though it is no longer asked for.
    pub fn leave(&mut self, why: String) {
        self.after.clone_from(&self.before);
        self.trial = Trial::Left(why);
    }

    /// How it would differ, fit to be shown.
    pub fn tried(self) -> Tried {
        let diff = diff::compare(Versions {
            reference: &self.reference,
            before: self.before.as_ref(),
            after: self.after.as_ref(),
            secret: self.secret,
        });
        let trial = self.trial;
        Tried { diff, trial }
    }
}

/// An object that belongs to an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Which object.
    pub reference: ObjectRef,
    /// Our mark on it; `None`: somebody damaged it.
    pub mark: Option<Mark>,
    /// How it does.
    pub health: Health,
    /// When it was last applied.
    pub applied_at: Timestamp,
    /// Why it would not be deleted.
    pub kept: Option<String>,
}

/// What an apply did beside what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// Fields that were another manager's before.
    pub taken: Vec<Taken>,
}

/// Fields that an apply took from another manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Of which object.
    pub object: ObjectRef,
    /// Whose they were.
    pub manager: String,
    /// Which, as the server writes them: `.spec.replicas`.
    pub fields: Vec<String>,
}

/// The half that only looks, shared.
pub type SharedReadCluster = Arc<dyn ReadCluster>;

/// Both halves, shared.
pub type SharedCluster = Arc<dyn Cluster>;

/// The clusters of environments, to look at alone.
pub fn reading(
    clusters: &BTreeMap<EnvironmentName, SharedCluster>,
) -> BTreeMap<EnvironmentName, SharedReadCluster> {
    let halves = clusters.iter().map(|(name, cluster)| {
        let reading: SharedReadCluster = cluster.clone();
        (name.clone(), reading)
    });
    halves.collect()
}
