//! Text → tokens.

use super::Invalid;

/// A token and the column where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) column: usize,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Name(String),
    Text(String),
    Int(i64),
    Double(f64),
    /// An operator or a bracket.
    Sign(&'static str),
    End,
}

/// Longest first, so that `<=` is not read as `<`.
const SIGNS: [&str; 24] = [
    "&&", "||", "==", "!=", "<=", ">=", "(", ")", "[", "]", ".", ",", "?", ":", "!", "<", ">", "+",
    "-", "*", "/", "%", "{", "}",
];

/// The tokens of a text; the last is [`Kind::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Invalid> {
    let mut reader = Reader {
        rest: text,
        column: 1,
    };
    let mut tokens = Vec::new();
    loop {
        reader.skip_space();
        let column = reader.column;
        let kind = reader.token()?;
        let is_end = kind == Kind::End;
        tokens.push(Token { column, kind });
        if is_end {
            return Ok(tokens);
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
    column: usize,
}

impl<'a> Reader<'a> {
    fn token(&mut self) -> Result<Kind, Invalid> {
        let Some(first) = self.rest.chars().next() else {
            return Ok(Kind::End);
        };
        if first.is_ascii_digit() {
            return self.number();
        }
        if first == '"' || first == '\'' {
            return self.text(first);
        }
        if first.is_ascii_alphabetic() || first == '_' {
            return Ok(self.name());
        }
        match SIGNS.iter().find(|sign| self.rest.starts_with(**sign)) {
            Some(sign) => {
                self.take(sign.len());
                Ok(Kind::Sign(sign))
            }
            None => Err(self.wrong(format!("`{}` means nothing here", first.escape_default()))),
        }
    }

    fn name(&mut self) -> Kind {
        let name = self.take_while(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        Kind::Name(name.to_owned())
    }

    fn number(&mut self) -> Result<Kind, Invalid> {
        let start = self.rest;
        self.take_while(|letter| letter.is_ascii_digit());
        let mut is_double = false;
        let mut after = self.rest.chars();
        if after.next() == Some('.') && after.next().is_some_and(|next| next.is_ascii_digit()) {
            is_double = true;
            self.take(1);
            self.take_while(|letter| letter.is_ascii_digit());
        }
        let digits = &start[..start.len() - self.rest.len()];
        if self
            .rest
            .starts_with(|letter: char| letter.is_ascii_alphanumeric() || letter == '_')
        {
            return Err(self.wrong("write numbers as `12` or `1.5`".to_owned()));
        }
        let number = if is_double {
            digits.parse().ok().map(Kind::Double)
        } else {
            digits.parse().ok().map(Kind::Int)
        };
        number.ok_or_else(|| self.wrong(format!("{digits} is too large")))
    }

    fn text(&mut self, quote: char) -> Result<Kind, Invalid> {
        let opening = self.column;
        self.take(1);
        let mut text = String::new();
        loop {
            text.push_str(self.take_while(|letter| letter != quote && letter != '\\'));
            let mut ahead = self.rest.chars();
            match (ahead.next(), ahead.next()) {
                (Some('\\'), Some(escaped)) => {
                    let meant = match escaped {
                        'n' => '\n',
                        't' => '\t',
                        '\\' | '\'' | '"' => escaped,
                        _ => return Err(self.wrong(format!("`\\{escaped}` is not supported"))),
                    };
                    text.push(meant);
                    self.take(2);
                }
                (Some(_), _) => {
                    self.take(1);
                    return Ok(Kind::Text(text));
                }
                (None, _) => {
                    return Err(Invalid {
                        column: opening,
                        what: "this text does not end".to_owned(),
                    });
                }
            }
        }
    }

    fn skip_space(&mut self) {
        self.take_while(char::is_whitespace);
    }

    fn take_while(&mut self, belongs: impl Fn(char) -> bool) -> &'a str {
        let length = self
            .rest
            .find(|letter| !belongs(letter))
            .unwrap_or(self.rest.len());
        self.take(length)
    }

    /// Takes so many bytes, which must end at a character's boundary.
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.column += taken.chars().count();
        self.rest = rest;
        taken
    }

    fn wrong(&self, what: String) -> Invalid {
        Invalid {
            column: self.column,
            what,
        }
    }
}
