//! What a tree asks for: a unit's directories and patches, read and rendered.
//!
//! Only what differs from before is read and rendered again.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use gix::ObjectId;
use jiff::Timestamp;

use super::infra::InfraReader;
use super::unit::Cached;
use crate::git::{Found, GitError, Mode};
use crate::manifest::{
    self, IMAGES_FILE, ImageFields, ManifestError, ManifestFile, PatchFile, Problem,
};
use crate::model::Environment;
use crate::plan::edit::{Directory, Layers, Replaced};
use crate::plan::{Desired, Unreadable};

/// What a unit is rendered from.
#[derive(Default, PartialEq)]
pub(super) struct Inputs {
    directories: Vec<Option<ObjectId>>,
    patches: Option<ObjectId>,
}

/// Why it is not known what a tree asks for.
pub(super) enum Unknown {
    /// The mirror does not hold it.
    Git(GitError),
    /// An encrypted file is not open.
    Sealed(Unreadable),
    /// What stands there cannot be rendered: only other manifests help.
    Broken(String),
}

impl From<GitError> for Unknown {
    fn from(error: GitError) -> Self {
        Self::Git(error)
    }
}

impl From<ManifestError> for Unknown {
    fn from(error: ManifestError) -> Self {
        Self::Broken(error.to_string())
    }
}

impl InfraReader {
    /// Renders the unit, unless its directories are the ones it was rendered from.
    pub(super) fn desire(
        &self,
        environment: &Environment,
        tree: ObjectId,
        cached: &mut Cached,
        now: Timestamp,
    ) -> Result<(), Unknown> {
        let inputs = self.inputs(environment, tree)?;
        if cached.desired.is_some() && cached.inputs == inputs {
            return Ok(());
        }
        if let Some(rendered) = cached.rested.clone().filter(|_| cached.inputs == inputs) {
            let layers = Arc::new(self.layers(environment, tree, None, now)?);
            cached.desired = Some(Ok(Desired { layers, rendered }));
            cached.rested = None;
            return Ok(());
        }
        let before = cached.desired.as_ref().and_then(|it| it.as_ref().ok());
        let desired = match self.make(environment, tree, &inputs, &cached.inputs, before, now) {
            Err(Unknown::Broken(why)) => Err(why),
            made => Ok(made?),
        };
        cached.desired = Some(desired);
        cached.rested = None;
        cached.inputs = inputs;
        Ok(())
    }

    /// Renders; where most is as it was before, only what differs.
    pub(super) fn make(
        &self,
        environment: &Environment,
        tree: ObjectId,
        new: &Inputs,
        old: &Inputs,
        before: Option<&Desired>,
        now: Timestamp,
    ) -> Result<Desired, Unknown> {
        if let Some(before) = before
            && old.patches == new.patches
            && let Some(desired) =
                self.change(environment, before, &old.directories, &new.directories)?
        {
            return Ok(desired);
        }
        let layers = self.layers(environment, tree, before, now)?;
        let rendered = layers.render()?;
        Ok(Desired {
            layers: Arc::new(layers),
            rendered: Arc::new(rendered),
        })
    }

    /// The desired state where only some files of the last directory say something else than before.
    /// `None`: there is more to it, or something is wrong; then all is read as if for the first time.
    fn change(
        &self,
        environment: &Environment,
        before: &Desired,
        old: &[Option<ObjectId>],
        new: &[Option<ObjectId>],
    ) -> Result<Option<Desired>, GitError> {
        let layers = &before.layers;
        let ([old_last], [new_last]) = (
            &old[old.len().saturating_sub(1)..],
            &new[new.len().saturating_sub(1)..],
        ) else {
            return Ok(None);
        };
        let shared = new.len() - 1;
        let (Some(path), Some(directory)) =
            (environment.manifests.last(), layers.directories.last())
        else {
            return Ok(None);
        };
        if old.get(..shared) != new.get(..shared) || old_last.is_none() || new_last.is_none() {
            return Ok(None);
        }
        let mut replaced = Vec::new();
        for change in self.repository.changed(*old_last, *new_last)? {
            let (Some((was, old)), Some((is, new))) = (change.old, change.new) else {
                return Ok(None);
            };
            if !was.is_file() || !is.is_file() || change.path == IMAGES_FILE {
                return Ok(None);
            }
            let file = format!("{path}/{}", change.path);
            if !manifest::is_manifest(&file) {
                continue;
            }
            let found = directory
                .files
                .binary_search_by(|(_, known)| (*known.path).cmp(&file));
            let Ok(index) = found else { return Ok(None) };
            if directory.files.get(index).map(|(blob, _)| *blob) != Some(old) {
                return Ok(None);
            }
            let parsed = manifest::parse(&file, &self.repository.blob(new)?, &layers.fields);
            let Ok(parsed) = parsed else { return Ok(None) };
            replaced.push(Replaced {
                index,
                blob: new,
                file: Arc::new(parsed),
            });
        }
        let Ok(rendered) = layers.render_replaced(&before.rendered, &replaced) else {
            return Ok(None);
        };
        Ok(Some(Desired {
            layers: Arc::new(layers.replaced(&replaced)),
            rendered: Arc::new(rendered),
        }))
    }

    pub(super) fn inputs(
        &self,
        environment: &Environment,
        tree: ObjectId,
    ) -> Result<Inputs, GitError> {
        let id = |path: &String| -> Result<_, GitError> {
            Ok(self.repository.lookup(tree, path)?.map(|found| found.id))
        };
        let patches = match &environment.patches {
            Some(path) => id(path)?,
            None => None,
        };
        Ok(Inputs {
            directories: environment
                .manifests
                .iter()
                .map(id)
                .collect::<Result<_, _>>()?,
            patches,
        })
    }

    /// Reads the directories; files whose blob was read before are not parsed again.
    fn layers(
        &self,
        environment: &Environment,
        tree: ObjectId,
        before: Option<&Desired>,
        now: Timestamp,
    ) -> Result<Layers, Unknown> {
        let known = before
            .into_iter()
            .flat_map(|before| &before.layers.directories)
            .flat_map(|directory| &directory.files)
            .map(|(blob, file)| ((&*file.path, *blob), file));
        let reading = Reading {
            reader: self,
            environment,
            tree,
            fields: self.image_fields(environment).map_err(Unknown::Broken)?,
            known: known.collect(),
            now,
        };
        let directories = environment.manifests.iter();
        let directories = directories.map(|path| reading.directory(path));
        Ok(Layers {
            directories: directories.collect::<Result<_, _>>()?,
            patches: Arc::new(reading.patches()?),
            namespace: environment.cluster.namespace().to_owned(),
            fields: reading.fields,
            access: environment.access.clone().map(Arc::new),
        })
    }

    /// The image fields of an environment: known once for all units that have the same.
    pub(super) fn image_fields(
        &self,
        environment: &Environment,
    ) -> Result<Arc<ImageFields>, String> {
        let mut known = self.fields.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fields) = known.get(&environment.image_fields) {
            return Ok(fields.clone());
        }
        let mut fields = ImageFields::default();
        for field in &environment.image_fields {
            let kind = match field.group.as_str() {
                "" => field.kind.clone(),
                group => format!("{}.{group}", field.kind),
            };
            fields
                .add(&kind, &field.path)
                .map_err(|error| error.to_string())?;
        }
        let fields = Arc::new(fields);
        known.insert(environment.image_fields.clone(), fields.clone());
        Ok(fields)
    }
}

/// A tree that is being read.
struct Reading<'a> {
    reader: &'a InfraReader,
    environment: &'a Environment,
    tree: ObjectId,
    fields: Arc<ImageFields>,
    /// Files that were read before.
    known: HashMap<(&'a str, ObjectId), &'a Arc<ManifestFile>>,
    now: Timestamp,
}

impl Reading<'_> {
    fn directory(&self, path: &str) -> Result<Directory, Unknown> {
        let Some(found) = self.reader.repository.lookup(self.tree, path)? else {
            let why = format!("{path}: there is no such directory on the branch");
            return Err(Unknown::Broken(why));
        };
        let (mut files, mut images) = (Vec::new(), None);
        for (file, blob) in self.files(&found, path)? {
            if file.strip_prefix(path) == Some(&format!("/{IMAGES_FILE}")) {
                let read = manifest::parse_images(&file, &self.blob(blob)?)?;
                images = Some((blob, Arc::new(read)));
            } else if manifest::is_manifest(&file) {
                files.push((blob, self.manifest(&file, blob)?));
            }
        }
        Ok(Directory::new(path.to_owned(), files, images))
    }

    fn manifest(&self, path: &str, blob: ObjectId) -> Result<Arc<ManifestFile>, Unknown> {
        if let Some(known) = self.known.get(&(path, blob)) {
            return Ok(Arc::clone(known));
        }
        let bytes = self.blob(blob)?;
        let parsed = match (
            manifest::parse(path, &bytes, &self.fields),
            &self.environment.sops,
        ) {
            (Err(error), Some(sops)) if error.problem == Problem::Sealed => {
                let sealed = &self.reader.sealed;
                let opened = sealed
                    .open(sops, path, blob, self.now)
                    .map_err(Unknown::Sealed)?;
                manifest::parse_opened(path, &bytes, opened.expose(), &self.fields)?
            }
            (parsed, _) => parsed?,
        };
        Ok(Arc::new(parsed))
    }

    fn patches(&self) -> Result<Vec<PatchFile>, Unknown> {
        let Some(path) = &self.environment.patches else {
            return Ok(Vec::new());
        };
        let Some(found) = self.reader.repository.lookup(self.tree, path)? else {
            return Ok(Vec::new());
        };
        let mut patches = Vec::new();
        for (file, blob) in self.files(&found, path)? {
            if manifest::is_manifest(&file) {
                patches.push(manifest::parse_patches(&file, &self.blob(blob)?)?);
            }
        }
        Ok(patches)
    }

    /// The files below a directory, by path. What leads elsewhere is refused by name: it would be
    /// followed by other tools and by people, and never here.
    fn files(&self, found: &Found, path: &str) -> Result<Vec<(String, ObjectId)>, Unknown> {
        self.only_here(path, found.mode, Mode::Directory)?;
        let mut files = Vec::new();
        for change in self.reader.repository.changed(None, Some(found.id))? {
            let Some((mode, blob)) = change.new else {
                continue;
            };
            let file = format!("{path}/{}", change.path);
            let hidden = change.path.split('/').any(|name| name.starts_with('.'));
            if !hidden {
                self.only_here(&file, mode, Mode::File)?;
            }
            if mode.is_file() {
                files.push((file, blob));
            }
        }
        Ok(files)
    }

    fn only_here(&self, path: &str, mode: Mode, due: Mode) -> Result<(), Unknown> {
        let why = match mode {
            Mode::Symlink => {
                "this is a symbolic link, and none is followed — put the file itself here, or name the directory it leads to in `manifests:`"
            }
            Mode::Submodule => {
                "this is a submodule, and none is followed — put its files here, or let their pipeline commit them"
            }
            Mode::Directory => return Ok(()),
            Mode::File | Mode::Executable if due == Mode::File => return Ok(()),
            Mode::File | Mode::Executable => {
                "this is a file — name the directory it stands in, in environment.yaml"
            }
        };
        Err(Unknown::Broken(format!("{path}: {why}")))
    }

    fn blob(&self, id: ObjectId) -> Result<Bytes, GitError> {
        self.reader.repository.blob(id)
    }
}
