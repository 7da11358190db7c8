//! Directories, `images.yaml` and patches → the objects that should run.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::asked::Hook;
use super::canonical::Canonical;
use super::draft::{self, Draft};
use super::error::{ManifestError, Place, Problem};
use super::fields::{ImageFields, ObjectImage};
use super::file::{ManifestFile, ManifestObject};
use super::images_yaml::ImagesFile;
use super::patch::PatchFile;
use super::weight;
use crate::model::{Access, Digest, Identity, ImageReference, ImageRepository, ObjectRef};

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
    /// What the objects may be; `None`: no limits.
    pub access: Option<&'a Access>,
}

/// A rendered object: what is diffed, applied, shown.
#[derive(Debug, Clone)]
pub struct Object {
    /// Which object. Where the manifest names no namespace it is the default one, unless the kind is
    /// one of Kubernetes' own that live in none. Whether a custom resource lives in none only the
    /// cluster knows.
    pub reference: ObjectRef,
    pub(super) content: Canonical,
    /// The file it comes from, and where it begins there.
    pub place: Place,
    /// Its images.
    pub images: Vec<RenderedImage>,
    /// When it runs, where it is a Job that is not like any other object.
    pub run: Option<Hook>,
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

    /// The hash of [`Self::json`]; of an encrypted object that of the encrypted text and of what
    /// changes it, so that it tells nothing about what is in it.
    pub fn hash(&self) -> Digest {
        self.content.hash
    }

    /// Whether it stood in a document encrypted by sops: nothing but its identity may be shown.
    pub fn is_encrypted(&self) -> bool {
        self.content.sealed
    }

    /// Whether values of it may not be shown: it is a Secret, or was encrypted.
    pub fn is_secret(&self) -> bool {
        let reference = &self.reference;
        self.is_encrypted() || (reference.kind == "Secret" && reference.group.is_empty())
    }

    /// Whether it is larger than any cluster stores.
    fn fault(&self) -> Option<ManifestError> {
        let problem = weight::fault(&self.reference, self.json())?;
        Some(self.place.error(problem))
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
    /// Whether an object carries the hash of others, so that a change of one may change another.
    stamped: bool,
}

impl Rendered {
    /// What asks for nothing: only ever the desired state of what the configuration no longer has.
    pub fn nothing() -> Self {
        Self {
            objects: Vec::new(),
            state: state(&[]),
            marks: Vec::new(),
            stamped: false,
            carriers: Arc::default(),
        }
    }

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
        if self.stamped {
            return None;
        }
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
                let draft = Draft::new(after, rendering);
                // What is wrong, or concerns others, is told where all is rendered.
                if draft.fault(rendering).is_some() || draft.restarts() {
                    return None;
                }
                let object = Object::from(draft);
                if object.fault().is_some() {
                    return None;
                }
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
/// an earlier one's. A directory without any object (and without an `images.yaml`) is an error, and so
/// is an object that no cluster takes or that the environment does not allow.
///
/// # Errors
/// The first thing that is wrong.
pub fn render(
    layers: &[Layer<'_>],
    patches: &[PatchFile],
    rendering: Rendering<'_>,
) -> Result<Rendered, ManifestError> {
    let drafts = draft::all(layers, patches, rendering)?;
    finish(drafts, rendering).map_err(|faults| faults.first)
}

/// Renders, and tells all that is wrong as far as it can be seen at once.
///
/// # Errors
/// What is wrong, in the order of files and lines.
pub fn judge(
    layers: &[Layer<'_>],
    patches: &[PatchFile],
    rendering: Rendering<'_>,
) -> Result<Rendered, Vec<ManifestError>> {
    let drafts = draft::all(layers, patches, rendering).map_err(|error| vec![error])?;
    finish(drafts, rendering).map_err(|faults| [vec![faults.first], faults.more].concat())
}

/// What is wrong, in the order of files and lines.
struct Faults {
    first: ManifestError,
    more: Vec<ManifestError>,
}

impl Faults {
    fn of(mut faults: Vec<ManifestError>) -> Result<(), Self> {
        let place = |fault: &ManifestError| (fault.file.clone(), fault.line, fault.column);
        faults.sort_by_key(place);
        let mut faults = faults.into_iter();
        match faults.next() {
            Some(first) => Err(Self {
                first,
                more: faults.collect(),
            }),
            None => Ok(()),
        }
    }
}

fn finish(mut drafts: Vec<Draft>, rendering: Rendering<'_>) -> Result<Rendered, Faults> {
    // A patch may have renamed an object.
    drafts.sort_by(|a, b| a.reference.cmp(&b.reference));
    let twice = drafts
        .array_windows()
        .filter(|[a, b]| a.reference == b.reference);
    let twice = twice.map(|[a, b]| {
        let (object, other) = (Box::new(b.reference.clone()), a.place.clone());
        b.place.error(Problem::DuplicateObject { object, other })
    });
    let faults = drafts.iter().filter_map(|draft| draft.fault(rendering));
    Faults::of(twice.chain(faults).collect())?;
    let stamped = drafts.iter().any(Draft::restarts);
    if stamped {
        Faults::of(draft::stamp(&mut drafts))?;
    }
    let mut objects: Vec<Arc<Object>> = drafts
        .into_iter()
        .map(|draft| Arc::new(Object::from(draft)))
        .collect();
    // Collected in place, they would keep the room that the drafts took: thirty times theirs.
    objects.shrink_to_fit();
    let faults = objects.iter().filter_map(|object| object.fault());
    Faults::of(faults.collect())?;
    let marks: Vec<_> = objects.iter().map(|object| mark(object)).collect();
    Ok(Rendered {
        state: state(&marks),
        carriers: Arc::new(carriers(&objects)),
        marks,
        objects,
        stamped,
    })
}

fn mark(object: &Object) -> [u8; 32] {
    let Identity {
        group,
        kind,
        namespace,
        name,
    } = &*object.reference;
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
