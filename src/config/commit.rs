//! The key `commit` of `towpath.yaml`: how Towpath's commits are signed.

use serde_json::json;

use super::credential::{self, Described};
use super::form::{Text, Wrong};
use super::problem::quote;
use super::section::{Fields, Section};
use super::terms;
use crate::model::SigningKey;

/// How commits are made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommitSettings {
    /// What they are signed with; `None`: they are not.
    pub sign: Option<SigningKey>,
}

/// The form of `commit`.
pub(super) fn commit() -> Fields<CommitSettings> {
    Fields {
        sample: "{ sign: { ssh: { file: towpath-signing } } }",
        read: |section| {
            let sign = section.optional(
                "sign",
                "What the commits on branches are signed with. Left out: they are not signed.",
                Fields {
                    sample: "{ ssh: { file: towpath-signing } }",
                    read: sign,
                },
            );
            Some(CommitSettings {
                sign: sign.map(|sign| sign.value),
            })
        },
    }
}

fn sign(section: &mut Section<'_>) -> Option<SigningKey> {
    section.hint(
        "key",
        "secrets never stand in these files: name what holds the key, as in `ssh: { file: towpath-signing }`",
    );
    let ssh = section.optional(
        "ssh",
        "An SSH key in OpenSSH's form, without a passphrase; or the public key of one that the ssh agent has. `ssh-keygen` signs with it.",
        Fields {
            sample: "{ file: towpath-signing }",
            read: ssh,
        },
    );
    let gpg = section.optional(
        "gpg",
        "A key of a GnuPG keyring, whose passphrase its agent knows if it has one. `gpg` signs with it.",
        Fields {
            sample: "{ key: 0123456789ABCDEF }",
            read: gpg,
        },
    );
    section
        .exactly_one(&["ssh", "gpg"], "sign: { ssh: { file: towpath-signing } }")
        .then_some(())?;
    ssh.or(gpg).map(|key| key.value)
}

fn ssh(section: &mut Section<'_>) -> Option<SigningKey> {
    let described = Described {
        variable: "The environment variable that holds the key.",
        file: "The file that holds the key; read anew each time, so that it may be exchanged. A relative path starts at the configuration's folder.",
        sample: "ssh: { file: towpath-signing }",
    };
    credential::secret(section, &described).map(SigningKey::Ssh)
}

fn gpg(section: &mut Section<'_>) -> Option<SigningKey> {
    let key = section.required(
        "key",
        "The key's id or fingerprint, or a user id that it has.",
        key(),
    );
    let home = section.optional(
        "home",
        "The keyring's directory. Left out: as GNUPGHOME and the user's home say. A relative path starts at the configuration's folder.",
        terms::path(),
    );
    Some(SigningKey::Gpg {
        key: key?.value,
        home: home.map(|path| path.value),
    })
}

fn key() -> Text<String> {
    Text {
        wanted: "the name of a key",
        sample: "0123456789ABCDEF",
        parse: |text| {
            let is_option = text.starts_with('-') || text.chars().any(char::is_control);
            match text.is_empty() || is_option {
                true => Err(Wrong::new(
                    format!("{} is not the name of a key", quote(text)),
                    "write its id or fingerprint, as `gpg --list-secret-keys` shows it",
                )),
                false => Ok(text.to_owned()),
            }
        },
        schema: || json!({ "minLength": 1 }),
    }
}
