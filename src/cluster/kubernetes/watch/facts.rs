//! What is kept of an object: as little as every later question needs.

use std::sync::Arc;

use jiff::Timestamp;

use crate::cluster::kubernetes::compare::Touched;
use crate::cluster::kubernetes::compare::fingerprint;
use crate::model::{ApplicationName, CommitId, Digest, EnvironmentName, Health};
use crate::plan::{Drifted, Mark};

/// An object's place within its kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::cluster::kubernetes) struct Key {
    /// Empty for objects that live in none.
    pub(in crate::cluster::kubernetes) namespace: Arc<str>,
    pub(in crate::cluster::kubernetes) name: Box<str>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) uid: Box<str>,
    /// The server's version of it.
    pub(super) version: Box<str>,
    /// The version in which something changed last that a plan can see.
    pub(super) steady_since: Box<str>,
    /// How often what it asks for was changed, for kinds that count that.
    pub(super) generation: Option<i64>,
    pub(super) mark: Option<Marked>,
    /// When the server says that it was last applied, and when that was by our clock.
    pub(super) applied: (Option<Timestamp>, Timestamp),
    pub(super) health: Health,
    /// When time alone may change its health.
    pub(super) next_look: Option<Timestamp>,
    /// The object itself, as long as its health may change without it.
    pub(super) content: Option<Box<str>>,
    pub(super) owned: Owned,
    pub(super) kept: Option<Box<str>>,
    /// Who manages its fields, where it carries no mark.
    pub(super) managers: Box<[String]>,
    pub(super) service_type: Option<Box<str>>,
    /// Which listing it was last seen in, or since.
    pub(super) epoch: u32,
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
        self.uid == other.uid
            && self.mark == other.mark
            && self.applied == other.applied
            && self.health == other.health
            && self.kept == other.kept
            && self.service_type == other.service_type
            && self.drift() == other.drift()
            && matches!(self.owned.state, OwnedState::Touched(_))
                == matches!(other.owned.state, OwnedState::Touched(_))
    }
}

/// Whether a version is older than another one. The server counts
/// ([KEP-5504](https://github.com/kubernetes/enhancements/issues/5504)); what is no number is never
/// older.
pub(super) fn is_older(version: &str, than: &str) -> bool {
    match (version.parse::<u64>(), than.parse::<u64>()) {
        (Ok(version), Ok(than)) => version < than,
        _ => false,
    }
}
