//! The commands: one file each. Answers go to stdout, everything else to stderr.
//!
//! Owns words and layout for people and scripts. Decides nothing.

pub mod check;
pub mod schema;
pub mod set_image;

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
