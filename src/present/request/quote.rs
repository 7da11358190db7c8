//! Makes what others wrote stand in Markdown without acting.
//!
//! Markup is kept off by code spans, code blocks and HTML entities; what forges act on in plain text as well, by
//! [`inert`]: a squash merge may make a commit message of the body, and a commit message has no code spans.

use crate::shown::{self, inert};

/// One line as a code span, of at most `longest` bytes.
pub(super) fn code(text: &str, longest: usize) -> String {
    let text = inert(&shown::on_one_line(text, longest));
    if text.is_empty() {
        return "(nothing)".to_owned();
    }
    let fence = "`".repeat(longest_run(&text) + 1);
    // Backticks at an end would join the fence (CommonMark 0.31, 6.1): one blank on both sides is dropped.
    let pad = match text.starts_with('`') || text.ends_with('`') {
        true => " ",
        false => "",
    };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// One line for places where HTML is read and Markdown is not.
pub(super) fn html(text: &str, longest: usize) -> String {
    let text = inert(&shown::on_one_line(text, longest));
    let mut html = String::from("<code>");
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            c => html.push(c),
        }
    }
    html + "</code>"
}

/// A line of a code block, of at most `longest` bytes: white space is kept.
pub(super) fn line(text: &str, longest: usize) -> String {
    let mut line = String::new();
    for c in text.chars() {
        let kept = line.len();
        match c {
            '\t' => line.push(c),
            c => line.extend(shown::visible(c)),
        }
        if line.len() > longest {
            line.truncate(kept);
            line.push('…');
            break;
        }
    }
    inert(&line)
}

/// The fence of a code block with these lines: longer than any run of backticks in them.
pub(super) fn fence<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let longest = lines.into_iter().map(longest_run).max().unwrap_or_default();
    "`".repeat((longest + 1).max(3))
}

fn longest_run(text: &str) -> usize {
    let runs = text.split(|c| c != '`');
    runs.map(str::len).max().unwrap_or_default()
}
