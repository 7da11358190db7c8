//! The operator's questions: `status`, `explain`, `history` and the like as processes of their own, on a repository
//! with ten deployments and on one with ten thousand.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use towpath::model::Digest;

use crate::fixture::{Fixture, applications, directory, environment, run, run_with};
use crate::process::{command, write};
use crate::table::{self, Samples};

const TIMES: usize = 7;
const FEW: usize = 10;
const MANY: usize = 10_000;

/// What is asked.
const QUESTIONS: [&[&str]; 6] = [
    &["status", "shop"],
    &["explain", "shop"],
    &["history", "shop"],
    &["releases", "shop"],
    &["show", "shop", "v1.0.0"],
    &["explain", "shop", "--release", "v1.0.0"],
];

struct Asked {
    /// The first look, which brings everything here.
    cold: Duration,
    by_question: Vec<Samples>,
}

pub(crate) async fn measure() -> Result<()> {
    let few = ask(FEW).await?;
    let many = ask(MANY).await?;
    let mut rows = vec![vec![
        "status shop, on an empty disk".to_owned(),
        table::milliseconds(few.cold),
        table::milliseconds(many.cold),
        String::new(),
    ]];
    let answers = few.by_question.iter().zip(&many.by_question);
    for (question, (few, many)) in QUESTIONS.iter().zip(answers) {
        rows.push(vec![
            question.join(" "),
            few.show(),
            many.show(),
            many.ratio(few),
        ]);
    }
    table::print(
        &format!("A command from its start to its end, mirrors warm (n = {TIMES})"),
        &[
            "",
            &format!("{FEW} deployments, ms"),
            &format!("{MANY} deployments, ms"),
            "against few",
        ],
        rows,
    );
    Ok(())
}

async fn ask(deployments: usize) -> Result<Asked> {
    let fixture = Fixture::start().await?;
    let digest = fixture.push_image("acme/shop", "v1.0.0", 0).await?;
    let image = fixture.image("acme/shop");
    let files = directory(
        "kubernetes/shop",
        "shop",
        &format!("{image}:v1.0.0@{digest}"),
    );
    let path = fixture.repository("it", files).await?;
    let configuration = [
        applications([("shop".to_owned(), image.clone())], &["qa"]),
        environment(
            "qa",
            &fixture.git.url("it"),
            "kubernetes/{application}",
            "follow: { tags: '>=1.0.0' }",
        ),
    ];
    // Adopted, applied and judged by the loop itself; what was before it comes on top.
    let tow = fixture.tow(&configuration).await?;
    tow.stop().await?;
    let history = history(deployments, &image, &digest);
    run_with(
        &path,
        "git",
        &["fast-import", "--quiet"],
        history.as_bytes(),
    )
    .await?;
    anchor(&path, deployments).await?;
    run(&path, "git", &["pack-refs", "--all"]).await?;
    run(&path, "git", &["repack", "-adq"]).await?;

    let folder = fixture.folder.path();
    let settings = folder.join("configuration");
    write(&settings, &configuration)?;
    let cold = time(folder, &settings, QUESTIONS[0]).await?;
    let mut by_question = Vec::new();
    for question in QUESTIONS {
        let mut samples = Samples::default();
        for _ in 0..TIMES {
            samples.add(time(folder, &settings, question).await?);
        }
        by_question.push(samples);
    }
    Ok(Asked { cold, by_question })
}

async fn time(folder: &Path, settings: &Path, question: &[&str]) -> Result<Duration> {
    let start = Instant::now();
    let mut child = command(folder, settings, question)?;
    let status = child.wait().await?;
    let took = start.elapsed();
    let log = || std::fs::read_to_string(folder.join("towpath.log")).unwrap_or_default();
    ensure!(status.success(), "{question:?}: {status}: {}", log());
    Ok(took)
}

/// The newest deployment's tag names the records that it was made from, as Towpath's own do.
async fn anchor(path: &Path, deployments: usize) -> Result<()> {
    let records = run(path, "git", &["rev-parse", "refs/notes/towpath/qa"]).await?;
    let message = format!(
        "Successfully Deployed\n\nTowpath-Records: {}",
        records.trim()
    );
    let name = format!("deployment-{:05}", deployments + 1);
    let by = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"];
    let arguments = [&by[..], &["tag", "-a", &name, "-m", &message, "master"]].concat();
    run(path, "git", &arguments)
        .await
        .context("the newest deployment has no tag")?;
    Ok(())
}

/// Deployments with their verdicts and tags, before those that are there, as `git fast-import` reads them.
fn history(deployments: usize, image: &str, digest: &str) -> String {
    let by = "Ada <ada@example.com> 1767225600 +0000";
    let mut text = format!(
        "commit refs/notes/towpath/qa\ncommitter {by}\ndata 5\nmany\n\n\
         from refs/notes/towpath/qa^0\n"
    );
    for index in 1..=deployments {
        let hash = Digest::of(index.to_string().as_bytes()).to_string();
        let hex: String = hash.chars().skip("sha256:".len()).take(40).collect();
        // Half of them are of releases of their own, as where each one is tried once.
        let (name, of) = match index % 2 {
            0 => ("v1.0.0".to_owned(), digest),
            _ => (format!("v0.{index}.0"), hash.as_str()),
        };
        let at = |second: usize| {
            let minute = index * 10;
            let (day, hour) = (1 + minute / 1440 % 28, minute / 60 % 24);
            let (month, year) = (1 + minute / 40_320 % 12, 2020 + minute / 483_840);
            format!(
                "{year}-{month:02}-{day:02}T{hour:02}:{:02}:{second:02}Z",
                minute % 60
            )
        };
        let of = format!(
            "\"environment\":\"qa\",\"application\":\"shop\",\"commit\":\"{hex}\",\"number\":{index},\
             \"release\":{{\"name\":\"{name}\",\"images\":{{\"{image}\":\"{of}\"}},\"built\":\"{}\"}},\
             \"state\":\"{hash}\"",
            at(0)
        );
        let lines = format!(
            "{{\"v\":1,\"record\":\"deployment\",\"at\":\"{}\",{of},\"cause\":\"automation\",\"by\":\"towpath\"}}\n\
             {{\"v\":1,\"record\":\"verdict\",\"at\":\"{}\",{of},\"verdict\":\"healthy\",\"by\":\"towpath\"}}\n",
            at(1),
            at(31)
        );
        let (first, rest) = hex.split_at(2);
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "M 100644 inline {first}/{rest}\ndata {}\n{lines}\n",
            lines.len()
        );
    }
    for index in 1..=deployments {
        let _ = write!(
            text,
            "tag deployment-{index:05}\nfrom refs/heads/master^0\ntagger {by}\ndata 22\nSuccessfully Deployed\n\n"
        );
    }
    text
}
