//! Whether the repositories ended as the story has it. Each fact is looked at by itself, and named
//! where it is another than was told.

use std::fmt::{Debug, Display};
use std::path::Path;
use std::time::Duration;

use reqwest::header::ACCEPT;
use serde::Serialize;

use super::builds::Build;
use super::facts::{self, Deployment, EnvironmentFacts};
use super::ground::Running;
use super::manifests::APPLICATION;
use super::place::{ENVIRONMENTS, Place, infra_name};
use crate::event::{Event, EventKind};

/// A deployment that the story tells of.
pub struct Told<'a> {
    /// The release.
    pub build: &'a Build,
    /// How it came.
    pub cause: &'static str,
    /// How it ended.
    pub verdict: &'static str,
}

/// What the story tells.
pub struct Story<'a> {
    /// Every release.
    pub builds: Vec<&'a Build>,
    /// The deployments of each environment, in order.
    pub deployments: Vec<(&'static str, Vec<Told<'a>>)>,
    /// The releases that were proposed to production, in order.
    pub proposed: Vec<&'a Build>,
    /// The release that must not get there.
    pub bad: &'a Build,
    /// How long a release runs in QA before it is proposed.
    pub soak: Duration,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Found {
    /// The infra repositories.
    pub environments: Vec<EnvironmentFacts>,
    /// The application's repository.
    pub source: Source,
    /// What the cluster runs, where it is a real one.
    #[serde(skip)]
    pub running: Vec<Running>,
    /// How many facts were looked at.
    pub checked: usize,
    /// Those that are not as told.
    pub wrong: Vec<String>,
}

/// The application's repository.
#[derive(Debug, Serialize)]
pub struct Source {
    /// The bare repository, from the demo's directory.
    pub repository: String,
    /// Every ref and what it points to.
    pub refs: std::collections::BTreeMap<String, String>,
}

#[derive(Default)]
struct Judge {
    checked: usize,
    wrong: Vec<String>,
}

impl Judge {
    fn same<T: PartialEq + Debug>(&mut self, fact: impl Display, found: T, told: T) {
        let holds = found == told;
        self.holds(holds, || format!("{fact}: told {told:?}, found {found:?}"));
    }

    fn holds(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        self.checked += 1;
        if !holds {
            self.wrong.push(otherwise());
        }
    }
}

/// Reads every repository and the registry, and judges them.
///
/// # Errors
/// Where something cannot be read at all.
pub async fn judge(place: &Place, story: &Story<'_>, events: &[Event]) -> anyhow::Result<Found> {
    let mut judge = Judge::default();
    let mut environments = Vec::new();
    for (environment, told) in &story.deployments {
        let repository = place.bare(&infra_name(environment));
        let found = facts::environment(place.root(), &repository, environment).await?;
        branch(&mut judge, place, &found, told).await?;
        deployments(&mut judge, place.root(), &found, told).await?;
        heard(&mut judge, &found, events);
        environments.push(found);
    }
    proposals(&mut judge, &environments, story);
    let production = place.root().join(place.bare(&infra_name(ENVIRONMENTS[2])));
    for text in [story.bad.digest.to_string(), story.bad.tag.clone()] {
        let holding = facts::holding(&production, &text).await?;
        judge.same(
            format!("commits of production with {text}"),
            holding,
            Vec::new(),
        );
    }
    let repository = place.bare(APPLICATION);
    let refs = facts::refs(&place.root().join(&repository)).await?;
    for build in &story.builds {
        registry(&mut judge, place, build).await?;
        source(&mut judge, &place.root().join(&repository), build).await;
    }
    let source = Source { repository, refs };
    let running = match place.ground() {
        Some(ground) => ground.running().await?,
        None => Vec::new(),
    };
    for found in &running {
        runs(&mut judge, place, found, story)?;
    }
    let Judge { checked, wrong } = judge;
    Ok(Found {
        environments,
        source,
        running,
        checked,
        wrong,
    })
}

/// The branch's head runs the last release, and no other branch is left.
async fn branch(
    judge: &mut Judge,
    place: &Place,
    found: &EnvironmentFacts,
    told: &[Told<'_>],
) -> anyhow::Result<()> {
    let environment = &found.environment;
    let branches = found
        .refs
        .keys()
        .filter_map(|name| name.strip_prefix("refs/heads/"));
    judge.same(
        format!("branches of {environment}"),
        branches.collect(),
        vec!["master"],
    );
    if let Some(last) = told.last() {
        let image = pinned(place, last.build)?;
        judge.same(
            format!("image at the head of {environment}"),
            &found.image,
            &image,
        );
    }
    let running = found
        .deployments
        .last()
        .map(|deployment| deployment.commit.as_str());
    let head = Some(found.head.as_str());
    judge.same(
        format!("head of {environment}, against its last deployment"),
        head,
        running,
    );
    Ok(())
}

/// Numbers without gap or double, each with its release, verdict, commit and tag.
async fn deployments(
    judge: &mut Judge,
    root: &Path,
    found: &EnvironmentFacts,
    told: &[Told<'_>],
) -> anyhow::Result<()> {
    let environment = &found.environment;
    let numbers: Vec<u64> = found
        .deployments
        .iter()
        .map(|deployment| deployment.number)
        .collect();
    let consecutive: Vec<u64> = (1_u64..).take(told.len()).collect();
    judge.same(
        format!("deployment numbers of {environment}"),
        numbers,
        consecutive,
    );
    let tags = found
        .refs
        .keys()
        .filter(|name| name.starts_with("refs/tags/"));
    judge.same(
        format!("number of tags of {environment}"),
        tags.count(),
        told.len(),
    );
    let history = facts::history(&root.join(&found.repository)).await?;
    for (deployment, told) in found.deployments.iter().zip(told) {
        let Deployment {
            number,
            release,
            digest,
            commit,
            ..
        } = deployment;
        let of = |fact: &str| format!("{fact} of {environment}'s deployment {number}");
        judge.same(of("release"), release, &told.build.tag);
        judge.same(of("digest"), digest, &told.build.digest.to_string());
        judge.same(of("cause"), deployment.cause.as_str(), told.cause);
        judge.same(
            of("verdict"),
            deployment.verdict.as_deref(),
            Some(told.verdict),
        );
        judge.holds(history.contains(commit), || {
            format!("{}: {commit} is not on the branch", of("commit"))
        });
        if told.cause != "baseline" {
            judge.holds(deployment.image.ends_with(digest), || {
                format!("{}: its commit names {}", of("image"), deployment.image)
            });
        }
        let message = match told.verdict {
            "failed" => "Failed Deployment",
            _ => "Successfully Deployed",
        };
        let tag = format!("deployment-{number:04}");
        judge.same(of("tag"), deployment.tag.as_deref(), Some(tag.as_str()));
        judge.same(
            of("tag's message"),
            deployment.message.as_deref(),
            Some(message),
        );
    }
    Ok(())
}

/// The cluster runs the last release of an environment.
fn runs(
    judge: &mut Judge,
    place: &Place,
    found: &Running,
    story: &Story<'_>,
) -> anyhow::Result<()> {
    let environment = found.environment.as_str();
    let mut deployments = story.deployments.iter();
    let told = deployments.find(|(name, _)| *name == environment);
    let Some(last) = told.and_then(|(_, told)| told.last()) else {
        return Ok(());
    };
    let of = |what: &str| format!("{what} in {}", found.namespace);
    judge.same(of("image"), &found.image, &pinned(place, last.build)?);
    let pods = if environment == ENVIRONMENTS[2] { 3 } else { 1 };
    judge.same(of("available pods"), found.available, pods);
    judge.same(
        of("environment of what runs"),
        found.marked.as_str(),
        environment,
    );
    Ok(())
}

/// What `run` said while it ran is what the repositories say.
fn heard(judge: &mut Judge, found: &EnvironmentFacts, events: &[Event]) {
    let is_here = |event: &&Event| {
        event
            .environment
            .as_ref()
            .is_some_and(|it| it.as_str() == found.environment)
    };
    for event in events.iter().filter(is_here) {
        let named = matches!(
            event.kind,
            EventKind::Committed
                | EventKind::Merged
                | EventKind::Applied
                | EventKind::Healthy
                | EventKind::Failed
                | EventKind::Recorded
        );
        if !named {
            continue;
        }
        let deployment = found
            .deployments
            .iter()
            .find(|it| Some(it.number) == event.number);
        let digest = event
            .release
            .as_ref()
            .and_then(|release| release.images.values().next());
        let said = (
            event.commit.map(|commit| commit.to_string()),
            digest.map(|image| image.digest.to_string()),
        );
        let is = (
            deployment.map(|deployment| deployment.commit.clone()),
            deployment.map(|deployment| deployment.digest.clone()),
        );
        let kind = event.kind.name();
        judge.same(format!("event `{kind}` of {}", found.environment), said, is);
    }
}

/// Production was proposed exactly the good releases, each after it soaked in QA.
fn proposals(judge: &mut Judge, environments: &[EnvironmentFacts], story: &Story<'_>) {
    for found in environments {
        let told: Vec<&str> = match found.environment == ENVIRONMENTS[2] {
            true => story
                .proposed
                .iter()
                .map(|build| build.tag.as_str())
                .collect(),
            false => Vec::new(),
        };
        let proposed = found
            .proposals
            .iter()
            .map(|proposal| proposal.release.as_str());
        judge.same(
            format!("proposals to {}", found.environment),
            proposed.collect(),
            told,
        );
    }
    let qa = environments
        .iter()
        .find(|found| found.environment == ENVIRONMENTS[1]);
    for proposal in environments.iter().flat_map(|found| &found.proposals) {
        let mut runs = qa.iter().flat_map(|found| &found.deployments);
        let healthy = runs
            .find(|run| run.digest == proposal.digest && run.verdict.as_deref() == Some("healthy"));
        let proven = healthy.and_then(|run| run.judged?.checked_add(story.soak).ok());
        judge.holds(proven.is_some_and(|proven| proven <= proposal.at), || {
            format!(
                "{}: proposed before it was healthy in qa for {:?}",
                proposal.release, story.soak
            )
        });
    }
}

/// The registry's tag points to what was built.
async fn registry(judge: &mut Judge, place: &Place, build: &Build) -> anyhow::Result<()> {
    let url = place.registry.url().join(&format!(
        "v2/{}/manifests/{}",
        place.image_repository()?.path(),
        build.tag
    ))?;
    let asked = place
        .client
        .head(url)
        .header(ACCEPT, "application/vnd.oci.image.manifest.v1+json");
    let answer = asked.send().await?;
    let digest = answer.headers().get("docker-content-digest");
    let digest = digest
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    judge.same(
        format!("digest of the image {}", build.tag),
        digest,
        Some(build.digest.to_string()),
    );
    Ok(())
}

/// The commit that the image names is the one that its branch or tag points to.
async fn source(judge: &mut Judge, directory: &Path, build: &Build) {
    let commit = format!("{}^{{commit}}", build.reference);
    let found = super::checkout::git(directory, &["rev-parse", &commit]).await;
    let found = found.unwrap_or_else(|error| error.to_string());
    judge.same(
        format!("commit of {}", build.reference),
        found.trim(),
        &build.commit,
    );
}

/// The image of a build, as manifests name it.
///
/// # Errors
/// As [`Place::image_repository`].
pub fn pinned(place: &Place, build: &Build) -> anyhow::Result<String> {
    Ok(format!(
        "{}:{}@{}",
        place.image_repository()?,
        build.tag,
        build.digest
    ))
}
