//! The servers of a run, and the processes that work on them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use super::draw::{Gated, Place, Shape};
use super::ledger::{Ledger, Who};
use super::wire::{SMOKE, Wire, Wires};
use crate::cluster::simulated::SimulatedCluster;
use crate::cluster::{SharedCluster, reading};
use crate::config::Config;
use crate::evidence::AskEvidence;
use crate::forge::SharedForge;
use crate::forge::simulated::SimulatedForge;
use crate::git::Repository;
use crate::git::memory::MemoryRemote;
use crate::model::{
    Author, ClusterSpec, Digest, EnvironmentName, EvidenceEndpoint, Pipeline, RepositoryUrl,
    SmokeTest,
};
use crate::observe::{Intervals, Outside};
use crate::reconcile::{Planner, Reconciler};
use crate::registry::simulated::SimulatedRegistry;
use crate::smoke::Probe;

/// What was deployed answers, unless the run says otherwise.
struct Deployed(Arc<Wires>);

#[async_trait]
impl Probe for Deployed {
    async fn ask(&self, test: &SmokeTest) -> Result<(), String> {
        match self.0.is_up(SMOKE) {
            true => Ok(()),
            false => Err(format!("{} answers 503", test.get)),
        }
    }
}

/// Nobody is asked for evidence.
struct NoEvidence;

#[async_trait]
impl AskEvidence for NoEvidence {
    async fn about(&self, _: &EvidenceEndpoint, _: &Digest) -> Result<Option<Vec<u8>>, String> {
        Ok(None)
    }
}

/// See the module.
pub(super) struct Site {
    pub(super) shape: Arc<Shape>,
    pub(super) wires: Arc<Wires>,
    pub(super) registry: SimulatedRegistry,
    pub(super) remotes: BTreeMap<RepositoryUrl, MemoryRemote>,
    pub(super) forges: BTreeMap<RepositoryUrl, SimulatedForge>,
    pub(super) clusters: BTreeMap<EnvironmentName, Arc<SimulatedCluster>>,
    pub(super) pipelines: Vec<Arc<Pipeline>>,
    planner: Planner,
}

impl Site {
    /// Servers without anything on them.
    ///
    /// # Errors
    /// The configuration that was drawn is none: a mistake of the simulation.
    pub(super) fn new(
        shape: Arc<Shape>,
        wires: Arc<Wires>,
        planner: Planner,
    ) -> Result<Self, String> {
        let files: Vec<(PathBuf, Vec<u8>)> = shape.files();
        let config = Config::parse(&files).map_err(|problems| problems.to_string())?;
        let mut site = Self {
            shape: shape.clone(),
            wires,
            registry: SimulatedRegistry::new(),
            remotes: BTreeMap::new(),
            forges: BTreeMap::new(),
            clusters: BTreeMap::new(),
            pipelines: config.pipelines,
            planner,
        };
        let environments = site.pipelines.iter().flat_map(|it| &it.environments);
        for (environment, place) in environments.zip(shape.places.iter().cycle()) {
            let url = &environment.repository;
            let remote = site.remotes.entry(url.clone()).or_insert_with(|| {
                let remote = MemoryRemote::new(&url.to_string());
                remote.set_atomic(shape.atomic);
                remote
            });
            site.wires.stands(place.name, remote);
            let ClusterSpec::Simulated(simulated) = &environment.cluster else {
                continue;
            };
            if !site.clusters.contains_key(&environment.name) {
                let cluster = SimulatedCluster::open(&environment.name, simulated.clone(), None);
                let cluster = cluster.map_err(|error| error.to_string())?;
                site.clusters
                    .insert(environment.name.clone(), Arc::new(cluster));
            }
        }
        site.found_forges();
        Ok(site)
    }

    /// Forges, where a gate needs one that is not there yet.
    fn found_forges(&mut self) {
        for place in &self.shape.places {
            let url = self.shape.repository(place);
            let found = self.remotes.iter().find(|(it, _)| it.as_str() == url);
            let Some((url, remote)) = found.filter(|_| place.gate == Gated::Request) else {
                continue;
            };
            let name = url.as_str().trim_start_matches("https://");
            let forge = || SimulatedForge::new(name, remote.clone());
            self.forges.entry(url.clone()).or_insert_with(forge);
        }
    }

    /// Gives everybody who starts from now on another configuration.
    ///
    /// # Errors
    /// It is none: a mistake of the simulation.
    pub(super) fn reconfigure(&mut self, shape: Shape) -> Result<(), String> {
        let config = Config::parse(&shape.files()).map_err(|problems| problems.to_string())?;
        self.pipelines = config.pipelines;
        self.shape = Arc::new(shape);
        self.ledger().shape = self.shape.clone();
        self.found_forges();
        Ok(())
    }

    /// The git server of an environment.
    pub(super) fn remote(&self, place: &Place) -> Option<&MemoryRemote> {
        let url = self.shape.repository(place);
        let mut remotes = self.remotes.iter();
        remotes.find_map(|(it, remote)| (it.as_str() == url).then_some(remote))
    }

    /// The forge of an environment, where its gate has one.
    pub(super) fn forge(&self, place: &Place) -> Option<&SimulatedForge> {
        let url = self.shape.repository(place);
        let mut forges = self.forges.iter();
        forges.find_map(|(it, forge)| (it.as_str() == url).then_some(forge))
    }

    /// The cluster of an environment.
    pub(super) fn cluster(&self, place: &Place) -> Option<&Arc<SimulatedCluster>> {
        let mut clusters = self.clusters.iter();
        clusters.find_map(|(it, cluster)| (it.as_str() == place.name).then_some(cluster))
    }

    /// Every server, by the name that wires have for it.
    pub(super) fn servers(&self) -> Vec<String> {
        let remotes = self.remotes.keys().map(|url| format!("git {url}"));
        let forges = self.forges.keys().map(|url| format!("forge {url}"));
        let clusters = self.clusters.keys().map(|name| format!("cluster {name}"));
        let registry = std::iter::once("registry".to_owned());
        remotes
            .chain(forges)
            .chain(clusters)
            .chain(registry)
            .collect()
    }

    /// A process that knows nothing.
    pub(super) fn start(&self, who: Who) -> Arc<Reconciler> {
        let repositories = self.remotes.iter().map(|(url, remote)| {
            let wire = self.wire(who, format!("git {url}"), remote.clone());
            (url.clone(), Repository::in_memory(Arc::new(wire)))
        });
        let clusters: BTreeMap<EnvironmentName, SharedCluster> = self
            .clusters
            .iter()
            .filter(|(name, _)| self.acts(who, name))
            .map(|(name, cluster)| {
                let wire = self.wire(who, format!("cluster {name}"), cluster.clone());
                (name.clone(), Arc::new(wire) as SharedCluster)
            })
            .collect();
        let forges: BTreeMap<RepositoryUrl, SharedForge> = self
            .forges
            .iter()
            .map(|(url, forge)| {
                let wire = self.wire(who, format!("forge {url}"), forge.clone());
                (url.clone(), Arc::new(wire) as SharedForge)
            })
            .collect();
        let registry = self.wire(who, "registry".to_owned(), self.registry.clone());
        let outside = Outside {
            registry: Arc::new(registry),
            repositories: repositories.collect(),
            clusters: reading(&clusters),
            forges: crate::forge::reading(&forges),
            probe: Arc::new(Deployed(self.wires.clone())),
            evidence: Arc::new(NoEvidence),
        };
        let author = match who {
            Who::Towpath(_) => ("Towpath", "towpath@example.com"),
            Who::Person => ("Ann", "ann@example.com"),
        };
        let author = Author {
            name: author.0.to_owned(),
            email: author.1.to_owned(),
        };
        let now = self.wires.ledger().clock(who);
        let reconciler = Reconciler::new(
            self.pipelines.clone(),
            &outside,
            clusters,
            forges,
            &author,
            Intervals::default(),
            now,
        );
        Arc::new(reconciler.planned_by(self.planner))
    }

    fn acts(&self, who: Who, environment: &EnvironmentName) -> bool {
        let Who::Towpath(process) = who else {
            return true;
        };
        let mut places = self.shape.places.iter();
        let place = places.position(|it| it.name == environment.as_str());
        place.is_none_or(|place| self.shape.acts(process, place))
    }

    fn wire<T>(&self, who: Who, server: String, inner: T) -> Wire<T> {
        Wire {
            wires: self.wires.clone(),
            who,
            server,
            inner,
        }
    }

    /// How often servers were written to.
    pub(super) fn writes(&self) -> Writes {
        let remotes = self.remotes.values();
        Writes {
            refs: remotes.map(|remote| remote.held().len()).sum(),
            pushes: self
                .remotes
                .values()
                .map(|it| it.calls(crate::git::memory::Call::Push))
                .sum(),
            attempts: self.clusters.values().map(|it| it.attempts()).sum(),
            told: self.forges.values().map(SimulatedForge::writes).sum(),
        }
    }

    pub(super) fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.wires.ledger()
    }
}

/// What was written, counted at the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Writes {
    refs: usize,
    pushes: usize,
    attempts: u64,
    told: usize,
}

impl Writes {
    /// Whether nothing was written since, but for so many applies that were tried.
    pub(super) fn is_still(&self, after: &Self, tries: u64) -> bool {
        let tried = after.attempts.saturating_sub(self.attempts);
        let attempts = self.attempts;
        tried <= tries && *self == Self { attempts, ..*after }
    }
}
