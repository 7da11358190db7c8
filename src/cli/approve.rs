//! `towpath approve`: a person's yes to what is proposed, or to what Towpath does not delete by itself.

use std::io::Write;

use anyhow::Result;

use super::person::{identity, whoever_asks};
use super::rollback::Unit;
use super::said::Said;
use super::setup::Setup;
use super::{dry_run, exit};
use crate::plan::Person;

/// Merge what is proposed, or say yes to what a deployment deletes
///
/// With `gate: branch`, the proposal is merged into the environment's branch as your own commit, as you would with
/// git: on the very branch and proposal that were looked at, or not at all. A pull request is merged on its forge.
///
/// With `--prune`: objects that hold data or take much else along, those of `prune: { confirm }`, and more of them
/// than `prune: { limit }` allows, are only deleted once somebody said so. The yes is a record with your git
/// identity, for this one deployment; Towpath deletes in its next round. A newer deployment asks again.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    unit: Unit,

    /// The release that is to be merged: refused if another one is proposed by now
    #[arg(conflicts_with = "prune")]
    release: Option<String>,

    /// The deployment's number, as `towpath explain` names it
    #[arg(long, value_name = "DEPLOYMENT")]
    prune: Option<u64>,

    #[command(flatten)]
    dry: dry_run::Args,
}

/// Merges, or writes the record and names what it allows.
///
/// # Errors
/// Where nothing waits for it, a source cannot be read, or nothing can be written.
pub async fn run(args: &Args, setup: &Setup, out: &mut dyn Write) -> Result<u8> {
    let said = args.unit.looked_at(setup).await?;
    match args.prune {
        Some(number) => prune(args, number, &said, out).await,
        None => merge(args, &said, out).await,
    }
}

async fn merge(args: &Args, said: &Said, out: &mut dyn Write) -> Result<u8> {
    let by = identity().await?;
    let named = args.release.as_deref();
    let merge = |person: &Person<'_>| person.merge(named, &by);
    let release = said.proposed();
    let written = said.say_or_show(&by.email, merge, args.dry, false, out);
    if !written.await? {
        return Ok(exit::OK);
    }
    let release = release.map_or_else(String::new, |it| format!("{it} ({}) ", it.short_digest()));
    writeln!(out, "{} merged {release}for {}", by.email, args.unit)?;
    Ok(exit::OK)
}

async fn prune(args: &Args, number: u64, said: &Said, out: &mut dyn Write) -> Result<u8> {
    let objects = said.ask(|person| person.deletions(number))?;
    let by = whoever_asks().await?;
    let approve = |person: &Person<'_>| person.approve_prune(number);
    if said.say_or_show(&by, approve, args.dry, false, out).await? {
        writeln!(out, "{by} approved what deployment {number} deletes:")?;
    }
    for object in objects {
        writeln!(out, "  {object}")?;
    }
    Ok(exit::OK)
}
