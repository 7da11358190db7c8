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
