//! Credentials by name: what is configured names a secret and never holds one.

use std::path::PathBuf;

/// Where a secret is found when it is needed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Credential {
    /// Whatever the tools of the field already use: the git credential helper, docker's
    /// configuration, the ssh agent.
    #[default]
    Default,
    /// An environment variable that holds a token or password.
    Environment {
        /// The variable's name.
        variable: String,
        /// The user name that goes with it.
        user: Option<String>,
    },
    /// A file that holds a token or password; read anew each time, so that it may be rotated.
    File {
        /// The file.
        path: PathBuf,
        /// The user name that goes with it.
        user: Option<String>,
    },
}

impl Credential {
    /// The same secret, with the user name that goes with it.
    pub fn of(self, user: Option<String>) -> Self {
        match self {
            Self::Default => Self::Default,
            Self::Environment { variable, .. } => Self::Environment { variable, user },
            Self::File { path, .. } => Self::File { path, user },
        }
    }

    /// The user name that goes with it.
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::Default => None,
            Self::Environment { user, .. } | Self::File { user, .. } => user.as_deref(),
        }
    }
}
