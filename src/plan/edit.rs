//! What a unit's directories become when a release is set in them.
//!
//! The files themselves are edited by [`crate::manifest`]; here it is decided which of them, and
//! whether the outcome really carries the release.

use std::collections::BTreeMap;
use std::sync::Arc;

use gix::ObjectId;

use crate::manifest::{
    self, IMAGES_FILE, ImageFields, ImagesFile, Layer, ManifestError, ManifestFile, PatchFile,
    Rendered, Rendering,
};
use crate::model::{ImageRepository, ImageVersion, Release};

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
}

/// One of a unit's directories.
#[derive(Debug, Clone)]
pub struct Directory {
    /// Its path.
    pub path: String,
    /// Its manifest files, each with the blob it was read from.
    pub files: Vec<(ObjectId, Arc<ManifestFile>)>,
    /// Its `images.yaml`.
    pub images: Option<(ObjectId, Arc<ImagesFile>)>,
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

impl Layers {
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
        let rendering = Rendering {
            default_namespace: &self.namespace,
            fields: &self.fields,
        };
        manifest::render(&layers.collect::<Vec<_>>(), &self.patches, rendering)
    }

    /// Sets a release: in the last directory's files where its images stand there, in its
    /// `images.yaml` where they stand in a directory that others read too.
    ///
    /// # Errors
    /// Says in one sentence why nothing is written: the image stands nowhere, the file may not be
    /// edited, or the objects would not carry the release's digests.
    pub fn set(&self, release: &Release) -> Result<Edit, String> {
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
        let mut after = self.clone();
        let mut files = Vec::new();
        let last = after.directories.len() - 1;
        let written = &mut after.directories[last];
        for (index, (blob, file)) in own.files.iter().enumerate() {
            let Some(edited) = manifest::set_image(file, &release.images).map_err(list)? else {
                continue;
            };
            let after = edited.text.into_bytes();
            let parsed = manifest::parse(&file.path, &after, &self.fields);
            written.files[index].1 = Arc::new(parsed.map_err(|error| error.to_string())?);
            files.push(FileEdit {
                path: file.path.to_string(),
                before: Some(*blob),
                after,
            });
        }
        let mut set_beside = release.images.clone();
        set_beside
            .retain(|repository, _| shared.iter().any(|directory| directory.names(repository)));
        if !set_beside.is_empty() {
            files.extend(written.set_images(&set_beside)?);
        }
        let rendered = after.render().map_err(|error| error.to_string())?;
        manifest::carries(&rendered, &release.digests()).map_err(list)?;
        Ok(Edit { files, rendered })
    }
}

impl Directory {
    fn names(&self, repository: &ImageRepository) -> bool {
        self.files
            .iter()
            .any(|(_, file)| manifest::has_image(file, repository))
    }

    fn set_images(
        &mut self,
        images: &BTreeMap<ImageRepository, ImageVersion>,
    ) -> Result<Option<FileEdit>, String> {
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

/// Several findings in one sentence.
fn list<T: ToString>(findings: Vec<T>) -> String {
    findings
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}
