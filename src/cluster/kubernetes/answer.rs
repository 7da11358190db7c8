//! What a server's refusal means for whoever asked.

use std::time::Duration;

use kube::core::Status;

use super::connect::Trouble;
use crate::cluster::ClusterError;
use crate::http;
use crate::secret::words;

/// What is shown of what a server said, in bytes.
const WORDS: usize = 1000;

/// What was asked, as a role would grant it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The verb: `list`, `watch`, `get`, `patch`, `delete`.
    pub verb: &'static str,
    /// The resource with its group: `deployments.apps`, `services`.
    pub resource: String,
    /// The namespace; `None`: all of them, or the resource lives in none.
    pub namespace: Option<String>,
}

/// What the API itself answered, if it did.
pub fn status(error: &kube::Error) -> Option<&Status> {
    match error {
        kube::Error::Api(status) => Some(status),
        _ => None,
    }
}

/// Whether the API answered this code.
pub fn is(error: &kube::Error, code: u16) -> bool {
    status(error).is_some_and(|status| status.code == code)
}

/// Why there was no answer of the API, if the connection is to blame.
pub fn trouble(error: &kube::Error) -> Option<&Trouble> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(trouble) = error.downcast_ref() {
            return Some(trouble);
        }
        cause = error.source();
    }
    None
}

/// How long the server asks to wait.
pub fn retry_after(error: &kube::Error) -> Option<Duration> {
    match trouble(error) {
        Some(Trouble::Busy { retry_after, .. }) => *retry_after,
        Some(_) => None,
        None => asked_wait(status(error)?),
    }
}

/// How long a refusal asks to wait.
pub(super) fn asked_wait(status: &Status) -> Option<Duration> {
    let seconds = status.details.as_ref()?.retry_after_seconds;
    (seconds > 0).then(|| http::bounded_wait(Duration::from_secs(seconds.into())))
}

/// The error for a cluster that cannot be read or written now.
pub fn unavailable(cluster: &str, asked: &Asked, error: &kube::Error) -> ClusterError {
    ClusterError::Unavailable {
        cluster: cluster.to_owned(),
        detail: detail(asked, error),
        retry_after: retry_after(error),
    }
}

/// What was asked, what came of it, and who can help.
pub fn detail(asked: &Asked, error: &kube::Error) -> String {
    let what = match &asked.namespace {
        Some(namespace) => format!("{} {} in namespace {namespace}", asked.verb, asked.resource),
        None => format!("{} {}", asked.verb, asked.resource),
    };
    match status(error) {
        Some(status) if status.code == 403 => format!(
            "it does not let us {what}: grant the verb `{}` on `{}`{} ({})",
            asked.verb,
            asked.resource,
            match &asked.namespace {
                Some(namespace) => format!(" in namespace `{namespace}`"),
                None => " in a ClusterRole".to_owned(),
            },
            words(&status.message, WORDS),
        ),
        Some(status) => {
            let said = words(&status.message, WORDS);
            format!("{what}: {said} ({})", status.code)
        }
        None => match trouble(error) {
            Some(trouble) => format!("{what}: {trouble}"),
            None => format!("{what}: {}", words(&chain(error), WORDS)),
        },
    }
}

/// An error with its causes, each said once.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}
