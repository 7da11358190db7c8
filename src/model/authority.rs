//! Who may let what move: where an environment lists keys, its records count by whose key signed them.
//!
//! Stopping is cheap, starting is not: what stops counts unsigned, whoever says it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use ssh_key::HashAlg;
use ssh_key::public::KeyData;

use crate::model::TeamName;
use crate::shown::given;

/// The keys of an environment. Without any, everybody who can push its records is trusted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Authority {
    /// Whose they are, and what each may. No key stands here twice.
    pub keys: Vec<Authorised>,
    /// The teams whose people are among them.
    pub teams: BTreeSet<TeamName>,
}

/// A key, and what may be said with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorised {
    /// As whom: a person's git identity, or any name for Towpath's own key.
    pub who: String,
    /// What else the same person is called.
    pub also: BTreeSet<String>,
    /// The key.
    pub key: PublicKey,
    /// What.
    pub may: BTreeSet<Right>,
}

/// What a record may let move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// State what happened: deployments, verdicts, proposals. Towpath's own right; whoever has it has all others.
    Record,
    /// Say yes to deletions, and to taking live objects over.
    Approve,
    /// End a hold or a pin, and have what failed or was declined tried again.
    Resume,
    /// Go back to an older release.
    RollBack,
    /// Choose which release goes on.
    Promote,
    /// Say what was found out about an image.
    Evidence,
    /// Be one of the two people by whose word comes what is not proven. Whoever may choose so may promote.
    Override,
}

impl Right {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::Record,
        Self::Approve,
        Self::Resume,
        Self::RollBack,
        Self::Promote,
        Self::Evidence,
        Self::Override,
    ];

    /// The name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Approve => "approve",
            Self::Resume => "resume",
            Self::RollBack => "roll-back",
            Self::Promote => "promote",
            Self::Evidence => "evidence",
            Self::Override => "override",
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Authority {
    /// Whether everybody who can push is trusted.
    pub fn is_open(&self) -> bool {
        // Of a team that nobody is in nobody may anything, which is not everybody.
        self.keys.is_empty() && self.teams.is_empty()
    }

    /// Whose key it is.
    pub fn of(&self, key: &PublicKey) -> Option<&Authorised> {
        self.keys.iter().find(|it| it.key == *key)
    }

    /// Whether what is not proven comes by the word of two people alone.
    pub fn asks_for_two(&self) -> bool {
        self.keys.iter().any(Authorised::overrides)
    }

    /// Whether what is not proven comes because this person, and before them these others, asked for it: where any
    /// key may `override` it takes two people, one of them with such a key.
    pub fn lets_unproven(&self, by: &str, also: &[String]) -> bool {
        let by = self.person(by);
        let also: BTreeSet<&str> = also.iter().map(|it| self.person(it)).collect();
        let said = |it: &Authorised| it.who == by || also.contains(it.who.as_str());
        let are_two = also.iter().any(|it| *it != by);
        !self.asks_for_two() || are_two && self.keys.iter().any(|it| it.overrides() && said(it))
    }

    /// The one name of whoever is called so: a person with several is one.
    fn person<'a>(&'a self, name: &'a str) -> &'a str {
        let known = self.keys.iter().find(|it| it.is(name));
        known.map_or(name, |it| &it.who)
    }

    /// Why what takes this right does not count, said by that person and signed with that key.
    pub fn objection(&self, right: Right, key: Option<&PublicKey>, by: &str) -> Option<String> {
        let Some(key) = key else {
            return Some(format!(
                "it is not signed with a key of `authority` that may `{right}`"
            ));
        };
        match self.of(key) {
            None => Some(format!(
                "it is signed with the key {key}, which `authority` does not list"
            )),
            Some(known) if !known.may(right) => {
                Some(format!("the key of {} may not `{right}`", known.who))
            }
            Some(known) if !known.is(by) => {
                Some(format!("it is signed with the key of {}", known.who))
            }
            Some(_) => None,
        }
    }
}

impl Authorised {
    /// Whether this person is called so.
    pub fn is(&self, name: &str) -> bool {
        self.who == name || self.also.contains(name)
    }

    /// Whether this may be said with the key.
    pub fn may(&self, right: Right) -> bool {
        self.may.contains(&right)
            || self.may.contains(&Right::Record)
            || right == Right::Promote && self.overrides()
    }

    /// Whether this person is one of those without whom nothing comes that is not proven.
    pub fn overrides(&self) -> bool {
        self.may.contains(&Right::Override)
    }
}

/// An SSH key's public half: Ed25519, also of a security key, or RSA
/// ([RFC 8709](https://www.rfc-editor.org/rfc/rfc8709), [RFC 8332](https://www.rfc-editor.org/rfc/rfc8332),
/// [PROTOCOL.u2f](https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.u2f)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(KeyData);

/// A text that names no key of these kinds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// No key in OpenSSH's form.
    #[error("it is no public key in OpenSSH's form")]
    Malformed,
    /// A kind that is not known here.
    #[error(
        "a key of kind `{0}` is not supported: use ssh-ed25519, sk-ssh-ed25519@openssh.com or ssh-rsa"
    )]
    Unsupported(String),
}

impl PublicKey {
    /// What the key consists of.
    pub fn data(&self) -> &KeyData {
        &self.0
    }

    /// As its `.pub` file has it, without the comment.
    pub fn to_line(&self) -> String {
        let key = ssh_key::PublicKey::new(self.0.clone(), "");
        // Every kind that is taken has such a form.
        key.to_openssh().unwrap_or_default()
    }
}

impl TryFrom<KeyData> for PublicKey {
    type Error = InvalidKey;

    fn try_from(data: KeyData) -> Result<Self, InvalidKey> {
        match data {
            KeyData::Ed25519(_) | KeyData::SkEd25519(_) | KeyData::Rsa(_) => Ok(Self(data)),
            other => Err(InvalidKey::Unsupported(other.algorithm().to_string())),
        }
    }
}

/// A line of an `id_….pub` file.
impl FromStr for PublicKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let kind = text.split_whitespace().next().unwrap_or_default();
        match ssh_key::PublicKey::from_openssh(text.trim()) {
            Ok(key) => Self::try_from(key.key_data().clone()),
            Err(ssh_key::Error::AlgorithmUnknown | ssh_key::Error::AlgorithmUnsupported { .. }) => {
                Err(InvalidKey::Unsupported(given(kind)))
            }
            Err(_) => Err(InvalidKey::Malformed),
        }
    }
}

/// Its fingerprint, as `ssh-keygen -l` shows it.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fingerprint(HashAlg::Sha256).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPKHVJ32HronXuXLt7wZOfG/9Q1Q7S8Fncd/h+pdoWMH";

    fn authority(keys: &[(&str, Right)]) -> Authority {
        let key = |(who, right): &(&str, Right)| Authorised {
            who: (*who).to_owned(),
            also: [format!("{who}@example.com")].into(),
            key: KEY.parse().unwrap(),
            may: [*right].into(),
        };
        Authority {
            keys: keys.iter().map(key).collect(),
            teams: BTreeSet::new(),
        }
    }

    #[test]
    fn what_is_not_proven_takes_two_where_somebody_may_override() {
        let two = authority(&[
            ("ann", Right::Promote),
            ("bob", Right::Override),
            ("eve", Right::Promote),
            ("towpath", Right::Record),
        ]);
        for (by, also, comes) in [
            ("ann", &[][..], false),
            ("bob", &[], false),
            ("ann", &["eve"], false),
            ("ann", &["bob"], true),
            ("bob", &["ann"], true),
            ("eve", &["bob", "ann"], true),
            ("bob", &["bob"], false),
            ("bob", &["bob@example.com"], false),
            ("bob@example.com", &["bob"], false),
            ("ann@example.com", &["bob@example.com"], true),
            ("towpath", &["ann"], false),
        ] {
            let also: Vec<String> = also.iter().map(|it| (*it).to_owned()).collect();
            assert_eq!(two.lets_unproven(by, &also), comes, "{by} and {also:?}");
        }
        assert!(authority(&[("ann", Right::Promote)]).lets_unproven("ann", &[]));
        assert!(Authority::default().lets_unproven("ann", &[]));
    }

    #[test]
    fn a_team_of_nobody_lets_nobody() {
        let team = Authority {
            teams: ["acme/releasers".parse().unwrap()].into(),
            ..Authority::default()
        };
        assert!(!team.is_open() && Authority::default().is_open());
        let key: PublicKey = KEY.parse().unwrap();
        assert!(team.objection(Right::Resume, Some(&key), "ann").is_some());
    }

    #[test]
    fn whoever_may_override_may_promote() {
        let bob = authority(&[("bob", Right::Override)]);
        let key: PublicKey = KEY.parse().unwrap();
        assert_eq!(bob.objection(Right::Promote, Some(&key), "bob"), None);
        assert!(bob.objection(Right::Resume, Some(&key), "bob").is_some());
        assert!(bob.objection(Right::Promote, Some(&key), "ann").is_some());
        let also = bob.objection(Right::Promote, Some(&key), "bob@example.com");
        assert_eq!(also, None);
    }
}
