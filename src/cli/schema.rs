//! `towpath schema`: the JSON Schemas of the configuration's files, for editors.

use std::io::{self, Write};

use clap::ValueEnum;
use clap::builder::PossibleValue;
use serde_json::{Map, Value as Json};

use crate::config::schema::{self, Kind};

/// Print the JSON Schema of a configuration file, for editors
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The kind of file; without it, an object with the schemas of all
    pub file: Option<Kind>,
}

impl ValueEnum for Kind {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Environment => "<environment>/environment.yaml",
            Self::Applications => "applications/*.yaml",
            Self::Towpath => "towpath.yaml",
            Self::Teams => "teams.yaml",
        };
        Some(PossibleValue::new(self.name()).help(help))
    }
}

/// Writes the schema. The exit code is always 0.
///
/// # Errors
/// The writer's.
pub fn run(args: &Args, out: &mut dyn Write) -> io::Result<u8> {
    let schema = match args.file {
        Some(kind) => schema::of(kind),
        None => {
            let all = Kind::ALL.map(|kind| (kind.name().to_owned(), schema::of(kind)));
            Json::Object(Map::from_iter(all))
        }
    };
    writeln!(out, "{schema:#}")?;
    Ok(0)
}
