//! Which source commits lie between two releases, and where they are seen.

use super::link::Page;
use super::{About, Built};
use crate::model::{Digest, ImageRepository, Release};

/// The source commits that one or more images of the two releases were built from.
#[derive(PartialEq, Eq)]
pub(super) struct Range {
    /// The commit of what is replaced.
    before: Option<String>,
    /// The commit of what is proposed.
    after: String,
    /// Where the difference, or the commit, is seen.
    pub(super) address: Option<String>,
}

impl Range {
    /// What it goes from and to, shortened; without the former where it is the same, or not known.
    pub(super) fn ends(&self) -> (Option<&str>, &str) {
        let before = self.before.as_deref().filter(|it| !self.same(it));
        (before.map(short), short(&self.after))
    }

    /// Whether nothing lies between the two.
    pub(super) fn is_empty(&self) -> bool {
        self.before.as_deref().is_some_and(|it| self.same(it))
    }

    /// Commits in tags are shortened.
    fn same(&self, before: &str) -> bool {
        before.starts_with(&self.after) || self.after.starts_with(before)
    }
}

/// The ranges of the proposed images, each once, in the order of the images.
pub(super) fn ranges(about: &About) -> Vec<Range> {
    let mut ranges = Vec::new();
    for (repository, image) in &about.release.images {
        let Some(range) = range(about, repository, image.digest) else {
            continue;
        };
        if !ranges.contains(&range) {
            ranges.push(range);
        }
    }
    ranges
}

fn range(about: &About, repository: &ImageRepository, digest: Digest) -> Option<Range> {
    let built = about.built.get(&digest);
    let after = revision(built, &about.release)?;
    let before = about.instead_of.as_ref().and_then(|release| {
        let image = release.images.get(repository)?;
        revision(about.built.get(&image.digest), release)
    });
    let said = built.and_then(|built| built.source.as_deref()?.parse().ok());
    let page = about.source.as_ref().or(said.as_ref()).and_then(Page::of);
    let mut range = Range {
        before,
        after,
        address: None,
    };
    range.address = page.map(|page| match &range.before {
        Some(before) if !range.same(before) => page.compare(before, &range.after),
        _ => page.commit(&range.after),
    });
    Some(range)
}

/// The commit that an image says, else the one that its tag says. Anything but a commit is nothing.
fn revision(built: Option<&Built>, release: &Release) -> Option<String> {
    let said = built.and_then(|built| built.revision.as_deref());
    let candidates = [said, release.commit.as_deref()];
    let commit = candidates.into_iter().flatten().find(|it| is_commit(it))?;
    Some(commit.to_ascii_lowercase())
}

fn is_commit(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}
