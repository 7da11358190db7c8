//! The outside of a scenario: servers, clusters and the clock; and the Towpaths that work on it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_yaml::{Mapping, Value};
use towpath::cluster::SharedCluster;
use towpath::cluster::simulated::SimulatedCluster;
use towpath::config::Config;
use towpath::event::Event;
use towpath::forge::SharedForge;
use towpath::forge::simulated::SimulatedForge;
use towpath::git::memory::{Call, MemoryRemote, Person};
use towpath::git::{Committer, Repository, Signer};
use towpath::model::{
    Author, ClusterSpec, Environment, EnvironmentName, Gate, Pipeline, RepositoryUrl,
};
use towpath::observe::{Intervals, Outside};
use towpath::plan::{Decision, check, plan};
use towpath::reconcile::Reconciler;

use super::committer::Signing;
use super::endpoints::Endpoints;
use towpath::registry::simulated::SimulatedRegistry;

const APPLICATIONS: &str = "
applications:
  - name: shop
    images:
      - repository: registry.example.com/acme/shop
        branch-tag: '{branch}-{commit:7}'
        release-tag: '{tag}'
    environments: [staging, qa, production]
";

const ENVIRONMENTS: [(&str, &str); 3] = [
    ("staging", "follow: { branches: ['*', '!master'] }"),
    ("qa", "follow: { tags: '>=1.0.0' }"),
    (
        "production",
        "{ follow: { environment: qa, soak: 10m }, gate: branch }",
    ),
];

pub(super) struct Site {
    pub(super) applications: String,
    pub(super) settings: String,
    /// What Towpath signs with.
    signer: Option<Arc<Signer>>,
    /// Who says what is said.
    pub(super) person: String,
    /// Whose key a person signs records with.
    pub(super) key: Option<String>,
    environments: BTreeMap<String, Mapping>,
    pub(super) registry: SimulatedRegistry,
    pub(super) endpoints: Endpoints,
    pub(super) remotes: BTreeMap<RepositoryUrl, MemoryRemote>,
    pub(super) clusters: BTreeMap<EnvironmentName, Arc<SimulatedCluster>>,
    pub(super) forges: BTreeMap<RepositoryUrl, SimulatedForge>,
    /// Of source repositories that rules ask for checks.
    pub(super) asked: BTreeMap<RepositoryUrl, SimulatedForge>,
    /// Where somebody else makes the commits.
    pub(super) committers: BTreeMap<RepositoryUrl, Signing>,
    pub(super) pipelines: Vec<Arc<Pipeline>>,
    pub(super) towpaths: Vec<Towpath>,
    pub(super) only: Vec<EnvironmentName>,
    pub(super) intervals: Intervals,
    /// Whether the last process does not get to look at git.
    pub(super) slow_git: bool,
    rounds: usize,
    pub(super) now: Timestamp,
    pub(super) labels: BTreeMap<String, String>,
}

/// One process.
pub(super) struct Towpath {
    pub(super) reconciler: Arc<Reconciler>,
    events: tokio::sync::broadcast::Receiver<Event>,
}

/// What a round did.
pub(super) struct Round {
    pub(super) steps: Vec<(String, String)>,
    pub(super) events: Vec<Event>,
}

impl Site {
    pub(super) fn new() -> Self {
        let mapping = |text: &str| serde_yaml::from_str::<Mapping>(text).unwrap();
        let environments = ENVIRONMENTS.iter().map(|(name, text)| {
            let mut environment = base(name);
            environment.extend(mapping(text));
            ((*name).to_owned(), environment)
        });
        Self {
            applications: APPLICATIONS.to_owned(),
            settings: String::new(),
            signer: None,
            person: "ann@example.com".to_owned(),
            key: None,
            environments: environments.collect(),
            registry: SimulatedRegistry::new(),
            endpoints: Endpoints::default(),
            remotes: BTreeMap::new(),
            clusters: BTreeMap::new(),
            forges: BTreeMap::new(),
            asked: BTreeMap::new(),
            committers: BTreeMap::new(),
            pipelines: Vec::new(),
            towpaths: Vec::new(),
            only: Vec::new(),
            intervals: Intervals::default(),
            slow_git: false,
            rounds: 0,
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            labels: BTreeMap::from([(
                "fixtures".to_owned(),
                format!("{}/fixtures", env!("CARGO_MANIFEST_DIR")),
            )]),
        }
    }

    /// Sets keys of an environment, which begins where it does not exist.
    pub(super) fn configure(&mut self, environment: &str, keys: &str) {
        let known = self.environments.entry(environment.to_owned());
        let mapping = known.or_insert_with(|| base(environment));
        mapping.extend(serde_yaml::from_str::<Mapping>(keys).unwrap());
        mapping.retain(|_, value| !value.is_null());
    }

    /// Reads the configuration, and opens what it names.
    pub(super) fn open(&mut self) {
        let mut files = vec![(
            PathBuf::from("applications/shop.yaml"),
            self.applications.clone().into_bytes(),
        )];
        if !self.settings.is_empty() {
            let settings = self.settings.clone().into_bytes();
            files.push((PathBuf::from("towpath.yaml"), settings));
        }
        for (name, mapping) in &self.environments {
            // An environment that no application runs in would be refused.
            if self.applications.contains(name.as_str()) {
                let text = serde_yaml::to_string(&Value::Mapping(mapping.clone())).unwrap();
                files.push((
                    PathBuf::from(format!("{name}/environment.yaml")),
                    text.into_bytes(),
                ));
            }
        }
        let config = Config::parse(&files).unwrap_or_else(|problems| panic!("{problems}"));
        self.signer = config.settings.commit.sign.map(Signer::new).map(Arc::new);
        self.pipelines = config.pipelines;
        for pipeline in &self.pipelines {
            if let Some(source) = &pipeline.application.source {
                let remote = remote(&mut self.remotes, &source.url).clone();
                let forge = || SimulatedForge::new(&forge_name(&source.url), remote);
                self.asked.entry(source.url.clone()).or_insert_with(forge);
            }
            for environment in &pipeline.environments {
                let remote = remote(&mut self.remotes, &environment.repository).clone();
                if environment.gate == Gate::PullRequest {
                    let name = forge_name(&environment.repository);
                    self.forges
                        .entry(environment.repository.clone())
                        .or_insert_with(|| SimulatedForge::new(&name, remote));
                }
                let ClusterSpec::Simulated(simulated) = &environment.cluster else {
                    panic!("scenarios simulate their clusters");
                };
                self.clusters
                    .entry(environment.name.clone())
                    .or_insert_with(|| {
                        let simulated = simulated.clone();
                        let cluster = SimulatedCluster::open(&environment.name, simulated, None);
                        Arc::new(cluster.unwrap())
                    });
            }
        }
    }

    /// Starts a process that knows nothing.
    pub(super) fn start(&mut self) {
        let repositories = self.remotes.iter().map(|(url, remote)| {
            let repository = Repository::in_memory(Arc::new(remote.clone()));
            let committer = self.committers.get(url).cloned();
            let committer = committer.map(|it| Arc::new(it) as Arc<dyn Committer>);
            let repository = repository.signing(self.signer.clone());
            (url.clone(), repository.committing(committer))
        });
        let acted_for = |name: &EnvironmentName| self.only.is_empty() || self.only.contains(name);
        let clusters: BTreeMap<_, _> = self
            .clusters
            .iter()
            .filter(|(name, _)| acted_for(name))
            .map(|(name, cluster)| (name.clone(), cluster.clone() as SharedCluster))
            .collect();
        let forges: BTreeMap<_, _> = self
            .forges
            .iter()
            .map(|(url, forge)| (url.clone(), Arc::new(forge.clone()) as SharedForge))
            .collect();
        let mut reading = towpath::forge::reading(&forges);
        let asked = self.asked.iter();
        reading.extend(asked.map(|(url, forge)| (url.clone(), Arc::new(forge.clone()) as _)));
        let outside = Outside {
            registry: Arc::new(self.registry.clone()),
            repositories: repositories.collect(),
            clusters: towpath::cluster::reading(&clusters),
            forges: reading,
            probe: Arc::new(self.endpoints.clone()),
            evidence: Arc::new(self.endpoints.clone()),
        };
        let author = Author {
            name: "Towpath".to_owned(),
            email: "towpath@example.com".to_owned(),
        };
        let pipelines = self.pipelines.clone();
        let (intervals, now) = (self.intervals, self.now);
        let reconciler = Reconciler::new(
            pipelines, &outside, clusters, forges, &author, intervals, now,
        );
        let reconciler = Arc::new(reconciler);
        let events = reconciler.events();
        self.towpaths.push(Towpath { reconciler, events });
    }

    /// A process that knows nothing and tows nothing: somebody's commands, signed as they do.
    pub(super) fn visitor(&mut self, signer: Option<Arc<Signer>>) -> Towpath {
        let own = std::mem::replace(&mut self.signer, signer);
        self.start();
        self.signer = own;
        self.towpaths.pop().unwrap()
    }

    /// Throws all processes away and starts as many anew.
    pub(super) fn restart(&mut self) {
        let count = self.towpaths.len();
        self.towpaths.clear();
        (0..count.max(1)).for_each(|_| self.start());
    }

    /// One round of every process. Every plan is checked against the invariants.
    pub(super) async fn round(&mut self) -> Round {
        let mut done = Round {
            steps: Vec::new(),
            events: Vec::new(),
        };
        for (index, towpath) in self.towpaths.iter().enumerate() {
            let observatory = towpath.reconciler.observatory();
            let now = moment(self.now, index);
            if self.slow_git && index + 1 == self.towpaths.len() {
                for source in observatory.live.values() {
                    source.read(now).await;
                }
                for source in observatory.requests.values() {
                    source.read(now).await;
                }
                continue;
            }
            observatory.read_all(&self.pipelines, now).await;
            // What was let go of at rest is read again: no decision may tell the difference.
            if self.rounds.is_multiple_of(2) {
                for source in observatory.infra.values() {
                    source.reader.rest().await;
                    source.reader.rest().await;
                }
            }
        }
        self.rounds += 1;
        let several = self.towpaths.len() > 1;
        let alone = self.pipelines.len() == 1;
        for (index, towpath) in self.towpaths.iter_mut().enumerate() {
            let now = moment(self.now, index);
            towpath.reconciler.round(now).await;
            for posted in towpath.reconciler.board().all() {
                let name = &posted.pipeline.application.name;
                // One that was removed is gone from there with the last of its objects.
                if let Some(world) = towpath.reconciler.world(name, now) {
                    let planned = plan(&posted.pipeline, &world, now);
                    let findings = check::check(&posted.pipeline, &world, &planned, now);
                    assert!(findings.is_empty(), "the plan breaks {findings:?}");
                }
                for unit in &posted.plan.units {
                    if let Decision::Step(step) = &unit.decision {
                        let whose = match several {
                            true => format!("towpath {}: ", index + 1),
                            false => String::new(),
                        };
                        let unit = unit_name(alone, &unit.environment, &posted.pipeline);
                        done.steps
                            .push((format!("{whose}{unit}"), step.to_string()));
                    }
                }
            }
            // Effects of one round end in any order.
            let mut events = Vec::new();
            while let Ok(event) = towpath.events.try_recv() {
                events.push(event);
            }
            events.sort_by_key(|event| (event.kind, event.environment.clone()));
            done.events.extend(events);
        }
        done
    }

    /// A unit as the output names it: without the application where there is only one.
    pub(super) fn unit_name(&self, environment: &EnvironmentName, pipeline: &Pipeline) -> String {
        unit_name(self.pipelines.len() == 1, environment, pipeline)
    }

    /// How often servers were written to, or asked to take something, or what was deployed was asked.
    pub(super) fn writes(&self) -> (usize, u64, u64, usize, usize) {
        let pushes = self.remotes.values().map(|it| it.calls(Call::Push)).sum();
        let clusters = || self.clusters.values();
        let applied = clusters().map(|cluster| cluster.writes()).sum();
        let attempted = clusters().map(|cluster| cluster.attempts()).sum();
        let told = self.forges.values().map(SimulatedForge::writes).sum();
        (pushes, applied, attempted, self.endpoints.asked(), told)
    }

    pub(super) fn environment(&self, name: &str) -> &Environment {
        let mut all = self.pipelines.iter().flat_map(|it| &it.environments);
        all.find(|environment| environment.name.as_str() == name)
            .unwrap_or_else(|| panic!("there is no environment `{name}`"))
    }

    pub(super) fn remote(&self, environment: &str) -> &MemoryRemote {
        &self.remotes[&self.environment(environment).repository]
    }

    pub(super) fn forge(&self, environment: &str) -> &SimulatedForge {
        let url = &self.environment(environment).repository;
        let forge = self.forges.get(url);
        forge.unwrap_or_else(|| panic!("{url} has no forge"))
    }

    /// The forge of the first application's source.
    pub(super) fn source_forge(&self) -> &SimulatedForge {
        let source = self.pipelines[0].application.source.as_ref();
        &self.asked[&source.unwrap().url]
    }

    /// Who makes the commits of an environment from the next start on, if nobody did before.
    pub(super) fn committer(&mut self, environment: &str) -> &Signing {
        let url = self.environment(environment).repository.clone();
        let signing = Signing::new(&self.remotes[&url]);
        self.committers.entry(url).or_insert(signing)
    }

    pub(super) fn person(&self, environment: &str) -> Person {
        self.remote(environment).person("Ann")
    }

    pub(super) fn cluster(&self, environment: &str) -> &SimulatedCluster {
        let name: EnvironmentName = environment.parse().unwrap();
        &self.clusters[&name]
    }

    pub(super) fn pipeline(&self, application: &str) -> &Arc<Pipeline> {
        let mut all = self.pipelines.iter();
        all.find(|pipeline| pipeline.application.name.as_str() == application)
            .unwrap_or_else(|| panic!("there is no application `{application}`"))
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now = self.now.checked_add(time).unwrap();
    }
}

/// Processes do not act at the very same moment, or their commits would be the same.
fn moment(now: Timestamp, index: usize) -> Timestamp {
    let later = Duration::from_millis(300) * u32::try_from(index).unwrap();
    now.checked_add(later).unwrap()
}

fn unit_name(alone: bool, environment: &EnvironmentName, pipeline: &Pipeline) -> String {
    match alone && !pipeline.removed {
        true => environment.to_string(),
        false => format!("{environment}/{}", pipeline.application.name),
    }
}

/// What people call the forge of a repository.
fn forge_name(url: &RepositoryUrl) -> String {
    url.as_str().trim_start_matches("https://").to_owned()
}

fn remote<'a>(
    remotes: &'a mut BTreeMap<RepositoryUrl, MemoryRemote>,
    url: &RepositoryUrl,
) -> &'a MemoryRemote {
    remotes
        .entry(url.clone())
        .or_insert_with(|| MemoryRemote::new(&url.to_string()))
}

fn base(name: &str) -> Mapping {
    let text = format!(
        "repository: {{ url: 'https://git.example.com/infra-{name}', branch: master }}\n\
         manifests: [kubernetes]\n\
         cluster: {{ simulated: {{ ready-after: 10s }} }}\n"
    );
    serde_yaml::from_str(&text).unwrap()
}
