//! Scenarios: stories told to the real loop, with a simulated outside and a clock of their own.
//!
//! Each `fixtures/scenarios/<name>.txt` has its recorded output beside it (`<name>.out`, written
//! anew with `TOWPATH_UPDATE=1`; `TOWPATH_SCENARIO=<name>` runs one). To every scenario the runner adds: no plan breaks an
//! invariant in any round; when all is settled one more round writes nothing, as counted at the
//! servers, and neither does a process that starts anew; no number, verdict or proposal is double.

mod cluster;
mod commands;
mod committer;
mod ending;
mod endpoints;
mod forge;
mod hammer;
mod link;
mod marked;
mod notified;
mod preempt;
mod show;
mod site;
mod stalled;
mod storm;
mod story;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use commands::Teller;
use story::Line;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scenarios")
}

fn names() -> Vec<String> {
    let entries = std::fs::read_dir(folder()).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut names: Vec<String> = paths
        .filter(|path| path.extension().is_some_and(|it| it == "txt"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

/// What is told so far, also when the scenario then panics.
type Output = Arc<Mutex<String>>;

async fn tell(text: String, output: Output) {
    let mut teller = Teller::new();
    for line in story::read(&text) {
        match line {
            Line::Prose(text) => output.lock().unwrap().push_str(&format!("{text}\n")),
            Line::Command(command) => {
                let echo = format!("> {}\n", command.text);
                output.lock().unwrap().push_str(&echo);
                let told = teller.run(&command).await;
                output.lock().unwrap().push_str(&told);
            }
        }
    }
    teller.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_ends_as_recorded() {
    let chosen = std::env::var("TOWPATH_SCENARIO").ok();
    let update = std::env::var("TOWPATH_UPDATE").is_ok();
    let mut names = names();
    names.retain(|name| chosen.as_ref().is_none_or(|chosen| chosen == name));
    assert!(!names.is_empty(), "there is no scenario");
    let told = names.into_iter().map(|name| {
        let text = std::fs::read_to_string(folder().join(format!("{name}.txt"))).unwrap();
        let output = Output::default();
        let told = tokio::spawn(tell(text, output.clone()));
        (name, output, told)
    });
    let mut wrong = Vec::new();
    for (name, output, told) in told.collect::<Vec<_>>() {
        let ended = told.await;
        let output = std::mem::take(&mut *output.lock().unwrap());
        if ended.is_err() {
            wrong.push(format!("{name} panicked, see above, after:\n{output}"));
            continue;
        }
        let path = folder().join(format!("{name}.out"));
        let recorded = std::fs::read_to_string(&path).unwrap_or_default();
        if update {
            std::fs::write(&path, &output).unwrap();
        } else if recorded != output {
            let diff = similar::TextDiff::from_lines(&recorded, &output);
            let diff = diff.unified_diff().context_radius(3).to_string();
            wrong.push(format!("{name} differs from what is recorded:\n{diff}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\nTOWPATH_UPDATE=1 records what is now",
        wrong.join("\n")
    );
}

/// Every reason is seen in at least one recorded output.
#[test]
fn every_reason_is_told_somewhere() {
    let outputs: Vec<String> = names()
        .iter()
        .map(|name| std::fs::read_to_string(folder().join(format!("{name}.out"))).unwrap())
        .collect();
    for name in towpath::plan::Reason::NAMES {
        let told = format!(" [{name}] ");
        assert!(
            outputs.iter().any(|output| output.contains(&told)),
            "no scenario shows `{name}`"
        );
    }
}
