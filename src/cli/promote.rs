//! `towpath promote`: a person says which release comes next.

use std::io::Write;

use anyhow::Result;

use super::exit;
use super::person::whoever_asks;
use super::rollback::{Unit, next};
use super::said::Said;
use super::setup::Setup;
use crate::plan::Promote;

/// Bring a release to an environment next: the newest that is proven, or the one that is named
///
/// It goes the way of every release, through the environment's own gate, but before any other. It ends a pin, and
/// asks again for what was declined or failed there. What is not proven in the environments before is refused,
/// unless `--unproven` is said with a reason: that is recorded, and shown wherever the release is.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    unit: Unit,

    /// The release, by name or by the beginning of a digest; without it the newest that is proven
    release: Option<String>,

    /// Why, for those who find it
    #[arg(long, default_value = "a person promoted it")]
    reason: String,

    /// Although it is not proven; says why with `--reason`
    #[arg(long, requires_all = ["release", "reason"])]
    unproven: bool,
}

/// Records the promotion, and carries it out in git.
///
/// # Errors
/// The release may not come, a source cannot be read, or the record cannot be written.
pub async fn run(args: &Args, setup: &Setup, out: &mut dyn Write) -> Result<u8> {
    let by = whoever_asks().await?;
    let Unit {
        application,
        environment,
    } = &args.unit;
    let said = Said::to(setup, application, environment).await?;
    let asked = Promote {
        release: args.release.as_deref(),
        reason: &args.reason,
        unproven: args.unproven,
    };
    said.say(&by, |person| person.promote(asked)).await?;
    if let Some(promoted) = said.promoted() {
        writeln!(
            out,
            "{by} promotes {application} in {environment} to {} ({}){}: {}",
            promoted.release,
            promoted.release.short_digest(),
            if promoted.unproven { ", unproven" } else { "" },
            promoted.reason
        )?;
    }
    next(said.carry_out().await?, out)?;
    Ok(exit::OK)
}
