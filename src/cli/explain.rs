//! `towpath explain`: the one thing that blocks, and what would unblock it.

mod journey;

use std::io::Write;

use anyhow::Result;

use super::setup::Setup;
use super::view::{self, UnitView};
use super::{Output, exit, known, names, status};
use crate::clock;
use crate::model::{ApplicationName, EnvironmentName, Follow, Pipeline};
use crate::plan::{Decision, Plan, UnitPlan};

/// Name the one thing each unit waits for, and what would unblock it
///
/// For each environment, downstream first: what it waits for, since when, when it is looked at next,
/// and what unblocks it; then what it follows, up to the tag.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The application; not needed where there is one
    application: Option<ApplicationName>,

    /// Only this environment and what it follows
    environment: Option<EnvironmentName>,

    /// Follow this release, by name or by the beginning of its name or of a digest: the one thing that stops it, and
    /// where
    #[arg(long, value_name = "RELEASE", conflicts_with_all = ["environment", "effective"])]
    release: Option<String>,

    /// Print each effective value of the configuration and where it stands
    #[arg(long, name = "effective", id = "effective")]
    config_values: bool,

    /// How the answer is written
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    output: Output,
}

/// Writes the answer.
///
/// # Errors
/// Where the outside cannot be set up, names are unknown, or the writer's.
pub async fn run(
    args: &Args,
    setup: &Setup,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    if args.config_values {
        return effective(args, setup, out);
    }
    if let Some(release) = &args.release {
        let pipeline = known::one(setup, args.application.as_ref())?;
        return journey::run(release, setup, &pipeline, args.output, out, err).await;
    }
    let looked = status::look(
        setup,
        status::Which::named(args.application.as_ref()),
        &[],
        clock::now(),
    )
    .await?;
    let mut views = Vec::new();
    for (pipeline, plan) in &looked.planned {
        let environments = chain(pipeline, args.environment.as_ref())?;
        for (index, environment) in environments.iter().enumerate() {
            let Some(unit) = plan.unit(environment) else {
                continue;
            };
            match args.output {
                Output::Table => {
                    if index == 0 && looked.planned.len() > 1 {
                        writeln!(out, "{}", plan.application)?;
                    }
                    explain(plan, unit, out)?;
                }
                _ => views.push(UnitView::of(plan, unit)),
            }
        }
    }
    if args.output != Output::Table {
        args.output.write(&views, out)?;
    }
    looked.tell_left_behind(err)?;
    Ok(exit::OK)
}

/// The environment and what it follows, downstream first; all of them where none is named.
fn chain(
    pipeline: &Pipeline,
    environment: Option<&EnvironmentName>,
) -> Result<Vec<EnvironmentName>> {
    let Some(name) = environment else {
        let names = pipeline.environments.iter().map(|it| it.name.clone());
        return Ok(names.rev().collect());
    };
    let environment = names::environment(pipeline, name)?;
    let mut chain = vec![environment.name.clone()];
    let mut open = vec![environment];
    while let Some(environment) = open.pop() {
        let Follow::Environments { all, .. } = &environment.follow else {
            continue;
        };
        for upstream in all.iter().filter_map(|name| pipeline.environment(name)) {
            if !chain.contains(&upstream.name) {
                chain.push(upstream.name.clone());
                open.push(upstream);
            }
        }
    }
    Ok(chain)
}

fn explain(plan: &Plan, unit: &UnitPlan, out: &mut dyn Write) -> Result<()> {
    let style = view::style(unit);
    let release = unit
        .release
        .as_ref()
        .map_or("nothing known", |release| release.name.as_str());
    let number = unit
        .number
        .map_or_else(String::new, |number| format!(", deployment {number}"));
    writeln!(out, "{}: {release}{number}", unit.environment)?;
    writeln!(
        out,
        "  {style}{}{style:#}: {}",
        view::state(unit),
        view::sentence(unit)
    )?;
    if let Decision::Waiting(waiting) = &unit.decision {
        if let Some(since) = waiting.since {
            let ago = view::ago(since, clock::now());
            writeln!(out, "  since: {} ({ago} ago)", view::moment(since))?;
        }
        if let Some(next) = waiting.next {
            writeln!(out, "  looked at next: {}", view::moment(next))?;
        }
        let unblock = waiting.reason.unblock(&plan.application, &unit.environment);
        if let Some(unblock) = unblock {
            writeln!(out, "  unblocked by: {unblock}")?;
        }
    }
    for note in &unit.notes {
        writeln!(out, "  note: {note}")?;
    }
    Ok(())
}

fn effective(args: &Args, setup: &Setup, out: &mut dyn Write) -> Result<u8> {
    let mut rows = Vec::new();
    for value in setup.config.effective_settings() {
        rows.push(("towpath".to_owned(), value.clone()));
    }
    for pipeline in &setup.config.pipelines {
        let application = &pipeline.application.name;
        if args
            .application
            .as_ref()
            .is_some_and(|wanted| wanted != application)
        {
            continue;
        }
        for environment in &pipeline.environments {
            if args
                .environment
                .as_ref()
                .is_some_and(|wanted| *wanted != environment.name)
            {
                continue;
            }
            let unit = format!("{application} {}", environment.name);
            rows.extend(
                setup
                    .config
                    .effective(application, &environment.name)
                    .into_iter()
                    .map(|value| (unit.clone(), value)),
            );
        }
    }
    if args.output == Output::Table {
        for (unit, value) in &rows {
            let place = value
                .place
                .as_ref()
                .map_or_else(|| "default".to_owned(), ToString::to_string);
            writeln!(out, "{unit}  {}: {}  ({place})", value.key, value.value)?;
        }
        return Ok(exit::OK);
    }
    let rows = rows.iter().map(|(unit, value)| {
        serde_json::json!({
            "of": unit,
            "key": value.key,
            "value": value.value,
            "place": value.place.as_ref().map(ToString::to_string),
        })
    });
    args.output.write(&rows.collect::<Vec<_>>(), out)?;
    Ok(exit::OK)
}
