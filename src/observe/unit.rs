//! One unit of an infra repository: its desired state, records and proposal, made from the mirror.
//!
//! Costs nothing where the directories, records and branches it was made from did not change.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use gix::ObjectId;

use super::branch::EnvironmentSeen;
use super::infra::{InfraReader, Snapshot};
use crate::git::notes;
use crate::git::{Commit, GitError};
use crate::manifest::{self, IMAGES_FILE, ImageFields, ManifestFile};
use crate::model::record::{Standing, UnitRecords};
use crate::model::{ApplicationName, CommitId, Environment, Pipeline, proposal_branch};
use crate::plan::edit::{Directory, Layers, Replaced};
use crate::plan::{ChangedBy, Desired, Infra, Observed, Proposal, Unreadable};

/// What was made of a unit, and from what.
#[derive(Default)]
pub(super) struct Cached {
    inputs: Inputs,
    desired: Option<Result<Desired, String>>,
    records_blob: Option<ObjectId>,
    records: Option<Result<UnitRecords, String>>,
    proposal: Option<ProposalCached>,
}

/// What a unit is rendered from.
#[derive(Default, PartialEq)]
struct Inputs {
    directories: Vec<Option<ObjectId>>,
    patches: Option<ObjectId>,
}

/// What was made of a proposal branch: for this head of it, on that head of the base.
pub(super) struct ProposalCached {
    head: CommitId,
    base: CommitId,
    made_on: Option<CommitId>,
    proposal: Proposal,
}

impl InfraReader {
    /// The unit as the snapshot tells it.
    pub fn unit(
        &self,
        pipeline: &Pipeline,
        environment: &Environment,
        snapshot: &Observed<Arc<Snapshot>>,
    ) -> Observed<Arc<Infra>> {
        let (snapshot, at) = match snapshot {
            Observed::Seen { value, at } => (value, *at),
            Observed::Unreadable(unreadable) => return Observed::Unreadable(unreadable.clone()),
        };
        let unreadable = |why: String| {
            let source = environment.repository.to_string();
            Observed::Unreadable(Unreadable {
                source,
                why,
                since: at,
                retry: None,
            })
        };
        let Some(seen) = snapshot.environments.get(&environment.name) else {
            return unreadable(format!(
                "it has no branch `{}`: push one, or name another",
                environment.branch
            ));
        };
        let standing = match &seen.standing {
            Ok(standing) => standing.clone(),
            Err(_) => Arc::default(),
        };
        match self.infra(pipeline, environment, snapshot, seen, standing) {
            Ok(infra) => Observed::Seen {
                value: Arc::new(infra),
                at,
            },
            Err(error) => unreadable(error.to_string()),
        }
    }

    fn infra(
        &self,
        pipeline: &Pipeline,
        environment: &Environment,
        snapshot: &Snapshot,
        seen: &EnvironmentSeen,
        standing: Arc<Standing>,
    ) -> Result<Infra, GitError> {
        let application = &pipeline.application.name;
        let key = (environment.name.clone(), application.clone());
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let cached = cache.entry(key).or_default();
        self.desire(environment, seen.tree, cached)?;
        self.recall(application, seen, cached)?;
        let desired = cached
            .desired
            .clone()
            .unwrap_or_else(|| Err("not read".to_owned()));
        let records = match &seen.standing {
            Ok(_) => cached
                .records
                .clone()
                .unwrap_or_else(|| Ok(UnitRecords::default())),
            Err(why) => Err(why.clone()),
        };
        let unlanded = records.as_ref().ok().and_then(|records| {
            let newest = records.deployment.as_ref()?;
            let never = newest.verdict.is_none() && seen.unlanded.contains(&newest.commit);
            never.then(|| records.without_newest())
        });
        let changed = match (&desired, &records) {
            (Ok(desired), Ok(records)) => {
                let recorded = records
                    .deployment
                    .as_ref()
                    .map(|deployment| deployment.state);
                match recorded == Some(desired.rendered.state) {
                    true => None,
                    false => self.changed_by(environment, seen)?,
                }
            }
            _ => None,
        };
        let made_on = records
            .as_ref()
            .ok()
            .and_then(|records| Some(records.proposal.as_ref()?.base));
        let name = format!(
            "refs/heads/{}",
            proposal_branch(&environment.name, application)
        );
        let proposal = match snapshot.refs.get(&name) {
            Some(shown) => {
                let head = CommitId(shown.id);
                Some(self.proposal(environment, head, made_on, seen, cached)?)
            }
            None => None,
        };
        Ok(Infra {
            head: seen.head,
            head_since: seen.head_since,
            went_back: seen.went_back,
            records_head: seen.records_head,
            standing,
            records,
            unlanded,
            desired,
            changed,
            proposal,
            behind: seen.behind.clone(),
        })
    }

    /// Renders the unit, unless its directories are the ones it was rendered from.
    fn desire(
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
    fn make(
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

    fn inputs(&self, environment: &Environment, tree: ObjectId) -> Result<Inputs, GitError> {
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

    /// Reads the unit's records, unless they are the ones it was read from.
    fn recall(
        &self,
        application: &ApplicationName,
        seen: &EnvironmentSeen,
        cached: &mut Cached,
    ) -> Result<(), GitError> {
        let blob = match seen.records_tree {
            Some(tree) => notes::unit_blob(&self.repository, tree, application)?,
            None => None,
        };
        if cached.records.is_some() && cached.records_blob == blob {
            return Ok(());
        }
        cached.records = Some(match (blob, seen.records_tree) {
            (Some(_), Some(tree)) => notes::read_unit(&self.repository, tree, application)
                .map_err(|error| error.to_string()),
            _ => Ok(UnitRecords::default()),
        });
        cached.records_blob = blob;
        Ok(())
    }

    /// The newest first-parent commit that touched what the unit is rendered from.
    fn changed_by(
        &self,
        environment: &Environment,
        seen: &EnvironmentSeen,
    ) -> Result<Option<ChangedBy>, GitError> {
        for pair in seen.history.windows(2) {
            let [newer, older] = pair else { continue };
            if self.inputs(environment, newer.tree)? != self.inputs(environment, older.tree)? {
                let by = newer.committer.email.clone();
                return Ok(Some(ChangedBy {
                    commit: newer.id,
                    by,
                }));
            }
        }
        Ok(None)
    }

    fn proposal(
        &self,
        environment: &Environment,
        head: CommitId,
        made_on: Option<CommitId>,
        seen: &EnvironmentSeen,
        cached: &mut Cached,
    ) -> Result<Proposal, GitError> {
        if let Some(cached) = &cached.proposal
            && (cached.head, cached.base, cached.made_on) == (head, seen.head, made_on)
        {
            return Ok(cached.proposal.clone());
        }
        let base = cached.desired.as_ref().and_then(|it| it.as_ref().ok());
        let commit = self.repository.commit(head)?;
        let inputs = self.inputs(environment, commit.tree)?;
        let desired = self.make(environment, commit.tree, &inputs, &cached.inputs, base)?;
        let proposal = Proposal {
            head,
            desired,
            conflicts: self.conflicts(&commit, made_on, seen)?,
        };
        cached.proposal = Some(ProposalCached {
            head,
            base: seen.head,
            made_on,
            proposal: proposal.clone(),
        });
        Ok(proposal)
    }

    /// Whether the base changed a file that the proposal changes.
    fn conflicts(
        &self,
        proposal: &Commit,
        made_on: Option<CommitId>,
        seen: &EnvironmentSeen,
    ) -> Result<bool, GitError> {
        // What is not recorded is not ours: it says itself what it stands on.
        let Some(base) = made_on.or(proposal.parents.first().copied()) else {
            return Ok(true);
        };
        if base == seen.head {
            return Ok(false);
        }
        // Where the history is not here (a person rewrote the branch), the merge itself will tell.
        let Ok(base) = self.repository.commit(base) else {
            return Ok(false);
        };
        let edited = self
            .repository
            .changed(Some(base.tree), Some(proposal.tree))?;
        for change in edited {
            let on_base = self
                .repository
                .lookup(seen.tree, &change.path)?
                .map(|found| found.id);
            let as_planned = change.old.map(|(_, id)| id);
            let as_proposed = change.new.map(|(_, id)| id);
            if on_base != as_planned && on_base != as_proposed {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
