//! Objects on their way from a file to the desired state: laid over each other, given their images,
//! patched, stamped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::asked::Asked;
use super::canonical::Canonical;
use super::error::{ManifestError, Place, Problem};
use super::fields::ObjectImage;
use super::file::{self, ManifestObject};
use super::patch::{Patch, PatchFile};
use super::render::{Layer, Object, RenderedImage, Rendering};
use super::restart::{self, Configs};
use super::scope;
use crate::model::{Digest, ImageReference, ObjectRef};

/// The objects of all directories, with the patches applied, by their first reference.
pub(super) fn all(
    layers: &[Layer<'_>],
    patches: &[PatchFile],
    rendering: Rendering<'_>,
) -> Result<Vec<Draft>, ManifestError> {
    let mut drafts = BTreeMap::new();
    for layer in layers {
        set_images(&mut drafts, layer)?;
        add_layer(&mut drafts, layer, rendering)?;
    }
    let mut drafts: Vec<Draft> = drafts.into_values().collect();
    for patch in patches.iter().flat_map(|file| &file.patches) {
        apply(&mut drafts, patch, rendering)?;
    }
    Ok(drafts)
}

/// An object on its way.
pub(super) struct Draft {
    pub(super) reference: ObjectRef,
    content: Canonical,
    /// The object as a value, once something changed it.
    changed: Option<Value>,
    /// What its hash is made of where it was encrypted: the encrypted text, and what changed it.
    seal: Option<Digest>,
    pub(super) place: Place,
    images: Vec<RenderedImage>,
    asked: Result<Asked, Box<ManifestError>>,
}

fn add_layer(
    drafts: &mut BTreeMap<ObjectRef, Draft>,
    layer: &Layer<'_>,
    rendering: Rendering<'_>,
) -> Result<(), ManifestError> {
    let mut own: BTreeMap<ObjectRef, Draft> = BTreeMap::new();
    for object in layer.files.iter().flat_map(|file| &file.objects) {
        let draft = Draft::new(object, rendering);
        if let Some(other) = own.get(&draft.reference) {
            let other = other.place.clone();
            return Err(object.place.error(Problem::DuplicateObject {
                object: Box::new(draft.reference),
                other,
            }));
        }
        own.insert(draft.reference.clone(), draft);
    }
    if own.is_empty() && layer.images.is_none() {
        let place = Place {
            file: layer.directory.into(),
            line: 1,
            column: 1,
        };
        return Err(place.error(Problem::EmptyDirectory));
    }
    drafts.append(&mut own);
    Ok(())
}

/// Sets the images of a layer's `images.yaml` in the objects of the earlier layers.
fn set_images(
    drafts: &mut BTreeMap<ObjectRef, Draft>,
    layer: &Layer<'_>,
) -> Result<(), ManifestError> {
    let Some(file) = layer.images else {
        return Ok(());
    };
    let entries: BTreeMap<_, _> = file
        .entries
        .iter()
        .map(|entry| (&entry.reference.repository, entry))
        .collect();
    let mut used = BTreeSet::new();
    for draft in drafts.values_mut() {
        for index in 0..draft.images.len() {
            let image = &draft.images[index].image;
            let Some(entry) = image.repository.as_ref().and_then(|name| entries.get(name)) else {
                continue;
            };
            used.insert(&entry.reference.repository);
            let (pointer, text) = (
                image.pointer.clone(),
                respell(&image.text, &entry.reference),
            );
            let value = draft.change(&format!("{pointer} {text}"));
            if let Some(field) = value.pointer_mut(&pointer) {
                *field = Value::String(text.clone());
            }
            draft.images[index] = RenderedImage {
                image: Arc::new(ObjectImage::new(pointer, text)),
                set_by: Some(entry.site.place.clone()),
            };
        }
    }
    match entries
        .iter()
        .find(|(repository, _)| !used.contains(*repository))
    {
        Some((repository, entry)) => Err(entry
            .site
            .place
            .error(Problem::ImageSetsNothing((*repository).clone()))),
        None => Ok(()),
    }
}

/// The new tag and digest behind the repository as the field spells it.
fn respell(text: &str, reference: &ImageReference) -> String {
    let word = text.split_whitespace().next().unwrap_or_default();
    let (repository, _, _) = ImageReference::split(word);
    let tag = reference.tag.iter().map(|tag| format!(":{tag}"));
    let digest = reference.digest.iter().map(|digest| format!("@{digest}"));
    [repository.to_owned()]
        .into_iter()
        .chain(tag)
        .chain(digest)
        .collect()
}

fn apply(
    drafts: &mut [Draft],
    patch: &Patch,
    rendering: Rendering<'_>,
) -> Result<(), ManifestError> {
    let mut matched = false;
    for draft in drafts.iter_mut() {
        if patch.target.matches(&draft.reference, || draft.value()) {
            matched = true;
            draft.patch(patch, rendering)?;
        }
    }
    match matched {
        true => Ok(()),
        false => Err(patch
            .place
            .error(Problem::PatchMatchesNothing(patch.target.describe()))),
    }
}

impl Draft {
    /// An object as its file states it.
    pub(super) fn new(object: &ManifestObject, rendering: Rendering<'_>) -> Self {
        let mut reference = object.reference.clone();
        scope::settle(&mut reference, rendering.default_namespace);
        let images = object.images().cloned().map(|image| RenderedImage {
            image,
            set_by: None,
        });
        Self {
            reference,
            content: object.content.clone(),
            changed: None,
            seal: object.content.sealed.then_some(object.content.hash),
            place: object.place.clone(),
            images: images.collect(),
            asked: object.asked.clone(),
        }
    }

    /// Why it cannot be applied, whatever the cluster.
    pub(super) fn fault(&self, rendering: Rendering<'_>) -> Option<ManifestError> {
        if let Err(error) = &self.asked {
            return Some(ManifestError::clone(error));
        }
        let denied = rendering.access?.allows(&self.reference).err()?;
        let object = Box::new(self.reference.clone());
        Some(self.place.error(Problem::Denied { object, denied }))
    }

    /// Whether its pods are replaced when the configuration that they use changes.
    pub(super) fn restarts(&self) -> bool {
        self.asked
            .as_ref()
            .is_ok_and(|asked| asked.restart_on_config)
    }

    /// The object as a value that is changed by something that says `by`.
    fn change(&mut self, by: &str) -> &mut Value {
        if let Some(seal) = &mut self.seal {
            *seal = Digest::of(format!("{seal} {by}").as_bytes());
        }
        self.changed.get_or_insert_with(|| self.content.value())
    }

    /// Takes in what changed it.
    fn settle(&mut self) {
        if let Some(value) = self.changed.take() {
            self.content = match self.seal {
                Some(seal) => Canonical::sealed(&value, seal),
                None => Canonical::new(&value),
            };
        }
    }

    fn value(&self) -> Value {
        self.changed.clone().unwrap_or_else(|| self.content.value())
    }

    fn patch(&mut self, patch: &Patch, rendering: Rendering<'_>) -> Result<(), ManifestError> {
        let object = Box::new(self.reference.clone());
        let value = self.change(&patch.hash.to_string());
        if let Err((place, reason)) = patch.apply(value) {
            return Err(place.error(Problem::PatchFails { object, reason }));
        }
        let mut reference = file::identity(value).map_err(|problem| {
            let reason = problem.to_string();
            patch.place.error(Problem::PatchBreaks { object, reason })
        })?;
        scope::settle(&mut reference, rendering.default_namespace);
        file::drop_cluster_fields(value);
        let asked = file::asked_of(&reference, value, |_| patch.place.clone());
        let images = rendering
            .fields
            .images(&reference.group, &reference.kind, value);
        let before = std::mem::take(&mut self.images);
        self.images = images
            .into_iter()
            .map(|image| {
                let same = before.iter().find(|before| *before.image == image);
                let set_by = match same {
                    Some(same) => same.set_by.clone(),
                    None => Some(patch.place.clone()),
                };
                let image = Arc::new(image);
                RenderedImage { image, set_by }
            })
            .collect();
        self.reference = reference;
        // What was wrong before, and still is, is told where it stands.
        if self.asked.is_ok() || asked.is_ok() {
            self.asked = asked;
        }
        Ok(())
    }
}

/// Gives every workload that asks for it the hash of the configuration its pods use. Returns what
/// cannot be.
pub(super) fn stamp(drafts: &mut [Draft]) -> Vec<ManifestError> {
    let mut configs = Configs::new();
    for draft in drafts
        .iter_mut()
        .filter(|draft| restart::is_config(&draft.reference))
    {
        draft.settle();
        configs.insert(draft.reference.clone(), draft.content.hash);
    }
    let workloads = drafts.iter_mut().filter(|draft| draft.restarts());
    let faults = workloads.filter_map(|draft| draft.stamp(&configs).err());
    faults.collect()
}

impl Draft {
    fn stamp(&mut self, configs: &Configs) -> Result<(), ManifestError> {
        let stamp = restart::stamp(&self.reference, &self.value(), configs)
            .ok_or_else(|| self.place.error(Problem::NeverRestarted))?;
        match restart::put(self.change(&stamp.clone()), stamp) {
            true => Ok(()),
            false => {
                let why = "the pod template's `metadata` has no place for annotations — write it as a map";
                Err(self.place.error(Problem::Annotation(why.to_owned())))
            }
        }
    }
}

impl From<Draft> for Object {
    fn from(mut draft: Draft) -> Self {
        draft.settle();
        Self {
            content: draft.content,
            reference: draft.reference,
            place: draft.place,
            images: draft.images,
            run: draft.asked.ok().and_then(|asked| asked.run),
        }
    }
}
