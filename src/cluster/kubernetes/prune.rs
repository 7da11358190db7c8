//! Deleting what is ours and no longer asked for.
//!
//! Owns that only the very object goes which was listed, while it still carries the mark of the unit and nothing on
//! it says that it is to be kept.
//! What to delete was decided before. What the server does not let go is still there next round.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize as _;

use super::apply::{self, Hand, Seen, each, place, worst};
use super::marks::{APPLICATION, ENVIRONMENT, is_kept};
use super::refusal::Refusal;
use super::request::{Deletion, Target, View};
use crate::cluster::{ClusterError, UnitScope};
use crate::plan::Prune;

/// How often an object is followed whose status moves faster than it is looked at.
const TRIES: usize = 4;

/// Deletes, in the reverse of the order in which is applied. What one object meets keeps no other from
/// being deleted.
pub(super) async fn prune(hand: &Hand<'_>, prunes: &[Prune]) -> Result<(), ClusterError> {
    let mut errors = Vec::new();
    for stage in apply::STAGES.into_iter().rev() {
        let mut due: Vec<_> = prunes
            .iter()
            .filter(|it| place(&it.reference).0 == stage)
            .collect();
        due.sort_by_key(|prune| std::cmp::Reverse(place(&prune.reference).1));
        let done = each(due.into_iter(), |prune| async move {
            (prune, delete(hand, prune).await)
        });
        for (prune, done) in done.await {
            if let Err(refusal) = done {
                let refusal = staying(refusal);
                errors.push(apply::error(
                    hand.context.cluster,
                    &prune.reference,
                    None,
                    refusal,
                ));
            }
        }
    }
    worst(errors)
}

/// No manifest can help where an object is not let go.
fn staying(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Refused(said) | Refusal::Invalid(said) | Refusal::Immutable(said) => {
            Refusal::Prevented(format!(
                "it is no longer asked for and cannot be deleted: {said}"
            ))
        }
        refusal => refusal,
    }
}

async fn delete(hand: &Hand<'_>, prune: &Prune) -> Result<(), Refusal> {
    // A kind that is not served any more went with its objects.
    let Some(kind) = hand.kind(&prune.reference).await? else {
        return Ok(());
    };
    let mut reference = prune.reference.clone();
    reference.namespace.take_if(|_| !kind.namespaced);
    let target = Target::new(&kind, None, &reference);
    // It may have been marked anew since the plan, or somebody said that it is to be kept.
    let seen = hand.context.sight.seen(&reference);
    let seen = seen.filter(|seen| seen.uid == prune.uid && may_go(seen, hand.scope));
    let mut version = seen.map(|seen| seen.version);
    for _ in 0..TRIES {
        if version.is_none() {
            version = match while_it_may_go(hand, &target, prune).await? {
                Some(version) => Some(version),
                None => return Ok(()),
            };
        }
        let deletion = Deletion {
            uid: &prune.uid,
            version: version.as_deref(),
            propagation: "Background",
        };
        match hand.sender.delete(&target, deletion).await {
            Ok(true) => {
                hand.context.sight.deleted(&reference, &prune.uid);
                return Ok(());
            }
            Ok(false) => return Ok(()),
            // It moved: whether it may still go is seen anew.
            Err(Refusal::Stale) => version = None,
            Err(refusal) => return Err(refusal),
        }
    }
    Err(Refusal::Stale)
}

/// The version of the object in which it may be deleted; `None`: it is gone.
async fn while_it_may_go(
    hand: &Hand<'_>,
    target: &Target,
    prune: &Prune,
) -> Result<Option<String>, Refusal> {
    let Some(found) = hand.sender.get(target, View::Metadata).await? else {
        return Ok(None);
    };
    let metadata = ObjectMeta::deserialize(&found["metadata"]).unwrap_or_default();
    if metadata.uid.as_deref() != Some(&prune.uid) {
        return Err(Refusal::Replaced);
    }
    match is_of(&metadata, hand.scope) && !is_kept(&metadata) {
        true => Ok(metadata.resource_version),
        false => Err(Refusal::Stale),
    }
}

fn may_go(seen: &Seen, scope: &UnitScope) -> bool {
    let is_ours = seen.mark.as_ref().is_some_and(|mark| {
        mark.application == scope.application && mark.environment == scope.environment
    });
    is_ours && !seen.kept
}

fn is_of(metadata: &ObjectMeta, scope: &UnitScope) -> bool {
    let label = |name| metadata.labels.as_ref()?.get(name).map(String::as_str);
    label(APPLICATION) == Some(scope.application.as_str())
        && label(ENVIRONMENT) == Some(scope.environment.as_str())
}
