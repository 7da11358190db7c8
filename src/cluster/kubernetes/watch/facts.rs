//! What is kept of an object: as little as every later question needs.

use std::fmt;
use std::num::NonZeroI64;
use std::sync::Arc;

use jiff::Timestamp;

use crate::cluster::kubernetes::compare::Touched;
use crate::cluster::kubernetes::compare::fingerprint;
use crate::cluster::kubernetes::logs::JobLog;
use crate::model::{ApplicationName, CommitId, Digest, EnvironmentName, Health};
use crate::plan::{Drifted, Mark};

/// An object's place within its kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::cluster::kubernetes) struct Key {
    /// Empty for objects that live in none.
    pub(in crate::cluster::kubernetes) namespace: Arc<str>,
    pub(in crate::cluster::kubernetes) name: Box<str>,
}

/// See the module. Thousands of them are kept.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) uid: Uid,
    pub(super) version: Version,
    /// The version in which something changed last that a plan can see; 0 where versions do not count.
    pub(super) steady_since: u64,
    /// How often what it asks for was changed, for kinds that count that.
    pub(super) generation: Option<NonZeroI64>,
    pub(super) mark: Option<Marked>,
    /// When the server says that it was last applied, in seconds.
    pub(super) applied: Option<NonZeroI64>,
    /// When that was by our clock.
    pub(super) applied_at: Timestamp,
    /// How it does; `None`: it does what it should.
    health: Option<Box<Health>>,
    pub(super) owned: Owned,
    /// What most objects have nothing of.
    pub(super) rare: Option<Box<Rare>>,
    /// Which listing it was last seen in, or since.
    pub(super) epoch: u32,
}

/// What few objects have.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rare {
    /// When time alone may change its health.
    pub(super) next_look: Option<Timestamp>,
    /// The object itself, as long as its health may change without it.
    pub(super) content: Option<Box<str>>,
    /// Why it is not to be deleted.
    pub(super) kept: Option<String>,
    /// Who manages its fields, where it carries no mark.
    pub(super) managers: Vec<String>,
    pub(super) service_type: Option<String>,
    /// What it wrote, where it is a Job that failed and may tell that.
    pub(super) log: Option<Log>,
}

/// What a failed Job wrote: asked for once, when somebody looks at its unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Log {
    /// Nobody asked yet.
    Open(JobLog),
    /// The last lines, if there were any to be had.
    Told(Option<Box<str>>),
}

/// The server's id of an object: nearly always a UUID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Uid {
    Uuid([u8; 16]),
    Other(Box<str>),
}

/// The server's version of an object: nearly always a number
/// ([KEP-5504](https://github.com/kubernetes/enhancements/issues/5504)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Version {
    Number(u64),
    Other(Box<str>),
}

impl Uid {
    pub(super) fn new(text: &str) -> Self {
        let digits = text.replace('-', "");
        let number = u128::from_str_radix(&digits, 16).map(u128::to_be_bytes);
        let uid = number
            .map(Self::Uuid)
            .ok()
            .filter(|uid| uid.to_string() == text);
        uid.unwrap_or_else(|| Self::Other(text.into()))
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(bytes) => {
                for (index, byte) in bytes.iter().enumerate() {
                    if matches!(index, 4 | 6 | 8 | 10) {
                        f.write_str("-")?;
                    }
                    write!(f, "{byte:02x}")?;
                }
                Ok(())
            }
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl Version {
    pub(super) fn new(text: &str) -> Self {
        let number = text.parse().ok().map(Self::Number);
        let version = number.filter(|number| number.to_string() == text);
        version.unwrap_or_else(|| Self::Other(text.into()))
    }

    /// Its number; 0 where it has none, which no object has.
    pub(super) fn number(&self) -> u64 {
        match self {
            Self::Number(number) => *number,
            Self::Other(_) => 0,
        }
    }

    /// What is no number is never older.
    pub(super) fn is_older(&self, than: &Self) -> bool {
        self.number() != 0 && self.number() < than.number()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// A time as it is kept: servers tell theirs in seconds.
pub(super) fn seconds(time: Option<Timestamp>) -> Option<NonZeroI64> {
    NonZeroI64::new(time?.as_second())
}

/// A mark, with names that many objects share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Marked {
    pub(super) application: Arc<ApplicationName>,
    pub(super) environment: Arc<EnvironmentName>,
    pub(super) hash: Digest,
    pub(super) commit: CommitId,
}

impl Marked {
    pub(super) fn mark(&self) -> Mark {
        Mark {
            application: (*self.application).clone(),
            environment: (*self.environment).clone(),
            hash: self.hash,
            commit: self.commit,
        }
    }
}

/// What our apply still owns of the object.
#[derive(Debug)]
pub(super) struct Owned {
    /// One number for it.
    pub(super) number: u64,
    pub(super) state: OwnedState,
}

#[derive(Debug)]
pub(super) enum OwnedState {
    /// Not compared with its manifest yet: the FieldsV1.
    Open(Box<str>),
    /// All that its manifest states.
    Whole,
    /// Not all of it.
    Touched(Box<Suspicion>),
}

/// Fields that somebody touched.
#[derive(Debug, Clone)]
pub(super) struct Suspicion {
    /// Their paths.
    pub(super) paths: Vec<String>,
    /// One number for them and what stands there; 0 where that is not known yet.
    pub(super) fingerprint: u64,
    pub(super) finding: Finding,
}

/// What the server said of a suspicion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// It was not asked yet.
    Open,
    /// Another apply would change nothing.
    Harmless,
    /// Another apply would change these fields.
    Drift(Drifted),
}

impl Suspicion {
    /// What was touched; the finding about the same is kept.
    pub(super) fn new(
        touched: &[Touched],
        live_is_known: bool,
        before: Option<&Suspicion>,
    ) -> Self {
        let number = match live_is_known {
            true => fingerprint(touched).max(1),
            false => 0,
        };
        let same = before.filter(|before| before.fingerprint == number && number != 0);
        Self {
            paths: touched.iter().map(|it| it.path().to_owned()).collect(),
            fingerprint: number,
            finding: same.map_or(Finding::Open, |before| before.finding.clone()),
        }
    }
}

impl Facts {
    /// An object that does what it should, and nothing else that is worth keeping.
    pub(super) fn new(uid: Uid, version: Version, applied_at: Timestamp, owned: Owned) -> Self {
        Self {
            uid,
            version,
            steady_since: 0,
            generation: None,
            mark: None,
            applied: None,
            applied_at,
            health: None,
            owned,
            rare: None,
            epoch: 0,
        }
    }

    /// How the object does.
    pub(super) fn health(&self) -> &Health {
        self.health.as_deref().unwrap_or(&Health::Current)
    }

    /// The same with what it wrote, as people are told it.
    pub(super) fn told_health(&self) -> Health {
        let log = self.rare.as_ref().and_then(|rare| rare.log.as_ref());
        match (self.health(), log) {
            (Health::Failed(why), Some(Log::Told(Some(lines)))) => {
                Health::Failed(format!("{why}; it wrote: {lines}"))
            }
            (health, _) => health.clone(),
        }
    }

    /// The log of a failed Job that nobody asked for yet.
    pub(super) fn unread(&self) -> Option<&JobLog> {
        match self.rare.as_ref()?.log.as_ref()? {
            Log::Open(log) => Some(log),
            Log::Told(_) => None,
        }
    }

    /// Takes what the Job of this log wrote.
    pub(super) fn wrote(&mut self, log: &JobLog, lines: Option<String>) {
        if self.unread() == Some(log)
            && let Some(rare) = &mut self.rare
        {
            rare.log = Some(Log::Told(lines.map(Into::into)));
        }
    }

    pub(super) fn set_health(&mut self, health: Health) {
        self.health = (health != Health::Current).then(|| Box::new(health));
    }

    /// When time alone may change its health.
    pub(super) fn next_look(&self) -> Option<Timestamp> {
        self.rare.as_ref()?.next_look
    }

    /// The object itself, as long as its health may change without it.
    pub(super) fn content(&self) -> Option<&str> {
        self.rare.as_ref()?.content.as_deref()
    }

    /// Why it is not to be deleted.
    pub(super) fn kept(&self) -> Option<&str> {
        self.rare.as_ref()?.kept.as_deref()
    }

    /// What another apply would change back.
    pub(super) fn drift(&self) -> Option<&Drifted> {
        match &self.owned.state {
            OwnedState::Touched(suspicion) => match &suspicion.finding {
                Finding::Drift(drift) => Some(drift),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether a plan sees the same in both, apart from the version.
    pub(super) fn looks_like(&self, other: &Self) -> bool {
        let shown = |it: &Self| {
            let rare = it.rare.as_ref()?;
            Some((
                rare.kept.clone(),
                rare.managers.clone(),
                rare.service_type.clone(),
            ))
        };
        let touched = |it: &Self| matches!(it.owned.state, OwnedState::Touched(_));
        self.uid == other.uid
            && self.mark == other.mark
            && self.applied == other.applied
            && self.health == other.health
            && shown(self).unwrap_or_default() == shown(other).unwrap_or_default()
            && self.drift() == other.drift()
            && touched(self) == touched(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_versions_are_kept_as_they_were_written() {
        for text in [
            "97757d5e-09b9-46e8-986f-0ffade33e7b1",
            "00000000-0000-0000-0000-000000000000",
            "97757D5E-09B9-46E8-986F-0FFADE33E7B1",
            "97757d5e09b946e8986f0ffade33e7b1",
            "uid-7",
            "",
        ] {
            assert_eq!(Uid::new(text).to_string(), text);
        }
        for text in ["1", "18446744073709551615", "007", "+7", "7x", ""] {
            assert_eq!(Version::new(text).to_string(), text);
        }
        assert!(Version::new("9").is_older(&Version::new("10")));
        assert!(!Version::new("10").is_older(&Version::new("10")));
        assert!(!Version::new("x").is_older(&Version::new("10")));
    }
}
