//! `towpath completions`: a shell's completion script.

use std::io::{self, Write};

use clap_complete::Shell;

/// Print a shell's completion script
///
/// For bash: `towpath completions bash > ~/.local/share/bash-completion/completions/towpath`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    shell: Shell,
}

/// Writes the script.
///
/// # Errors
/// The writer's.
pub fn run(args: &Args, command: &mut clap::Command, out: &mut dyn Write) -> io::Result<u8> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "towpath", &mut script);
    out.write_all(&script)?;
    Ok(super::exit::OK)
}
