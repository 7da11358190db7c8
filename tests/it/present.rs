//! Objects in two versions, and how they are told apart.
//!
//! `fixtures/present/diff/*.txt`: what it shows, then cases: `# before` (or `# before, encrypted`) and
//! `# after` with a manifest each or nothing, and below `# diff` what is made of them: the change, its
//! lines, then its fields. `TOWPATH_UPDATE=1` records them anew.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use towpath::model::{Identity, ObjectRef};
use towpath::present::diff::{self, Versions};

use crate::cli::compare;

/// What stands in the Secrets and encrypted manifests of the cases, and nowhere else.
const SECRETS: [&str; 6] = [
    "secret-",
    "hunter",
    "aHVudGVy",
    "dG9rZW4",
    "ZGI=",
    "String(\"plain\")",
];

const BEFORE: &str = "# before\n";
const ENCRYPTED: &str = "# before, encrypted\n";
const AFTER: &str = "# after\n";
const DIFF: &str = "# diff\n";

#[test]
fn versions_are_told_apart_as_recorded() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/present/diff");
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let (title, cases) = text.split_once("\n\n").unwrap();
        let mut now = format!("{title}\n\n");
        for case in cases
            .split("\n# end\n")
            .filter(|case| !case.trim().is_empty())
        {
            let (given, _) = case.split_once(DIFF).unwrap();
            writeln!(now, "{given}{DIFF}{}# end", shown(given)).unwrap();
            count += 1;
        }
        wrong.extend(compare(&path, &now));
    }
    assert!(count > 0, "there are no cases");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn shown(given: &str) -> String {
    let (before, after) = given.split_once(AFTER).unwrap();
    let encrypted = before.trim_start().starts_with(ENCRYPTED);
    let head = if encrypted { ENCRYPTED } else { BEFORE };
    let before = before.trim_start().strip_prefix(head).unwrap();
    let read = |yaml: &str| match yaml.trim() {
        "" => None,
        yaml => Some(serde_yaml::from_str::<Value>(yaml).unwrap()),
    };
    let (before, after) = (read(before), read(after));
    let object = before.as_ref().or(after.as_ref()).unwrap();
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let version = text("/apiVersion").unwrap();
    let reference = ObjectRef::from(Identity {
        group: version
            .split_once('/')
            .map_or("", |(group, _)| group)
            .to_owned(),
        kind: text("/kind").unwrap().to_owned(),
        namespace: text("/metadata/namespace").map(str::to_owned),
        name: text("/metadata/name").unwrap().to_owned(),
    });
    let diff = diff::compare(Versions {
        reference: &reference,
        before: before.as_ref(),
        after: after.as_ref(),
        secret: encrypted,
    });
    let held = format!("{diff:?}");
    for secret in SECRETS {
        assert!(!held.contains(secret), "{secret} is shown: {held}");
    }
    let mut text = format!("{} {reference}\n", diff.change.sign());
    for hunk in &diff.hunks {
        writeln!(text, "@@ {} @@", hunk.within).unwrap();
        for line in &hunk.lines {
            writeln!(text, "{line}").unwrap();
        }
    }
    let value = |value: &Option<Value>| value.as_ref().map_or("–".to_owned(), Value::to_string);
    for field in &diff.fields {
        let (before, after) = (value(&field.before), value(&field.after));
        writeln!(text, "{}: {before} → {after}", field.path).unwrap();
    }
    text
}

/// The largest objects that a cluster takes, in which everything differs.
#[test]
fn large_objects_are_compared_too() {
    let reference = ObjectRef::from(Identity {
        group: String::new(),
        kind: "ConfigMap".to_owned(),
        namespace: Some("default".to_owned()),
        name: "large".to_owned(),
    });
    let lines = 40_000;
    let object = |side: &str| {
        let text: Vec<String> = (0..lines).map(|line| format!("{side} {line}")).collect();
        let list: Vec<usize> = (0..lines).map(|line| line * 2 + side.len()).collect();
        json!({ "data": { "text": text.join("\n") + "\n" }, "list": list })
    };
    let (before, after) = (object("a"), object("bb"));
    let diff = diff::compare(Versions {
        reference: &reference,
        before: Some(&before),
        after: Some(&after),
        secret: false,
    });
    let shown: usize = diff.hunks.iter().map(|hunk| hunk.lines.len()).sum();
    assert_eq!((diff.fields.len(), shown), (lines + 1, 4 * lines + 3));
}
