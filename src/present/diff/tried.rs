//! What a cluster says of an object when it is asked what an apply would make of it.

use super::{Change, ObjectDiff};
use crate::model::ObjectRef;

/// An object that a cluster was asked about.
#[derive(Debug, Clone, PartialEq)]
pub struct Tried {
    /// How it would differ.
    pub diff: ObjectDiff,
    /// What came of trying it.
    pub trial: Trial,
}

/// What came of trying an apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trial {
    /// The cluster takes it: this is what it makes of it.
    Taken,
    /// It changes what cannot change while the object lives: it is deleted and made anew, as its manifest
    /// says. The object is shown as it is asked for.
    Anew,
    /// The cluster has this against it; the object is shown as it is asked for.
    Refused(String),
    /// It could not be tried, because the same commit brings these first: CRDs, namespaces, roles.
    /// The object is shown as it is asked for.
    Untried(Vec<ObjectRef>),
    /// It is no longer asked for here, and stays all the same: why.
    Left(String),
}

impl Tried {
    /// Whether there is nothing to tell of it.
    pub fn is_unchanged(&self) -> bool {
        self.diff.change == Change::Unchanged && self.trial == Trial::Taken
    }
}

impl Trial {
    /// Every outcome but the usual one, in the order in which they are counted up.
    pub const OUTCOMES: [&str; 4] = ["made anew", "not tried", "refused", "left"];

    /// How it went, in a word, stable for scripts; `None`: as it should.
    pub fn outcome(&self) -> Option<&'static str> {
        let [anew, untried, refused, left] = Self::OUTCOMES;
        match self {
            Self::Taken => None,
            Self::Anew => Some(anew),
            Self::Untried(_) => Some(untried),
            Self::Refused(_) => Some(refused),
            Self::Left(_) => Some(left),
        }
    }

    /// Why it went so; of one that is refused in the cluster's own words, which may quote values.
    pub fn why(&self) -> Option<String> {
        match self {
            Self::Taken => None,
            Self::Anew => Some("it changes what cannot change while it lives".to_owned()),
            Self::Refused(why) | Self::Left(why) => Some(why.clone()),
            Self::Untried(first) => {
                let first: Vec<String> = first.iter().map(ToString::to_string).collect();
                let first = first.join(", ");
                Some(format!(
                    "{first} must be there first, and would come with it"
                ))
            }
        }
    }
}
