//! A thousand applications in one repository: their first sync, the next start with nothing changed, and
//! one of them changed by a commit.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use super::audit::Count;
use super::site::{Cpu, ENVIRONMENT, Site, TOWED, between};
use crate::recorder::Asked;
use crate::table::{self, Samples, milliseconds};

const APPLICATIONS: usize = 1000;
const OBJECTS_EACH: usize = 4;
const CHANGES: usize = 20;
const WARM_UP: usize = 2;

pub(super) async fn measure(binary: &Path) -> Result<()> {
    let names: Vec<String> = (0..APPLICATIONS).map(|it| format!("app-{it:04}")).collect();
    let mut image = String::new();
    let mut site = Site::start(binary, &names, |name, image| files(name, image, 0)).await?;

    let began = towpath::clock::now();
    let before = site.cpu().await?;
    site.fixture.recorder.take_answers();
    site.tow()?;
    let mut first = site
        .applied(APPLICATIONS * OBJECTS_EACH, |it| {
            it.object.0 == TOWED && it.object.1.starts_with("app-")
        })
        .await?;
    let first_cpu = site.cpu().await? - before;
    let pushes = pushes(&site);
    site.settle(APPLICATIONS).await?;
    let settled = between(began, Some(towpath::clock::now()));
    let pushes_after = self::pushes(&site);
    first.count += site.log.news()?.1;
    let [first_resident, first_peak] = [site.mebibytes("VmRSS")?, site.mebibytes("VmHWM")?];
    site.stop().await?;

    site.log.news()?;
    let took = site.tow_once().await?;
    let (_, again) = site.log.news()?;

    let start = Instant::now();
    site.tow()?;
    let mut quiet = Instant::now();
    while quiet.elapsed() < Duration::from_secs(2) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if site.log.news()?.1.all > 0 {
            quiet = Instant::now();
        }
    }
    let restarted = quiet.duration_since(start);
    let [resident, peak] = [site.mebibytes("VmRSS")?, site.mebibytes("VmHWM")?];

    let mut changed = Samples::default();
    let mut steps = <[Samples; 4]>::default();
    let mut requests = Count::default();
    for number in 1..=WARM_UP + CHANGES {
        let name = &names[number * 37 % APPLICATIONS];
        if image.is_empty() {
            image = site.fixture.image("acme");
        }
        let digest = digest_in(&site, name).await?;
        let made = files(
            name,
            &format!("{image}/{name}:main-0000000@{digest}"),
            number,
        );
        let deployment: Vec<_> = made.into_iter().take(1).collect();
        site.commit(&deployment).await?;
        site.log.news()?;
        site.fixture.recorder.take_answers();
        let told = site.tell().await?;
        let applied = site.applied(1, |it| it.object.1 == *name).await?;
        let answers = site.fixture.recorder.take_answers();
        if number > WARM_UP {
            changed.add(between(told, applied.at));
            requests += applied.count;
            let first = applied.answers.iter().map(|it| it.at).min();
            let looks = answers.iter().filter(|it| it.1 == Asked::Look);
            let mut looks = looks.map(|it| it.0);
            let seen = looks.next();
            let brought = looks.next();
            let records = answers.iter().find(|it| it.1 == Asked::Records);
            let ends = [seen, brought, records.map(|it| it.0), first];
            let mut begun = told;
            for (step, end) in steps.iter_mut().zip(ends) {
                step.add(between(begun, end));
                begun = end.unwrap_or(begun);
            }
        }
        site.settle(APPLICATIONS).await?;
    }
    site.stop().await?;
    let bare = bare(&site, &names).await?;

    let seconds = |it: Duration| format!("{:.2} s", it.as_secs_f64());
    let row = |what: &str, budget: &str, time: String, count: &Count, memory: String| {
        vec![
            what.to_owned(),
            budget.to_owned(),
            time,
            count.all.to_string(),
            count.judged.to_string(),
            count.wrote.to_string(),
            memory,
        ]
    };
    table::print(
        &format!("{APPLICATIONS} applications × {OBJECTS_EACH} objects in one repository"),
        &[
            "",
            "budget",
            "time",
            "requests",
            "dry runs",
            "writes",
            "resident (peak), MiB",
        ],
        vec![
            row(
                "first sync: start → all applied",
                "≤ 12 s, ≤ 8,100 requests",
                seconds(between(began, first.at)),
                &first.count,
                format!("{first_resident:.0} ({first_peak:.0})"),
            ),
            row(
                "start → all judged, recorded and tagged",
                "",
                seconds(settled),
                &Count::default(),
                String::new(),
            ),
            row(
                "next start, `run --once` from start to end",
                "≤ 1 s, no write",
                seconds(took),
                &again,
                String::new(),
            ),
            row(
                "next start, `run`: until its last request",
                "",
                seconds(restarted),
                &again,
                format!("{resident:.0} ({peak:.0})"),
            ),
            row(
                &format!("one changed: webhook → applied, ms (n = {CHANGES})"),
                "≤ 100 ms",
                format!(
                    "{}, p95 {}",
                    changed.show(),
                    milliseconds(changed.quantile(0.95))
                ),
                &requests,
                String::new(),
            ),
        ],
    );
    table::print(
        "One of them changed, step by step, ms",
        &[
            "webhook → commit seen",
            "→ brought",
            "→ recorded",
            "→ judged",
            "(all, until applied)",
        ],
        vec![steps.iter().chain([&changed]).map(Samples::show).collect()],
    );
    println!(
        "Pushes to git: {pushes} until all was applied, then {pushes_after} until all was settled."
    );
    print_bare(between(began, first.at), first_cpu, &bare);
    Ok(())
}

/// How often git was pushed to since this was last asked, or its answers taken.
fn pushes(site: &Site) -> usize {
    let answers = site.fixture.recorder.take_answers();
    answers.iter().filter(|it| it.1 != Asked::Look).count()
}

/// The same objects applied without Towpath.
struct Bare {
    judged: Duration,
    applied: Duration,
    cpu: Cpu,
}

/// Sends what a first sync cannot do without, by the same user and as many at a time: a dry run of each
/// object, then each applied.
async fn bare(site: &Site, names: &[String]) -> Result<Bare> {
    let client = site.as_towpath().await?;
    let files = names
        .iter()
        .flat_map(|name| files(name, "registry.example.com/app:1", 0));
    let objects: Vec<Value> = files
        .map(|(_, text)| serde_yaml::from_slice(&text))
        .collect::<Result<_, _>>()?;
    let before = site.cpu().await?;
    let judged = super::apply::bare(&client, &objects, true).await?;
    let applied = super::apply::bare(&client, &objects, false).await?;
    Ok(Bare {
        judged,
        applied,
        cpu: site.cpu().await? - before,
    })
}

fn print_bare(first: Duration, first_cpu: Cpu, bare: &Bare) {
    let both = bare.judged + bare.applied;
    let row = |what: &str, time: Duration, cpu: Cpu| {
        let parts = [cpu.towpath, cpu.apiserver, cpu.etcd, cpu.controllers];
        let mut cells = vec![
            what.to_owned(),
            format!("{:.2}", time.as_secs_f64()),
            format!("{:.2} ×", time.as_secs_f64() / both.as_secs_f64()),
        ];
        cells.extend(parts.map(|it| format!("{it:.1}")));
        cells
    };
    table::print(
        &format!(
            "The first sync beside its requests made bare: dry runs {:.2} s, applies {:.2} s",
            bare.judged.as_secs_f64(),
            bare.applied.as_secs_f64()
        ),
        &[
            "",
            "s",
            "against bare",
            "CPU of Towpath, s",
            "API server",
            "etcd",
            "controllers",
        ],
        vec![
            row("first sync", first, first_cpu),
            row("a dry run of each, then each applied, bare", both, bare.cpu),
        ],
    );
}

/// The digest that an application's Deployment names in git.
async fn digest_in(site: &Site, name: &str) -> Result<String> {
    let repository = site.fixture.git.path(ENVIRONMENT);
    let file = format!("master:kubernetes/{name}/0.yaml");
    let text = crate::fixture::run(&repository, "git", &["show", &file]).await?;
    let digest = text.split_once("@").map_or("", |(_, rest)| rest);
    Ok(digest.split('"').next().unwrap_or_default().to_owned())
}

/// A Deployment without pods, as rollouts of the plane's own controllers are not what is measured, a Service,
/// a ConfigMap and an Ingress.
fn files(name: &str, image: &str, number: usize) -> Vec<(String, Vec<u8>)> {
    let documents = [
        format!(
            "apiVersion: apps/v1
kind: Deployment
metadata: {{ name: {name} }}
spec:
  replicas: 0
  selector: {{ matchLabels: {{ app: {name} }} }}
  template:
    metadata: {{ labels: {{ app: {name} }} }}
    spec:
      containers:
        - name: main
          image: \"{image}\"
          env: [{{ name: VERSION, value: \"{number}\" }}]
          ports: [{{ containerPort: 8080 }}]
          readinessProbe: {{ httpGet: {{ path: /healthz, port: 8080 }} }}
          resources: {{ requests: {{ cpu: 100m, memory: 64Mi }} }}
"
        ),
        format!(
            "apiVersion: v1
kind: Service
metadata: {{ name: {name} }}
spec: {{ clusterIP: None, selector: {{ app: {name} }}, ports: [{{ port: 80 }}] }}
"
        ),
        format!(
            "apiVersion: v1
kind: ConfigMap
metadata: {{ name: {name} }}
data: {{ key: value }}
"
        ),
        format!(
            "apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{ name: {name} }}
spec: {{ defaultBackend: {{ service: {{ name: {name}, port: {{ number: 80 }} }} }} }}
"
        ),
    ];
    let file = |(index, text): (usize, String)| {
        (format!("kubernetes/{name}/{index}.yaml"), text.into_bytes())
    };
    documents.into_iter().enumerate().map(file).collect()
}
