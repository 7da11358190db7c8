//! `towpath man`: manual pages, made of the commands' own help.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::exit;

/// Write the manual pages, one a command
///
/// For `man towpath-status` they are looked for in `man1` below a folder of `MANPATH`: `towpath man --output
/// ~/.local/share/man/man1`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder, which is made where it is missing
    #[arg(long, value_name = "DIRECTORY")]
    output: PathBuf,
}

/// Writes the pages.
///
/// # Errors
/// A file cannot be written, or the writer's.
pub fn run(args: &Args, command: clap::Command, out: &mut dyn Write) -> Result<u8> {
    let shown = args.output.display().to_string();
    std::fs::create_dir_all(&args.output).with_context(|| format!("{shown} cannot be made"))?;
    clap_mangen::generate_to(command, &args.output)
        .with_context(|| format!("the pages cannot be written to {shown}"))?;
    writeln!(out, "the manual pages are in {shown}")?;
    Ok(exit::OK)
}
