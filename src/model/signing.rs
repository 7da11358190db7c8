//! What commits are signed with.

use std::path::PathBuf;

use super::Credential;

/// A key that commits are signed with, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SigningKey {
    /// An SSH key in OpenSSH's form. A public one stands for the private one that the ssh agent has.
    Ssh(Credential),
    /// A key of a GnuPG keyring.
    Gpg {
        /// Its id, its fingerprint, or a user id.
        key: String,
        /// The keyring's directory; `None`: as GNUPGHOME and the user's home say.
        home: Option<PathBuf>,
    },
}
