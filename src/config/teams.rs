//! `teams.yaml`: who is in the teams that `authority` names.
//!
//! Written by `towpath teams --write`, and read by people where it changes: who may let production move is reviewed as
//! everything else is. Never asks a forge.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::json;

use super::authority::public_key;
use super::form::{At, Reading, Text, Wrong, text};
use super::list::{Table, any_list};
use super::problem::Problems;
use super::section::{Fields, Section};
use super::{Declarations, environment, files, yaml};
use crate::config::authority::Grantee;
use crate::model::{Member, PublicKey, TeamName};

/// What the file begins with, as it is written.
const ABOUT: &str = "\
# Who is in the teams that `authority` names (environment.yaml), and the keys they sign with.
# `towpath teams --write` writes this file from what the forge says.
";

/// What the file states.
#[derive(Debug, Default)]
pub(super) struct Teams(Vec<(At<TeamName>, Vec<At<Member>>)>);

impl Teams {
    /// Who is in a team; nobody where the file does not list it.
    pub(super) fn members(&self, name: &TeamName) -> impl Iterator<Item = &Member> {
        let listed = self.0.iter().filter(move |(team, _)| team.value == *name);
        listed.flat_map(|(_, members)| members.iter().map(|at| &at.value))
    }

    /// Whether the file lists a team, be it one of nobody.
    pub(super) fn lists(&self, name: &TeamName) -> bool {
        self.0.iter().any(|(team, _)| team.value == *name)
    }

    /// The teams by name.
    pub(super) fn by_name(&self) -> BTreeMap<TeamName, Vec<Member>> {
        let named = |(team, members): &(At<TeamName>, Vec<At<Member>>)| {
            let members = members.iter().map(|at| at.value.clone()).collect();
            (team.value.clone(), members)
        };
        self.0.iter().map(named).collect()
    }
}

/// The form of the whole file.
pub(super) fn file() -> Fields<Teams> {
    Fields {
        sample: "teams: { acme/releasers: [{ … }] }",
        read: |section| {
            let teams = section.or(
                "teams",
                "Who is in each team.",
                Table {
                    key: team(),
                    value: any_list(Fields {
                        sample: "{ who: ann@example.com, keys: [ssh-ed25519 AAAA…] }",
                        read: member,
                    }),
                },
                "{}",
            )?;
            Some(Teams(teams.value))
        },
    }
}

fn member(section: &mut Section<'_>) -> Option<Member> {
    let who = section.required(
        "who",
        "The git identity (`user.email`) that this person's statements are made as.",
        text("a git identity", "ann@example.com"),
    );
    let also = section.or(
        "also",
        "Other identities of the same person.",
        any_list(text("a git identity", "ann@example.com")),
        "[]",
    );
    let login = section.optional(
        "login",
        "The account on the forge.",
        text("an account", "ann"),
    );
    let keys = section.or(
        "keys",
        "What this person signs with, each as its `.pub` file has it.",
        any_list(public_key()),
        "[]",
    );
    Some(Member {
        who: who?.value,
        also: environment::values(also?.value),
        login: login.map(|login| login.value),
        keys: environment::values(keys?.value),
    })
}

/// The form of a team's name.
pub(super) fn team() -> Text<TeamName> {
    Text {
        wanted: "a team",
        sample: "acme/releasers",
        parse: |text| {
            text.parse().map_err(|error| {
                Wrong::new(
                    format!("{error}"),
                    "write `ORGANISATION/TEAM`, as in `acme/releasers`",
                )
            })
        },
        schema: || json!({ "pattern": "^[A-Za-z0-9_-][A-Za-z0-9._-]*/[A-Za-z0-9_-][A-Za-z0-9._-]*$" }),
    }
}

/// Of a team that is not listed nobody counts: said, and let be, or the file could never be written for the first time.
pub(super) fn named_teams_are_listed(
    _: &Path,
    declarations: &Declarations,
    problems: &mut Problems,
) {
    for file in declarations.environments.values() {
        for entry in file.declared.iter().flat_map(|it| &it.authority) {
            if let Grantee::Team(team) = &entry.value.to
                && !declarations.teams.lists(team)
            {
                let what = format!(
                    "`{}` does not list {team}: nothing that its people sign counts",
                    files::TEAMS
                );
                let instead = "`towpath teams --write` asks the forge who they are, and writes it";
                problems.warning(&entry.place, what, instead);
            }
        }
    }
}

/// An identity is one person's, and so is a key: otherwise somebody could speak as another.
pub(super) fn people_are_themselves(
    _: &Path,
    declarations: &Declarations,
    problems: &mut Problems,
) {
    contradictions(&declarations.teams, problems);
}

fn contradictions(teams: &Teams, problems: &mut Problems) {
    let mut names = BTreeMap::new();
    let mut keys = BTreeMap::new();
    for at in teams.0.iter().flat_map(|(_, members)| members) {
        let member = &at.value;
        // Without an account somebody is who they are called.
        let person = member.login.as_ref().unwrap_or(&member.who);
        for name in member.identities() {
            let other = *names.entry(name).or_insert(person);
            if other != person {
                let what = format!("{name} is both {other} and {person}");
                problems.error(
                    &at.place,
                    what,
                    "an identity is one person's: keep one of them",
                );
            }
        }
        for key in &member.keys {
            let other = *keys.entry(key.to_line()).or_insert(person);
            if other != person {
                let what = format!("the key {key} is both {other}'s and {person}'s");
                problems.error(&at.place, what, "a key is one person's: keep one of them");
            }
        }
    }
}

/// A name that `authority` gives a key is that key's owner's: somebody of a team who shows it has that key, too.
/// Addresses on profiles are what people write there.
pub(super) fn names_are_their_owners(
    _: &Path,
    declarations: &Declarations,
    problems: &mut Problems,
) {
    for file in declarations.environments.values() {
        let entries = file.declared.iter().flat_map(|it| &it.authority);
        let mut owners = BTreeMap::<&str, Vec<&PublicKey>>::new();
        for entry in entries.clone() {
            if let Grantee::Key { who, key } = &entry.value.to {
                owners.entry(who).or_default().push(key);
            }
        }
        for entry in entries {
            let Grantee::Team(team) = &entry.value.to else {
                continue;
            };
            for member in declarations.teams.members(team) {
                let own = |name: &&str| {
                    let keys = owners.get(name);
                    keys.is_some_and(|keys| !keys.iter().any(|key| member.keys.contains(key)))
                };
                if let Some(name) = member.identities().find(own) {
                    let person = member.login.as_ref().unwrap_or(&member.who);
                    let what = format!(
                        "{person} of {team} is called {name}, whose key here is one that {person} does not have"
                    );
                    let instead = "an identity is one person's: add that key to the account, or remove one of the two";
                    problems.error(&entry.place, what, instead);
                }
            }
        }
    }
}

#[derive(Serialize)]
struct FileShown {
    teams: BTreeMap<String, Vec<MemberShown>>,
}

#[derive(Serialize)]
struct MemberShown {
    who: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    also: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    login: Option<String>,
    keys: Vec<String>,
}

/// Reads what is to be written: nobody may be kept from using their configuration by it.
///
/// # Errors
/// What is wrong with it, such as one identity of two people.
pub fn read_back(text: &str) -> Result<(), Problems> {
    let mut reading = Reading::default();
    let path = Path::new(files::TEAMS).into();
    let root = yaml::parse(&path, text.as_bytes(), &mut reading.problems);
    let teams = root.and_then(|root| file().read_file(&root, &mut reading));
    contradictions(&teams.unwrap_or_default(), &mut reading.problems);
    reading.problems.settle().map(drop)
}

/// The file that states these teams.
///
/// # Errors
/// None but those of the library that writes YAML.
pub fn written(teams: &BTreeMap<TeamName, Vec<Member>>) -> anyhow::Result<String> {
    let shown = |member: &Member| MemberShown {
        who: member.who.clone(),
        also: member.also.clone(),
        login: member.login.clone(),
        keys: member.keys.iter().map(|key| key.to_line()).collect(),
    };
    let teams = teams.iter().map(|(name, members)| {
        let members = members.iter().map(shown).collect();
        (name.to_string(), members)
    });
    let file = FileShown {
        teams: teams.collect(),
    };
    Ok(format!("{ABOUT}{}", serde_yaml::to_string(&file)?))
}
