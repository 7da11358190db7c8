//! Git object ids, as far as decisions need them.

use std::fmt;
use std::str::FromStr;

use crate::shown::given;

/// The id of a git commit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(pub gix::ObjectId);

/// A text that is not a commit id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a commit id: write all 40 hex digits")]
pub struct InvalidCommit(pub String);

impl CommitId {
    /// The first seven hex digits, for people.
    pub fn short(&self) -> String {
        self.0.to_hex_with_len(7).to_string()
    }
}

impl From<gix::ObjectId> for CommitId {
    fn from(id: gix::ObjectId) -> Self {
        Self(id)
    }
}

impl FromStr for CommitId {
    type Err = InvalidCommit;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        gix::ObjectId::from_hex(text.as_bytes())
            .map(Self)
            .map_err(|_| InvalidCommit(given(text)))
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
