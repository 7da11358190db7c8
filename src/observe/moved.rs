//! What somebody tells of a ref: whether it would be news by what is kept, and having it looked for. No request.

use std::collections::BTreeSet;
use std::sync::{MutexGuard, PoisonError};

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

    /// Has a commit looked for that is said to be on a branch. A look that is on its way may find it: then no
    /// other follows.
    pub fn seek(&self, commit: CommitId) {
        match self.looking().as_mut() {
            Some(sought) => drop(sought.insert(commit)),
            None if self.knows(commit) => {}
            None => self.source.mark_stale(),
        }
    }

    pub(super) fn knows(&self, commit: CommitId) -> bool {
        let seen = self.source.observed();
        seen.read().is_ok_and(|seen| seen.is_behind(commit))
    }

    pub(super) fn looking(&self) -> MutexGuard<'_, Option<BTreeSet<CommitId>>> {
        self.looking.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use jiff::Timestamp;

    use super::*;
    use crate::git::Repository;
    use crate::git::memory::{Call, MemoryRemote};
    use crate::model::{DeploymentTags, KeepTags};
    use crate::observe::{InfraReader, Place, Source};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn source(remote: &MemoryRemote) -> InfraSource {
        let place = Place {
            branch: "main".to_owned(),
            tags: DeploymentTags {
                keep: KeepTags::All,
                prefix: "deployment-".to_owned(),
            },
            queued: false,
            authority: Arc::default(),
        };
        let places = BTreeMap::from([("qa".parse().unwrap(), place)]);
        let repository = Repository::in_memory(Arc::new(remote.clone()));
        InfraSource {
            reader: InfraReader::new(repository, places),
            source: Source::new("infra", NOW),
            looking: Mutex::default(),
        }
    }

    fn commit(remote: &MemoryRemote, text: &str) -> CommitId {
        let files = [("kubernetes/shop.yaml", Some(text))];
        let person = remote.person("Ann");
        person.commit("main", &files, text, NOW).unwrap()
    }

    #[tokio::test]
    async fn what_should_be_there_is_looked_for_once() {
        let remote = MemoryRemote::new("infra");
        let first = commit(&remote, "a");
        let infra = source(&remote);
        let never = CommitId(gix::ObjectId::null(gix::hash::Kind::Sha1));
        for (sought, while_looking, looks_again) in [
            (first, true, false),
            (first, false, false),
            (never, true, true),
            (never, false, true),
        ] {
            let seek = async { infra.seek(sought) };
            match while_looking {
                true => drop(tokio::join!(infra.read(NOW), seek)),
                false => seek.await,
            }
            let case = format!("{sought}, {while_looking}");
            assert_eq!(infra.source.stale().clear(), looks_again, "{case}");
        }
    }

    #[tokio::test]
    async fn what_is_told_of_is_brought_and_not_believed() {
        let remote = MemoryRemote::new("infra");
        let first = commit(&remote, "a");
        let infra = source(&remote);
        let asked = || [Call::Advertise, Call::Fetch].map(|call| remote.calls(call));
        let nowhere = CommitId(gix::ObjectId::null(gix::hash::Kind::Sha1));
        for (told, expected) in [
            (Some(first), [1, 1]),
            (None, [2, 1]),
            (Some(nowhere), [3, 2]),
            (None, [4, 2]),
        ] {
            if let Some(told) = told {
                infra.reader.tell(told);
            }
            infra.read(NOW).await;
            let seen = infra.source.observed();
            let seen = seen.read().unwrap().head(&"qa".parse().unwrap());
            assert_eq!((seen, asked()), (Some(first), expected), "{told:?}");
        }
    }
}
