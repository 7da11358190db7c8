//! How well an object, or a unit, does.

use std::fmt;

/// The health of a live object, in the terms of kstatus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It does what its manifest asks for.
    Current,
    /// It does what its manifest asks for, which is not to run: it is paused, wants no replicas, waits
    /// for its schedule. Nothing speaks against it, and it proves nothing.
    NotExercised(String),
    /// It is on its way.
    InProgress(String),
    /// It will not get there by itself.
    Failed(String),
}

/// An object as a part of a whole.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// Whether it runs something: only such an object can be exercised.
    pub runs: bool,
    /// How it does.
    pub health: &'a Health,
}

impl Health {
    /// The health of a whole: failed if a part failed, in progress if a part still is, not exercised if
    /// a part was not and nothing else of it ran.
    pub fn of_all<'a>(parts: impl IntoIterator<Item = Part<'a>>) -> Health {
        let mut whole = &Health::Current;
        let mut ran = false;
        for part in parts {
            ran |= part.runs && *part.health == Health::Current;
            // Of several equally grave ones the first is told.
            if part.health.gravity() > whole.gravity() {
                whole = part.health;
            }
        }
        match whole {
            Health::NotExercised(_) if ran => Health::Current,
            whole => whole.clone(),
        }
    }

    fn gravity(&self) -> u8 {
        match self {
            Self::Current => 0,
            Self::NotExercised(_) => 1,
            Self::InProgress(_) => 2,
            Self::Failed(_) => 3,
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("healthy"),
            Self::NotExercised(message) | Self::InProgress(message) | Self::Failed(message) => {
                f.write_str(message)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_is_as_well_as_its_worst_part() {
        // Each part: c(urrent), n(ot exercised), p(rogress), f(ailed); in capitals where it runs something.
        for (parts, expected) in [
            ("", "healthy"),
            ("cc", "healthy"),
            ("cN", "N1"),
            ("NcN", "N0"),
            ("NC", "healthy"),
            ("CN", "healthy"),
            ("NP", "P1"),
            ("CNpP", "p2"),
            ("PF", "F1"),
            ("FPf", "F0"),
        ] {
            let parts: Vec<(bool, Health)> = parts
                .chars()
                .enumerate()
                .map(|(index, letter)| {
                    let text = format!("{letter}{index}");
                    let health = match letter.to_ascii_lowercase() {
                        'c' => Health::Current,
                        'n' => Health::NotExercised(text),
                        'p' => Health::InProgress(text),
                        _ => Health::Failed(text),
                    };
                    (letter.is_ascii_uppercase(), health)
                })
                .collect();
            let whole = Health::of_all(parts.iter().map(|(runs, health)| Part {
                runs: *runs,
                health,
            }));
            assert_eq!(whole.to_string(), expected, "{parts:?}");
        }
    }
}
