//! One deployment: every application that it changed.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::{Result, bail};
use futures_util::future::join_all;
use jiff::Timestamp;
use serde::Serialize;

use super::release::{commit_line, tag};
use super::{AttemptView, SaidView, attempt_line};
use crate::cli::setup::Setup;
use crate::cli::view::{self, ReleaseView};
use crate::cli::{Output, exit, names};
use crate::model::record::{self, PastDeployment, Record, Statement};
use crate::model::{ApplicationName, CommitId, Environment, EnvironmentName};
use crate::observe::{InfraSource, Observatory};

/// What a person named.
pub(in crate::cli) struct Wanted<'a> {
    pub(in crate::cli) application: Option<&'a ApplicationName>,
    /// The deployment, as its tag is called.
    pub(in crate::cli) what: &'a str,
    pub(in crate::cli) environment: Option<&'a EnvironmentName>,
}

/// A deployment that may be meant.
pub(in crate::cli) struct Meant {
    environment: Environment,
    number: u64,
}

/// A deployment, as scripts read it.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct DeploymentView {
    environment: String,
    deployment: u64,
    tag: String,
    commit: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    applications: Vec<ChangedView>,
    said: Vec<SaidView>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ChangedView {
    application: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<ReleaseView>,
    #[serde(flatten)]
    attempt: AttemptView,
}

/// A deployment that there was.
pub(in crate::cli) struct Found {
    pub(in crate::cli) environment: Environment,
    pub(in crate::cli) number: u64,
    pub(in crate::cli) commit: CommitId,
    subject: Option<String>,
    /// What it changed.
    pub(in crate::cli) changed: Vec<PastDeployment>,
    said: Vec<Record>,
}

/// The deployments that the word on the command line may name, by environment; none where it is no such word.
pub(in crate::cli) fn meant(args: &Wanted<'_>, setup: &Setup) -> Result<Vec<Meant>> {
    let pipelines = names::pipelines(setup, args.application)?;
    let mut meant: BTreeMap<EnvironmentName, Meant> = BTreeMap::new();
    for environment in pipelines.iter().flat_map(|it| &it.environments) {
        if args
            .environment
            .is_none_or(|name| *name == environment.name)
            && let Some(number) = number(args.what, environment)
        {
            let environment = environment.clone();
            meant.insert(
                environment.name.clone(),
                Meant {
                    environment,
                    number,
                },
            );
        }
    }
    Ok(meant.into_values().collect())
}

/// The number in `deployment-0042`, `production/deployment-0042`, or whatever the environment's tags are called.
fn number(what: &str, environment: &Environment) -> Option<u64> {
    let prefix = format!("{}/", environment.name);
    let own = what.strip_prefix(prefix.as_str());
    let tagged = |it: &str| environment.tags.number(&format!("refs/tags/{it}"));
    let plain = |it: &str| {
        let digits = it.strip_prefix("deployment-")?;
        let is_number = !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit());
        is_number.then(|| digits.parse().ok())?
    };
    tagged(what)
        .or_else(|| own.and_then(tagged))
        .or_else(|| plain(own.unwrap_or(what)))
}

/// Writes the answer.
pub(super) fn write(
    found: &Found,
    form: Output,
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<u8> {
    match form {
        Output::Table => table(found, now, out)?,
        form => form.write(&found.view(), out)?,
    }
    Ok(exit::OK)
}

/// The one deployment that is meant.
///
/// # Errors
/// There is none, or there are several; or the records cannot be read.
pub(in crate::cli) async fn find(
    args: &Wanted<'_>,
    setup: &Setup,
    meant: &[Meant],
    now: Timestamp,
) -> Result<Found> {
    let outside = setup.outside_clusters_apart()?;
    let pipelines = setup.pipelines();
    let observatory = Observatory::new(&pipelines, &pipelines, &outside, now);
    let urls: std::collections::BTreeSet<_> =
        meant.iter().map(|it| &it.environment.repository).collect();
    let sources = urls.iter().filter_map(|url| observatory.infra.get(*url));
    join_all(sources.map(|source| source.read(now))).await;
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for it in meant {
        let Some(source) = observatory.infra.get(&it.environment.repository) else {
            continue;
        };
        match look(args, source, it) {
            Ok(there) => found.push(there),
            Err(why) => missing.push(why),
        }
    }
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(one), false) => {
            found.push(one);
            let all: Vec<_> = found
                .iter()
                .map(|it| {
                    let application = it.changed.first().map(|it| it.application.to_string());
                    format!(
                        "{}/deployment-{:04} ({})",
                        it.environment.name,
                        it.number,
                        application.unwrap_or_default()
                    )
                })
                .collect();
            bail!("`{}` may be any of {}", args.what, all.join(", "))
        }
        (None, _) => bail!("{}", missing.join("; ")),
    }
}

fn look(args: &Wanted<'_>, source: &InfraSource, meant: &Meant) -> Result<Found, String> {
    let environment = &meant.environment;
    let records = source.records(&environment.name).map_err(|why| {
        format!(
            "what happened in {} cannot be told: {why}",
            environment.name
        )
    })?;
    let all = record::deployments(records.iter().cloned());
    let newest = all.iter().map(|it| it.number).max();
    let asked = args.application;
    let is_it = |it: &PastDeployment| {
        it.number == meant.number && asked.is_none_or(|name| *name == it.application)
    };
    let changed: Vec<_> = all.into_iter().filter(is_it).collect();
    let Some(commit) = changed.first().map(|it| it.commit) else {
        let name = &environment.name;
        return Err(match newest {
            None => format!("nothing was deployed in {name} yet"),
            Some(newest) => format!(
                "there is no deployment {} in {name}{}: the newest is {}",
                meant.number,
                asked.map(|it| format!(" of {it}")).unwrap_or_default(),
                tag(environment, newest)
            ),
        });
    };
    let said = records
        .into_iter()
        .filter(|it| about(it) == Some(meant.number));
    Ok(Found {
        environment: environment.clone(),
        number: meant.number,
        commit,
        subject: commit_line(source.reader.repository(), commit),
        changed,
        said: said
            .filter(|it| asked.is_none() || it.application.as_ref() == asked)
            .collect(),
    })
}

/// The deployment that is spoken of, beside what attempts are told from.
fn about(record: &Record) -> Option<u64> {
    match &record.statement {
        Statement::Degraded { number, .. }
        | Statement::Took { number, .. }
        | Statement::ApprovedPrune { number }
        | Statement::Annotated { number, .. } => Some(*number),
        _ => None,
    }
}

impl Found {
    fn view(&self) -> DeploymentView {
        let tag = tag(&self.environment, self.number);
        let changed = self.changed.iter().map(|it| ChangedView {
            application: it.application.to_string(),
            release: it.release.as_ref().map(ReleaseView::of),
            attempt: AttemptView::of(it, Some(tag.clone())),
        });
        DeploymentView {
            environment: self.environment.name.to_string(),
            deployment: self.number,
            commit: self.commit.to_string(),
            subject: self.subject.clone(),
            applications: changed.collect(),
            said: self.said.iter().map(SaidView::of).collect(),
            tag,
        }
    }
}

fn table(found: &Found, now: Timestamp, out: &mut dyn Write) -> Result<()> {
    let bold = anstyle::Style::new().bold();
    let (name, number) = (&found.environment.name, found.number);
    let tag = tag(&found.environment, number);
    writeln!(out, "{bold}{tag}{bold:#} in {name}")?;
    writeln!(
        out,
        "  commit  {} of {}",
        found.commit, found.environment.repository
    )?;
    if let Some(subject) = &found.subject {
        writeln!(out, "          {subject}")?;
    }
    for it in &found.changed {
        let release = it.release.as_ref();
        let release = release.map_or("an unknown image", |it| it.name.as_str());
        writeln!(out, "{} {release}", it.application)?;
        let images = it.release.iter().flat_map(|it| it.images.iter());
        for (repository, image) in images {
            writeln!(out, "  image   {repository}@{}", image.digest)?;
        }
        writeln!(out, "  {}", attempt_line(it, now))?;
        let said = found
            .said
            .iter()
            .filter(|said| said.application.as_ref() == Some(&it.application));
        for said in said {
            writeln!(out, "  {}", SaidView::of(said).line(now))?;
        }
    }
    let at = found.changed.first().map(|it| view::moment(it.at));
    if let Some(at) = at {
        writeln!(out, "recorded {at}")?;
    }
    Ok(())
}
