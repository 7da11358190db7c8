//! What an infra repository says: heads, records, proposals, and each unit's desired state.
//!
//! The repository is looked at as a whole, in one request; a unit's view is made from the mirror
//! when a round asks for it, and costs nothing where its directories and records did not change.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use gix::ObjectId;
use jiff::Timestamp;

use super::source::Failed;
use crate::git::notes::{self, records_ref};
use crate::git::{Commit, End, GitError, Reach, Refs, Repository};
use crate::manifest::{self, IMAGES_FILE, ImageFields, ManifestFile};
use crate::model::record::{Standing, UnitRecords};
use crate::model::{
    ApplicationName, CommitId, Environment, EnvironmentName, Pipeline, proposal_branch,
};
use crate::plan::edit::{Directory, Layers};
use crate::plan::{ChangedBy, Desired, Infra, Observed, Proposal, Unreadable};

/// The furthest that is walked back for the newest recorded deployment.
const WALK_MAX: usize = 10_000;

/// A proposal is one commit, and the one it stands on tells whether the base moved under it.
const PROPOSAL_DEPTH: u32 = 2;

/// A repository as it was last looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    refs: Refs,
    environments: BTreeMap<EnvironmentName, Arc<EnvironmentSeen>>,
}

/// One environment of it.
#[derive(Debug, PartialEq)]
struct EnvironmentSeen {
    head: CommitId,
    head_since: Timestamp,
    records_head: Option<CommitId>,
    records_tree: Option<ObjectId>,
    standing: Result<Standing, String>,
    /// First parents from the head to the newest recorded deployment, newest first.
    history: Vec<Commit>,
    behind: Arc<BTreeSet<CommitId>>,
    went_back: bool,
}

/// See the module.
pub struct InfraReader {
    repository: Repository,
    environments: BTreeMap<EnvironmentName, String>,
    cache: Mutex<HashMap<(EnvironmentName, ApplicationName), Cached>>,
}

/// What was made of a unit, and from what.
#[derive(Default)]
struct Cached {
    directories: Vec<Option<ObjectId>>,
    patches: Option<ObjectId>,
    desired: Option<Result<Desired, String>>,
    records_blob: Option<ObjectId>,
    records: Option<Result<UnitRecords, String>>,
}

impl InfraReader {
    /// Reads these environments (with their branches) of a repository.
    pub fn new(repository: Repository, environments: BTreeMap<EnvironmentName, String>) -> Self {
        Self {
            repository,
            environments,
            cache: Mutex::default(),
        }
    }

    /// The mirror.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Asks the server where everything stands, and brings what is new.
    ///
    /// # Errors
    /// Says what the server, or the mirror, answered.
    pub async fn look(
        &self,
        before: Option<&Snapshot>,
        now: Timestamp,
    ) -> Result<Snapshot, Failed> {
        let mut prefixes = Vec::new();
        for (environment, branch) in &self.environments {
            prefixes.push(format!("refs/heads/{branch}"));
            prefixes.push(records_ref(environment));
            prefixes.push(format!("refs/heads/towpath/{environment}/"));
        }
        let refs = self.repository.look(&prefixes).await.map_err(failed)?;
        self.read(refs, before, now).await
    }

    /// What our own pushes made of what was seen, without asking.
    ///
    /// # Errors
    /// As [`Self::look`].
    pub async fn after_push(
        &self,
        before: Option<&Snapshot>,
        now: Timestamp,
    ) -> Result<Snapshot, Failed> {
        self.read(self.repository.seen(), before, now).await
    }

    /// Whether the snapshot shows the refs as they were last seen, our own pushes included.
    pub fn is_caught_up(&self, snapshot: &Snapshot) -> bool {
        snapshot.refs == self.own(self.repository.seen())
    }

    /// The refs that are read here: the mirror may have seen others.
    fn own(&self, mut refs: Refs) -> Refs {
        refs.retain(|name, _| {
            self.environments.iter().any(|(environment, branch)| {
                name.strip_prefix("refs/heads/") == Some(branch)
                    || *name == records_ref(environment)
                    || name.starts_with(&format!("refs/heads/towpath/{environment}/"))
            })
        });
        refs
    }

    async fn read(
        &self,
        refs: Refs,
        before: Option<&Snapshot>,
        now: Timestamp,
    ) -> Result<Snapshot, Failed> {
        let refs = self.own(refs);
        if let Some(before) = before.filter(|before| before.refs == refs) {
            return Ok(before.clone());
        }
        self.bring(&refs).await.map_err(failed)?;
        let mut environments = BTreeMap::new();
        for (environment, branch) in &self.environments {
            let before = before.and_then(|before| before.environments.get(environment));
            let Some(head) = refs.get(&format!("refs/heads/{branch}")) else {
                continue;
            };
            let records = refs
                .get(&records_ref(environment))
                .map(|shown| CommitId(shown.id));
            let seen = self
                .environment(CommitId(head.id), records, before, now)
                .await;
            environments.insert(environment.clone(), seen.map_err(failed)?);
        }
        Ok(Snapshot { refs, environments })
    }

    /// Brings the commits that decisions are made from.
    async fn bring(&self, refs: &Refs) -> Result<(), GitError> {
        let (mut tips, mut proposals) = (Vec::new(), Vec::new());
        for (environment, branch) in &self.environments {
            let head = refs.get(&format!("refs/heads/{branch}"));
            tips.extend(head.map(|shown| shown.id));
            tips.extend(refs.get(&records_ref(environment)).map(|shown| shown.id));
            let prefix = format!("refs/heads/towpath/{environment}/");
            let below = refs
                .range(prefix.clone()..)
                .take_while(|(name, _)| name.starts_with(&prefix));
            proposals.extend(below.map(|(_, shown)| shown.id));
        }
        self.repository.fetch(&tips, Reach::Tip).await?;
        self.repository
            .fetch(&proposals, Reach::Depth(PROPOSAL_DEPTH))
            .await
    }

    async fn environment(
        &self,
        head: CommitId,
        records: Option<CommitId>,
        before: Option<&Arc<EnvironmentSeen>>,
        now: Timestamp,
    ) -> Result<Arc<EnvironmentSeen>, GitError> {
        if let Some(before) = before.filter(|it| it.head == head && it.records_head == records) {
            return Ok(before.clone());
        }
        let tree = match records {
            Some(records) => Some(self.repository.commit(records)?.tree),
            None => None,
        };
        let standing = match tree {
            Some(tree) => {
                notes::read_standing(&self.repository, tree).map_err(|error| error.to_string())
            }
            None => Ok(Standing::default()),
        };
        let newest = standing.as_ref().ok().and_then(|standing| standing.newest);
        let (history, went_back) = self.history(head, newest).await?;
        let behind = Arc::new(history.iter().map(|commit| commit.id).collect());
        let head_since = match before {
            Some(before) if before.head == head => before.head_since,
            _ => now,
        };
        Ok(Arc::new(EnvironmentSeen {
            head,
            head_since,
            records_head: records,
            records_tree: tree,
            standing,
            history,
            behind,
            went_back,
        }))
    }

    /// First parents back to the newest recorded deployment; whether it is no longer among them.
    async fn history(
        &self,
        head: CommitId,
        newest: Option<CommitId>,
    ) -> Result<(Vec<Commit>, bool), GitError> {
        let Some(newest) = newest else {
            return Ok((vec![self.repository.commit(head)?], false));
        };
        let stop = move |commit: &Commit| commit.id == newest;
        let walk = self.repository.first_parents(head, &stop, WALK_MAX).await?;
        Ok((walk.commits, walk.end == End::Root))
    }

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
            Err(why) => return unreadable(format!("its records: {why}")),
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
        standing: Standing,
    ) -> Result<Infra, GitError> {
        let application = &pipeline.application.name;
        let key = (environment.name.clone(), application.clone());
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let cached = cache.entry(key).or_default();
        let tree = self.repository.commit(seen.head)?.tree;
        self.desire(environment, tree, cached)?;
        self.recall(application, seen, cached)?;
        let desired = cached
            .desired
            .clone()
            .unwrap_or_else(|| Err("not read".to_owned()));
        let records = cached
            .records
            .clone()
            .unwrap_or_else(|| Ok(UnitRecords::default()));
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
        let proposal = self.proposal(
            environment,
            application,
            snapshot,
            seen,
            desired.as_ref().ok(),
        )?;
        Ok(Infra {
            head: seen.head,
            head_since: seen.head_since,
            went_back: seen.went_back,
            records_head: seen.records_head,
            standing,
            records,
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
        let directories = self.directory_ids(environment, tree)?;
        let patches = match &environment.patches {
            Some(path) => self.repository.lookup(tree, path)?.map(|found| found.id),
            None => None,
        };
        if cached.desired.is_some()
            && cached.directories == directories
            && cached.patches == patches
        {
            return Ok(());
        }
        let before = cached.desired.take().and_then(Result::ok);
        let desired = self.render(environment, tree, before.as_ref())?;
        cached.desired = Some(desired);
        cached.directories = directories;
        cached.patches = patches;
        Ok(())
    }

    fn directory_ids(
        &self,
        environment: &Environment,
        tree: ObjectId,
    ) -> Result<Vec<Option<ObjectId>>, GitError> {
        let paths = environment.manifests.iter();
        paths
            .map(|path| Ok(self.repository.lookup(tree, path)?.map(|found| found.id)))
            .collect()
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
        let fields = match image_fields(environment) {
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
            let mut directory = Directory {
                path: path.clone(),
                files: Vec::new(),
                images: None,
            };
            for (file, blob) in self.files(found.id, path)? {
                if file.strip_prefix(path.as_str()) == Some(&format!("/{IMAGES_FILE}")) {
                    match manifest::parse_images(&file, &self.repository.blob(blob)?) {
                        Ok(images) => directory.images = Some((blob, Arc::new(images))),
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
                    Ok(parsed) => directory.files.push((blob, parsed)),
                    Err(error) => return Ok(Err(error.to_string())),
                }
            }
            directories.push(directory);
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
            fields: Arc::new(fields),
        }))
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
        let inputs = |tree: ObjectId| -> Result<_, GitError> {
            let patches = match &environment.patches {
                Some(path) => self.repository.lookup(tree, path)?.map(|found| found.id),
                None => None,
            };
            Ok((self.directory_ids(environment, tree)?, patches))
        };
        for pair in seen.history.windows(2) {
            let [newer, older] = pair else { continue };
            if inputs(newer.tree)? != inputs(older.tree)? {
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
        application: &ApplicationName,
        snapshot: &Snapshot,
        seen: &EnvironmentSeen,
        base: Option<&Desired>,
    ) -> Result<Option<Proposal>, GitError> {
        let name = format!(
            "refs/heads/{}",
            proposal_branch(&environment.name, application)
        );
        let Some(shown) = snapshot.refs.get(&name) else {
            return Ok(None);
        };
        let commit = self.repository.commit(CommitId(shown.id))?;
        let desired = self.render(environment, commit.tree, base)?;
        let conflicts = self.conflicts(&commit, seen)?;
        Ok(Some(Proposal {
            head: commit.id,
            desired,
            conflicts,
        }))
    }

    /// Whether the base changed a file that the proposal changes.
    fn conflicts(&self, proposal: &Commit, seen: &EnvironmentSeen) -> Result<bool, GitError> {
        let head = self.repository.commit(seen.head)?;
        let Some(parent) = proposal.parents.first() else {
            return Ok(true);
        };
        if *parent == head.id {
            return Ok(false);
        }
        // Where the history is not here (a person's longer branch), the merge itself will tell.
        let Ok(parent) = self.repository.commit(*parent) else {
            return Ok(false);
        };
        let edited = self
            .repository
            .changed(Some(parent.tree), Some(proposal.tree))?;
        for change in edited {
            let on_base = self
                .repository
                .lookup(head.tree, &change.path)?
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

/// Whom a change of an infra repository may concern.
pub enum Concerned {
    /// Everybody who has an environment there.
    All,
    /// Units by their directories or their records.
    Some {
        /// Changed files, by environment.
        paths: BTreeMap<EnvironmentName, Vec<String>>,
        /// Units whose records or proposal changed.
        units: BTreeSet<(EnvironmentName, ApplicationName)>,
    },
}

impl Concerned {
    /// Whether this unit is concerned.
    pub fn is(&self, environment: &Environment, application: &ApplicationName) -> bool {
        let Self::Some { paths, units } = self else {
            return true;
        };
        let directories = environment.manifests.iter().chain(&environment.patches);
        let below = |path: &String| {
            directories.clone().any(|directory| {
                path.strip_prefix(directory.as_str())
                    .is_some_and(|rest| rest.starts_with('/'))
            })
        };
        units.contains(&(environment.name.clone(), application.clone()))
            || paths
                .get(&environment.name)
                .is_some_and(|paths| paths.iter().any(below))
    }
}

impl InfraReader {
    /// Whom the change from one snapshot to the next may concern.
    pub fn concerned(&self, before: &Snapshot, after: &Snapshot) -> Concerned {
        self.try_concerned(before, after).unwrap_or(Concerned::All)
    }

    fn try_concerned(&self, before: &Snapshot, after: &Snapshot) -> Option<Concerned> {
        let (mut paths, mut units) = (BTreeMap::new(), BTreeSet::new());
        for environment in self.environments.keys() {
            let old = before.environments.get(environment)?;
            let new = after.environments.get(environment)?;
            if old.standing.as_ref().ok()?.hold != new.standing.as_ref().ok()?.hold
                || old.standing.as_ref().ok()?.failed != new.standing.as_ref().ok()?.failed
                || old.went_back != new.went_back
            {
                return None;
            }
            if old.head != new.head {
                let old = self.repository.commit(old.head).ok()?.tree;
                let new = self.repository.commit(new.head).ok()?.tree;
                let changed = self.repository.changed(Some(old), Some(new)).ok()?;
                paths.insert(
                    environment.clone(),
                    changed.into_iter().map(|it| it.path).collect(),
                );
            }
            if old.records_tree != new.records_tree {
                let changed = self
                    .repository
                    .changed(old.records_tree, new.records_tree)
                    .ok()?;
                let present = changed
                    .iter()
                    .filter_map(|it| it.path.strip_prefix("present/applications/"));
                units.extend(
                    present.filter_map(|name| Some((environment.clone(), name.parse().ok()?))),
                );
            }
            let prefix = format!("refs/heads/towpath/{environment}/");
            for name in before.refs.keys().chain(after.refs.keys()) {
                if let Some(application) = name.strip_prefix(&prefix)
                    && before.refs.get(name) != after.refs.get(name)
                {
                    units.insert((environment.clone(), application.parse().ok()?));
                }
            }
        }
        Some(Concerned::Some { paths, units })
    }
}

fn image_fields(environment: &Environment) -> Result<ImageFields, String> {
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
    Ok(fields)
}

fn failed(error: GitError) -> Failed {
    Failed {
        why: error.to_string(),
        retry_after: error.retry_after(),
    }
}
