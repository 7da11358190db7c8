//! What the docs say of the sources: links lead somewhere, files and scenarios that are named exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The files below a folder with this extension, and their text.
fn files(folder: &str, extension: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut waiting = vec![root().join(folder)];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(fs::read_dir(path).unwrap().map(|it| it.unwrap().path()));
        } else if path.extension().is_some_and(|it| it == extension) {
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            found.push((name, fs::read_to_string(path).unwrap()));
        }
    }
    assert!(!found.is_empty(), "{folder} is empty");
    found
}

fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_docs_name_what_exists() {
    let mut wrong = Vec::new();
    let pages = files("docs", "md");
    let scenarios: BTreeSet<String> = files("fixtures/scenarios", "txt")
        .into_iter()
        .map(|(name, _)| {
            Path::new(&name)
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    for (name, text) in &pages {
        let here = root().join(name).parent().unwrap().to_owned();
        let links = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://") && !link.starts_with('#')) {
            let file = link.split('#').next().unwrap_or_default();
            if !here.join(file).exists() {
                wrong.push(format!("{name}: the link {link} leads nowhere"));
            }
        }
        for quoted in text.split('`').skip(1).step_by(2) {
            let in_source =
                quoted.ends_with(".rs") && quoted.contains('/') && !quoted.contains(' ');
            if in_source
                && !root().join(quoted).exists()
                && !root().join("src").join(quoted).exists()
            {
                wrong.push(format!("{name}: there is no {quoted}"));
            }
        }
    }
    let (_, architecture) = pages
        .iter()
        .find(|(name, _)| name.ends_with("architecture.md"))
        .unwrap();
    let (_, table) = architecture.split_once("## Invariants").unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| **I"));
    for tested in rows.filter_map(|row| row.rsplit('|').nth(1)) {
        for named in tested.split('`').skip(1).step_by(2) {
            let is_scenario = !named.contains(['/', '_', '.', ':']);
            let prefix = named.trim_end_matches('*');
            let exists = scenarios.iter().any(|it| match prefix == named {
                true => it == named,
                false => it.starts_with(prefix),
            });
            if is_scenario && !exists {
                wrong.push(format!(
                    "docs/architecture.md: there is no scenario {named}"
                ));
            }
        }
    }
    none(&wrong);
}

#[test]
fn every_reason_has_its_line_in_the_runbook() {
    let page = fs::read_to_string(root().join("docs/operating.md")).unwrap();
    let (_, table) = page.split_once("## When it does not move").unwrap();
    let rows = table
        .lines()
        .filter_map(|row| row.strip_prefix("| `")?.split(" | ").next());
    let named: BTreeSet<&str> = rows
        .flat_map(|names| names.split(['`', ',', ' ']))
        .filter(|name| !name.is_empty())
        .collect();
    let known: BTreeSet<&str> = towpath::plan::Reason::NAMES.into();
    assert_eq!(named, known);
}
