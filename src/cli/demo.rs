//! `towpath demo`: the whole pipeline on this machine, played, shown and checked.

mod live;
mod report;
mod show;

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::run::stop_on_signals;
use super::{Output, exit};
use crate::clock;
use crate::demo::place::{Keep, Place};
use crate::demo::story::{self, Played};

/// More than happens in the whole demo.
const MOMENTS: usize = 4096;

/// What a shell expects of a program that was interrupted.
const INTERRUPTED: u8 = 130;

/// Watch a release travel from an image push to production, on this machine alone
///
/// Makes an application repository and three infra repositories, serves them and an image registry
/// on loopback, and tows real image pushes through them to simulated clusters. Then it reads the
/// repositories and says whether all is as told: exit code 0 if so, else 1.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Leave the directory to look around in; without a name it is a temporary one
    #[arg(long, value_name = "DIRECTORY", num_args = 0..=1, require_equals = false)]
    keep: Option<Option<PathBuf>>,

    /// Wait for you to merge each proposal, with the git command that is printed
    #[arg(long)]
    pause: bool,

    /// Draw lines for people, or print one JSON object (YAML document) per event and a summary
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    output: Output,
}

impl Args {
    fn keep(&self) -> Keep {
        match &self.keep {
            None => Keep::Nothing,
            Some(None) => Keep::Temporary,
            Some(Some(directory)) => Keep::At(directory.clone()),
        }
    }
}

/// Plays the demo. The exit code is 0 where everything is as told, 1 where not, 130 where it was
/// interrupted.
///
/// # Errors
/// Something could not be done at all, or did not happen.
pub async fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8> {
    let start = clock::now();
    let stop = CancellationToken::new();
    stop_on_signals(&stop)?;
    let place = Place::open(&args.keep()).await?;
    let (tell, told) = mpsc::channel(MOMENTS);
    let mut show = show::Show::new(args.output, start, out, err);
    let showing = async {
        let shown = show.all(told).await;
        // Whoever closed our stdout has seen enough.
        if shown.is_err() {
            stop.cancel();
        }
        shown
    };
    let (played, shown) = tokio::join!(story::play(&place, tell, args.pause, &stop), showing);
    let root = place.root().to_owned();
    let temporary = place.stop().await;
    shown?;
    let kept = temporary.is_none().then_some(root.as_path());
    let played: Played = match played {
        Ok(played) => played,
        Err(_) if stop.is_cancelled() => {
            if let Some(root) = kept {
                writeln!(
                    err,
                    "stopped; what there is so far is kept in {}",
                    root.display()
                )?;
            }
            return Ok(INTERRUPTED);
        }
        Err(error) => {
            return Err(error.context(match kept {
                Some(root) => format!(
                    "the demo did not end well; it is kept in {}",
                    root.display()
                ),
                None => "the demo did not end well".to_owned(),
            }));
        }
    };
    let summary = report::summary(&played, start, &root);
    if let Some(root) = kept {
        let file = root.join("summary.json");
        std::fs::write(&file, format!("{summary:#}\n"))
            .with_context(|| format!("{} cannot be written", file.display()))?;
    }
    match args.output {
        Output::Table => report::table(&played, start, kept, out)?,
        Output::Json => writeln!(out, "{summary}")?,
        Output::Yaml => write!(out, "---\n{}", serde_yaml::to_string(&summary)?)?,
    }
    Ok(if played.found.wrong.is_empty() {
        exit::OK
    } else {
        exit::ERROR
    })
}
