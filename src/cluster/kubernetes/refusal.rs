//! What the server's refusal of a write means.
//!
//! Owns telling the refusals apart that ask for different answers: another manifest, another look,
//! somebody's help in the cluster, or patience. Goes by codes, reasons and causes where the server
//! states them, and by its words only where it states nothing else. Values that a manifest holds are
//! cut out of what is shown: a pod template quoted in full may hold a password.

use std::borrow::Cow;
use std::time::Duration;

use kube::core::Status;
use kube::core::response::StatusCause;

use super::answer::asked_wait;
use crate::secret::words;

/// Why a write was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cluster::kubernetes) enum Refusal {
    /// The live object has another version than the one that was named, or exists already.
    Stale,
    /// The live object is another one than the one that was named, or there is none.
    Replaced,
    /// There is no such object.
    Missing,
    /// Fields that other managers hold would change.
    Held(Vec<Held>),
    /// Fields would change that cannot change while the object lives. Nothing else is wrong with it.
    Immutable(String),
    /// Its content is not valid.
    Invalid(String),
    /// It is refused for another reason that only another manifest mends.
    Refused(String),
    /// Somebody must change something in the cluster first.
    Prevented(String),
    /// Not now.
    Unavailable {
        /// What was seen.
        detail: String,
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
    },
}

/// A field that another manager holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cluster::kubernetes) struct Held {
    /// Who.
    pub(in crate::cluster::kubernetes) manager: String,
    /// Which, as a path.
    pub(in crate::cluster::kubernetes) field: String,
}

/// What a request was about, as far as a refusal names it.
#[derive(Debug, Clone, Copy)]
pub(in crate::cluster::kubernetes) struct About<'a> {
    /// The verb of the request.
    pub(in crate::cluster::kubernetes) verb: &'a str,
    /// The kind's name in addresses.
    pub(in crate::cluster::kubernetes) plural: &'a str,
    /// `deployments.apps`.
    pub(in crate::cluster::kubernetes) resource: &'a str,
    /// The object's namespace.
    pub(in crate::cluster::kubernetes) namespace: Option<&'a str>,
    /// The object's name.
    pub(in crate::cluster::kubernetes) name: &'a str,
    /// Whether its values may not be shown.
    pub(in crate::cluster::kubernetes) secret: bool,
}

/// What is shown of one message.
const WORDS: usize = 400;

/// How many causes are shown.
const CAUSES: usize = 4;

/// Tells what an answer means.
pub(in crate::cluster::kubernetes) fn judge(
    code: u16,
    status: &Status,
    about: About<'_>,
) -> Refusal {
    let said = status.message.as_str();
    if denied_by_admission(said) && code < 500 && code != 429 {
        return Refusal::Refused(denial(said, about.secret));
    }
    match code {
        400 => Refusal::Refused(short(said)),
        403 => forbidden(status, about),
        404 => missing(status, about),
        405 if said.contains("terminating") => Refusal::Prevented(short(said)),
        405 | 406 | 415 => Refusal::Refused(format!(
            "the cluster does not take server-side applies of `{}`: {}",
            about.resource,
            short(said)
        )),
        409 => conflict(status, about),
        413 => too_large(said),
        422 => invalid(status, about),
        500.. if is_too_large(said) => too_large(said),
        // Fields that the kind does not have, of a kind that is built in.
        500.. if said.contains("failed to create typed patch object") => {
            Refusal::Refused(short(&without_found(said, about.secret)))
        }
        _ => Refusal::Unavailable {
            detail: format!("{} ({code})", short(said)),
            retry_after: asked_wait(status),
        },
    }
}

/// A webhook or policy that judged and said no, whatever code it chose.
fn denied_by_admission(said: &str) -> bool {
    let webhook = said.starts_with("admission webhook ") && said.contains("denied the request");
    webhook || said.contains("ValidatingAdmissionPolicy") && said.contains("denied request")
}

/// Who denies and why. Whoever wrote the policy may quote what it found.
fn denial(said: &str, secret: bool) -> String {
    let denied = ["denied the request", "denied request"]
        .iter()
        .find_map(|words| {
            let at = said.find(words)?;
            Some(&said[..at + words.len()])
        });
    match denied.filter(|_| secret) {
        Some(denied) => format!(
            "{} (why is not shown: it may quote a secret)",
            short(denied)
        ),
        None => short(said),
    }
}

fn forbidden(status: &Status, about: About<'_>) -> Refusal {
    let said = status.message.as_str();
    let terminating = causes(status).any(|cause| cause.reason == "NamespaceTerminating");
    if terminating || said.contains("because it is being terminated") {
        let namespace = about.namespace.unwrap_or_default();
        return Refusal::Prevented(format!(
            "the namespace `{namespace}` is being deleted: wait until it is gone, or see what holds it back (`kubectl get namespace {namespace} -o yaml`)"
        ));
    }
    if said.contains("status unknown for quota") {
        return Refusal::Unavailable {
            detail: short(said),
            retry_after: None,
        };
    }
    if let Some(at) = said.find("exceeded quota") {
        return Refusal::Prevented(format!(
            "{}: raise the quota, or make room",
            short(&said[at..])
        ));
    }
    if said.contains("attempting to grant RBAC permissions not currently held") {
        return Refusal::Prevented(format!(
            "whoever grants rights must hold them, or have the verbs `escalate` and `bind`: {}",
            short(said)
        ));
    }
    match said
        .find(" cannot ")
        .filter(|_| said.contains(" resource \""))
    {
        Some(at) => Refusal::Prevented(right(&said[at + " cannot ".len()..], said, about)),
        None => Refusal::Refused(short(said)),
    }
}

/// The right that is missing: `patch resource "deployments" in API group "apps" in the namespace "x"`.
fn right(words: &str, said: &str, about: About<'_>) -> String {
    let verb = short(words.split_whitespace().next().unwrap_or(about.verb));
    let resource = quoted(words, "resource ").unwrap_or_else(|| about.plural.to_owned());
    let resource = match quoted(words, "API group ").filter(|group| !group.is_empty()) {
        Some(group) => format!("{resource}.{group}"),
        None => resource,
    };
    let place = match quoted(words, "in the namespace ") {
        Some(namespace) => format!("in namespace `{namespace}`"),
        None => "in a ClusterRole".to_owned(),
    };
    let user = quoted(said, "User ").unwrap_or_else(|| "this user".to_owned());
    format!("`{user}` lacks a right: grant the verb `{verb}` on `{resource}` {place}")
}

/// The quoted text behind a word.
fn quoted(text: &str, behind: &str) -> Option<String> {
    let rest = &text[text.find(behind)? + behind.len()..];
    let rest = rest.strip_prefix('"')?;
    Some(short(&rest[..rest.find('"')?]))
}

fn missing(status: &Status, about: About<'_>) -> Refusal {
    let details = status.details.as_ref();
    let named = details.map(|details| (details.kind.as_str(), details.name.as_str()));
    match named {
        Some((kind, name)) if kind == about.plural && name == about.name => Refusal::Missing,
        Some(("namespaces", name)) if Some(name) == about.namespace => Refusal::Prevented(format!(
            "the namespace `{name}` does not exist: create it, or add its manifest"
        )),
        Some((_, name)) if !name.is_empty() => Refusal::Prevented(short(&status.message)),
        _ => Refusal::Prevented(not_served(about.resource)),
    }
}

/// The words for a kind that the cluster does not know.
pub(in crate::cluster::kubernetes) fn not_served(kind: &str) -> String {
    format!("the cluster does not serve `{kind}`: its CRD is not installed")
}

fn conflict(status: &Status, about: About<'_>) -> Refusal {
    let held: Vec<Held> = causes(status)
        .filter(|cause| cause.reason == "FieldManagerConflict")
        .map(held)
        .collect();
    if !held.is_empty() {
        return Refusal::Held(held);
    }
    let said = status.message.as_str();
    let of_uid = [
        "uid mismatch",
        "UID in precondition",
        "UID in the precondition",
    ];
    if of_uid.iter().any(|words| said.contains(words)) {
        return Refusal::Replaced;
    }
    let details = status.details.as_ref();
    // A quota or an address that the server keeps books of while it admits our object.
    let of_another = details.is_some_and(|details| {
        !details.kind.is_empty() && details.kind != about.plural && details.name != about.name
    });
    match of_another {
        true => Refusal::Unavailable {
            detail: short(said),
            retry_after: None,
        },
        false => Refusal::Stale,
    }
}

/// `conflict with "hpa" with subresource "scale" using apps/v1`, and the field apart.
fn held(cause: &StatusCause) -> Held {
    let manager = quoted(&cause.message, "conflict with ");
    Held {
        manager: manager.unwrap_or_else(|| "another manager".to_owned()),
        field: short(&cause.field),
    }
}

fn invalid(status: &Status, about: About<'_>) -> Refusal {
    let causes: Vec<_> = causes(status).collect();
    // Not a field of ours: the id that an apply names, and another object has.
    if causes.iter().any(|cause| cause.field == "metadata.uid") {
        return Refusal::Replaced;
    }
    let said = match causes.is_empty() {
        true => short(&status.message),
        false => listed(&causes, about),
    };
    // Where anything else is wrong too, making the object anew would only lose it.
    match !causes.is_empty() && causes.iter().all(|cause| is_immutable(cause)) {
        true => Refusal::Immutable(said),
        false => Refusal::Invalid(said),
    }
}

/// Whether a cause says that a field cannot change while its object lives. The API has no reason
/// of its own for that: these are the words of Kubernetes' validation, and of CRDs' own rules.
fn is_immutable(cause: &StatusCause) -> bool {
    let of_value = matches!(
        cause.reason.as_str(),
        "FieldValueInvalid" | "FieldValueForbidden"
    );
    let words = cause
        .message
        .lines()
        .next()
        .unwrap_or_default()
        .to_lowercase();
    let says = [
        "is immutable",
        "immutable after creation",
        "may not change once set",
        "may not be changed in an update",
        "cannot change roleref",
        "updates may not change fields other than",
    ];
    let updates = words.contains("updates to ")
        && (words.contains(" are forbidden") || words.contains(" is forbidden"));
    of_value && (updates || says.iter().any(|word| words.contains(word)))
}

fn listed(causes: &[&StatusCause], about: About<'_>) -> String {
    let mut shown: Vec<String> = Vec::new();
    for cause in causes.iter().take(CAUSES) {
        // A second line shows how the values differ.
        let words = cause.message.lines().next().unwrap_or_default();
        let words = without_value(words, about.secret);
        shown.push(match cause.field.as_str() {
            "" => words,
            field => format!("{}: {words}", short(field)),
        });
    }
    if let Some(more) = causes.len().checked_sub(CAUSES).filter(|more| *more > 0) {
        shown.push(format!("and {more} more"));
    }
    shown.join("; ")
}

/// `Invalid value: <value>: <what is wrong>` without a value that is long or a secret.
fn without_value(message: &str, secret: bool) -> String {
    const LONG: usize = 120;
    let behind = "Invalid value: ";
    if !message.starts_with(behind) || !secret && message.len() <= LONG {
        return short(message);
    }
    let end = ["}: ", "]: ", "\": "].iter().filter_map(|mark| {
        let at = message.rfind(mark)?;
        Some(at + mark.len())
    });
    match end.max() {
        Some(end) => short(&message[end..]),
        None => "its value is not valid".to_owned(),
    }
}

/// `.data.port: expected string, got &value.valueUnstructured{Value:8080}`, a line for each field,
/// without what stands there where that is a secret.
fn without_found(said: &str, secret: bool) -> Cow<'_, str> {
    if !secret {
        return said.into();
    }
    let lines = said.lines().map(|line| match line.split_once(", got ") {
        Some((expected, _)) => format!("{expected}, and something else stands there"),
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n").into()
}

fn is_too_large(said: &str) -> bool {
    said.contains("request is too large") || said.contains("larger than max")
}

fn too_large(said: &str) -> Refusal {
    Refusal::Refused(format!(
        "it is too large for the cluster, which stores at most about 1.5 MiB an object: split it ({})",
        short(said)
    ))
}

fn causes(status: &Status) -> impl Iterator<Item = &StatusCause> {
    status.details.iter().flat_map(|details| &details.causes)
}

fn short(text: &str) -> String {
    words(text, WORDS)
}

#[cfg(test)]
mod tests;
