//! The built binary, as people and scripts meet it: what it prints where, and how it ends.
//!
//! `fixtures/cli/*.txt` are transcripts: a `$` line is run in that folder, below it stand its stdout,
//! its stderr (`! `) and its exit code (`[1]`; 0 is not written). `docs/cli.md` is made of the commands' own
//! help. `TOWPATH_UPDATE=1` records both anew.

#![allow(
    clippy::disallowed_methods,
    reason = "these tests run programs one after the other, and nothing waits beside them"
)]

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Lines, pipe};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::{Duration, Instant};

use clap::{Arg, CommandFactory as _};
use towpath::cli::Cli;

const BEGIN: &str = "<!-- commands, from their own help -->\n";
const END: &str = "<!-- end -->\n";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The program in an environment of its own.
pub(crate) fn towpath(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_towpath"));
    command
        .current_dir(root().join("fixtures/cli"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .stdin(Stdio::null());
    command
}

fn run(home: &Path, arguments: &[&str]) -> Output {
    towpath(home).args(arguments).output().unwrap()
}

/// Records a file anew where that is asked for; says how it differs otherwise.
pub(crate) fn compare(path: &Path, now: &str) -> Option<String> {
    if std::env::var_os("TOWPATH_UPDATE").is_some() {
        fs::write(path, now).unwrap();
    }
    let recorded = fs::read_to_string(path).unwrap();
    (recorded != now).then(|| {
        let diff = similar::TextDiff::from_lines(recorded.as_str(), now);
        let name = path.display().to_string();
        diff.unified_diff().header(&name, "now").to_string()
    })
}

#[test]
fn transcripts_are_as_recorded() {
    let home = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for entry in fs::read_dir(root().join("fixtures/cli")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|it| it != "txt") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let (title, _) = text.split_once("\n\n").unwrap();
        let mut now = format!("{title}\n");
        for command in text.lines().filter_map(|line| line.strip_prefix("$ ")) {
            now.push('\n');
            now.push_str(&transcript_of(towpath(home.path()), command));
        }
        wrong.extend(compare(&path, &now));
    }
    assert!(
        wrong.is_empty(),
        "{}\nTOWPATH_UPDATE=1 records what is now",
        wrong.join("\n")
    );
}

/// In `fixtures/cli` without a server, in `fixtures/day` and `fixtures/looks` against git servers, a registry and
/// clusters.
#[test]
fn every_command_has_a_transcript() {
    let mut lines = Vec::new();
    for folder in ["cli", "day", "looks"] {
        for entry in fs::read_dir(root().join("fixtures").join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|it| it == "txt") {
                let text = fs::read_to_string(&path).unwrap();
                lines.extend(
                    text.lines()
                        .filter(|it| it.starts_with("$ "))
                        .map(str::to_owned),
                );
            }
        }
    }
    let mut cli = Cli::command();
    cli.build();
    let leaves = described(&cli)
        .into_iter()
        .filter(|it| !it.has_subcommands());
    for command in leaves {
        let name = format!("{} ", command.get_bin_name().unwrap_or_default());
        let is_told = lines.iter().any(|line| format!("{line} ").contains(&name));
        assert!(is_told, "`{name}` has no transcript");
    }
}

/// What a command line says and how it ends, run by this program.
pub(crate) fn transcript_of(mut program: Command, command: &str) -> String {
    let mut words = command.split(' ').peekable();
    while let Some((name, value)) = words.peek().and_then(|word| word.split_once('=')) {
        program.env(name, value);
        words.next();
    }
    assert_eq!(words.next(), Some("towpath"), "{command}");
    let output = program.args(words).output().unwrap();
    let shown = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace('\u{1b}', "␛");
    let mut text = format!("$ {command}\n{}", shown(output.stdout));
    for line in shown(output.stderr).lines() {
        text.push_str(format!("! {line}").trim_end());
        text.push('\n');
    }
    let code = output.status.code().unwrap();
    if code != 0 {
        writeln!(text, "[{code}]").unwrap();
    }
    text
}

#[test]
fn what_scripts_read_is_json_and_alone_on_stdout() {
    let home = tempfile::tempdir().unwrap();
    let commands: [&[&str]; 8] = [
        &["inventory", "-c", "good", "-o", "json"],
        &["status", "-c", "good", "-o", "json"],
        &["plan", "-c", "good", "-o", "json"],
        &["explain", "-c", "good", "-o", "json"],
        &["explain", "-c", "good", "-o", "json", "--config-values"],
        &["check", "-c", "good", "-o", "json"],
        &["check", "-c", "bad", "-o", "json"],
        &["schema"],
    ];
    for arguments in commands {
        // With every log line that there is, and colours asked for.
        let more = [arguments, &["-vv", "--color", "always"]].concat();
        for arguments in [arguments, &more] {
            let output = run(home.path(), arguments);
            let json = serde_json::from_slice::<serde_json::Value>(&output.stdout);
            let json = json.unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
            assert!(!json.is_null(), "{arguments:?}");
        }
    }
}

#[test]
fn run_logs_to_stderr_and_tells_the_outcome_on_stdout() {
    let home = tempfile::tempdir().unwrap();
    let output = run(home.path(), &["run", "--once", "-c", "good"]);
    let (out, err) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    assert!(
        out.starts_with("· shop qa: there is no git repository at /nonexistent/qa.git, or "),
        "{out}"
    );
    assert_eq!(out.lines().count(), 1, "{out}");
    assert!(
        err.contains(" WARN cannot be read source=/nonexistent/qa.git"),
        "{err}"
    );
}

#[test]
fn every_shell_is_offered_every_command() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(home.path(), &["completions", shell]);
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{shell}");
        assert!(script.contains("COMPLETE"), "{shell}: {script}");
        let mut asking = towpath(home.path());
        asking
            .env("COMPLETE", shell)
            .env("_CLAP_COMPLETE_INDEX", "1")
            .args(["--", "towpath", ""]);
        let offered = String::from_utf8(asking.output().unwrap().stdout).unwrap();
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            assert!(offered.contains(name), "{shell}: {name}: {offered}");
        }
    }
}

/// `towpath … | head -1` ends without a word.
#[test]
fn a_closed_stdout_is_quiet() {
    let home = tempfile::tempdir().unwrap();
    let commands: [&[&str]; 6] = [
        &["--help"],
        &["schema"],
        &["completions", "bash"],
        &["check", "-c", "good"],
        &["status", "-c", "good"],
        &["plan", "-c", "good", "-o", "yaml"],
    ];
    for arguments in commands {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let mut command = towpath(home.path());
        let output = command.args(arguments).stdout(writer).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            (output.status.code(), said.as_ref()),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
}

/// A run that is at work, and would go on trying: its sources cannot be read. With the rest of its log.
fn at_work(home: &Path, more: &[&str]) -> (Child, Lines<BufReader<ChildStderr>>) {
    let mut child = towpath(home)
        .args(["run", "-c", "good", "--listen", "127.0.0.1:0"])
        .args(more)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let at_work = lines.any(|line| line.unwrap().contains("cannot be read"));
    assert!(at_work, "it ended by itself");
    (child, lines)
}

fn terminate(child: &Child) {
    let kill = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
}

#[test]
fn a_run_ends_within_seconds_of_sigterm() {
    let home = tempfile::tempdir().unwrap();
    for (more, code) in [(&[][..], 0), (&["--once", "--wait", "10m"][..], 4)] {
        let (mut child, lines) = at_work(home.path(), more);
        terminate(&child);
        let said: Vec<String> = lines.map(Result::unwrap).collect();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{said:?}");
        assert!(
            said.iter().any(|line| line.contains("stops once")),
            "{said:?}"
        );
    }
}

/// A log's reader may end before what it reads: nothing that runs ends with it, and it can still be stopped.
#[test]
fn a_run_goes_on_where_nobody_reads_its_log() {
    let home = tempfile::tempdir().unwrap();
    let (mut child, lines) = at_work(home.path(), &["-v"]);
    drop(lines);
    // Time for it to tell of something to nobody.
    std::thread::sleep(Duration::from_secs(3));
    assert!(child.try_wait().unwrap().is_none(), "it ended");
    terminate(&child);
    let began = Instant::now();
    let ended = loop {
        match child.try_wait().unwrap() {
            Some(ended) => break ended,
            None if began.elapsed() > Duration::from_secs(30) => {
                child.kill().unwrap();
                panic!("it cannot be stopped");
            }
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn the_reference_is_made_of_the_commands_own_help() {
    let path = root().join("docs/cli.md");
    let page = fs::read_to_string(&path).unwrap();
    let (head, rest) = page.split_once(BEGIN).unwrap();
    let (_, tail) = rest.split_once(END).unwrap();
    let now = format!("{head}{BEGIN}{}{END}{tail}", reference());
    if let Some(wrong) = compare(&path, &now) {
        panic!("{wrong}\nTOWPATH_UPDATE=1 writes docs/cli.md anew");
    }
}

/// The reference of all commands, in Markdown.
fn reference() -> String {
    let mut cli = Cli::command();
    cli.build();
    let mut page = String::from("\n## Options of every command\n\n");
    table(
        &mut page,
        cli.get_arguments()
            .filter(|argument| argument.is_global_set()),
    );
    for command in described(&cli) {
        let mut command = command.clone();
        let about = command.get_long_about().or(command.get_about());
        let about = about
            .map(|text| markdown(&text.to_string()))
            .unwrap_or_default();
        let usage = command.render_usage().to_string();
        let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage);
        let name = command.get_bin_name().unwrap_or_default();
        writeln!(page, "## `{name}`\n\n{about}\n\n```\n{usage}\n```\n").unwrap();
        table(
            &mut page,
            command
                .get_arguments()
                .filter(|argument| !argument.is_global_set()),
        );
    }
    page
}

/// All commands, each before those that stand in it.
fn described(command: &clap::Command) -> Vec<&clap::Command> {
    let own = command.get_subcommands();
    let own = own.filter(|command| command.get_name() != "help");
    own.flat_map(|command| [vec![command], described(command)].concat())
        .collect()
}

fn table<'a>(page: &mut String, arguments: impl Iterator<Item = &'a Arg>) {
    let mut rows = arguments
        .filter(|argument| !["help", "version"].contains(&argument.get_id().as_str()))
        .map(row)
        .peekable();
    if rows.peek().is_some() {
        page.push_str("| | default | |\n|---|---|---|\n");
        rows.for_each(|row| page.push_str(&row));
        page.push('\n');
    }
}

fn row(argument: &Arg) -> String {
    let named = match (argument.get_short(), argument.get_long()) {
        (Some(short), Some(long)) => format!("-{short}, --{long}"),
        (None, Some(long)) => format!("--{long}"),
        _ => String::new(),
    };
    let values = argument.get_value_names().unwrap_or_default();
    let value = match argument.get_action().takes_values() {
        true => values
            .iter()
            .map(|name| format!("<{name}>"))
            .collect::<String>(),
        false => String::new(),
    };
    let name = format!("{named} {value}");
    let defaults: Vec<_> = argument
        .get_default_values()
        .iter()
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    let defaults = match argument.get_action().takes_values() {
        true => defaults.join(" "),
        false => String::new(),
    };
    let help = argument.get_long_help().or(argument.get_help());
    let mut help = help
        .map(|text| markdown(&text.to_string()))
        .unwrap_or_default();
    if let Some(variable) = argument.get_env() {
        write!(
            help,
            " (environment variable `{}`)",
            variable.to_string_lossy()
        )
        .unwrap();
    }
    let possible: Vec<_> = argument
        .get_possible_values()
        .iter()
        .map(|value| match value.get_help() {
            Some(help) => format!(
                "`{}`: {}",
                value.get_name(),
                markdown(&help.to_string()).trim_end_matches('.')
            ),
            None => format!("`{}`", value.get_name()),
        })
        .collect();
    if !possible.is_empty() && argument.get_action().takes_values() {
        write!(help, ". {}", possible.join("; ")).unwrap();
    }
    format!("| `{}` | {defaults} | {help} |\n", name.trim())
}

/// Help as Markdown takes it: angle brackets outside code would be tags.
fn markdown(text: &str) -> String {
    let mut parts = text.split('`').enumerate();
    let mut joined = String::new();
    for (index, part) in parts.by_ref() {
        if index > 0 {
            joined.push('`');
        }
        match index % 2 {
            0 => joined.push_str(&part.replace('<', "\\<").replace('|', "\\|")),
            _ => joined.push_str(part),
        }
    }
    joined
}

#[test]
fn a_configuration_in_git_is_read_and_no_link_in_it_followed() {
    let home = tempfile::tempdir().unwrap();
    let repository = home.path().join("config");
    let git = |arguments: &[&str]| {
        let user = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
        let mut git = Command::new("git");
        git.arg("-C").arg(&repository).args(user).args(arguments);
        assert!(git.output().unwrap().status.success(), "{arguments:?}");
    };
    fs::create_dir(&repository).unwrap();
    let good = root().join("fixtures/cli/good");
    let mut copy = Command::new("cp");
    copy.arg("-r").arg(good).arg(&repository);
    assert!(copy.status().unwrap().success());
    git(&["init", "-q", "-b", "main"]);
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "configuration"]);
    let at = format!("file://{}?path=good", repository.display());
    let read = run(home.path(), &["explain", "--config-values", "-c", &at]);
    assert_eq!(read.status.code(), Some(0), "{read:?}");

    std::os::unix::fs::symlink("/etc/passwd", repository.join("good/other.yaml")).unwrap();
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "a link"]);
    let refused = run(home.path(), &["check", "-c", &at]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_ne!(refused.status.code(), Some(0), "{said}");
    assert!(
        said.contains("good/other.yaml` is a symbolic link"),
        "{said}"
    );
}
