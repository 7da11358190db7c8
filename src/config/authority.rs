//! The key `authority` of an environment: whose records let what move there.

use serde_json::json;

use super::form::{At, Text, Words, Wrong, text};
use super::list::{List, any_list, list};
use super::problem::quote;
use super::section::{Fields, Section};
use crate::model::{Authorised, Authority, PublicKey, Right};

/// What a person is let do where nothing else is said.
const PERSON: &str = "[approve, resume, roll-back, promote]";

/// The form of `authority`: a list of keys.
pub(super) fn authority() -> List<Fields<Authorised>> {
    list(Fields {
        sample: "{ who: ann@example.com, key: ssh-ed25519 AAAA… }",
        read: authorised,
    })
}

/// The keys as one value.
pub(super) fn resolved(keys: &[At<Authorised>]) -> Authority {
    Authority {
        keys: keys.iter().map(|at| at.value.clone()).collect(),
    }
}

fn authorised(section: &mut Section<'_>) -> Option<Authorised> {
    let who = section.required(
        "who",
        "Whose key it is: the git identity (`user.email`) of a person, whose own statements alone are signed with it; any name for Towpath's own.",
        text("a git identity", "ann@example.com"),
    );
    let key = section.required(
        "key",
        "The public key, as its `.pub` file has it: `ssh-ed25519`, `sk-ssh-ed25519@openssh.com` or `ssh-rsa`.",
        public_key(),
    );
    let may = section.or(
        "may",
        "What counts when it is signed with this key. `approve`: the yes to deletions and adoptions; `resume`: the end of a hold or a pin, and trying again; `roll-back`: going back; `promote`: choosing what goes on; `evidence`: what was found out about images; `override`: to promote, and to be one of the two people whom `promote --unproven` takes wherever a key may do this; `record`: everything, which Towpath's own key needs.",
        any_list(Words(&[
            ("record", Right::Record),
            ("approve", Right::Approve),
            ("resume", Right::Resume),
            ("roll-back", Right::RollBack),
            ("promote", Right::Promote),
            ("evidence", Right::Evidence),
            ("override", Right::Override),
        ])),
        PERSON,
    );
    Some(Authorised {
        who: who?.value,
        key: key?.value,
        may: may?.value.into_iter().map(|at| at.value).collect(),
    })
}

fn public_key() -> Text<PublicKey> {
    Text {
        wanted: "a public key",
        sample: "ssh-ed25519 AAAA…",
        parse: |text| {
            text.parse().map_err(|error| {
                Wrong::new(
                    format!(
                        "{} is not a public key that can be used here: {error}",
                        quote(text)
                    ),
                    "write what stands in the key's `.pub` file; `ssh-keygen -t ed25519` makes one",
                )
            })
        },
        schema: || json!({ "pattern": "^(ssh-ed25519|sk-ssh-ed25519@openssh\\.com|ssh-rsa) " }),
    }
}
