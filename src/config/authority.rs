//! The key `authority` of an environment: whose records let what move there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::form::{At, Text, Words, Wrong, text};
use super::list::{List, any_list, list};
use super::problem::quote;
use super::section::{Fields, Section};
use super::teams::{Teams, team};
use crate::model::{Authorised, Authority, PublicKey, Right, TeamName};

/// What a person is let do where nothing else is said.
const PERSON: &str = "[approve, resume, roll-back, promote]";

/// An entry of `authority`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Granted {
    pub(super) to: Grantee,
    pub(super) may: BTreeSet<Right>,
}

/// Who is let do something.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Grantee {
    /// Whoever signs with this key, called so.
    Key { who: String, key: PublicKey },
    /// Everybody in a team.
    Team(TeamName),
}

/// The form of `authority`: a list of keys and teams.
pub(super) fn authority() -> List<Fields<Granted>> {
    list(Fields {
        sample: "{ who: ann@example.com, key: ssh-ed25519 AAAA… }",
        read: granted,
    })
}

/// The keys as one value, those of a team's people among them. A key that is listed several times may what any of
/// these lets it, and all that its owner is called there is one person.
pub(super) fn resolved(entries: &[At<Granted>], teams: &Teams) -> Authority {
    let mut keys: Vec<Authorised> = Vec::new();
    let mut known = BTreeMap::new();
    let mut add = |who: &str, also: &[String], key: &PublicKey, may: &BTreeSet<Right>| {
        let index = *known.entry(key.to_line()).or_insert_with(|| {
            keys.push(Authorised {
                who: who.to_owned(),
                also: BTreeSet::new(),
                key: key.clone(),
                may: BTreeSet::new(),
            });
            keys.len() - 1
        });
        if let Some(entry) = keys.get_mut(index) {
            let names = also.iter().map(String::as_str).chain([who]);
            let others = names.filter(|it| *it != entry.who).map(str::to_owned);
            entry.also.extend(others.collect::<Vec<_>>());
            entry.may.extend(may);
        }
    };
    let mut named = BTreeSet::new();
    for Granted { to, may } in entries.iter().map(|at| &at.value) {
        match to {
            Grantee::Key { who, key } => add(who, &[], key, may),
            Grantee::Team(name) => {
                named.insert(name.clone());
                for member in teams.members(name) {
                    for key in &member.keys {
                        add(&member.who, &member.also, key, may);
                    }
                }
            }
        }
    }
    Authority { keys, teams: named }
}

fn granted(section: &mut Section<'_>) -> Option<Granted> {
    let is_one = section.exactly_one(
        &["key", "team"],
        "{ who: ann@example.com, key: ssh-ed25519 AAAA… }",
    );
    let who = section.optional(
        "who",
        "Beside `key`: whose it is. The git identity (`user.email`) of a person, whose own statements alone are signed with it; any name for Towpath's own.",
        text("a git identity", "ann@example.com"),
    );
    let key = section.optional(
        "key",
        "The public key, as its `.pub` file has it: `ssh-ed25519`, `sk-ssh-ed25519@openssh.com` or `ssh-rsa`.",
        public_key(),
    );
    let team = section.optional(
        "team",
        "Instead of `key`: a team of the forge, `ORGANISATION/TEAM`, with the keys of its people. Who that is stands in `teams.yaml`, which `towpath teams --write` writes.",
        team(),
    );
    let may = section.or(
        "may",
        "What counts when it is signed so. `approve`: the yes to deletions and adoptions; `resume`: the end of a hold or a pin, and trying again; `roll-back`: going back; `promote`: choosing what goes on; `evidence`: what was found out about images; `override`: to promote, and to be one of the two people whom `promote --unproven` takes wherever a key may do this; `record`: everything, which Towpath's own key needs.",
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
    section.not_with(
        "who",
        "team",
        "remove it: `teams.yaml` says who is in a team",
    );
    if is_one && section.has("key") {
        section.needs("who", "ann@example.com");
    }
    let to = match team {
        Some(team) => Grantee::Team(team.value),
        None => Grantee::Key {
            who: who?.value,
            key: key?.value,
        },
    };
    Some(Granted {
        to,
        may: may?.value.into_iter().map(|at| at.value).collect(),
    })
}

/// The form of a public key.
pub(super) fn public_key() -> Text<PublicKey> {
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
