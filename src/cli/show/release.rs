//! One release across all environments.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;

use anyhow::Result;
use futures_util::future::join_all;
use jiff::Timestamp;
use serde::Serialize;

use super::{Args, AttemptView, SaidView, attempt_line, balancers};
use crate::cli::evidence::EvidenceView;
use crate::cli::known::{Known, KnownRelease, released, tell_unread};
use crate::cli::releases::{self, StandView};
use crate::cli::setup::Setup;
use crate::cli::{Output, exit, view};
use crate::model::record::{PastDeployment, Record, Statement};
use crate::model::{CommitId, Environment, KeepTags, Pipeline, Release};
use crate::plan::{Proved, Stand, evidence};
use crate::present::address::addresses;
use crate::registry::ImageConfig;
use crate::shown::on_one_line;

/// A release, as scripts read it.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ShownView {
    application: String,
    name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    also: Vec<String>,
    images: Vec<ImageView>,
    built: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    environments: Vec<EnvironmentView>,
    /// What could not be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unread: Vec<String>,
}

#[derive(Serialize)]
struct ImageView {
    repository: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    digest: String,
    /// What the image says of itself.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<&'static str, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct EnvironmentView {
    environment: String,
    #[serde(flatten)]
    stand: StandView,
    /// What its rules ask for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    evidence: Vec<EvidenceView>,
    /// Newest first.
    attempts: Vec<AttemptView>,
    /// Newest first.
    said: Vec<SaidView>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    addresses: BTreeSet<String>,
}

/// A release in one environment.
struct There<'a> {
    environment: &'a Environment,
    stand: Stand,
    evidence: Vec<Proved>,
    attempts: Vec<&'a PastDeployment>,
    said: Vec<SaidView>,
    addresses: BTreeSet<String>,
}

/// Writes the answer.
pub(super) async fn run(
    args: &Args,
    setup: &Setup,
    pipeline: &Arc<Pipeline>,
    out: &mut dyn Write,
    err: &mut dyn Write,
    now: Timestamp,
) -> Result<u8> {
    let mut known = Known::read(setup, pipeline, now).await?;
    let named = known.find(&args.what)?.release.clone();
    known.read_evidence(Some(&named), now).await;
    let labels = {
        let release = known.find(&args.what)?.release.clone();
        known.observatory.labels(&[&release]).await
    };
    if let Some(why) = labels.unknown {
        known.unread.push(format!(
            "what its images say of themselves is not told: {why}"
        ));
    }
    let found = known.find(&args.what)?;
    let environments = pipeline.environments.iter().rev();
    let asked = |it: &&Environment| {
        args.environment
            .as_ref()
            .is_none_or(|name| it.name == *name)
    };
    let mut there: Vec<_> = environments
        .filter(asked)
        .map(|environment| There::of(&known, environment, &found.release, now))
        .collect();
    let balanced = join_all(there.iter().map(|it| it.balanced(&known, setup))).await;
    let mut unread = known.unread.clone();
    for (it, balanced) in there.iter_mut().zip(balanced) {
        match balanced {
            Ok(addresses) => it.addresses.extend(addresses),
            Err(why) => unread.push(why),
        }
    }
    let images = images(&found.release, &labels.by_digest);
    if args.output == Output::Table {
        head(&known, found, &images, now, out)?;
        for it in &there {
            it.write(now, out)?;
        }
        tell_unread(&unread, err)?;
        return Ok(exit::OK);
    }
    let release = &found.release;
    let view = ShownView {
        application: pipeline.application.name.to_string(),
        name: release.name.clone(),
        also: found.also.clone(),
        images,
        built: release.rank.built,
        commit: release.commit.clone(),
        source: source(pipeline),
        environments: there.iter().map(There::view).collect(),
        unread,
    };
    args.output.write(&view, out)?;
    Ok(exit::OK)
}

fn source(pipeline: &Pipeline) -> Option<String> {
    let source = pipeline.application.source.as_ref();
    source.map(|it| it.url.to_string())
}

fn images(
    release: &Release,
    labels: &BTreeMap<crate::model::Digest, ImageConfig>,
) -> Vec<ImageView> {
    let image = |(repository, image): (&crate::model::ImageRepository, &_)| {
        let image: &crate::model::ImageVersion = image;
        let said = labels.get(&image.digest);
        let said = said.map(|it| {
            let created = it.created.map(|at| at.to_string());
            [
                ("created", created),
                ("revision", it.revision.clone()),
                ("source", it.source.clone()),
                ("version", it.version.clone()),
            ]
        });
        let labels = said.into_iter().flatten();
        ImageView {
            repository: repository.to_string(),
            tag: image.tag.clone(),
            digest: image.digest.to_string(),
            labels: labels
                .filter_map(|(name, value)| {
                    let value = on_one_line(&value?, 200);
                    Some((name, value))
                })
                .collect(),
        }
    };
    release.images.iter().map(image).collect()
}

fn head(
    known: &Known,
    found: &KnownRelease,
    images: &[ImageView],
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<()> {
    let release = &found.release;
    let bold = anstyle::Style::new().bold();
    let application = &known.pipeline.application.name;
    let also = match found.also.is_empty() {
        true => String::new(),
        false => format!(", also {}", found.also.join(", ")),
    };
    writeln!(out, "{bold}{application} {release}{bold:#}{also}")?;
    for image in images {
        let tag = image.tag.as_ref();
        let tag = tag.map(|tag| format!(":{tag}")).unwrap_or_default();
        writeln!(out, "  image   {}{tag}@{}", image.repository, image.digest)?;
        for (name, value) in &image.labels {
            writeln!(out, "            {name}: {value}")?;
        }
    }
    let at = release.rank.built;
    if at != Timestamp::UNIX_EPOCH {
        let ago = view::ago(at, now);
        writeln!(out, "  built   {} ({ago} ago)", view::moment(at))?;
    }
    if let Some(commit) = &release.commit {
        let source = source(&known.pipeline);
        let of = source.map(|it| format!(" of {it}")).unwrap_or_default();
        writeln!(out, "  commit  {commit}{of}")?;
    }
    Ok(())
}

impl<'a> There<'a> {
    fn of(
        known: &'a Known,
        environment: &'a Environment,
        release: &Release,
        now: Timestamp,
    ) -> Self {
        let digests = release.digests();
        let is_it = |other: &Release| other.is(&digests);
        let past = known.past(&environment.name);
        let attempts = past.iter().rev();
        let attempts = attempts.filter(|it| it.release.as_ref().is_some_and(is_it));
        let stand = known.stand(&environment.name, release, now);
        let desired = view::desired(&known.world, environment);
        let addresses = match (stand.current, desired) {
            (true, Ok(desired)) => addresses(&desired.rendered),
            _ => BTreeSet::new(),
        };
        let spans = spans(past, &is_it);
        let records = known.records(&environment.name).iter().rev();
        let said = records.filter(|record| concerns(record, &is_it, &spans));
        Self {
            environment,
            stand,
            evidence: evidence(
                &known.pipeline,
                &known.world,
                &environment.name,
                release,
                now,
            ),
            attempts: attempts.collect(),
            said: said.map(SaidView::of).collect(),
            addresses,
        }
    }

    /// The addresses that the cluster gave to what runs.
    async fn balanced(&self, known: &Known, setup: &Setup) -> Result<BTreeSet<String>, String> {
        match view::desired(&known.world, self.environment) {
            Ok(desired) if self.stand.current => {
                balancers::addresses(setup, &self.environment.name, &desired.rendered).await
            }
            _ => Ok(BTreeSet::new()),
        }
    }

    fn write(&self, now: Timestamp, out: &mut dyn Write) -> Result<()> {
        let word = releases::word(&self.stand);
        let why = match (&self.stand.why, self.attempts.is_empty()) {
            // Where there are attempts, theirs is the reason.
            (Some(why), true) => format!(": {why}"),
            _ => String::new(),
        };
        writeln!(out, "{}: {word}{why}", self.environment.name)?;
        for address in &self.addresses {
            writeln!(out, "  at      {address}")?;
        }
        for it in &self.evidence {
            let style = view::weighed(it.weighed);
            writeln!(out, "  evidence  {style}{}{style:#}: {it}", it.weighed)?;
        }
        for attempt in &self.attempts {
            let line = attempt_line(attempt, now);
            writeln!(out, "  {}  {line}", tag(self.environment, attempt.number))?;
        }
        for said in &self.said {
            writeln!(out, "  {}", said.line(now))?;
        }
        Ok(())
    }

    fn view(&self) -> EnvironmentView {
        let attempts = self.attempts.iter();
        let tagged = |number| {
            let kept = self.environment.tags.keep != KeepTags::None;
            kept.then(|| self.environment.tags.name(number))
        };
        EnvironmentView {
            environment: self.environment.name.to_string(),
            stand: StandView::of(&self.stand),
            evidence: self.evidence.iter().map(EvidenceView::of).collect(),
            attempts: attempts
                .map(|it| AttemptView::of(it, tagged(it.number)))
                .collect(),
            said: self.said.clone(),
            addresses: self.addresses.clone(),
        }
    }
}

/// What a deployment is called: its tag's name.
pub(super) fn tag(environment: &Environment, number: u64) -> String {
    environment.tags.name(number)
}

/// When the release was what the environment asked for: from each of its deployments to the next one of another.
fn spans(
    past: &[PastDeployment],
    is_it: &dyn Fn(&Release) -> bool,
) -> Vec<(Timestamp, Timestamp, u64)> {
    let mut deployments = past.iter().peekable();
    let mut spans = Vec::new();
    while let Some(it) = deployments.next() {
        if it.release.as_ref().is_some_and(is_it) {
            let until = deployments.peek().map_or(Timestamp::MAX, |next| next.at);
            spans.push((it.at, until, it.number));
        }
    }
    spans
}

/// Whether a record, other than those that attempts are told from, is about the release: it names it, or was said of
/// the unit while the release was there.
fn concerns(
    record: &Record,
    is_it: &dyn Fn(&Release) -> bool,
    spans: &[(Timestamp, Timestamp, u64)],
) -> bool {
    match &record.statement {
        Statement::Deployment { .. } | Statement::Verdict { .. } | Statement::Adopted { .. } => {
            false
        }
        Statement::Took { number, .. }
        | Statement::ApprovedPrune { number }
        | Statement::Annotated { number, .. } => spans.iter().any(|(_, _, of)| of == number),
        statement => match released(statement) {
            Some(release) => is_it(release),
            None => spans
                .iter()
                .any(|(from, until, _)| (from..until).contains(&&record.at)),
        },
    }
}

/// What a commit says of itself, where the mirror has it.
pub(super) fn commit_line(known: &crate::git::Repository, commit: CommitId) -> Option<String> {
    let found = known.commit(commit).ok()?;
    let shown = |text: &str| on_one_line(text, 100);
    let subject = shown(found.subject());
    let (author, committer) = (shown(&found.author.name), shown(&found.committer.name));
    // What is merged on a forge is committed by the forge.
    Some(match author == committer {
        true => format!("{subject} ({author})"),
        false => format!("{subject} ({author}, committed by {committer})"),
    })
}
