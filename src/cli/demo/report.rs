//! The end of the demo: the table of what happened when, and the summary for scripts.

use std::io::{self, Write};
use std::path::Path;

use anstyle::{AnsiColor, Style};
use comfy_table::{Cell, CellAlignment, Table, presets};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::demo::builds::Build;
use crate::demo::facts::Deployment;
use crate::demo::ground::Ground;
use crate::demo::manifests::APPLICATION;
use crate::demo::story::Played;
use crate::demo::timeline::{Times, since};

/// The indent of everything that is shown.
const INDENT: u16 = 2;

/// Where a terminal is as wide as this, the table's columns stand further apart.
const WIDE: u16 = 92;

/// Everything that the demo says of its repositories and of a real cluster, for a script to find there again.
pub(super) fn summary(
    played: &Played,
    start: Timestamp,
    root: &Path,
    ground: Option<&Ground>,
) -> Value {
    let releases = played.builds.iter().map(|build| {
        let environments = deployments(played, build).map(|(environment, deployment)| {
            json!({
                "environment": environment,
                "number": deployment.number,
                "commit": deployment.commit,
                "digest": deployment.digest,
                "verdict": deployment.verdict,
                "ms": Times::of(build, environment, &played.log),
            })
        });
        json!({
            "release": build.tag,
            "digest": build.digest.to_string(),
            "ref": build.reference,
            "commit": build.commit,
            "environments": environments.collect::<Vec<_>>(),
        })
    });
    let mut summary = json!({
        "event": "summary",
        "ok": played.found.wrong.is_empty(),
        "at_ms": since(start, played.end),
        "application": APPLICATION,
        "directory": root,
        "soak_ms": i64::try_from(played.soak.as_millis()).unwrap_or(i64::MAX),
        "releases": releases.collect::<Vec<_>>(),
        "environments": played.found.environments,
        "source": played.found.source,
        "checked": played.found.checked,
        "wrong": played.found.wrong,
    });
    if !played.requests.is_empty() {
        summary["requests"] = json!(played.requests);
    }
    if let Some(ground) = ground {
        summary["cluster"] = json!({
            "server": ground.server,
            "context": ground.chosen.context,
            "runs": played.found.running,
        });
    }
    summary
}

/// The deployments of a release, with their environments.
fn deployments<'a>(
    played: &'a Played,
    build: &'a Build,
) -> impl Iterator<Item = (&'a str, &'a Deployment)> {
    let digest = build.digest.to_string();
    played.found.environments.iter().flat_map(move |found| {
        let digest = digest.clone();
        let of = found
            .deployments
            .iter()
            .filter(move |deployment| deployment.digest == digest);
        of.map(|deployment| (found.environment.as_str(), deployment))
    })
}

/// The table, what was checked, and where to look.
pub(super) fn table(
    played: &Played,
    start: Timestamp,
    kept: Option<&Path>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let dim = Style::new().dimmed();
    writeln!(out)?;
    for (index, line) in times(played).lines().enumerate() {
        match index {
            0 => writeln!(out, "{dim}{}{dim:#}", line.trim_end())?,
            _ => writeln!(out, "{}", line.trim_end())?,
        }
    }
    writeln!(
        out,
        "\n{dim}  milliseconds since the registry had the image{dim:#}\n"
    )?;
    checked(played, start, out)?;
    match kept {
        Some(root) => look_around(played, root, out),
        None => writeln!(
            out,
            "{dim}  `towpath demo --keep` leaves the repositories to look around in{dim:#}"
        ),
    }
}

fn times(played: &Played) -> Table {
    let headings = [
        "release",
        "environment",
        "no.",
        "seen",
        "committed",
        "proposed",
        "merged",
        "applied",
        "healthy",
    ];
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(headings);
    for build in &played.builds {
        let mut name = build.tag.as_str();
        for (environment, deployment) in deployments(played, build) {
            let times = Times::of(build, environment, &played.log);
            let shown =
                |time: Option<i64>| time.map_or_else(|| "·".to_owned(), |ms| ms.to_string());
            // What was there before the demo began has no beginning that could be counted from.
            let baseline = deployment.cause == "baseline";
            let mut row = vec![
                std::mem::take(&mut name).to_owned(),
                environment.to_owned(),
                deployment.number.to_string(),
            ];
            for time in [
                times.seen,
                times.committed,
                times.proposed,
                times.merged,
                times.applied,
            ] {
                row.push(shown(time.filter(|_| !baseline)));
            }
            row.push(match (times.failed, baseline) {
                (Some(failed), _) => format!("✗ {failed}"),
                (None, true) => "✓".to_owned(),
                (None, false) => shown(times.healthy),
            });
            table.add_row(row.into_iter().map(Cell::new));
        }
    }
    let gap = if table.width().is_none_or(|width| width >= WIDE) {
        2
    } else {
        1
    };
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((if index == 0 { INDENT } else { gap }, 0));
        if index >= 2 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn checked(played: &Played, start: Timestamp, out: &mut dyn Write) -> io::Result<()> {
    let bold = Style::new().bold();
    let seconds = since(start, played.end) as f64 / 1000.0;
    let checked = played.found.checked;
    let place = match played.found.running.is_empty() {
        true => " and the registry",
        false => ", the registry and the cluster",
    };
    if played.found.wrong.is_empty() {
        let green = AnsiColor::Green.on_default();
        writeln!(
            out,
            "  {green}✓{green:#} {bold}all as told{bold:#}: {checked} facts in the repositories{place}, {seconds:.1} s"
        )?;
        return Ok(());
    }
    let red = AnsiColor::Red.on_default();
    let wrong = played.found.wrong.len();
    writeln!(
        out,
        "  {red}✗{red:#} {bold}not as told{bold:#}: {wrong} of {checked} facts"
    )?;
    for fact in &played.found.wrong {
        writeln!(out, "    {fact}")?;
    }
    Ok(())
}

fn look_around(played: &Played, root: &Path, out: &mut dyn Write) -> io::Result<()> {
    let root = crate::demo::story::quoted(&root.display().to_string());
    writeln!(out, "\n  Kept in {root}. Look around:\n")?;
    let infra = |environment: &str| {
        let mut found = played.found.environments.iter();
        let found = found.find(|found| found.environment == environment);
        found.map_or_else(String::new, |found| found.repository.clone())
    };
    let commands = [
        format!("git -C {} log --stat --notes='towpath/*'", infra("qa")),
        format!("git -C {} show --no-patch deployment-0003", infra("qa")),
        format!("git -C {} log --graph --oneline", infra("production")),
        format!("git -C {} tag -n", infra("production")),
    ];
    writeln!(out, "    cd {root}")?;
    for command in commands {
        writeln!(out, "    {command}")?;
    }
    Ok(())
}
