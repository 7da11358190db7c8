//! The configuration's files, and the command line.

use std::path::PathBuf;

use clap::CommandFactory as _;

use super::{Answer, Door, Knocked, alike, harmless, split};
use crate::config::Config;

const CONFIGURATION: &[&str] = &[
    "version: 1\n",
    "environments:",
    "applications:",
    "follows: ",
    "repository: ",
    "branch: ",
    "path: ",
    "gate: ",
    "pull-request",
    "soak: ",
    "10m",
    "99999999999999999999h",
    "images:",
    "tags: ",
    "\"{branch}-{commit:7}\"",
    "freezes:",
    "rule: \"FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;COUNT=1000\"",
    "start: -9999-01-01",
    "zone: Europe/Berlin",
    "from: 22:00",
    "health:",
    "rules:",
    "current: \"",
    "smoke:",
    "get: ",
    "https://",
    "http://0x7f.1/",
    "token: ",
    "file: ../../x",
    "environment: ",
    "../",
    "/",
    "\u{1b}[31m",
    "\u{202e}",
    "&a ",
    "*a",
    "<<: ",
    "!!x ",
    "---\n",
    "{",
    "[",
    "\"",
    "'",
    "~",
    "true",
    "- ",
    "# ",
];
const ARGUMENTS: &[&str] = &[
    "status\n",
    "explain\n",
    "run\n",
    "show\n",
    "set-image\n",
    "promote\n",
    "rollback\n",
    "hold\n",
    "freeze\n",
    "history\n",
    "--config\n",
    "--only\n",
    "-o\n",
    "json\n",
    "--output=",
    "--log\n",
    "trace\n",
    "--until\n",
    "--since\n",
    "-h\n",
    "--help\n",
    "--",
    "=",
    "@sha256:",
    "2026-11-21T05:00:00Z\n",
    "99999999999d\n",
    "\0",
    "-\n",
];

pub(super) const DOORS: &[Door] = &[
    Door {
        name: "configuration",
        words: CONFIGURATION,
        knock: configuration,
    },
    Door {
        name: "arguments",
        words: ARGUMENTS,
        knock: arguments,
    },
];

/// `towpath.yaml`, the file of one environment, and one of applications.
fn configuration(bytes: &[u8]) -> Knocked {
    let names = [
        "towpath.yaml",
        "staging/environment.yaml",
        "applications/shop.yaml",
    ];
    let files: Vec<(PathBuf, Vec<u8>)> = names
        .iter()
        .zip(split::<3>(bytes))
        .map(|(name, bytes)| (PathBuf::from(name), bytes.to_vec()))
        .collect();
    match Config::parse(&files) {
        Ok(config) => {
            for pipeline in &config.pipelines {
                for environment in &config.environments {
                    config.effective(&pipeline.application.name, environment);
                }
            }
            alike(
                "read twice",
                &Some(&config),
                &Config::parse(&files).ok().as_ref(),
            )?;
            Ok(Answer::Taken)
        }
        Err(problems) => {
            harmless(&problems.to_string())?;
            Ok(Answer::Refused)
        }
    }
}

/// One argument a line.
fn arguments(bytes: &[u8]) -> Knocked {
    let text = String::from_utf8_lossy(bytes);
    let arguments = std::iter::once("towpath").chain(text.lines());
    match crate::cli::Cli::command().try_get_matches_from(arguments) {
        Ok(_) => Ok(Answer::Taken),
        Err(error) => {
            error.render();
            Ok(Answer::Refused)
        }
    }
}
