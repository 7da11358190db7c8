//! What is told from outside: it names what may have changed, and has that looked at again.
//!
//! Nothing of it is believed, and nothing of it reaches a decision.

use super::Reconciler;
use crate::model::{CommitId, Digest, EvidencePlace, ImageRepository, RepositoryUrl};

/// What came of being told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Heard {
    /// It is about nothing that is looked at.
    Unknown,
    /// It is known already.
    Known,
    /// It is looked at again, at once.
    LooksAgain,
}

impl Heard {
    fn from(known: bool, news: bool) -> Self {
        match (known, news) {
            (false, _) => Self::Unknown,
            (true, false) => Self::Known,
            (true, true) => Self::LooksAgain,
        }
    }
}

impl Reconciler {
    /// Says that refs of a git repository may have changed; with `moved`, only that this one now holds
    /// this commit (or is gone).
    pub fn hear_of_git(
        &self,
        url: &RepositoryUrl,
        moved: Option<(&str, Option<CommitId>)>,
    ) -> Heard {
        let infra = self.observatory.infra.get(url);
        let history = self.observatory.histories.get(url);
        let (mut known, mut news) = (false, false);
        if let Some(infra) = infra {
            known = true;
            if moved.is_none_or(|(name, after)| infra.would_be_news(name, after)) {
                if let Some((_, Some(after))) = moved {
                    infra.reader.tell(after);
                }
                infra.source.mark_stale();
                news = true;
            }
        }
        if let Some(history) = history {
            known = true;
            if moved.is_none_or(|(name, after)| history.would_be_news(name, after)) {
                history.source.mark_stale();
                news = true;
            }
        }
        Heard::from(known, news)
    }

    /// Says that requests of a repository, their reviews or checks may have changed. With `gate: branch`
    /// there are none but branches, which are told of as such.
    pub fn hear_of_requests(&self, url: &RepositoryUrl) -> Heard {
        match self.observatory.requests.get(url) {
            Some(requests) => {
                requests.source.mark_stale();
                Heard::LooksAgain
            }
            None => self.is_about(url),
        }
    }

    /// Says that something was reported of a commit, under this name: evidence that is asked of the forge.
    pub fn hear_of_check(&self, url: &RepositoryUrl, name: &str) -> Heard {
        let told = self.observatory.evidence_was_told_of(|place| match place {
            EvidencePlace::Check(check, _) => check.source == *url && check.name == name,
            EvidencePlace::Registry(_) | EvidencePlace::Endpoint(_) => false,
        });
        if !told {
            return self.is_about(url);
        }
        self.wake(|towed| {
            let source = towed.pipeline.application.source.as_ref();
            source.is_some_and(|source| source.url == *url)
        });
        Heard::LooksAgain
    }

    /// Whether a repository is looked at.
    pub fn is_about(&self, url: &RepositoryUrl) -> Heard {
        let observatory = &self.observatory;
        let known = observatory.infra.contains_key(url) || observatory.histories.contains_key(url);
        Heard::from(known, false)
    }

    /// Says that an image repository may have changed, and which tag of it points to what now. What is attached to
    /// its images may be another, too.
    pub fn hear_of_images(
        &self,
        repository: &ImageRepository,
        tag: Option<(&str, Option<Digest>)>,
    ) -> Heard {
        let Some(source) = self.observatory.tags.get(repository) else {
            return Heard::Unknown;
        };
        if let Some((tag, digest)) = tag {
            source.reader.tell(tag, digest);
        }
        source.source.mark_stale();
        let told = self.observatory.evidence_was_told_of(
            |place| matches!(place, EvidencePlace::Registry(of) if of == repository),
        );
        if told {
            self.wake(|towed| {
                let mut images = towed.pipeline.application.images.iter();
                images.any(|it| it.repository == *repository)
            });
        }
        Heard::LooksAgain
    }

    /// The git repositories that are looked at.
    pub fn repositories(&self) -> impl Iterator<Item = &RepositoryUrl> {
        let observatory = &self.observatory;
        let histories = observatory.histories.keys();
        let histories = histories.filter(|url| !observatory.infra.contains_key(*url));
        observatory.infra.keys().chain(histories)
    }

    /// The image repositories that are looked at.
    pub fn image_repositories(&self) -> impl Iterator<Item = &ImageRepository> {
        self.observatory.tags.keys()
    }
}
