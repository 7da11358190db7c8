//! The demo of the built binary, judged from outside: by `tests/demo/verify.sh`, which must also
//! notice when any fact of the repositories is changed (`tests/demo/changes.txt`).

#![allow(
    clippy::disallowed_methods,
    reason = "these tests run programs one after the other, and nothing waits beside them"
)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;

use serde_json::Value;

/// Two cores run as many verifiers.
const AT_ONCE: usize = 2;

/// Commits an edit of every file of a ref. Works in a bare repository.
const EDIT: &str = r#"
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_NAME=x GIT_AUTHOR_EMAIL=x@x GIT_COMMITTER_NAME=x GIT_COMMITTER_EMAIL=x@x
edit() {
    export GIT_INDEX_FILE="$PWD/edited"
    git read-tree "$1"
    git ls-files -s | while read -r mode id _ path; do
        new=$(git cat-file blob "$id" | sed "$2" | git hash-object -w --stdin)
        git update-index --cacheinfo "$mode,$new,$path"
    done
    git update-ref "$1" "$(git commit-tree -p "$1" -m edited "$(git write-tree)")"
}
"#;

struct Change<'a> {
    directory: String,
    script: &'a str,
    said: &'a str,
}

#[test]
fn the_demo_is_as_told_and_every_changed_fact_is_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("kept");
    let text = kept_demo(&[], &kept);
    events(&text, &kept);

    let Some(()) = has_jq() else { return };
    let verified = verify(&kept);
    assert!(verified.status.success(), "{}", all(&verified));
    let changes = fs::read_to_string(root().join("tests/demo/changes.txt")).unwrap();
    let changes = Mutex::new(parse(&changes));
    let unnoticed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(change) = { changes.lock().unwrap().pop() } {
                    if let Some(why) = unnoticed_change(&kept, &change) {
                        unnoticed.lock().unwrap().push(why);
                    }
                }
            });
        }
    });
    let unnoticed = unnoticed.into_inner().unwrap();
    assert!(unnoticed.is_empty(), "{}", unnoticed.join("\n"));
}

/// Every line is an event with its facts; the last one is the summary, which is also kept.
fn events(text: &str, kept: &Path) {
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (summary, events) = lines.split_last().unwrap();
    assert_eq!(
        (&summary["event"], &summary["ok"]),
        (&"summary".into(), &true.into())
    );
    let file = fs::read_to_string(kept.join("summary.json")).unwrap();
    assert_eq!(*summary, serde_json::from_str::<Value>(&file).unwrap());
    let kinds: BTreeSet<&str> = events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    let told = [
        "release-seen",
        "committed",
        "proposed",
        "merged",
        "applied",
        "healthy",
        "failed",
        "held",
        "recorded",
        "promoted",
    ];
    assert_eq!(kinds, BTreeSet::from(told));
    for event in events {
        assert!(
            event["at_ms"].is_i64() && event["release"].is_string(),
            "{event}"
        );
        assert!(
            event["digest"].as_str().unwrap().starts_with("sha256:"),
            "{event}"
        );
        let is_seen = event["event"] == "release-seen";
        assert_eq!(event["environment"].is_string(), !is_seen, "{event}");
        if ["committed", "applied", "healthy", "recorded"]
            .contains(&event["event"].as_str().unwrap())
        {
            assert!(
                event["number"].is_u64() && event["commit"].is_string(),
                "{event}"
            );
        }
    }
}

#[test]
fn an_interrupted_demo_leaves_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let mut child = demo()
        .env("TMPDIR", temporary.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Once something was applied, all of it runs.
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let applied = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("applied")));
    assert!(applied.is_some());
    let pid = child.id().to_string();
    let told = Command::new("sh")
        .args(["-c", "kill -INT $0", &pid])
        .status()
        .unwrap();
    assert!(told.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let left: Vec<_> = fs::read_dir(temporary.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// A person merges with the very command that is printed, and leaves a branch behind that nobody
/// told of: that fact is named, and the demo fails.
#[test]
fn a_person_merges_and_what_is_not_as_told_is_named() {
    let temporary = tempfile::tempdir().unwrap();
    let mut child = demo()
        .args(["--pause", "--output", "json"])
        .env("TMPDIR", temporary.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut asked = BufReader::new(child.stderr.take().unwrap()).lines();
    for merge in 0..2 {
        let mut command = String::new();
        while !command.ends_with("git push -q\n") {
            let line = asked.next().unwrap().unwrap();
            command.push_str(line.strip_prefix("  ").unwrap_or("true &&"));
            command.push('\n');
        }
        if merge == 1 {
            command.push_str("git push -q origin HEAD:refs/heads/stray");
        }
        let merged = Command::new("sh")
            .args(["-euc", &command])
            .output()
            .unwrap();
        assert!(merged.status.success(), "{command}\n{}", all(&merged));
    }
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{summary}");
    assert_eq!(summary["ok"], false);
    let told = r#"branches of production: told ["master"], found ["master", "stray"]"#;
    assert_eq!(summary["wrong"], serde_json::json!([told]));
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
}

/// With `--github` all is as told, too, and the pull requests are told of beside it.
#[test]
fn on_github_production_is_a_pull_request() {
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join("kept");
    let text = kept_demo(&["--github"], &kept);
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let kinds = |kind: &str| lines.iter().filter(|it| it["event"] == kind).count();
    assert_eq!((kinds("opened"), kinds("merged")), (2, 2));
    let told = lines.iter().filter(|it| it["event"] == "pull-request");
    let pages: Vec<&Value> = told.map(|it| &it["request"]).collect();
    let summary = lines.last().unwrap();
    assert_eq!(summary["requests"], serde_json::json!(pages));
    assert_eq!(summary["ok"], true, "{summary:#}");
    for (page, (number, release, commits)) in pages
        .iter()
        .zip([(1, "v1.4.0", "3 commits"), (2, "v1.5.1", "2 commits")])
    {
        assert_eq!(page["number"], number);
        assert_eq!(
            page["title"],
            format!("production: pipeline-application {release}")
        );
        assert_eq!(page["labels"], serde_json::json!(["deployment"]));
        assert_eq!(page["reviewers"], serde_json::json!(["kim"]));
        let check = &page["statuses"][0];
        assert_eq!(check["context"], "towpath/proven");
        let body = page["body"].as_str().unwrap();
        // The repository is private, so that values stand there, too.
        for part in [commits, "/compare/", "soaked for 2s", "```diff", "built 2"] {
            assert!(body.contains(part), "{part}: {body}");
        }
    }
    assert_eq!(pages.len(), 2);
    let Some(()) = has_jq() else { return };
    let verified = verify(&kept);
    assert!(verified.status.success(), "{}", all(&verified));
}

/// A reviewer reads each page, and merges with the very command that is printed.
#[test]
fn on_github_a_person_reads_and_merges() {
    let temporary = tempfile::tempdir().unwrap();
    let mut child = demo()
        .args(["--github", "--pause"])
        .env("TMPDIR", temporary.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut asked = BufReader::new(child.stderr.take().unwrap()).lines();
    for _ in 0..2 {
        let command = loop {
            let line = asked.next().unwrap().unwrap();
            if let Some(command) = line.strip_prefix("  ") {
                break command.to_owned();
            }
        };
        let merged = Command::new("sh").args(["-euc", &command]).output();
        let merged = merged.unwrap();
        assert!(merged.status.success(), "{command}\n{}", all(&merged));
    }
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    for line in [
        "  │ production: pipeline-application v1.5.1 #2",
        "  │ open: towpath wants to merge towpath/production/pipeline-application into master",
        "  │ labels: deployment",
        "  │ ✓ towpath/proven: v1.5.1 is proven in qa",
        "  │ ▾ Deployment.apps default/pipeline-application changed: 1 image",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}\n{text}");
    }
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
}

/// Why a change went unnoticed, if it did.
fn unnoticed_change(kept: &Path, change: &Change<'_>) -> Option<String> {
    let copied = tempfile::tempdir().unwrap();
    for part in ["git", "images"] {
        copy(&kept.join(part), &copied.path().join(part));
    }
    fs::copy(
        kept.join("summary.json"),
        copied.path().join("summary.json"),
    )
    .unwrap();
    let changed = Command::new("sh")
        .args(["-euc", &format!("{EDIT}{}", change.script)])
        .current_dir(copied.path().join(&change.directory))
        .output()
        .unwrap();
    assert!(
        changed.status.success(),
        "{}\n{}",
        change.script,
        all(&changed)
    );
    let verified = verify(copied.path());
    let noticed = verified.status.code() == Some(1) && all(&verified).contains(change.said);
    (!noticed).then(|| {
        let (script, said) = (change.script, change.said);
        format!(
            "{}: {script}\n  should say: {said}\n  says: {}",
            change.directory,
            all(&verified)
        )
    })
}

fn parse(text: &str) -> Vec<Change<'_>> {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    let changes = lines.chunks(2).map(|pair| {
        let (of, script) = pair[0].split_once(": ").unwrap();
        let directory = match of {
            "images" => "images".to_owned(),
            "application" => "git/pipeline-application.git".to_owned(),
            environment => format!("git/pipeline-application-infra-{environment}.git"),
        };
        let said = pair[1].strip_prefix("=> ").unwrap();
        Change {
            directory,
            script,
            said,
        }
    });
    changes.collect()
}

fn demo() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_towpath"));
    command
        .arg("demo")
        .env("TERM", "dumb")
        .env_remove("TOWPATH_LOG")
        .stdin(Stdio::null());
    command
}

/// Plays the demo to its end, leaves it in a directory, and gives what it told.
fn kept_demo(how: &[&str], kept: &Path) -> String {
    let mut demo = demo();
    demo.args(how).args(["--output", "json", "--keep"]);
    let output = demo.arg(kept).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{said}");
    assert_eq!(said, "");
    text
}

fn verify(directory: &Path) -> Output {
    let script = root().join("tests/demo/verify.sh");
    Command::new("bash")
        .arg(script)
        .arg(directory)
        .output()
        .unwrap()
}

/// Whether `jq` is there. CI has it.
fn has_jq() -> Option<()> {
    let found = Command::new("jq").arg("--version").output().is_ok();
    if !found {
        let ci = std::env::var("CI").is_ok_and(|value| value == "true");
        assert!(!ci, "CI=true, but jq is not installed");
        println!("skipped: jq is not installed");
    }
    found.then_some(())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

fn all(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|bytes| String::from_utf8_lossy(bytes))
        .concat()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
