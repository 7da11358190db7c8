//! Tests on a real Kubernetes control plane. One plane serves the whole run, and tests keep apart by
//! namespace and user; who kills anything takes a plane of its own.

mod apply;
mod audit;
mod balancers;
mod bed;
mod commands;
mod demo;
mod faults;
mod hooks;
mod live;
mod logs;
mod parts;
mod plane;
mod pods;
mod roles;
mod stands;

pub(crate) use audit::{applied_twice, apply_has_come};
pub(crate) use bed::Bed;
pub(crate) use plane::Plane;

use crate::testbed::Testbed;

static TESTBED: Testbed<Bed> = Testbed::new("TOWPATH_TESTBED_KUBE", "tests/testbed/build");

/// The plane of this run. `None` after saying that the test is skipped.
pub(crate) fn shared() -> Option<&'static Bed> {
    TESTBED.shared(async |binary| Bed::start(&binary).await)
}

/// A plane for one test, which may do to it what it wants.
pub(crate) async fn own() -> Option<Bed> {
    Some(Bed::start(&TESTBED.binary()?).await.unwrap())
}
