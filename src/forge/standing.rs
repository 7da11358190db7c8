//! What a forge tells of us and of its repository before anything is written: what we may do, what protects
//! its branches and tags and whether that binds us, which checks are reported, whom it tells of news.
//!
//! Forges tell much of it to administrators alone: what is not told is said to be not told, and never guessed.
//! What follows from it is `towpath check --online`'s to say.

use std::collections::{BTreeMap, BTreeSet};

/// The status that Towpath sets on the heads of its requests.
pub const PROVEN: &str = "towpath/proven";

/// Who we are to a forge, and what we may do in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// Our account; `None` where the credential may not ask.
    pub login: Option<String>,
    /// The App that we are, by its id.
    pub app: Option<u64>,
    /// Whether we administer the repository.
    pub admin: bool,
    /// Whether nobody may write there any more.
    pub archived: bool,
    /// Whether we may do each kind of work.
    pub may: BTreeMap<Work, May>,
}

/// What is done in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// Branches, records and tags.
    Contents,
    /// Requests.
    Requests,
    /// Statuses of commits.
    Statuses,
    /// Deployments of commits.
    Deployments,
}

impl Work {
    /// Every kind.
    pub const ALL: [Self; 4] = [
        Self::Contents,
        Self::Requests,
        Self::Statuses,
        Self::Deployments,
    ];
}

/// Whether we may do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum May {
    /// We may.
    Yes,
    /// We may not: what is missing.
    No(String),
    /// Nobody tells: why.
    Untold(String),
}

/// What protects a branch or a tag.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Protection {
    /// Rule by rule.
    pub rules: Vec<Rule>,
    /// What could not be learnt, and why.
    pub untold: Vec<String>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What it asks for.
    pub kind: RuleKind,
    /// Where people find it: `branch protection`, "ruleset `main`".
    pub source: String,
    /// Whether it binds us.
    pub binds: Binds,
}

/// What a rule asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleKind {
    /// Changes come by requests alone, each with so many approvals.
    Requests {
        /// How many.
        approvals: u64,
    },
    /// Requests are merged by a queue alone.
    Queue,
    /// Checks that must have succeeded.
    Checks {
        /// Which.
        checks: Vec<Check>,
        /// Whether a push of a commit without them is refused, too.
        pushes: bool,
    },
    /// Only some may change it; where it binds us we are none of them.
    Few,
    /// Nobody may change it.
    Locked,
    /// Commits are signed.
    Signed,
    /// There are no merge commits.
    Linear,
    /// History is not rewritten.
    NoRewrite,
    /// It is not deleted.
    NoDeletion,
    /// It is not made.
    NoCreation,
    /// Something else, in the forge's own words, that may concern our commits.
    Other(String),
}

/// A check that must have succeeded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Check {
    /// Its name; where the forge has patterns, one of those.
    pub context: String,
    /// The App that alone may say so.
    pub app: Option<u64>,
}

impl Check {
    /// Whether it is the one that Towpath sets on its proposals.
    pub fn is_ours(&self) -> bool {
        self.is_met_by(PROVEN)
    }

    /// Whether a status or a check run of this name is what it asks for.
    pub fn is_met_by(&self, context: &str) -> bool {
        let glob = || globset::Glob::new(&self.context).ok();
        self.context == context || glob().is_some_and(|it| it.compile_matcher().is_match(context))
    }
}

/// Whether a rule binds us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binds {
    /// It does.
    Yes,
    /// It does not: why.
    No(String),
    /// Nobody tells: why.
    Untold(String),
}

/// Which checks are reported on requests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reported {
    /// How many requests were looked at.
    pub requests: usize,
    /// The names of statuses and check runs on their heads.
    pub contexts: BTreeSet<String>,
    /// What could not be looked at, and why.
    pub untold: Option<String>,
}

/// Where a repository tells of its news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The address; what stands behind `?` is left out.
    pub url: String,
    /// Whether it is in use.
    pub active: bool,
    /// What it is told of; `*` is everything.
    pub events: BTreeSet<String>,
    /// The status of the last answer, where there was one.
    pub answered: Option<u16>,
}

impl Hook {
    /// Whether it is told of that.
    pub fn hears(&self, event: &str) -> bool {
        self.events.contains(event) || self.events.contains("*")
    }
}
