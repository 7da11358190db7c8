//! What happened at the servers, as people read it.

use super::ledger::{Fact, Images, Ledger};

impl Fact {
    /// One line.
    pub(super) fn line(&self, ledger: &Ledger) -> String {
        let place = |at: usize| ledger.shape.places.get(at).map_or("?", |it| it.name);
        let named = |images: &Option<Images>| match images {
            Some(images) => ledger.name(images),
            None => "nothing".to_owned(),
        };
        match self {
            Self::Wrote {
                unit,
                before,
                after,
                commit,
                forward,
            } => {
                let back = if *forward { "" } else { " (back)" };
                format!(
                    "{} {}: {} -> {} {}{back}",
                    place(unit.0),
                    unit.1,
                    named(before),
                    named(after),
                    commit.short()
                )
            }
            Self::Proposed { unit, images } => {
                format!("{} {}: proposed {}", place(unit.0), unit.1, named(images))
            }
            Self::Recorded { place: at, record } => {
                let of = record.application.as_ref().map_or("", |it| it.as_str());
                format!(
                    "{} {of}: {} (of {} by {})",
                    place(*at),
                    record.statement,
                    record.commit.short(),
                    record.by
                )
            }
            Self::Forgot { place: at, detail } => format!("{}: {detail}", place(*at)),
            Self::Pruned { unit, object, .. } => {
                format!("{} {}: deleted {object}", place(unit.0), unit.1)
            }
            Self::SetBack { unit, object } => {
                format!("{} {}: {object} set back", place(unit.0), unit.1)
            }
            Self::Leaked { at } => format!("a secret in {at}"),
            Self::PrunedAtOnce { unit, kinds, .. } => {
                format!(
                    "{} {}: {} went at once",
                    place(unit.0),
                    unit.1,
                    kinds.join(", ")
                )
            }
            Self::OpenedTwice { unit } => {
                format!("{} {}: two open requests", place(unit.0), unit.1)
            }
        }
    }
}
