//! `towpath diff`: what the cluster would make of a unit's desired state. Writes nothing: it holds the
//! reading half of one cluster.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use anyhow::{Result, anyhow, bail};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::setup::Setup;
use super::{Output, exit, names, view};
use crate::clock;
use crate::cluster::{Preview, UnitScope};
use crate::model::{ApplicationName, EnvironmentName, Release};
use crate::observe::{Observatory, Outside};
use crate::plan::{Reason, World};
use crate::present::diff::{Change, FieldDiff, Sign, Trial, Tried};

/// Show what the cluster would make of what the branch asks for
///
/// Renders the head of the environment's branch, or with `--release` what it would be with that
/// release, and has the cluster try it (a server-side dry run: nothing is changed). Printed is what
/// differs from the live objects, and what would be deleted, or is left because another application asks
/// for it. What servers write of their own accord is
/// left out; what Secrets and encrypted manifests hold is hidden.
///
/// Exit code 5 with `--exit-code` where anything differs.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The application
    application: ApplicationName,

    /// The environment
    environment: EnvironmentName,

    /// As it would be with this release: its name, or the digest of one of its images
    #[arg(long, value_name = "RELEASE")]
    release: Option<String>,

    /// Let the exit code tell whether anything differs
    #[arg(long)]
    exit_code: bool,

    /// How the answer is written
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    output: Output,
}

/// Writes the answer.
///
/// # Errors
/// Where the outside cannot be set up or read, names are unknown, the cluster refuses an object, or
/// the writer's.
pub async fn run(args: &Args, setup: &Setup, out: &mut dyn Write) -> Result<u8> {
    let objects = objects(args, setup, clock::now()).await?;
    match args.output {
        Output::Table => table(&objects, out)?,
        form => form.write(&objects.iter().map(ObjectView::of).collect::<Vec<_>>(), out)?,
    }
    let stays = |it: &Tried| {
        let simply = matches!(it.trial, Trial::Taken | Trial::Left(_));
        it.diff.change == Change::Unchanged && simply
    };
    let differs = !objects.iter().all(stays);
    Ok(match args.exit_code && differs {
        true => exit::DIFFERS,
        false => exit::OK,
    })
}

/// Every object of the unit, by name.
async fn objects(args: &Args, setup: &Setup, now: Timestamp) -> Result<Vec<Tried>> {
    let pipeline = names::pipeline(setup, &args.application)?;
    let environment = names::environment(&pipeline, &args.environment)?;
    let outside = setup.outside(std::slice::from_ref(&environment.name))?;
    let observatory = Observatory::new(
        std::slice::from_ref(&pipeline),
        &setup.pipelines(),
        &outside,
        now,
    );
    match &args.release {
        // Releases are known by the registries, and by the records of every environment.
        Some(_) => observatory.read_releases(now).await,
        None => observatory.read_infra([&environment.repository], now).await,
    }
    let world = observatory.world(&pipeline, now);
    let desired = view::desired(&world, environment).map_err(|why| anyhow!("{why}"))?;
    let rendered = match &args.release {
        None => desired.rendered.clone(),
        Some(name) => {
            let release = find(&world, name)?;
            let edit = desired.set(&release);
            let edit = edit.map_err(|why| anyhow!("{release} cannot be written: {why}"))?;
            edit.rendered.into()
        }
    };
    let scope = UnitScope {
        environment: environment.name.clone(),
        application: args.application.clone(),
    };
    let Some(cluster) = outside.clusters.get(&environment.name) else {
        bail!("{} has no cluster", environment.name);
    };
    let mut previews = cluster.preview(&scope, &rendered, now).await?;
    if previews.iter().any(Preview::is_deletion) {
        let others = neighbours(setup, &scope, &outside, now).await;
        others.hand_over(&scope, &mut previews, now);
    }
    previews.sort_by(|a, b| a.reference.cmp(&b.reference));
    Ok(previews.into_iter().map(Preview::tried).collect())
}

/// What all that goes to the same environment asks for.
async fn neighbours(
    setup: &Setup,
    unit: &UnitScope,
    outside: &Outside,
    now: Timestamp,
) -> Observatory {
    let mut pipelines = setup.pipelines();
    pipelines.retain(|pipeline| pipeline.environment(&unit.environment).is_some());
    let observatory = Observatory::new(&pipelines, &pipelines, outside, now);
    let there = pipelines
        .iter()
        .filter_map(|pipeline| pipeline.environment(&unit.environment));
    let urls = there.map(|it| &it.repository);
    observatory.read_infra(urls, now).await;
    observatory
}

/// The release of this name, or with an image of this digest; the newest where a name was moved.
fn find(world: &World, name: &str) -> Result<Release> {
    let catalogue = world.catalogue.read();
    let mut known: Vec<Release> = catalogue.iter().flat_map(|it| it.all()).collect();
    let infra = world.units.values().filter_map(|it| it.infra.read().ok());
    for records in infra.filter_map(|infra| infra.records.as_ref().ok()) {
        known.extend(records.deployed().cloned());
        known.extend(records.proposal.iter().map(|it| it.release.clone()));
    }
    known.sort_by(Release::compare);
    let is_it = |release: &&Release| {
        let mut images = release.images.values();
        release.name == name || images.any(|image| image.digest.to_string() == name)
    };
    if let Some(release) = known.iter().rev().find(is_it) {
        return Ok(release.clone());
    }
    if let Err(unreadable) = catalogue {
        bail!("{}", Reason::Unreadable(unreadable.clone()));
    }
    let mut newest: Vec<&str> = known.iter().rev().map(|it| it.name.as_str()).collect();
    newest.dedup();
    newest.truncate(5);
    match newest.is_empty() {
        true => bail!("there is no release `{name}`: there are none yet"),
        false => bail!(
            "there is no release `{name}`: the newest are {}",
            newest.join(", ")
        ),
    }
}

fn table(objects: &[Tried], out: &mut dyn Write) -> Result<()> {
    let bold = Style::new().bold();
    let place = AnsiColor::Cyan.on_default();
    for tried in objects.iter().filter(|it| !it.is_unchanged()) {
        let diff = &tried.diff;
        let warning = match tried.trial {
            Trial::Refused(_) => AnsiColor::Red.on_default(),
            _ => AnsiColor::Yellow.on_default(),
        };
        let style = style(diff.change);
        let (sign, reference) = (diff.change.sign(), &diff.reference);
        let word = diff.change.name();
        writeln!(
            out,
            "{style}{sign}{style:#} {bold}{reference}{bold:#} {style}would be {word}{style:#}"
        )?;
        if let (Some(outcome), Some(why)) = (tried.trial.outcome(), tried.trial.why()) {
            writeln!(out, "{warning}! {outcome}: {why}{warning:#}")?;
        }
        for hunk in &diff.hunks {
            if !hunk.within.is_empty() {
                writeln!(out, "{place}@@ {} @@{place:#}", hunk.within)?;
            }
            for line in &hunk.lines {
                let style = match line.sign {
                    Sign::Same => Style::new(),
                    Sign::Removed => AnsiColor::Red.on_default(),
                    Sign::Added => AnsiColor::Green.on_default(),
                };
                writeln!(out, "{style}{line}{style:#}")?;
            }
        }
        writeln!(out)?;
    }
    let counts = Change::ALL.into_iter().filter_map(|change| {
        let count = objects.iter().filter(|it| it.diff.change == change).count();
        (count > 0).then(|| format!("{count} {}", change.name()))
    });
    let outcomes = Trial::OUTCOMES.into_iter().filter_map(|outcome| {
        let with = objects
            .iter()
            .filter(|it| it.trial.outcome() == Some(outcome));
        let count = with.count();
        (count > 0).then(|| format!("{count} {outcome}"))
    });
    let counts: Vec<String> = counts.chain(outcomes).collect();
    writeln!(out, "{}", counts.join(", "))?;
    Ok(())
}

fn style(change: Change) -> Style {
    match change {
        Change::Created => AnsiColor::Green.on_default(),
        Change::Changed => AnsiColor::Yellow.on_default(),
        Change::Deleted => AnsiColor::Red.on_default(),
        Change::Unchanged => Style::new(),
    }
}

/// How an object differs, as scripts read it.
#[derive(Serialize)]
struct ObjectView<'a> {
    kind: &'a str,
    group: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    name: &'a str,
    change: &'static str,
    /// `made anew`, `not tried`, `refused` or `left`, where the cluster does not simply take it.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<FieldView<'a>>,
    /// The whole of it, where it would be created.
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<&'a Value>,
}

#[derive(Serialize)]
struct FieldView<'a> {
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<&'a Value>,
}

impl<'a> ObjectView<'a> {
    fn of(tried: &'a Tried) -> Self {
        let diff = &tried.diff;
        let field = |field: &'a FieldDiff| FieldView {
            path: &field.path,
            before: field.before.as_ref(),
            after: field.after.as_ref(),
        };
        Self {
            kind: &diff.reference.kind,
            group: &diff.reference.group,
            namespace: diff.reference.namespace.as_deref(),
            name: &diff.reference.name,
            change: diff.change.name(),
            outcome: tried.trial.outcome(),
            why: tried.trial.why(),
            fields: diff.fields.iter().map(field).collect(),
            object: diff.created.as_ref(),
        }
    }
}
