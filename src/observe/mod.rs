//! Reads the four outside systems into plain `World` values.
//!
//! Owns what is kept of each source and since when. Never decides, never writes. A world is put
//! together from what is kept, without a request: a slow source keeps nobody waiting who does not
//! need it.

mod attached;
mod beside;
mod branch;
mod built;
mod catalogue;
mod claims;
mod concerned;
mod desired;
mod history;
mod infra;
mod intervals;
mod live;
mod lookup;
mod merging;
mod moved;
mod past;
mod releases;
mod removed;
mod requests;
mod sealed;
mod source;
mod told;
mod unit;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::join_all;
use jiff::Timestamp;

pub(crate) use attached::AGAIN as EVIDENCE_AGAIN;
pub use built::Labels;
pub use claims::Claims;
pub use concerned::Concerned;
pub use history::{Between, History, HistoryReader};
pub use infra::{InfraReader, Place, RecordsSeen, Snapshot};
pub use intervals::Intervals;
pub use live::LiveSource;
pub use merging::WouldBe;
pub use releases::TagReader;
pub use removed::LeftBehind;
pub use requests::{Changed, RequestSource};
pub use source::{Bell, Failed, Source, Stale};

use catalogue::CatalogueKept;
use lookup::{Looked, without_digest};

use crate::cluster::SharedReadCluster;
use crate::evidence::AskEvidence;
use crate::forge::SharedReadForge;
use crate::git::Repository;
use crate::model::catalogue::Tags;
use crate::model::{
    ApplicationName, CommitId, Environment, EnvironmentName, Gate, ImageReference, ImageRepository,
    Pipeline, RepositoryUrl, proposal_branch,
};
use crate::plan::{Infra, Learned, Observed, Request, UnitView, Unreadable, World, awaited};
use crate::registry::Registry;
use crate::smoke::Probe;

/// How often encrypted files are opened before a world is made of them: those of branches, and those
/// of the proposals on them.
const OPENINGS: usize = 2;

/// The outside systems that pipelines need, to look at: what holds no more than this applies nothing.
pub struct Outside {
    /// Reads every image registry.
    pub registry: Arc<dyn Registry>,
    /// Mirrors of every infra and source repository.
    pub repositories: BTreeMap<RepositoryUrl, Repository>,
    /// The clusters of the environments that this process acts for; the others are known by their records.
    pub clusters: BTreeMap<EnvironmentName, SharedReadCluster>,
    /// By address, the forges of infra repositories, where requests about proposals are made, and of source
    /// repositories whose commits' checks are evidence.
    pub forges: BTreeMap<RepositoryUrl, SharedReadForge>,
    /// Asks what was deployed whether it answers.
    pub probe: Arc<dyn Probe>,
    /// Asks endpoints for evidence.
    pub evidence: Arc<dyn AskEvidence>,
}

/// An infra repository and what is kept of it.
pub struct InfraSource {
    /// Reads it.
    pub reader: InfraReader,
    /// What is kept.
    pub source: Source<Arc<Snapshot>>,
    /// While a look is on its way, the commits that it should find.
    looking: Mutex<Option<BTreeSet<CommitId>>>,
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

/// Everything that is observed for a set of pipelines.
pub struct Observatory {
    /// By address.
    pub infra: BTreeMap<RepositoryUrl, Arc<InfraSource>>,
    /// By image repository.
    pub tags: BTreeMap<ImageRepository, Arc<TagSource>>,
    /// By address.
    pub histories: BTreeMap<RepositoryUrl, Arc<HistorySource>>,
    /// The requests of infra repositories whose gate has some, by address.
    pub requests: BTreeMap<RepositoryUrl, Arc<RequestSource>>,
    /// By unit.
    pub live: BTreeMap<(EnvironmentName, ApplicationName), Arc<LiveSource>>,
    /// Of units that the configuration no longer has.
    live_removed: Mutex<BTreeMap<(EnvironmentName, ApplicationName), Arc<LiveSource>>>,
    /// All that the configuration has: these and those that are not observed.
    configured: Vec<Arc<Pipeline>>,
    /// The applications that it takes to each environment.
    taken: BTreeMap<EnvironmentName, BTreeSet<ApplicationName>>,
    clusters: BTreeMap<EnvironmentName, SharedReadCluster>,
    registry: Arc<dyn Registry>,
    evidence: Arc<dyn AskEvidence>,
    forges: BTreeMap<RepositoryUrl, SharedReadForge>,
    catalogues: Mutex<BTreeMap<ApplicationName, CatalogueKept>>,
    resolved: Mutex<BTreeMap<ImageReference, Looked>>,
    attached: Mutex<attached::Attached>,
}

impl Observatory {
    /// Observes what these pipelines need, of all that the configuration has.
    pub fn new(
        pipelines: &[Arc<Pipeline>],
        configured: &[Arc<Pipeline>],
        outside: &Outside,
        now: Timestamp,
    ) -> Self {
        let mut places: BTreeMap<RepositoryUrl, BTreeMap<EnvironmentName, Place>> = BTreeMap::new();
        let mut templates: BTreeMap<ImageRepository, Vec<_>> = BTreeMap::new();
        let mut histories = BTreeMap::new();
        let mut live = BTreeMap::new();
        let mut requests = BTreeMap::new();
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
                    queued: environment.gate == Gate::PullRequest,
                    authority: environment.authority.clone(),
                };
                of.insert(environment.name.clone(), place);
                let url = &environment.repository;
                if environment.gate == Gate::PullRequest
                    && let Some(forge) = outside.forges.get(url)
                {
                    let source = || Arc::new(RequestSource::new(forge.clone(), now));
                    requests.entry(url.clone()).or_insert_with(source);
                }
                if let Some(cluster) = outside.clusters.get(&environment.name) {
                    let key = (environment.name.clone(), application.name.clone());
                    live.insert(
                        key,
                        Arc::new(LiveSource::new(
                            &application.name,
                            &environment.name,
                            cluster,
                            now,
                        )),
                    );
                }
            }
        }
        let infra = places.into_iter().filter_map(|(url, places)| {
            let repository = outside.repositories.get(&url)?.clone();
            let source = Source::new(url.to_string(), now);
            let reader = InfraReader::new(repository, places);
            let looking = Mutex::default();
            let source = InfraSource {
                reader,
                source,
                looking,
            };
            Some((url, Arc::new(source)))
        });
        let tags = templates.into_iter().map(|(repository, templates)| {
            let source = Source::new(repository.to_string(), now);
            let registry = outside.registry.clone();
            let reader = TagReader::new(registry, repository.clone(), templates);
            (repository, Arc::new(TagSource { reader, source }))
        });
        let mut taken: BTreeMap<EnvironmentName, BTreeSet<ApplicationName>> = BTreeMap::new();
        for pipeline in configured {
            for environment in &pipeline.environments {
                let of = taken.entry(environment.name.clone()).or_default();
                of.insert(pipeline.application.name.clone());
            }
        }
        Self {
            taken,
            infra: infra.collect(),
            tags: tags.collect(),
            histories,
            requests,
            live,
            live_removed: Mutex::default(),
            configured: configured.to_vec(),
            clusters: outside.clusters.clone(),
            registry: outside.registry.clone(),
            evidence: outside.evidence.clone(),
            forges: outside.forges.clone(),
            catalogues: Mutex::default(),
            resolved: Mutex::default(),
            attached: Mutex::default(),
        }
    }

    /// Reads every source once, those that depend on others after them.
    pub async fn read_all(&self, pipelines: &[Arc<Pipeline>], now: Timestamp) {
        let requests = join_all(self.requests.values().map(|source| source.read(now)));
        drop(tokio::join!(self.read_releases(now), requests));
        for pipeline in pipelines {
            // Making the world tells each unit's source which objects its manifests name.
            let world = self.world(pipeline, now);
            self.resolve(&self.unresolved(pipeline, &world), now).await;
            let images = self.unattached(awaited(pipeline, &world, now), now);
            self.read_attached(&images, now).await;
        }
        self.open_asked(pipelines, now).await;
        join_all(self.live.values().map(|source| source.read(now))).await;
        self.read_removed(now).await;
    }

    /// Opens the encrypted files that worlds of these pipelines asked for, and those that they ask for then.
    pub async fn open_asked(&self, pipelines: &[Arc<Pipeline>], now: Timestamp) {
        // What only a proposal holds is asked for once the branch itself is read.
        for _ in 0..OPENINGS {
            let open = self.infra.values();
            let open = open.map(|source| source.reader.open_asked(now));
            if !join_all(open).await.contains(&true) {
                break;
            }
            for pipeline in pipelines {
                self.world(pipeline, now);
            }
        }
    }

    /// What is kept of everything that a pipeline needs. No request.
    pub fn world(&self, pipeline: &Pipeline, now: Timestamp) -> World {
        let catalogue = match pipeline.removed {
            true => Observed::Seen {
                value: Arc::default(),
                at: now,
            },
            false => self.catalogue(pipeline, now),
        };
        let units = pipeline.environments.iter().map(|environment| {
            (
                environment.name.clone(),
                self.unit(pipeline, environment, now),
            )
        });
        let mut world = World {
            catalogue,
            resolved: BTreeMap::new(),
            attached: BTreeMap::new(),
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
        world.attached = self.attached_to(pipeline, now);
        world
    }

    /// The environments that this process acts for.
    pub fn acts_for(&self) -> BTreeSet<&EnvironmentName> {
        self.live
            .keys()
            .map(|(environment, _)| environment)
            .collect()
    }

    /// Whether every source that a pipeline needs was tried at least once.
    pub fn is_tried(&self, pipeline: &Pipeline) -> bool {
        let images = pipeline.application.images.iter();
        let tags = images.filter_map(|image| self.tags.get(&image.repository));
        let environments = || pipeline.environments.iter();
        let infra = environments().filter_map(|it| self.infra.get(&it.repository));
        let live = environments().filter_map(|it| self.live_of(pipeline, it));
        let gated = environments().filter(|it| it.gate == Gate::PullRequest);
        let requests = gated.filter_map(|it| self.requests.get(&it.repository));
        let source = pipeline.application.source.iter();
        let histories = source.filter_map(|it| self.histories.get(&it.url));
        tags.map(|it| it.source.is_tried())
            .chain(infra.map(|it| it.source.is_tried() && it.reader.is_open()))
            .chain(live.map(|it| it.source.is_tried()))
            .chain(histories.map(|it| it.source.is_tried()))
            .chain(requests.map(|it| it.source.is_tried()))
            .all(|tried| tried)
    }

    /// The kept live objects of a unit.
    pub fn live_of(
        &self,
        pipeline: &Pipeline,
        environment: &Environment,
    ) -> Option<Arc<LiveSource>> {
        self.live_of_unit(&environment.name, &pipeline.application.name)
    }

    fn live_of_unit(
        &self,
        environment: &EnvironmentName,
        application: &ApplicationName,
    ) -> Option<Arc<LiveSource>> {
        let key = (environment.clone(), application.clone());
        let removed = || {
            let removed = self.live_removed.lock();
            let removed = removed.unwrap_or_else(PoisonError::into_inner);
            removed.get(&key).cloned()
        };
        self.live.get(&key).cloned().or_else(removed)
    }

    fn unit(&self, pipeline: &Pipeline, environment: &Environment, now: Timestamp) -> UnitView {
        let infra = match self.infra.get(&environment.repository) {
            Some(source) => {
                source
                    .reader
                    .unit(pipeline, environment, &source.source.observed(), now)
            }
            None => Observed::Unreadable(unreadable(
                &environment.repository.to_string(),
                "it is not configured",
                now,
            )),
        };
        let live = self.live_of(pipeline, environment).map(|source| {
            let Ok(infra) = infra.read() else {
                return source.observed();
            };
            source.desire(infra);
            self.with_claims(pipeline, environment, infra, source.observed(), now)
        });
        let request = self.request(pipeline, environment, &infra, now);
        UnitView {
            infra,
            request,
            live,
            learned: Learned::default(),
        }
    }

    /// The request about a unit's proposal; with `gate: branch` the proposal branch is the request.
    fn request(
        &self,
        pipeline: &Pipeline,
        environment: &Environment,
        infra: &Observed<Arc<Infra>>,
        now: Timestamp,
    ) -> Observed<Option<Request>> {
        let branch = || proposal_branch(&environment.name, &pipeline.application.name);
        match environment.gate {
            Gate::None => Observed::Seen {
                value: None,
                at: now,
            },
            Gate::Branch => match infra {
                Observed::Seen { value, at } => Observed::Seen {
                    value: value
                        .proposal
                        .as_ref()
                        .map(|it| it.as_request(&branch(), *at)),
                    at: *at,
                },
                Observed::Unreadable(unreadable) => Observed::Unreadable(unreadable.clone()),
            },
            Gate::PullRequest => match self.requests.get(&environment.repository) {
                Some(source) => source.of(&branch(), &environment.branch),
                None => Observed::Unreadable(unreadable(
                    &environment.repository.to_string(),
                    "no forge of it is known: write `forge: github` or `forge: gitea` in `repository`",
                    now,
                )),
            },
        }
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
