//! What senders say, each in its own form, as the few things that Towpath can look at again.
//!
//! Reads text that was signed and is not believed all the same: every field may be missing, of another
//! type, or a lie. Keeps no more of it than names, and of lists no more than so many. Knows nothing of
//! what is configured.

mod capped;
mod generic;
mod gitea;
mod github;
mod registries;

use crate::model::{CommitId, Digest, ImageReference, ImageRepository, Sender};

use capped::Capped;

/// What a delivery says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    /// The kind of event, of the few that are told apart.
    pub(super) event: &'static str,
    /// What may have changed by it. Empty: nothing that is looked at.
    pub(super) changes: Vec<Change>,
}

/// One thing that may have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing: the sender says that it is there. Any of these is the repository's address.
    Nothing(Vec<String>),
    /// Refs of a git repository; which, where that is told.
    Git(Vec<String>, Option<Moved>),
    /// Requests of a git repository, their reviews and checks.
    Requests(Vec<String>),
    /// What was reported of a commit of a git repository, under this name.
    Check(Vec<String>, String),
    /// Tags of an image repository; which, where that is told.
    Image(ImageRepository, Option<(String, Option<Digest>)>),
}

/// A ref that was moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moved {
    /// Its full name.
    pub(super) reference: String,
    /// What it holds now; `None`: it is gone.
    pub(super) after: Option<CommitId>,
}

/// A body that is not what its sender sends.
#[derive(Debug, thiserror::Error)]
pub(super) enum Malformed {
    /// The header that names the event is missing.
    #[error("the header that names the event is missing: is this `{0}`?")]
    Event(Sender),
    /// It is no JSON, or of another form.
    // What serde says may repeat the text: a place is enough.
    #[error("the body is not JSON as `{sender}` sends it (line {line}, column {column})")]
    Json {
        /// Who should have sent it.
        sender: Sender,
        /// Where.
        line: usize,
        /// Where.
        column: usize,
    },
}

/// Reads a delivery. `event` is the header that names the kind, for senders that have one.
///
/// # Errors
/// Where the body is not what this sender sends.
pub(super) fn read(sender: Sender, event: Option<&str>, body: &[u8]) -> Result<Said, Malformed> {
    let named = || event.ok_or(Malformed::Event(sender));
    let said = match sender {
        Sender::GitHub => github::read(named()?, body),
        Sender::Gitea => gitea::read(named()?, body),
        Sender::Registry => registries::distribution(body),
        Sender::Harbor => registries::harbor(body),
        Sender::DockerHub => registries::docker_hub(body),
        Sender::Quay => registries::quay(body),
        Sender::Generic => generic::read(body),
    };
    said.map_err(|error| Malformed::Json {
        sender,
        line: error.line(),
        column: error.column(),
    })
}

/// A repository's addresses, of which forges tell several.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Repository {
    clone_url: Option<String>,
    ssh_url: Option<String>,
    html_url: Option<String>,
    git_url: Option<String>,
}

impl Repository {
    fn addresses(self) -> Vec<String> {
        let all = [self.clone_url, self.ssh_url, self.html_url, self.git_url];
        all.into_iter().flatten().collect()
    }
}

/// An image as `host/path[:tag][@digest]`, written as people and servers do: in capitals, or with nothing
/// behind the colon.
fn image(text: &str) -> Option<Change> {
    let (repository, tag, digest) = ImageReference::split(text);
    let repository = repository.to_lowercase().parse().ok()?;
    let digest = digest.and_then(|digest| digest.parse().ok());
    let tag = tag.filter(|tag| !tag.is_empty());
    Some(Change::Image(
        repository,
        tag.map(|tag| (tag.to_owned(), digest)),
    ))
}

/// The full name of a ref and what it holds, as pushes tell it: zeros for nothing.
fn moved(reference: Option<String>, after: Option<&str>) -> Option<Moved> {
    let after: CommitId = after?.parse().ok()?;
    Some(Moved {
        reference: reference?,
        after: (!after.0.is_null()).then_some(after),
    })
}

#[cfg(test)]
mod tests;
