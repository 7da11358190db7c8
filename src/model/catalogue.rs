//! The catalogue: the releases of an application that exist in its registries.
//!
//! Assembled from tags and images; never looks anything up itself. Which of its releases an
//! environment may take is a question of what that environment follows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use semver::Version;

use super::{
    Contents, Digest, Digests, FlatMap, Follow, ImageRepository, ImageSource, ImageVersion, Rank,
    Release, parse_version,
};

/// What one tag of one image repository points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagSeen {
    /// What it points to.
    pub digest: Digest,
    /// When that image was made.
    pub built: Timestamp,
    /// The commit it says it was made from (`org.opencontainers.image.revision`).
    pub revision: Option<String>,
}

/// The tags of interest of one repository.
pub type Tags = FlatMap<String, TagSeen>;

/// Every tag of interest, by repository and tag.
pub type TagsSeen = BTreeMap<ImageRepository, Arc<Tags>>;

/// What was built together, by repository: the tag, and what it points to.
type Group<'a> = FlatMap<&'a ImageRepository, (&'a str, &'a TagSeen)>;

/// The releases of an application.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Catalogue {
    builds: Vec<Build>,
    /// Releases that lack images: their name, and which repositories lack it.
    pub incomplete: Vec<Incomplete>,
    tags: FlatMap<ImageRepository, FlatMap<String, Digest>>,
}

/// A release that lacks images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incomplete {
    /// Its name.
    pub name: String,
    /// Whether it is a tagged release.
    tagged: bool,
    /// The version, where it is a tagged release.
    pub version: Option<Version>,
    /// The branch, where it is a branch build.
    pub branch: Option<String>,
    /// When the newest of its images was made.
    pub built: Timestamp,
    /// The repositories in which it is missing.
    pub missing: Vec<ImageRepository>,
}

/// One name of a set of images.
#[derive(Debug, Clone, PartialEq)]
struct Build {
    release: Release,
    branch: Option<String>,
}

impl Build {
    fn version(&self) -> Option<&Version> {
        self.release.rank.version.as_ref()
    }
}

/// What tags of different images have in common when they were built together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Branch {
        branch: Option<String>,
        commit: Option<String>,
        tag: Option<String>,
    },
    Tag(String),
}

impl Catalogue {
    /// Puts together what was built together.
    ///
    /// `bounds` gives, for a build's commit, a moment before which the build must rank: the time
    /// of the oldest build of a descendant commit, so that a rebuilt old commit never wins.
    pub fn assemble(
        sources: &[ImageSource],
        seen: &TagsSeen,
        bounds: &BTreeMap<String, Timestamp>,
    ) -> Self {
        let mut catalogue = Self::default();
        let mut groups: BTreeMap<Key, Group<'_>> = BTreeMap::new();
        for source in sources {
            let of_source = seen.get(&source.repository).into_iter();
            let of_source = of_source.flat_map(|tags| tags.iter());
            let digests = of_source
                .clone()
                .map(|(tag, image)| (tag.clone(), image.digest));
            catalogue
                .tags
                .insert(source.repository.clone(), digests.collect());
            for (tag, image) in of_source {
                for key in keys(source, tag) {
                    let group = groups.entry(key).or_default();
                    group.insert(&source.repository, (tag, image));
                }
            }
        }
        for (key, images) in groups {
            catalogue.add(sources, key, images, bounds);
        }
        catalogue
    }

    fn add(
        &mut self,
        sources: &[ImageSource],
        key: Key,
        images: Group<'_>,
        bounds: &BTreeMap<String, Timestamp>,
    ) {
        let Some((name, newest)) = images.values().max_by_key(|(_, image)| image.built) else {
            return;
        };
        let name = match &key {
            Key::Tag(tag) => tag.clone(),
            Key::Branch { .. } => (*name).to_owned(),
        };
        let (branch, version, named) = match &key {
            Key::Branch { branch, commit, .. } => (branch.clone(), None, commit.clone()),
            Key::Tag(tag) => (None, parse_version(tag), None),
        };
        let commit = newest.revision.clone().or(named);
        let missing: Vec<_> = sources
            .iter()
            .filter(|source| template(source, &key).is_some())
            .filter(|source| !images.contains_key(&source.repository))
            .map(|source| source.repository.clone())
            .collect();
        if !missing.is_empty()
            || sources
                .iter()
                .any(|source| !images.contains_key(&source.repository))
        {
            let tagged = matches!(key, Key::Tag(_));
            self.incomplete.push(Incomplete {
                name,
                tagged,
                version,
                branch,
                built: newest.built,
                missing,
            });
            return;
        }
        let bound = commit.as_ref().and_then(|commit| bounds.get(commit));
        let built = bound.map_or(newest.built, |bound| newest.built.min(*bound));
        let images = images.into_iter().map(|(repository, (tag, image))| {
            (
                repository.clone(),
                ImageVersion {
                    tag: Some(tag.to_owned()),
                    digest: image.digest,
                },
            )
        });
        let release = Release::from(Contents {
            name,
            images: images.collect(),
            rank: Rank { version, built },
            commit,
        });
        self.builds.push(Build { release, branch });
    }

    /// The releases that an environment following this may take, oldest first. Empty where it
    /// follows environments: there, records say what may go on.
    pub fn releases(&self, follow: &Follow) -> Vec<Release> {
        let admitted = |build: &&Build| match follow {
            Follow::Branches(filter) => build
                .branch
                .as_ref()
                .is_some_and(|branch| filter.takes(branch)),
            Follow::Tags(range) => build.version().is_some_and(|it| range.takes(it)),
            Follow::Environments { .. } => false,
        };
        let admitted = self.builds.iter().filter(admitted);
        let mut releases: Vec<_> = admitted.map(|build| build.release.clone()).collect();
        releases.sort_by(Release::compare);
        releases
    }

    /// The incomplete releases that an environment following this would take.
    pub fn incomplete(&self, follow: &Follow) -> Vec<&Incomplete> {
        let admitted = |incomplete: &&Incomplete| match follow {
            Follow::Branches(filter) => incomplete
                .branch
                .as_ref()
                .is_some_and(|branch| filter.takes(branch)),
            Follow::Tags(range) => {
                incomplete.tagged
                    && incomplete
                        .version
                        .as_ref()
                        .is_some_and(|it| range.takes(it))
            }
            Follow::Environments { .. } => false,
        };
        self.incomplete.iter().filter(admitted).collect()
    }

    /// The release with these digests, preferring a version's name over a branch build's.
    pub fn find(&self, digests: &Digests) -> Option<Release> {
        let builds = self.builds.iter().filter(|build| build.release.is(digests));
        builds
            .max_by(|a, b| {
                let (a, b) = (&a.release.rank, &b.release.rank);
                a.version.cmp(&b.version).then(a.built.cmp(&b.built))
            })
            .map(|build| build.release.clone())
    }

    /// What a tag points to.
    pub fn tag(&self, repository: &ImageRepository, tag: &str) -> Option<Digest> {
        self.tags.get(repository)?.get(tag).copied()
    }

    /// The releases that another catalogue does not have, under the first of their names.
    pub fn since(&self, before: &Self) -> Vec<Release> {
        let mut known: BTreeSet<Digests> = before.all().map(|it| it.digests()).collect();
        let new = self.all().filter(|it| known.insert(it.digests()));
        new.collect()
    }

    /// Every release under every name, for views and for telling what is new.
    pub fn all(&self) -> impl Iterator<Item = Release> + '_ {
        self.builds.iter().map(|build| build.release.clone())
    }
}

/// What this tag may be: a branch build, a release build, or both.
fn keys(source: &ImageSource, tag: &str) -> Vec<Key> {
    let mut keys = Vec::new();
    if let Some(parts) = source
        .branch_tag
        .as_ref()
        .and_then(|template| template.matches(tag))
    {
        keys.push(Key::Branch {
            branch: parts.branch,
            commit: parts.commit,
            tag: parts.tag,
        });
    }
    if let Some(parts) = source
        .release_tag
        .as_ref()
        .and_then(|template| template.matches(tag))
    {
        // What does not read as a version is no release: `latest` fits `{tag}` too.
        if let Some(tag) = parts.tag.filter(|tag| parse_version(tag).is_some()) {
            keys.push(Key::Tag(tag));
        }
    }
    keys
}

fn template<'a>(source: &'a ImageSource, key: &Key) -> Option<&'a super::TagTemplate> {
    match key {
        Key::Branch { .. } => source.branch_tag.as_ref(),
        Key::Tag(_) => source.release_tag.as_ref(),
    }
}

/// The commit a tag's image was built from, as far as the image or the tag says.
pub fn commit_of(source: &ImageSource, tag: &str, seen: &TagSeen) -> Option<String> {
    let named = || {
        let templates = [&source.branch_tag, &source.release_tag]
            .into_iter()
            .flatten();
        templates
            .filter_map(|template| template.matches(tag))
            .find_map(|parts| parts.commit)
    };
    seen.revision.clone().or_else(named)
}

#[cfg(test)]
mod tests;
