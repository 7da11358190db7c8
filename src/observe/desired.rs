//! What a tree asks for: a unit's directories and patches, read and rendered.
//!
//! Only what differs from before is read and rendered again.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use gix::ObjectId;

use super::infra::InfraReader;
use super::unit::Cached;
use crate::git::GitError;
use crate::manifest::{self, IMAGES_FILE, ImageFields, ManifestFile};
use crate::model::Environment;
use crate::plan::Desired;
use crate::plan::edit::{Directory, Layers, Replaced};

/// What a unit is rendered from.
#[derive(Default, PartialEq)]
pub(super) struct Inputs {
    directories: Vec<Option<ObjectId>>,
    patches: Option<ObjectId>,
}

impl InfraReader {
    /// Renders the unit, unless its directories are the ones it was rendered from.
    pub(super) fn desire(
        &self,
        environment: &Environment,
        tree: ObjectId,
        cached: &mut Cached,
    ) -> Result<(), GitError> {
        let inputs = self.inputs(environment, tree)?;
        if cached.desired.is_some() && cached.inputs == inputs {
            return Ok(());
        }
        let before = cached.desired.take().and_then(Result::ok);
        let desired = self.make(environment, tree, &inputs, &cached.inputs, before.as_ref())?;
        cached.desired = Some(desired);
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
    ) -> Result<Result<Desired, String>, GitError> {
        if let Some(before) = before
            && old.patches == new.patches
            && let Some(desired) =
                self.change(environment, before, &old.directories, &new.directories)?
        {
            return Ok(Ok(desired));
        }
        self.render(environment, tree, before)
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
            if !was.is_blob() || !is.is_blob() || change.path == IMAGES_FILE {
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

    fn render(
        &self,
        environment: &Environment,
        tree: ObjectId,
        before: Option<&Desired>,
    ) -> Result<Result<Desired, String>, GitError> {
        let layers = match self.layers(environment, tree, before)? {
            Ok(layers) => layers,
            Err(why) => return Ok(Err(why)),
        };
        Ok(layers
            .render()
            .map_err(|error| error.to_string())
            .map(|rendered| Desired {
                layers: Arc::new(layers),
                rendered: Arc::new(rendered),
            }))
    }

    /// Reads the directories; files whose blob was read before are not parsed again.
    fn layers(
        &self,
        environment: &Environment,
        tree: ObjectId,
        before: Option<&Desired>,
    ) -> Result<Result<Layers, String>, GitError> {
        let fields = match self.image_fields(environment) {
            Ok(fields) => fields,
            Err(why) => return Ok(Err(why)),
        };
        let known: HashMap<(&str, ObjectId), &Arc<ManifestFile>> = before
            .into_iter()
            .flat_map(|before| &before.layers.directories)
            .flat_map(|directory| &directory.files)
            .map(|(blob, file)| ((&*file.path, *blob), file))
            .collect();
        let mut directories = Vec::new();
        for path in &environment.manifests {
            let Some(found) = self.repository.lookup(tree, path)? else {
                return Ok(Err(format!(
                    "{path}: there is no such directory on the branch"
                )));
            };
            let (mut files, mut images) = (Vec::new(), None);
            for (file, blob) in self.files(found.id, path)? {
                if file.strip_prefix(path.as_str()) == Some(&format!("/{IMAGES_FILE}")) {
                    match manifest::parse_images(&file, &self.repository.blob(blob)?) {
                        Ok(read) => images = Some((blob, Arc::new(read))),
                        Err(error) => return Ok(Err(error.to_string())),
                    }
                    continue;
                }
                if !manifest::is_manifest(&file) {
                    continue;
                }
                let parsed = match known.get(&(file.as_str(), blob)) {
                    Some(known) => Ok(Arc::clone(known)),
                    None => {
                        manifest::parse(&file, &self.repository.blob(blob)?, &fields).map(Arc::new)
                    }
                };
                match parsed {
                    Ok(parsed) => files.push((blob, parsed)),
                    Err(error) => return Ok(Err(error.to_string())),
                }
            }
            directories.push(Directory::new(path.clone(), files, images));
        }
        let mut patches = Vec::new();
        if let Some(path) = &environment.patches
            && let Some(found) = self.repository.lookup(tree, path)?
        {
            for (file, blob) in self.files(found.id, path)? {
                if !manifest::is_manifest(&file) {
                    continue;
                }
                match manifest::parse_patches(&file, &self.repository.blob(blob)?) {
                    Ok(patch) => patches.push(patch),
                    Err(error) => return Ok(Err(error.to_string())),
                }
            }
        }
        Ok(Ok(Layers {
            directories,
            patches: Arc::new(patches),
            namespace: environment.cluster.namespace().to_owned(),
            fields,
            access: environment.access.clone().map(Arc::new),
        }))
    }

    /// The image fields of an environment: known once for all units that have the same.
    fn image_fields(&self, environment: &Environment) -> Result<Arc<ImageFields>, String> {
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

    /// The files below a directory, by path. Links and submodules are not followed.
    fn files(&self, tree: ObjectId, path: &str) -> Result<Vec<(String, ObjectId)>, GitError> {
        let mut files = Vec::new();
        for change in self.repository.changed(None, Some(tree))? {
            if let Some((mode, blob)) = change.new
                && mode.is_blob()
            {
                files.push((format!("{path}/{}", change.path), blob));
            }
        }
        Ok(files)
    }
}
