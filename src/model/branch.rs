//! Which branches an environment takes releases from.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use globset::{GlobBuilder, GlobMatcher};

use super::template::sanitise_branch;
use crate::shown::given;

/// Patterns in order, as `*` then `!master`: the last one that matches a branch decides, and `!`
/// makes it leave the branch out. A branch that no pattern matches is left out.
///
/// Patterns are [globs](https://docs.rs/globset/latest/globset/#syntax). As image tags cannot hold
/// `/`, names and patterns are compared with `-` in its place (see
/// [`sanitise_branch`](super::sanitise_branch)): `feature/*` and `feature-*` are the same pattern, and
/// `*` matches every branch.
#[derive(Debug, Clone)]
pub struct BranchFilter(Arc<[Pattern]>);

#[derive(Debug, Clone)]
struct Pattern {
    text: String,
    takes: bool,
    glob: GlobMatcher,
}

/// Patterns that make no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFilter {
    /// A pattern that is no glob.
    #[error("`{pattern}` is not a branch pattern: {reason}")]
    Glob {
        /// The pattern as written.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing to match, or blanks, which no branch has.
    #[error(
        "`{0}` is not a branch pattern: write a branch or a glob such as `release/*`, without blanks, of at most 255 bytes"
    )]
    Empty(String),
    /// Only exceptions: nothing would ever match.
    #[error("no pattern takes any branch: begin with one that does, such as `*`")]
    TakesNothing,
}

/// Branches have no longer names; braces within braces beyond it are more than a matcher can be made of.
const PATTERN_MAX: usize = 255;

impl BranchFilter {
    /// Makes a filter of patterns in order.
    ///
    /// # Errors
    /// A pattern is empty or no glob, or none of them takes a branch.
    pub fn new(patterns: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, InvalidFilter> {
        let patterns: Vec<Pattern> = patterns
            .into_iter()
            .map(|text| Pattern::new(text.as_ref()))
            .collect::<Result<_, _>>()?;
        match patterns.iter().any(|pattern| pattern.takes) {
            true => Ok(Self(patterns.into())),
            false => Err(InvalidFilter::TakesNothing),
        }
    }

    /// Whether releases are taken from this branch, given by its name or as it stands in a tag.
    pub fn takes(&self, branch: &str) -> bool {
        let branch = sanitise_branch(branch);
        self.0
            .iter()
            .rev()
            .find(|pattern| pattern.glob.is_match(&branch))
            .is_some_and(|pattern| pattern.takes)
    }
}

impl Pattern {
    fn new(text: &str) -> Result<Self, InvalidFilter> {
        let glob = text.strip_prefix('!').unwrap_or(text);
        let is_long = glob.len() > PATTERN_MAX;
        if glob.is_empty() || is_long || glob.contains(char::is_whitespace) {
            return Err(InvalidFilter::Empty(given(text)));
        }
        let glob = GlobBuilder::new(&glob.replace('/', "-"))
            .build()
            .map_err(|error| InvalidFilter::Glob {
                pattern: given(text),
                reason: error.kind().to_string(),
            })?;
        Ok(Self {
            text: text.to_owned(),
            takes: !text.starts_with('!'),
            glob: glob.compile_matcher(),
        })
    }
}

impl PartialEq for BranchFilter {
    fn eq(&self, other: &Self) -> bool {
        let texts = |filter: &Self| -> Vec<String> {
            filter
                .0
                .iter()
                .map(|pattern| pattern.text.clone())
                .collect()
        };
        texts(self) == texts(other)
    }
}

impl Eq for BranchFilter {}

/// Patterns separated by blanks.
impl FromStr for BranchFilter {
    type Err = InvalidFilter;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text.split_whitespace())
    }
}

impl fmt::Display for BranchFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, pattern) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { " " };
            write!(f, "{separator}{}", pattern.text)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_matching_pattern_decides() {
        for (patterns, branch, taken) in [
            ("* !master", "develop", true),
            ("* !master", "master", false),
            ("* !master", "feature/login", true),
            ("!master *", "master", true),
            ("* !release/* release/9", "release/1", false),
            ("* !release/* release/9", "release/9", true),
            ("* !release/* release/9", "release-9", true),
            ("feature/*", "feature-login", true),
            ("feature/*", "feature/a/b", true),
            ("feature/*", "fix/a", false),
            ("feature-*", "feature/login", true),
            ("{main,develop}", "develop", true),
            ("[ab]?", "b1", true),
            ("main", "MAIN", false),
            ("*", "", true),
            ("?*", "", false),
            ("*", "é\u{1b}", true),
        ] {
            let filter: BranchFilter = patterns.parse().unwrap();
            assert_eq!(filter.takes(branch), taken, "{patterns}: {branch}");
            assert_eq!(filter.to_string(), patterns);
            assert_eq!(filter.to_string().parse::<BranchFilter>().unwrap(), filter);
        }
    }

    #[test]
    fn what_makes_no_filter_is_refused() {
        for patterns in [
            &[][..],
            &[""],
            &["!"],
            &["!master"],
            &["a b"],
            &["["],
            &["{a"],
            &["*", "z-a]["],
        ] {
            assert!(BranchFilter::new(patterns).is_err(), "{patterns:?}");
        }
        let longest = "a".repeat(PATTERN_MAX);
        assert!(BranchFilter::new([&longest]).is_ok());
        assert!(BranchFilter::new([&format!("{longest}a")]).is_err());
    }

    #[test]
    fn filters_are_the_same_as_their_patterns_are() {
        let filter = |text: &str| text.parse::<BranchFilter>().unwrap();
        assert_ne!(filter("* !master"), filter("!master *"));
    }
}
