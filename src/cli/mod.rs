//! The commands: one file each. Answers go to stdout, everything else to stderr.
//!
//! Owns words and layout for people and scripts. Decides nothing.

pub mod adopt;
pub mod annotate;
pub mod approve;
pub mod check;
mod clusters;
pub mod compare;
pub mod completions;
pub mod demo;
pub mod diff;
mod dry_run;
pub mod evidence;
pub mod explain;
mod files;
mod forges;
pub mod freeze;
pub mod help;
pub mod history;
pub mod hold;
pub mod inventory;
mod known;
pub mod man;
mod moment;
mod names;
pub mod notify;
mod person;
mod place;
mod plain;
pub mod plan;
pub mod promote;
pub mod rbac;
pub mod records;
pub mod releases;
pub mod rollback;
pub mod run;
mod said;
pub mod schema;
pub mod set_image;
pub mod setup;
pub mod show;
pub mod simulate;
pub mod status;
pub mod teams;
mod view;
pub mod wait;

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::config::Location;
use crate::secret;
use plain::Plain;
use setup::{Setup, SetupError};

/// Tow a release from the tag that made it to the cluster that runs it
///
/// Towpath watches image registries, commits new image digests into per-environment infra
/// repositories, proposes production, applies what was merged, watches it become healthy, and only
/// then lets the release go on.
///
/// `towpath demo` shows it on this machine. With a configuration of your own: `check` reads it, `plan`
/// says what would be done and `diff` what a cluster would make of it, `run` does it, `status` and
/// `explain` say where it stands.
#[derive(Debug, Parser)]
#[command(
    name = "towpath",
    version,
    max_term_width = 100,
    propagate_version = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// Where the configuration is: a folder, or `URL?ref=REF&path=DIRECTORY` of a git repository
    #[arg(
        short,
        long,
        global = true,
        value_name = "WHERE",
        default_value = "environments",
        env = "TOWPATH_CONFIG"
    )]
    config: Location,

    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: Color,

    /// Say more on stderr; `-vv` tells of every request
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,

    #[command(subcommand)]
    command: Command,
}

// Each command's help stands with its arguments: a comment here would hide it.
#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Plan(plan::Args),
    Status(status::Args),
    Explain(explain::Args),
    Wait(wait::Args),
    History(history::Args),
    Releases(releases::Args),
    Show(show::Args),
    Hold(hold::Args),
    Resume(hold::ResumeArgs),
    Freeze(freeze::Args),
    Thaw(freeze::ThawArgs),
    Promote(promote::Args),
    Rollback(rollback::Args),
    Unpin(rollback::UnpinArgs),
    Retry(rollback::RetryArgs),
    Decline(rollback::DeclineArgs),
    Annotate(annotate::Args),
    Evidence(evidence::Args),
    Adopt(adopt::Args),
    Approve(approve::Args),
    Diff(diff::Args),
    Compare(compare::Args),
    Inventory(inventory::Args),
    Records(records::Args),
    Rbac(rbac::Args),
    Check(check::Args),
    Notify(notify::Args),
    Teams(teams::Args),
    SetImage(set_image::SetImage),
    Schema(schema::Args),
    Demo(demo::Args),
    Simulate(simulate::Args),
    Completions(completions::Args),
    Man(man::Args),
    Help(help::Args),
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Color {
    /// On a terminal that can, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// One JSON value.
    Json,
    /// One YAML document.
    Yaml,
}

impl Output {
    /// Writes a value as JSON or YAML; a table is the caller's own.
    ///
    /// # Errors
    /// The writer's.
    pub fn write(self, value: &impl serde::Serialize, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Table | Self::Json => writeln!(out, "{:#}", serde_json::to_value(value)?),
            Self::Yaml => {
                let text = serde_yaml::to_string(value).map_err(io::Error::other)?;
                out.write_all(text.as_bytes())
            }
        }
    }
}

/// The exit codes that commands share; `docs/cli.md` lists them all.
pub mod exit {
    /// It is done, or settled.
    pub const OK: u8 = 0;
    /// It could not be done.
    pub const ERROR: u8 = 1;
    /// Something is held or failed, and only a person lifts it.
    pub const STOPPED: u8 = 3;
    /// Time alone will go on with it.
    pub const PENDING: u8 = 4;
    /// The cluster, an environment or a team differs from what is asked for.
    pub const DIFFERS: u8 = 5;
}

/// Runs the program: what `main` does.
pub fn main() -> ExitCode {
    completions::answer();
    let cli = Cli::parse();
    let choice = match cli.color {
        Color::Auto => anstream::ColorChoice::Auto,
        Color::Always => anstream::ColorChoice::Always,
        Color::Never => anstream::ColorChoice::Never,
    };
    choice.write_global();
    log_to_stderr(cli.verbose, &cli.command);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::Error::new(error).context("no threads can be started")),
    };
    let result = runtime.block_on(dispatch(cli));
    // A name that is being looked up cannot be interrupted, and nobody waits for it any more.
    runtime.shutdown_background();
    match result {
        Ok(code) => ExitCode::from(code),
        // Whoever closed our stdout has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

async fn dispatch(cli: Cli) -> anyhow::Result<u8> {
    let mut out = Plain::new(anstream::stdout());
    let mut err = Plain::new(anstream::stderr());
    let location = cli.config;
    let code = match cli.command {
        Command::Run(args) => run::run(&args, location, &mut out).await?,
        Command::Plan(args) => plan::run(&args, &Setup::load(location).await?, &mut out).await?,
        Command::Status(args) => {
            let setup = Setup::load(location).await?;
            match args.is_watched() {
                // It draws on the terminal, and sees to what it draws.
                true => status::watch(&args, &setup, &mut anstream::stdout()).await?,
                false => status::run(&args, &setup, &mut out).await?,
            }
        }
        Command::Explain(args) => {
            explain::run(&args, &Setup::load(location).await?, &mut out, &mut err).await?
        }
        Command::Wait(args) => {
            wait::run(&args, &Setup::load(location).await?, &mut out, &mut err).await?
        }
        Command::History(args) => {
            history::run(&args, &Setup::load(location).await?, &mut out).await?
        }
        Command::Releases(args) => {
            releases::run(&args, &Setup::load(location).await?, &mut out, &mut err).await?
        }
        Command::Show(args) => {
            show::run(&args, &Setup::load(location).await?, &mut out, &mut err).await?
        }
        Command::Hold(args) => hold::run(&args, &Setup::load(location).await?, &mut out).await?,
        Command::Resume(args) => {
            hold::resume(&args, &Setup::load(location).await?, &mut out).await?
        }
        Command::Freeze(args) => {
            freeze::run(&args, &Setup::load(location).await?, &mut out).await?
        }
        Command::Thaw(args) => freeze::thaw(&args, &Setup::load(location).await?, &mut out).await?,
        Command::Promote(args) => {
            promote::run(&args, &Setup::load(location).await?, &mut out, &mut err).await?
        }
        Command::Rollback(args) => {
            rollback::run(&args, &Setup::load(location).await?, &mut out, &mut err).await?
        }
        Command::Unpin(args) => {
            rollback::unpin(&args, &Setup::load(location).await?, &mut out).await?
        }
        Command::Retry(args) => {
            rollback::retry(&args, &Setup::load(location).await?, &mut out).await?
        }
        Command::Decline(args) => {
            rollback::decline(&args, &Setup::load(location).await?, &mut out).await?
        }
        Command::Annotate(args) => {
            annotate::run(&args, &Setup::load(location).await?, &mut out).await?
        }
        Command::Evidence(args) => {
            evidence::run(&args, &Setup::load(location).await?, &mut out, &mut err).await?
        }
        Command::Adopt(args) => adopt::run(&args, &Setup::load(location).await?, &mut out).await?,
        Command::Approve(args) => {
            approve::run(&args, &Setup::load(location).await?, &mut out).await?
        }
        Command::Diff(args) => diff::run(&args, &Setup::load(location).await?, &mut out).await?,
        Command::Records(args) => {
            records::run(&args, &Setup::load(location).await?, &mut out).await?
        }
        Command::Compare(args) => {
            compare::run(&args, &Setup::load(location).await?, &mut out).await?
        }
        Command::Inventory(args) => {
            inventory::run(&args, &Setup::load(location).await?, &mut out, &mut err).await?
        }
        Command::Rbac(args) => rbac::run(&args, &Setup::load(location).await?, &mut out).await?,
        Command::Check(args) if args.is_of_manifests() => {
            check::manifests::run(&args, &mut out, &mut err)?
        }
        Command::Check(args) => {
            let config = match Setup::load(location).await {
                Ok(setup) if args.online => {
                    let code = check::online::run(&args, &setup, &mut out, &mut err).await?;
                    out.flush()?;
                    return Ok(code);
                }
                Ok(setup) => Ok(setup.config),
                Err(SetupError::Problems(problems)) => Err(problems),
                Err(error) => return Err(error.into()),
            };
            check::run(&args, &config, &mut out)?
        }
        Command::Notify(args) => {
            notify::run(&args, &Setup::load(location).await?, &mut out).await?
        }
        Command::Teams(args) => {
            teams::run(&args, &Setup::load(location).await?, &mut out, &mut err).await?
        }
        Command::SetImage(args) => set_image::run(&args, &mut out, &mut err)?,
        Command::Schema(args) => schema::run(&args, &mut out)?,
        Command::Demo(args) => demo::run(&args, &mut out, &mut err).await?,
        Command::Simulate(args) => simulate::run(&args, &mut out)?,
        Command::Completions(args) => completions::run(&args, &mut out)?,
        Command::Man(args) => man::run(&args, Cli::command(), &mut out)?,
        Command::Help(args) => help::run(&args, Cli::command(), &mut out)?,
    };
    match out.flush() {
        // What was found out stands, also where nobody reads the rest of it.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(code),
    }
}

/// Status and hints go to stderr: only `run` tells what it does unasked.
fn log_to_stderr(verbose: u8, command: &Command) {
    let level = match (verbose, command) {
        (0, Command::Run(_)) => "towpath=info,warn",
        (0, _) => "towpath=error,off",
        (1, _) => "towpath=debug,info",
        (_, _) => "towpath=trace,debug",
    };
    let filter = EnvFilter::try_from_env("TOWPATH_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Log)
        // Where nobody reads it any more all goes on: told of there, that would end whoever tells something.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .with_target(false);
    // Only a second call could fail, and there is none.
    drop(subscriber.try_init());
}

/// Standard error, without what libraries tell of a secret at their most talkative: each event comes as one text.
struct Log;

impl Write for Log {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        io::stderr().write_all(secret::without(&text).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    let mut err = Plain::new(anstream::stderr());
    let red = anstyle::AnsiColor::Red.on_default().bold();
    drop(writeln!(err, "{red}error{red:#}: {error}"));
    for cause in error.chain().skip(1) {
        drop(writeln!(err, "  because {cause}"));
    }
    ExitCode::from(exit::ERROR)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
