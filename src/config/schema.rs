//! The JSON Schemas of the configuration's files, made by the very functions that read them.

use serde_json::{Map, Value as Json};

use super::form::Form;
use super::{application, environment, settings, teams};

/// The dialect of the schemas.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// A kind of configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `<environment>/environment.yaml`.
    Environment,
    /// `applications/*.yaml`.
    Applications,
    /// `towpath.yaml`.
    Towpath,
    /// `teams.yaml`.
    Teams,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Environment,
        Self::Applications,
        Self::Towpath,
        Self::Teams,
    ];

    /// Its name: that of its schema, too.
    pub fn name(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::Applications => "applications",
            Self::Towpath => "towpath",
            Self::Teams => "teams",
        }
    }
}

/// The JSON Schema of a kind of file.
pub fn of(kind: Kind) -> Json {
    let (title, schema) = match kind {
        Kind::Environment => ("A Towpath environment", environment::file().schema()),
        Kind::Applications => ("Towpath applications", application::file().schema()),
        Kind::Towpath => ("Towpath's settings", settings::file().schema()),
        Kind::Teams => (
            "Who is in teams that Towpath trusts",
            teams::file().schema(),
        ),
    };
    let mut root = Map::new();
    root.insert("$schema".to_owned(), DIALECT.into());
    root.insert("title".to_owned(), title.into());
    if let Json::Object(schema) = schema {
        root.extend(schema);
    }
    Json::Object(root)
}
