//! How well an object, or a unit, does.

use std::fmt;

/// The health of a live object, in the terms of kstatus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It does what its manifest asks for.
    Current,
    /// It is on its way.
    InProgress(String),
    /// It will not get there by itself.
    Failed(String),
}

impl Health {
    /// The health of a whole: failed if a part failed, in progress if a part still is.
    pub fn of_all<'a>(parts: impl IntoIterator<Item = &'a Health>) -> Health {
        let mut whole = Health::Current;
        for part in parts {
            match (&whole, part) {
                (_, Health::Failed(_)) => return part.clone(),
                (Health::Current, Health::InProgress(_)) => whole = part.clone(),
                _ => {}
            }
        }
        whole
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("healthy"),
            Self::InProgress(message) | Self::Failed(message) => f.write_str(message),
        }
    }
}
