//! What the repositories say at the end, read with `git` alone: no mirror, no memory, no event.
//!
//! `tests/demo/verify.sh` reads the same facts in its own way and must find them the same.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::checkout::git;
use super::manifests::DEPLOYMENT;

/// An infra repository.
#[derive(Debug, Serialize)]
pub struct EnvironmentFacts {
    /// The environment.
    pub environment: String,
    /// Its bare repository, from the demo's directory.
    pub repository: String,
    /// The head of its branch.
    pub head: String,
    /// The image that the head names.
    pub image: String,
    /// Every ref and what it points to.
    pub refs: BTreeMap<String, String>,
    /// Its deployments, by number.
    pub deployments: Vec<Deployment>,
    /// Everything that was ever proposed, oldest first.
    pub proposals: Vec<Proposal>,
}

/// A deployment as its records and its tag tell it.
#[derive(Debug, Clone, Serialize)]
pub struct Deployment {
    /// Its number.
    pub number: u64,
    /// Its commit.
    pub commit: String,
    /// What it deployed.
    pub release: String,
    /// That release's digest.
    pub digest: String,
    /// How it came.
    pub cause: String,
    /// How it ended.
    pub verdict: Option<String>,
    /// Why it failed.
    pub reason: Option<String>,
    /// When the verdict was recorded.
    pub judged: Option<Timestamp>,
    /// The image that its commit names.
    pub image: String,
    /// Its tag.
    pub tag: Option<String>,
    /// The first line of the tag's message.
    pub message: Option<String>,
}

/// A release on the proposal branch.
#[derive(Debug, Serialize)]
pub struct Proposal {
    /// The release.
    pub release: String,
    /// Its digest.
    pub digest: String,
    /// The commit that was proposed.
    pub commit: String,
    /// When.
    pub at: Timestamp,
}

/// Reads the infra repository of an environment.
///
/// # Errors
/// Says what `git` answers, or which record cannot be read.
pub async fn environment(
    root: &Path,
    repository: &str,
    environment: &str,
) -> anyhow::Result<EnvironmentFacts> {
    let directory = root.join(repository);
    let refs = refs(&directory).await?;
    let head = refs.get("refs/heads/master").cloned().unwrap_or_default();
    let tags = tags(&directory).await?;
    let records = records(&directory, environment).await?;
    let mut deployments = Vec::new();
    for record in records.iter().filter(|record| kind(record) == "deployment") {
        deployments.push(deployment(&directory, record, &records, &tags).await?);
    }
    deployments.sort_by_key(|deployment| deployment.number);
    let mut proposals: Vec<Proposal> = records
        .iter()
        .filter(|record| kind(record) == "proposed")
        .map(proposal)
        .collect::<anyhow::Result<_>>()?;
    proposals.sort_by_key(|proposal| proposal.at);
    Ok(EnvironmentFacts {
        environment: environment.to_owned(),
        repository: repository.to_owned(),
        image: image(&directory, &head).await?,
        head,
        refs,
        deployments,
        proposals,
    })
}

/// Every ref of a repository and what it points to.
///
/// # Errors
/// Says what `git` answers.
pub async fn refs(directory: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let listed = git(
        directory,
        &["for-each-ref", "--format=%(refname) %(objectname)"],
    )
    .await?;
    let pairs = listed.lines().filter_map(|line| line.split_once(' '));
    Ok(pairs
        .map(|(name, id)| (name.to_owned(), id.to_owned()))
        .collect())
}

/// A deployment tag: what it names, and how its message begins.
struct Tag {
    commit: String,
    message: String,
}

async fn tags(directory: &Path) -> anyhow::Result<BTreeMap<String, Tag>> {
    let format = "--format=%(refname:short) %(*objectname) %(contents:subject)";
    let listed = git(directory, &["for-each-ref", format, "refs/tags/"]).await?;
    let mut tags = BTreeMap::new();
    for line in listed.lines() {
        let mut parts = line.splitn(3, ' ').map(str::to_owned);
        if let (Some(name), Some(commit), Some(message)) =
            (parts.next(), parts.next(), parts.next())
        {
            tags.insert(name, Tag { commit, message });
        }
    }
    Ok(tags)
}

/// Every record of an environment: each line of each note.
async fn records(directory: &Path, environment: &str) -> anyhow::Result<Vec<Value>> {
    let notes = format!("refs/notes/towpath/{environment}");
    let written = git(
        directory,
        &["grep", "-h", "-e", ".", &notes, "--", ":!present"],
    )
    .await?;
    let records = written.lines().map(|line| {
        serde_json::from_str(line).with_context(|| format!("{notes} holds no record: {line}"))
    });
    records.collect()
}

async fn deployment(
    directory: &Path,
    record: &Value,
    records: &[Value],
    tags: &BTreeMap<String, Tag>,
) -> anyhow::Result<Deployment> {
    let number = record["number"]
        .as_u64()
        .context("a deployment without number")?;
    let verdict = records.iter().find(|other| {
        kind(other) == "verdict"
            && other["number"] == record["number"]
            && other["application"] == record["application"]
    });
    let commit = text(record, "commit")?;
    let tag = tags
        .iter()
        .find(|(name, tag)| tag.commit == commit && name.ends_with(&format!("-{number:04}")));
    let of_verdict = |key: &str| verdict.and_then(|verdict| text(verdict, key).ok());
    Ok(Deployment {
        number,
        release: text(&record["release"], "name")?,
        digest: digest(record)?,
        cause: text(record, "cause")?,
        verdict: of_verdict("verdict"),
        reason: of_verdict("reason"),
        judged: of_verdict("at").map(|at| at.parse()).transpose()?,
        image: image(directory, &commit).await?,
        commit,
        tag: tag.map(|(name, _)| name.clone()),
        message: tag.map(|(_, tag)| tag.message.clone()),
    })
}

fn proposal(record: &Value) -> anyhow::Result<Proposal> {
    Ok(Proposal {
        release: text(&record["release"], "name")?,
        digest: digest(record)?,
        commit: text(record, "proposal")?,
        at: text(record, "at")?.parse()?,
    })
}

/// The image that the Deployment names at a commit.
async fn image(directory: &Path, commit: &str) -> anyhow::Result<String> {
    let manifest = git(directory, &["show", &format!("{commit}:{DEPLOYMENT}")]).await?;
    let line = manifest
        .lines()
        .find_map(|line| line.trim().strip_prefix("image: "));
    let image = line.and_then(|rest| rest.split_whitespace().next());
    Ok(image
        .with_context(|| format!("{DEPLOYMENT} at {commit} names no image"))?
        .to_owned())
}

fn kind(record: &Value) -> &str {
    record["record"].as_str().unwrap_or_default()
}

fn digest(record: &Value) -> anyhow::Result<String> {
    let images = record["release"]["images"].as_object();
    let first = images.and_then(|images| images.values().next()?.as_str());
    Ok(first
        .with_context(|| format!("a record without digest: {record}"))?
        .to_owned())
}

fn text(value: &Value, key: &str) -> anyhow::Result<String> {
    let found = value[key].as_str().map(str::to_owned);
    found.ok_or_else(|| anyhow!("a record without `{key}`: {value}"))
}

/// The commits of the branch, newest first, by first parents.
///
/// # Errors
/// Says what `git` answers.
pub async fn history(directory: &Path) -> anyhow::Result<Vec<String>> {
    let listed = git(
        directory,
        &["rev-list", "--first-parent", "refs/heads/master"],
    )
    .await?;
    Ok(listed.lines().map(str::to_owned).collect())
}

/// The commits, of branches and records alike, that brought a text or speak of it.
///
/// # Errors
/// Says what `git` answers.
pub async fn holding(directory: &Path, wanted: &str) -> anyhow::Result<Vec<String>> {
    let pickaxe = format!("-S{wanted}");
    let grep = format!("--grep={wanted}");
    let brought = git(directory, &["log", "--all", "-m", "--format=%H", &pickaxe]).await?;
    let said = git(directory, &["log", "--all", "-F", "--format=%H", &grep]).await?;
    Ok(brought
        .lines()
        .chain(said.lines())
        .map(str::to_owned)
        .collect())
}
