//! `<environment>/environment.yaml`: what one environment states.
//!
//! Judges this file alone. What it means for an application is made in `resolve`, and what it means
//! beside other files is judged in `check`.

use std::time::Duration;

use super::authority;
use super::cluster::{self, Limits};
use super::credential::credential;
use super::form::{At, Flag, WordOr, Words, count, duration};
use super::list::{Mapped, any_list, list};
use super::section::{Fields, Section};
use super::sops;
use super::stops::HoldForm;
use super::terms;
use super::tunables::{Defaults, OVERRIDABLE, Tunables, tunables};
use crate::model::{
    BranchFilter, ClusterSpec, Credential, EnvironmentName, ForgeKind, InvalidFilter, KeepTags,
    Sops, StatedHold, VersionRange,
};

/// The branch of an infra repository where none is stated.
pub(super) const DEFAULT_BRANCH: &str = "main";

/// What a file states. What is missing or wrong was reported and is `None`.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) repository: Option<At<Repository>>,
    pub(super) manifests: Option<At<Vec<At<String>>>>,
    pub(super) cluster: Option<ClusterSpec>,
    pub(super) access: Option<Limits>,
    pub(super) sops: Option<Sops>,
    pub(super) follow: Option<At<Follow>>,
    pub(super) tags: Option<Tags>,
    /// Whether what is deployed is marked in its source.
    pub(super) mark_source: Option<At<bool>>,
    pub(super) hold: Option<StatedHold>,
    /// Whose records let something move; empty: everybody's.
    pub(super) authority: Vec<At<authority::Granted>>,
    pub(super) tunables: Tunables,
    /// The keys an application may set for itself here.
    pub(super) overridable: Vec<&'static str>,
}

#[derive(Debug, Clone)]
pub(super) struct Repository {
    pub(super) url: At<String>,
    pub(super) branch: String,
    pub(super) credential: Credential,
    pub(super) forge: Option<ForgeKind>,
}

#[derive(Debug)]
pub(super) enum Follow {
    Branches(BranchFilter),
    Tags(VersionRange),
    Environments {
        all: Vec<At<EnvironmentName>>,
        soak: Duration,
    },
}

#[derive(Debug)]
pub(super) struct Tags {
    pub(super) keep: KeepTags,
    pub(super) prefix: Option<At<String>>,
}

/// The form of the whole file.
pub(super) fn file() -> Fields<Declared> {
    Fields {
        sample: "repository: { … }",
        read: environment,
    }
}

fn environment(section: &mut Section<'_>) -> Option<Declared> {
    section.hint(
        "soak",
        "write it in `follow`: `follow: { environment: qa, soak: 10m }`",
    );
    section.hint(
        "branch",
        "write it in `repository`: `repository: { url: …, branch: main }`",
    );
    section.hint("url", "write it in `repository`: `repository: { url: … }`");
    section.hint(
        "namespace",
        "write it in `cluster`: `cluster: { context: …, namespace: … }`",
    );
    section.hint(
        "timeout",
        "write it in `health`: `health: { timeout: 10m }`",
    );
    section.hint("name", "an environment is named by its folder: remove this");
    let repository = section.required(
        "repository",
        "The infra repository whose branch says what should run.",
        Fields {
            sample: "{ url: https://github.com/acme/infra }",
            read: repository,
        },
    );
    let manifests = section.required(
        "manifests",
        "Directories of manifests in order, relative to the repository's root. All are applied, only the last is written. `{application}` stands for the application's name; without it the directory belongs to one application.",
        list(terms::directory()),
    );
    let cluster = section.required(
        "cluster",
        "The one cluster the environment is applied to.",
        cluster::cluster(),
    );
    let access = section.optional(
        "access",
        "What an application may touch in the cluster. Left out: all that Towpath itself may. Where it stands, kinds without a namespace must be named.",
        cluster::access(),
    );
    let sops = section.optional(
        "sops",
        "What opens manifests that are encrypted by sops. Left out: they are refused.",
        sops::sops(),
    );
    let follow = section.required(
        "follow",
        "Where releases come from: exactly one of `environment`, `all`, `branches` and `tags`.",
        Fields {
            sample: "{ environment: qa }",
            read: follow,
        },
    );
    let hold = section.optional(
        "hold",
        "Stops everything that Towpath does here, as long as it stands: a reason, or `{ reason, until }`.",
        HoldForm,
    );
    let tunables = tunables(section, Defaults::Apply);
    let tags = section.or(
        "tags",
        "The annotated tags that mark deployments in the infra repository.",
        Fields {
            sample: "{ keep: all }",
            read: tags,
        },
        "{}",
    );
    let mark_source = section.or(
        "mark-source",
        "Whether the application's own commit is marked once it is deployed here: with `state: deployed` in its git note, and with an annotated tag `deployment-0001` in the source repository, which Towpath may write then.",
        Flag,
        "false",
    );
    let authority = section.optional(
        "authority",
        "The keys, and the teams with their people's keys, whose signature lets a record count that lets something move (docs/records.md). Left out: everybody who can push to the repository is trusted.",
        authority::authority(),
    );
    let overridable = section.or(
        "override",
        "The keys that an application may set for itself here, under `in`.",
        any_list(Words(OVERRIDABLE)),
        "[]",
    );
    Some(Declared {
        repository,
        manifests,
        cluster: cluster.map(|cluster| cluster.value),
        access: access.map(|access| access.value),
        sops: sops.map(|sops| sops.value),
        follow,
        tags: tags.map(|tags| tags.value),
        mark_source,
        hold: hold.map(|hold| hold.value),
        authority: authority.map_or_else(Vec::new, |keys| keys.value),
        tunables,
        overridable: overridable.map_or_else(Vec::new, |keys| {
            keys.value.into_iter().map(|key| key.value).collect()
        }),
    })
}

/// The forges that are known.
pub(super) const FORGES: Words<ForgeKind> =
    Words(&[("github", ForgeKind::GitHub), ("gitea", ForgeKind::Gitea)]);

fn repository(section: &mut Section<'_>) -> Option<Repository> {
    let url = section.required(
        "url",
        "Its address: https://…, ssh://…, user@host:path, file:///… or an absolute path. `{application}` stands for the application's name.",
        terms::repository_url(),
    );
    let branch = section.or(
        "branch",
        "The branch whose head says what should run.",
        terms::branch(),
        DEFAULT_BRANCH,
    );
    let credential = credential(section);
    let forge = section.optional(
        "forge",
        "What serves it: `github` or `gitea` (Forgejo too). Left out: as github.com, *.ghe.com, codeberg.org and gitea.com tell by their names.",
        FORGES,
    );
    Some(Repository {
        url: url?,
        branch: branch?.value,
        credential,
        forge: forge.map(|forge| forge.value),
    })
}

/// The values without their places.
pub(super) fn values<T>(items: Vec<At<T>>) -> Vec<T> {
    items.into_iter().map(|item| item.value).collect()
}

fn follow(section: &mut Section<'_>) -> Option<Follow> {
    let environment = section.optional(
        "environment",
        "The environment in which a release must be proven.",
        terms::environment_name(),
    );
    let all = section.optional(
        "all",
        "The environments in every one of which a release must be proven.",
        list(terms::environment_name()),
    );
    let branches = section.optional(
        "branches",
        "Patterns of branches whose builds are taken, in order; the last one that matches decides, `!` leaves out.",
        list(terms::branch_pattern()),
    );
    let tags = section.optional(
        "tags",
        "The range of versions whose tagged builds are taken.",
        terms::version_range(),
    );
    let soak = section.optional(
        "soak",
        "With `environment` and `all`: how long a release must have run healthy there. Left out: 0s.",
        duration(),
    );
    let beside = "remove it: only what runs in another environment can soak there";
    section.not_with("soak", "branches", beside);
    section.not_with("soak", "tags", beside);
    section
        .exactly_one(
            &["environment", "all", "branches", "tags"],
            "follow: { environment: qa }",
        )
        .then_some(())?;
    let soak = soak.map_or(Duration::ZERO, |soak| soak.value);
    if let Some(environment) = environment {
        let all = vec![environment];
        return Some(Follow::Environments { all, soak });
    }
    if let Some(all) = all {
        let all = all.value;
        return Some(Follow::Environments { all, soak });
    }
    if let Some(range) = tags {
        return Some(Follow::Tags(range.value));
    }
    let place = section.key_place("branches");
    let patterns = values(branches?.value);
    match BranchFilter::new(patterns) {
        Ok(filter) => Some(Follow::Branches(filter)),
        // Each pattern alone was judged by its form.
        Err(InvalidFilter::TakesNothing | InvalidFilter::Empty(_) | InvalidFilter::Glob { .. }) => {
            section.reading.problems.error(
                &place,
                "no pattern takes any branch",
                "begin with one that does, such as `\"*\"`",
            );
            None
        }
    }
}

fn tags(section: &mut Section<'_>) -> Option<Tags> {
    let newest = Mapped {
        form: count(),
        into: |number| match number {
            0 => KeepTags::None,
            number => KeepTags::Newest(number),
        },
    };
    let words = Words(&[("all", KeepTags::All), ("none", KeepTags::None)]);
    let keep = section.or(
        "keep",
        "How many are kept: `all`, `none` (then none are made), or the newest so many.",
        WordOr(words, newest),
        "all",
    );
    let prefix = section.optional(
        "prefix",
        "A tag's name up to its number. Left out: `deployment-`, or `<environment>/deployment-` where the repository serves several environments.",
        terms::tag_prefix(),
    );
    Some(Tags {
        keep: keep?.value,
        prefix,
    })
}
