//! `towpath annotate`: the problem log. What a deployment's trouble came from, and what mended it.

use std::io::Write;

use anyhow::{Result, bail};

use super::person::whoever_asks;
use super::said::Said;
use super::setup::Setup;
use super::show::deployment::{self, Wanted};
use super::{exit, names};
use crate::clock;
use crate::model::{ApplicationName, EnvironmentName};
use crate::plan::Note;

/// Note what a deployment's trouble came from, and what mended it
///
/// A record with your git identity, which stands with the deployment's commit: `towpath show` and `towpath history
/// --problems` tell it. Nothing is decided on it. What is said later stands beside what was said before, and counts.
#[derive(Debug, clap::Args)]
#[command(allow_missing_positional = true)]
pub struct Args {
    /// The application; not needed where the deployment changed one alone, or one failed alone
    application: Option<ApplicationName>,

    /// The deployment, by its tag: `deployment-0042`, or `production/deployment-0042`
    deployment: String,

    /// Its environment, where the tag does not say it
    #[arg(long, value_name = "ENVIRONMENT")]
    environment: Option<EnvironmentName>,

    /// What it came from
    #[arg(long, value_name = "TEXT", required_unless_present = "fix")]
    cause: Option<String>,

    /// What mended it
    #[arg(long, value_name = "TEXT")]
    fix: Option<String>,
}

/// Writes the record.
///
/// # Errors
/// Names are unknown or ambiguous, or the record cannot be written.
pub async fn run(args: &Args, setup: &Setup, out: &mut dyn Write) -> Result<u8> {
    let by = whoever_asks().await?;
    names::environments(setup, args.environment.as_slice())?;
    let wanted = Wanted {
        application: args.application.as_ref(),
        what: &args.deployment,
        environment: args.environment.as_ref(),
    };
    let meant = deployment::meant(&wanted, setup)?;
    if meant.is_empty() {
        bail!(
            "`{}` is no deployment: write `deployment-0042`, or `production/deployment-0042`",
            args.deployment
        );
    }
    let found = deployment::find(&wanted, setup, &meant, clock::now()).await?;
    let application = match found.changed.as_slice() {
        [one] => &one.application,
        several => {
            let mut failed = several.iter().filter(|it| it.is_problem());
            match (failed.next(), failed.next()) {
                (Some(one), None) => &one.application,
                _ => {
                    let all = several.iter().map(|it| it.application.to_string());
                    bail!(
                        "name the application: {} changed {}",
                        args.deployment,
                        all.collect::<Vec<_>>().join(", ")
                    )
                }
            }
        }
    };
    let environment = &found.environment.name;
    let note = Note {
        number: found.number,
        commit: found.commit,
        cause: args.cause.clone(),
        fix: args.fix.clone(),
    };
    let said = Said::in_git(setup, application, environment).await?;
    said.say(&by, |person| person.annotate(&note)).await?;
    let tag = found.environment.tags.name(found.number);
    writeln!(out, "{by} noted of {tag} of {application} in {environment}")?;
    for (name, text) in [("cause", &note.cause), ("fix", &note.fix)] {
        if let Some(text) = text {
            writeln!(out, "  {name}: {}", text.trim())?;
        }
    }
    Ok(exit::OK)
}
