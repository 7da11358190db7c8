//! `towpath completions`: what a shell asks this program with while somebody types, and what it is answered.
//!
//! Which argument is completed with what stands here alone, by what the argument is called: a command needs to do
//! nothing for it. Names come from [`known_names`].

mod known_names;

use std::io::{self, Write};

use clap::{Arg, CommandFactory as _};
use clap_complete::Shell;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::{Bash, CompleteEnv, Elvish, EnvCompleter, Fish, Powershell, Zsh};

use super::Cli;
use known_names::KnownNames;

/// The variable by which shells ask, as clap_complete names it.
const VARIABLE: &str = "COMPLETE";

/// Print a shell's completion script
///
/// For bash: `towpath completions bash > ~/.local/share/bash-completion/completions/towpath`. It completes commands, options, the
/// names of applications and environments, and the releases and deployments that are known on this machine: no server is asked.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    shell: Shell,
}

/// Writes the script.
///
/// # Errors
/// The writer's.
pub fn run(args: &Args, out: &mut dyn Write) -> io::Result<u8> {
    let completer: &dyn EnvCompleter = match args.shell {
        Shell::Bash => &Bash,
        Shell::Elvish => &Elvish,
        Shell::Fish => &Fish,
        Shell::PowerShell => &Powershell,
        Shell::Zsh => &Zsh,
        other => {
            let why = format!("there are no completions for {other}");
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
    };
    let mut script = Vec::new();
    completer.write_registration(VARIABLE, "towpath", "towpath", "towpath", &mut script)?;
    out.write_all(&script)?;
    Ok(super::exit::OK)
}

/// Answers a shell that asks, and ends the process then. Returns where no shell asks.
pub fn answer() {
    CompleteEnv::with_factory(command).var(VARIABLE).complete();
}

/// The command line, knowing what its arguments are completed with.
fn command() -> clap::Command {
    let mut cli = Cli::command();
    let names: Vec<String> = cli
        .get_subcommands()
        .map(|it| it.get_name().to_owned())
        .collect();
    for name in names {
        cli = cli.mut_subcommand(name, |command| command.mut_args(completed));
    }
    cli
}

fn completed(argument: Arg) -> Arg {
    let offer: fn(&KnownNames) -> Vec<String> = match argument.get_id().as_str() {
        "application" => KnownNames::applications,
        "environment" | "in_environment" | "whole" | "only" | "first" | "second" => {
            KnownNames::environments
        }
        "release" | "to" => KnownNames::releases,
        "deployment" => KnownNames::deployments,
        "what" => KnownNames::releases_and_deployments,
        _ => return argument,
    };
    argument.add(ArgValueCandidates::new(move || {
        let offered = KnownNames::asked().map(|names| offer(&names));
        let offered = offered.unwrap_or_default().into_iter();
        // As they are given: the newest release comes first.
        let candidates = offered
            .enumerate()
            .map(|(index, name)| CompletionCandidate::new(name).display_order(Some(index)));
        candidates.collect()
    }))
}
