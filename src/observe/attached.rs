//! What is attached to images as evidence: of those that decisions rest on, asked for anew from time to time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;

use super::{Observatory, unreadable};
use crate::clock::after;
use crate::git::signer;
use crate::model::{Attachment, Digest, ImageRepository, Pipeline};
use crate::plan::Observed;

/// What people and CI sign documents of evidence for.
const NAMESPACE: &str = "towpath-evidence";

/// How long nobody is asked again.
pub(crate) const AGAIN: Duration = Duration::from_secs(30);

/// For so long what was read counts while it cannot be read again.
const BELIEVED_FOR: Duration = Duration::from_secs(600);

/// An image, by where it is.
pub(super) type Image = (ImageRepository, Digest);

/// What is kept, by repository.
pub(super) type Attached = BTreeMap<ImageRepository, BTreeMap<Digest, Kept>>;

/// What is kept of one image.
pub(super) struct Kept {
    value: Observed<Arc<[Attachment]>>,
    asked: Timestamp,
}

impl Observatory {
    /// Those of the images whose evidence decides something now that are to be asked about.
    pub fn unattached(
        &self,
        mut awaited: BTreeSet<(ImageRepository, Digest)>,
        now: Timestamp,
    ) -> BTreeSet<(ImageRepository, Digest)> {
        let kept = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        awaited.retain(|(repository, digest)| {
            let kept = kept.get(repository).and_then(|it| it.get(digest));
            kept.is_none_or(|it| after(it.asked, AGAIN) <= now)
        });
        awaited
    }

    /// Asks what is attached to these images.
    pub async fn read_attached(
        &self,
        images: &BTreeSet<(ImageRepository, Digest)>,
        now: Timestamp,
    ) {
        let asked = images.iter().map(async |image| {
            let read = self.registry.attached(&image.0, &image.1).await;
            (image.clone(), read)
        });
        let answers = join_all(asked).await;
        let mut kept = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        // What nobody asked about for a while is forgotten.
        kept.retain(|_, images| {
            images.retain(|_, it| it.is_believed(now));
            !images.is_empty()
        });
        for (image, answer) in answers {
            let kept = kept.entry(image.0.clone()).or_default();
            let value = match answer {
                Ok(attached) => Observed::Seen {
                    value: attached.iter().filter_map(|it| read(it, &image)).collect(),
                    at: now,
                },
                Err(error) => failed(kept.get(&image.1), &image, &error.to_string(), now),
            };
            kept.insert(image.1, Kept { value, asked: now });
        }
    }

    /// What is known of a pipeline's images.
    pub(super) fn attached(
        &self,
        pipeline: &Pipeline,
        now: Timestamp,
    ) -> BTreeMap<Image, Observed<Arc<[Attachment]>>> {
        let kept = self.attached.lock().unwrap_or_else(PoisonError::into_inner);
        let its = pipeline.application.images.iter().flat_map(|image| {
            let kept = kept.get(&image.repository).into_iter().flatten();
            let believed = kept.filter(|(_, it)| it.is_believed(now));
            believed.map(|(digest, it)| ((image.repository.clone(), *digest), it.value.clone()))
        });
        its.collect()
    }
}

impl Kept {
    fn is_believed(&self, now: Timestamp) -> bool {
        now < after(self.asked, BELIEVED_FOR)
    }
}

/// What was read before still counts for a while.
fn failed(
    before: Option<&Kept>,
    image: &Image,
    why: &str,
    now: Timestamp,
) -> Observed<Arc<[Attachment]>> {
    match before.map(|it| &it.value) {
        Some(Observed::Seen { value, at }) if now < after(*at, BELIEVED_FOR) => Observed::Seen {
            value: value.clone(),
            at: *at,
        },
        Some(Observed::Unreadable(before)) => {
            let mut unreadable = before.clone();
            why.clone_into(&mut unreadable.why);
            Observed::Unreadable(unreadable)
        }
        _ => Observed::Unreadable(unreadable(&image.0.to_string(), why, now)),
    }
}

/// What an artifact says, and whose key signed it.
fn read(attached: &crate::registry::Attached, (repository, digest): &Image) -> Option<Attachment> {
    let signature = attached.signature.as_ref();
    let signer = signature.and_then(|it| signer(it, NAMESPACE, &attached.document));
    match Attachment::read(&attached.document, digest, signer) {
        Ok(attachment) => Some(attachment),
        Err(why) => {
            tracing::warn!(%repository, %digest, why, "evidence is not as it should be");
            None
        }
    }
}
