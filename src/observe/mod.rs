//! Reads the four outside systems into plain `World` values.
//!
//! Owns what is kept of each source and since when. Never decides, never writes. A world is put
//! together from what is kept, without a request: a slow source keeps nobody waiting who does not
//! need it.

mod branch;
mod concerned;
mod history;
mod infra;
mod releases;
mod source;
mod unit;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;

pub use concerned::Concerned;
pub use history::{History, HistoryReader};
pub use infra::{InfraReader, Place, Snapshot};
pub use releases::{TagReader, Tags};
pub use source::{Failed, Source};

use crate::cluster::{SharedCluster, UnitScope};
use crate::git::Repository;
use crate::manifest::Rendered;
use crate::model::catalogue::{Catalogue, TagsSeen};
use crate::model::{
    ApplicationName, CommitId, Digest, Environment, EnvironmentName, Gate, ImageReference,
    ImageRepository, ObjectRef, Pipeline, Release, RepositoryUrl, proposal_branch,
};
use crate::plan::{Infra, Live, Observed, Request, UnitView, Unreadable, World};
use crate::registry::{Registry, RegistryError};

/// The outside systems that pipelines need.
pub struct Outside {
    /// Reads every image registry.
    pub registry: Arc<dyn Registry>,
    /// Mirrors of every infra and source repository.
    pub repositories: BTreeMap<RepositoryUrl, Repository>,
    /// The clusters of the environments that this process acts for; the others are known by their records.
    pub clusters: BTreeMap<EnvironmentName, SharedCluster>,
}

/// How often sources are read without being told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intervals {
    /// Git repositories.
    pub git: Duration,
    /// Image registries.
    pub registry: Duration,
    /// Clusters, beside being watched.
    pub cluster: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        let half_a_minute = Duration::from_secs(30);
        Self {
            git: half_a_minute,
            registry: half_a_minute,
            cluster: half_a_minute,
        }
    }
}

/// An infra repository and what is kept of it.
pub struct InfraSource {
    /// Reads it.
    pub reader: InfraReader,
    /// What is kept.
    pub source: Source<Arc<Snapshot>>,
}

/// An image repository and what is kept of it.
pub struct TagSource {
    /// Reads it.
    pub reader: TagReader,
    /// What is kept.
    pub source: Source<Arc<Tags>>,
}

/// A source repository and what is kept of it.
pub struct HistorySource {
    /// Reads it.
    pub reader: HistoryReader,
    /// What is kept.
    pub source: Source<Arc<History>>,
}

/// What a unit's cluster runs, and what is kept of it.
pub struct LiveSource {
    scope: UnitScope,
    cluster: SharedCluster,
    named: Mutex<Arc<Vec<ObjectRef>>>,
    /// The desired state that names them, so that the same is not compared again.
    named_by: Mutex<Weak<Rendered>>,
    /// What is kept, and for which named objects it was read.
    pub source: Source<Arc<Live>>,
    read_for: Mutex<Option<Arc<Vec<ObjectRef>>>>,
}

/// Everything that is observed for a set of pipelines.
pub struct Observatory {
    /// By address.
    pub infra: BTreeMap<RepositoryUrl, Arc<InfraSource>>,
    /// By image repository.
    pub tags: BTreeMap<ImageRepository, Arc<TagSource>>,
    /// By address.
    pub histories: BTreeMap<RepositoryUrl, Arc<HistorySource>>,
    /// By unit.
    pub live: BTreeMap<(EnvironmentName, ApplicationName), Arc<LiveSource>>,
    registry: Arc<dyn Registry>,
    catalogues: Mutex<BTreeMap<ApplicationName, CatalogueKept>>,
    resolved: Mutex<BTreeMap<ImageReference, Looked>>,
}

/// What a tag outside the catalogue pointed to when it was looked up.
#[derive(Clone, Copy)]
struct Looked {
    digest: Option<Digest>,
    at: Timestamp,
}

/// How long a tag that does not exist is not looked up again.
const ABSENT_FOR: Duration = Duration::from_secs(60);

/// A catalogue and what it was made from.
struct CatalogueKept {
    tags: Vec<Arc<Tags>>,
    history: Option<Arc<History>>,
    catalogue: Arc<Catalogue>,
}

impl Observatory {
    /// Observes what these pipelines need.
    pub fn new(pipelines: &[Arc<Pipeline>], outside: &Outside, now: Timestamp) -> Self {
        let mut places: BTreeMap<RepositoryUrl, BTreeMap<EnvironmentName, Place>> = BTreeMap::new();
        let mut templates: BTreeMap<ImageRepository, Vec<_>> = BTreeMap::new();
        let mut histories = BTreeMap::new();
        let mut live = BTreeMap::new();
        for pipeline in pipelines {
            let application = &pipeline.application;
            for image in &application.images {
                let of = templates.entry(image.repository.clone()).or_default();
                of.extend(
                    [&image.branch_tag, &image.release_tag]
                        .into_iter()
                        .flatten()
                        .cloned(),
                );
            }
            if let Some(source) = &application.source
                && let Some(repository) = outside.repositories.get(&source.url)
            {
                histories.entry(source.url.clone()).or_insert_with(|| {
                    Arc::new(HistorySource {
                        reader: HistoryReader::new(repository.clone()),
                        source: Source::new(source.url.to_string(), now),
                    })
                });
            }
            for environment in &pipeline.environments {
                let of = places.entry(environment.repository.clone()).or_default();
                let place = Place {
                    branch: environment.branch.clone(),
                    tags: environment.tags.clone(),
                };
                of.insert(environment.name.clone(), place);
                if let Some(cluster) = outside.clusters.get(&environment.name) {
                    let key = (environment.name.clone(), application.name.clone());
                    live.insert(
                        key,
                        Arc::new(LiveSource::new(pipeline, environment, cluster, now)),
                    );
                }
            }
        }
        let infra = places.into_iter().filter_map(|(url, places)| {
            let repository = outside.repositories.get(&url)?.clone();
            let source = Source::new(url.to_string(), now);
            let reader = InfraReader::new(repository, places);
            Some((url, Arc::new(InfraSource { reader, source })))
        });
        let tags = templates.into_iter().map(|(repository, templates)| {
            let source = Source::new(repository.to_string(), now);
            let registry = outside.registry.clone();
            let reader = TagReader::new(registry, repository.clone(), templates);
            (repository, Arc::new(TagSource { reader, source }))
        });
        Self {
            infra: infra.collect(),
            tags: tags.collect(),
            histories,
            live,
            registry: outside.registry.clone(),
            catalogues: Mutex::default(),
            resolved: Mutex::default(),
        }
    }

    /// Reads every source once, those that depend on others after them.
    pub async fn read_all(&self, pipelines: &[Arc<Pipeline>], now: Timestamp) {
        let infra = join_all(self.infra.values().map(|source| source.read(now)));
        let tags = join_all(self.tags.values().map(|source| source.read(now)));
        let histories = join_all(self.histories.values().map(|source| source.read(now)));
        drop(tokio::join!(infra, tags, histories));
        for pipeline in pipelines {
            // Making the world tells each unit's source which objects its manifests name.
            let world = self.world(pipeline, now);
            self.resolve(&self.unresolved(pipeline, &world), now).await;
        }
        join_all(self.live.values().map(|source| source.read(now))).await;
    }

    /// What is kept of everything that a pipeline needs. No request.
    pub fn world(&self, pipeline: &Pipeline, now: Timestamp) -> World {
        let catalogue = self.catalogue(pipeline, now);
        let units = pipeline.environments.iter().map(|environment| {
            (
                environment.name.clone(),
                self.unit(pipeline, environment, now),
            )
        });
        let mut world = World {
            catalogue,
            resolved: BTreeMap::new(),
            units: units.collect(),
        };
        let kept = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
        for reference in without_digest(pipeline, &world) {
            if let Some(looked) = kept.get(&reference).filter(|looked| looked.holds(now)) {
                world.resolved.insert(reference, looked.digest);
            }
        }
        drop(kept);
        self.watch_tags(pipeline, &world);
        world
    }

    /// Whether every source that a pipeline needs was tried at least once.
    pub fn is_tried(&self, pipeline: &Pipeline) -> bool {
        let images = pipeline.application.images.iter();
        let tags = images.filter_map(|image| self.tags.get(&image.repository));
        let environments = || pipeline.environments.iter();
        let infra = environments().filter_map(|it| self.infra.get(&it.repository));
        let live = environments().filter_map(|it| self.live_of(pipeline, it));
        tags.map(|it| it.source.is_tried())
            .chain(infra.map(|it| it.source.is_tried()))
            .chain(live.map(|it| it.source.is_tried()))
            .all(|tried| tried)
    }

    /// The kept live objects of a unit.
    pub fn live_of(
        &self,
        pipeline: &Pipeline,
        environment: &Environment,
    ) -> Option<&Arc<LiveSource>> {
        self.live
            .get(&(environment.name.clone(), pipeline.application.name.clone()))
    }

    /// Looks up these tags. One that cannot be looked up now is still unresolved afterwards.
    pub async fn resolve(&self, references: &BTreeSet<ImageReference>, now: Timestamp) {
        for reference in references {
            let Some(tag) = &reference.tag else { continue };
            let digest = match self.registry.resolve(&reference.repository, tag).await {
                Ok(digest) => digest,
                Err(RegistryError::NotFound { .. }) => None,
                Err(error) => {
                    tracing::warn!(%reference, %error, "the tag cannot be looked up");
                    continue;
                }
            };
            let mut resolved = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
            resolved.insert(reference.clone(), Looked { digest, at: now });
        }
    }

    /// Tags of a pipeline's images in its manifests that are neither in the catalogue nor looked up.
    pub fn unresolved(&self, pipeline: &Pipeline, world: &World) -> BTreeSet<ImageReference> {
        let mut open = without_digest(pipeline, world);
        let catalogue = world.catalogue.read().ok();
        open.retain(|reference| {
            let tag = reference.tag.as_deref().unwrap_or_default();
            let known = catalogue.is_some_and(|it| it.tag(&reference.repository, tag).is_some());
            !known && !world.resolved.contains_key(reference)
        });
        open
    }

    /// Tags that decisions rest on are asked for each time: what runs, is proposed or comes next.
    fn watch_tags(&self, pipeline: &Pipeline, world: &World) {
        let mut releases: Vec<Release> = Vec::new();
        let catalogue = world.catalogue.read().ok();
        for environment in &pipeline.environments {
            let newest = catalogue.and_then(|it| it.releases(&environment.follow).pop());
            releases.extend(newest);
            let view = world.units.get(&environment.name);
            let infra = view.and_then(|view| view.infra.read().ok());
            if let Some(Ok(records)) = infra.map(|infra| &infra.records) {
                releases.extend(records.running().cloned());
                releases.extend(records.proposal.iter().map(|it| it.release.clone()));
            }
        }
        for image in &pipeline.application.images {
            let tags = releases
                .iter()
                .filter_map(|release| release.images.get(&image.repository)?.tag.clone());
            if let Some(source) = self.tags.get(&image.repository) {
                source
                    .reader
                    .watch(&pipeline.application.name, tags.collect());
            }
        }
    }

    fn unit(&self, pipeline: &Pipeline, environment: &Environment, now: Timestamp) -> UnitView {
        let infra = match self.infra.get(&environment.repository) {
            Some(source) => source
                .reader
                .unit(pipeline, environment, &source.source.observed()),
            None => Observed::Unreadable(unreadable(
                &environment.repository.to_string(),
                "it is not configured",
                now,
            )),
        };
        let live = self.live_of(pipeline, environment).map(|source| {
            if let Ok(infra) = infra.read() {
                source.name_objects(infra);
            }
            source.observed()
        });
        let request = request(pipeline, environment, &infra, now);
        UnitView {
            infra,
            request,
            live,
        }
    }

    fn catalogue(&self, pipeline: &Pipeline, now: Timestamp) -> Observed<Arc<Catalogue>> {
        let application = &pipeline.application;
        let (mut tags, mut seen_at) = (Vec::new(), now);
        for image in &application.images {
            let Some(source) = self.tags.get(&image.repository) else {
                continue;
            };
            match source.source.observed() {
                Observed::Seen { value, at } => {
                    seen_at = seen_at.min(at);
                    tags.push(value);
                }
                Observed::Unreadable(unreadable) => return Observed::Unreadable(unreadable),
            }
        }
        let history = match application.source.as_ref() {
            Some(source) => match self.histories.get(&source.url).map(|it| it.known()) {
                Some(Ok(history)) => Some(history),
                Some(Err(unreadable)) => return Observed::Unreadable(unreadable),
                None => None,
            },
            None => None,
        };
        let mut kept = self
            .catalogues
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = kept.get(&application.name)
            && kept.is_made_from(&tags, history.as_ref())
        {
            return Observed::Seen {
                value: kept.catalogue.clone(),
                at: seen_at,
            };
        }
        let catalogue = Arc::new(assemble(pipeline, &tags, history.as_deref()));
        let value = catalogue.clone();
        kept.insert(
            application.name.clone(),
            CatalogueKept {
                tags,
                history,
                catalogue,
            },
        );
        Observed::Seen { value, at: seen_at }
    }
}

impl Looked {
    /// What exists is asked for once; what does not may be pushed any time.
    fn holds(&self, now: Timestamp) -> bool {
        let age = Duration::try_from(now.duration_since(self.at)).unwrap_or_default();
        self.digest.is_some() || age < ABSENT_FOR
    }
}

/// References to a pipeline's images that name a tag and no digest.
fn without_digest(pipeline: &Pipeline, world: &World) -> BTreeSet<ImageReference> {
    let mut found = BTreeSet::new();
    for view in world.units.values() {
        let Ok(infra) = view.infra.read() else {
            continue;
        };
        let Ok(desired) = &infra.desired else {
            continue;
        };
        for image in &pipeline.application.images {
            let named = desired.rendered.images(&image.repository).into_iter();
            found.extend(named.filter(|it| it.digest.is_none() && it.tag.is_some()));
        }
    }
    found
}

impl CatalogueKept {
    fn is_made_from(&self, tags: &[Arc<Tags>], history: Option<&Arc<History>>) -> bool {
        let same_tags = self.tags.len() == tags.len()
            && self.tags.iter().zip(tags).all(|(a, b)| Arc::ptr_eq(a, b));
        let same_history = match (&self.history, history) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (None, None) => true,
            _ => false,
        };
        same_tags && same_history
    }
}

/// The catalogue of an application, with what its source repository says of its builds.
fn assemble(pipeline: &Pipeline, tags: &[Arc<Tags>], history: Option<&History>) -> Catalogue {
    let sources = &pipeline.application.images;
    let mut seen: TagsSeen = sources
        .iter()
        .zip(tags)
        .map(|(image, tags)| (image.repository.clone(), Tags::clone(tags)))
        .collect();
    let mut bounds = BTreeMap::new();
    if let Some(history) = history {
        let mut commits: BTreeMap<CommitId, Timestamp> = BTreeMap::new();
        let mut named: BTreeMap<String, CommitId> = BTreeMap::new();
        for (image, tags) in sources.iter().zip(tags) {
            for (tag, build) in tags.iter() {
                let Some(name) = crate::model::catalogue::commit_of(image, tag, build) else {
                    continue;
                };
                let Some(commit) = history.find(&name) else {
                    continue;
                };
                let built = dated(build.built, history, commit);
                if let Some(build) = seen
                    .get_mut(&image.repository)
                    .and_then(|it| it.get_mut(tag))
                {
                    build.built = built;
                }
                let oldest = commits.entry(commit).or_insert(built);
                *oldest = built.min(*oldest);
                named.insert(name, commit);
            }
        }
        let by_commit = history.bounds(&commits);
        bounds = named
            .into_iter()
            .filter_map(|(name, commit)| Some((name, *by_commit.get(&commit)?)))
            .collect();
    }
    Catalogue::assemble(sources, &seen, &bounds)
}

/// An image without a date of its own has its commit's.
fn dated(built: Timestamp, history: &History, commit: CommitId) -> Timestamp {
    match built == Timestamp::UNIX_EPOCH {
        true => history.time(commit).unwrap_or(built),
        false => built,
    }
}

/// With `gate: branch` the proposal branch is the request.
fn request(
    pipeline: &Pipeline,
    environment: &Environment,
    infra: &Observed<Arc<Infra>>,
    now: Timestamp,
) -> Observed<Option<Request>> {
    match environment.gate {
        Gate::None => Observed::Seen {
            value: None,
            at: now,
        },
        Gate::Branch => match infra {
            Observed::Seen { value, at } => {
                let branch = proposal_branch(&environment.name, &pipeline.application.name);
                let name = format!("branch {branch}");
                let request = value.proposal.as_ref().map(|_| Request {
                    name,
                    url: None,
                    approved: false,
                });
                Observed::Seen {
                    value: request,
                    at: *at,
                }
            }
            Observed::Unreadable(unreadable) => Observed::Unreadable(unreadable.clone()),
        },
        Gate::PullRequest => Observed::Unreadable(unreadable(
            "the forge",
            "this version opens no pull requests yet: use `gate: branch`",
            now,
        )),
    }
}

fn unreadable(source: &str, why: &str, since: Timestamp) -> Unreadable {
    Unreadable {
        source: source.to_owned(),
        why: why.to_owned(),
        since,
        retry: None,
    }
}

impl InfraSource {
    /// Looks at the repository; says whether there is news.
    pub async fn read(&self, now: Timestamp) -> bool {
        let before = self.source.observed();
        let before = before.read().ok().map(Arc::as_ref);
        let read = self.reader.look(before, now).await;
        self.source.keep(read.map(Arc::new), now)
    }

    /// Takes in what a push of ours that landed changed. No request.
    pub async fn take_own(&self, now: Timestamp) {
        let before = self.source.observed();
        let Ok(before) = before.read() else { return };
        let read = self.reader.after_push(Some(before), now).await;
        self.source.keep(read.map(Arc::new), now);
    }

    /// Takes in what a push found changed; looks at the server where that explains nothing.
    pub async fn catch_up(&self, now: Timestamp) {
        let before = self.source.observed();
        let Ok(before) = before.read() else { return };
        let read = match self.reader.is_caught_up(before) {
            true => self.reader.look(Some(before), now).await,
            false => self.reader.after_push(Some(before), now).await,
        };
        self.source.keep(read.map(Arc::new), now);
    }
}

impl TagSource {
    /// Reads the tags; says whether there is news.
    pub async fn read(&self, now: Timestamp) -> bool {
        let before = self.source.observed();
        let before = before.read().ok().map(Arc::as_ref);
        let read = self.reader.read(before).await;
        // The same tags stay the same value, so that what is made from them is not made again.
        let read = match (read, before) {
            (Ok(tags), Some(before)) if tags == *before => {
                let same = self.source.observed();
                same.read().cloned().map_err(|unreadable| Failed {
                    why: unreadable.why.clone(),
                    retry_after: None,
                })
            }
            (read, _) => read.map(Arc::new),
        };
        self.source.keep(read, now)
    }
}

impl HistorySource {
    /// Reads the commits; says whether there is news.
    pub async fn read(&self, now: Timestamp) -> bool {
        let read = self.reader.read().await;
        self.source.keep(read, now)
    }
}

impl HistorySource {
    /// What is known, if anything ever was: commits do not change, so what was once read still orders
    /// builds when the repository cannot be read now.
    fn known(&self) -> Result<Arc<History>, Unreadable> {
        match self.source.observed() {
            Observed::Seen { value, .. } => Ok(value),
            Observed::Unreadable(unreadable) => self.reader.known().ok_or(unreadable),
        }
    }
}

impl LiveSource {
    fn new(
        pipeline: &Pipeline,
        environment: &Environment,
        cluster: &SharedCluster,
        now: Timestamp,
    ) -> Self {
        let scope = UnitScope {
            environment: environment.name.clone(),
            application: pipeline.application.name.clone(),
        };
        Self {
            scope,
            cluster: cluster.clone(),
            named: Mutex::default(),
            named_by: Mutex::default(),
            source: Source::new(cluster.name(), now),
            read_for: Mutex::default(),
        }
    }

    /// The cluster.
    pub fn cluster(&self) -> &SharedCluster {
        &self.cluster
    }

    /// Lists the unit's objects; says whether there is news.
    pub async fn read(&self, now: Timestamp) -> bool {
        let named = self
            .named
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let read = self.cluster.live(&self.scope, &named, now).await;
        let read = read.map_err(|error| Failed {
            why: error.to_string(),
            retry_after: retry_after(&error),
        });
        let since = self.source.answering_since(now);
        let read = read.map(|live| {
            Arc::new(Live {
                answering_since: since,
                ..live
            })
        });
        let read_for = self
            .read_for
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .replace(named.clone());
        // The same objects read for other names are news too: until now they could not be shown.
        let for_others = read_for.as_ref() != Some(&named);
        self.source.keep(read, now) || for_others
    }

    /// Tells which objects the unit's manifests name. If others than before, it is read again.
    fn name_objects(&self, infra: &Infra) {
        let Ok(desired) = &infra.desired else { return };
        let mut named_by = self.named_by.lock().unwrap_or_else(PoisonError::into_inner);
        if std::ptr::eq(named_by.as_ptr(), Arc::as_ptr(&desired.rendered)) {
            return;
        }
        *named_by = Arc::downgrade(&desired.rendered);
        let references = desired
            .rendered
            .objects
            .iter()
            .map(|object| &object.reference);
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if !named.iter().eq(references.clone()) {
            *named = Arc::new(references.cloned().collect());
            self.source.mark_stale();
        }
    }

    /// What was last read, if it was read for the objects that are named now.
    fn observed(&self) -> Observed<Arc<Live>> {
        let named = self
            .named
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let read_for = self
            .read_for
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        match (self.source.observed(), read_for) {
            (Observed::Seen { at, .. }, read_for) if read_for.as_ref() != Some(&named) => {
                let why = "it is being read";
                Observed::Unreadable(unreadable(self.source.name(), why, at))
            }
            (observed, _) => observed,
        }
    }
}

fn retry_after(error: &crate::cluster::ClusterError) -> Option<Duration> {
    match error {
        crate::cluster::ClusterError::Unavailable { retry_after, .. } => *retry_after,
        _ => None,
    }
}
