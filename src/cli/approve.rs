//! `towpath approve`: a person's yes to what Towpath does not do by itself.

use std::io::Write;

use anyhow::Result;

use super::exit;
use super::person::whoever_asks;
use super::said::Said;
use super::setup::Setup;
use crate::model::{ApplicationName, EnvironmentName};

/// Say yes to what a deployment deletes
///
/// Objects that hold data or take much else along, those of `prune: { confirm }`, and more of them than
/// `prune: { limit }` allows, are only deleted once somebody said so. The yes is a record with your git
/// identity, for this one deployment; Towpath deletes in its next round. A newer deployment asks again.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The application
    application: ApplicationName,

    /// The environment
    environment: EnvironmentName,

    /// The deployment's number, as `towpath explain` names it
    #[arg(long, value_name = "DEPLOYMENT")]
    prune: u64,
}

/// Writes the record, and names what it allows.
///
/// # Errors
/// Where nothing waits for it, a source cannot be read, or the record cannot be written.
pub async fn run(args: &Args, setup: &Setup, out: &mut dyn Write) -> Result<u8> {
    let said = Said::to(setup, &args.application, &args.environment).await?;
    let number = args.prune;
    let objects = said.ask(|person| person.deletions(number))?;
    let by = whoever_asks().await?;
    said.say(&by, |person| person.approve_prune(number)).await?;
    writeln!(out, "{by} approved what deployment {number} deletes:")?;
    for object in objects {
        writeln!(out, "  {object}")?;
    }
    Ok(exit::OK)
}
