//! Servers on loopback, repositories of any size, and a Towpath on them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use towpath::clock;
use towpath::cluster::simulated::SimulatedCluster;
use towpath::cluster::{SharedCluster, reading};
use towpath::config::Config;
use towpath::demo::git_server::{GitServer, commit_first};
use towpath::demo::image::{ImageSpec, Target};
use towpath::demo::registry::{Access, DemoRegistry, Notify};
use towpath::evidence::HttpEvidence;
use towpath::git::{self, Repository, Signature};
use towpath::http::{self, HttpSettings, Outward};
use towpath::model::{ClusterSpec, RepositoryUrl};
use towpath::observe::{Intervals, Outside};
use towpath::plan::{Decision, Reason};
use towpath::reconcile::{Posted, Reconciler};
use towpath::registry::{HttpRegistry, RegistrySettings};
use towpath::serve::{self, Hooks};
use towpath::smoke::HttpProbe;

use crate::marks::{Mark, MarkedRegistry, MarkedRemote, Marks, Stage};
use crate::recorder::Recorder;

/// Nothing that is measured takes this long.
const DEADLINE: Duration = Duration::from_secs(120);

/// Files of an application's directory: what is edited, and three beside it.
pub(crate) const FILES_EACH: usize = 4;

pub(crate) struct Fixture {
    pub(crate) folder: TempDir,
    pub(crate) client: reqwest::Client,
    pub(crate) git: GitServer,
    pub(crate) recorder: Recorder,
    pub(crate) registry: DemoRegistry,
    pub(crate) hooks: Hooks,
    pub(crate) hooks_url: url::Url,
    stop: CancellationToken,
}

impl Fixture {
    /// A git server behind a recorder, and a registry whose notifications go to a Towpath.
    pub(crate) async fn start() -> Result<Self> {
        Self::start_with(true).await
    }

    /// The same, with a registry that may keep its pushes to itself.
    pub(crate) async fn start_with(notifies: bool) -> Result<Self> {
        let folder = TempDir::with_prefix("towpath-bench-")?;
        let client = http::client(&HttpSettings::default())?;
        let git = GitServer::start(&folder.path().join("git")).await?;
        let root = git.url("it");
        let root = root.trim_end_matches("/it.git");
        let recorder = Recorder::start(root, &client).await?;
        let (hooks, stop) = (Hooks::open(), CancellationToken::new());
        let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let address = serve::listen(any, hooks.clone(), stop.clone()).await?;
        let hooks_url: url::Url = format!("http://{address}/hooks/registry").parse()?;
        let notify = Notify {
            client: client.clone(),
            url: hooks_url.clone(),
            host: None,
            authorization: None,
        };
        let registry = DemoRegistry::start(Access::Open, notifies.then_some(notify)).await?;
        Ok(Self {
            folder,
            client,
            git,
            recorder,
            registry,
            hooks,
            hooks_url,
            stop,
        })
    }

    /// The full name of an image repository.
    pub(crate) fn image(&self, path: &str) -> String {
        format!("{}/{path}", self.registry.address())
    }

    /// Pushes a tiny image; higher numbers are newer. Gives its digest.
    pub(crate) async fn push_image(&self, path: &str, tag: &str, number: usize) -> Result<String> {
        let created = Timestamp::from_second(1_767_225_600 + i64::try_from(number)?)?;
        let spec = ImageSpec {
            content: format!("{path}:{tag}"),
            created: Some(created),
            ..ImageSpec::default()
        };
        let target = Target {
            registry: &self.registry.url(),
            repository: path,
            tag,
            authorization: None,
        };
        Ok(spec.build().push(&self.client, &target).await?.to_string())
    }

    /// Makes a repository with these files on `master`.
    pub(crate) async fn repository(
        &self,
        name: &str,
        files: Vec<(String, Vec<u8>)>,
    ) -> Result<PathBuf> {
        let path = self.git.create(name).await?;
        let by = Signature {
            name: "Ada".to_owned(),
            email: "ada@example.com".to_owned(),
            time: clock::now(),
        };
        commit_first(&path, files, "first", &by).await?;
        // As a server leaves a repository that was there for a while.
        run(&path, "git", &["repack", "-adq"]).await?;
        Ok(path)
    }

    /// A second repository, equal to the first.
    pub(crate) async fn copy(&self, name: &str, copy: &str) -> Result<()> {
        let [from, to] = [name, copy].map(|it| self.git.path(it).display().to_string());
        run(self.folder.path(), "cp", &["-r", &from, &to]).await?;
        Ok(())
    }

    /// Starts the loop with this configuration, on fresh mirrors.
    pub(crate) async fn tow(&self, files: &[(String, String)]) -> Result<Tow> {
        let config = parse(files)?;
        let now = clock::now();
        let (sender, marks) = unbounded_channel();
        let sender = Marks(sender);
        let mirrors = TempDir::new_in(self.folder.path())?;
        let access = git::Access::new(self.client.clone());
        let (mut repositories, mut clusters) = (BTreeMap::new(), BTreeMap::new());
        for environment in config.pipelines.iter().flat_map(|it| &it.environments) {
            let url: &RepositoryUrl = &environment.repository;
            if !repositories.contains_key(url) {
                let remote = MarkedRemote {
                    inner: git::remote(url, &access)?,
                    marks: sender.clone(),
                };
                let mirror = mirrors.path().join(repositories.len().to_string());
                let repository = Repository::on_disk(Arc::new(remote), &mirror)?;
                repositories.insert(url.clone(), repository);
            }
            if let ClusterSpec::Simulated(simulated) = &environment.cluster
                && !clusters.contains_key(&environment.name)
            {
                let cluster = SimulatedCluster::open(&environment.name, simulated.clone(), None)?;
                clusters.insert(environment.name.clone(), Arc::new(cluster) as SharedCluster);
            }
        }
        let registry = MarkedRegistry {
            inner: HttpRegistry::new(self.client.clone(), RegistrySettings::default()),
            marks: sender,
        };
        let outside = Outside {
            registry: Arc::new(registry),
            repositories,
            clusters: reading(&clusters),
            forges: BTreeMap::new(),
            probe: Arc::new(HttpProbe::new(Outward::anywhere(self.client.clone()))),
            evidence: Arc::new(HttpEvidence::new(Outward::anywhere(self.client.clone()))),
        };
        let pipelines = config.pipelines;
        let reconciler = Arc::new(Reconciler::new(
            pipelines,
            &outside,
            clusters,
            BTreeMap::new(),
            &config.settings.author,
            Intervals::default(),
            now,
        ));
        self.hooks.serve(&reconciler);
        let stop = CancellationToken::new();
        let task = tokio::spawn(reconciler.clone().run(stop.clone()));
        let mut tow = Tow {
            reconciler,
            marks,
            stop,
            task,
            _mirrors: mirrors,
        };
        tow.settle().await?;
        Ok(tow)
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn parse(files: &[(String, String)]) -> Result<Config> {
    let files: Vec<_> = files
        .iter()
        .map(|(path, text)| (PathBuf::from(path), text.clone().into_bytes()))
        .collect();
    match Config::parse(&files) {
        Ok(config) => Ok(config),
        Err(problems) => bail!("the bench's configuration: {problems}"),
    }
}

/// A running loop.
pub(crate) struct Tow {
    pub(crate) reconciler: Arc<Reconciler>,
    marks: UnboundedReceiver<Mark>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    _mirrors: TempDir,
}

impl Tow {
    /// Waits until nothing is going on, and forgets the marks so far.
    pub(crate) async fn settle(&mut self) -> Result<()> {
        let mut changes = self.reconciler.board().changes();
        let settled = async {
            while !self.is_settled() {
                changes.changed().await?;
            }
            anyhow::Ok(())
        };
        let waited = tokio::time::timeout(DEADLINE, settled).await;
        if waited.is_err() {
            bail!("it does not settle: {}", self.describe());
        }
        while self.marks.try_recv().is_ok() {}
        Ok(())
    }

    /// The moments from here to the next landed push of a branch.
    pub(crate) async fn landed(&mut self) -> Result<Vec<Mark>> {
        let mut marks = Vec::new();
        let landing = async {
            while let Some(mark) = self.marks.recv().await {
                marks.push(mark);
                if mark.0 == Stage::Landed {
                    return true;
                }
            }
            false
        };
        match tokio::time::timeout(DEADLINE, landing).await {
            Ok(true) => Ok(marks),
            _ => bail!("nothing lands: {}", self.describe()),
        }
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.stop.cancel();
        self.task.await.context("the loop ended badly")
    }

    fn is_settled(&self) -> bool {
        let posted = self.reconciler.board().all();
        posted.len() == self.reconciler.len() && posted.iter().all(|it| is_settled(it))
    }

    /// What the first units that are not settled, or are stopped, say.
    fn describe(&self) -> String {
        let posted = self.reconciler.board().all();
        let units = posted.iter().flat_map(|posted| &posted.plan.units);
        let lines = units.map(|unit| format!("{}: {:?}", unit.environment, unit.decision));
        let mut text = lines.take(3).collect::<Vec<_>>().join("; ");
        text.truncate(text.floor_char_boundary(2000));
        text
    }
}

fn is_settled(posted: &Posted) -> bool {
    let rests = |decision: &Decision| match decision {
        Decision::Step(_) => false,
        Decision::Waiting(waiting) => !matches!(
            waiting.reason,
            Reason::Converging { .. } | Reason::Behind { .. } | Reason::Unreadable(_)
        ),
    };
    posted.is_idle() && posted.plan.units.iter().all(|unit| rests(&unit.decision))
}

/// An environment of one repository.
pub(crate) fn environment(name: &str, url: &str, manifests: &str, rest: &str) -> (String, String) {
    let text = format!(
        "repository: {{ url: {url}, branch: master }}\nmanifests: ['{manifests}']\n\
         cluster: {{ simulated: {{ ready-after: 0s }} }}\n{rest}\n"
    );
    (format!("{name}/environment.yaml"), text)
}

/// Applications, each with its image, in these environments.
pub(crate) fn applications(
    applications: impl IntoIterator<Item = (String, String)>,
    environments: &[&str],
) -> (String, String) {
    let mut text = "applications:\n".to_owned();
    for (name, image) in applications {
        text.push_str(&format!(
            "  - name: {name}\n    images:\n      - {{ repository: {image}, \
             branch-tag: '{{branch}}-{{commit:7}}', release-tag: '{{tag}}' }}\n    \
             environments: [{}]\n",
            environments.join(", ")
        ));
    }
    ("applications/all.yaml".to_owned(), text)
}

/// A Deployment of some size, as people write it.
pub(crate) fn deployment(name: &str, image: &str) -> Vec<u8> {
    format!(
        "# {name}: Towpath changes nothing here but the image.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
  labels: {{ app: {name} }}
spec:
  replicas: 2
  selector: {{ matchLabels: {{ app: {name} }} }}
  template:
    metadata: {{ labels: {{ app: {name} }} }}
    spec:
      containers:
        - name: main
          image: \"{image}\"
          ports: [{{ containerPort: 8080 }}]
          readinessProbe: {{ httpGet: {{ path: /healthz, port: 8080 }} }}
          resources: {{ requests: {{ cpu: 100m, memory: 64Mi }} }}
"
    )
    .into_bytes()
}

/// The files of an application's directory.
pub(crate) fn directory(path: &str, name: &str, image: &str) -> Vec<(String, Vec<u8>)> {
    let plain = |kind: &str, version: &str| {
        format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{ name: {name} }}\n").into_bytes()
    };
    vec![
        (format!("{path}/deployment.yaml"), deployment(name, image)),
        (format!("{path}/service.yaml"), plain("Service", "v1")),
        (format!("{path}/config.yaml"), plain("ConfigMap", "v1")),
        (
            format!("{path}/ingress.yaml"),
            plain("Ingress", "networking.k8s.io/v1"),
        ),
    ]
}

/// Runs a program to its end; gives what it said.
pub(crate) async fn run(folder: &Path, program: &str, arguments: &[&str]) -> Result<String> {
    run_with(folder, program, arguments, &[]).await
}

/// The same, with something to read.
pub(crate) async fn run_with(
    folder: &Path,
    program: &str,
    arguments: &[&str],
    input: &[u8],
) -> Result<String> {
    use tokio::io::AsyncWriteExt as _;
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_AUTHOR_NAME", "Ada")
        .env("GIT_AUTHOR_EMAIL", "ada@example.com")
        .env("GIT_COMMITTER_NAME", "Ada")
        .env("GIT_COMMITTER_EMAIL", "ada@example.com")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{program} cannot be started"))?;
    let mut stdin = child.stdin.take().context("no pipe")?;
    let input = input.to_vec();
    tokio::spawn(async move { stdin.write_all(&input).await });
    let output = child.wait_with_output().await?;
    ensure!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
