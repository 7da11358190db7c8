//! Evidence that others hold, attached to images, answered of them, or reported of their commits: of those that
//! decisions rest on, asked for anew from time to time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::time::timeout;

use super::{Observatory, unreadable};
use crate::clock::after;
use crate::git::signer;
use crate::model::{
    Attachment, Digest, EvidenceCheck, EvidencePlace, ImageRepository, Pipeline, Said,
};
use crate::plan::Observed;

/// Asking for a check, of the registry and of a forge, may take as long as asking an endpoint.
const CHECKED_WITHIN: Duration = Duration::from_secs(10);

/// What people and CI sign documents of evidence for.
const NAMESPACE: &str = "towpath-evidence";

/// How long nobody is asked again.
pub(crate) const AGAIN: Duration = Duration::from_secs(30);

/// For so long what was read counts while it cannot be read again.
const BELIEVED_FOR: Duration = Duration::from_secs(600);

/// An image, and where evidence of it is asked for.
pub(super) type Image = (EvidencePlace, Digest);

/// What is kept, by where it was asked for.
pub(super) type Attached = BTreeMap<EvidencePlace, BTreeMap<Digest, Kept>>;

/// What is kept of one image.
pub(super) struct Kept {
    value: Observed<Said>,
    asked: Timestamp,
    /// Somebody told since then that it may be otherwise.
    told: bool,
}

impl Observatory {
    /// Those of the images whose evidence decides something now that are to be asked about.
    pub fn unattached(
        &self,
        mut awaited: BTreeSet<(EvidencePlace, Digest)>,
        now: Timestamp,
    ) -> BTreeSet<(EvidencePlace, Digest)> {
        let kept = self.attached();
        awaited.retain(|(place, digest)| {
            let kept = kept.get(place).and_then(|it| it.get(digest));
            kept.is_none_or(|it| it.told || after(it.asked, AGAIN) <= now)
        });
        awaited
    }

    /// Has those places asked again, and at once, where something may be otherwise. Whether any of them was asked.
    pub fn evidence_was_told_of(&self, is_such: impl Fn(&EvidencePlace) -> bool) -> bool {
        let mut kept = self.attached();
        let mut told = false;
        for (_, images) in kept.iter_mut().filter(|(place, _)| is_such(place)) {
            for image in images.values_mut() {
                image.told = true;
                told = true;
            }
        }
        told
    }

    /// Asks what is attached to these images, answered of them, or reported of their commits.
    pub async fn read_attached(&self, images: &BTreeSet<(EvidencePlace, Digest)>, now: Timestamp) {
        // What is told from here on may be news to the answer.
        for (place, digest) in images {
            let mut kept = self.attached();
            let kept = kept.get_mut(place).and_then(|it| it.get_mut(digest));
            kept.into_iter().for_each(|it| it.told = false);
        }
        let asked = images
            .iter()
            .map(async |image| (image.clone(), self.ask_evidence(image).await));
        let answers = join_all(asked).await;
        let mut kept = self.attached();
        // What nobody asked about for a while is forgotten.
        kept.retain(|_, images| {
            images.retain(|_, it| it.is_believed(now));
            !images.is_empty()
        });
        for (image, answer) in answers {
            let kept = kept.entry(image.0.clone()).or_default();
            let value = match answer {
                Ok(value) => Observed::Seen { value, at: now },
                Err(why) => failed(kept.get(&image.1), &image, &why, now),
            };
            let told = kept.get(&image.1).is_some_and(|it| it.told);
            let asked = now;
            kept.insert(image.1, Kept { value, asked, told });
        }
    }

    /// What is known of a pipeline's images.
    pub(super) fn attached_to(
        &self,
        pipeline: &Pipeline,
        now: Timestamp,
    ) -> BTreeMap<Image, Observed<Said>> {
        let kept = self.attached();
        let mut its = BTreeMap::new();
        for place in places(pipeline) {
            let kept = kept.get(&place).into_iter().flatten();
            let believed = kept.filter(|(_, it)| it.is_believed(now));
            its.extend(believed.map(|(digest, it)| ((place.clone(), *digest), it.value.clone())));
        }
        its
    }

    fn attached(&self) -> MutexGuard<'_, Attached> {
        self.attached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask_evidence(&self, (place, digest): &Image) -> Result<Said, String> {
        match place {
            EvidencePlace::Registry(repository) => {
                let attached = self.registry.attached(repository, digest).await;
                let attached = attached.map_err(|error| error.to_string())?;
                let read = attached
                    .iter()
                    .filter_map(|it| read(it, repository, digest));
                Ok(read.collect::<Vec<_>>().into())
            }
            EvidencePlace::Endpoint(endpoint) => {
                let answer = self.evidence.about(endpoint, digest).await;
                let told = |why: &str| format!("{endpoint}: {why}");
                let Some(answer) = answer.map_err(|why| told(&why))? else {
                    return Ok(Said::default());
                };
                let answered = Attachment::answered(&answer, digest).map_err(told)?;
                Ok(answered.into())
            }
            EvidencePlace::Check(check, repository) => {
                let said = timeout(CHECKED_WITHIN, self.ask_check(check, repository, digest)).await;
                let late = || format!("{check}: no answer within {} s", CHECKED_WITHIN.as_secs());
                said.unwrap_or_else(|_| Err(late()))
            }
        }
    }

    /// What was reported of the commit that an image was built of.
    async fn ask_check(
        &self,
        check: &EvidenceCheck,
        repository: &ImageRepository,
        digest: &Digest,
    ) -> Result<Said, String> {
        let image = self.registry.image(repository, digest).await;
        let image = image.map_err(|error| error.to_string())?;
        // Nothing but the whole id: a short one may be a branch's name, and mean another commit tomorrow.
        let commit = image.revision.and_then(|it| it.trim().parse().ok());
        let Some(commit) = commit else {
            return Ok(check.without_commit());
        };
        let forge = self.forges.get(&check.source);
        let forge = forge.ok_or_else(|| format!("no forge of {} is known", check.source))?;
        let checks = forge.checked(commit, &check.name).await;
        let checks = checks.map_err(|error| error.to_string())?;
        Ok(check.says(commit, checks.as_deref()))
    }
}

/// Where evidence of a pipeline's images may be.
fn places(pipeline: &Pipeline) -> BTreeSet<EvidencePlace> {
    let rules = pipeline.environments.iter().flat_map(|it| &it.evidence);
    let images = || pipeline.application.images.iter();
    let all = rules.flat_map(|rule| images().map(|image| rule.place(&image.repository)));
    all.collect()
}

impl Kept {
    fn is_believed(&self, now: Timestamp) -> bool {
        now < after(self.asked, BELIEVED_FOR)
    }
}

/// What was read before still counts for a while.
fn failed(before: Option<&Kept>, image: &Image, why: &str, now: Timestamp) -> Observed<Said> {
    match before.map(|it| &it.value) {
        // That there is nothing is not worth believing: why it is not known says more.
        Some(Observed::Seen { value, at })
            if now < after(*at, BELIEVED_FOR) && !value.found.is_empty() =>
        {
            Observed::Seen {
                value: value.clone(),
                at: *at,
            }
        }
        Some(Observed::Unreadable(before)) => {
            let mut unreadable = before.clone();
            why.clone_into(&mut unreadable.why);
            Observed::Unreadable(unreadable)
        }
        _ => Observed::Unreadable(unreadable(&image.0.to_string(), why, now)),
    }
}

/// What an artifact says, and whose key signed it.
fn read(
    attached: &crate::registry::Attached,
    repository: &ImageRepository,
    digest: &Digest,
) -> Option<Attachment> {
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
