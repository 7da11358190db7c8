//! The commands: one file each. What they answer goes to a given writer.
//!
//! Owns words and layout for people and scripts. Decides nothing.

pub mod check;
pub mod schema;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// One JSON value.
    Json,
    /// One YAML document.
    Yaml,
}
