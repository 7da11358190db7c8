//! What is known of an application's releases and of what became of them: from registries, and from the records of
//! every environment.
//!
//! Clusters are not asked, and what does not answer is told, not waited for twice: git alone gives an answer.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use jiff::Timestamp;

use super::names;
use super::setup::Setup;
use crate::model::record::{self, PastDeployment, Record, Statement};
use crate::model::{ApplicationName, Digests, EnvironmentName, ImageRepository, Pipeline, Release};
use crate::observe::Observatory;
use crate::plan::{Last, Reason, Stand, World, asked, awaited, stand};

/// How many names are told where one is not known.
const NEAREST: usize = 5;

/// No tag of an image is longer
/// ([pulling manifests](https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pulling-manifests)).
const NAME_MAX: usize = 128;

/// What is known of one application.
pub(super) struct Known {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) observatory: Observatory,
    pub(super) world: World,
    /// The releases, newest first.
    pub(super) releases: Vec<KnownRelease>,
    /// Names of releases that lack images, and where they are missing.
    pub(super) incomplete: Vec<(String, Vec<ImageRepository>)>,
    /// Every environment's records of the application, and of the environment as a whole, oldest first.
    records: BTreeMap<EnvironmentName, Vec<Record>>,
    /// What happened by them.
    past: BTreeMap<EnvironmentName, Vec<PastDeployment>>,
    /// Which of them is a release's last.
    last: BTreeMap<EnvironmentName, BTreeMap<Digests, usize>>,
    /// What could not be read, each in a sentence.
    pub(super) unread: Vec<String>,
}

/// A release and all its names.
pub(super) struct KnownRelease {
    pub(super) release: Release,
    /// What else it is called.
    pub(super) also: Vec<String>,
}

impl Known {
    /// Reads registries, the source repository and the records of all that the application goes through.
    ///
    /// # Errors
    /// Where the outside cannot be set up.
    pub(super) async fn read(
        setup: &Setup,
        pipeline: &Arc<Pipeline>,
        now: Timestamp,
    ) -> Result<Self> {
        let outside = setup.outside_clusters_apart()?;
        let pipelines = std::slice::from_ref(pipeline);
        let observatory = Observatory::new(pipelines, &setup.pipelines(), &outside, now);
        observatory.read_releases(now).await;
        Ok(Self::of(pipeline, observatory, now))
    }

    /// The same, with clusters and forges: for what is decided.
    ///
    /// # Errors
    /// Where the outside cannot be set up.
    pub(super) async fn read_all(
        setup: &Setup,
        pipeline: &Arc<Pipeline>,
        now: Timestamp,
    ) -> Result<Self> {
        let outside = setup.outside(&[])?;
        let pipelines = std::slice::from_ref(pipeline);
        let observatory = Observatory::new(pipelines, &setup.pipelines(), &outside, now);
        observatory.read_all(pipelines, now).await;
        Ok(Self::of(pipeline, observatory, now))
    }

    /// Asks what is attached to the images of releases that environments wait for, and of this one, where any rule asks.
    pub(super) async fn read_evidence(&mut self, named: Option<&Release>, now: Timestamp) {
        let mut environments = self.pipeline.environments.iter();
        if environments.all(|it| it.evidence.is_empty()) {
            return;
        }
        let awaited = awaited(&self.pipeline, &self.world, now);
        let mut images = self.observatory.unattached(awaited, now);
        if let Some(release) = named {
            let environments = self.pipeline.environments.iter();
            images.extend(environments.flat_map(|it| asked(it, release)));
        }
        self.observatory.read_attached(&images, now).await;
        self.world = self.observatory.world(&self.pipeline, now);
    }

    fn of(pipeline: &Arc<Pipeline>, observatory: Observatory, now: Timestamp) -> Self {
        let world = observatory.world(pipeline, now);
        let mut known = Self {
            pipeline: pipeline.clone(),
            observatory,
            world,
            releases: Vec::new(),
            incomplete: Vec::new(),
            records: BTreeMap::new(),
            past: BTreeMap::new(),
            last: BTreeMap::new(),
            unread: Vec::new(),
        };
        known.read_records();
        known.collect();
        known
    }

    /// Where a release stands in an environment.
    pub(super) fn stand(
        &self,
        environment: &EnvironmentName,
        release: &Release,
        now: Timestamp,
    ) -> Stand {
        let past = self.past(environment);
        let index = self.last.get(environment);
        let index = index.and_then(|last| last.get(&release.digests()).copied());
        let last = index.and_then(|index| {
            Some(Last {
                attempt: past.get(index)?,
                next: past.get(index + 1),
            })
        });
        stand(&self.pipeline, &self.world, environment, release, last, now)
    }

    /// The application's deployments in an environment, oldest first.
    pub(super) fn past(&self, environment: &EnvironmentName) -> &[PastDeployment] {
        self.past.get(environment).map_or(&[], Vec::as_slice)
    }

    /// The records of the application and of the whole environment, oldest first.
    pub(super) fn records(&self, environment: &EnvironmentName) -> &[Record] {
        self.records.get(environment).map_or(&[], Vec::as_slice)
    }

    /// The release that a person means: by its name, or by the beginning of its name or of a digest.
    ///
    /// # Errors
    /// None is meant, and which are near; or several are, and which.
    pub(super) fn find(&self, named: &str) -> Result<&KnownRelease> {
        let exact = |it: &&KnownRelease| it.names().any(|name| name == named);
        // A name that was moved means what it names now, which was made last.
        if let Some(found) = self.releases.iter().find(exact) {
            return Ok(found);
        }
        let begins = |it: &&KnownRelease| {
            it.release.is_named(named) || it.names().any(|name| name.starts_with(named))
        };
        let mut meant = self.releases.iter().filter(begins);
        match (meant.next(), meant.next()) {
            (Some(found), None) => Ok(found),
            (None, _) => Err(self.unknown(named)),
            (Some(first), Some(second)) => {
                let all: Vec<_> = [first, second].into_iter().chain(meant).collect();
                let count = all.len();
                let shown = all.iter().take(NEAREST).map(|it| it.release.to_string());
                let more = match count > NEAREST {
                    true => format!(" and {} more", count - NEAREST),
                    false => String::new(),
                };
                bail!(
                    "`{named}` may be any of {count} releases of {}: {}{more}",
                    self.pipeline.application.name,
                    shown.collect::<Vec<_>>().join(", ")
                )
            }
        }
    }

    /// Tells what could not be read.
    pub(super) fn tell_unread(&self, err: &mut dyn Write) -> Result<()> {
        tell_unread(&self.unread, err)
    }

    fn unknown(&self, named: &str) -> anyhow::Error {
        let application = &self.pipeline.application.name;
        let names: Vec<&str> = self.releases.iter().flat_map(KnownRelease::names).collect();
        let why = match self.unread.is_empty() {
            true => String::new(),
            false => format!(" ({})", self.unread.join("; ")),
        };
        match names.is_empty() {
            true => anyhow!("there is no release `{named}` of {application}: none is known{why}"),
            false => anyhow!(
                "there is no release `{named}` of {application}: the nearest are {}{why}",
                nearest(named, &names).join(", ")
            ),
        }
    }

    fn read_records(&mut self) {
        let application = &self.pipeline.application.name;
        for environment in &self.pipeline.environments {
            let Some(source) = self.observatory.infra.get(&environment.repository) else {
                continue;
            };
            match source.records(&environment.name) {
                Ok(mut records) => {
                    let of = |it: &ApplicationName| it == application;
                    records.retain(|it| it.application.as_ref().is_none_or(of));
                    let past = record::deployments(records.iter().cloned());
                    let released = past.iter().enumerate();
                    let last = released
                        .filter_map(|(index, it)| Some((it.release.as_ref()?.digests(), index)));
                    self.last.insert(environment.name.clone(), last.collect());
                    self.past.insert(environment.name.clone(), past);
                    self.records.insert(environment.name.clone(), records);
                }
                Err(why) => {
                    let name = &environment.name;
                    self.unread
                        .push(format!("what happened in {name} is not told: {why}"));
                }
            }
        }
    }

    fn collect(&mut self) {
        let mut by_digests: BTreeMap<Digests, KnownRelease> = BTreeMap::new();
        let mut add = |release: &Release| match by_digests.get_mut(&release.digests()) {
            None => {
                let known = KnownRelease {
                    release: release.clone(),
                    also: Vec::new(),
                };
                by_digests.insert(release.digests(), known);
            }
            Some(known) => known.also_is(release),
        };
        match self.world.catalogue.read() {
            Ok(catalogue) => {
                catalogue.all().for_each(|release| add(&release));
                let missing = catalogue.incomplete.iter();
                let missing = missing.map(|it| (it.name.clone(), it.missing.clone()));
                self.incomplete = missing.collect();
            }
            Err(unreadable) => self.unread.push(format!(
                "{}: releases that came nowhere yet are not told",
                Reason::Unreadable(unreadable.clone())
            )),
        }
        for record in self.records.values().flatten() {
            released(&record.statement).into_iter().for_each(&mut add);
        }
        self.releases = by_digests.into_values().collect();
        self.releases
            .sort_by(|a, b| newest_first(&a.release, &b.release));
    }
}

impl KnownRelease {
    /// Every name.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.release.name.as_str()).chain(self.also.iter().map(String::as_str))
    }

    /// A version's name stands first.
    fn also_is(&mut self, other: &Release) {
        let is_better = other.rank.version > self.release.rank.version;
        let (shown, also) = match is_better {
            true => (other.clone(), self.release.name.clone()),
            false => (self.release.clone(), other.name.clone()),
        };
        let commit = self.release.commit.clone().or_else(|| other.commit.clone());
        if also != shown.name && !self.also.contains(&also) {
            self.also.push(also);
        }
        self.also.retain(|it| *it != shown.name);
        self.release = match shown.commit.is_none() && commit.is_some() {
            true => {
                let mut contents = crate::model::Contents::clone(&shown);
                contents.commit = commit;
                Release::from(contents)
            }
            false => shown,
        };
    }
}

/// Branch builds and versions side by side have one order only: when they were made.
fn newest_first(a: &Release, b: &Release) -> std::cmp::Ordering {
    let version = |it: &Release| it.rank.version.clone();
    let by_time = b.rank.built.cmp(&a.rank.built);
    by_time
        .then_with(|| version(b).cmp(&version(a)))
        .then_with(|| b.digests().cmp(&a.digests()))
}

/// The release that a statement is about, if it names one.
pub(super) fn released(statement: &Statement) -> Option<&Release> {
    match statement {
        Statement::Adopted { release }
        | Statement::Deployment { release, .. }
        | Statement::Verdict { release, .. }
        | Statement::Degraded { release, .. }
        | Statement::Pinned { release, .. }
        | Statement::Ungated { release } => release.as_ref(),
        Statement::Proposed { release, .. }
        | Statement::Withdrawn { release, .. }
        | Statement::Declined { release }
        | Statement::Retried { release } => Some(release),
        Statement::Promoted(promoted) => Some(&promoted.release),
        Statement::Unpinned { .. }
        | Statement::Held { .. }
        | Statement::Resumed { .. }
        | Statement::Frozen { .. }
        | Statement::Thawed { .. }
        | Statement::Took { .. }
        | Statement::ApprovedPrune { .. }
        | Statement::ApprovedAdoption { .. }
        | Statement::Evidence { .. }
        | Statement::Refused { .. }
        | Statement::Annotated { .. } => None,
    }
}

/// The names that are most like this one.
fn nearest<'a>(named: &str, names: &[&'a str]) -> Vec<&'a str> {
    // Comparing costs the product of the lengths.
    let named: &str = &named.chars().take(NAME_MAX).collect::<String>();
    let mut near: Vec<_> = names
        .iter()
        .map(|name| (strsim::osa_distance(named, name), *name))
        .collect();
    // Stable: of the equally near the newest first.
    near.sort_by_key(|(distance, _)| *distance);
    let mut near: Vec<&str> = near.into_iter().map(|(_, name)| name).collect();
    near.dedup();
    near.truncate(NEAREST);
    near
}

/// Tells what could not be read.
pub(super) fn tell_unread(unread: &[String], err: &mut dyn Write) -> Result<()> {
    for why in unread {
        writeln!(err, "note: {why}")?;
    }
    Ok(())
}

/// The one application that is meant.
///
/// # Errors
/// There is no such one, or several where none is named.
pub(super) fn one(setup: &Setup, application: Option<&ApplicationName>) -> Result<Arc<Pipeline>> {
    let pipelines = names::pipelines(setup, application)?;
    match pipelines.as_slice() {
        [one] => Ok(one.clone()),
        [] => bail!("no application is configured"),
        all => {
            let all = all.iter().map(|it| it.application.name.as_str());
            bail!("name the application: there are {}", names::list(all))
        }
    }
}
