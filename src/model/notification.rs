//! Notifications: who is told of what, and in which words.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::braces::{Part, parts};
use super::{Credential, EnvironmentName, NotificationName};

/// Somebody who is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// What it is known by: in metrics, in the log, and in the ref that says what was sent.
    pub name: NotificationName,
    /// Who is told, and in which form.
    pub receiver: Receiver,
    /// Of what.
    pub on: BTreeSet<Occasion>,
    /// Of which environments; `None`: of all.
    pub environments: Option<BTreeSet<EnvironmentName>>,
    /// How long a unit waits for one reason before that is told.
    pub stuck_after: Duration,
    /// The words; `None`: Towpath's own.
    pub template: Option<MessageTemplate>,
}

impl Notification {
    /// Whether it is about this environment.
    pub fn is_about(&self, environment: &EnvironmentName) -> bool {
        let named = self.environments.as_ref();
        named.is_none_or(|named| named.contains(environment))
    }
}

/// Who is told, and in which form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receiver {
    /// An incoming webhook of Slack, or of what takes the same.
    Slack {
        /// Where it is.
        url: WebAddress,
    },
    /// A JSON document to whoever takes it.
    Webhook {
        /// Where it is.
        url: WebAddress,
        /// What it is signed with.
        secret: Option<Credential>,
    },
}

impl Receiver {
    /// Where it is.
    pub fn url(&self) -> &WebAddress {
        match self {
            Self::Slack { url } | Self::Webhook { url, .. } => url,
        }
    }
}

/// An address that may be a secret by itself: neither `Debug` nor `Display` shows more than its host.
#[derive(Clone, PartialEq, Eq)]
pub enum WebAddress {
    /// As it stands in the configuration.
    Plain(::url::Url),
    /// The name of the secret that holds it.
    Named(Credential),
}

impl fmt::Display for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(url) => write!(
                f,
                "{}://{}",
                url.scheme(),
                url.host_str().unwrap_or_default()
            ),
            Self::Named(Credential::Environment { variable, .. }) => {
                write!(f, "the address in environment variable {variable}")
            }
            Self::Named(Credential::File { path, .. }) => {
                write!(f, "the address in file {}", path.display())
            }
            Self::Named(Credential::Default) => f.write_str("no address"),
        }
    }
}

impl fmt::Debug for WebAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebAddress({self})")
    }
}

/// What may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Occasion {
    /// A release is proposed to a gated environment.
    Proposed,
    /// A person declined it.
    Declined,
    /// A deployment to a gated environment is healthy.
    Healthy,
    /// A deployment failed.
    Failed,
    /// Health was lost while a release soaked.
    Degraded,
    /// A person stopped everything.
    Held,
    /// That ended.
    Resumed,
    /// A person stopped what comes by itself.
    Frozen,
    /// That ended.
    Thawed,
    /// A gated branch changed without a merged proposal.
    Ungated,
    /// A unit waits for one reason for long.
    Stuck,
}

impl Occasion {
    /// Every one.
    pub const ALL: [Self; 11] = [
        Self::Proposed,
        Self::Declined,
        Self::Healthy,
        Self::Failed,
        Self::Degraded,
        Self::Held,
        Self::Resumed,
        Self::Frozen,
        Self::Thawed,
        Self::Ungated,
        Self::Stuck,
    ];

    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Declined => "declined",
            Self::Healthy => "healthy",
            Self::Failed => "failed",
            Self::Degraded => "degraded",
            Self::Held => "held",
            Self::Resumed => "resumed",
            Self::Frozen => "frozen",
            Self::Thawed => "thawed",
            Self::Ungated => "ungated",
            Self::Stuck => "stuck",
        }
    }

    /// The occasion of this word.
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == word)
    }
}

impl fmt::Display for Occasion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The template of a message: text and fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageTemplate(Arc<[Piece]>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Field(Field),
}

/// What may stand in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The application's name; empty where it is about the whole environment.
    Application,
    /// The environment's name.
    Environment,
    /// The release, as it is shown.
    Release,
    /// The [`Occasion`]'s word.
    Event,
    /// What was said or seen.
    Reason,
    /// The deployment's number.
    Number,
    /// Who said it.
    By,
    /// A page about it.
    Url,
    /// All of it, in Towpath's words.
    Text,
}

impl Field {
    const ALL: [(&'static str, Self); 9] = [
        ("application", Self::Application),
        ("environment", Self::Environment),
        ("release", Self::Release),
        ("event", Self::Event),
        ("reason", Self::Reason),
        ("number", Self::Number),
        ("by", Self::By),
        ("url", Self::Url),
        ("text", Self::Text),
    ];
}

/// A text that is not a message's template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMessage {
    /// No field with this name.
    #[error(
        "`{{{0}}}` is not a field: write {{application}}, {{environment}}, {{release}}, {{event}}, {{reason}}, {{number}}, {{by}}, {{url}} or {{text}}"
    )]
    Unknown(String),
    /// `{` without `}`, or the reverse.
    #[error("it has a brace without its partner")]
    Brace,
    /// What cannot be seen.
    #[error("it holds what cannot be seen")]
    Invisible,
}

impl MessageTemplate {
    /// The message, with `value` giving what stands for a field.
    pub fn render(&self, value: impl Fn(Field) -> String) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Literal(text) => text.clone(),
            Piece::Field(field) => value(*field),
        };
        self.0.iter().map(piece).collect()
    }
}

impl FromStr for MessageTemplate {
    type Err = InvalidMessage;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text
            .chars()
            .any(|c| c != '\n' && crate::shown::is_deceptive(c))
        {
            return Err(InvalidMessage::Invisible);
        }
        let parts = parts(text).ok_or(InvalidMessage::Brace)?;
        let piece = |part| match part {
            Part::Literal(text) => Ok(Piece::Literal(text.to_owned())),
            Part::Field(name) => match Field::ALL.iter().find(|(field, _)| *field == name) {
                Some((_, known)) => Ok(Piece::Field(*known)),
                None => Err(InvalidMessage::Unknown(name.to_owned())),
            },
        };
        let pieces: Vec<Piece> = parts.into_iter().map(piece).collect::<Result<_, _>>()?;
        Ok(Self(pieces.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_has_known_fields_alone() {
        for (template, message) in [
            (
                "{environment}: {application} {release}",
                Ok("Environment: Application Release"),
            ),
            ("two\nlines {text}", Ok("two\nlines Text")),
            ("nothing", Ok("nothing")),
            (
                "{realease}",
                Err(InvalidMessage::Unknown("realease".to_owned())),
            ),
            ("{text", Err(InvalidMessage::Brace)),
            ("\u{202e}{text}", Err(InvalidMessage::Invisible)),
        ] {
            let parsed = template.parse::<MessageTemplate>();
            let rendered = parsed.map(|it| it.render(|field| format!("{field:?}")));
            assert_eq!(rendered, message.map(str::to_owned), "{template}");
        }
    }

    #[test]
    fn an_address_shows_its_host_alone() {
        let plain = WebAddress::Plain("https://hooks.example.com/T0/B0/hunter2".parse().unwrap());
        for shown in [plain.to_string(), format!("{plain:?}")] {
            assert!(shown.contains("hooks.example.com"), "{shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
