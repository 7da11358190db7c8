//! What the records tell that a receiver was not told.

use gix::ObjectId;

use super::super::news::{Known, News, of_records};
use super::{Lane, State, Stop};
use crate::git::Commit;
use crate::git::notes::{NotesError, read_added, read_unit, records_ref};
use crate::model::CommitId;
use crate::model::record::UnitRecords;
use crate::observe::RecordsSeen;

/// So far back it is looked at first for what was told before.
const NEAR: usize = 64;

/// So far back it is looked at all: of what came before that, nothing is told any more.
const FAR: usize = 10_000;

/// How the records lie to what was told of them.
pub(super) enum Gap {
    /// They go on from there: in so many commits, of which this process made some or none.
    Known { commits: usize, is_own: bool },
    /// There are newer ones, which were not read yet.
    Behind,
    /// What was told of stands nowhere among them.
    Lost,
}

impl Lane {
    /// How the records lie to what was told of them up to there.
    pub(super) async fn gap(&self, from: Option<CommitId>, head: CommitId) -> Result<Gap, Stop> {
        let repository = self.repository();
        let is_own = |commits: &[Commit]| commits.iter().any(|it| repository.is_own(it.id.0));
        let Some(from) = from else {
            let is_own = repository.is_own(head.0);
            let commits = 0;
            return Ok(Gap::Known { commits, is_own });
        };
        let stop = move |commit: &Commit| commit.id == from;
        for limit in [NEAR, FAR] {
            let walk = repository.first_parents(head, &stop, limit).await?;
            if let Some((last, newer)) = walk.commits.split_last()
                && last.id == from
            {
                return Ok(Gap::Known {
                    commits: newer.len(),
                    is_own: is_own(newer),
                });
            }
            if limit == NEAR {
                let name = records_ref(&self.place.environment);
                let refs = repository.look(std::slice::from_ref(&name)).await?;
                if refs.get(&name).map(|shown| CommitId(shown.id)) != Some(head) {
                    return Ok(Gap::Behind);
                }
            }
        }
        Ok(Gap::Lost)
    }

    /// What these records tell that was not told before.
    pub(super) async fn news(
        &self,
        state: &State,
        from: Option<CommitId>,
        seen: RecordsSeen,
    ) -> Result<Vec<News>, Stop> {
        let Some(entry) = &state.entry else {
            return Ok(Vec::new());
        };
        if from == Some(seen.head) {
            return Ok(Vec::new());
        }
        let before: Option<ObjectId> = match from {
            Some(from) => {
                let tree = self
                    .place
                    .infra
                    .reader
                    .records_at(&self.place.environment, from);
                Some(tree.await.map_err(Stop::Broken)?)
            }
            None => None,
        };
        let added = read_added(self.repository(), before, seen.tree)?;
        let news = of_records(added, |application| {
            let records = match before {
                Some(tree) => read_unit(self.repository(), tree, application)?,
                None => UnitRecords::default(),
            };
            let is_gated = self.place.gated.contains(application);
            Ok::<_, NotesError>(Known { records, is_gated })
        })?;
        let is_told = |news: &News| {
            let since = entry.on.get(news.occasion.name());
            since.is_some_and(|since| *since <= news.at) && !entry.sent.contains(&news.key)
        };
        Ok(news.into_iter().filter(is_told).collect())
    }
}
