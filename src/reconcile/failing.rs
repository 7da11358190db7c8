//! Steps that did not take effect: each waits a while before it is tried again, and holds up no step
//! of another kind.

use std::time::Duration;

use jiff::Timestamp;

use crate::act::Failure;
use crate::backoff::backoff;
use crate::observe::Intervals;
use crate::plan::{Reason, Step, Unreadable, Waiting};

const RETRY_MIN: Duration = Duration::from_secs(1);
/// The longest that a step waits, unless more is asked for.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// A step that did not take effect.
pub(super) struct Failing {
    of: Tried,
    unreadable: Unreadable,
    prevented: bool,
    count: u32,
}

/// What was tried: where the answer says nothing of another step, that one need not wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tried {
    /// To write the repository.
    Write,
    /// To apply this deployment.
    Apply(u64),
    /// To open, close or disarm the request.
    Request,
    /// To ask the smoke tests.
    Smoke,
}

impl Tried {
    /// What a step tries.
    pub(super) fn by(step: &Step) -> Self {
        match step {
            Step::Write(_)
            | Step::Propose(_)
            | Step::Withdraw(_)
            | Step::Merge(_)
            | Step::Record(_) => Self::Write,
            Step::Open(_) | Step::Close(_) | Step::Disarm(_) => Self::Request,
            Step::Apply(apply) => Self::Apply(apply.number),
            Step::Smoke(_) => Self::Smoke,
        }
    }

    /// The longest that it waits for its next try: what answers again is then seen within one poll.
    pub(super) fn longest(self, intervals: &Intervals) -> Duration {
        RETRY_MAX.min(match self {
            Self::Write => intervals.git,
            Self::Request => intervals.forge,
            Self::Apply(_) | Self::Smoke => intervals.cluster,
        })
    }
}

impl Failing {
    /// After one more failure: 1 s, 2 s, 4 s … `longest`, or as long as was asked.
    pub(super) fn next(
        before: Option<Self>,
        of: Tried,
        failure: Failure,
        longest: Duration,
        now: Timestamp,
    ) -> Self {
        let (since, count) = match before.filter(|before| before.of == of) {
            Some(before) => (before.unreadable.since, before.count.saturating_add(1)),
            None => (now, 0),
        };
        let asked = failure.retry_after;
        let wait = asked.unwrap_or_else(|| backoff(RETRY_MIN, count, longest));
        let retry = now.checked_add(wait).ok();
        let unreadable = Unreadable {
            source: failure.source,
            why: failure.why,
            since,
            retry,
        };
        Self {
            of,
            unreadable,
            prevented: failure.prevented,
            count,
        }
    }

    /// Whether the step has to wait for its next try.
    pub(super) fn holds_up(&self, step: &Step, now: Timestamp) -> bool {
        self.is_of(Tried::by(step)) && self.unreadable.retry.is_some_and(|retry| now < retry)
    }

    /// Whether it is about this.
    pub(super) fn is_of(&self, tried: Tried) -> bool {
        self.of == tried
    }

    /// What is said meanwhile.
    pub(super) fn waiting(&self) -> Waiting {
        Waiting {
            reason: Reason::Retrying {
                failed: self.unreadable.clone(),
                prevented: self.prevented,
            },
            since: Some(self.unreadable.since),
            next: self.unreadable.retry,
        }
    }
}
