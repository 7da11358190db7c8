//! Tests on a real Gitea. One serves the whole run; tests keep apart by repository.

mod bed;
mod clone;
mod server;

pub(crate) use bed::{Bed, Person};
pub(crate) use clone::Clone;

use crate::testbed::Testbed;

static TESTBED: Testbed<Bed> = Testbed::new("TOWPATH_TESTBED_GITEA", "tests/testbed/build gitea");

/// The Gitea of this run. `None` after saying that the test is skipped.
pub(crate) fn shared() -> Option<&'static Bed> {
    TESTBED.shared(async |binary| Bed::start(&binary).await)
}

/// A Gitea for one test, which may do to it what it wants.
pub(crate) async fn own() -> Option<Bed> {
    Some(Bed::start(&TESTBED.binary()?).await.unwrap())
}
