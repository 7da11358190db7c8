//! `towpath status`: what runs where, and why.

use std::io::Write;
use std::sync::Arc;

use anyhow::Result;
use comfy_table::{Table, presets};
use jiff::Timestamp;

use super::setup::Setup;
use super::view::{self, UnitView};
use super::{Output, exit, names};
use crate::clock;
use crate::model::{ApplicationName, EnvironmentName, Pipeline};
use crate::observe::{LeftBehind, Observatory};
use crate::plan::{self, Plan, Reason};

/// Show what runs where, and why
///
/// Reads every source once; needs no running Towpath. Exit code 3 with `--exit-code` where anything
/// is held or failed, 1 where a source cannot be read.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this application
    application: Option<ApplicationName>,

    /// Let the exit code tell whether anything is held, failed or unreadable
    #[arg(long)]
    exit_code: bool,

    /// How the answer is written
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    output: Output,
}

/// What was looked at.
pub(super) struct Looked {
    /// What comes next, by pipeline.
    pub(super) planned: Vec<(Arc<Pipeline>, Plan)>,
    /// Environments that the configuration no longer has.
    pub(super) left_behind: Vec<LeftBehind>,
}

impl Looked {
    /// Tells of environments that the configuration no longer has.
    pub(super) fn tell_left_behind(&self, out: &mut dyn Write) -> Result<()> {
        for left in &self.left_behind {
            writeln!(out, "note: {left}")?;
        }
        Ok(())
    }
}

/// Looks at everything once and plans, without anything to write with.
pub(super) async fn look(
    setup: &Setup,
    application: Option<&ApplicationName>,
    only: &[EnvironmentName],
    now: Timestamp,
) -> Result<Looked> {
    let all = setup.pipelines();
    let asked = |pipeline: &&Arc<Pipeline>| {
        application.is_none_or(|name| pipeline.application.name == *name)
    };
    let mut pipelines: Vec<_> = all.iter().filter(asked).cloned().collect();
    let outside = setup.outside(only)?;
    let observatory = Observatory::new(&pipelines, &all, &outside, now);
    observatory.read_all(&pipelines, now).await;
    pipelines.extend(observatory.removed().iter().filter(asked).cloned());
    if pipelines.is_empty() {
        pipelines = names::pipelines(setup, application)?;
    }
    let planned = pipelines.into_iter().map(|pipeline| {
        let now = clock::now();
        let world = observatory.world(&pipeline, now);
        let plan = plan::plan(&pipeline, &world, now);
        (pipeline, plan)
    });
    Ok(Looked {
        planned: planned.collect(),
        left_behind: observatory.read_left_behind().await,
    })
}

/// Writes the answer.
///
/// # Errors
/// Where the outside cannot be set up, or the writer's.
pub async fn run(args: &Args, setup: &Setup, out: &mut dyn Write) -> Result<u8> {
    let now = clock::now();
    let looked = look(setup, args.application.as_ref(), &[], now).await?;
    let units = || {
        looked
            .planned
            .iter()
            .flat_map(|(_, plan)| plan.units.iter().map(move |unit| (plan, unit)))
    };
    match args.output {
        Output::Table => {
            let mut table = Table::new();
            table.load_preset(presets::NOTHING).set_header([
                "APPLICATION",
                "ENVIRONMENT",
                "RELEASE",
                "DEPLOYMENT",
                "STATE",
                "SINCE",
                "REASON",
            ]);
            for (plan, unit) in units() {
                let style = view::style(unit);
                let since = view::waiting(unit).and_then(|waiting| waiting.since);
                let state = view::state(unit);
                table.add_row([
                    plan.application.to_string(),
                    unit.environment.to_string(),
                    unit.release
                        .as_ref()
                        .map_or_else(|| "–".to_owned(), ToString::to_string),
                    unit.number
                        .map_or_else(|| "–".to_owned(), |number| number.to_string()),
                    format!("{style}{state}{style:#}"),
                    since.map_or_else(|| "–".to_owned(), |since| view::ago(since, clock::now())),
                    view::cell(unit, clock::now()),
                ]);
            }
            writeln!(out, "{}", table.trim_fmt())?;
            looked.tell_left_behind(out)?;
        }
        form => {
            let views: Vec<_> = units()
                .map(|(plan, unit)| UnitView::of(plan, unit))
                .collect();
            form.write(&views, out)?;
        }
    }
    if !args.exit_code {
        return Ok(exit::OK);
    }
    let reasons = || units().filter_map(|(_, unit)| Some(&view::waiting(unit)?.reason));
    Ok(match () {
        () if reasons().any(|reason| matches!(reason, Reason::Unreadable(_))) => exit::ERROR,
        () if reasons().any(Reason::is_stopped) => exit::STOPPED,
        () => exit::OK,
    })
}
