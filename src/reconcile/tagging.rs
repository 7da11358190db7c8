//! Deployment tags: when they are made, and when those that could not be made are tried again. Nothing waits for
//! them, so what stands in their way is asked after, too. How a tag is made is the writer's.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::effect::events;
use super::{Reconciler, Towed};
use crate::act::Outcome;
use crate::backoff::backoff;
use crate::event::Event;
use crate::model::Environment;
use crate::plan::{Decision, Plan, World};

/// How long tags that could not be made are left alone: twice as long each time, at most one poll.
const AGAIN_MIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(60);

/// What one pipeline remembers of making tags.
#[derive(Default)]
pub(super) struct Tagging {
    /// Whether they are being made.
    makes: bool,
    /// When those that could not be made may be tried again, and how often they were tried in vain.
    again: Option<Timestamp>,
    failed: u32,
}

impl Tagging {
    /// Whether nobody makes tags yet, and none just failed; somebody does from here on.
    pub(super) fn begin(&mut self, now: Timestamp) -> bool {
        if self.again.is_some_and(|again| now < again) {
            return false;
        }
        !std::mem::replace(&mut self.makes, true)
    }

    /// They were made, or are tried again after a rest of at most this.
    pub(super) fn end(&mut self, made: bool, longest: Duration, now: Timestamp) {
        self.makes = false;
        (self.again, self.failed) = match made {
            true => (None, 0),
            false => {
                let rest = backoff(AGAIN_MIN, self.failed, longest);
                (now.checked_add(rest).ok(), self.failed.saturating_add(1))
            }
        };
    }

    pub(super) fn makes(&self) -> bool {
        self.makes
    }

    pub(super) fn again(&self) -> Option<Timestamp> {
        self.again
    }
}

impl Reconciler {
    /// The longest that a deployment goes without a tag that it could have.
    pub(super) fn longest_untagged(&self) -> Duration {
        AGAIN_MAX.min(self.intervals.git)
    }

    /// The environments in which a deployment has no tag yet, be it somebody else's, and in which this pipeline has
    /// nothing to do itself.
    pub(super) fn untagged<'a>(
        towed: &'a Towed,
        world: &World,
        plan: &Plan,
    ) -> Vec<&'a Environment> {
        let environments = towed.pipeline.environments.iter();
        let untagged = environments.filter(|environment| {
            let view = world.units.get(&environment.name);
            let judged = view.filter(|view| view.live.is_some()).is_some_and(|view| {
                view.infra.read().is_ok_and(|infra| {
                    let records = infra.records.as_ref().ok();
                    let newest = records.and_then(|records| records.deployment.as_ref());
                    let judged = newest.is_some_and(|newest| newest.verdict.is_some());
                    judged && !infra.standing.open.is_empty()
                })
            });
            let waits = plan.units.iter().any(|unit| {
                unit.environment == environment.name
                    && matches!(unit.decision, Decision::Waiting(_))
            });
            judged && waits
        });
        untagged.collect()
    }

    /// Whether a deployment of these environments waits for nothing but its tag.
    pub(super) fn has_tags_to_make(&self, untagged: &[&Environment]) -> bool {
        untagged.iter().any(|environment| {
            let writer = self.writers.get(&environment.repository);
            self.is_quiet(&environment.name)
                && writer.is_some_and(|writer| writer.has_tags_to_make(environment))
        })
    }

    /// Makes the deployment tags that are missing. Gives what happened by it, and whether all could
    /// be made.
    pub(super) async fn make_tags(&self, towed: &Arc<Towed>, now: Timestamp) -> (Vec<Event>, bool) {
        let (mut happened, mut all) = (Vec::new(), true);
        let _alone = self.tagging.lock().await;
        for environment in &towed.pipeline.environments {
            let (Some(writer), Some(source)) = (
                self.writers.get(&environment.repository),
                self.observatory.infra.get(&environment.repository),
            ) else {
                continue;
            };
            if self
                .observatory
                .live_of(&towed.pipeline, environment)
                .is_none()
            {
                continue;
            }
            let Some(outcome) = writer.tag(environment, now).await else {
                continue;
            };
            self.heard(writer).await;
            match outcome {
                Outcome::Done(done) => {
                    happened.extend(events(towed, environment, done, now));
                    source.take_own(now).await;
                }
                Outcome::Lost => source.catch_up(now).await,
                Outcome::Failed(failure) => {
                    tracing::warn!(environment = %environment.name, why = %failure.why, "no tag was made");
                    all = false;
                }
            }
        }
        (happened, all)
    }
}
