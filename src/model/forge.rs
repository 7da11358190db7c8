//! What serves a repository, and how requests about proposals are made there.

use super::{RequestDiff, TitleTemplate};

/// What serves a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ForgeKind {
    /// github.com, or GitHub Enterprise.
    GitHub,
    /// Gitea, or Forgejo.
    Gitea,
}

impl ForgeKind {
    /// What serves the repositories of this host, where its name tells.
    pub fn of_host(host: &str) -> Option<Self> {
        match host {
            "github.com" => Some(Self::GitHub),
            host if host.ends_with(".ghe.com") => Some(Self::GitHub),
            "codeberg.org" | "gitea.com" => Some(Self::Gitea),
            _ => None,
        }
    }
}

/// How requests about proposals are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestPolicy {
    /// Its title.
    pub title: TitleTemplate,
    /// Labels that it gets when it is opened.
    pub labels: Vec<String>,
    /// Who is asked to review it when it is opened; `team:NAME` asks a team.
    pub reviewers: Vec<String>,
    /// Whether it is opened as a draft.
    pub draft: bool,
    /// How it merges by itself once its checks and approvals are in; `None`: a person merges it.
    pub auto_merge: Option<MergeMethod>,
    /// What happens to one that may be merged at any moment when a newer release is proven.
    pub on_newer: OnNewer,
    /// How much of the difference to the cluster it shows; `None`: what fits who can read it.
    pub diff: Option<RequestDiff>,
}

/// How a request is merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeMethod {
    /// A commit with both sides as parents.
    Merge,
    /// One new commit.
    Squash,
    /// Its commits anew on the base.
    Rebase,
}

/// What happens to a request that may be merged at any moment when a newer release is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnNewer {
    /// The newer release waits until it is merged or closed.
    Wait,
    /// Approvals are dismissed and auto-merge is turned off; then the newer release takes its place.
    Replace,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_tells_what_serves_it() {
        for (host, kind) in [
            ("github.com", Some(ForgeKind::GitHub)),
            ("acme.ghe.com", Some(ForgeKind::GitHub)),
            ("codeberg.org", Some(ForgeKind::Gitea)),
            ("gitea.com", Some(ForgeKind::Gitea)),
            ("git.example.com", None),
            ("github.com.example.com", None),
        ] {
            assert_eq!(ForgeKind::of_host(host), kind, "{host}");
        }
    }
}
