//! Namespaces: active, or going away.

use super::seen::Seen;
use crate::model::Health;

pub(super) fn health(seen: &Seen<'_>) -> Health {
    match seen.text("/status/phase") {
        Some("Active") => Health::Current,
        Some("Terminating") => seen.in_progress("is being deleted"),
        _ => seen.in_progress("not active yet"),
    }
}

/// What still stands in a namespace that is being deleted.
pub(super) fn remains(seen: &Seen<'_>) -> Option<String> {
    if (seen.group(), seen.kind()) != ("", "Namespace") {
        return None;
    }
    // What cannot be deleted says more than what is not deleted yet.
    let kinds = [
        "NamespaceDeletionDiscoveryFailure",
        "NamespaceDeletionContentFailure",
        "NamespaceFinalizersRemaining",
        "NamespaceContentRemaining",
    ];
    let mut told = kinds.into_iter().filter_map(|kind| seen.condition(kind));
    told.find(|condition| condition.is("True"))
        .map(|condition| condition.message())
}
