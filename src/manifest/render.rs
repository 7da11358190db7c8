//! Directories, `images.yaml` and patches → the objects that should run.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::canonical::Canonical;
use super::error::{ManifestError, Place, Problem};
use super::fields::{ImageFields, ObjectImage};
use super::file::{self, ManifestFile, ManifestObject};
use super::images_yaml::ImagesFile;
use super::patch::{Patch, PatchFile};
use super::scope;
use crate::model::{Digest, ImageReference, ImageRepository, ObjectRef};

/// One of an environment's directories.
#[derive(Debug, Clone, Copy)]
pub struct Layer<'a> {
    /// Its path, for errors.
    pub directory: &'a str,
    /// Its manifest files, those of its sub-directories included.
    pub files: &'a [Arc<ManifestFile>],
    /// Its `images.yaml`.
    pub images: Option<&'a ImagesFile>,
}

/// How an environment renders.
#[derive(Debug, Clone, Copy)]
pub struct Rendering<'a> {
    /// The namespace of objects that name none.
    pub default_namespace: &'a str,
    /// The image fields to find; the same with which the files were read.
    pub fields: &'a ImageFields,
}

/// A rendered object: what is diffed, applied, shown.
#[derive(Debug, Clone)]
pub struct Object {
    /// Which object. Where the manifest names no namespace it is the default one, unless the kind is
    /// one of Kubernetes' own that live in none. Whether a custom resource lives in none only the
    /// cluster knows.
    pub reference: ObjectRef,
    content: Canonical,
    /// The file it comes from, and where it begins there.
    pub place: Place,
    /// Its images.
    pub images: Vec<RenderedImage>,
    /// When it runs, where it is a hook.
    pub run: Option<Hook>,
}

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Before
    Before,
    /// After
    After,
}

impl Object {
    /// The object as it is sent: JSON without white space, keys sorted. The default namespace is not
    /// written into it.
    pub fn json(&self) -> &str {
        &self.content.json
    }

    /// [`Self::json`], shared.
    pub fn shared_json(&self) -> Arc<str> {
        self.content.json.clone()
    }

    /// The object as a value, read from [`Self::json`].
    pub fn value(&self) -> Value {
        self.content.value()
    }

    /// The hash of [`Self::json`].
    pub fn hash(&self) -> Digest {
        self.content.hash
    }
}

/// An image field of a rendered object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedImage {
    /// The field and what stands there.
    pub image: Arc<ObjectImage>,
    /// The patch or `images.yaml` entry that set it, if it is not the object's own file.
    pub set_by: Option<Place>,
}

/// The desired state of a unit.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// The objects, by reference.
    pub objects: Vec<Arc<Object>>,
    /// The hash over the objects' references and hashes.
    pub state: Digest,
    /// Per object the hash of its reference and its own hash: what the state is made from.
    marks: Vec<[u8; 32]>,
    /// Which objects have an image of a repository; shared where an edit leaves that as it was.
    carriers: Arc<HashMap<ImageRepository, Vec<usize>>>,
}

impl Rendered {
    /// The images of a repository in known image fields, each distinct reference once.
    pub fn images(&self, repository: &ImageRepository) -> BTreeSet<ImageReference> {
        self.carriers_of(repository)
            .flat_map(|object| &object.images)
            .filter(|rendered| rendered.image.repository.as_ref() == Some(repository))
            .filter_map(|rendered| rendered.image.reference())
            .collect()
    }

    /// The objects with an image of a repository, in their order.
    pub fn carriers_of(&self, repository: &ImageRepository) -> impl Iterator<Item = &Arc<Object>> {
        let indices = self.carriers.get(repository).into_iter().flatten();
        indices.filter_map(|index| self.objects.get(*index))
    }

    /// The desired state with some files' objects as other versions of the files state them, where
    /// that is all that differs: `None` if a file holds other objects now, or images of other
    /// repositories. Only for files that nothing else overrides or sets.
    pub fn with(
        &self,
        files: &[(Arc<ManifestFile>, Arc<ManifestFile>)],
        rendering: Rendering<'_>,
    ) -> Option<Self> {
        let mut new = self.clone();
        for (before, after) in files {
            if before.objects.len() != after.objects.len() {
                return None;
            }
            for (before, after) in before.objects.iter().zip(&after.objects) {
                let repositories = |it: &ManifestObject| {
                    let images = it.images().map(|image| image.repository.clone());
                    images.collect::<Vec<_>>()
                };
                if before.reference != after.reference
                    || repositories(before) != repositories(after)
                {
                    return None;
                }
                let object = Object::from(Draft::new(after, rendering));
                let index = new
                    .objects
                    .binary_search_by(|known| known.reference.cmp(&object.reference))
                    .ok()?;
                new.marks[index] = mark(&object);
                new.objects[index] = Arc::new(object);
            }
        }
        new.state = state(&new.marks);
        Some(new)
    }
}

/// Renders directories in their order, then applies the patches in theirs.
///
/// Two objects with one identity in one directory are an error; a later directory's object replaces
/// an earlier one's. A directory without any object (and without an `images.yaml`) is an error.
pub fn render(
    layers: &[Layer<'_>],
    patches: &[PatchFile],
    rendering: Rendering<'_>,
) -> Result<Rendered, ManifestError> {
    let mut drafts = BTreeMap::new();
    for layer in layers {
        set_images(&mut drafts, layer)?;
        add_layer(&mut drafts, layer, rendering)?;
    }
    let mut drafts: Vec<Draft> = drafts.into_values().collect();
    for patch in patches.iter().flat_map(|file| &file.patches) {
        apply(&mut drafts, patch, rendering)?;
    }
    finish(drafts)
}

/// An object on its way.
struct Draft {
    reference: ObjectRef,
    content: Canonical,
    /// The object as a value, once something changed it.
    changed: Option<Value>,
    place: Place,
    images: Vec<RenderedImage>,
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
        for RenderedImage { image, set_by } in &mut draft.images {
            let Some(entry) = image.repository.as_ref().and_then(|name| entries.get(name)) else {
                continue;
            };
            used.insert(&entry.reference.repository);
            let text = respell(&image.text, &entry.reference);
            let value = draft.changed.get_or_insert_with(|| draft.content.value());
            if let Some(field) = value.pointer_mut(&image.pointer) {
                *field = Value::String(text.clone());
            }
            *image = Arc::new(ObjectImage::new(image.pointer.clone(), text));
            *set_by = Some(entry.site.place.clone());
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
            draft
                .patch(patch, rendering)
                .map_err(|problem| patch.place.error(problem))?;
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
    fn new(object: &ManifestObject, rendering: Rendering<'_>) -> Self {
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
            place: object.place.clone(),
            images: images.collect(),
        }
    }

    fn value(&self) -> Value {
        self.changed.clone().unwrap_or_else(|| self.content.value())
    }

    fn patch(&mut self, patch: &Patch, rendering: Rendering<'_>) -> Result<(), Problem> {
        let object = || Box::new(self.reference.clone());
        let value = self.changed.get_or_insert_with(|| self.content.value());
        patch.apply(value).map_err(|reason| Problem::PatchFails {
            object: object(),
            reason,
        })?;
        let mut reference = file::identity(value).map_err(|problem| Problem::PatchBreaks {
            object: object(),
            reason: problem.to_string(),
        })?;
        scope::settle(&mut reference, rendering.default_namespace);
        file::drop_cluster_fields(value);
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
        Ok(())
    }
}

fn finish(mut drafts: Vec<Draft>) -> Result<Rendered, ManifestError> {
    // A patch may have renamed an object.
    drafts.sort_by(|a, b| a.reference.cmp(&b.reference));
    if let Some([a, b]) = drafts
        .array_windows()
        .find(|[a, b]| a.reference == b.reference)
    {
        let (object, other) = (Box::new(b.reference.clone()), a.place.clone());
        return Err(b.place.error(Problem::DuplicateObject { object, other }));
    }
    let objects: Vec<Arc<Object>> = drafts
        .into_iter()
        .map(|draft| Arc::new(Object::from(draft)))
        .collect();
    let marks: Vec<_> = objects.iter().map(|object| mark(object)).collect();
    Ok(Rendered {
        state: state(&marks),
        carriers: Arc::new(carriers(&objects)),
        marks,
        objects,
    })
}

impl From<Draft> for Object {
    fn from(draft: Draft) -> Self {
        let content = draft.changed.as_ref().map_or(draft.content, Canonical::new);
        let value = content.value();
        let run = value
            .pointer("/metadata/annotations/towpath.dev~1run")
            .and_then(Value::as_str);
        Self {
            run: match run {
                Some("before") => Some(Hook::Before),
                Some("after") => Some(Hook::After),
                _ => None,
            },
            content,
            reference: draft.reference,
            place: draft.place,
            images: draft.images,
        }
    }
}

fn mark(object: &Object) -> [u8; 32] {
    let ObjectRef {
        group,
        kind,
        namespace,
        name,
    } = &object.reference;
    // As JSON, so that no text can pass for a boundary.
    let line = serde_json::json!([group, kind, namespace, name, object.hash().to_string()]);
    Sha256::digest(line.to_string()).into()
}

fn state(marks: &[[u8; 32]]) -> Digest {
    Digest::from_sha256(Sha256::digest(marks.as_flattened()).into())
}

fn carriers(objects: &[Arc<Object>]) -> HashMap<ImageRepository, Vec<usize>> {
    let mut carriers: HashMap<ImageRepository, Vec<usize>> = HashMap::new();
    for (index, object) in objects.iter().enumerate() {
        for rendered in &object.images {
            let Some(repository) = &rendered.image.repository else {
                continue;
            };
            match carriers.get_mut(repository) {
                Some(of) if of.last() == Some(&index) => {}
                Some(of) => of.push(index),
                None => drop(carriers.insert(repository.clone(), vec![index])),
            }
        }
    }
    carriers
}
