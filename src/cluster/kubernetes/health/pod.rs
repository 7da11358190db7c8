//! Pods that nobody controls: done when ready, or when they have succeeded.

use super::seen::Seen;
use super::trouble::PodTrouble;
use super::workload;
use crate::model::Health;

pub(super) fn health(seen: &Seen<'_>) -> Health {
    let Some(mut trouble) = PodTrouble::of(seen.object) else {
        return Health::Current;
    };
    trouble.warning = seen.evidence.pods.iter().find_map(|it| it.warning.clone());
    let why = trouble.why();
    if seen.text("/status/phase") == Some("Failed") || workload::is_over(seen, &trouble) {
        seen.failed(why.as_deref().unwrap_or("it failed"))
    } else {
        seen.in_progress(why.as_deref().unwrap_or("not ready"))
    }
}
