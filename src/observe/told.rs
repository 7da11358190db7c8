//! Tags that a registry told of, until it shows them.
//!
//! Distribution's registry sends its notification before it writes the tag. Who reads the tags at once
//! may therefore not find the one that was told of, and would not hear of it again: it is looked for
//! a few times more, soon.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::backoff::backoff;
use crate::model::Digest;
use crate::model::catalogue::{TagSeen, Tags};

/// How soon a tag that is not there yet is looked for again, the first time; doubled each further time.
const AGAIN_AFTER: Duration = Duration::from_millis(4);

/// How often, about two seconds long. After that it is found when all tags are read the next time.
const TRIES: u32 = 9;

/// Tags waited for at a time; more are found without being waited for.
const TAGS_MAX: usize = 256;

/// See the module.
#[derive(Default)]
pub(super) struct Told {
    tags: Mutex<BTreeMap<String, Awaited>>,
}

#[derive(Clone, Copy)]
struct Awaited {
    digest: Option<Digest>,
    tries: u32,
}

impl Told {
    /// Takes note of a tag, and of what it was said to point to.
    pub(super) fn tell(&self, tag: &str, digest: Option<Digest>) {
        let mut tags = self.tags();
        if tags.len() < TAGS_MAX {
            tags.insert(tag.to_owned(), Awaited { digest, tries: 0 });
        }
    }

    /// Whether the tag was told of and is not known as it was told.
    pub(super) fn is_awaited(&self, tag: &str, known: Option<&TagSeen>) -> bool {
        let tags = self.tags();
        tags.get(tag).is_some_and(|awaited| !awaited.is(known))
    }

    /// Forgets what was found, and what was looked for often enough.
    pub(super) fn found(&self, tags: &Tags) {
        self.tags().retain(|tag, awaited| {
            awaited.tries += 1;
            !awaited.is(tags.get(tag)) && awaited.tries < TRIES
        });
    }

    /// How soon to look again.
    pub(super) fn again_after(&self) -> Option<Duration> {
        let tries = self.tags().values().map(|awaited| awaited.tries).min()?;
        Some(backoff(AGAIN_AFTER, tries.saturating_sub(1), Duration::MAX))
    }

    fn tags(&self) -> MutexGuard<'_, BTreeMap<String, Awaited>> {
        self.tags.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Awaited {
    fn is(&self, seen: Option<&TagSeen>) -> bool {
        seen.is_some_and(|seen| self.digest.is_none_or(|digest| digest == seen.digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    #[test]
    fn what_was_told_is_looked_for_until_it_is_there_but_not_for_ever() {
        let seen = |text: &str| TagSeen {
            digest: Digest::of(text.as_bytes()),
            built: Timestamp::UNIX_EPOCH,
            revision: None,
        };
        let told = Told::default();
        assert_eq!(told.again_after(), None);
        told.tell("v1", Some(Digest::of(b"new")));
        assert!(told.is_awaited("v1", None) && told.is_awaited("v1", Some(&seen("old"))));
        assert!(!told.is_awaited("v1", Some(&seen("new"))) && !told.is_awaited("v2", None));
        let old = Tags::from([("v1".to_owned(), seen("old"))]);
        told.found(&old);
        assert_eq!(told.again_after(), Some(AGAIN_AFTER));
        told.found(&old);
        assert_eq!(told.again_after(), Some(AGAIN_AFTER * 2));
        told.found(&Tags::from([("v1".to_owned(), seen("new"))]));
        assert_eq!(told.again_after(), None);
        told.tell("gone", None);
        (0..TRIES).for_each(|_| told.found(&old));
        assert_eq!(told.again_after(), None);
    }
}
