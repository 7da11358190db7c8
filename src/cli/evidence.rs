//! `towpath evidence`: what was found out about images, said and told.

mod list;

use std::io::Write;
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};

use super::known::Known;
use super::person::whoever_asks;
use super::said::Said;
use super::setup::Setup;
use super::{dry_run, exit, names};
use crate::clock;
use crate::model::evidence::{SCORES_MAX, link};
use crate::model::{
    ApplicationName, Digest, EnvironmentName, EvidenceName, EvidenceResult, Finding,
    ImageRepository, Pipeline,
};
use crate::plan::Person;

pub(super) use list::EvidenceView;

/// Say what was found out about an image, or see what is known
///
/// Environments ask for it with rules (`evidence` in environment.yaml, docs/evidence.md): a release comes there once
/// each of its images has it.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Add(AddArgs),
    List(list::Args),
}

/// Say what was found out about an image: a scan, a measurement, an acceptance test
///
/// A record with your git identity, in every environment whose rules ask for evidence of that name, of every
/// application that has a release with the image. What is said later of the same image and name counts. Where the
/// environment lists keys in `authority`, it counts only signed with one that may `evidence`.
#[derive(Debug, clap::Args)]
struct AddArgs {
    /// The image: `sha256:…`, or `REPOSITORY@sha256:…`
    #[arg(value_name = "DIGEST")]
    image: Image,

    /// What was looked for, as the rules call it
    name: EvidenceName,

    /// How it ended: `pass` or `fail`
    #[arg(long, value_name = "pass|fail")]
    result: EvidenceResult,

    /// A number of it; may be said several times
    #[arg(long = "score", value_name = "KEY=NUMBER", value_parser = score)]
    scores: Vec<(EvidenceName, f64)>,

    /// Where people read more
    #[arg(long, value_name = "URL", value_parser = link)]
    link: Option<url::Url>,

    /// Only of this application: then its releases are not looked for, so that it may be said before the image has
    /// its tag
    #[arg(long, value_name = "APPLICATION")]
    application: Option<ApplicationName>,

    /// Only in this environment
    #[arg(long, value_name = "ENVIRONMENT")]
    environment: Option<EnvironmentName>,

    #[command(flatten)]
    dry: dry_run::Args,
}

/// An image, as people and CI name it.
#[derive(Debug, Clone)]
struct Image {
    repository: Option<ImageRepository>,
    digest: Digest,
}

impl std::str::FromStr for Image {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((repository, digest)) = text.split_once('@') else {
            let digest = text.parse().map_err(|it| format!("{it}"))?;
            return Ok(Self {
                repository: None,
                digest,
            });
        };
        let reference: crate::model::ImageReference =
            repository.parse().map_err(|it| format!("{it}"))?;
        Ok(Self {
            repository: Some(reference.repository),
            digest: digest.parse().map_err(|it| format!("{it}"))?,
        })
    }
}

fn score(text: &str) -> Result<(EvidenceName, f64), String> {
    let wrong = || format!("`{text}` is no score: write it like `performance=0.93`");
    let (name, number) = text.split_once('=').ok_or_else(wrong)?;
    let is_decimal = number
        .bytes()
        .all(|it| it.is_ascii_digit() || matches!(it, b'.' | b'-' | b'+' | b'e' | b'E'));
    let number: f64 = number.parse().map_err(|_| wrong())?;
    match is_decimal && number.is_finite() {
        true => Ok((name.parse().map_err(|it| format!("{it}"))?, number)),
        false => Err(wrong()),
    }
}

/// Carries it out.
///
/// # Errors
/// Names are unknown, nothing asks for such evidence, no release has the image, the record cannot be written or would
/// not count, or the writer's.
pub async fn run(
    args: &Args,
    setup: &Setup,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    match &args.what {
        What::Add(args) => add(args, setup, out, err).await,
        What::List(args) => list::run(args, setup, out, err).await,
    }
}

/// An environment of an application whose rules ask for it.
type Asking = (Arc<Pipeline>, EnvironmentName);

async fn add(
    args: &AddArgs,
    setup: &Setup,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    let by = whoever_asks().await?;
    let finding = finding(args)?;
    let asking = asking(args, setup)?;
    let asking = match (&args.application, &args.image.repository) {
        (None, None) => having(args, setup, asking, err).await?,
        _ => asking,
    };
    for (pipeline, environment) in &asking {
        let application = &pipeline.application.name;
        let said = Said::in_git(setup, application, environment).await?;
        let found = |person: &Person<'_>| person.found(&args.image.digest, &finding);
        let said = said.say_or_show(&by, found, args.dry, false, out).await;
        let is_written = said.map_err(|why| why.context(format!("{application} in {environment}")));
        if is_written? {
            let (name, digest) = (&finding.name, args.image.digest.short());
            writeln!(
                out,
                "{by} said of {digest} for {application} in {environment}: {name}: {finding}"
            )?;
        }
    }
    Ok(exit::OK)
}

fn finding(args: &AddArgs) -> Result<Finding> {
    let mut finding = Finding {
        name: args.name.clone(),
        result: args.result,
        scores: args.scores.iter().cloned().collect(),
        link: args.link.clone(),
    };
    if finding.scores.len() < args.scores.len() {
        bail!("a score is said twice");
    }
    if finding.scores.len() > SCORES_MAX {
        bail!(
            "{} scores are too many: {SCORES_MAX} may be",
            finding.scores.len()
        );
    }
    // Zero is zero: `-0` would be written otherwise than it is read.
    finding.scores.values_mut().for_each(|score| *score += 0.0);
    Ok(finding)
}

/// Where the rules ask for evidence of that name, of applications that have the image's repository.
fn asking(args: &AddArgs, setup: &Setup) -> Result<Vec<Asking>> {
    names::environments(setup, args.environment.as_slice())?;
    let mut pipelines = names::pipelines(setup, args.application.as_ref())?;
    if let Some(repository) = &args.image.repository {
        let has = |it: &Arc<Pipeline>| {
            let mut images = it.application.images.iter();
            images.any(|image| image.repository == *repository)
        };
        pipelines.retain(has);
        if pipelines.is_empty() {
            let of = args.application.as_ref();
            let of = of.map_or_else(|| "no application".to_owned(), |it| format!("not {it}"));
            bail!("{of} is released as {repository}");
        }
    }
    let mut asking = Vec::new();
    let mut others = Vec::new();
    for pipeline in &pipelines {
        for environment in &pipeline.environments {
            let is_meant = args
                .environment
                .as_ref()
                .is_none_or(|it| *it == environment.name);
            // What an endpoint answers nobody else can say.
            let rules = || environment.evidence.iter().filter(|it| it.from.is_none());
            match is_meant && rules().any(|rule| rule.asks.name == args.name) {
                true => asking.push((pipeline.clone(), environment.name.clone())),
                false => others.extend(rules().map(|it| it.asks.name.clone())),
            }
        }
    }
    if asking.is_empty() {
        others.sort();
        others.dedup();
        let others: Vec<_> = others.iter().map(ToString::to_string).collect();
        let there_is = match others.is_empty() {
            true => "no environment there has rules".to_owned(),
            false => format!("the rules ask for {}", others.join(", ")),
        };
        bail!(
            "nothing asks for `{}`: {there_is} (`evidence` in environment.yaml)",
            args.name
        );
    }
    Ok(asking)
}

/// Those whose application has a release with the image.
async fn having(
    args: &AddArgs,
    setup: &Setup,
    asking: Vec<Asking>,
    err: &mut dyn Write,
) -> Result<Vec<Asking>> {
    let digest = &args.image.digest;
    let mut looked: Vec<(ApplicationName, bool)> = Vec::new();
    let mut unread = Vec::new();
    for (pipeline, _) in &asking {
        let name = &pipeline.application.name;
        if looked.iter().any(|(it, _)| it == name) {
            continue;
        }
        let known = Known::read(setup, pipeline, clock::now()).await?;
        let mut releases = known.releases.iter().map(|it| &it.release);
        let has = releases.any(|it| it.images.values().any(|image| image.digest == *digest));
        if !has {
            unread.extend(known.unread.iter().cloned());
        }
        looked.push((name.clone(), has));
    }
    let has = |(pipeline, _): &Asking| {
        let mut looked = looked.iter();
        looked.any(|(name, has)| *has && *name == pipeline.application.name)
    };
    let having: Vec<_> = asking.into_iter().filter(has).collect();
    if having.is_empty() {
        let names: Vec<_> = looked.iter().map(|(name, _)| name.to_string()).collect();
        let why = match unread.is_empty() {
            true => String::new(),
            false => format!(" ({})", unread.join("; ")),
        };
        return Err(anyhow!(
            "no release of {} is known that has the image {digest}{why}: \
             `--application` says whose it is, also before its tag is seen",
            names.join(", ")
        ));
    }
    for why in unread {
        writeln!(err, "note: {why}")?;
    }
    Ok(having)
}
