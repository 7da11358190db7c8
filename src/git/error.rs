//! What can go wrong between Towpath and a git repository.
//!
//! Owns the one error enum of the git layer and the cleaning of texts that come from outside. Never
//! holds a secret, and never an unbounded or unescaped text of a server.

use std::path::PathBuf;
use std::time::Duration;

use gix::ObjectId;

use crate::{secret, shown};

/// The longest text of a server that is kept for an error, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 4096;

/// Why a git operation did not succeed. Texts of servers are cut and escaped before they get here.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// No connection, a connection that was cut, or TLS that failed.
    #[error("{url} cannot be reached: {detail}")]
    Network {
        /// The repository.
        url: String,
        /// What the network said, innermost cause included.
        detail: String,
    },
    /// Nothing came for the whole idle timeout.
    #[error("{url} sent nothing for {} s: the server stalls or the network drops packets", idle.as_secs_f32())]
    Stalled {
        /// The repository.
        url: String,
        /// The idle timeout.
        idle: Duration,
    },
    /// The server answered with a status that says "not now" (429, 5xx) or one git does not know.
    #[error("{url} answered {status}{}", told(message))]
    Status {
        /// The repository.
        url: String,
        /// The HTTP status.
        status: u16,
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
        /// The beginning of the answer's text.
        message: String,
    },
    /// The server wants a credential, or refuses the one it got.
    #[error(
        "{url} refuses {credential}: check that it exists and may read and push there{}",
        told(message)
    )]
    Unauthorized {
        /// The repository.
        url: String,
        /// Which credential was used, by its origin and never its value.
        credential: String,
        /// The beginning of the answer's text.
        message: String,
    },
    /// The credential named in the configuration cannot be had.
    #[error("the credential for {url} cannot be read: {detail}")]
    Credential {
        /// The repository.
        url: String,
        /// Which credential and why.
        detail: String,
    },
    /// The credential is known but may not do this (403).
    #[error("{url} does not allow this{}", told(message))]
    Forbidden {
        /// The repository.
        url: String,
        /// The beginning of the answer's text.
        message: String,
    },
    /// There is no repository there, or the credential may not see it.
    #[error(
        "there is no git repository at {url}, or the credential may not see it{}",
        told(message)
    )]
    NotFound {
        /// The repository.
        url: String,
        /// What the server said.
        message: String,
    },
    /// The server wants us to go to another host.
    #[error("{url} redirects to {to}, another host: write that address if it is the right one")]
    Redirected {
        /// The repository.
        url: String,
        /// Where it points.
        to: String,
    },
    /// Something answers there, but not a git server that speaks the smart protocol.
    #[error(
        "{url} does not speak git's smart HTTP protocol ({detail}): give the address of a repository on a git server"
    )]
    NotSmart {
        /// The repository.
        url: String,
        /// What was seen instead.
        detail: String,
    },
    /// The repository's ids are SHA-256.
    #[error("{url} is a repository with {format} object ids: only sha1 repositories are supported")]
    ObjectFormat {
        /// The repository.
        url: String,
        /// The object format that the server names.
        format: String,
    },
    /// The server broke the protocol, or a limit.
    #[error("{url} broke the git protocol: {detail}")]
    Protocol {
        /// The repository.
        url: String,
        /// What was malformed.
        detail: String,
    },
    /// The server ended the conversation with a message of its own.
    #[error("{url} says: {message}")]
    Server {
        /// The repository.
        url: String,
        /// Its words.
        message: String,
    },
    /// `git` or `ssh` did not start or ended badly.
    #[error("`{program}` for {url} failed: {detail}")]
    Program {
        /// The program.
        program: String,
        /// The repository.
        url: String,
        /// Its exit and the last it wrote on standard error.
        detail: String,
    },
    /// The server cannot move several refs as one; nothing was sent.
    #[error("{url} has no atomic push")]
    NotAtomic {
        /// The repository.
        url: String,
    },
    /// An object is not in the mirror (any more): fetch, then ask again.
    #[error("object {id} of {url} is not in the mirror yet")]
    Missing {
        /// The repository.
        url: String,
        /// The object.
        id: ObjectId,
    },
    /// An object is not what it should be.
    #[error("object {id}: {detail}")]
    Object {
        /// The object.
        id: ObjectId,
        /// What is wrong with it.
        detail: String,
    },
    /// A path that cannot stand in a tree.
    #[error("`{path}` is not a path in a repository: {detail}")]
    Path {
        /// The path.
        path: String,
        /// Why not.
        detail: &'static str,
    },
    /// A push that cannot be right: nothing was sent.
    #[error("the push is malformed: {0}")]
    Malformed(String),
    /// A commit or a tag cannot be signed; it was not made.
    #[error("nothing can be signed with {key}: {detail}")]
    Signing {
        /// What people call the key.
        key: String,
        /// What is the matter.
        detail: String,
    },
    /// Whoever makes commits in our place did not make this one, or not as it was to be.
    #[error("the commit was not made: {why}")]
    NotMade {
        /// Who said what.
        why: String,
        /// How long to wait is asked for.
        retry_after: Option<Duration>,
    },
    /// The mirror's directory cannot be written (full, read-only, gone).
    #[error("the mirror in {} cannot be written: {source}; free space there or choose another cache directory", directory.display())]
    Disk {
        /// The mirror's directory.
        directory: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
}

impl GitError {
    /// Whether waiting and trying again may help by itself.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Network { .. } | Self::Stalled { .. } | Self::Missing { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
            // A server's own words are not read for their meaning: what it misses may come, such as a
            // commit that a rewritten branch no longer leads to, after the next look.
            Self::Disk { .. }
            | Self::Program { .. }
            | Self::Server { .. }
            | Self::Signing { .. }
            | Self::NotMade { .. } => true,
            _ => false,
        }
    }

    /// How long the server asked to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } | Self::NotMade { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether a push that ended like this may nevertheless have moved refs.
    pub(crate) fn may_have_landed(&self) -> bool {
        match self {
            Self::Network { .. }
            | Self::Stalled { .. }
            | Self::Protocol { .. }
            | Self::Server { .. }
            | Self::Program { .. } => true,
            Self::Status { status, .. } => *status >= 500 || *status == 408,
            _ => false,
        }
    }
}

/// `: message`, or nothing for an empty message.
fn told(message: &str) -> String {
    match message.trim() {
        "" => String::new(),
        message => format!(": {message}"),
    }
}

/// A text of a server made fit for a terminal and a log: at most [`MESSAGE_BYTES_MAX`] bytes, lines
/// kept, every other control character escaped, invalid UTF-8 replaced.
pub fn printable(bytes: &[u8]) -> String {
    let cut = bytes.len() > MESSAGE_BYTES_MAX;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MESSAGE_BYTES_MAX)]);
    let mut clean = shown::on_lines(&secret::without(&text));
    if cut {
        clean.push('…');
    }
    clean
}

/// An error with its causes in one line; `reqwest` and `hyper` keep the telling one innermost.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    printable(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_servers_cannot_drive_a_terminal() {
        for (raw, clean) in [
            (&b"plain\nlines\n"[..], "plain\nlines".to_owned()),
            (b"\x1b[2Jgone\r\n", "\\u{1b}[2Jgone".to_owned()),
            (b"a\xffb\x07", "a\u{fffd}b\\u{7}".to_owned()),
            (&[b'x'; 5000], "x".repeat(MESSAGE_BYTES_MAX) + "…"),
            ("\u{202e}txt".as_bytes(), "\\u{202e}txt".to_owned()),
        ] {
            assert_eq!(printable(raw), clean);
        }
    }
}
