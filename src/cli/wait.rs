//! `towpath wait`: for CI, until a release is proven in an environment, or cannot become so.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};

use super::setup::Setup;
use super::{exit, moment, names, view};
use crate::clock;
use crate::model::{ApplicationName, EnvironmentName, Pipeline};
use crate::observe::Observatory;
use crate::plan::{self, Fate, Reason, UnitPlan};

/// How often the repository is looked at.
const PACE: Duration = Duration::from_secs(2);

/// Wait until a release is proven somewhere
///
/// Proven is what was healthy there for as long as those ask that follow. Exit code 0 then, 3 where it failed, was
/// passed over by a newer one or is held, 4 where it was not proven in time. What it waits for is told on stderr
/// each time that changes, and at the end on stdout.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The application
    application: ApplicationName,

    /// The environment
    environment: EnvironmentName,

    /// The release, by name or by the beginning of a digest
    release: String,

    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = moment::duration)]
    timeout: Duration,
}

/// Waits.
///
/// # Errors
/// Names are unknown, the outside cannot be set up, or the writer's.
pub async fn run(
    args: &Args,
    setup: &Setup,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    let begun = clock::now();
    let pipeline = names::pipeline(setup, &args.application)?;
    let alone = std::slice::from_ref(&pipeline);
    let there = names::environment(&pipeline, &args.environment)?;
    let outside = setup.outside(&[])?;
    let observatory = Observatory::new(alone, &setup.pipelines(), &outside, begun);
    observatory.read_all(alone, begun).await;
    let mut told = String::new();
    loop {
        let now = clock::now();
        let (fate, unit) = look(&observatory, &pipeline, args, now);
        let sentence = match &unit {
            Some(unit) => format!("{fate}; {}", view::sentence(unit)),
            None => fate.to_string(),
        };
        let stopped = unit.as_ref().is_some_and(is_held);
        let end = match fate {
            Fate::Proven => Some(exit::OK),
            Fate::Failed(_) | Fate::PassedOver(_) => Some(exit::STOPPED),
            _ if stopped => Some(exit::STOPPED),
            _ if is_over(begun, now, args.timeout) => Some(exit::PENDING),
            _ => None,
        };
        if let Some(end) = end {
            writeln!(out, "{} in {}: {sentence}", args.release, there.name)?;
            return Ok(end);
        }
        if told != sentence {
            writeln!(err, "{} in {}: {sentence}", args.release, there.name)?;
            told = sentence;
        }
        tokio::time::sleep(PACE).await;
        let again = clock::now();
        observatory.read_infra([&there.repository], again).await;
    }
}

fn look(
    observatory: &Observatory,
    pipeline: &Arc<Pipeline>,
    args: &Args,
    now: Timestamp,
) -> (Fate, Option<UnitPlan>) {
    let world = observatory.world(pipeline, now);
    let plan = plan::plan(pipeline, &world, now);
    let fate = plan::fate(pipeline, &world, &args.environment, &args.release, now);
    (fate, plan.unit(&args.environment).cloned())
}

fn is_held(unit: &UnitPlan) -> bool {
    view::waiting(unit).is_some_and(|waiting| matches!(waiting.reason, Reason::Held { .. }))
}

fn is_over(begun: Timestamp, now: Timestamp, timeout: Duration) -> bool {
    SignedDuration::try_from(timeout).is_ok_and(|timeout| now.duration_since(begun) >= timeout)
}
