//! A plane with pods that become ready at once, a git server, and a `towpath run` as its own user.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use kube::Client;
use kube::api::{Api, DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use tokio::process::Child;
use tokio::sync::watch;
use tokio::task::JoinSet;
use towpath::clock;

use super::audit::{Answered, Count, Log};
use super::plane::Plane;
use super::pods;
use crate::fixture::{Fixture, run_with};
use crate::outside::free_port;
use crate::process::{self, write};

/// The one environment and its repository.
pub(super) const ENVIRONMENT: &str = "production";

/// Where Towpath applies.
pub(super) const TOWED: &str = "towed";

/// Where the same is applied without it.
pub(super) const BARE: &str = "bare";

const DEADLINE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(5);

pub(super) struct Site {
    pub(super) fixture: Fixture,
    /// As the user who may do everything.
    pub(super) client: Client,
    pub(super) log: Log,
    configuration: PathBuf,
    hooks: u16,
    towpath: Option<Child>,
    _rules: watch::Sender<Vec<pods::Rule>>,
    _faker: JoinSet<()>,
    _plane: Plane,
}

impl Site {
    /// Starts everything but Towpath. Files of the one repository come from `files`, which is told where
    /// an application's image is.
    pub(super) async fn start(
        binary: &Path,
        applications: &[String],
        files: impl Fn(&str, &str) -> Vec<(String, Vec<u8>)>,
    ) -> Result<Self> {
        let fixture = Fixture::start_with(false).await?;
        let plane = Plane::start(binary).await?;
        let pods_client = plane.client(&Plane::faker()).await?;
        pods::make_node(pods_client.clone(), &plane.node()).await?;
        let (rules, given) = watch::channel(Vec::new());
        let mut faker = JoinSet::new();
        faker.spawn(pods::fake(pods_client, plane.node(), given));

        let user = plane.new_user();
        let client = plane.client(&Plane::admin()).await?;
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": { "name": "towpath" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user.name }],
        });
        let of_all = Api::all_with(client.clone(), &resource(&binding));
        create(&of_all, &binding).await?;
        for namespace in [TOWED, BARE] {
            let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
            create(
                &Api::all_with(client.clone(), &resource(&namespace)),
                &namespace,
            )
            .await?;
        }
        let kubeconfig = fixture.folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, plane.kubeconfig("bench", &user)?)?;
        let log = Log::new(plane.audit_log(), user);

        let mut made = Vec::new();
        let mut images = Vec::new();
        for name in applications {
            let path = format!("acme/{name}");
            let digest = fixture.push_image(&path, "main-0000000", 0).await?;
            let image = fixture.image(&path);
            made.extend(files(name, &format!("{image}:main-0000000@{digest}")));
            images.push((name.clone(), image));
        }
        fixture.repository(ENVIRONMENT, made).await?;
        let environment = format!(
            "repository: {{ url: {}, branch: master }}\nmanifests: ['kubernetes/{{application}}']\n\
             cluster: {{ context: bench, kubeconfig: {}, namespace: {TOWED} }}\n\
             follow: {{ branches: ['*', '!master'] }}\n",
            fixture.recorder.url(ENVIRONMENT),
            kubeconfig.display(),
        );
        let configuration = fixture.folder.path().join("configuration");
        write(
            &configuration,
            &[
                (format!("{ENVIRONMENT}/environment.yaml"), environment),
                crate::fixture::applications(images, &[ENVIRONMENT]),
                (
                    "towpath.yaml".to_owned(),
                    "webhooks: { generic: { unauthenticated: true } }\n".to_owned(),
                ),
            ],
        )?;
        Ok(Self {
            fixture,
            client,
            log,
            configuration,
            hooks: free_port()?,
            towpath: None,
            _rules: rules,
            _faker: faker,
            _plane: plane,
        })
    }

    /// Starts `towpath run`.
    pub(super) fn tow(&mut self) -> Result<()> {
        let hooks = format!("127.0.0.1:{}", self.hooks);
        self.towpath = Some(process::towpath(
            self.fixture.folder.path(),
            &self.configuration,
            &hooks,
        )?);
        Ok(())
    }

    /// Runs Towpath until there is nothing left to do. Gives how long that took.
    pub(super) async fn tow_once(&self) -> Result<Duration> {
        let began = Instant::now();
        let arguments = ["run", "--once", "--wait", "2m"];
        let folder = self.fixture.folder.path();
        let mut child = process::command(folder, &self.configuration, &arguments)?;
        let status = child.wait().await?;
        let took = began.elapsed();
        ensure!(
            status.success(),
            "towpath ended: {status}\n{}",
            self.words()
        );
        Ok(took)
    }

    /// Ends it as a service manager does.
    pub(super) async fn stop(&mut self) -> Result<()> {
        let mut child = self.towpath.take().context("it does not run")?;
        let id = child.id().context("towpath ended")?.to_string();
        crate::fixture::run(Path::new("/"), "kill", &["-TERM", &id]).await?;
        child.wait().await?;
        Ok(())
    }

    /// Its memory; see [`process::mebibytes`].
    pub(super) fn mebibytes(&self, field: &str) -> Result<f64> {
        process::mebibytes(self.towpath.as_ref().context("it does not run")?, field)
    }

    /// Commits these files onto the environment's branch, without Towpath being told.
    pub(super) async fn commit(&self, files: &[(String, Vec<u8>)]) -> Result<()> {
        let mut text = b"commit refs/heads/master\ncommitter Ada <ada@example.com> now\n\
            data 4\nedit\nfrom refs/heads/master^0\n"
            .to_vec();
        for (path, content) in files {
            text.extend(format!("M 100644 inline {path}\ndata {}\n", content.len()).bytes());
            text.extend(content);
            text.push(b'\n');
        }
        let repository = self.fixture.git.path(ENVIRONMENT);
        let arguments = ["fast-import", "--quiet", "--date-format=now"];
        run_with(&repository, "git", &arguments, &text).await?;
        Ok(())
    }

    /// Tells Towpath of a push, as a git server does. Gives the moment before.
    pub(super) async fn tell(&self) -> Result<Timestamp> {
        let url = self.fixture.recorder.url(ENVIRONMENT);
        let body = json!({ "repositories": [url] }).to_string();
        let to = format!("http://127.0.0.1:{}/hooks/generic", self.hooks);
        let now = clock::now();
        let told = self.fixture.client.post(to).body(body).send().await?;
        ensure!(told.status() == 202, "the webhook: {}", told.status());
        Ok(now)
    }

    /// Waits until so many objects were applied that `counts`. Gives when the last one was, how many
    /// requests there were meanwhile, and all answers.
    pub(super) async fn applied(
        &mut self,
        objects: usize,
        counts: impl Fn(&Answered) -> bool,
    ) -> Result<Applied> {
        let began = Instant::now();
        let mut applied = Applied::default();
        let mut found = 0;
        while found < objects {
            if began.elapsed() > DEADLINE {
                bail!("{found} of {objects} were applied\n{}", self.words());
            }
            tokio::time::sleep(LOOK).await;
            let (answers, count) = self.log.news()?;
            applied.count += count;
            for answer in answers {
                if answer.verb == "patch" && !answer.dry_run && counts(&answer) {
                    found += 1;
                    applied.at = applied.at.max(Some(answer.at));
                }
                applied.answers.push(answer);
            }
        }
        Ok(applied)
    }

    /// Waits until every deployment has its verdict and its tag.
    pub(super) async fn settle(&self, units: usize) -> Result<()> {
        let repository = self.fixture.git.path(ENVIRONMENT);
        let began = Instant::now();
        while !process::is_settled(&repository, ENVIRONMENT, units).await? {
            ensure!(
                began.elapsed() < DEADLINE,
                "it does not settle\n{}",
                self.words()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // And until the loop has seen its own tags.
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok(())
    }

    /// The end of what Towpath said.
    fn words(&self) -> String {
        let log = std::fs::read_to_string(self.fixture.folder.path().join("towpath.log"));
        let log = log.unwrap_or_default();
        log.lines().rev().take(20).collect::<Vec<_>>().join("\n")
    }
}

/// What was applied.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// When the last answer was there.
    pub(super) at: Option<Timestamp>,
    /// How many requests there were.
    pub(super) count: Count,
    /// All answers.
    pub(super) answers: Vec<Answered>,
}

/// From one moment to another.
pub(super) fn between(from: Timestamp, to: Option<Timestamp>) -> Duration {
    let to = to.unwrap_or(from);
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// What an object's kind is called where it is served.
pub(super) fn resource(object: &Value) -> ApiResource {
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    let (group, version) = text("apiVersion")
        .split_once('/')
        .unwrap_or(("", text("apiVersion")));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, text("kind")))
}

/// Makes an object.
pub(super) async fn create(api: &Api<DynamicObject>, object: &Value) -> Result<()> {
    let object: DynamicObject = serde_json::from_value(object.clone())?;
    api.create(&PostParams::default(), &object).await?;
    Ok(())
}
