//! What people read on their terminal, with nothing in it that acts there: whatever others wrote into records, commits,
//! images or requests, and however it comes to be told.
//!
//! Owns the last step before standard output and error, and nothing of what is said. Colours pass. What else steers a
//! terminal, turns text around or takes no room comes out as JSON writes it (`\u202e`), so that `-o json` stays what
//! it is.

use std::io::{self, Write};

use crate::shown::is_deceptive;

/// The longest colour sequence that is waited for.
const COLOUR_MAX: usize = 32;

/// A writer before which everything is made harmless.
pub(super) struct Plain<W: Write> {
    inner: W,
    /// The beginning of a character or a colour whose end has not come yet.
    begun: Vec<u8>,
}

impl<W: Write> Plain<W> {
    /// Before this writer.
    pub(super) fn new(inner: W) -> Self {
        Self {
            inner,
            begun: Vec::new(),
        }
    }
}

impl<W: Write> Write for Plain<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut text = std::mem::take(&mut self.begun);
        text.extend_from_slice(bytes);
        let (clean, rest) = harmless(&text);
        self.begun = text[text.len() - rest..].to_vec();
        self.inner.write_all(clean.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let begun = std::mem::take(&mut self.begun);
        let mut clean = String::new();
        for c in String::from_utf8_lossy(&begun).chars() {
            put(&mut clean, c);
        }
        self.inner.write_all(clean.as_bytes())?;
        self.inner.flush()
    }
}

/// The text as it may be seen, and how many bytes at its end are the beginning of something.
fn harmless(bytes: &[u8]) -> (String, usize) {
    let mut clean = String::with_capacity(bytes.len());
    let mut rest = bytes;
    loop {
        let (valid, invalid) = match std::str::from_utf8(rest) {
            Ok(valid) => (valid, None),
            Err(error) => {
                let (valid, _) = rest.split_at(error.valid_up_to());
                let valid = std::str::from_utf8(valid).unwrap_or_default();
                (valid, Some(error.error_len()))
            }
        };
        let left = take(&mut clean, valid);
        let after = &rest[valid.len()..];
        match invalid {
            // A colour that goes on with what is no text is none.
            Some(Some(length)) => {
                left.chars().for_each(|c| put(&mut clean, c));
                clean.push(char::REPLACEMENT_CHARACTER);
                rest = &after[length..];
            }
            Some(None) => return (clean, left.len() + after.len()),
            None => return (clean, left.len()),
        }
    }
}

/// Takes a text over, but for a colour at its end that is not whole: that is given back.
fn take<'a>(clean: &mut String, text: &'a str) -> &'a str {
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '\u{1b}' {
            match colour(rest) {
                Colour::Whole(length) => {
                    clean.push_str(&rest[..length]);
                    rest = &rest[length..];
                    continue;
                }
                Colour::Begun => return rest,
                Colour::None => {}
            }
        }
        put(clean, c);
        rest = &rest[c.len_utf8()..];
    }
    rest
}

enum Colour {
    /// Of so many bytes.
    Whole(usize),
    Begun,
    None,
}

/// Whether a text begins with a colour or a weight (ECMA-48, SGR), and none that hides what it is laid on.
fn colour(text: &str) -> Colour {
    let Some(codes) = text.strip_prefix("\u{1b}[") else {
        return match text {
            "\u{1b}" => Colour::Begun,
            _ => Colour::None,
        };
    };
    let length = codes.find(|c: char| !c.is_ascii_digit() && c != ';');
    let Some(length) = length else {
        return match text.len() < COLOUR_MAX {
            true => Colour::Begun,
            false => Colour::None,
        };
    };
    let shows = |code: &str| {
        let code = code.parse::<u8>();
        code.is_ok_and(|it| matches!(it, 0..=4 | 22..=24 | 30..=37 | 39 | 90..=97))
    };
    let is_whole = codes[length..].starts_with('m');
    match is_whole && (length == 0 || codes[..length].split(';').all(shows)) {
        true => Colour::Whole("\u{1b}[m".len() + length),
        false => Colour::None,
    }
}

fn put(clean: &mut String, c: char) {
    if !is_deceptive(c) || matches!(c, '\n' | '\t') {
        clean.push(c);
        return;
    }
    let mut units = [0; 2];
    for unit in c.encode_utf16(&mut units) {
        clean.push_str(&format!("\\u{unit:04x}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_colours_acts() {
        for (said, shown) in [
            ("plain\n\ttext ü …", "plain\n\ttext ü …"),
            (
                "\u{1b}[1;31mred\u{1b}[0m\u{1b}[m",
                "\u{1b}[1;31mred\u{1b}[0m\u{1b}[m",
            ),
            ("\u{1b}[8mhidden", "\\u001b[8mhidden"),
            ("\u{1b}[41mlaid on", "\\u001b[41mlaid on"),
            ("\u{1b}[2J\u{1b}[H", "\\u001b[2J\\u001b[H"),
            ("\u{1b}]0;title\u{7}", "\\u001b]0;title\\u0007"),
            (
                "\u{1b}]8;;https://evil\u{1b}\\",
                "\\u001b]8;;https://evil\\u001b\\",
            ),
            ("\u{9b}2J", "\\u009b2J"),
            ("a\rb\u{8}", "a\\u000db\\u0008"),
            ("\u{202e}txt\u{200b}", "\\u202etxt\\u200b"),
            ("\u{e0041}", "\\udb40\\udc41"),
            ("\u{1b}", "\\u001b"),
            ("\u{1b}[31", "\\u001b[31"),
            ("\u{1b}[\u{202e}m", "\\u001b[\\u202em"),
        ] {
            let whole = written(&[said.as_bytes()]);
            assert_eq!(whole, shown, "{said:?}");
            let pieces: Vec<&[u8]> = said.as_bytes().chunks(1).collect();
            assert_eq!(written(&pieces), shown, "{said:?}, byte by byte");
        }
        assert_eq!(
            written(&[b"a\xffb\x1b[3\xff"]),
            "a\u{fffd}b\\u001b[3\u{fffd}"
        );
        assert_eq!(written(&[b"\xe2\x80"]), "\u{fffd}");
        let endless = format!("\u{1b}[{}", "1".repeat(100));
        assert_eq!(
            written(&[endless.as_bytes()]),
            endless.replace('\u{1b}', "\\u001b")
        );
    }

    fn written(pieces: &[&[u8]]) -> String {
        let mut plain = Plain::new(Vec::new());
        for piece in pieces {
            plain.write_all(piece).unwrap();
        }
        plain.flush().unwrap();
        String::from_utf8(plain.inner).unwrap()
    }
}
