//! `towpath help`: a command's help, or a topic. Topics are parts of the pages in `docs/`, so that they are written
//! once.

use std::io::Write;

use anyhow::{Result, bail};

use super::exit;

/// Say what a command does, or explain a topic
///
/// Without a name, all commands and topics are listed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A command or a topic
    #[arg(value_name = "COMMAND|TOPIC")]
    name: Option<String>,
}

/// Something to read about.
struct Topic {
    name: &'static str,
    about: &'static str,
    page: &'static str,
    /// The headings of the parts; the first lines below each, up to the next heading of any level.
    parts: &'static [&'static str],
}

const ARCHITECTURE: &str = include_str!("../../docs/architecture.md");
const CLI: &str = include_str!("../../docs/cli.md");
const OPERATING: &str = include_str!("../../docs/operating.md");
const RECORDS: &str = include_str!("../../docs/records.md");

const TOPICS: [Topic; 5] = [
    Topic {
        name: "words",
        about: "what release, unit, gate, proven and the other words mean",
        page: ARCHITECTURE,
        parts: &["## Words"],
    },
    Topic {
        name: "reasons",
        about: "every reason why a unit waits, and what helps",
        page: OPERATING,
        parts: &["## When it does not move"],
    },
    Topic {
        name: "gates",
        about: "how a proposal is approved, declined and changed",
        page: OPERATING,
        parts: &["## Approving and declining"],
    },
    Topic {
        name: "records",
        about: "what happened, as git notes: where they are, their kinds, reading them",
        page: RECORDS,
        parts: &[
            "# Records, version 1",
            "## Where they are",
            "## Kinds",
            "## Reading them",
        ],
    },
    Topic {
        name: "exit-codes",
        about: "what the codes mean that commands end with",
        page: CLI,
        parts: &["## Exit codes"],
    },
];

/// Writes the help.
///
/// # Errors
/// There is no such command or topic, or the writer's.
pub fn run(args: &Args, mut command: clap::Command, out: &mut dyn Write) -> Result<u8> {
    let Some(name) = &args.name else {
        write!(out, "{}", command.render_help().ansi())?;
        writeln!(out, "\nTopics, for `towpath help TOPIC`:")?;
        for topic in &TOPICS {
            writeln!(out, "  {:<11}  {}", topic.name, topic.about)?;
        }
        return Ok(exit::OK);
    };
    if let Some(topic) = TOPICS.iter().find(|it| it.name == name) {
        for (index, part) in topic.parts.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            write!(out, "{}", plain(section(topic.page, part)))?;
        }
        return Ok(exit::OK);
    }
    command.build();
    let Some(command) = command.find_subcommand_mut(name) else {
        let topics: Vec<_> = TOPICS.iter().map(|it| it.name).collect();
        bail!(
            "there is no command or topic `{name}`: `towpath help` lists commands, topics are {}",
            topics.join(", ")
        );
    };
    write!(out, "{}", command.render_long_help().ansi())?;
    Ok(exit::OK)
}

/// What stands below a heading, up to the next one.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let line = format!("{heading}\n");
    let begin = page.find(&line).map_or(page.len(), |at| at + line.len());
    let rest = page.get(begin..).unwrap_or_default();
    let end = rest.match_indices("\n#").find(|(at, _)| {
        let heading = rest.get(at + 1..).unwrap_or_default();
        // Within a block of code `#` begins a comment.
        let fences = rest.get(..*at).unwrap_or_default().matches("\n```").count();
        fences.is_multiple_of(2) && heading.trim_start_matches('#').starts_with(' ')
    });
    rest.get(..end.map_or(rest.len(), |(at, _)| at))
        .unwrap_or(rest)
        .trim()
}

/// Markdown as it is read on a terminal: the rows of tables as paragraphs, links by their words.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut in_code = false;
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with("```") {
            in_code = !in_code;
        } else if line.starts_with("<!--") && !in_code {
            break;
        } else if lines.peek().is_some_and(|next| next.starts_with("|---")) {
            // What stands above the rule says no more than the rows.
        } else if in_code {
            plain.push_str(&format!("    {line}\n"));
        } else if let Some(row) = line.strip_prefix('|') {
            if let Some(row) = row_of(row) {
                plain.push_str(&row);
            }
        } else {
            plain.push_str(&words(line));
            plain.push('\n');
        }
    }
    plain
}

/// A table's row: its first cell, and what is said of it below; nothing for rules.
fn row_of(row: &str) -> Option<String> {
    let cells: Vec<_> = row
        .trim_end_matches('|')
        .split(" | ")
        .map(str::trim)
        .collect();
    let (first, rest) = cells.split_first()?;
    let is_rule = row
        .bytes()
        .all(|byte| matches!(byte, b'|' | b'-' | b' ' | b':'));
    if is_rule || first.is_empty() {
        return None;
    }
    let rest: Vec<_> = rest.iter().filter(|it| !it.is_empty()).collect();
    let rest: Vec<String> = rest.into_iter().map(|it| words(it)).collect();
    Some(format!("  {}\n      {}\n", words(first), rest.join("; ")))
}

/// `[words](address)` and `**words**` by their words.
fn words(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("](") {
        let Some((link, tail)) = after.split_once(')') else {
            break;
        };
        match before.rsplit_once('[') {
            Some((lead, name)) => {
                plain.push_str(lead);
                plain.push_str(name);
            }
            None => plain.push_str(&format!("{before}]({link})")),
        }
        rest = tail;
    }
    plain.push_str(rest);
    plain.replace("**", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_says_something_in_plain_words() {
        for topic in &TOPICS {
            for part in topic.parts {
                let text = plain(section(topic.page, part));
                assert!(text.len() > 100, "{}: {part}", topic.name);
                for left in ["](", "|---", "**"] {
                    assert!(
                        !text.contains(left),
                        "{}: {part}: {left}\n{text}",
                        topic.name
                    );
                }
            }
        }
    }

    #[test]
    fn the_reasons_are_all_there() {
        let reasons = TOPICS.iter().find(|it| it.name == "reasons").unwrap();
        let text = plain(section(reasons.page, reasons.parts[0]));
        for name in crate::plan::Reason::NAMES {
            assert!(text.contains(&format!("`{name}`")), "{name}\n{text}");
        }
    }
}
