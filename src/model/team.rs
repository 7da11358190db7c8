//! Teams of people on a forge, as the configuration lists them: who is in one, and with which keys they sign.
//!
//! Asks no forge: whoever belongs to a team is what git says (`teams.yaml`), until somebody commits otherwise.

use std::fmt;
use std::str::FromStr;

use crate::model::PublicKey;
use crate::shown::given;

/// The most of a name that is taken.
const NAME_MAX: usize = 255;

/// A team's name: the organisation it is of and its own, as addresses have them (`acme/releasers`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TeamName(String);

/// A text that names no team.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` names no team", given(.0))]
pub struct InvalidTeam(String);

/// Somebody in a team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The git identity (`user.email`).
    pub who: String,
    /// Other identities of the same person.
    pub also: Vec<String>,
    /// The account on the forge, where it is one's.
    pub login: Option<String>,
    /// What they sign with.
    pub keys: Vec<PublicKey>,
}

impl TeamName {
    /// The organisation.
    pub fn organization(&self) -> &str {
        self.0.split_once('/').map_or("", |(first, _)| first)
    }

    /// The name within it.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, last)| last)
    }
}

impl FromStr for TeamName {
    type Err = InvalidTeam;

    fn from_str(text: &str) -> Result<Self, InvalidTeam> {
        let wrong = || InvalidTeam(text.to_owned());
        let is_one = |part: &str| {
            let allowed = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.');
            // Both stand in paths of requests.
            !part.is_empty() && part.chars().all(allowed) && !part.starts_with('.')
        };
        let (organization, name) = text.split_once('/').ok_or_else(wrong)?;
        let fits = text.len() <= NAME_MAX && is_one(organization) && is_one(name);
        fits.then(|| Self(text.to_owned())).ok_or_else(wrong)
    }
}

impl fmt::Display for TeamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Member {
    /// Everything that this person's commits may be signed as.
    pub fn identities(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.who)
            .chain(&self.also)
            .map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_team_is_of_an_organisation() {
        let team: TeamName = "acme/releasers".parse().unwrap();
        assert_eq!((team.organization(), team.name()), ("acme", "releasers"));
        for text in [
            "",
            "acme",
            "acme/",
            "/releasers",
            "a/b/c",
            "acme/..",
            "acme/a b",
            "acme/a?b",
        ] {
            assert!(text.parse::<TeamName>().is_err(), "{text}");
        }
        let long = |length: usize| format!("acme/{}", "a".repeat(length - 5));
        assert!(long(NAME_MAX).parse::<TeamName>().is_ok());
        assert!(long(NAME_MAX + 1).parse::<TeamName>().is_err());
    }
}
