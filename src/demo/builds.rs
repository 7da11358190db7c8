//! The application's developers and their CI: commits, tags, and one image for each.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use anyhow::Context as _;
use jiff::Timestamp;

use super::checkout::Checkout;
use super::example::BAD;
use super::image::{Image, ImageSpec, Target};
use super::manifests::APPLICATION;
use super::place::Place;
use crate::clock;
use crate::model::Digest;

/// The branch whose build goes to staging.
const BRANCH: &str = "basket";

/// An image that CI built and pushed.
#[derive(Debug, Clone)]
pub struct Build {
    /// The image's tag, which is also the release's name.
    pub tag: String,
    /// The branch or tag it was built from, as a git ref.
    pub reference: String,
    /// The commit it was built from.
    pub commit: String,
    /// What its tag points to.
    pub digest: Digest,
    /// When the registry had taken it.
    pub pushed: Timestamp,
}

/// The application's repository, worked in by its developers.
pub struct Application<'a> {
    place: &'a Place,
    checkout: Checkout,
    /// Images of another registry that good releases are taken from, oldest first.
    lent: Option<RefCell<VecDeque<Image>>>,
}

impl<'a> Application<'a> {
    /// Begins the repository. Nothing is built yet.
    ///
    /// # Errors
    /// Says what `git` answers.
    pub async fn begin(place: &'a Place) -> anyhow::Result<Self> {
        let checkout = place.repository(APPLICATION, "Robin").await?;
        let lent = place.lent().map(RefCell::new);
        Ok(Self {
            place,
            checkout,
            lent,
        })
    }

    /// A push to a branch: one commit, and the image `branch-commit`.
    ///
    /// # Errors
    /// Says what `git` or the registry answers.
    pub async fn branch(&self) -> anyhow::Result<Build> {
        self.checkout
            .git(&["checkout", "--quiet", "-b", BRANCH])
            .await?;
        let commit = self.change("A basket", "a shop with a basket").await?;
        self.checkout
            .git(&["push", "--quiet", "origin", BRANCH])
            .await?;
        let tag = format!("{BRANCH}-{}", commit.get(..7).unwrap_or(&commit));
        self.build(tag, format!("refs/heads/{BRANCH}"), commit)
            .await
    }

    /// Merges the branch into `master`. Nothing is built of that.
    ///
    /// # Errors
    /// Says what `git` answers.
    pub async fn merge(&self) -> anyhow::Result<()> {
        self.checkout
            .git(&["checkout", "--quiet", "master"])
            .await?;
        let message = format!("Merge {BRANCH}");
        self.checkout
            .git(&["merge", "--quiet", "--no-ff", "-m", &message, BRANCH])
            .await?;
        Ok(())
    }

    /// Tags a release on `master`, with one more commit.
    ///
    /// # Errors
    /// Says what `git` or the registry answers.
    pub async fn tag(&self, tag: &str, what: &str) -> anyhow::Result<Build> {
        let commit = self.change(what, what).await?;
        self.checkout
            .git(&["tag", "--annotate", "--message", tag, tag])
            .await?;
        self.checkout
            .git(&["push", "--quiet", "--atomic", "origin", "master", tag])
            .await?;
        self.build(tag.to_owned(), format!("refs/tags/{tag}"), commit)
            .await
    }

    async fn change(&self, message: &str, content: &str) -> anyhow::Result<String> {
        self.checkout
            .commit(&[("README.md", format!("{content}\n"))], message)
            .await
    }

    /// What CI does: build the image of a commit and push it.
    async fn build(&self, tag: String, reference: String, commit: String) -> anyhow::Result<Build> {
        let repository = self.place.git.url(APPLICATION);
        let label = |name: &str| format!("org.opencontainers.image.{name}");
        let labels = BTreeMap::from([
            (label("revision"), commit.clone()),
            (label("source"), repository),
            (label("version"), tag.clone()),
        ]);
        let spec = ImageSpec {
            content: format!("{APPLICATION} {tag}\n"),
            created: Some(clock::now()),
            labels,
            ..ImageSpec::default()
        };
        let repository = self.place.image_repository()?;
        let digest = match self.borrowed(&tag)? {
            Some(image) => {
                self.keep(&image, &tag)?;
                self.place.registry.show(repository.path(), &tag, &image)?
            }
            None => {
                let image = spec.build();
                self.keep(&image, &tag)?;
                let target = Target {
                    registry: &self.place.registry.url(),
                    repository: repository.path(),
                    tag: &tag,
                    authorization: None,
                };
                image.push(&self.place.client, &target).await?
            }
        };
        let pushed = clock::now();
        Ok(Build {
            tag,
            reference,
            commit,
            digest,
            pushed,
        })
    }

    /// The next image that nodes can pull. The bad release is one that they cannot.
    fn borrowed(&self, tag: &str) -> anyhow::Result<Option<Image>> {
        match &self.lent {
            Some(lent) if tag != BAD => {
                let next = lent.borrow_mut().pop_front();
                Ok(Some(next.context("there are fewer images than releases")?))
            }
            _ => Ok(None),
        }
    }

    /// The registry ends with the demo; what was pushed to it stays here as OCI layouts.
    fn keep(&self, image: &Image, tag: &str) -> anyhow::Result<()> {
        let layout: &Path = &self.place.root().join("images").join(tag);
        image
            .write_layout(layout, tag)
            .with_context(|| format!("the image {tag} cannot be kept"))
    }
}
