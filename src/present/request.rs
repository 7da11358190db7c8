//! What a request says: the title and the Markdown of the pull request that proposes a release.
//!
//! Owns its words, its order, how much of it fits, and that no value acts: nothing that others wrote
//! makes a link, a mention, a reference, HTML or a second block. The same values give the same bytes,
//! so a request is rewritten only when what it says changes; therefore nothing here knows when
//! somebody looked. Never reads anything, and never says what is not in [`About`].
//!
//! What is ours stands between two marks; what people write outside is theirs ([`merge`]).

mod built;
mod changes;
mod link;
mod merge;
mod quote;
mod sections;
mod unlike;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::diff;
use crate::model::record::Found;
use crate::model::{
    ApplicationName, CommitId, Digest, EnvironmentName, ImageRepository, OnFailure, Release,
    RepositoryUrl, RequestDiff, Rollback, TitleTemplate,
};
pub use merge::merge;

/// The longest body that forges take, in bytes: GitHub's limit is 65,536 characters.
pub const BODY_MAX: usize = 65_536;

/// The longest block of ours: people's words have room beside it.
pub const BLOCK_MAX: usize = 60_000;

/// The longest title that forges take: GitHub's limit.
const TITLE_MAX: usize = 256;

/// What a request is about.
///
/// Only values that stay as they are until something happens: what is recorded, what commits and
/// images hold, what the cluster answers.
#[derive(Debug, Clone)]
pub struct About {
    /// The application.
    pub application: ApplicationName,
    /// The environment into which the release would go.
    pub environment: EnvironmentName,
    /// The environment's branch, which a merge changes.
    pub branch: String,
    /// What is proposed.
    pub release: Release,
    /// What the branch asks for now; `None`: an unknown image.
    pub instead_of: Option<Release>,
    /// What the images of both releases say of where they were built from, by their digests. May lack
    /// any of them.
    pub built: BTreeMap<Digest, Built>,
    /// The application's source repository, where the configuration names it. Otherwise what the
    /// images say is believed.
    pub source: Option<RepositoryUrl>,
    /// The source commits between the two releases, where they are known.
    pub commits: Option<Commits>,
    /// What the followed environments saw of the release, in the pipeline's order. Empty where the
    /// environment follows none, or a person forced the release.
    pub proven: Vec<Proven>,
    /// What was found out about its images, one for each rule of the environment and image. Empty where it has no
    /// rules.
    pub evidence: Vec<Evidence>,
    /// What a person must know before all else, a sentence each, in plan's own words: holds, pins,
    /// freezes, why it is proposed though older or unproven, that it is no longer proven, a newer
    /// release that waits.
    pub notices: Vec<String>,
    /// What the environment's cluster would make of the proposal.
    pub change: Outcome,
    /// How much of that may be shown here.
    pub diff: RequestDiff,
    /// The files that the proposal changes otherwise than by setting the release's images, such as by
    /// a person's commit on its branch.
    pub beside: Vec<String>,
    /// How the proposal is no copy of the environment that the release comes from, besides the release.
    pub unlike: Option<Unlike>,
    /// The commit of the environment's branch that the proposal was made on (`Proposed::base`): where
    /// the dry run was made from. Not the branch's head, which moves for others too.
    pub base: CommitId,
    /// The unit's newest deployment in the environment.
    pub runs: Option<Runs>,
    /// What a failed deployment leads to.
    pub on_failure: OnFailure,
    /// How a rollback is written.
    pub rollback: Rollback,
}

/// Where and when an image says that it was built: its labels
/// ([annotations](https://github.com/opencontainers/image-spec/blob/main/annotations.md)), unchecked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Built {
    /// `org.opencontainers.image.revision`: the source commit.
    pub revision: Option<String>,
    /// `org.opencontainers.image.source`: the source repository.
    pub source: Option<String>,
    /// When it was built.
    pub created: Option<Timestamp>,
}

/// Source commits between two releases.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commits {
    /// The newest of them, newest first.
    pub newest: Vec<Commit>,
    /// How many there are in all.
    pub count: usize,
}

/// A source commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its id.
    pub id: CommitId,
    /// The first line of its message.
    pub subject: String,
    /// Its author's name.
    pub author: String,
}

/// What an environment saw of the release.
#[derive(Debug, Clone, PartialEq)]
pub struct Proven {
    /// The environment.
    pub environment: EnvironmentName,
    /// The number of the deployment that ran there.
    pub number: u64,
    /// The deployment's tag, where one is made.
    pub tag: Option<String>,
    /// The infra repository that has the tag.
    pub repository: RepositoryUrl,
    /// When it was recorded healthy.
    pub healthy_at: Timestamp,
    /// Whether any of its workloads ran.
    pub exercised: bool,
    /// How long it had to run there.
    pub soak: Duration,
    /// When it had run that long. Where it has not, say so in a notice.
    pub soaked_at: Option<Timestamp>,
    /// What had to answer before the verdict: the addresses of its smoke tests.
    pub smoke: Vec<String>,
}

/// What a rule of the environment asks of an image, and what was found out.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// The rule, as it is written.
    pub rule: String,
    /// The image's repository.
    pub repository: ImageRepository,
    /// What was found, by whom and when; `None`: nothing, or nothing that holds.
    pub found: Option<Found>,
    /// Whether the rule held when the release was proposed, or holds since.
    pub holds: bool,
}

/// What a cluster would make of a proposal.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// By its own dry run against the live objects: every object of the unit, deletions too, ordered
    /// by reference.
    Tried(Vec<diff::Tried>),
    /// It was not asked, or could not answer: why, in one sentence that stays the same as long as the
    /// reason does.
    Unknown(String),
}

/// How what is proposed differs from what a followed environment asks for, other than by the release.
#[derive(Debug, Clone, PartialEq)]
pub struct Unlike {
    /// Which environment.
    pub environment: EnvironmentName,
    /// The objects that differ: what that environment has is the former of two versions.
    pub objects: Vec<diff::ObjectDiff>,
}

/// A unit's newest deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runs {
    /// Its number.
    pub number: u64,
    /// Its commit.
    pub commit: CommitId,
    /// How it stands, in a word or two: `healthy`, `failed`, `rolling out`.
    pub standing: String,
}

/// What a request says, ours alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// One line.
    pub title: String,
    /// Markdown, from its first mark to its last.
    pub block: String,
}

/// The title.
pub fn title(about: &About, template: &TitleTemplate) -> String {
    let from = about.instead_of.as_ref();
    let text = template.render(|field| match field {
        "application" => about.application.as_str(),
        "environment" => about.environment.as_str(),
        "release" => &about.release.name,
        _ => from.map_or("an unknown image", |from| &from.name),
    });
    // The longest, less what makes it inert: names of releases are as tags are, mostly.
    quote::inert(&crate::shown::on_one_line(&text, TITLE_MAX - 16))
}

/// The block in at most `room` bytes; `None` where not even its shortest form fits.
///
/// What does not fit is left out from the difference first, and `towpath diff` is named.
pub fn block(about: &About, room: usize) -> Option<String> {
    let marks = merge::marks(&about.environment, &about.application);
    let room = room.checked_sub(marks.begin.len() + marks.end.len() + "\n\n\n\n".len())?;
    let text = sections::all(about, room).or_else(|| sections::short(about, room))?;
    Some(format!("{}\n\n{text}\n\n{}", marks.begin, marks.end))
}

/// The whole body: what people wrote in `existing` is kept, and our block written anew in the room that
/// leaves. `None` where nothing changes, or where their words leave no room at all.
pub fn body(existing: &str, about: &About) -> Option<String> {
    let others = merge::others(existing);
    let room = BODY_MAX.checked_sub(others)?.min(BLOCK_MAX);
    merge(existing, &block(about, room)?)
}
