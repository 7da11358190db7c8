//! `towpath records`: whether records are whole, and the yes to records that nobody signed.

use std::io::Write;

use anyhow::{Result, anyhow, bail};
use serde::Serialize;

use super::check::counted;
use super::person::whoever_asks;
use super::setup::Setup;
use super::{Output, exit, names, person};
use crate::clock;
use crate::git::notes::{self, Verified};
use crate::git::{Pushed, Signature};
use crate::model::{Environment, EnvironmentName, Right};
use crate::observe::Observatory;

/// Look at records as such
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Verify(VerifyArgs),
    Sign(SignArgs),
}

/// Read every record, and see whether all is as it should be
///
/// Each line is read; one number marks one deployment; what `present/` repeats is what the notes say; the records
/// descend from those that the newest deployment tag names; where `authority` lists keys, the newest that was
/// accepted is found. Exit code 1 where something is wrong. Writes nothing.
#[derive(Debug, clap::Args)]
struct VerifyArgs {
    /// Only this environment
    environment: Option<EnvironmentName>,

    /// How the answer is written
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    output: Output,
}

/// Accept an environment's records as they are, with your signature
///
/// Needed once, where `authority` begins to list keys and there are records already: nothing moves there until
/// somebody whose key may `record` says that they are right. Read them first, with git (docs/records.md).
#[derive(Debug, clap::Args)]
struct SignArgs {
    /// The environment
    environment: EnvironmentName,
}

/// Carries it out.
///
/// # Errors
/// Names are unknown, a repository cannot be read or written, the key may not sign, or the writer's.
pub async fn run(args: &Args, setup: &Setup, out: &mut dyn Write) -> Result<u8> {
    match &args.what {
        What::Verify(args) => verify(args, setup, out).await,
        What::Sign(args) => sign(args, setup, out).await,
    }
}

/// What was found in one environment.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct View {
    environment: String,
    records: usize,
    deployments: usize,
    applications: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_by: Option<String>,
    wrong: Vec<String>,
}

async fn verify(args: &VerifyArgs, setup: &Setup, out: &mut dyn Write) -> Result<u8> {
    let now = clock::now();
    let only: Vec<_> = args.environment.iter().cloned().collect();
    let asked = names::environments(setup, &only)?;
    let pipelines = setup.pipelines();
    let outside = setup.outside(&only)?;
    let observatory = Observatory::new(&pipelines, &pipelines, &outside, now);
    let environments: Vec<&Environment> = asked
        .iter()
        .filter_map(|name| pipelines.iter().find_map(|it| it.environment(name)))
        .collect();
    let urls = environments.iter().map(|it| &it.repository);
    observatory.read_infra(urls, now).await;
    let views: Vec<View> = environments
        .into_iter()
        .filter_map(|it| {
            let source = observatory.infra.get(&it.repository)?;
            Some(View::of(it, source.verify(&it.name)))
        })
        .collect();
    match args.output {
        Output::Table => views.iter().try_for_each(|view| view.tell(out))?,
        form => form.write(&views, out)?,
    }
    let wrong = views.iter().any(|view| !view.wrong.is_empty());
    Ok(u8::from(wrong))
}

impl View {
    fn of(environment: &Environment, found: Result<(Verified, Option<String>), String>) -> Self {
        let (found, signed_by) = found.unwrap_or_else(|why| {
            let wrong = vec![why];
            let nothing = Verified {
                wrong,
                ..Verified::default()
            };
            (nothing, None)
        });
        Self {
            environment: environment.name.to_string(),
            records: found.records,
            deployments: found.deployments,
            applications: found.applications.len(),
            signed_by,
            wrong: found.wrong,
        }
    }

    fn tell(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let environment = &self.environment;
        let counted = [
            counted(self.records, "record"),
            counted(self.deployments, "deployment"),
            counted(self.applications, "application"),
        ]
        .join(", ");
        match (&self.wrong[..], &self.signed_by) {
            ([], None) => writeln!(out, "{environment}: {counted}: as they should be"),
            ([], Some(who)) => writeln!(
                out,
                "{environment}: {counted}: as they should be, accepted by {who}"
            ),
            (wrong, _) => wrong
                .iter()
                .try_for_each(|wrong| writeln!(out, "{environment}: {wrong}")),
        }
    }
}

async fn sign(args: &SignArgs, setup: &Setup, out: &mut dyn Write) -> Result<u8> {
    let by = whoever_asks().await?;
    let name = &args.environment;
    names::environments(setup, std::slice::from_ref(name))?;
    let pipelines = setup.pipelines();
    let there = pipelines.iter().find_map(|it| it.environment(name));
    let there = there.ok_or_else(|| anyhow!("no application goes to `{name}`"))?;
    if there.authority.is_open() {
        bail!("{name} lists no keys in `authority`: its records need no signature");
    }
    let (signer, key) = person::signer().await?;
    // Whoever may record signs for everybody.
    let own = key.as_ref().and_then(|key| there.authority.of(key));
    let who = own.map_or(by.as_str(), |it| it.who.as_str());
    if let Some(why) = there.authority.objection(Right::Record, key.as_ref(), who) {
        bail!("{why}: {}", person::SIGNING);
    }
    let outside = setup.outside(std::slice::from_ref(name))?;
    let repository = outside.repositories.get(&there.repository);
    let repository = repository.ok_or_else(|| anyhow!("{} is not known", there.repository))?;
    let repository = repository.clone().signing(signer);
    let author = Signature {
        name: by.clone(),
        email: by.clone(),
        time: clock::now(),
    };
    match notes::sign(&repository, name, &author).await? {
        None => bail!("{name} has no records yet: Towpath signs the first"),
        Some(Pushed::Landed) => {
            writeln!(out, "{by} accepted the records of {name} as they are")?;
            Ok(exit::OK)
        }
        Some(Pushed::Lost { .. }) => bail!("the records of {name} moved meanwhile: look again"),
        Some(Pushed::Refused { reasons, .. }) => {
            let reasons: Vec<String> = reasons.into_values().collect();
            bail!("the push was refused: {}", reasons.join("; "))
        }
    }
}
