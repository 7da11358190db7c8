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
    let why = trouble.why().unwrap_or_else(|| "not ready".to_owned());
    if seen.text("/status/phase") == Some("Failed") || workload::is_over(seen, &trouble) {
        seen.failed(why)
    } else {
        seen.in_progress(why)
    }
}
