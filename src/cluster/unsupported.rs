//! Stands where a Kubernetes cluster is configured that this version cannot reach: it says so in
//! every status, and nothing is applied.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Applied, Cluster, ClusterError, ReadCluster, UnitScope};
use crate::manifest::Rendered;
use crate::model::{ApplicationName, ClusterAddress};
use crate::plan::{Apply, Live};

/// See the module.
pub struct UnsupportedCluster {
    name: String,
}

impl UnsupportedCluster {
    /// Stands for the cluster that is found so.
    pub fn new(found: &ClusterAddress) -> Self {
        Self {
            name: match found {
                ClusterAddress::Context { .. } => format!("the cluster of {found}"),
                ClusterAddress::InCluster => found.to_string(),
            },
        }
    }

    fn error(&self) -> ClusterError {
        ClusterError::Unsupported(
            "this version applies to simulated clusters only: Kubernetes comes with the next one"
                .to_owned(),
        )
    }
}

#[async_trait]
impl ReadCluster for UnsupportedCluster {
    fn name(&self) -> &str {
        &self.name
    }

    async fn live(
        &self,
        _: &UnitScope,
        _: Option<&Arc<Rendered>>,
        _: Timestamp,
    ) -> Result<Live, ClusterError> {
        Err(self.error())
    }

    async fn changed(&self, _: Timestamp) -> BTreeSet<ApplicationName> {
        std::future::pending().await
    }
}

#[async_trait]
impl Cluster for UnsupportedCluster {
    async fn apply(&self, _: &UnitScope, _: &Apply, _: Timestamp) -> Result<Applied, ClusterError> {
        Err(self.error())
    }
}
