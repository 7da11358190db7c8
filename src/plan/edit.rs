//! What a unit's directories become when a release is set in them.
//!
//! The files themselves are edited by [`crate::manifest`]; here it is decided which of them, and
//! whether the outcome really carries the release.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use gix::ObjectId;

use super::Desired;
use crate::manifest::{
    self, IMAGES_FILE, ImageFields, ImagesFile, Layer, ManifestError, ManifestFile, PatchFile,
    Rendered, Rendering,
};
use crate::model::{Access, ImageRepository, Images, Release};

/// Reading and parsing so many files takes about a millisecond.
const QUICKLY_READ: usize = 16;

/// The files that a unit is rendered from.
#[derive(Debug, Clone)]
pub struct Layers {
    /// The directories in order; only the last is written.
    pub directories: Vec<Directory>,
    /// The patches.
    pub patches: Arc<Vec<PatchFile>>,
    /// The namespace of objects that name none.
    pub namespace: String,
    /// The image fields to find.
    pub fields: Arc<ImageFields>,
    /// What the objects may be; `None`: no limits.
    pub access: Option<Arc<Access>>,
}

/// One of a unit's directories.
#[derive(Debug, Clone)]
pub struct Directory {
    /// Its path.
    pub path: String,
    /// Its manifest files by path, each with the blob it was read from.
    pub files: Vec<(ObjectId, Arc<ManifestFile>)>,
    /// Its `images.yaml`.
    pub images: Option<(ObjectId, Arc<ImagesFile>)>,
    /// Which files have an image of a repository; shared where an edit leaves that as it was.
    carriers: Arc<HashMap<ImageRepository, Vec<usize>>>,
}

/// A file that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEdit {
    /// Its path.
    pub path: String,
    /// The blob it was planned on; `None`: there was none.
    pub before: Option<ObjectId>,
    /// Its new bytes.
    pub after: Vec<u8>,
}

/// What a release makes of the directories.
#[derive(Debug, Clone)]
pub struct Edit {
    /// The files that change.
    pub files: Vec<FileEdit>,
    /// The unit's desired state after it.
    pub rendered: Rendered,
}

/// A file of the last directory in another version.
#[derive(Debug, Clone)]
pub struct Replaced {
    /// Its place among the directory's files.
    pub index: usize,
    /// The blob it was read from.
    pub blob: ObjectId,
    /// What it says now.
    pub file: Arc<ManifestFile>,
}

impl Layers {
    /// Whether each object stands as its file states it: nothing is set or patched elsewhere.
    pub fn is_plain(&self) -> bool {
        let images = |directory: &Directory| directory.images.is_some();
        self.patches.is_empty() && !self.directories.iter().any(images)
    }

    /// Whether the files are so few that reading them again costs nothing to speak of.
    pub fn are_quickly_read(&self) -> bool {
        let files = self
            .directories
            .iter()
            .map(|directory| directory.files.len());
        files.sum::<usize>() + self.patches.len() <= QUICKLY_READ
    }

    /// The desired state with other versions of some files of the last directory. Given what these
    /// directories are rendered to, only what changed is rendered again, where that is enough.
    ///
    /// # Errors
    /// As [`Self::render`].
    pub fn render_replaced(
        &self,
        rendered: &Rendered,
        replaced: &[Replaced],
    ) -> Result<Rendered, ManifestError> {
        if self.is_plain()
            && let Some(last) = self.directories.last()
        {
            let files = replaced.iter().filter_map(|it| {
                let (_, before) = last.files.get(it.index)?;
                Some((before.clone(), it.file.clone()))
            });
            if let Some(rendered) = rendered.with(&files.collect::<Vec<_>>(), self.rendering()) {
                return Ok(rendered);
            }
        }
        self.replaced(replaced).render()
    }

    /// The directories with other versions of some files of the last one.
    pub fn replaced(&self, replaced: &[Replaced]) -> Self {
        let mut after = self.clone();
        if let Some(last) = after.directories.last_mut() {
            last.replace(replaced);
        }
        after
    }

    fn rendering(&self) -> Rendering<'_> {
        Rendering {
            default_namespace: &self.namespace,
            fields: &self.fields,
            access: self.access.as_deref(),
        }
    }

    /// The desired state.
    ///
    /// # Errors
    /// Names the file, the line and what is wrong there.
    pub fn render(&self) -> Result<Rendered, ManifestError> {
        let mut files: Vec<Vec<Arc<ManifestFile>>> = Vec::new();
        for directory in &self.directories {
            files.push(
                directory
                    .files
                    .iter()
                    .map(|(_, file)| file.clone())
                    .collect(),
            );
        }
        let layers = self
            .directories
            .iter()
            .zip(&files)
            .map(|(directory, files)| Layer {
                directory: &directory.path,
                files,
                images: directory.images.as_ref().map(|(_, images)| images.as_ref()),
            });
        manifest::render(&layers.collect::<Vec<_>>(), &self.patches, self.rendering())
    }

    /// Sets a release: in the last directory's files where its images stand there, in its
    /// `images.yaml` where they stand in a directory that others read too. Takes what these
    /// directories are rendered to.
    ///
    /// # Errors
    /// Says in one sentence why nothing is written: the image stands nowhere, the file may not be
    /// edited, or the objects would not carry the release's digests.
    pub fn set(&self, rendered: &Rendered, release: &Release) -> Result<Edit, String> {
        let (shared, own) = self
            .directories
            .split_at(self.directories.len().saturating_sub(1));
        let own = own
            .first()
            .ok_or("the environment has no directory of manifests")?;
        for repository in release.images.keys() {
            if !self
                .directories
                .iter()
                .any(|directory| directory.names(repository))
            {
                return Err(format!("no manifest names an image of {repository}"));
            }
        }
        let (mut files, mut replaced) = (Vec::new(), Vec::new());
        for index in own.carriers(release.images.keys()) {
            let Some((blob, file)) = own.files.get(index) else {
                continue;
            };
            let Some(edited) = manifest::set_image(file, &release.images).map_err(list)? else {
                continue;
            };
            let after = edited.text.into_bytes();
            let parsed = manifest::parse(&file.path, &after, &self.fields);
            replaced.push(Replaced {
                index,
                // The new blob is not known before it is written, and nothing reads it before then.
                blob: *blob,
                file: Arc::new(parsed.map_err(|error| error.to_string())?),
            });
            files.push(FileEdit {
                path: file.path.to_string(),
                before: Some(*blob),
                after,
            });
        }
        let mut set_beside = release.images.clone();
        set_beside
            .retain(|repository, _| shared.iter().any(|directory| directory.names(repository)));
        let rendered = match set_beside.is_empty() {
            true => self.render_replaced(rendered, &replaced),
            false => {
                let mut after = self.replaced(&replaced);
                if let Some(written) = after.directories.last_mut() {
                    files.extend(written.set_images(&set_beside)?);
                }
                after.render()
            }
        };
        let rendered = rendered.map_err(|error| error.to_string())?;
        manifest::carries(&rendered, &release.digests()).map_err(list)?;
        Ok(Edit { files, rendered })
    }
}

impl Desired {
    /// Sets a release, see [`Layers::set`].
    ///
    /// # Errors
    /// Says in one sentence why nothing is written.
    pub fn set(&self, release: &Release) -> Result<Edit, String> {
        self.layers.set(&self.rendered, release)
    }
}

impl Directory {
    /// A directory of these files, which stand in the order of their paths.
    pub fn new(
        path: String,
        files: Vec<(ObjectId, Arc<ManifestFile>)>,
        images: Option<(ObjectId, Arc<ImagesFile>)>,
    ) -> Self {
        let mut carriers: HashMap<ImageRepository, Vec<usize>> = HashMap::new();
        for (index, (_, file)) in files.iter().enumerate() {
            for repository in repositories(file) {
                carriers.entry(repository.clone()).or_default().push(index);
            }
        }
        Self {
            path,
            files,
            images,
            carriers: Arc::new(carriers),
        }
    }

    fn replace(&mut self, replaced: &[Replaced]) {
        let mut same = true;
        for Replaced { index, blob, file } in replaced {
            if let Some(slot) = self.files.get_mut(*index) {
                same &= repositories(&slot.1) == repositories(file);
                *slot = (*blob, file.clone());
            }
        }
        if !same {
            let files = std::mem::take(&mut self.files);
            *self = Self::new(std::mem::take(&mut self.path), files, self.images.take());
        }
    }

    fn names(&self, repository: &ImageRepository) -> bool {
        self.carriers.contains_key(repository)
    }

    /// The files with an image of one of these repositories, in their order.
    fn carriers<'a>(
        &self,
        repositories: impl Iterator<Item = &'a ImageRepository>,
    ) -> BTreeSet<usize> {
        repositories
            .filter_map(|repository| self.carriers.get(repository))
            .flatten()
            .copied()
            .collect()
    }

    fn set_images(&mut self, images: &Images) -> Result<Option<FileEdit>, String> {
        let before = self.images.as_ref();
        let existing = before.map(|(_, images)| images.as_ref());
        let Some(edited) = manifest::set_in_images_yaml(existing, images).map_err(list)? else {
            return Ok(None);
        };
        let edit = FileEdit {
            path: format!("{}/{IMAGES_FILE}", self.path),
            before: before.map(|(blob, _)| *blob),
            after: edited.text.into_bytes(),
        };
        let parsed = manifest::parse_images(&edit.path, &edit.after);
        // The blob is not known before it is written, and nothing reads it before then.
        let blob = edit
            .before
            .unwrap_or_else(|| ObjectId::null(gix::hash::Kind::Sha1));
        self.images = Some((blob, Arc::new(parsed.map_err(|error| error.to_string())?)));
        Ok(Some(edit))
    }
}

/// The repositories that a file has an image of.
fn repositories(file: &ManifestFile) -> BTreeSet<&ImageRepository> {
    let images = file.objects.iter().flat_map(|object| object.images());
    images
        .filter_map(|image| image.repository.as_ref())
        .collect()
}

/// Several findings in one sentence.
fn list<T: ToString>(findings: Vec<T>) -> String {
    findings
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::check::tests::{desired, release};

    const SHOP: &str = "registry.example.com/acme/shop";

    /// The one file of `desired`, with another image.
    fn replaced(image: &str) -> [Replaced; 1] {
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{ name: shop }}\nspec: {{ containers: [ {{ name: a, image: '{image}' }} ] }}\n"
        );
        let file = manifest::parse("k/pod.yaml", text.as_bytes(), &ImageFields::default());
        [Replaced {
            index: 0,
            blob: ObjectId::null(gix::hash::Kind::Sha1),
            file: Arc::new(file.unwrap()),
        }]
    }

    /// Which files have an image is known anew once a file names another.
    #[test]
    fn a_release_is_set_in_what_a_file_names_now() {
        let set = |layers: &Layers| layers.set(&layers.render().unwrap(), &release(1));
        let shop = desired(0).layers;
        assert_eq!(set(&shop).unwrap().files.len(), 1);
        let cart = shop.replaced(&replaced("registry.example.com/acme/cart:v1.0.0"));
        let why = format!("no manifest names an image of {SHOP}");
        assert_eq!(set(&cart).unwrap_err(), why);
        let again = cart.replaced(&replaced(&format!("{SHOP}:v1.0.0")));
        assert_eq!(set(&again).unwrap().files.len(), 1);
    }
}
