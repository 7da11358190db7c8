//! Services: a load balancer needs an address; every other kind works once it is stored.

use super::seen::Seen;
use crate::model::Health;

pub(super) fn health(seen: &Seen<'_>) -> Health {
    let is_balanced = seen.text("/spec/type") == Some("LoadBalancer");
    if !is_balanced || !seen.list("/status/loadBalancer/ingress").is_empty() {
        return Health::Current;
    }
    match &seen.evidence.warning {
        Some(warning) => seen.in_progress(format!("no address yet: {}", warning.told())),
        None => seen.in_progress("no address yet"),
    }
}
