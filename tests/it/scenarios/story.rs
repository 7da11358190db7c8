//! A scenario file: one command a line, with an indented block below it where it takes a text.
//! Lines that begin with `#`, and empty lines, tell the story and are kept in the output.

/// A line of a scenario.
pub(super) enum Line {
    /// Kept as it is.
    Prose(String),
    /// Done.
    Command(Command),
}

/// A command.
pub(super) struct Command {
    /// Line number, from 1.
    pub(super) number: usize,
    /// As it stands there, its block included.
    pub(super) text: String,
    /// Its words; `"several words"` are one.
    pub(super) words: Vec<String>,
    /// Its block, without the indentation.
    pub(super) block: String,
}

/// Reads a scenario.
pub(super) fn read(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.starts_with("    ") || (line.is_empty() && in_block(&lines, text, index)) {
            let Some(Line::Command(command)) = lines.last_mut() else {
                panic!("line {}: a block without a command", index + 1);
            };
            let inner = line.strip_prefix("    ").unwrap_or_default();
            command.block.push_str(inner);
            command.block.push('\n');
            command.text.push('\n');
            command.text.push_str(line);
        } else if line.is_empty() || line.starts_with('#') {
            lines.push(Line::Prose(line.to_owned()));
        } else {
            lines.push(Line::Command(Command {
                number: index + 1,
                text: line.to_owned(),
                words: words(line),
                block: String::new(),
            }));
        }
    }
    lines
}

/// An empty line belongs to a block that goes on after it.
fn in_block(lines: &[Line], text: &str, index: usize) -> bool {
    let begun = matches!(lines.last(), Some(Line::Command(command)) if !command.block.is_empty());
    let next = text.lines().skip(index).find(|line| !line.is_empty());
    begun && next.is_some_and(|line| line.starts_with("    "))
}

fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    for character in line.chars() {
        match character {
            '"' => (quoted, any) = (!quoted, true),
            ' ' if !quoted => {
                if any {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            other => {
                word.push(other);
                any = true;
            }
        }
    }
    if any {
        words.push(word);
    }
    words
}
