//! A unified diff in the form that `git apply` reads.

use std::fmt::Write as _;
use std::path::{Component, Path};

use similar::{Algorithm, ChangeTag, DiffOp, capture_diff_slices, group_diff_ops};

/// Lines of context around a change, as `git diff` has them.
const CONTEXT: usize = 3;

/// The diff from one text of a file to another; empty if they are equal.
///
/// Lines end at a line feed only, as git sees them: a carriage return belongs to its line.
pub(super) fn unified(path: &Path, before: &str, after: &str) -> String {
    let old: Vec<&str> = before.split_inclusive('\n').collect();
    let new: Vec<&str> = after.split_inclusive('\n').collect();
    let operations = capture_diff_slices(Algorithm::Myers, &old, &new);
    let mut diff = String::new();
    for group in group_diff_ops(operations, CONTEXT) {
        if diff.is_empty() {
            let name = name(path);
            header(&mut diff, "---", &format!("a/{name}"));
            header(&mut diff, "+++", &format!("b/{name}"));
        }
        hunk(&mut diff, &group, &old, &new);
    }
    diff
}

fn hunk(diff: &mut String, group: &[DiffOp], old: &[&str], new: &[&str]) {
    let (Some(first), Some(last)) = (group.first(), group.last()) else {
        return;
    };
    let old_range = first.old_range().start..last.old_range().end;
    let new_range = first.new_range().start..last.new_range().end;
    push(
        diff,
        format_args!("@@ -{} +{} @@\n", range(&old_range), range(&new_range)),
    );
    for change in group
        .iter()
        .flat_map(|operation| operation.iter_changes(old, new))
    {
        let sign = match change.tag() {
            ChangeTag::Equal => ' ',
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
        };
        let line: &str = change.value();
        push(diff, format_args!("{sign}{line}"));
        if !line.ends_with('\n') {
            diff.push_str("\n\\ No newline at end of file\n");
        }
    }
}

/// `start,count`, where an empty range counts from the line before it.
fn range(range: &std::ops::Range<usize>) -> String {
    let start = if range.is_empty() {
        range.start
    } else {
        range.start + 1
    };
    format!("{start},{}", range.len())
}

/// The path below the repository's top: relative, with `/`.
fn name(path: &Path) -> String {
    let relative = std::env::current_dir().ok();
    let relative = relative
        .and_then(|top| path.strip_prefix(top).ok())
        .unwrap_or(path);
    let components = relative
        .components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_string_lossy()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        });
    components.collect::<Vec<_>>().join("/")
}

fn header(diff: &mut String, sign: &str, name: &str) {
    let special = |c: char| c.is_control() || c == '"' || c == '\\';
    if !name.contains(special) {
        // A tab ends a name with spaces, as in git's own diffs.
        let end = if name.contains(' ') { "\t" } else { "" };
        return push(diff, format_args!("{sign} {name}{end}\n"));
    }
    let mut quoted = String::new();
    for byte in name.bytes() {
        match byte {
            b'"' | b'\\' => push(&mut quoted, format_args!("\\{}", char::from(byte))),
            b' '..=b'~' => quoted.push(char::from(byte)),
            _ => push(&mut quoted, format_args!("\\{byte:03o}")),
        }
    }
    push(diff, format_args!("{sign} \"{quoted}\"\n"));
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments)
        .expect("writing into a string cannot fail");
}
