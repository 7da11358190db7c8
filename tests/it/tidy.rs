//! What the sources must look like: purity, module headers, sizes, names. A rule that a person would
//! have to remember is checked here instead.

use std::path::{Path, PathBuf};

/// A file longer than this asks which decision moves out.
const LINES_MAX: usize = 500;

/// Longer all the same: git's four object formats, each with its reading and its writing.
const LONG: [&str; 1] = ["src/git/object.rs"];

fn files(folder: &str, extension: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut open: Vec<PathBuf> = vec![root.join(folder)];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            open.extend(entries.map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|it| it == extension) {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            found.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
    found.sort();
    assert!(!found.is_empty(), "there is nothing in {folder}");
    found
}

/// Rust files that are not unit tests.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut files = files(folder, "rs");
    files.retain(|(name, _)| !name.ends_with("/tests.rs"));
    files
}

/// The code of a file: without comments, and without its unit tests.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line));
    lines
        .take_while(|(_, line)| *line != "#[cfg(test)]")
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn report(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}:\n{}", findings.join("\n"));
}

#[test]
fn decisions_are_pure() {
    let impure = [
        "async ",
        ".await",
        "tokio",
        "kube::",
        "reqwest",
        "std::fs",
        "std::process",
        "std::net",
        "std::env",
        "::now(",
        "crate::git::Repository",
        "crate::observe",
        "crate::act",
        "crate::reconcile",
        "crate::registry",
        "crate::cluster",
        "crate::forge",
        "crate::config",
        "crate::cli",
    ];
    let mut findings = Vec::new();
    for folder in ["src/model", "src/manifest", "src/plan", "src/present"] {
        for (name, text) in sources(folder) {
            for (number, line) in code(&text) {
                for word in impure.iter().filter(|word| line.contains(*word)) {
                    findings.push(format!("{name}:{number}: `{word}`"));
                }
            }
        }
    }
    report(
        "model/, manifest/, plan/ and present/ only compute",
        &findings,
    );
}

#[test]
fn arrows_point_one_way() {
    let forbidden: [(&str, &[&str]); 5] = [
        ("src/model", &["crate::plan", "crate::manifest"]),
        ("src/manifest", &["crate::plan"]),
        (
            "src/observe",
            &["crate::act", "crate::reconcile", "crate::cli"],
        ),
        (
            "src/act",
            &["crate::observe", "crate::reconcile", "crate::cli"],
        ),
        (
            "src/git",
            &[
                "crate::observe",
                "crate::act",
                "crate::plan",
                "crate::reconcile",
            ],
        ),
    ];
    let mut findings = Vec::new();
    for (folder, words) in forbidden {
        for (name, text) in sources(folder) {
            for (number, line) in code(&text) {
                for word in words.iter().filter(|word| line.contains(*word)) {
                    findings.push(format!("{name}:{number}: `{word}`"));
                }
            }
        }
    }
    report(
        "model ← manifest ← plan ← reconcile → observe, act → outside",
        &findings,
    );
}

#[test]
fn every_module_says_what_it_owns() {
    let mut findings = Vec::new();
    for folder in ["src", "tests"] {
        for (name, text) in files(folder, "rs") {
            if !text.starts_with("//! ") {
                findings.push(name);
            }
        }
    }
    report("a module opens with `//!`", &findings);
}

#[test]
fn files_can_be_read_in_one_go() {
    let long = files("src", "rs").into_iter().filter_map(|(name, text)| {
        let lines = text
            .lines()
            .take_while(|line| *line != "#[cfg(test)]")
            .count();
        let is_long = lines > LINES_MAX && !LONG.contains(&name.as_str());
        is_long.then(|| format!("{name}: {lines} lines"))
    });
    report("a long file holds two decisions", &long.collect::<Vec<_>>());
}

#[test]
fn names_say_what_is_there() {
    let vague = [
        "utils", "util", "common", "manager", "types", "helpers", "misc",
    ];
    let mut findings = Vec::new();
    for (name, _) in files("src", "rs") {
        let parts = name.trim_end_matches(".rs").split('/');
        if parts.clone().any(|part| vague.contains(&part)) {
            findings.push(name);
        }
    }
    report("a name says what is there", &findings);
}

#[test]
fn no_test_is_skipped() {
    let mark = ["#[", "ignore"].concat();
    let mut findings = Vec::new();
    for folder in ["src", "tests"] {
        for (name, text) in files(folder, "rs") {
            for (index, line) in text.lines().enumerate() {
                if line.trim_start().starts_with(&mark) {
                    findings.push(format!("{name}:{}", index + 1));
                }
            }
        }
    }
    report("a test that is skipped tests nothing", &findings);
}

#[test]
fn nothing_tells_of_the_machine_it_was_made_on() {
    // Put together here, so that this file does not find itself.
    let told = [
        ["/wo", "rk/"].concat(),
        ["/ho", "me/"].concat(),
        ["/Us", "ers/"].concat(),
    ];
    let hosts = [["local", "domain"].concat(), [".inter", "nal/"].concat()];
    let mut findings = Vec::new();
    for (folder, extension) in [
        ("src", "rs"),
        ("tests", "rs"),
        ("docs", "md"),
        ("environments", "yaml"),
        ("fixtures", "txt"),
        ("fixtures", "out"),
    ] {
        for (name, text) in files(folder, extension) {
            for (index, line) in text.lines().enumerate() {
                let mut words = told.iter().chain(&hosts);
                if let Some(word) = words.find(|word| line.contains(word.as_str())) {
                    findings.push(format!("{name}:{}: `{word}`", index + 1));
                }
            }
        }
    }
    report(
        "paths of a workstation and names of its network stay there",
        &findings,
    );
}
