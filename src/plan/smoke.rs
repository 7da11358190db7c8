//! Whether what was deployed answers as expected: asked once it is healthy, until it does or the
//! deadline of the rollout has passed, and never again after the verdict.

use std::time::Duration;

use jiff::Timestamp;

use super::{Ready, Smoke};
use crate::clock::after;
use crate::model::record::Deployment;

/// How soon tests that did not pass are tried again: an endpoint often needs a moment after its pods.
const AGAIN: Duration = Duration::from_secs(5);

/// How far the smoke tests are.
pub(super) enum Smoking {
    /// They must be asked.
    Due(Smoke),
    /// They did not pass.
    Failed {
        /// What was seen.
        why: String,
        /// When they are asked again.
        again: Timestamp,
    },
    /// They passed, or there are none.
    Passed,
}

/// The smoke tests of a rollout that began at this moment: what was asked of an earlier one counts
/// for nothing.
pub(super) fn smoking(ready: &Ready<'_>, deployment: &Deployment, begun: Timestamp) -> Smoking {
    let tests = &ready.unit.environment.smoke;
    if tests.is_empty() {
        return Smoking::Passed;
    }
    let due = Smoking::Due(Smoke {
        number: deployment.number,
        begun,
        tests: tests.clone(),
    });
    let smoked = ready.unit.view.learned.smoked.as_ref();
    let smoked = smoked.filter(|it| it.number == deployment.number && it.begun == begun);
    let Some(smoked) = smoked else {
        return due;
    };
    let again = after(smoked.at, AGAIN);
    match &smoked.failed {
        None => Smoking::Passed,
        Some(_) if ready.unit.now >= again => due,
        Some(why) => Smoking::Failed {
            why: why.clone(),
            again,
        },
    }
}
