//! What is answered to the outside: webhooks that are taken or refused, a flood of them, probes, metrics,
//! and a certificate that changes.

mod deliveries;
mod flood;
mod metrics;
mod site;
mod well;
