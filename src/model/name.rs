//! Names of applications and environments.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::shown::given;

/// A text that cannot name an application or an environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a name: use 1 to 63 lower-case letters, digits, `-` and `.`, beginning and ending with a letter or digit"
)]
pub struct InvalidName(pub String);

/// Names stand in branch names, label values and tags, so they take what all of these take.
fn check(text: &str) -> Result<&str, InvalidName> {
    let edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let allowed = bytes
        .iter()
        .all(|&byte| edge(byte) || byte == b'-' || byte == b'.');
    let edges = bytes.first().is_some_and(|&byte| edge(byte))
        && bytes.last().is_some_and(|&byte| edge(byte));
    // `..` and a trailing `.lock` cannot stand in a ref name (git-check-ref-format).
    let reference = !text.contains("..") && !text.ends_with(".lock");
    if allowed && edges && reference && bytes.len() <= 63 {
        Ok(text)
    } else {
        Err(InvalidName(given(text)))
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                check(text).map(|text| Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The name of an application.
    ApplicationName
}
name! {
    /// The name of an environment.
    EnvironmentName
}

name! {
    /// The name of a notification.
    NotificationName
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        let longest = "a".repeat(63);
        for good in ["qa", "qa-eu.1", "1", &longest] {
            assert_eq!(good.parse::<EnvironmentName>().unwrap().as_str(), good);
        }
        let long = "a".repeat(64);
        for bad in ["", "QA", "-a", "a-", "a..b", "a.lock", "a/b", "ä", &long] {
            assert!(bad.parse::<ApplicationName>().is_err(), "{bad}");
        }
    }
}
