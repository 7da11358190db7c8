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
    fn lines_stay_lines() {
        for (said, shown) in [
            ("plain\r\nlines\n\n", "plain\nlines"),
            ("a\tb\u{7}", "a b\\u{7}"),
        ] {
            assert_eq!(on_lines(said), shown);
        }
    }
}
