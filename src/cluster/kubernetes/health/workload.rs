//! What is the same for everything that makes pods and is not done yet: what fails it at once, and
//! which reason people are told.

use super::PATIENCE;
use super::evidence::Warning;
use super::seen::Seen;
use super::trouble::{Gravity, PodTrouble};
use crate::model::Health;

/// A workload whose status says that it is not done: how far it is (`3/5 ready`), and why it cannot
/// make pods, if it cannot.
pub(super) fn unfinished(seen: &Seen<'_>, progress: &str, refusal: Option<&Warning>) -> Health {
    verdict(seen, progress, refusal, |_| true)
}

/// As [`unfinished`], for what counts the crashes of its pods itself.
pub(super) fn unfinished_job(seen: &Seen<'_>, progress: &str, refusal: Option<&Warning>) -> Health {
    verdict(seen, progress, refusal, |pod| !pod.is_crashing())
}

fn verdict(
    seen: &Seen<'_>,
    progress: &str,
    refusal: Option<&Warning>,
    counts: impl Fn(&PodTrouble) -> bool,
) -> Health {
    let mut pods = seen.evidence.pods.iter();
    if let Some(pod) = pods.find(|pod| counts(pod) && is_over(seen, pod)) {
        return seen.failed(pod.told().unwrap_or_default());
    }
    if let Some(refused) = refusal.and_then(|refusal| refused(seen, refusal)) {
        return refused;
    }
    match refusal.map(cannot_make).or_else(|| reason(seen)) {
        Some(reason) => seen.in_progress(format!("{progress}; {reason}")),
        None => seen.in_progress(progress),
    }
}

/// What people are told of a workload's pods: of the gravest troubles the oldest.
pub(super) fn reason(seen: &Seen<'_>) -> Option<String> {
    let pods = seen.evidence.pods.iter();
    let warning = || Some(seen.evidence.warning.as_ref()?.told());
    pods.filter_map(PodTrouble::told).next().or_else(warning)
}

/// Whether a pod's trouble does not pass by itself, or has not for long enough.
pub(super) fn is_over(seen: &Seen<'_>, pod: &PodTrouble) -> bool {
    match pod.gravity() {
        Gravity::Final => true,
        Gravity::Patient => pod
            .since
            .is_some_and(|since| seen.moment.has_passed(since, PATIENCE)),
        Gravity::Passing => false,
    }
}

/// Failed, if a refusal to make pods does not pass by itself, or has not for long enough.
pub(super) fn refused(seen: &Seen<'_>, refusal: &Warning) -> Option<Health> {
    let is_over = match gravity(&refusal.message) {
        Gravity::Final => true,
        Gravity::Patient => seen.moment.has_passed(refusal.first, PATIENCE),
        Gravity::Passing => false,
    };
    is_over.then(|| seen.failed(cannot_make(refusal)))
}

fn cannot_make(refusal: &Warning) -> String {
    format!("cannot make pods: {}", refusal.told())
}

/// What a refusal to make a pod means, from the API server's own words and those of its admission
/// plugins. There is no code for it: all of them are 403, or 500.
fn gravity(message: &str) -> Gravity {
    let message = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if says(&[
        "denied the request",
        "denied request",
        "violates podsecurity",
    ]) {
        return Gravity::Final;
    }
    // The server or a webhook is not there: this says nothing about the pod.
    if says(&[
        "failed calling webhook",
        "timeout",
        "timed out",
        "deadline exceeded",
        "connection refused",
        "internal error",
        "etcdserver",
        "currently unable",
        "too many requests",
    ]) {
        return Gravity::Passing;
    }
    // Others make room, or make what is missing.
    if says(&[
        "exceeded quota",
        "service account",
        "serviceaccount",
        "priorityclass",
        "being terminated",
        "not yet ready to handle request",
    ]) {
        return Gravity::Patient;
    }
    if says(&["is forbidden", "is invalid"]) {
        return Gravity::Final;
    }
    Gravity::Patient
}
