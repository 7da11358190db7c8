//! Whether what somebody tells of a ref would be news, by what is kept. No request.

use super::{HistorySource, InfraSource};
use crate::model::CommitId;

impl InfraSource {
    /// Whether a ref that now holds this (`None`: that is gone) would be news: it is one of those that
    /// are read, and was last seen elsewhere. Our own pushes are not.
    pub fn would_be_news(&self, reference: &str, after: Option<CommitId>) -> bool {
        if !self.reader.reads(reference) {
            return false;
        }
        let seen = self.source.observed();
        let Ok(seen) = seen.read() else { return true };
        let held = seen.refs.get(reference).map(|shown| CommitId(shown.id));
        held != after
    }
}

impl HistorySource {
    /// Whether a ref that now holds this would be news: a branch's commit that is known is not, nor is
    /// that a ref is gone.
    pub fn would_be_news(&self, reference: &str, after: Option<CommitId>) -> bool {
        let Some(after) = after else { return false };
        let Some(known) = self.reader.known() else {
            return true;
        };
        match reference.strip_prefix("refs/tags/") {
            Some(tag) => known.tagged(tag) != Some(after),
            None => known.time(after).is_none(),
        }
    }
}
