//! From the registry's answer to a push until the commit has landed, by stage.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::fixture::{Fixture, Tow, applications, directory, environment};
use crate::marks::{Mark, Stage};
use crate::table::{self, Samples};

const TIMES: usize = 40;
const WARM_UP: usize = 5;

/// An image event and what followed.
pub(crate) struct Trip {
    /// The registry has answered the push of the manifest.
    answered: Instant,
    marks: Vec<Mark>,
}

impl Trip {
    /// Pushes an image of `acme/shop` and waits for its commit.
    pub(crate) async fn make(fixture: &Fixture, tow: &mut Tow, number: usize) -> Result<Self> {
        let tag = format!("feature-{number:07x}");
        fixture.push_image("acme/shop", &tag, number).await?;
        let answered = Instant::now();
        let marks = tow.landed().await?;
        Ok(Self { answered, marks })
    }

    pub(crate) fn whole(&self) -> Duration {
        self.to(Stage::Landed).unwrap_or_default()
    }

    /// From the end of the last stage before this one to its own.
    pub(crate) fn stage(&self, stage: Stage) -> Option<Duration> {
        let before = self.marks.iter().filter(|(it, _)| *it < stage);
        let begin = before.map(|(_, at)| *at).max().unwrap_or(self.answered);
        let at = self.marks.iter().find(|(it, _)| *it == stage)?.1;
        Some(at.saturating_duration_since(begin))
    }

    /// From the registry's answer to this stage.
    pub(crate) fn to(&self, stage: Stage) -> Option<Duration> {
        let at = self.marks.iter().find(|(it, _)| *it == stage)?.1;
        Some(at.saturating_duration_since(self.answered))
    }
}

pub(crate) async fn measure() -> Result<()> {
    let fixture = Fixture::start().await?;
    let digest = fixture.push_image("acme/shop", "v1.0.0", 0).await?;
    let image = fixture.image("acme/shop");
    let mut files = vec![applications(
        [("shop".to_owned(), image.clone())],
        &["staging", "qa", "production"],
    )];
    for (name, rest) in [
        ("staging", "follow: { branches: ['*', '!master'] }"),
        ("qa", "follow: { tags: '>=1.0.0' }"),
        (
            "production",
            "follow: { environment: qa, soak: 10m }\ngate: branch",
        ),
    ] {
        let of = directory("kubernetes", "shop", &format!("{image}:v1.0.0@{digest}"));
        fixture.repository(name, of).await?;
        files.push(environment(
            name,
            &fixture.git.url(name),
            "kubernetes",
            rest,
        ));
    }
    let mut tow = fixture.tow(&files).await?;
    let mut trips = Vec::new();
    for number in 1..=TIMES + WARM_UP {
        let trip = Trip::make(&fixture, &mut tow, number).await?;
        tow.settle().await.context("after a push")?;
        if number > WARM_UP {
            trips.push(trip);
        }
    }
    tow.stop().await?;
    let whole: Samples = trips.iter().map(Trip::whole).collect();
    let mut rows: Vec<Vec<String>> = [
        (Stage::Notified, "notification received, source woken"),
        (Stage::Listed, "tags listed"),
        (Stage::Described, "manifest and configuration"),
        (Stage::Planned, "planned, commit and records made"),
        (Stage::Landed, "pushed"),
    ]
    .into_iter()
    .map(|(stage, name)| {
        let samples: Samples = trips.iter().filter_map(|trip| trip.stage(stage)).collect();
        vec![name.to_owned(), samples.show(), samples.ratio(&whole)]
    })
    .collect();
    rows.push(vec!["all".to_owned(), whole.show(), whole.ratio(&whole)]);
    table::print(
        &format!("Registry's 201 → commit landed, servers in this process (n = {TIMES})"),
        &["", "ms: median (min–max)", "of all"],
        rows,
    );
    Ok(())
}
