//! `towpath evidence list`: what is known of releases, and what they lack.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Result;
use comfy_table::{Table, presets};
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::known::{self, Known};
use crate::cli::setup::Setup;
use crate::cli::{Output, exit, view};
use crate::clock;
use crate::model::record::Found;
use crate::model::{ApplicationName, Environment, Release};
use crate::plan::{Proved, evidence};

/// Show what is known of a release's images, by the rules of each environment that has any
///
/// Without RELEASE, of every release of which anything is known, newest first. Environments remember the last 50
/// findings of an application; all stand in their records.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The application
    application: ApplicationName,

    /// The release, by its name or by the beginning of its name or of a digest
    release: Option<String>,

    /// How the answer is written
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    output: Output,
}

/// What a rule says of an image, as scripts read it.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::cli) struct EvidenceView {
    rule: String,
    repository: String,
    digest: String,
    /// `holds`, `missing`, `failing`, `stale` or `unknown`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'static str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    scores: BTreeMap<String, f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    /// When it is too old.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    /// Why it is not known, or why something that was said does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    aside: Option<String>,
}

/// The same with where it is asked for, and of which release.
#[derive(Serialize)]
struct RowView {
    environment: String,
    release: String,
    #[serde(flatten)]
    evidence: EvidenceView,
}

impl EvidenceView {
    pub(in crate::cli) fn of(proved: &Proved) -> Self {
        let found = proved.found.as_ref();
        let finding = found.map(|it| &it.finding);
        let scores = finding.iter().flat_map(|it| &it.scores);
        Self {
            rule: proved.rule.asks.to_string(),
            repository: proved.repository.to_string(),
            digest: proved.digest.to_string(),
            state: proved.weighed.as_str(),
            result: finding.map(|it| it.result.as_str()),
            scores: scores.map(|(name, it)| (name.to_string(), *it)).collect(),
            link: finding.and_then(|it| it.link.as_ref().map(ToString::to_string)),
            by: found.map(|it| it.by.clone()),
            at: found.map(|it| view::moment(it.at)),
            until: proved.expires().map(view::moment),
            aside: proved.aside.clone(),
        }
    }
}

/// Writes the answer.
pub(super) async fn run(
    args: &Args,
    setup: &Setup,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    let now = clock::now();
    let pipeline = known::one(setup, Some(&args.application))?;
    let mut known = Known::read(setup, &pipeline, now).await?;
    let named = args.release.as_deref().map(|it| known.find(it));
    let named = named.transpose()?.map(|it| it.release.clone());
    known.read_evidence(named.as_ref(), now).await;
    known.tell_unread(err)?;
    let mut rows = Vec::new();
    for environment in &pipeline.environments {
        for release in releases(&known, environment, named.as_ref()) {
            let all = evidence(&pipeline, &known.world, &environment.name, release, now);
            rows.extend(all.into_iter().map(|it| (environment, release, it)));
        }
    }
    if args.output != Output::Table {
        let views = rows.iter().map(|(environment, release, it)| RowView {
            environment: environment.name.to_string(),
            release: release.to_string(),
            evidence: EvidenceView::of(it),
        });
        args.output.write(&views.collect::<Vec<_>>(), out)?;
        return Ok(exit::OK);
    }
    if rows.is_empty() {
        let asks = pipeline
            .environments
            .iter()
            .any(|it| !it.evidence.is_empty());
        let why = match asks {
            true => "nothing is known of any release",
            false => "no environment asks for evidence",
        };
        writeln!(out, "{why}")?;
        return Ok(exit::OK);
    }
    table(&rows, now, out)?;
    Ok(exit::OK)
}

/// The one that is named, or those of which anything is known.
fn releases<'a>(
    known: &'a Known,
    environment: &Environment,
    named: Option<&'a Release>,
) -> Vec<&'a Release> {
    if let Some(named) = named {
        return vec![named];
    }
    let there = known.world.units.get(&environment.name);
    let records = there.and_then(|it| it.infra.read().ok()?.records.as_ref().ok());
    let found: &[Found] = records.map_or(&[], |it| &it.evidence);
    let is_known = |release: &&Release| {
        let mut images = release.images.values();
        images.any(|image| found.iter().any(|it| it.digest == image.digest))
    };
    let all = known.releases.iter().map(|it| &it.release);
    all.filter(is_known).collect()
}

fn table(
    rows: &[(&Environment, &Release, Proved)],
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<()> {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header([
        "ENVIRONMENT",
        "RELEASE",
        "IMAGE",
        "RULE",
        "STATE",
        "FOUND",
        "AGE",
        "BY",
        "MORE",
    ]);
    for (environment, release, it) in rows {
        let found = it.found.as_ref();
        let told = |told: fn(&Found) -> String| found.map_or_else(|| "–".to_owned(), told);
        let style = view::weighed(it.weighed);
        let link = found.and_then(|it| it.finding.link.as_ref().map(ToString::to_string));
        let more: Vec<String> = it.aside.clone().into_iter().chain(link).collect();
        table.add_row([
            environment.name.to_string(),
            release.to_string(),
            it.digest.short(),
            it.rule.asks.to_string(),
            format!("{style}{}{style:#}", it.weighed),
            told(|it| it.finding.to_string()),
            found.map_or_else(|| "–".to_owned(), |it| view::ago(it.at, now)),
            told(|it| it.by.clone()),
            more.join("; "),
        ]);
    }
    writeln!(out, "{}", table.trim_fmt())?;
    Ok(())
}
