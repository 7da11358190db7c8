//! `towpath plan`: what the next round would do. Writes nothing: it holds no writer.

use std::io::Write;

use anyhow::Result;
use serde::Serialize;

use super::setup::Setup;
use super::view::{self, UnitView};
use super::{Output, exit, status};
use crate::clock;
use crate::model::{ApplicationName, EnvironmentName};
use crate::plan::Decision;

/// Show what the next round would do; write nothing
///
/// Reads every source once, and prints one decision per unit: a step, or what it waits for.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this application
    application: Option<ApplicationName>,

    /// Only these environments (`A,B`)
    #[arg(long, value_name = "ENVIRONMENT", value_delimiter = ',')]
    only: Vec<EnvironmentName>,

    /// How the answer is written
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    output: Output,
}

#[derive(Serialize)]
struct StepView {
    #[serde(flatten)]
    unit: UnitView,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<String>,
}

/// Writes the answer.
///
/// # Errors
/// Where the outside cannot be set up, or the writer's.
pub async fn run(args: &Args, setup: &Setup, out: &mut dyn Write) -> Result<u8> {
    let now = clock::now();
    let looked = status::look(
        setup,
        status::Which::named(args.application.as_ref()),
        &args.only,
        now,
    )
    .await?;
    let units = looked
        .planned
        .iter()
        .flat_map(|(_, plan)| plan.units.iter().map(move |unit| (plan, unit)));
    let units =
        units.filter(|(_, unit)| args.only.is_empty() || args.only.contains(&unit.environment));
    if args.output != Output::Table {
        let views = units.map(|(plan, unit)| StepView {
            unit: UnitView::of(plan, unit),
            details: match &unit.decision {
                Decision::Step(step) => view::details(step),
                Decision::Waiting(_) => Vec::new(),
            },
        });
        args.output.write(&views.collect::<Vec<_>>(), out)?;
        return Ok(exit::OK);
    }
    let mut steps = 0;
    for (plan, unit) in units {
        let style = view::style(unit);
        let sentence = view::sentence(unit);
        let name = format!("{} {}", plan.application, unit.environment);
        match &unit.decision {
            Decision::Step(step) => {
                steps += 1;
                writeln!(out, "{style}→{style:#} {name}: {sentence}")?;
                for detail in view::details(step) {
                    writeln!(out, "    {detail}")?;
                }
            }
            Decision::Waiting(_) => writeln!(out, "{style}·{style:#} {name}: {sentence}")?,
        }
    }
    match steps {
        0 => writeln!(out, "nothing to do")?,
        1 => writeln!(out, "1 step")?,
        steps => writeln!(out, "{steps} steps")?,
    }
    Ok(exit::OK)
}
