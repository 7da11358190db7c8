//! The same edit in repositories of different sizes, split into the server's own cost and ours.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::Result;
use towpath::model::Digest;

use crate::fixture::{
    FILES_EACH, Fixture, applications, deployment, directory, environment, run, run_with,
};
use crate::marks::Stage;
use crate::notification::Trip;
use crate::table::{self, Samples, milliseconds};

const TIMES: usize = 15;
const WARM_UP: usize = 3;
const RECORDS: usize = 100_000;
const TAGS: usize = 10_000;

/// What was measured in one repository.
struct Measured {
    name: String,
    /// Start of the loop until everything is settled.
    start: Duration,
    whole: Samples,
    server: Samples,
    /// From the registry's answer to the first byte of the push.
    before_push: Samples,
}

impl Measured {
    /// Without the server's own cost: medians' difference.
    fn ours(&self) -> Duration {
        self.whole.median().saturating_sub(self.server.median())
    }
}

pub(crate) async fn measure() -> Result<()> {
    let mut measured = Vec::new();
    for files in [100, 20_000, 100_000] {
        let name = format!("{files} files, a directory per application");
        measured.push(repository(&name, &directories(files), "kubernetes/{application}", 0).await?);
    }
    measured.push(
        repository(
            "20000 files, one directory, one unit",
            &flat,
            "kubernetes",
            0,
        )
        .await?,
    );
    let loaded = format!("100 files, {TAGS} tags, {RECORDS} records");
    measured.push(
        repository(
            &loaded,
            &directories(100),
            "kubernetes/{application}",
            RECORDS,
        )
        .await?,
    );

    let Some(small) = measured.first() else {
        return Ok(());
    };
    let ratio = |of: Duration, base: Duration| match base.is_zero() {
        true => "–".to_owned(),
        false => format!("{:.2} ×", of.as_secs_f64() / base.as_secs_f64()),
    };
    let rows = measured.iter().map(|it| {
        vec![
            it.name.clone(),
            milliseconds(it.start),
            it.whole.show(),
            it.whole.ratio(&small.whole),
            it.server.show(),
            milliseconds(it.ours()),
            ratio(it.ours(), small.ours()),
            it.before_push.show(),
            it.before_push.ratio(&small.before_push),
        ]
    });
    table::print(
        &format!("Registry's 201 → commit landed by size of the repository (n = {TIMES})"),
        &[
            "",
            "start, ms",
            "all, ms",
            "against small",
            "the same push made bare, ms",
            "ours, ms",
            "against small",
            "of it before the push, ms",
            "against small",
        ],
        rows.collect(),
    );
    Ok(())
}

pub(crate) type Files = Vec<(String, Vec<u8>)>;

/// A directory of four files per application; the one that is edited is in the middle.
pub(crate) fn directories(files: usize) -> impl Fn(&str) -> Files {
    move |image| {
        let mut made = directory("kubernetes/shop", "shop", image);
        for index in 0..files / FILES_EACH - 1 {
            let side = if index % 2 == 0 { "app" } else { "web" };
            let name = format!("{side}-{index:05}");
            let other = format!("registry.example.com/acme/{name}:v1.0.0");
            made.extend(directory(&format!("kubernetes/{name}"), &name, &other));
        }
        made
    }
}

/// One directory of 20,000 Deployments.
fn flat(image: &str) -> Files {
    let mut made = vec![("kubernetes/shop.yaml".to_owned(), deployment("shop", image))];
    for index in 0..19_999 {
        let side = if index % 2 == 0 { "app" } else { "web" };
        let name = format!("{side}-{index:05}");
        let other = format!("registry.example.com/acme/{name}:v1.0.0");
        made.push((format!("kubernetes/{name}.yaml"), deployment(&name, &other)));
    }
    made
}

async fn repository(
    name: &str,
    files: &dyn Fn(&str) -> Files,
    manifests: &str,
    records: usize,
) -> Result<Measured> {
    let fixture = Fixture::start().await?;
    let digest = fixture.push_image("acme/shop", "main-0000000", 0).await?;
    let image = fixture.image("acme/shop");
    let path = fixture
        .repository("it", files(&format!("{image}:main-0000000@{digest}")))
        .await?;
    let configuration = [
        applications([("shop".to_owned(), image)], &["staging"]),
        environment(
            "staging",
            &fixture.recorder.url("it"),
            manifests,
            "follow: { branches: ['*', '!master'] }",
        ),
    ];
    let mut start = Instant::now();
    let mut tow = fixture.tow(&configuration).await?;
    if records > 0 {
        tow.stop().await?;
        run_with(
            &path,
            "git",
            &["fast-import", "--quiet"],
            history(records).as_bytes(),
        )
        .await?;
        run(&path, "git", &["pack-refs", "--all"]).await?;
        start = Instant::now();
        tow = fixture.tow(&configuration).await?;
    }
    let start = start.elapsed();
    fixture.copy("it", "copy").await?;
    fixture.recorder.take();

    let (mut trips, mut server) = (Vec::new(), Samples::default());
    for number in 1..=TIMES + WARM_UP {
        let trip = Trip::make(&fixture, &mut tow, number).await?;
        tow.settle().await?;
        let pushes = fixture.recorder.take();
        let mut bare = Vec::new();
        for push in pushes {
            bare.push(fixture.recorder.replay("copy", push).await?);
        }
        if number > WARM_UP {
            trips.push(trip);
            server.add(bare.first().copied().unwrap_or_default());
        }
    }
    tow.stop().await?;
    Ok(Measured {
        name: name.to_owned(),
        start,
        whole: trips.iter().map(Trip::whole).collect(),
        server,
        before_push: trips
            .iter()
            .filter_map(|it| it.to(Stage::Planned))
            .collect(),
    })
}

/// Tags, and records on top of those that are there, as `git fast-import` reads them.
fn history(records: usize) -> String {
    let by = "Ada <ada@example.com> 1767225600 +0000";
    let mut text = format!(
        "commit refs/notes/towpath/staging\ncommitter {by}\ndata 5\nmany\n\n\
         from refs/notes/towpath/staging^0\n"
    );
    for index in 0..records {
        let hex = Digest::of(index.to_string().as_bytes()).to_string();
        let hex: String = hex.chars().skip("sha256:".len()).take(40).collect();
        let line = format!(
            "{{\"version\":1,\"record\":\"verdict\",\"at\":\"2026-01-01T00:00:00Z\",\"commit\":\"{hex}\",\"number\":{index}}}\n"
        );
        let (first, rest) = hex.split_at(2);
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "M 100644 inline {first}/{rest}\ndata {}\n{line}\n",
            line.len()
        );
    }
    for index in 0..TAGS {
        let _ = write!(
            text,
            "tag release-{index:05}\nfrom refs/heads/master^0\ntagger {by}\ndata 4\ntag\n\n"
        );
    }
    text
}
