//! Carries out what is done on a forge: requests are opened, closed and disarmed. What the forge then shows
//! is known from its answer; where it gave none, it is looked at again.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Reconciler, Towed};
use crate::act::{Failure, Happened, Outcome};
use crate::event::EventKind;
use crate::forge::{Content, ForgeError, Opening};
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
        let done = match step {
            Step::Open(open) => {
                let opening = opening(towed, environment, open);
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
}

fn opening(towed: &Towed, environment: &Environment, open: &Open) -> Opening {
    let application = towed.pipeline.application.name.as_str();
    let from = open.instead_of.as_ref();
    let title = environment.request.title.render(|field| match field {
        "application" => application,
        "environment" => environment.name.as_str(),
        "release" => &open.release.name,
        _ => from.map_or("an unknown image", |from| &from.name),
    });
    let block = format!(
        "<!-- towpath:begin {}/{application} -->\n\n{title}\n\n<!-- towpath:end -->",
        environment.name
    );
    Opening {
        head: open.branch.clone(),
        commit: open.head,
        base: open.base.clone(),
        content: Content { title, block },
        policy: environment.request.clone(),
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
