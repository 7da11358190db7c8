//! Which version tags an environment takes releases from.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use semver::{Version, VersionReq};

/// A range of [semantic versions](https://semver.org), as `>=1.0.0`, `1.x` or `>=1.2, <2`.
///
/// As the semver crate reads it ([`VersionReq`]): a version without an operator means "compatible
/// with" (`1.2.3` is `^1.2.3`), and a pre-release is in the range only where the range names a
/// pre-release of that very version (`>=1.0.0-rc.1` takes `1.0.0-rc.2`, not `1.1.0-rc.1`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VersionRange(Arc<VersionReq>);

/// A text that is not a range of versions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a range of versions ({reason}): write it like `>=1.0.0`, `1.x` or `>=1.2, <2`"
)]
pub struct InvalidRange {
    /// The range as written.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

impl VersionRange {
    /// Whether the version is in the range.
    pub fn takes(&self, version: &Version) -> bool {
        self.0.matches(version)
    }
}

/// The version a tag names: all three numbers, with or without a `v` before them. Anything else is
/// not a version tag.
pub fn parse_version(tag: &str) -> Option<Version> {
    Version::parse(tag.strip_prefix('v').unwrap_or(tag)).ok()
}

impl FromStr for VersionRange {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        VersionReq::parse(text)
            .map(|range| Self(Arc::new(range)))
            .map_err(|error| InvalidRange {
                text: text.to_owned(),
                reason: error.to_string(),
            })
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_take_versions() {
        for (range, tag, taken) in [
            (">=1.0.0", "v1.4.0", true),
            (">=1.0.0", "1.4.0", true),
            (">=1.0.0", "0.9.9", false),
            (">=1.0.0", "2.0.0-rc.1", false),
            (">=1.0.0", "1.0.0-rc.1", false),
            (">=1.0.0-0", "1.0.0-rc.1", true),
            (">=1.0.0-0", "1.1.0-rc.1", false),
            ("1.x", "1.9.0", true),
            ("1.x", "2.0.0", false),
            ("1.2.3", "1.3.0", true),
            ("=1.2.3", "1.3.0", false),
            (">=1.2, <2", "v1.99.0", true),
            (">=1.2, <2", "v2.0.0", false),
            ("*", "0.0.1", true),
            ("*", "0.0.1-a", false),
            ("~1.2", "1.2.9", true),
        ] {
            let range: VersionRange = range.parse().unwrap();
            let version = parse_version(tag).unwrap();
            assert_eq!(range.takes(&version), taken, "{range} {tag}");
            assert_eq!(range.to_string().parse::<VersionRange>().unwrap(), range);
        }
    }

    #[test]
    fn what_is_no_version_or_range_is_refused() {
        for tag in [
            "",
            "v",
            "vv1.0.0",
            "V1.0.0",
            "1",
            "1.0",
            "1.0.0.0",
            "01.0.0",
            " 1.0.0",
            "1.0.0-",
            "é",
            "latest",
            "main-0123456",
            "99999999999999999999.0.0",
        ] {
            assert_eq!(parse_version(tag), None, "{tag}");
        }
        for range in [
            "",
            "latest",
            ">=v1.0.0",
            ">=1 <2",
            ">=1 || <2",
            "1.0.0.0",
            ">",
            "é",
        ] {
            assert!(range.parse::<VersionRange>().is_err(), "{range}");
        }
    }
}
