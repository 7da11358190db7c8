//! The delays that `docs/webhooks.md` promises, with every webhook dropped: sources are read by their
//! timetables alone, on a clock that is simulated.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use super::*;
use crate::cluster::simulated::SimulatedCluster;
use crate::cluster::{SharedCluster, reading};
use crate::config::Config;
use crate::evidence::AskEvidence;
use crate::forge::simulated::SimulatedForge;
use crate::forge::{self, SharedForge};
use crate::git::Repository;
use crate::git::memory::{MemoryRemote, Merge};
use crate::model::{
    Author, ClusterSpec, CommitId, Digest, EnvironmentName, EvidenceEndpoint, ImageRepository,
    SmokeTest,
};
use crate::observe::{Intervals, Outside};
use crate::plan::Decision;
use crate::reconcile::Reconciler;
use crate::registry::{Attached, ImageConfig, Registry, RegistryError};
use crate::smoke::Probe;

const APPLICATION: &str = "applications: [{ name: shop, images: [{ repository: registry.example.com/acme/shop, release-tag: '{tag}' }], environments: [qa, production] }]";
const QA: &str = "{ follow: { tags: '>=1.0.0' }, repository: { url: 'https://git.example.com/qa', branch: main }, manifests: [kubernetes], cluster: { simulated: { ready-after: 0s } } }";
const PRODUCTION: &str = "{ follow: { environment: qa, soak: 1m }, gate: pull-request, repository: { url: 'https://github.com/acme/production', branch: main }, manifests: [kubernetes], cluster: { simulated: { ready-after: 0s } } }";
const MANIFEST: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: shop }\nspec: { replicas: 1, template: { spec: { containers: [{ name: shop, image: \"registry.example.com/acme/shop:v1.0.0\" }] } } }\n";
const PROPOSAL: &str = "towpath/production/shop";

/// As documented, unless stated otherwise.
const POLL: Duration = Duration::from_secs(30);

/// What a clock of whole milliseconds may add.
const TICK: Duration = Duration::from_millis(2);

/// Tags in the order in which they were pushed.
#[derive(Default)]
struct Tags {
    pushed: Mutex<Vec<(String, Digest, Timestamp)>>,
    asked: Mutex<usize>,
}

impl Tags {
    fn push(&self, tag: &str, now: Timestamp) {
        let pushed = (tag.to_owned(), Digest::of(tag.as_bytes()), now);
        let mut all = self.pushed.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(pushed);
    }

    fn find(
        &self,
        is_it: impl Fn(&&(String, Digest, Timestamp)) -> bool,
    ) -> Option<(Digest, ImageConfig)> {
        let all = self.pushed.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(is_it).map(|(_, digest, at)| {
            let image = ImageConfig {
                created: Some(*at),
                ..ImageConfig::default()
            };
            (*digest, image)
        })
    }
}

#[async_trait]
impl Registry for Tags {
    async fn tags(&self, _: &ImageRepository) -> Result<Vec<String>, RegistryError> {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        let all = self.pushed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tags: Vec<_> = all.iter().map(|(tag, ..)| tag.clone()).collect();
        tags.sort();
        Ok(tags)
    }

    async fn resolve(
        &self,
        _: &ImageRepository,
        tag: &str,
    ) -> Result<Option<Digest>, RegistryError> {
        Ok(self.find(|it| it.0 == tag).map(|(digest, _)| digest))
    }

    async fn image(
        &self,
        _: &ImageRepository,
        digest: &Digest,
    ) -> Result<ImageConfig, RegistryError> {
        let found = self.find(|it| it.1 == *digest);
        Ok(found.map(|(_, image)| image).unwrap_or_default())
    }

    async fn attached(
        &self,
        _: &ImageRepository,
        _: &Digest,
    ) -> Result<Vec<Attached>, RegistryError> {
        Ok(Vec::new())
    }
}

struct Answers;

#[async_trait]
impl Probe for Answers {
    async fn ask(&self, _: &SmokeTest) -> Result<(), String> {
        Ok(())
    }
}

#[async_trait]
impl AskEvidence for Answers {
    async fn about(&self, _: &EvidenceEndpoint, _: &Digest) -> Result<Option<Vec<u8>>, String> {
        Ok(None)
    }
}

/// Sources of one kind, on the simulated clock.
struct Group<S> {
    sources: Vec<Arc<S>>,
    table: Timetable,
}

impl<S: Kept> Group<S> {
    fn of<'a, K: 'a>(sources: &'a BTreeMap<K, Arc<S>>, begin: Instant) -> Self {
        Self {
            table: Timetable::new(sources.len(), begin),
            sources: sources.values().cloned().collect(),
        }
    }

    /// Reads what is due, as [`keep`] does. Whether there was news.
    async fn go(&mut self, at: Instant, now: Timestamp) -> bool {
        for (index, source) in self.sources.iter().enumerate() {
            if source.source().stale().is() {
                self.table.hear(index);
            }
        }
        let mut news = false;
        while let Some(index) = self.table.next(at) {
            let source = &self.sources[index];
            source.source().stale().clear();
            news |= look(&**source, now).await.is_some();
            self.table.read(
                index,
                Some(source.source().rest(source.interval(POLL), now)),
                at,
            );
        }
        news
    }
}

/// One Towpath and its outside, of which nobody tells it.
struct World {
    registry: Arc<Tags>,
    remotes: BTreeMap<&'static str, MemoryRemote>,
    clusters: BTreeMap<EnvironmentName, Arc<SimulatedCluster>>,
    forge: SimulatedForge,
    reconciler: Arc<Reconciler>,
    infra: Group<InfraSource>,
    tags: Group<TagSource>,
    requests: Group<RequestSource>,
    begin: Instant,
    epoch: Timestamp,
    passed: Duration,
    /// When a round is due by itself.
    timer: Duration,
}

impl World {
    fn new() -> Self {
        let epoch: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let file = |path: &str, text: &str| (PathBuf::from(path), text.as_bytes().to_vec());
        let config = Config::parse(&[
            file("applications/shop.yaml", APPLICATION),
            file("qa/environment.yaml", QA),
            file("production/environment.yaml", PRODUCTION),
        ]);
        let config = config.unwrap_or_else(|problems| panic!("{problems}"));
        let registry = Arc::new(Tags::default());
        registry.push("v1.0.0", epoch);
        let (mut remotes, mut clusters) = (BTreeMap::new(), BTreeMap::new());
        let (mut repositories, mut forges) = (BTreeMap::new(), BTreeMap::new());
        for environment in &config.pipelines[0].environments {
            let remote = MemoryRemote::new(environment.repository.as_str());
            let files = [("kubernetes/shop.yaml", Some(MANIFEST))];
            let person = remote.person("Ann");
            person.commit("main", &files, "begin", epoch).unwrap();
            let repository = Repository::in_memory(Arc::new(remote.clone()));
            repositories.insert(environment.repository.clone(), repository);
            let ClusterSpec::Simulated(simulated) = &environment.cluster else {
                panic!("it is simulated");
            };
            let cluster = SimulatedCluster::open(&environment.name, simulated.clone(), None);
            clusters.insert(environment.name.clone(), Arc::new(cluster.unwrap()));
            let name = match environment.name.as_str() {
                "qa" => "qa",
                _ => "production",
            };
            remotes.insert(name, remote);
        }
        let forge =
            SimulatedForge::new("github.com/acme/production", remotes["production"].clone());
        let url = &config.pipelines[0].environments[1].repository;
        let shared: SharedForge = Arc::new(forge.clone());
        forges.insert(url.clone(), shared);
        let acting: BTreeMap<_, _> = clusters
            .iter()
            .map(|(name, cluster)| (name.clone(), cluster.clone() as SharedCluster))
            .collect();
        let outside = Outside {
            registry: registry.clone(),
            repositories,
            clusters: reading(&acting),
            forges: forge::reading(&forges),
            probe: Arc::new(Answers),
            evidence: Arc::new(Answers),
        };
        let author = Author {
            name: "Towpath".to_owned(),
            email: "towpath@example.com".to_owned(),
        };
        let reconciler = Reconciler::new(
            config.pipelines,
            &outside,
            acting,
            forges,
            &author,
            Intervals::default(),
            epoch,
        );
        let reconciler = Arc::new(reconciler);
        let (begin, observatory) = (Instant::now(), reconciler.observatory());
        Self {
            infra: Group::of(&observatory.infra, begin),
            tags: Group::of(&observatory.tags, begin),
            requests: Group::of(&observatory.requests, begin),
            registry,
            remotes,
            clusters,
            forge,
            reconciler,
            begin,
            epoch,
            passed: Duration::ZERO,
            timer: Duration::ZERO,
        }
    }

    fn now(&self) -> Timestamp {
        self.epoch.checked_add(self.passed).unwrap()
    }

    /// Reads what is due and acts on it, until there is nothing left to do at this moment.
    async fn go(&mut self) {
        let (at, now) = (self.begin + self.passed, self.now());
        loop {
            let mut news = self.timer <= self.passed;
            news |= self.tags.go(at, now).await;
            news |= self.infra.go(at, now).await;
            news |= self.requests.go(at, now).await;
            if !news {
                return;
            }
            // Clusters are watched.
            for source in self.reconciler.observatory().live.values() {
                source.read(now).await;
            }
            let steps = self.reconciler.round(now).await;
            self.timer = match steps {
                0 => self.next_timer(),
                _ => self.passed,
            };
        }
    }

    fn next_timer(&self) -> Duration {
        let posted = self.reconciler.board().all();
        let units = posted.iter().flat_map(|posted| &posted.plan.units);
        let timers = units.filter_map(|unit| match &unit.decision {
            Decision::Waiting(waiting) => {
                Duration::try_from(waiting.next?.duration_since(self.epoch)).ok()
            }
            Decision::Step(_) => None,
        });
        let timers = timers.filter(|it| *it > self.passed);
        timers.min().unwrap_or(Duration::MAX)
    }

    /// When something is due by itself.
    fn due(&self) -> Duration {
        let tables = [
            self.tags.table.due(),
            self.infra.table.due(),
            self.requests.table.due(),
        ];
        let due = tables.into_iter().flatten().min().unwrap() - self.begin;
        due.min(self.timer)
    }

    /// Lets time pass until this is so; gives how long that took.
    async fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) -> Duration {
        let start = self.passed;
        while !is_so(self) {
            self.passed = self.due().max(self.passed);
            self.go().await;
            let waited = self.passed - start;
            assert!(waited < 60 * POLL, "{what} is never seen");
        }
        self.passed - start
    }

    async fn pass(&mut self, time: Duration) {
        let end = self.passed + time;
        while self.due() < end {
            self.passed = self.due().max(self.passed);
            self.go().await;
        }
        self.passed = end;
    }

    fn asks_for(&self, environment: &str, text: &str) -> bool {
        let person = self.remotes[environment].person("Ann");
        let manifest = person.read("main", "kubernetes/shop.yaml");
        manifest.is_some_and(|manifest| manifest.contains(text))
    }

    fn runs(&self, environment: &str, commit: CommitId) -> bool {
        let cluster = &self.clusters[&environment.parse().unwrap()];
        let objects = cluster.everything(self.now());
        let mut marks = objects.values().filter_map(|it| it.mark.as_ref());
        marks.any(|mark| mark.commit == commit)
    }

    fn is_asked(&self) -> bool {
        self.forge
            .see(PROPOSAL)
            .last()
            .is_some_and(|it| it.state == "open")
    }

    fn reason(&self, environment: &str) -> Option<&'static str> {
        let posted = self.reconciler.board().all();
        let mut units = posted.iter().flat_map(|posted| posted.plan.units.clone());
        let unit = units.find(|unit| unit.environment.as_str() == environment)?;
        match unit.decision {
            Decision::Waiting(waiting) => Some(waiting.reason.name()),
            Decision::Step(_) => None,
        }
    }
}

/// Moments without order, the same at each run (Knuth's MMIX generator).
fn some_time(seed: &mut u64, most: u64) -> Duration {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    Duration::from_millis((*seed >> 33) % (most * 1000))
}

#[tokio::test]
async fn whatever_happens_is_seen_within_the_documented_time() {
    let mut world = World::new();
    world.go().await;
    let (mut seed, mut worst) = (1, BTreeMap::<&str, Duration>::new());
    for round in 1..=16 {
        let mut seen = |what, took: Duration| {
            assert!(took <= POLL + TICK, "{what}: {took:?}");
            let most = worst.entry(what).or_default();
            *most = took.max(*most);
        };
        // Long enough that nobody expects anything any more, or not.
        world.pass(some_time(&mut seed, 1500)).await;
        let tag = format!("v1.{round}.0");
        world.registry.push(&tag, world.now());
        let took = world.until("an image", |it| it.asks_for("qa", &tag)).await;
        seen("an image", took);

        world.pass(some_time(&mut seed, 60)).await;
        let person = world.remotes["qa"].person("Bea");
        let manifest = person.read("main", "kubernetes/shop.yaml").unwrap();
        let (is, shall) = (
            format!("replicas: {round}"),
            format!("replicas: {}", round + 1),
        );
        let edited = manifest.replace(&is, &shall);
        let files = [("kubernetes/shop.yaml", Some(edited.as_str()))];
        let commit = person.commit("main", &files, "more", world.now()).unwrap();
        let took = world.until("an edit", |it| it.runs("qa", commit)).await;
        seen("an edit", took);

        world.until("a proof", World::is_asked).await;
        world.pass(some_time(&mut seed, 700)).await;
        if round % 2 == 0 {
            world.forge.decline(PROPOSAL);
            let declined = |it: &World| it.reason("production") == Some("declined");
            seen("a refusal", world.until("a refusal", declined).await);
            continue;
        }
        world
            .forge
            .merge(PROPOSAL, Merge::Commit, true, world.now());
        let merged = world.remotes["production"]
            .person("Ann")
            .head("main")
            .unwrap();
        let took = world
            .until("a merge", |it| it.runs("production", merged))
            .await;
        seen("a merge", took);
    }
    // It is the worst that is documented, not more than that.
    assert_eq!(worst.len(), 4);
    assert!(worst["an image"] > POLL * 2 / 3, "{worst:?}");
}

#[tokio::test]
async fn sources_are_looked_at_no_more_often_than_documented() {
    let mut world = World::new();
    world.go().await;
    let asked = |world: &World| *world.registry.asked.lock().unwrap();
    let hour = Duration::from_secs(3600);
    let ten_minutes = Duration::from_secs(600);
    let before = asked(&world);
    world.pass(hour).await;
    let in_an_hour = asked(&world) - before;
    assert!((120..=151).contains(&in_an_hour), "{in_an_hour}");
    // What changed untold may change again.
    world.registry.push("v1.1.0", world.now());
    world
        .until("an image", |it| it.asks_for("qa", "v1.1.0"))
        .await;
    for (most, least) in [(76, 59), (26, 19)] {
        let before = asked(&world);
        world.pass(ten_minutes).await;
        let looks = asked(&world) - before;
        assert!((least..=most).contains(&looks), "{looks}");
    }
}
