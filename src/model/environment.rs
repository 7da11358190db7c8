//! Environments and applications as the configuration describes them, resolved and checked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::url::Url;
use jiff::Timestamp;

use super::freeze::Window;
use super::record::NUMBER_MAX;
use super::{
    Access, ApplicationName, Authority, BranchFilter, ClusterSpec, Credential, EnvironmentName,
    EvidenceRule, ForgeKind, HealthRule, ImageRepository, Prune, RepositoryUrl, RequestPolicy,
    TagTemplate, VersionRange,
};

/// What is released: a source repository and one or more images.
#[derive(Debug, Clone, PartialEq)]
pub struct Application {
    /// Its name; stands in branch names, records and labels.
    pub name: ApplicationName,
    /// What people tell applications apart by: whose they are, how much hangs on them.
    pub labels: BTreeMap<String, String>,
    /// The source repository, where commits are looked up.
    pub source: Option<Source>,
    /// The images that one release consists of. Never empty.
    pub images: Vec<ImageSource>,
}

/// An application's source repository.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Where it lives.
    pub url: RepositoryUrl,
    /// How to be let in.
    pub credential: Credential,
    /// What serves it, where that is known.
    pub forge: Option<ForgeKind>,
}

/// One image of an application and how its tags name what they were built from.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageSource {
    /// The image repository.
    pub repository: ImageRepository,
    /// The form of tags of branch builds.
    pub branch_tag: Option<TagTemplate>,
    /// The form of tags of release builds.
    pub release_tag: Option<TagTemplate>,
}

/// An infra repository, branch and path, and the one cluster it is applied to.
///
/// Resolved for one application: `{application}` is replaced and its overrides are in.
#[derive(Debug, Clone, PartialEq)]
pub struct Environment {
    /// Its name; stands in branch names, records and tags.
    pub name: EnvironmentName,
    /// The infra repository.
    pub repository: RepositoryUrl,
    /// How to be let in.
    pub credential: Credential,
    /// The branch whose head says what should run.
    pub branch: String,
    /// Directories of manifests in order, relative to the repository's root, without slashes around
    /// them; empty text: the root itself. All are applied, only the last is written. Never empty, and
    /// none lies in another.
    pub manifests: Vec<String>,
    /// The directory of JSON patches and merge patches, apart from the manifests.
    pub patches: Option<String>,
    /// The cluster it is applied to.
    pub cluster: ClusterSpec,
    /// What the application may touch there; `None`: no limits.
    pub access: Option<Access>,
    /// What opens its encrypted manifests; `None`: they are refused.
    pub sops: Option<Sops>,
    /// Where its releases come from.
    pub follow: Follow,
    /// What a promotion into it waits for.
    pub gate: Gate,
    /// What serves the infra repository, where that is known; with `gate: pull-request` it is.
    pub forge: Option<ForgeKind>,
    /// How requests about its proposals are made.
    pub request: Arc<RequestPolicy>,
    /// How a deployment is judged.
    pub health: HealthPolicy,
    /// What must answer before a deployment is healthy.
    pub smoke: Vec<SmokeTest>,
    /// What a failed deployment leads to.
    pub on_failure: OnFailure,
    /// How a rollback is written.
    pub rollback: Rollback,
    /// A stop that stands in its file.
    pub hold: Option<StatedHold>,
    /// When it takes no automatic change, as its file says.
    pub freeze: Vec<Window>,
    /// How far a failure reaches.
    pub stop_the_line: StopTheLine,
    /// Whether a release waits for the running one to be judged.
    pub pace: Pace,
    /// How many deployments it takes by itself in how long a time; `None`: as many as come.
    pub rate: Option<Rate>,
    /// How old a release must be before it comes by itself.
    pub min_age: Duration,
    /// What must have been found out about a release before it comes.
    pub evidence: Vec<EvidenceRule>,
    /// What happens to live objects that differ from what was applied.
    pub drift: Drift,
    /// What happens to fields that another manager holds.
    pub conflicts: Conflicts,
    /// What may be deleted.
    pub prune: Prune,
    /// Whether live objects that are not ours may be taken over without asking.
    pub adopt: Adopt,
    /// The tags that mark its deployments.
    pub tags: DeploymentTags,
    /// Image fields of custom resources.
    pub image_fields: Vec<ImageField>,
    /// Whose records let something move.
    pub authority: Arc<Authority>,
    /// Whether what is deployed is marked in its source.
    pub mark_source: bool,
}

/// Where an environment's releases come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Follow {
    /// Branch builds.
    Branches(BranchFilter),
    /// Tagged builds.
    Tags(VersionRange),
    /// Releases proven in every one of these environments.
    Environments {
        /// The followed environments. Never empty.
        all: Vec<EnvironmentName>,
        /// How long a release must have run healthy there.
        soak: Duration,
    },
}

/// What a promotion waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Nothing: the branch is written directly.
    None,
    /// A person who merges the proposal branch.
    Branch,
    /// A person who merges the pull request.
    PullRequest,
}

/// A stop that stands in an environment's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatedHold {
    /// Why.
    pub reason: String,
    /// When it ends by itself; `None`: once it is taken out of the file.
    pub until: Option<Timestamp>,
    /// Where it stands, for people.
    pub place: String,
}

impl StatedHold {
    /// Whether it holds now.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// What opens manifests that are encrypted by sops.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sops {
    /// The program: its name, or its absolute path.
    pub binary: PathBuf,
    /// The file with the age keys; `None`: what sops finds by itself.
    pub age_key_file: Option<PathBuf>,
    /// How long it may take for one file.
    pub timeout: Duration,
}

/// How a deployment is judged.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthPolicy {
    /// How long a rollout may take before it has failed.
    pub timeout: Duration,
    /// What a healthy deployment of workloads that run nothing says of its release.
    pub not_exercised: NotExercised,
    /// How kinds are judged that Towpath does not know; at most one rule a kind.
    pub rules: Vec<HealthRule>,
}

/// What workloads say of a release that they do not run: paused, scaled to zero, never due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotExercised {
    /// Nothing: the release is not proven by them.
    Unproven,
    /// As much as any other: the release is proven.
    Proven,
}

/// A request that a deployment must answer as expected before it is healthy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmokeTest {
    /// What is asked for, by HTTP GET.
    pub get: Url,
    /// The status that is expected.
    pub expect: u16,
    /// What the answer must contain.
    pub contains: Option<String>,
    /// How long one request may take.
    pub timeout: Duration,
}

/// What a failed deployment leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The unit is held until a newer release or a changed manifest comes.
    Hold,
    /// The unit goes back to the last release that was healthy there.
    Rollback,
}

/// How a rollback is written in a gated environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rollback {
    /// Through the gate.
    Gate,
    /// Directly to the branch.
    Direct,
}

/// How far a failure reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopTheLine {
    /// The failed unit alone.
    Unit,
    /// Every unit of the environment.
    Environment,
}

/// When a newer release replaces the running one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// At once.
    Newest,
    /// Once the running one is proven or failed.
    Proven,
}

/// How often releases come by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// So many deployments of the environment. At least 1.
    pub at_most: usize,
    /// In so long a time.
    pub per: Duration,
}

impl Rate {
    /// The most that can be counted.
    pub const AT_MOST: usize = 20;
}

/// What happens to live objects that differ from what was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drift {
    /// They are applied again.
    Correct,
    /// They are reported.
    Report,
}

/// What happens to fields that another manager holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflicts {
    /// They are taken, and named in the record.
    Force,
    /// The apply is refused.
    Refuse,
}

/// Whether live objects that are not ours may be taken over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Adopt {
    /// Take them over without asking.
    pub auto: bool,
    /// Engines whose objects may be taken over: `flux`, `argocd`, `helm`.
    pub engines: Vec<String>,
}

/// The tags that mark deployments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentTags {
    /// How many are made and kept.
    pub keep: KeepTags,
    /// The tag's name up to its number, such as `deployment-`.
    pub prefix: String,
}

/// Enough for people to sort by; longer numbers take the room they need.
const TAG_DIGITS: usize = 4;

impl DeploymentTags {
    /// The trailer of a tag's message that names the records head it was made from.
    pub const RECORDS: &str = "Towpath-Records:";

    /// The name of a deployment's tag.
    pub fn name(&self, number: u64) -> String {
        format!("{}{number:0TAG_DIGITS$}", self.prefix)
    }

    /// The number that a tag's full ref name says, if it is one of these tags.
    pub fn number(&self, reference: &str) -> Option<u64> {
        let digits = reference
            .strip_prefix("refs/tags/")?
            .strip_prefix(&self.prefix)?;
        let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = all_digits.then(|| digits.parse().ok())?;
        number.filter(|number| *number <= NUMBER_MAX)
    }
}

/// How many deployment tags are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepTags {
    /// All of them.
    All,
    /// The newest so many.
    Newest(usize),
    /// None are made.
    None,
}

/// An image field of a custom resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageField {
    /// The kind, such as `Rollout`.
    pub kind: String,
    /// The API group, such as `argoproj.io`; empty for the core group.
    pub group: String,
    /// A JSON pointer in which `*` stands for every element of a list.
    pub path: String,
}

/// One application's environments in order: upstream first.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    /// The application.
    pub application: Application,
    /// Its environments, resolved for it, each after those it follows.
    pub environments: Vec<Environment>,
    /// Whether the configuration no longer takes the application there: only records and live objects
    /// tell of it.
    pub removed: bool,
}

impl Pipeline {
    /// The environment of this name.
    pub fn environment(&self, name: &EnvironmentName) -> Option<&Environment> {
        self.environments
            .iter()
            .find(|environment| environment.name == *name)
    }

    /// The environments that follow this one.
    pub fn followers<'a>(
        &'a self,
        name: &'a EnvironmentName,
    ) -> impl Iterator<Item = (&'a Environment, Duration)> {
        self.environments
            .iter()
            .filter_map(move |environment| match &environment.follow {
                Follow::Environments { all, soak } if all.contains(name) => {
                    Some((environment, *soak))
                }
                _ => None,
            })
    }

    /// How long those that follow this environment ask a release to run healthy there: the longest of them.
    pub fn soak_of(&self, name: &EnvironmentName) -> Duration {
        let soaks = self.followers(name).map(|(_, soak)| soak);
        soaks.max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_s_number_is_one_that_a_deployment_may_have() {
        let tags = DeploymentTags {
            keep: KeepTags::All,
            prefix: "qa/deployment-".to_owned(),
        };
        for (name, number) in [
            ("refs/tags/qa/deployment-0007", Some(7)),
            ("refs/tags/qa/deployment-1000000000000", Some(NUMBER_MAX)),
            ("refs/tags/qa/deployment-1000000000001", None),
            ("refs/tags/qa/deployment-18446744073709551615", None),
            ("refs/tags/qa/deployment-+7", None),
            ("refs/tags/qa/deployment-", None),
            ("refs/tags/deployment-0007", None),
        ] {
            assert_eq!(tags.number(name), number, "{name}");
        }
    }
}
