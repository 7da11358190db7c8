//! How long a pipeline rests after a round, if nothing wakes it.

use std::time::Duration;

use jiff::Timestamp;

use crate::plan::{Decision, Plan};

/// The longest: a timer that cannot be represented still ends.
const LONGEST: Duration = Duration::from_secs(3600);

/// How soon it looks after what should have come by now.
const OVERDUE: Duration = Duration::from_secs(1);

/// Until the first moment at which time alone changes something. What is overdue, such as a source that is
/// being read, comes with a wake: a thousand pipelines that wait for it must not turn and turn.
pub(super) fn rest(plan: &Plan, now: Timestamp) -> Duration {
    let next = plan.units.iter().filter_map(|unit| match &unit.decision {
        Decision::Waiting(waiting) => waiting.next,
        Decision::Step(_) => None,
    });
    let left = next.map(|next| match next <= now {
        true => OVERDUE,
        false => Duration::try_from(next.duration_since(now)).unwrap_or(OVERDUE),
    });
    left.min().unwrap_or(LONGEST).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Reason, UnitPlan, Waiting};

    #[test]
    fn a_pipeline_rests_until_the_first_moment_to_come_and_never_not_at_all() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let unit = |seconds: Option<i64>| UnitPlan {
            environment: "qa".parse().unwrap(),
            release: None,
            number: None,
            decision: Decision::Waiting(Waiting {
                next: seconds.map(|it| Timestamp::from_second(now.as_second() + it).unwrap()),
                ..Waiting::on(Reason::NotOurs)
            }),
            frozen: None,
            notes: Vec::new(),
        };
        for (next, expected) in [
            (vec![], LONGEST),
            (vec![None], LONGEST),
            (vec![Some(30), None, Some(20)], Duration::from_secs(20)),
            (vec![Some(7200)], LONGEST),
            (vec![Some(0)], OVERDUE),
            (vec![Some(-60), Some(30)], OVERDUE),
        ] {
            let plan = Plan {
                application: "shop".parse().unwrap(),
                units: next.iter().copied().map(unit).collect(),
            };
            assert_eq!(rest(&plan, now), expected, "{next:?}");
        }
    }
}
