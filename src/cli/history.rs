//! `towpath history`: what was deployed, how it ended, and what was said about it.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Result, bail};
use comfy_table::{Table, presets};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::setup::Setup;
use super::show::NotedView;
use super::view::{self, ReleaseView};
use super::{Output, exit, moment, names};
use crate::clock;
use crate::model::record::{self, Happening, PastDeployment, Record, Statement, Summary};
use crate::model::{ApplicationName, EnvironmentName, RepositoryUrl};
use crate::observe::Observatory;

/// Show what was deployed where, how it ended, and who stopped or chose what
///
/// Reads the records in the infra repositories, and nothing else. The newest comes first.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this application
    application: Option<ApplicationName>,

    /// Only this environment
    #[arg(long, value_name = "ENVIRONMENT")]
    environment: Option<EnvironmentName>,

    /// Only what happened since: `7d`, or `2026-11-01T00:00:00Z`
    #[arg(long, value_name = "WHEN", value_parser = moment::parse)]
    since: Option<moment::Moment>,

    /// So many at most; 0 is all
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    limit: usize,

    /// What all deployments come to: how often, how fast, how many failed, how long until mended
    #[arg(long)]
    summary: bool,

    /// Only deployments that failed, with what they came from and what mended them (`towpath annotate`)
    #[arg(long, conflicts_with = "summary")]
    problems: bool,

    /// How the answer is written
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    output: Output,
}

/// Something that happened, as scripts read it.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct HappeningView {
    at: Timestamp,
    environment: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    application: Option<String>,
    /// The record's kind.
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    deployment: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<ReleaseView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'static str>,
    /// The sentence for people.
    text: String,
    /// From its record to its verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<i64>,
    /// What people noted of its trouble.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    noted: Vec<NotedView>,
    by: String,
    commit: String,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct SummaryView {
    since: Option<Timestamp>,
    deployments: usize,
    healthy: usize,
    failed: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_day: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lead_time_seconds: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_to_restore_seconds: Option<i64>,
}

/// Writes the answer.
///
/// # Errors
/// Names are unknown, records cannot be read, or the writer's.
pub async fn run(args: &Args, setup: &Setup, out: &mut dyn Write) -> Result<u8> {
    let now = clock::now();
    let since = args.since.map(|since| since.before(now)).transpose()?;
    let mut happenings = happenings(args, setup, now).await?;
    happenings.retain(|it| since.is_none_or(|since| since <= it.at()));
    happenings.sort_by_key(Happening::at);
    if args.summary {
        let summary = record::summary(&happenings);
        let view = SummaryView::of(
            &summary,
            since.or(happenings.first().map(Happening::at)),
            now,
        );
        return summed(&view, args.output, out);
    }
    if args.problems {
        happenings.retain(
            |it| matches!(it, Happening::Deployment(deployment) if deployment.is_problem()),
        );
    }
    happenings.reverse();
    if args.limit > 0 {
        happenings.truncate(args.limit);
    }
    match args.output {
        Output::Table if args.problems => problems(&happenings, now, out)?,
        Output::Table => table(&happenings, now, out)?,
        form => {
            let views: Vec<_> = happenings.iter().map(HappeningView::of).collect();
            form.write(&views, out)?;
        }
    }
    Ok(exit::OK)
}

/// What happened in the environments that are asked for.
async fn happenings(args: &Args, setup: &Setup, now: Timestamp) -> Result<Vec<Happening>> {
    let pipelines = names::pipelines(setup, args.application.as_ref())?;
    let named = args.environment.as_slice();
    names::environments(setup, named)?;
    let outside = setup.outside(named)?;
    let observatory = Observatory::new(&pipelines, &setup.pipelines(), &outside, now);
    let environments = pipelines.iter().flat_map(|it| &it.environments);
    let asked = environments.filter(|it| named.is_empty() || named.contains(&it.name));
    let repositories: BTreeMap<&EnvironmentName, &RepositoryUrl> =
        asked.map(|it| (&it.name, &it.repository)).collect();
    let urls = repositories.values().copied();
    observatory.read_infra(urls, now).await;
    let mut all = Vec::new();
    for (environment, url) in repositories {
        let Some(source) = observatory.infra.get(url) else {
            continue;
        };
        match source.records(environment) {
            Ok(records) => all.extend(record::history(records)),
            Err(why) => bail!("the history of {environment} cannot be told: {why}"),
        }
    }
    let of = |it: &Happening| match (&args.application, it.application()) {
        (Some(asked), Some(application)) => asked == application,
        _ => true,
    };
    all.retain(of);
    Ok(all)
}

fn table(happenings: &[Happening], now: Timestamp, out: &mut dyn Write) -> Result<()> {
    if happenings.is_empty() {
        writeln!(out, "nothing happened")?;
        return Ok(());
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header([
        "AGO",
        "ENVIRONMENT",
        "APPLICATION",
        "DEPLOYMENT",
        "TOOK",
        "BY",
        "WHAT",
    ]);
    for happening in happenings {
        let view = HappeningView::of(happening);
        let dash = || "–".to_owned();
        let took = view.seconds.map(SignedDuration::from_secs);
        table.add_row([
            view::ago(view.at, now),
            view.environment,
            view.application.unwrap_or_else(|| "all".to_owned()),
            view.deployment
                .map_or_else(dash, |number| number.to_string()),
            took.map_or_else(dash, view::span),
            view.by,
            view.text,
        ]);
    }
    writeln!(out, "{}", table.trim_fmt())?;
    Ok(())
}

/// The problem log.
fn problems(happenings: &[Happening], now: Timestamp, out: &mut dyn Write) -> Result<()> {
    let deployments = happenings.iter().filter_map(|it| match it {
        Happening::Deployment(deployment) => Some(deployment),
        Happening::Said(_) => None,
    });
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header([
        "AGO",
        "ENVIRONMENT",
        "APPLICATION",
        "DEPLOYMENT",
        "CAUSE",
        "FIX",
        "WHAT",
    ]);
    for it in deployments {
        let noted = |text: Option<&str>| text.unwrap_or("–").to_owned();
        table.add_row([
            view::ago(it.at, now),
            it.environment.to_string(),
            it.application.to_string(),
            it.number.to_string(),
            noted(it.cause_noted()),
            noted(it.fix_noted()),
            sentence(it),
        ]);
    }
    match table.row_count() {
        0 => writeln!(out, "nothing failed")?,
        _ => writeln!(out, "{}", table.trim_fmt())?,
    }
    Ok(())
}

fn summed(view: &SummaryView, form: Output, out: &mut dyn Write) -> Result<u8> {
    if form != Output::Table {
        form.write(view, out)?;
        return Ok(exit::OK);
    }
    let unknown = || "not known".to_owned();
    let time = |seconds: Option<i64>| {
        seconds.map_or_else(unknown, |it| view::span(SignedDuration::from_secs(it)))
    };
    let rate = view
        .failure_rate
        .map(|rate| format!("{:.0} %", rate * 100.0));
    let per_day = view.per_day.map(|it| format!(", {it:.1} a day"));
    writeln!(
        out,
        "deployments      {}{}",
        view.deployments,
        per_day.unwrap_or_default()
    )?;
    writeln!(out, "failure rate     {}", rate.unwrap_or_else(unknown))?;
    writeln!(
        out,
        "lead time        {} (median, image made to healthy)",
        time(view.lead_time_seconds)
    )?;
    writeln!(
        out,
        "time to restore  {} (median, failed to healthy)",
        time(view.time_to_restore_seconds)
    )?;
    Ok(exit::OK)
}

impl SummaryView {
    fn of(summary: &Summary, since: Option<Timestamp>, now: Timestamp) -> Self {
        let judged = summary.healthy + summary.failed;
        let days = since.map(|since| now.duration_since(since).as_secs_f64() / 86_400.0);
        let deployments = judged + summary.other;
        Self {
            since: since.map(view::moment),
            deployments,
            healthy: summary.healthy,
            failed: summary.failed,
            // Of less than a day a daily figure says nothing.
            per_day: days
                .filter(|days| *days >= 1.0)
                .map(|days| ratio(deployments, days)),
            failure_rate: (judged > 0).then(|| ratio(summary.failed, count(judged))),
            lead_time_seconds: summary.lead_time.map(|it| it.as_secs()),
            time_to_restore_seconds: summary.time_to_restore.map(|it| it.as_secs()),
        }
    }
}

fn ratio(part: usize, whole: f64) -> f64 {
    count(part) / whole
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

impl HappeningView {
    fn of(happening: &Happening) -> Self {
        match happening {
            Happening::Deployment(deployment) => Self::deployed(deployment),
            Happening::Said(record) => Self::said(record),
        }
    }

    fn deployed(it: &PastDeployment) -> Self {
        let judged = it.judged.as_ref();
        Self {
            at: view::moment(it.at),
            environment: it.environment.to_string(),
            application: Some(it.application.to_string()),
            what: "deployment",
            deployment: Some(it.number),
            release: it.release.as_ref().map(ReleaseView::of),
            cause: Some(it.cause.as_str()),
            verdict: judged.map(|it| it.verdict.as_str()),
            text: sentence(it),
            seconds: judged.map(|judged| judged.at.duration_since(it.at).as_secs()),
            noted: NotedView::all(it),
            by: it.by.clone(),
            commit: it.commit.to_string(),
        }
    }

    fn said(record: &Record) -> Self {
        let release = match &record.statement {
            Statement::Withdrawn { release, .. }
            | Statement::Declined { release }
            | Statement::Retried { release } => Some(release),
            Statement::Promoted(promoted) => Some(&promoted.release),
            Statement::Pinned { release, .. }
            | Statement::Ungated { release }
            | Statement::Degraded { release, .. } => release.as_ref(),
            _ => None,
        };
        Self {
            at: view::moment(record.at),
            environment: record.environment.to_string(),
            application: record.application.as_ref().map(ToString::to_string),
            what: record.statement.kind(),
            deployment: match &record.statement {
                Statement::Annotated { number, .. } => Some(*number),
                _ => None,
            },
            release: release.map(ReleaseView::of),
            cause: None,
            verdict: None,
            text: record.statement.to_string(),
            seconds: None,
            noted: Vec::new(),
            by: record.by.clone(),
            commit: record.commit.to_string(),
        }
    }
}

/// `v1.4.0 merged: healthy`.
fn sentence(it: &PastDeployment) -> String {
    let release = it.release.as_ref();
    let release = release.map_or_else(|| "an unknown image".to_owned(), ToString::to_string);
    let (came, ended) = (view::came(it.cause), view::ended(it.judged.as_ref(), ""));
    format!("{release} {came}: {ended}")
}
