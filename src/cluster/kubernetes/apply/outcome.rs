//! What went wrong with the objects of an apply, as one error.
//!
//! Owns which of several is told: what only a person can mend before what passes by itself.

use std::cmp::Reverse;

use super::item::Item;
use super::recreate::permission;
use crate::cluster::ClusterError;
use crate::cluster::kubernetes::refusal::Refusal;
use crate::manifest::Place;
use crate::model::ObjectRef;

/// How many other objects with the same trouble are named.
const NAMED: usize = 3;

/// What went wrong, by object.
#[derive(Default)]
pub(super) struct Failures(Vec<(ObjectRef, Option<Place>, Refusal)>);

impl Failures {
    /// Adds what the server said of an object.
    pub(super) fn add(&mut self, item: &Item<'_>, refusal: Refusal) {
        let place = item.object.place.clone();
        self.0
            .push((item.object.reference.clone(), Some(place), refusal));
    }

    /// The one that is told, if there is any.
    pub(super) fn into_result(self, cluster: &str) -> Result<(), ClusterError> {
        let errors = self.0.into_iter();
        let errors =
            errors.map(|(object, place, refusal)| error(cluster, &object, place.as_ref(), refusal));
        worst(errors.collect())
    }
}

/// Tells the gravest of several errors, and of which objects the same is true.
pub(in crate::cluster::kubernetes) fn worst(
    mut errors: Vec<ClusterError>,
) -> Result<(), ClusterError> {
    errors.sort_by_key(|error| (Reverse(gravity(error)), object_of(error).cloned()));
    let mut errors = errors.into_iter();
    let Some(mut first) = errors.next() else {
        return Ok(());
    };
    let alike = errors.filter(|error| gravity(error) == gravity(&first));
    let others: Vec<_> = alike
        .filter_map(|error| object_of(&error).map(ToString::to_string))
        .collect();
    if let ClusterError::Refused { reason, .. } | ClusterError::Prevented { reason, .. } =
        &mut first
        && !others.is_empty()
    {
        let more = match others.len().checked_sub(NAMED) {
            None | Some(0) => String::new(),
            Some(more) => format!(" and {more} more"),
        };
        let named = &others[..others.len().min(NAMED)];
        reason.push_str(&format!(" (the same way: {}{more})", named.join(", ")));
    }
    Err(first)
}

fn gravity(error: &ClusterError) -> u8 {
    match error {
        ClusterError::Refused { .. } => 4,
        ClusterError::Prevented { .. } => 3,
        ClusterError::Unsupported(_) => 2,
        ClusterError::Unavailable { .. } => 1,
        ClusterError::Changed { .. } => 0,
    }
}

fn object_of(error: &ClusterError) -> Option<&ObjectRef> {
    match error {
        ClusterError::Refused { object, .. }
        | ClusterError::Prevented { object, .. }
        | ClusterError::Changed { object } => Some(object),
        ClusterError::Unavailable { .. } | ClusterError::Unsupported(_) => None,
    }
}

/// What a refusal is to whoever planned the apply.
pub(in crate::cluster::kubernetes) fn error(
    cluster: &str,
    object: &ObjectRef,
    place: Option<&Place>,
    refusal: Refusal,
) -> ClusterError {
    let object = object.clone();
    let at = place.map_or_else(String::new, |place| format!(" ({place})"));
    match refusal {
        Refusal::Stale | Refusal::Replaced | Refusal::Missing | Refusal::Held(_) => {
            ClusterError::Changed { object }
        }
        Refusal::Immutable(said) => ClusterError::Refused {
            reason: format!(
                "{said}{at}: it cannot change while the object lives; to have the object deleted and made anew, annotate it {}",
                permission(&object)
            ),
            object,
        },
        Refusal::Invalid(said) | Refusal::Refused(said) => ClusterError::Refused {
            object,
            reason: format!("{said}{at}"),
        },
        Refusal::Prevented(reason) => ClusterError::Prevented { object, reason },
        Refusal::Unavailable {
            detail,
            retry_after,
        } => ClusterError::Unavailable {
            cluster: cluster.to_owned(),
            detail: format!("{object}: {detail}"),
            retry_after,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Identity;

    fn object(name: &str) -> ObjectRef {
        ObjectRef::from(Identity {
            group: String::new(),
            kind: "ConfigMap".to_owned(),
            namespace: Some("shop".to_owned()),
            name: name.to_owned(),
        })
    }

    #[test]
    fn what_a_person_must_mend_is_told_first() {
        let place = Place {
            file: "kubernetes/a.yaml".into(),
            line: 7,
            column: 1,
        };
        let unavailable = || Refusal::Unavailable {
            detail: "silent".to_owned(),
            retry_after: None,
        };
        let refused = || Refusal::Refused("no".to_owned());
        let prevented = || Refusal::Prevented("not here".to_owned());
        for (refusals, expected) in [
            (vec![], None),
            (
                vec![unavailable()],
                Some("the cluster does not answer: ConfigMap shop/a: silent"),
            ),
            (
                vec![Refusal::Stale, unavailable()],
                Some("the cluster does not answer: ConfigMap shop/b: silent"),
            ),
            (
                vec![Refusal::Stale],
                Some("ConfigMap shop/a changed since it was looked at"),
            ),
            (
                vec![prevented(), refused(), unavailable()],
                Some("ConfigMap shop/b is refused: no (kubernetes/a.yaml:7)"),
            ),
            (
                vec![refused(), refused(), refused(), refused(), refused()],
                Some(
                    "ConfigMap shop/a is refused: no (kubernetes/a.yaml:7) (the same way: ConfigMap shop/b, ConfigMap shop/c, ConfigMap shop/d and 1 more)",
                ),
            ),
            (
                vec![prevented(), prevented()],
                Some(
                    "ConfigMap shop/a cannot be applied now: not here (the same way: ConfigMap shop/b)",
                ),
            ),
        ] {
            let named = refusals.into_iter().zip(["a", "b", "c", "d", "e"]).rev();
            let errors = named
                .map(|(refusal, name)| error("the cluster", &object(name), Some(&place), refusal));
            let told = worst(errors.collect()).err().map(|error| error.to_string());
            assert_eq!(told.as_deref(), expected);
        }
    }
}
