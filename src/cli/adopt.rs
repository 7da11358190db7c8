//! `towpath adopt`: a person's yes to taking over live objects that are not Towpath's.

use std::io::Write;

use anyhow::Result;

use super::exit;
use super::person::whoever_asks;
use super::said::Said;
use super::setup::Setup;
use crate::model::{ApplicationName, EnvironmentName};
use crate::plan::{Adoption, Allowed};

/// Say yes to taking over live objects that the manifests name
///
/// Lists them: whose mark they carry, who manages their fields, and what is made or changed beside
/// them. The yes is a record with your git identity, for what the branch asks for now; Towpath applies
/// in its next round. From then on the objects are Towpath's, and deleted when their manifests go.
///
/// Objects of an engine (Helm, Flux, Argo CD) need its name in the environment, as in `adopt: [helm]`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The application
    application: ApplicationName,

    /// The environment
    environment: EnvironmentName,

    /// Only list; write nothing
    #[arg(long)]
    dry_run: bool,
}

/// Lists, and writes the record unless told not to. The exit code is 3 where something stays that no
/// yes of this command lets be taken over.
///
/// # Errors
/// Where nothing waits for it, a source cannot be read, or the record cannot be written.
pub async fn run(args: &Args, setup: &Setup, out: &mut dyn Write) -> Result<u8> {
    let said = Said::to(setup, &args.application, &args.environment).await?;
    let adoption = said.ask(|person| person.adoption())?;
    list(&adoption, out)?;
    let stays = |allowed: &Allowed| matches!(allowed, Allowed::ByEngine(_) | Allowed::Never);
    let blocked = adoption.foreign.iter().any(|it| stays(&it.allowed));
    let end = if blocked { exit::STOPPED } else { exit::OK };
    if args.dry_run || adoption.foreign.is_empty() {
        return Ok(end);
    }
    let by = whoever_asks().await?;
    said.say(&by, |person| person.approve_adoption()).await?;
    writeln!(out, "{by} approved the adoption")?;
    Ok(end)
}

fn list(adoption: &Adoption, out: &mut dyn Write) -> Result<()> {
    if adoption.foreign.is_empty() {
        writeln!(
            out,
            "every live object that the manifests name is Towpath's already"
        )?;
    }
    for object in &adoption.foreign {
        let managers = match object.managers.is_empty() {
            true => String::new(),
            false => format!(", managed by {}", object.managers.join(", ")),
        };
        writeln!(
            out,
            "take over {} ({}{managers})",
            object.reference, object.whose
        )?;
        match &object.allowed {
            Allowed::Already => writeln!(out, "  allowed already")?,
            Allowed::ByPerson => {}
            Allowed::ByEngine(engine) => writeln!(
                out,
                "  not before the environment says `adopt: [{engine}]`: its engine would take it back"
            )?,
            Allowed::Never => writeln!(
                out,
                "  never: take it out of the manifests of one of the two"
            )?,
        }
    }
    if !adoption.foreign.is_empty() {
        writeln!(
            out,
            "  taken over, they are deleted when their manifests go"
        )?;
    }
    for reference in &adoption.changed {
        writeln!(out, "change {reference}")?;
    }
    for reference in &adoption.missing {
        writeln!(out, "make {reference}")?;
    }
    Ok(())
}
