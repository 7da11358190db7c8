//! The addresses that only the cluster knows: those of load balancers.
//!
//! Everything else that is shown comes from git and registries, so that a cluster which does not answer within a
//! moment is passed over: why is told beside the answer.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::try_join_all;

use crate::cli::setup::Setup;
use crate::manifest::Rendered;
use crate::model::EnvironmentName;
use crate::present::address::{balanced, balanced_at};

/// Whoever looks at a release waits no longer for this.
const WITHIN: Duration = Duration::from_secs(5);

/// The addresses that an environment's cluster gave to what runs there. It is asked only where there is a Service of a
/// load balancer.
///
/// # Errors
/// Why they are not known, in a sentence.
pub(super) async fn addresses(
    setup: &Setup,
    environment: &EnvironmentName,
    rendered: &Rendered,
) -> Result<BTreeSet<String>, String> {
    let services: Vec<_> = balanced(rendered).collect();
    if services.is_empty() {
        return Ok(BTreeSet::new());
    }
    let untold = |why: String| {
        format!(
            "at which addresses the cluster of {environment} has its load balancers is not told: {why}"
        )
    };
    let cluster = setup
        .cluster(environment)
        .map_err(|error| untold(format!("{error:#}")))?;
    let asked = services
        .iter()
        .map(|service| cluster.balanced_at(&service.reference));
    let hosts = tokio::time::timeout(WITHIN, try_join_all(asked)).await;
    let hosts = hosts.map_err(|_| untold(format!("no answer within {} s", WITHIN.as_secs())))?;
    let hosts = hosts.map_err(|error| untold(error.to_string()))?;
    let all = services.iter().zip(hosts);
    Ok(all
        .flat_map(|(service, hosts)| {
            let at = hosts
                .into_iter()
                .flat_map(|host| balanced_at(service, &host));
            at.collect::<Vec<_>>()
        })
        .collect())
}
