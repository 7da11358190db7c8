//! From the news of a commit to the last object applied, beside the very same objects applied bare; and
//! from a Deployment that is available to its recorded verdict.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::{Value, json};
use towpath::clock;

use super::site::{BARE, Site, TOWED, between, resource};
use crate::recorder::Asked;
use crate::table::{self, Samples};

/// The applications: how many objects each has, and how often it is changed.
const APPLICATIONS: [(&str, usize, usize); 3] =
    [("one", 1, 40), ("ten", 10, 25), ("hundred", 100, 15)];
const WARM_UP: usize = 3;

/// As many requests as Towpath has on their way at once.
const IN_FLIGHT: usize = 32;

/// What was measured of one application.
#[derive(Default)]
struct Measured {
    whole: Samples,
    seen: Samples,
    recorded: Samples,
    judged: Samples,
    bare: Samples,
    bare_judged: Samples,
    requests: Vec<usize>,
    verdict: Samples,
}

pub(super) async fn measure(binary: &Path) -> Result<()> {
    let names = APPLICATIONS.map(|(name, _, _)| name.to_owned());
    let mut site = Site::start(binary, &names, |name, image| {
        let count = APPLICATIONS.iter().find(|(it, _, _)| *it == name);
        let count = count.map_or(0, |(_, count, _)| *count);
        files(name, &objects(name, count, image, 0))
    })
    .await?;
    let available = Available::follow(site.client.clone());
    site.tow()?;
    let all = APPLICATIONS.iter().map(|(_, count, _)| count).sum();
    site.applied(all, |_| true).await?;
    site.settle(APPLICATIONS.len()).await?;

    let mut rows = Vec::new();
    let mut verdicts = Samples::default();
    for (name, count, times) in APPLICATIONS {
        let image = image_of(&site, name).await?;
        let mut measured = Measured::default();
        for number in 1..=WARM_UP + times {
            let objects = objects(name, count, &image, number);
            let mut fresh = Measured::default();
            let into = match number > WARM_UP {
                true => &mut measured,
                false => &mut fresh,
            };
            into.take(&mut site, &available, name, &objects).await?;
            site.settle(APPLICATIONS.len()).await?;
            let judged = bare(&site.client, &objects, true).await?;
            let bare = bare(&site.client, &objects, false).await?;
            into.bare.add(bare);
            into.bare_judged.add(judged + bare);
            // Pods of this are no concern of the next.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        if count == 1 {
            verdicts = measured.verdict.clone();
        }
        measured.requests.sort_unstable();
        let middle = measured.requests.get(measured.requests.len() / 2);
        rows.push(vec![
            format!("{count} (n = {times})"),
            measured.whole.show(),
            measured.seen.show(),
            measured.recorded.show(),
            measured.judged.show(),
            measured.bare.show(),
            measured.bare_judged.show(),
            measured.judged.ratio(&measured.bare_judged),
            middle.map_or_else(String::new, usize::to_string),
        ]);
    }
    site.stop().await?;
    table::print(
        "Webhook of a commit → all of its objects applied, ms (budget: commit seen → applied p50 ≤ 50)",
        &[
            "objects",
            "all",
            "until the commit is seen",
            "seen → recorded",
            "first dry run → applied",
            "the same applies made bare",
            "with a dry run before, bare",
            "ours against that",
            "requests",
        ],
        rows,
    );
    table::print(
        "Deployment available → its verdict recorded in git",
        &table::ROW,
        vec![verdicts.row()],
    );
    Ok(())
}

impl Measured {
    /// Commits the objects and follows them until their verdict.
    async fn take(
        &mut self,
        site: &mut Site,
        available: &Available,
        name: &str,
        objects: &[Value],
    ) -> Result<()> {
        site.commit(&files(name, objects)).await?;
        site.fixture.recorder.take_answers();
        site.log.news()?;
        let told = site.tell().await?;
        let applied = site
            .applied(objects.len(), |answer| answer.object.0 == TOWED)
            .await?;
        // What stands in no namespace of ours is the set's parent: none is written here.
        self.whole.add(between(told, applied.at));
        self.requests
            .push(applied.count.judged + applied.count.wrote);
        let first = applied.answers.iter().map(|it| it.at).min();
        self.judged.add(between(first.unwrap_or(told), applied.at));
        let verdict = available.verdict(site, name, told).await?;
        self.verdict.add(verdict.after_available);
        self.seen.add(between(told, Some(verdict.seen)));
        self.recorded
            .add(between(verdict.seen, Some(verdict.recorded)));
        Ok(())
    }
}

/// When Deployments became available, newest last.
struct Available {
    moments: Arc<Mutex<Vec<(String, Timestamp)>>>,
}

/// What the git server saw of one deployment.
struct Verdict {
    /// The commit was in an answer.
    seen: Timestamp,
    /// The deployment's record had landed.
    recorded: Timestamp,
    /// From the available Deployment until its verdict had landed.
    after_available: Duration,
}

impl Available {
    /// Follows them for as long as the client's runtime lives.
    fn follow(client: Client) -> Self {
        let moments = Arc::new(Mutex::new(Vec::new()));
        let into = moments.clone();
        let deployments = Api::<Deployment>::namespaced(client, TOWED);
        let config = watcher::Config::default();
        tokio::spawn(async move {
            let mut events = watcher(deployments, config).boxed();
            while let Some(event) = events.next().await {
                let Ok(Event::Apply(deployment) | Event::InitApply(deployment)) = event else {
                    continue;
                };
                if is_available(&deployment) {
                    let name = deployment.metadata.name.unwrap_or_default();
                    let mut moments = into.lock().unwrap_or_else(PoisonError::into_inner);
                    moments.push((name, clock::now()));
                }
            }
        });
        Self { moments }
    }

    /// Waits for the records of what was told of at this moment.
    async fn verdict(&self, site: &Site, name: &str, told: Timestamp) -> Result<Verdict> {
        let began = Instant::now();
        let (mut looks, mut records) = (Vec::new(), Vec::new());
        loop {
            for (at, asked) in site.fixture.recorder.take_answers() {
                match asked {
                    Asked::Look => looks.push(at),
                    Asked::Records => records.push(at),
                    Asked::Push => {}
                }
            }
            let became = {
                let moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
                let of_it = |(it, at): &&(String, Timestamp)| is_of(name, it) && *at > told;
                moments.iter().filter(of_it).map(|(_, at)| *at).max()
            };
            let seen = looks.iter().copied().find(|at| *at > told);
            let recorded = records.iter().copied().find(|at| *at > told);
            let verdict = became.and_then(|became| records.iter().find(|at| **at > became));
            if let (Some(seen), Some(recorded), Some(became), Some(verdict)) =
                (seen, recorded, became, verdict)
            {
                return Ok(Verdict {
                    seen,
                    recorded,
                    after_available: between(became, Some(*verdict)),
                });
            }
            ensure!(
                began.elapsed() < Duration::from_secs(30),
                "no verdict of {name}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn is_of(application: &str, deployment: &str) -> bool {
    deployment
        .strip_prefix(application)
        .is_some_and(|rest| rest.starts_with('-'))
}

fn is_available(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
    let Some(status) = &deployment.status else {
        return false;
    };
    status.observed_generation == deployment.metadata.generation
        && status.updated_replicas == wanted
        && status.available_replicas == wanted
        && status.replicas == wanted
}

async fn image_of(site: &Site, name: &str) -> Result<String> {
    let deployments = Api::<Deployment>::namespaced(site.client.clone(), TOWED);
    let deployment = deployments.get(&format!("{name}-0")).await?;
    let spec = deployment.spec.and_then(|spec| spec.template.spec);
    let image = spec.and_then(|spec| spec.containers.into_iter().next()?.image);
    image.context("it has no image")
}

/// An application's objects, one in ten a Deployment; all of them change with the number.
fn objects(name: &str, count: usize, image: &str, number: usize) -> Vec<Value> {
    let version = number.to_string();
    let object = |index: usize| {
        let name = format!("{name}-{index}");
        let (api_version, kind, rest) = match (index % 10, index % 3) {
            (0, _) => (
                "apps/v1",
                "Deployment",
                json!({ "spec": {
                    "replicas": 1, "revisionHistoryLimit": 1,
                    "selector": { "matchLabels": { "app": name } },
                    "template": {
                        "metadata": { "labels": { "app": name } },
                        "spec": { "containers": [{
                            "name": "main", "image": image,
                            "env": [{ "name": "VERSION", "value": version }],
                            "ports": [{ "containerPort": 8080 }],
                            "resources": { "requests": { "cpu": "100m", "memory": "64Mi" } },
                        }] },
                    },
                } }),
            ),
            (_, 0) => (
                "v1",
                "Service",
                json!({ "spec": {
                    "clusterIP": "None", "selector": { "app": name, "version": version },
                    "ports": [{ "port": 80 }],
                } }),
            ),
            (_, 1) => ("v1", "ConfigMap", json!({ "data": { "version": version } })),
            _ => (
                "networking.k8s.io/v1",
                "Ingress",
                json!({ "spec": { "rules": [{
                    "host": format!("v{version}.example.com"),
                    "http": { "paths": [{ "path": "/", "pathType": "Prefix", "backend": {
                        "service": { "name": name, "port": { "number": 80 } },
                    } }] },
                }] } }),
            ),
        };
        let mut object =
            json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": name } });
        if let (Value::Object(object), Value::Object(rest)) = (&mut object, rest) {
            object.extend(rest);
        }
        object
    };
    (0..count).map(object).collect()
}

fn files(name: &str, objects: &[Value]) -> Vec<(String, Vec<u8>)> {
    let file = |(index, object): (usize, &Value)| {
        let path = format!("kubernetes/{name}/{index}.yaml");
        // JSON is YAML: what is sent bare is what stands in git.
        (path, format!("{object:#}\n").into_bytes())
    };
    objects.iter().enumerate().map(file).collect()
}

/// Applies the objects without Towpath, as it does: all at once, each with one request.
pub(super) async fn bare(client: &Client, objects: &[Value], dry_run: bool) -> Result<Duration> {
    let mut params = PatchParams::apply("bare").force();
    params.dry_run = dry_run;
    let params = &params;
    let began = Instant::now();
    stream::iter(objects)
        .map(|object| async move {
            let api: Api<DynamicObject> =
                Api::namespaced_with(client.clone(), BARE, &resource(object));
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            api.patch(name, params, &Patch::Apply(object)).await
        })
        .buffer_unordered(IN_FLIGHT)
        .try_collect::<Vec<_>>()
        .await?;
    Ok(began.elapsed())
}
