//! `--dry-run` of what people say: what would be written, from the very steps that write it.

use std::io::Write;

use anyhow::Result;

use super::view;
use crate::act::Rehearsal;
use crate::plan::UnitPlan;

/// Whether anything is written.
#[derive(Debug, Clone, Copy, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// Show the records, commits and refs that would be written, and write nothing
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// Shows what would be written, and what would come next.
pub(super) fn show(
    rehearsal: &Rehearsal,
    next: Option<&UnitPlan>,
    out: &mut dyn Write,
) -> Result<()> {
    writeln!(out, "nothing is written; this would be:")?;
    for record in &rehearsal.records {
        let of = record.application.as_ref();
        let of = of.map_or_else(|| "all".to_owned(), ToString::to_string);
        let (environment, statement, by) = (&record.environment, &record.statement, &record.by);
        writeln!(out, "record  {of} in {environment}: {statement} (by {by})")?;
    }
    for commit in &rehearsal.commits {
        writeln!(out, "commit  {}", commit.subject)?;
        for file in &commit.files {
            writeln!(out, "          {file}")?;
        }
    }
    for moved in &rehearsal.refs {
        let from = moved.from.map(|from| from.short());
        let what = match (from, moved.is_deleted) {
            (Some(from), true) => format!("{from}, deleted"),
            (Some(from), false) => format!("{from} → a new commit"),
            (None, _) => "made".to_owned(),
        };
        writeln!(out, "ref     {}: {what}", moved.name)?;
    }
    if let Some(next) = next {
        writeln!(out, "next    {}", view::sentence(next))?;
    }
    Ok(())
}
