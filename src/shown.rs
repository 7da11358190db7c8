//! What others wrote, made fit to stand in front of a person: it steers no terminal, turns no text around,
//! hides nothing, and is no longer than asked for. Never used on what a program reads.

/// Control characters, and those that turn the direction of text or take no room
/// ([CVE-2021-42574](https://trojansource.codes)).
pub fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || matches!(c, '\u{e0000}'..='\u{e007f}')
}

/// The character itself, or its escape as in Rust's strings (`\n`, `\u{1b}`) where it would deceive.
pub fn visible(c: char) -> impl Iterator<Item = char> {
    let escape = is_deceptive(c).then(|| c.escape_default());
    let itself = escape.is_none().then_some(c);
    itself.into_iter().chain(escape.into_iter().flatten())
}

/// One line: white space becomes single blanks, what deceives is escaped, and what is longer than
/// `longest` bytes of UTF-8 is cut and ends in `…`.
pub fn on_one_line(text: &str, longest: usize) -> String {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        for c in word.chars() {
            let kept = line.len();
            line.extend(visible(c));
            if line.len() > longest {
                line.truncate(kept);
                line.truncate(line.trim_end().len());
                line.push('…');
                return line;
            }
        }
    }
    line
}

/// What was given in place of what is expected, as an error repeats it: what deceives is escaped, and of what is longer
/// than [`REPEATED`] bytes the beginning is told.
pub fn given(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        let kept = shown.len();
        shown.extend(visible(c));
        if shown.len() > REPEATED {
            shown.truncate(kept);
            shown.push('…');
            break;
        }
    }
    shown
}

/// How much of a value an error repeats.
const REPEATED: usize = 200;

/// The text with its lines kept: a tab is a blank, a return of the carriage is dropped, all else that deceives is
/// escaped.
pub fn on_lines(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        match c {
            '\n' => shown.push('\n'),
            '\t' => shown.push(' '),
            '\r' => {}
            c => shown.extend(visible(c)),
        }
    }
    shown
}

/// Takes no room, and is never in a value itself: [`visible`] escapes it.
const BREAK: char = '\u{200b}';

/// What stands before a number in the address of something that can be closed.
const NUMBERED: [&str; 4] = ["issues/", "pull/", "pulls/", "merge_requests/"];

/// The text, without anything that a forge acts on wherever it stands: mentions, references and with them what
/// closes issues, and comments that look like our marks. They are broken by a character that takes no room.
pub fn inert(text: &str) -> String {
    let mut inert = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut before = ' ';
    while let Some(c) = chars.next() {
        inert.push(c);
        let next = chars.peek().copied().unwrap_or(' ');
        let acts = match c {
            '@' => !before.is_alphanumeric() && next.is_alphanumeric(),
            '#' | '!' => next.is_ascii_digit(),
            '-' => next.is_ascii_digit() && ends_with(&inert, "gh-"),
            '/' => next.is_ascii_digit() && NUMBERED.iter().any(|it| ends_with(&inert, it)),
            '<' => next == '!',
            _ => false,
        };
        if acts {
            inert.push(BREAK);
        }
        before = c;
    }
    inert
}

/// Words within Markdown, on one line of at most `longest` bytes: what would be markup is text, and nothing acts.
pub fn in_markdown(text: &str, longest: usize) -> String {
    let mut words = String::new();
    for c in inert(&on_one_line(text, longest)).chars() {
        if "\\`*_[]<>~|&".contains(c) {
            words.push('\\');
        }
        words.push(c);
    }
    words
}

fn ends_with(text: &str, end: &str) -> bool {
    let begin = text.len().saturating_sub(end.len());
    let tail = text.get(begin..);
    tail.is_some_and(|tail| tail.eq_ignore_ascii_case(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_fits_one_line() {
        for (said, longest, shown) in [
            ("  a\n\n b.\t", 99, "a b."),
            ("\u{1b}[31mred\u{1b}[0m", 99, "\\u{1b}[31mred\\u{1b}[0m"),
            ("\u{202e}txt\u{200b}", 99, "\\u{202e}txt\\u{200b}"),
            ("größe", 99, "größe"),
            ("", 99, ""),
            ("0123456789", 10, "0123456789"),
            ("01234 67890", 10, "01234 6789…"),
            ("012345678 0", 10, "012345678…"),
        ] {
            assert_eq!(on_one_line(said, longest), shown, "{said:?}");
        }
    }

    #[test]
    fn within_markdown_nothing_is_markup_and_nothing_acts() {
        for (said, shown) in [
            ("1.5.0 is newer", "1.5.0 is newer"),
            ("fixes #1", "fixes #\u{200b}1"),
            ("@acme/ops", "@\u{200b}acme/ops"),
            ("a@b", "a@b"),
            ("![x](y)", "!\\[x\\](y)"),
            ("<!-- x --><b>&amp;", "\\<\u{200b}!-- x --\\>\\<b\\>\\&amp;"),
            ("`a` *b* _c_ ~d~ |", "\\`a\\` \\*b\\* \\_c\\_ \\~d\\~ \\|"),
            ("a\n# b", "a # b"),
            ("x/pull/13", "x/pull/\u{200b}13"),
            ("\\", "\\\\"),
        ] {
            assert_eq!(in_markdown(said, 99), shown, "{said:?}");
        }
    }

    #[test]
    fn an_error_repeats_the_beginning_of_what_was_given() {
        assert_eq!(given(" a\u{202e}\n"), " a\\u{202e}\\n");
        assert_eq!(given(&"x".repeat(500)).chars().count(), REPEATED + 1);
    }

    #[test]
    fn lines_stay_lines() {
        for (said, shown) in [
            ("plain\r\nlines\n\n", "plain\nlines"),
            ("a\tb\u{7}", "a b\\u{7}"),
        ] {
            assert_eq!(on_lines(said), shown);
        }
    }
}
