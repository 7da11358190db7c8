//! `towpath freeze` and `towpath thaw`: a person keeps an environment from taking what comes by itself.

use std::io::Write;

use anyhow::Result;

use super::hold::StopArgs;
use super::person::whoever_asks;
use super::place::whole;
use super::said::Said;
use super::setup::Setup;
use super::{dry_run, exit};
use crate::model::EnvironmentName;
use crate::plan::Person;

/// Keep an environment from taking anything that comes by itself
///
/// Nothing is committed or proposed there until `towpath thaw`, or until the end that is said. What is proposed
/// already may be merged, `towpath rollback` and `towpath promote --during-freeze` work, and what the branch asks
/// for is applied and kept as it is: `towpath hold` stops that, too. Windows that come again and again stand in the
/// environment's file, as `freeze`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The environment
    environment: EnvironmentName,

    #[command(flatten)]
    stop: StopArgs,

    #[command(flatten)]
    dry: dry_run::Args,
}

/// Let an environment take again what comes by itself
#[derive(Debug, clap::Args)]
pub struct ThawArgs {
    /// The environment
    environment: EnvironmentName,

    /// Why
    #[arg(long, default_value = "thawed")]
    reason: String,

    #[command(flatten)]
    dry: dry_run::Args,
}

/// Writes the record of a freeze.
///
/// # Errors
/// The name is unknown, or the record cannot be written.
pub async fn run(args: &Args, setup: &Setup, out: &mut dyn Write) -> Result<u8> {
    let by = whoever_asks().await?;
    let stop = args.stop.stop()?;
    let said = said(setup, &args.environment).await?;
    let freeze = |person: &Person<'_>| person.freeze(&stop);
    if !said.say_or_show(&by, freeze, args.dry, false, out).await? {
        return Ok(exit::OK);
    }
    let (environment, reason) = (&args.environment, &stop.reason);
    match stop.until {
        None => writeln!(out, "{by} froze {environment}: {reason}")?,
        Some(until) => writeln!(out, "{by} froze {environment} until {until}: {reason}")?,
    }
    Ok(exit::OK)
}

/// Writes the record of a freeze's end.
///
/// # Errors
/// The name is unknown, nobody froze it, or the record cannot be written.
pub async fn thaw(args: &ThawArgs, setup: &Setup, out: &mut dyn Write) -> Result<u8> {
    let by = whoever_asks().await?;
    let said = said(setup, &args.environment).await?;
    let thaw = |person: &Person<'_>| person.thaw(&args.reason);
    if !said.say_or_show(&by, thaw, args.dry, false, out).await? {
        return Ok(exit::OK);
    }
    writeln!(out, "{by} thawed {}: {}", args.environment, args.reason)?;
    Ok(exit::OK)
}

async fn said(setup: &Setup, environment: &EnvironmentName) -> Result<Said> {
    let place = whole(setup, environment)?;
    Said::in_git(setup, &place.application, environment).await
}
