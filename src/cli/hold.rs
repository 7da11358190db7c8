//! `towpath hold` and `towpath resume`: a person stops everything, and lets it go on.

use std::io::Write;

use anyhow::{Result, anyhow};

use super::person::whoever_asks;
use super::said::Said;
use super::setup::Setup;
use super::{dry_run, exit, moment, place};
use crate::clock;
use crate::plan::{Person, Stop};

/// Stop everything that Towpath does for an application, or in a whole environment
///
/// No commit, proposal, apply, deletion or correction of drift happens there until `towpath resume`. The hold is
/// a record with your git identity in the infra repository; a running Towpath sees it within a look, and what
/// it pushes meanwhile is refused.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: place::Args,

    #[command(flatten)]
    stop: StopArgs,

    #[command(flatten)]
    dry: dry_run::Args,
}

/// What is said with a hold or a freeze.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct StopArgs {
    /// Why, for those who find it
    #[arg(long)]
    reason: String,

    /// When it ends by itself: `2h`, `2026-11-23T08:00:00Z` or `2026-11-23T09:00[Europe/Rome]`
    #[arg(long, value_name = "WHEN", value_parser = moment::parse)]
    until: Option<moment::Moment>,
}

impl StopArgs {
    /// What is said, as of now.
    pub(super) fn stop(&self) -> Result<Stop> {
        let until = self.until.map(|until| until.at(clock::now()));
        Ok(Stop {
            reason: self.reason.clone(),
            until: until.transpose()?,
        })
    }
}

/// Let go on what `towpath hold` stopped
#[derive(Debug, clap::Args)]
pub struct ResumeArgs {
    #[command(flatten)]
    place: place::Args,

    /// Why
    #[arg(long, default_value = "resumed")]
    reason: String,

    #[command(flatten)]
    dry: dry_run::Args,
}

/// Writes the records of a hold.
///
/// # Errors
/// Names are unknown, or a record cannot be written.
pub async fn run(args: &Args, setup: &Setup, out: &mut dyn Write) -> Result<u8> {
    let by = whoever_asks().await?;
    let stop = args.stop.stop()?;
    for place in args.place.places(setup)? {
        let said = Said::in_git(setup, &place.application, &place.environment).await?;
        let hold = |person: &Person<'_>| person.hold(place.scope, &stop);
        if !said.say_or_show(&by, hold, args.dry, false, out).await? {
            continue;
        }
        match stop.until {
            None => writeln!(out, "{by} holds {place}: {}", stop.reason)?,
            Some(until) => writeln!(out, "{by} holds {place} until {until}: {}", stop.reason)?,
        }
    }
    Ok(exit::OK)
}

/// Writes the records that end a hold. Where an application is named alone, it is resumed wherever it is held.
///
/// # Errors
/// Names are unknown, nothing is held, or a record cannot be written.
pub async fn resume(args: &ResumeArgs, setup: &Setup, out: &mut dyn Write) -> Result<u8> {
    let by = whoever_asks().await?;
    let places = args.place.places(setup)?;
    let (mut resumed, mut refused) = (0, Vec::new());
    for place in &places {
        let said = Said::in_git(setup, &place.application, &place.environment).await?;
        let resume = |person: &Person<'_>| person.resume(place.scope, &args.reason);
        match said.say_or_show(&by, resume, args.dry, false, out).await {
            Ok(is_written) => {
                resumed += 1;
                if is_written {
                    writeln!(out, "{by} resumed {place}: {}", args.reason)?;
                }
                if let Some(stated) = said.held_by_file() {
                    let (file, reason) = (&stated.place, &stated.reason);
                    writeln!(out, "it is still held in {file}: {reason}")?;
                }
            }
            Err(why) => refused.push(why.to_string()),
        }
    }
    match resumed {
        0 => Err(anyhow!(refused.join("; "))),
        _ => Ok(exit::OK),
    }
}
