//! `towpath promote`: a person says which release comes next.

use std::io::Write;

use anyhow::Result;

use super::person::whoever_asks;
use super::rollback::{Unit, next};
use super::said::Said;
use super::setup::Setup;
use super::{dry_run, exit, moment};
use crate::clock;
use crate::model::record::Promoted;
use crate::plan::{Person, Promote};

/// Bring a release to an environment next: the newest that is proven, or the one that is named
///
/// It goes the way of every release, through the environment's own gate, but before any other. It ends a pin, and
/// asks again for what was declined or failed there. What is not proven in the environments before is refused,
/// unless `--unproven` is said with a reason: that is recorded, and shown wherever the release is. Where a key may
/// `override`, another person has to say the same.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    unit: Unit,

    /// The release, by name or by the beginning of a digest; without it the newest that is proven
    release: Option<String>,

    /// Why, for those who find it
    #[arg(long, default_value = "a person asked for it")]
    reason: String,

    /// Although it is not proven; says why with `--reason`
    #[arg(long, requires_all = ["release", "reason"])]
    unproven: bool,

    /// A fix of an older line: it is deployed and pinned first in the environments that are to prove it, and comes
    /// here once it is proven there; then their pin ends
    #[arg(long, requires = "release", conflicts_with = "unproven")]
    hotfix: bool,

    /// Although the environment is frozen; says why with `--reason`
    #[arg(long, requires = "reason")]
    during_freeze: bool,

    /// Not before then: `2h`, `2026-11-23T08:00:00Z` or `2026-11-23T09:00[Europe/Rome]`
    #[arg(long, value_name = "WHEN", value_parser = moment::parse)]
    not_before: Option<moment::Moment>,

    #[command(flatten)]
    dry: dry_run::Args,
}

/// Records the promotion, and carries it out in git.
///
/// # Errors
/// The release may not come, a source cannot be read, or the record cannot be written.
pub async fn run(
    args: &Args,
    setup: &Setup,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    let by = whoever_asks().await?;
    let said = args.unit.looked_at(setup).await?;
    let not_before = args.not_before.map(|at| at.at(clock::now())).transpose()?;
    let asked = Promote {
        release: args.release.as_deref(),
        reason: &args.reason,
        unproven: args.unproven,
        during_freeze: args.during_freeze,
        hotfix: args.hotfix,
        not_before,
    };
    let promote = |person: &Person<'_>| person.promote(asked);
    said.has_images(&by, promote, err).await?;
    if !said.say_or_show(&by, promote, args.dry, true, out).await? {
        return Ok(exit::OK);
    }
    if let Some(promoted) = said.promoted() {
        let (release, reason) = (&promoted.release, &promoted.reason);
        let (digest, terms) = (release.short_digest(), terms(&promoted));
        writeln!(
            out,
            "{by} promotes {} to {release} ({digest}){terms}: {reason}",
            args.unit
        )?;
    }
    if args.hotfix {
        prove(args, &said, &by, out).await?;
    }
    next(said.carry_out().await?, out)?;
    Ok(exit::OK)
}

/// Pins the release in the environments that are to prove it, and carries that out.
async fn prove(args: &Args, said: &Said, by: &str, out: &mut dyn Write) -> Result<()> {
    let environment = &args.unit.environment;
    let (named, reason) = (args.release.as_deref().unwrap_or_default(), &args.reason);
    for upstream in said.ask(|person| person.to_prove())? {
        let there = said.at(&upstream);
        there
            .say(by, |person| person.prove_for(environment, named, reason))
            .await?;
        writeln!(out, "{by} has {named} proven in {upstream}: {reason}")?;
        next(there.carry_out().await?, out)?;
    }
    Ok(())
}

/// What it goes over, and from when on it counts.
fn terms(promoted: &Promoted) -> String {
    let mut terms = String::new();
    if promoted.unproven {
        terms.push_str(", unproven");
    }
    if promoted.during_freeze {
        terms.push_str(", during a freeze");
    }
    if let Some(at) = promoted.not_before {
        terms.push_str(&format!(", not before {at}"));
    }
    terms
}
