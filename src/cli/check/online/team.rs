//! Whether the people of the teams that `authority` names are those whom the configuration lists.

use super::{Level, Question, Said};
use crate::cli::setup::Setup;
use crate::cli::teams::{self, Named};

/// What to do about a difference.
const WRITE: &str = "`towpath teams --write` writes who it is now, to be committed";

/// A question for each team.
pub(super) fn all<'a>(setup: &'a Setup, named: &'a [Named]) -> Vec<Question<'a>> {
    let ask = |one: &'a Named| {
        Question::new("team", one.team.to_string(), async move {
            let Some(forge) = &one.forge else {
                let what = "no forge tells who is in it";
                return vec![Said::new(Level::Unknown, what)];
            };
            match teams::found(setup, one).await {
                Err(error) => vec![Said::new(Level::Error, error.to_string())],
                Ok(found) => {
                    let people = match found.members.len() {
                        1 => "1 person".to_owned(),
                        number => format!("{number} people"),
                    };
                    let mut said = vec![Said::new(
                        Level::Ok,
                        format!("{people}, as {} tells", forge.name()),
                    )];
                    said.extend(found.differences.iter().map(|it| {
                        // Somebody who may more than they should, and somebody who may less.
                        let level = if it.is_grave() {
                            Level::Error
                        } else {
                            Level::Warning
                        };
                        Said::new(level, it.to_string()).or(WRITE)
                    }));
                    let unusable = found.unusable.into_iter();
                    said.extend(unusable.map(|why| Said::new(Level::Warning, why)));
                    said
                }
            }
        })
    };
    named.iter().map(ask).collect()
}
