//! How a request is worded: the template of its title, and how much of the difference it shows.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::braces::{Part, parts};
use crate::shown::given;

/// How much of what a cluster would change stands in a request, which more people read than may read
/// the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestDiff {
    /// Lines with their values.
    Full,
    /// Which fields, without values.
    Fields,
    /// Nothing.
    None,
}

/// The template of a request's title: text and the fields `{application}`, `{environment}`, `{release}`
/// (what is proposed) and `{from}` (what it replaces).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TitleTemplate(Arc<[Piece]>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Piece {
    Literal(String),
    Field(&'static str),
}

const FIELDS: [&str; 4] = ["application", "environment", "release", "from"];

/// A text that is not a title's template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTitle {
    /// No field with this name.
    #[error(
        "`{{{0}}}` is not a field: write {{application}}, {{environment}}, {{release}} or {{from}}"
    )]
    Unknown(String),
    /// `{` without `}`, or the reverse.
    #[error("`{0}` has a brace without its partner")]
    Brace(String),
    /// A title of one release that reads like that of any other.
    #[error("`{0}` does not say what is proposed: add {{release}}")]
    NoRelease(String),
    /// More than one line, or what cannot be seen.
    #[error("a title is one line of visible characters")]
    Invisible,
}

impl TitleTemplate {
    /// The title, with `value` giving what stands for a field.
    pub fn render<'a>(&self, value: impl Fn(&str) -> &'a str) -> String {
        let piece = |piece: &'_ Piece| match piece {
            Piece::Literal(text) => text.clone(),
            Piece::Field(name) => value(name).to_owned(),
        };
        self.0.iter().map(piece).collect()
    }
}

/// `production: shop v1.4.0`, as the proposal's commit says it.
impl Default for TitleTemplate {
    fn default() -> Self {
        Self(Arc::new([
            Piece::Field("environment"),
            Piece::Literal(": ".to_owned()),
            Piece::Field("application"),
            Piece::Literal(" ".to_owned()),
            Piece::Field("release"),
        ]))
    }
}

impl FromStr for TitleTemplate {
    type Err = InvalidTitle;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.chars().any(crate::shown::is_deceptive) {
            return Err(InvalidTitle::Invisible);
        }
        let parts = parts(text).ok_or_else(|| InvalidTitle::Brace(given(text)))?;
        let piece = |part| match part {
            Part::Literal(text) => Ok(Piece::Literal(text.to_owned())),
            Part::Field(name) => match FIELDS.into_iter().find(|field| *field == name) {
                Some(known) => Ok(Piece::Field(known)),
                None => Err(InvalidTitle::Unknown(given(name))),
            },
        };
        let pieces: Vec<Piece> = parts.into_iter().map(piece).collect::<Result<_, _>>()?;
        match pieces.contains(&Piece::Field("release")) {
            true => Ok(Self(pieces.into())),
            false => Err(InvalidTitle::NoRelease(given(text))),
        }
    }
}

impl fmt::Display for TitleTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Literal(text) => f.write_str(text),
            Piece::Field(name) => write!(f, "{{{name}}}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_read_and_filled() {
        let value = |field: &str| match field {
            "application" => "shop",
            "environment" => "production",
            "release" => "v1.4.0",
            _ => "v1.3.0",
        };
        for (template, title) in [
            ("{release}", "v1.4.0"),
            (
                "deploy({environment}): {application} {from} → {release}",
                "deploy(production): shop v1.3.0 → v1.4.0",
            ),
        ] {
            let parsed: TitleTemplate = template.parse().unwrap();
            assert_eq!(parsed.to_string(), template);
            assert_eq!(parsed.render(value), title);
        }
        let default = TitleTemplate::default();
        assert_eq!(default.to_string().parse(), Ok(default.clone()));
        assert_eq!(default.render(value), "production: shop v1.4.0");
    }

    #[test]
    fn what_is_no_template_is_refused() {
        use InvalidTitle as E;
        let name = |text: &str| text.to_owned();
        for (text, error) in [
            ("", E::NoRelease(name(""))),
            ("{application}", E::NoRelease(name("{application}"))),
            ("{tag} {release}", E::Unknown(name("tag"))),
            ("{release", E::Brace(name("{release"))),
            ("{release}}", E::Brace(name("{release}}"))),
            ("{{release}", E::Brace(name("{{release}"))),
            ("{release}\nx", E::Invisible),
            ("{release}\u{202e}", E::Invisible),
        ] {
            assert_eq!(text.parse::<TitleTemplate>(), Err(error), "{text}");
        }
    }
}
