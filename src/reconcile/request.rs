//! Carries out what is done on a forge: requests are opened, closed and disarmed. What the forge then shows
//! is known from its answer; where it gave none, it is looked at again.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Reconciler, Towed};
use crate::act::{Failure, Happened, Outcome};
use crate::event::EventKind;
use crate::forge::{ForgeError, Opening};
use crate::model::Environment;
use crate::plan::{Open, Step};

impl Reconciler {
    pub(super) async fn ask(
        &self,
        towed: &Arc<Towed>,
        environment: &Environment,
        step: &Step,
        now: Timestamp,
    ) -> Outcome {
        let (Some(forge), Some(source)) = (
            self.forges.get(&environment.repository),
            self.observatory.requests.get(&environment.repository),
        ) else {
            return Outcome::Lost;
        };
        // A forge may know of a push only once its server has said all it has to say to it.
        if let Some(writer) = self.writers.get(&environment.repository) {
            writer.answered().await;
        }
        let done = match step {
            Step::Open(open) => {
                let Some(opening) = self.opening(towed, environment, open, now).await else {
                    return Outcome::Lost;
                };
                forge.open(&opening, now).await
            }
            Step::Close(close) => forge.close(&close.request, &close.reason, now).await,
            Step::Disarm(disarm) => forge.disarm(&disarm.request, &disarm.reason, now).await,
            _ => return Outcome::Lost,
        };
        match done {
            Ok(found) => {
                let happened = match step {
                    Step::Open(open) => vec![opened(open, found.request.url.as_ref())],
                    _ => Vec::new(),
                };
                source.take_own(found, now);
                Outcome::Done(happened)
            }
            Err(error) => {
                // What it did not answer may have taken effect.
                source.source.mark_stale();
                Outcome::Failed(failure(forge.name(), &error))
            }
        }
    }

    async fn opening(
        &self,
        towed: &Towed,
        environment: &Environment,
        open: &Open,
        now: Timestamp,
    ) -> Option<Opening> {
        let pipeline = &towed.pipeline;
        let world = self.world(&pipeline.application.name, now)?;
        let content = self
            .content(pipeline, environment, &world, None, now)
            .await?;
        Some(Opening {
            head: open.branch.clone(),
            commit: open.head,
            base: open.base.clone(),
            content,
            policy: environment.request.clone(),
        })
    }
}

fn opened(open: &Open, url: Option<&String>) -> Happened {
    Happened {
        kind: EventKind::Opened,
        release: Some(open.release.clone()),
        commit: Some(open.head),
        number: None,
        reason: url.cloned(),
    }
}

pub(super) fn failure(forge: &str, error: &ForgeError) -> Failure {
    Failure {
        source: forge.to_owned(),
        why: error.to_string(),
        retry_after: match error {
            ForgeError::Unavailable { retry_after, .. } => *retry_after,
            _ => None,
        },
        prevented: matches!(
            error,
            ForgeError::Denied { .. } | ForgeError::Refused { .. }
        ),
    }
}
