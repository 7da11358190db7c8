//! `towpath status`: what runs where, and why.

mod table;
mod watch;

use std::io::Write;
use std::sync::Arc;

use anyhow::Result;
use clap::builder::PossibleValuesParser;
use jiff::Timestamp;

use super::setup::Setup;
use super::view::{self, UnitView};
use super::{Output, exit, names};
use crate::clock;
use crate::model::{ApplicationName, EnvironmentName, LabelSelector, Pipeline};
use crate::observe::{LeftBehind, Observatory};
use crate::plan::{self, Plan, Reason, UnitPlan};

/// What a unit is called that waits for nothing.
const STEP: &str = "step";

/// Show what runs where, and why
///
/// What needs a person comes first, then what cannot be read, what is on its way, and what is settled. Reads every
/// source once; needs no running Towpath. Exit code 3 with `--exit-code` where anything that is shown is held or failed, 1
/// where a source cannot be read.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this application
    application: Option<ApplicationName>,

    /// Only these environments (`A,B`)
    #[arg(long, value_name = "ENVIRONMENT", value_delimiter = ',')]
    environment: Vec<EnvironmentName>,

    /// Only applications whose `labels` match, as for `kubectl --selector`: `team=payments,tier!=back`
    #[arg(short, long, value_name = "SELECTOR")]
    label: Option<LabelSelector>,

    /// Only what is in these states (`A,B`), such as `failed` or `gate`; the runbook lists them
    #[arg(
        long,
        value_name = "STATE",
        value_delimiter = ',',
        hide_possible_values = true,
        value_parser = PossibleValuesParser::new(Reason::NAMES.into_iter().chain([STEP]))
    )]
    state: Vec<String>,

    /// Go on showing it as the world moves, until Ctrl-C
    ///
    /// Sources are looked at again at the pace of `poll` in `towpath.yaml`. On a terminal the table is drawn anew; elsewhere
    /// it is written again where it changed.
    #[arg(short, long, conflicts_with = "exit_code")]
    watch: bool,

    /// Let the exit code tell whether anything is held, failed or unreadable
    #[arg(long)]
    exit_code: bool,

    /// How the answer is written
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    output: Form,
}

/// How the answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Form {
    /// For people.
    #[default]
    Table,
    /// For people with room: with digests, commits, and what unblocks it.
    Wide,
    /// One JSON value.
    Json,
    /// One YAML document.
    Yaml,
}

/// Which applications are looked at: all that have this name, where one is given, and these labels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Which<'a> {
    pub(super) name: Option<&'a ApplicationName>,
    pub(super) labels: Option<&'a LabelSelector>,
}

impl<'a> Which<'a> {
    /// The one of this name, or all.
    pub(super) fn named(name: Option<&'a ApplicationName>) -> Self {
        Self { name, labels: None }
    }

    fn has(&self, pipeline: &Pipeline) -> bool {
        let application = &pipeline.application;
        let label = |key: &str| application.labels.get(key).map(String::as_str);
        self.name.is_none_or(|name| application.name == *name)
            && self.labels.is_none_or(|it| it.matches(label))
    }
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
    which: Which<'_>,
    only: &[EnvironmentName],
    now: Timestamp,
) -> Result<Looked> {
    let lookout = Lookout::new(setup, which, only, now)?;
    lookout.observatory.read_all(&lookout.pipelines, now).await;
    lookout.looked(setup, which).await
}

/// What is looked at, and what is kept of it.
struct Lookout {
    /// Those that are configured.
    pipelines: Vec<Arc<Pipeline>>,
    observatory: Observatory,
}

impl Lookout {
    fn new(
        setup: &Setup,
        which: Which<'_>,
        only: &[EnvironmentName],
        now: Timestamp,
    ) -> Result<Self> {
        let all = setup.pipelines();
        let mut pipelines = all.clone();
        pipelines.retain(|it| which.has(it));
        let outside = setup.outside(only)?;
        let observatory = Observatory::new(&pipelines, &all, &outside, now);
        Ok(Self {
            pipelines,
            observatory,
        })
    }

    /// What comes next by what is kept.
    async fn looked(&self, setup: &Setup, which: Which<'_>) -> Result<Looked> {
        let mut pipelines = self.pipelines.clone();
        let removed = self.observatory.removed();
        pipelines.extend(removed.iter().filter(|it| which.has(it)).cloned());
        if pipelines.is_empty() {
            // A name that nobody has is a mistake; labels that nobody has are an answer.
            pipelines = names::pipelines(setup, which.name)?;
            pipelines.retain(|it| which.has(it));
        }
        let planned = pipelines.into_iter().map(|pipeline| {
            let now = clock::now();
            let world = self.observatory.world(&pipeline, now);
            let plan = plan::plan(&pipeline, &world, now);
            (pipeline, plan)
        });
        Ok(Looked {
            planned: planned.collect(),
            left_behind: self.observatory.read_left_behind().await,
        })
    }
}

/// Writes the answer.
///
/// # Errors
/// Where the outside cannot be set up, or the writer's.
pub async fn run(args: &Args, setup: &Setup, out: &mut dyn Write) -> Result<u8> {
    names::environments(setup, &args.environment)?;
    let looked = look(setup, args.which(), &[], clock::now()).await?;
    let units = args.shown(&looked);
    write(args, &looked, &units, clock::now(), out)?;
    if !args.exit_code {
        return Ok(exit::OK);
    }
    let reasons = || {
        let waiting = units.iter().filter_map(|(_, unit)| view::waiting(unit));
        waiting.map(|it| &it.reason)
    };
    Ok(match () {
        () if reasons().any(|reason| matches!(reason, Reason::Unreadable(_))) => exit::ERROR,
        () if reasons().any(Reason::is_stopped) => exit::STOPPED,
        () => exit::OK,
    })
}

/// Writes the answer again and again, until Ctrl-C.
///
/// # Errors
/// As [`run`].
pub async fn watch(args: &Args, setup: &Setup, out: &mut dyn Write) -> Result<u8> {
    names::environments(setup, &args.environment)?;
    watch::run(args, setup, out).await
}

impl Args {
    /// Whether it is written again and again.
    pub(super) fn is_watched(&self) -> bool {
        self.watch
    }

    /// What is said where no unit is asked for.
    fn nothing(&self) -> &'static str {
        match &self.label {
            Some(_) if self.state.is_empty() => "no application with such labels is there",
            Some(_) => "nothing with such labels is in such a state",
            None => "nothing is in such a state",
        }
    }

    fn which(&self) -> Which<'_> {
        Which {
            name: self.application.as_ref(),
            labels: self.label.as_ref(),
        }
    }

    /// The units that are asked for, what needs a person first.
    fn shown<'a>(&self, looked: &'a Looked) -> Vec<(&'a Plan, &'a UnitPlan)> {
        let units = looked.planned.iter().flat_map(|(_, plan)| {
            let units = plan.units.iter();
            units.map(move |unit| (plan, unit))
        });
        let is_asked = |(_, unit): &(&Plan, &UnitPlan)| {
            let there = self.environment.is_empty() || self.environment.contains(&unit.environment);
            let state = view::state(unit);
            there && (self.state.is_empty() || self.state.iter().any(|it| it == state))
        };
        let mut units: Vec<_> = units.filter(is_asked).collect();
        // Stable: the rest keeps the order of the configuration and of the pipeline.
        units.sort_by_key(|(_, unit)| urgency(unit));
        units
    }
}

/// How soon somebody should look at it: the lowest first.
fn urgency(unit: &UnitPlan) -> u8 {
    match view::waiting(unit).map(|waiting| &waiting.reason) {
        Some(Reason::Failed { .. } | Reason::Refused { .. }) => 0,
        Some(reason) if reason.is_stopped() => 1,
        Some(reason) if reason.needs_person() => 2,
        Some(Reason::Unreadable(_) | Reason::Retrying { .. }) => 3,
        Some(Reason::UpToDate { .. } | Reason::NotOurs | Reason::NothingReleased) => 5,
        None | Some(_) => 4,
    }
}

fn write(
    args: &Args,
    looked: &Looked,
    units: &[(&Plan, &UnitPlan)],
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<()> {
    let form = match args.output {
        Form::Table | Form::Wide => {
            let wide = args.output == Form::Wide;
            if units.is_empty() {
                writeln!(out, "{}", args.nothing())?;
            } else {
                write!(out, "{}", table::of(units, wide, table::columns(), now))?;
            }
            return looked.tell_left_behind(out);
        }
        Form::Json => Output::Json,
        Form::Yaml => Output::Yaml,
    };
    let views: Vec<_> = units
        .iter()
        .map(|(plan, unit)| UnitView::of(plan, unit))
        .collect();
    form.write(&views, out)?;
    Ok(())
}
