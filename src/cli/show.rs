//! `towpath show`: everything about one release, or about one deployment.

mod balancers;
pub(super) mod deployment;
mod release;

use std::io::Write;

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;

use deployment::Wanted;

use super::setup::Setup;
use super::{Output, known, names, view};
use crate::clock;
use crate::model::record::{Noted, PastDeployment, Record, Verdict};
use crate::model::{ApplicationName, EnvironmentName};

/// Show all there is to know of a release, or of a deployment
///
/// Of a release: its images, the commit it was built from, what its images say of themselves, every attempt in
/// every environment with how it ended, what people did about it, and where it is reached. Of a deployment, which is called
/// as its tag is, `deployment-0042` or `production/deployment-0042`: which applications it changed and how it
/// ended for each.
///
/// Records in git are enough for an answer: what registries would add is left out where they do not answer, and so are the
/// addresses that clusters gave to load balancers; that is said on stderr.
#[derive(Debug, clap::Args)]
#[command(allow_missing_positional = true)]
pub struct Args {
    /// The application; not needed where there is one, or for a deployment
    application: Option<ApplicationName>,

    /// A release, by its name or by the beginning of its name or of a digest; or a deployment, by its tag
    #[arg(value_name = "RELEASE|DEPLOYMENT")]
    what: String,

    /// The environment of the deployment; of a release, only what happened there
    #[arg(long, value_name = "ENVIRONMENT")]
    environment: Option<EnvironmentName>,

    /// How the answer is written
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    output: Output,
}

/// Writes the answer.
///
/// # Errors
/// Names are unknown or ambiguous, the outside cannot be set up, or the writer's.
pub async fn run(
    args: &Args,
    setup: &Setup,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    let now = clock::now();
    names::environments(setup, args.environment.as_slice())?;
    let wanted = Wanted {
        application: args.application.as_ref(),
        what: &args.what,
        environment: args.environment.as_ref(),
    };
    let meant = deployment::meant(&wanted, setup)?;
    if !meant.is_empty() {
        let found = deployment::find(&wanted, setup, &meant, now).await?;
        return deployment::write(&found, args.output, now, out);
    }
    let pipeline = known::one(setup, args.application.as_ref())?;
    if let Some(environment) = &args.environment {
        names::environment(&pipeline, environment)?;
    }
    release::run(args, setup, &pipeline, out, err, now).await
}

/// An attempt to deploy, as scripts read it.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct AttemptView {
    deployment: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    at: Timestamp,
    cause: &'static str,
    by: String,
    commit: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// From its record to its verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<i64>,
    /// What people noted of its trouble.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    noted: Vec<NotedView>,
}

/// What a person noted of a deployment's trouble, as scripts read it.
#[derive(Serialize)]
pub(super) struct NotedView {
    at: Timestamp,
    by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

impl NotedView {
    /// All that was noted, oldest first.
    pub(super) fn all(it: &PastDeployment) -> Vec<Self> {
        let view = |noted: &Noted| Self {
            at: view::moment(noted.at),
            by: noted.by.clone(),
            cause: noted.cause.clone(),
            fix: noted.fix.clone(),
        };
        it.noted.iter().map(view).collect()
    }
}

impl AttemptView {
    fn of(it: &PastDeployment, tag: Option<String>) -> Self {
        let judged = it.judged.as_ref();
        Self {
            deployment: it.number,
            tag,
            at: view::moment(it.at),
            cause: it.cause.as_str(),
            by: it.by.clone(),
            commit: it.commit.to_string(),
            verdict: judged.map(|it| it.verdict.as_str()),
            reason: judged.and_then(|it| match &it.verdict {
                Verdict::Failed { reason, .. } => Some(reason.clone()),
                Verdict::Healthy { .. } | Verdict::Superseded => None,
            }),
            seconds: judged.map(|judged| judged.at.duration_since(it.at).as_secs()),
            noted: NotedView::all(it),
        }
    }
}

/// What somebody said or Towpath noticed, as scripts read it.
#[derive(Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
struct SaidView {
    at: Timestamp,
    by: String,
    what: &'static str,
    text: String,
}

impl SaidView {
    fn of(record: &Record) -> Self {
        Self {
            at: view::moment(record.at),
            by: record.by.clone(),
            what: record.statement.kind(),
            text: record.statement.to_string(),
        }
    }

    fn line(&self, now: Timestamp) -> String {
        format!(
            "{} ago  {}: {}",
            view::ago(self.at, now),
            self.by,
            self.text
        )
    }
}

/// `committed by towpath at 6b70d5e, 3h ago: healthy after 12s`.
fn attempt_line(it: &PastDeployment, now: Timestamp) -> String {
    let judged = it.judged.as_ref();
    let took = judged.map(|judged| view::span(judged.at.duration_since(it.at)));
    let took = took.map(|it| format!(" after {it}")).unwrap_or_default();
    let (came, ended) = (view::came(it.cause), view::ended(judged, &took));
    let (commit, ago) = (it.commit.short(), view::ago(it.at, now));
    format!("{came} at {commit} {ago} ago: {ended}")
}
