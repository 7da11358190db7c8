//! Who is in a team of a forge, and what they sign with, as the forge tells; and how that differs from what the
//! configuration lists. Asks nothing itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Member, PublicKey};
use crate::shown::on_one_line;

/// An account in a team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name on the forge.
    pub login: String,
    /// The git identities that the forge knows as its own; the one that people see first.
    pub identities: Vec<String>,
    /// Its public keys for signing, in OpenSSH's form.
    pub keys: Vec<String>,
}

/// A difference between who is listed in a team and who is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// Somebody is in the team who is not listed.
    Joined(String),
    /// Somebody is listed who is not in the team any more: what they sign counts still.
    Left(String),
    /// A key that is not listed.
    NewKey(String, PublicKey),
    /// A key is listed that is not theirs any more: what is signed with it counts still.
    OldKey(String, PublicKey),
    /// Somebody is called otherwise than is listed.
    Renamed(String),
}

impl Difference {
    /// Whether somebody may more than they should.
    pub fn is_grave(&self) -> bool {
        matches!(self, Self::Left(_) | Self::OldKey(..) | Self::Renamed(_))
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Joined(who) => write!(f, "{who} is in the team, and is not listed"),
            Self::Left(who) => write!(
                f,
                "{who} is not in the team any more, and what they sign counts still"
            ),
            Self::NewKey(who, key) => write!(f, "the key {key} of {who} is not listed"),
            Self::OldKey(who, key) => write!(
                f,
                "the key {key} is not {who}'s any more, and what is signed with it counts still"
            ),
            Self::Renamed(who) => write!(f, "{who} has other git identities than are listed"),
        }
    }
}

/// The longest that is taken of a login or an identity.
const NAME_MAX: usize = 254;

impl Account {
    /// As the configuration lists it; and why keys cannot be used.
    pub fn member(&self) -> (Member, Vec<String>) {
        let shown = |text: &String| on_one_line(text, NAME_MAX);
        let mut identities = self.identities.iter().map(shown);
        let login = shown(&self.login);
        let (mut keys, mut unusable) = (Vec::new(), Vec::new());
        for text in &self.keys {
            match text.parse::<PublicKey>() {
                Ok(key) => keys.push(key),
                Err(why) => unusable.push(format!("a key of {login} cannot be used: {why}")),
            }
        }
        if self.keys.is_empty() {
            unusable.push(format!("{login} has no key to sign with there"));
        }
        // Whatever order the forge has, the file is the same.
        keys.sort_by_key(PublicKey::to_line);
        keys.dedup();
        let member = Member {
            who: identities.next().unwrap_or_else(|| login.clone()),
            also: identities.collect(),
            login: Some(login),
            keys,
        };
        (member, unusable)
    }
}

/// How those who are listed differ from those who are in the team.
pub fn differences(listed: &[Member], now: &[Member]) -> Vec<Difference> {
    fn by_name(members: &[Member]) -> BTreeMap<&str, &Member> {
        let named = |it| (named(it), it);
        members.iter().map(named).collect()
    }
    fn lines(member: &Member) -> BTreeMap<String, &PublicKey> {
        let keys = member.keys.iter();
        keys.map(|key| (key.to_line(), key)).collect()
    }
    let (listed, now) = (by_name(listed), by_name(now));
    let names: BTreeSet<&str> = listed.keys().chain(now.keys()).copied().collect();
    let mut found = Vec::new();
    for name in names {
        let own = || name.to_owned();
        let (was, is) = match (listed.get(name), now.get(name)) {
            (Some(was), Some(is)) => (was, is),
            (Some(_), None) => {
                found.push(Difference::Left(own()));
                continue;
            }
            (None, _) => {
                found.push(Difference::Joined(own()));
                continue;
            }
        };
        let (old, new) = (lines(was), lines(is));
        let added = new.iter().filter(|(line, _)| !old.contains_key(*line));
        found.extend(added.map(|(_, key)| Difference::NewKey(own(), (*key).clone())));
        let gone = old.iter().filter(|(line, _)| !new.contains_key(*line));
        found.extend(gone.map(|(_, key)| Difference::OldKey(own(), (*key).clone())));
        let called = |it: &Member| it.identities().map(str::to_owned).collect::<BTreeSet<_>>();
        if called(was) != called(is) {
            found.push(Difference::Renamed(own()));
        }
    }
    found
}

/// An account stays who it is, whatever its identities are.
fn named(member: &Member) -> &str {
    member.login.as_ref().unwrap_or(&member.who)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPKHVJ32HronXuXLt7wZOfG/9Q1Q7S8Fncd/h+pdoWMH";
    const TWO: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFlD4W2+JiVQNwmaRkkq/hb0oFgRaNPmcXXHghFJpITM";

    fn account(login: &str, identities: &[&str], keys: &[&str]) -> Account {
        let owned = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect();
        Account {
            login: login.to_owned(),
            identities: owned(identities),
            keys: owned(keys),
        }
    }

    #[test]
    fn a_team_is_compared_with_what_is_listed() {
        let member = |account: Account| account.member().0;
        let ann = member(account("ann", &["ann@example.com"], &[ONE]));
        let bob = member(account("bob", &["bob@example.com"], &[TWO]));
        let with = |who: &str, keys: &[&str]| member(account("ann", &[who], keys));
        for (listed, now, expected) in [
            (vec![ann.clone()], vec![ann.clone()], ""),
            (
                vec![],
                vec![bob.clone()],
                "bob is in the team, and is not listed",
            ),
            (
                vec![ann.clone(), bob],
                vec![ann.clone()],
                "bob is not in the team any more, and what they sign counts still!",
            ),
            (
                vec![ann.clone()],
                vec![with("ann@example.com", &[TWO])],
                "the key SHA256:jsJl8/gSyoMkJ3tE7cjU0OiKbKd1GOWXDXpQZUoFxnY of ann is not listed; the key SHA256:VX5kWPZ0m5TY6SaSVdV1TWzsadueBeFV77HanPCg0RI is not ann's any more, and what is signed with it counts still!",
            ),
            (
                vec![ann],
                vec![with("eve@example.com", &[ONE])],
                "ann has other git identities than are listed!",
            ),
        ] {
            let found = differences(&listed, &now);
            let told = |it: &Difference| format!("{it}{}", if it.is_grave() { "!" } else { "" });
            let told: Vec<String> = found.iter().map(told).collect();
            assert_eq!(told.join("; "), expected);
        }
    }

    #[test]
    fn keys_that_cannot_be_used_are_told_of() {
        let ecdsa = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEOrDNOqd92gP1FOeb3jPt+HpeF5tPVRNUgs53dWdBptEZ6ZNBiqcEHT36DncVeeJwTq/hQyC6/8ryCKsjee7yI=";
        let (ann, why) = account("ann", &[], &[ecdsa, ONE, ONE]).member();
        assert_eq!((ann.who.as_str(), ann.keys.len()), ("ann", 1));
        assert_eq!(
            why,
            [
                "a key of ann cannot be used: a key of kind `ecdsa-sha2-nistp256` is not supported: use ssh-ed25519, sk-ssh-ed25519@openssh.com or ssh-rsa"
            ]
        );
        let (_, why) = account("bob", &["bob@example.com"], &[]).member();
        assert_eq!(why, ["bob has no key to sign with there"]);
    }
}
