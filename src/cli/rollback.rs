//! `towpath rollback`, `unpin`, `retry` and `decline`: what a person chooses for one unit.

use std::io::Write;

use anyhow::Result;

use super::person::whoever_asks;
use super::said::Said;
use super::setup::Setup;
use super::{dry_run, exit, view};
use crate::model::{ApplicationName, EnvironmentName};
use crate::plan::{Person, UnitPlan};

/// Put back a release that was healthy there
///
/// Goes the way of every release: through the environment's gate, or straight to its branch where there is none
/// or `rollback: direct` allows it. The choice is pinned: automation does not push it away until `towpath unpin`,
/// or until you merge a newer release's proposal. What ran until now no longer counts as proven, so it goes no
/// further.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    unit: Unit,

    /// The release, by name or by the beginning of a digest; without it the last other one that was healthy
    #[arg(long, value_name = "RELEASE")]
    to: Option<String>,

    /// Why, for those who find it
    #[arg(long, default_value = "a person went back to it")]
    reason: String,

    #[command(flatten)]
    dry: dry_run::Args,
}

/// Let automation go on after a rollback, a revert or an edit by hand
#[derive(Debug, clap::Args)]
pub struct UnpinArgs {
    #[command(flatten)]
    unit: Unit,

    /// Why
    #[arg(long, default_value = "unpinned")]
    reason: String,

    #[command(flatten)]
    dry: dry_run::Args,
}

/// Let a release that failed or was declined be tried again
#[derive(Debug, clap::Args)]
pub struct RetryArgs {
    #[command(flatten)]
    unit: Unit,

    /// The release, by name or by the beginning of a digest; without it the last that failed or was declined
    release: Option<String>,

    #[command(flatten)]
    dry: dry_run::Args,
}

/// Decline what is proposed, with `gate: branch`
///
/// It is not proposed again until a newer release is, or until `towpath retry`. A pull request is declined by
/// closing it.
#[derive(Debug, clap::Args)]
pub struct DeclineArgs {
    #[command(flatten)]
    unit: Unit,

    #[command(flatten)]
    dry: dry_run::Args,
}

/// One application in one environment.
#[derive(Debug, clap::Args)]
pub(super) struct Unit {
    /// The application
    pub(super) application: ApplicationName,

    /// The environment
    pub(super) environment: EnvironmentName,
}

/// Records the choice, and carries it out in git.
///
/// # Errors
/// There is nothing to go back to, a source cannot be read, or the record cannot be written.
pub async fn run(
    args: &Args,
    setup: &Setup,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    let by = whoever_asks().await?;
    let said = args.unit.looked_at(setup).await?;
    let (to, reason) = (args.to.as_deref(), args.reason.as_str());
    let back = |person: &Person<'_>| person.roll_back(to, reason);
    said.has_images(&by, back, err).await?;
    if !said.say_or_show(&by, back, args.dry, true, out).await? {
        return Ok(exit::OK);
    }
    let release = said.pinned();
    let release = release.map_or_else(String::new, |it| {
        format!(" to {it} ({})", it.short_digest())
    });
    writeln!(out, "{by} rolls {} back{release}: {reason}", args.unit)?;
    next(said.carry_out().await?, out)
}

/// Records the end of a pin.
///
/// # Errors
/// Nothing is pinned, or the record cannot be written.
pub async fn unpin(args: &UnpinArgs, setup: &Setup, out: &mut dyn Write) -> Result<u8> {
    let by = whoever_asks().await?;
    let said = args.unit.in_git(setup).await?;
    let unpin = |person: &Person<'_>| person.unpin(&args.reason);
    if !said.say_or_show(&by, unpin, args.dry, false, out).await? {
        return Ok(exit::OK);
    }
    writeln!(out, "{by} unpinned {}: {}", args.unit, args.reason)?;
    Ok(exit::OK)
}

/// Records that a release is to be tried again.
///
/// # Errors
/// None failed or was declined, or the record cannot be written.
pub async fn retry(args: &RetryArgs, setup: &Setup, out: &mut dyn Write) -> Result<u8> {
    let by = whoever_asks().await?;
    let said = args.unit.in_git(setup).await?;
    let named = args.release.as_deref();
    let retry = |person: &Person<'_>| person.retry(named);
    if !said.say_or_show(&by, retry, args.dry, false, out).await? {
        return Ok(exit::OK);
    }
    let release = args
        .release
        .as_deref()
        .unwrap_or("what failed or was declined last");
    writeln!(out, "{by} has {release} tried again: {}", args.unit)?;
    Ok(exit::OK)
}

/// Records that a proposal is declined.
///
/// # Errors
/// Nothing is proposed, or the record cannot be written.
pub async fn decline(args: &DeclineArgs, setup: &Setup, out: &mut dyn Write) -> Result<u8> {
    let by = whoever_asks().await?;
    let said = args.unit.looked_at(setup).await?;
    let decline = |person: &Person<'_>| person.decline();
    if !said.say_or_show(&by, decline, args.dry, false, out).await? {
        return Ok(exit::OK);
    }
    writeln!(out, "{by} declined what was proposed of {}", args.unit)?;
    Ok(exit::OK)
}

impl Unit {
    async fn in_git(&self, setup: &Setup) -> Result<Said> {
        Said::in_git(setup, &self.application, &self.environment).await
    }

    pub(super) async fn looked_at(&self, setup: &Setup) -> Result<Said> {
        Said::to(setup, &self.application, &self.environment).await
    }
}

/// `shop in production`.
impl std::fmt::Display for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in {}", self.application, self.environment)
    }
}

/// Says what comes next.
pub(super) fn next(unit: Option<UnitPlan>, out: &mut dyn Write) -> Result<u8> {
    if let Some(unit) = unit {
        writeln!(out, "next: {}", view::sentence(&unit))?;
    }
    Ok(exit::OK)
}
