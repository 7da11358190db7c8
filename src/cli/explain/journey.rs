//! One release on its way: `towpath explain --release`.

use std::io::Write;
use std::sync::Arc;

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::known::Known;
use crate::cli::releases::{self, StandView};
use crate::cli::setup::Setup;
use crate::cli::view::{self, ReleaseView};
use crate::cli::{Output, exit};
use crate::clock;
use crate::model::Pipeline;
use crate::plan::{self, Journey, Stopped, journey};

/// A release on its way, as scripts read it.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct JourneyView {
    application: String,
    release: ReleaseView,
    /// What stops it; left out where nothing does.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<StoppedView>,
    /// In pipeline order.
    environments: Vec<PlaceView>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct StoppedView {
    environment: String,
    state: &'static str,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unblock: Option<String>,
}

#[derive(Serialize)]
struct PlaceView {
    environment: String,
    #[serde(flatten)]
    stand: StandView,
}

/// Writes the answer.
pub(super) async fn run(
    named: &str,
    setup: &Setup,
    pipeline: &Arc<Pipeline>,
    form: Output,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    let now = clock::now();
    let known = Known::read_all(setup, pipeline, now).await?;
    let release = &known.find(named)?.release;
    let now = clock::now();
    let plan = plan::plan(pipeline, &known.world, now);
    let environments = pipeline.environments.iter();
    let stands = environments.map(|it| (it.name.clone(), known.stand(&it.name, release, now)));
    let journey = journey(
        pipeline,
        &known.world,
        &plan,
        release,
        stands.collect(),
        now,
    );
    known.tell_unread(err)?;
    if form == Output::Table {
        writeln!(out, "{} {release}", plan.application)?;
        write(&journey, now, out)?;
        return Ok(exit::OK);
    }
    let places = journey.stands.iter().map(|(environment, stand)| PlaceView {
        environment: environment.to_string(),
        stand: StandView::of(stand),
    });
    let view = JourneyView {
        application: plan.application.to_string(),
        release: ReleaseView::of(release),
        stopped: journey.stopped.as_ref().map(StoppedView::of),
        environments: places.collect(),
    };
    form.write(&view, out)?;
    Ok(exit::OK)
}

impl StoppedView {
    fn of(stopped: &Stopped) -> Self {
        Self {
            environment: stopped.environment.to_string(),
            state: stopped.state,
            reason: stopped.sentence.clone(),
            since: stopped.since.map(view::moment),
            next: stopped.next.map(view::moment),
            unblock: stopped.unblock.clone(),
        }
    }
}

fn write(journey: &Journey, now: Timestamp, out: &mut dyn Write) -> Result<()> {
    match &journey.stopped {
        None => writeln!(out, "  nothing stops it")?,
        Some(stopped) => {
            let style = anstyle::AnsiColor::Yellow.on_default();
            writeln!(
                out,
                "  in {}: {style}{}{style:#}: {}",
                stopped.environment, stopped.state, stopped.sentence
            )?;
            if let Some(since) = stopped.since {
                let ago = view::ago(since, now);
                writeln!(out, "  since: {} ({ago} ago)", view::moment(since))?;
            }
            if let Some(next) = stopped.next {
                writeln!(out, "  looked at next: {}", view::moment(next))?;
            }
            if let Some(unblock) = &stopped.unblock {
                writeln!(out, "  unblocked by: {unblock}")?;
            }
        }
    }
    // Downstream first, as everywhere in `explain`.
    for (environment, stand) in journey.stands.iter().rev() {
        let number = stand.number;
        let number = number.map(|it| format!(", deployment {it}"));
        let word = releases::word(stand);
        writeln!(out, "{environment}: {word}{}", number.unwrap_or_default())?;
    }
    Ok(())
}
