//! The key `commit` of an entry of `forges`: who makes the commits on branches, and whether that can be.

use std::path::Path;

use super::Declarations;
use super::form::{At, Words};
use super::problem::{Place, Problems};
use super::resolve::Unit;
use super::section::Fields;
use crate::model::ForgeKind;

/// How the commits on branches come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CommitVia {
    /// Made here, and pushed.
    #[default]
    Git,
    /// Made by GitHub, which signs them.
    GitHubApi,
}

/// The form of `commit`.
pub(super) fn commit() -> Fields<At<CommitVia>> {
    Fields {
        sample: "{ via: github-api }",
        read: |section| {
            section.or(
                "via",
                "`git`: they are made here and pushed. `github-api`: GitHub makes them on a scratch branch and signs them; their author is whoever the token stands for (docs/github.md).",
                Words(&[("git", CommitVia::Git), ("github-api", CommitVia::GitHubApi)]),
                "git",
            )
        },
    }
}

/// Where it is stated that GitHub makes the commits of a host.
pub(super) type Committing = Vec<At<String>>;

/// What GitHub makes it signs itself: a key would sign nothing, unless records are signed with it.
pub(super) fn nobody_signs_twice(_: &Path, declarations: &Declarations, problems: &mut Problems) {
    let signs = declarations.settings.as_ref();
    if signs.is_none_or(|settings| settings.commit.sign.is_none()) {
        return;
    }
    let mut files = declarations.environments.values();
    let lists_keys = files.any(|file| {
        let declared = file.declared.as_ref();
        declared.is_some_and(|declared| !declared.authority.is_empty())
    });
    for At { place, .. } in declarations.committing.iter().filter(|_| !lists_keys) {
        let what = "`via: github-api` does not go together with `commit: { sign: … }`: GitHub signs what it makes";
        let instead = "leave `sign` out of `commit`, or `via: github-api` out here";
        problems.error(place, what, instead);
    }
}

/// GitHub alone makes commits.
pub(super) fn hosts_are_github(
    committing: &Committing,
    units: &[Unit<'_>],
    problems: &mut Problems,
) {
    for At { place, value: host } in committing {
        let mut there = units
            .iter()
            .filter(|unit| unit.repository.value.servers().any(|it| it == host));
        let is_github = ForgeKind::of_host(host) == Some(ForgeKind::GitHub)
            || there.any(|unit| unit.forge() == Some(ForgeKind::GitHub));
        if !is_github {
            refuse(place, host, problems);
        }
    }
}

fn refuse(place: &Place, host: &str, problems: &mut Problems) {
    let what = format!("`via: github-api` needs a GitHub, and {host} is not known to be one");
    let instead = "write `forge: github` in the `repository` of the environments there if it is, else leave `via: github-api` out";
    problems.error(place, what, instead);
}
