//! The operator's questions: `status`, `explain`, `history` and the like, and what shells ask while somebody types, as
//! processes of their own, on a repository with ten deployments and on one with ten thousand.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;
use towpath::model::Digest;

use crate::fixture::{Fixture, applications, deployment, directory, environment, run, run_with};
use crate::process::write;
use crate::table::{self, Samples};

const TIMES: usize = 11;
const FEW: usize = 10;
const MANY: usize = 10_000;

/// What an answer may take, in milliseconds.
const BUDGET: u64 = 1_000;

/// What an answer may take where somebody types, in milliseconds.
const TYPING: u64 = 100;

/// What is asked. `rollback` goes as far as the push, which it does not make.
const QUESTIONS: [&str; 11] = [
    "status",
    "status shop",
    "explain shop qa",
    "explain shop --release v1.0.0",
    "history",
    "history shop --since 30d",
    "history --summary",
    "releases shop",
    "show shop v1.0.0",
    "show deployment-0005",
    "rollback shop qa --dry-run",
];

/// What is typed when a shell asks: the last word is what it is to complete.
const TYPED: [(&str, &str); 4] = [
    ("applications", "explain "),
    ("environments", "history --environment "),
    ("releases", "wait shop qa v"),
    ("deployments", "show shop qa/"),
];

const RECORDS: &str = "refs/notes/towpath/qa";

/// Who did what was before.
const ADA: &str = "Ada <ada@example.com> 1767225600 +0000";

/// How many deployments the loop makes itself.
const OWN: usize = 2;

/// What was deployed.
struct Images<'a> {
    repository: &'a str,
    /// Of `v1.0.0`.
    digest: &'a str,
}

impl Images<'_> {
    /// Half of them are of releases of their own, as where each one is tried once; the last one is what the loop meets.
    fn of(&self, index: usize) -> (String, String) {
        match index % 2 {
            0 => ("v1.0.0".to_owned(), self.digest.to_owned()),
            _ => {
                let digest = Digest::of(index.to_string().as_bytes());
                (format!("v0.{index}.0"), digest.to_string())
            }
        }
    }
}

struct Asked {
    /// The first look, which brings everything here.
    cold: Duration,
    /// Questions, then what is typed.
    samples: Vec<Samples>,
}

pub(crate) async fn measure() -> Result<()> {
    let few = ask(FEW).await?;
    let many = ask(MANY).await?;
    let mut rows = vec![vec![
        "status, on an empty disk".to_owned(),
        String::new(),
        table::milliseconds(few.cold),
        table::milliseconds(many.cold),
        String::new(),
    ]];
    let questions = QUESTIONS.map(|it| (it.to_owned(), BUDGET));
    let typed = TYPED.map(|(what, typed)| (format!("completing {what}: {typed}"), TYPING));
    let all = questions.into_iter().chain(typed);
    for ((what, budget), (few, many)) in all.zip(few.samples.iter().zip(&many.samples)) {
        rows.push(vec![
            what,
            budget.to_string(),
            few.show(),
            many.show(),
            many.ratio(few),
        ]);
    }
    table::print(
        &format!("A command from its start to its end, mirrors warm (n = {TIMES})"),
        &[
            "",
            "budget, ms",
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
    let images = Images {
        repository: &image,
        digest: &digest,
    };
    let commits = branch(&path, deployments, &images).await?;
    let configuration = [
        applications([("shop".to_owned(), image.clone())], &["qa"]),
        environment(
            "qa",
            &fixture.git.url("it"),
            "kubernetes/{application}",
            "follow: { tags: '>=1.0.0' }",
        ),
    ];
    // The newest two are adopted, written, applied and judged by the loop itself; what was before them comes on top.
    let mut tow = fixture.tow(&configuration).await?;
    fixture.push_image("acme/shop", "v1.1.0", 1).await?;
    drop(tow.landed().await?);
    tow.settle().await?;
    tow.stop().await?;
    renumbered(&path, deployments).await?;
    let history = history(&commits, &images);
    let import = ["fast-import", "--quiet"];
    run_with(&path, "git", &import, history.as_bytes()).await?;
    anchor(&path, deployments + OWN).await?;
    run(&path, "git", &["pack-refs", "--all"]).await?;
    run(&path, "git", &["repack", "-adq"]).await?;

    let folder = fixture.folder.path();
    let settings = folder.join("configuration");
    write(&settings, &configuration)?;
    let cold = time(&mut question(folder, &settings, QUESTIONS[0])).await?;
    let mut samples = Vec::new();
    for asked in QUESTIONS {
        samples.push(times(&mut question(folder, &settings, asked)).await?);
    }
    for (_, typed) in TYPED {
        samples.push(times(&mut typing(folder, &settings, typed)).await?);
    }
    Ok(Asked { cold, samples })
}

/// A question of a person.
fn question(folder: &Path, settings: &Path, words: &str) -> Command {
    let words: Vec<&str> = words.split(' ').collect();
    asking(folder, settings, &words)
}

/// What a shell asks; fish's way, which gives nothing but the words.
fn typing(folder: &Path, settings: &Path, words: &str) -> Command {
    let words: Vec<&str> = ["--", "towpath"]
        .into_iter()
        .chain(words.split(' '))
        .collect();
    let mut asked = asking(folder, settings, &words);
    asked.env("COMPLETE", "fish");
    asked
}

fn asking(folder: &Path, settings: &Path, words: &[&str]) -> Command {
    let mut asked = Command::new(env!("CARGO_BIN_EXE_towpath"));
    asked
        .args(words)
        .env("TOWPATH_CONFIG", settings)
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .env("HOME", folder)
        .env("GIT_AUTHOR_EMAIL", "ada@example.com")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    asked
}

async fn times(asked: &mut Command) -> Result<Samples> {
    let mut samples = Samples::default();
    for _ in 0..TIMES {
        samples.add(time(asked).await?);
    }
    Ok(samples)
}

/// Each has an answer, or it would be no question.
async fn time(asked: &mut Command) -> Result<Duration> {
    let start = Instant::now();
    let answer = asked.output().await?;
    let took = start.elapsed();
    let said = String::from_utf8_lossy(&answer.stderr);
    ensure!(
        answer.status.success(),
        "{asked:?}: {}: {said}",
        answer.status
    );
    ensure!(!answer.stdout.is_empty(), "{asked:?} has no answer: {said}");
    Ok(took)
}

/// The branch's commits before what the loop meets: one for each deployment. Gives their ids.
async fn branch(path: &Path, deployments: usize, images: &Images<'_>) -> Result<Vec<String>> {
    let mut text = String::new();
    for index in 1..=deployments {
        let (name, digest) = images.of(index);
        let manifest = deployment("shop", &format!("{}:{name}@{digest}", images.repository));
        let from = if index == 1 {
            "from refs/heads/master^0\n"
        } else {
            ""
        };
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "commit refs/heads/master\nmark :{index}\ncommitter {ADA}\ndata {}\n{name}\n{from}\
             M 100644 inline kubernetes/shop/deployment.yaml\ndata {}\n{}\n",
            name.len(),
            manifest.len(),
            String::from_utf8_lossy(&manifest),
        );
    }
    let marks = ["fast-import", "--quiet", "--export-marks=marks"];
    run_with(path, "git", &marks, text.as_bytes()).await?;
    let marks = std::fs::read_to_string(path.join("marks"))?;
    let mut ids = vec![String::new(); deployments];
    for line in marks.lines() {
        let (mark, id) = line.split_once(' ').context("no mark")?;
        let index: usize = mark.trim_start_matches(':').parse()?;
        ids[index - 1] = id.to_owned();
    }
    Ok(ids)
}

/// The loop's own deployments come after those that are put before them: in the records, and as tags.
async fn renumbered(path: &Path, before: usize) -> Result<()> {
    let files = run(path, "git", &["ls-tree", "-r", "--name-only", RECORDS]).await?;
    let mut text = format!("commit {RECORDS}\ncommitter {ADA}\ndata 5\nlater\nfrom {RECORDS}^0\n");
    for file in files.lines() {
        let mut said = run(path, "git", &["show", &format!("{RECORDS}:{file}")]).await?;
        for own in (1..=OWN).rev() {
            let number = |it: usize| format!("\"number\":{it},");
            said = said.replace(&number(own), &number(before + own));
        }
        let _ = write!(
            text,
            "M 100644 inline {file}\ndata {}\n{said}\n\n",
            said.len() + 1
        );
    }
    run_with(path, "git", &["fast-import", "--quiet"], text.as_bytes()).await?;
    let tags = run(path, "git", &["tag", "--list"]).await?;
    let delete: Vec<&str> = ["tag", "-d"].into_iter().chain(tags.lines()).collect();
    run(path, "git", &delete).await?;
    Ok(())
}

/// The newest deployment's tag names the records that it was made from, as Towpath's own do.
async fn anchor(path: &Path, deployments: usize) -> Result<()> {
    let records = run(path, "git", &["rev-parse", RECORDS]).await?;
    let message = format!(
        "Successfully Deployed\n\nTowpath-Records: {}",
        records.trim()
    );
    let name = format!("deployment-{deployments:04}");
    let by = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"];
    let arguments = [&by[..], &["tag", "-a", &name, "-m", &message, "master"]].concat();
    run(path, "git", &arguments)
        .await
        .context("the newest deployment has no tag")?;
    Ok(())
}

/// Deployments with their verdicts and tags, before those that are there, as `git fast-import` reads them.
fn history(commits: &[String], images: &Images<'_>) -> String {
    let mut text = format!("commit {RECORDS}\ncommitter {ADA}\ndata 5\nmany\n\nfrom {RECORDS}^0\n");
    for (index, commit) in (1..).zip(commits) {
        let (name, digest) = images.of(index);
        let (image, state) = (images.repository, Digest::of(index.to_string().as_bytes()));
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
            "\"environment\":\"qa\",\"application\":\"shop\",\"commit\":\"{commit}\",\"number\":{index},\
             \"release\":{{\"name\":\"{name}\",\"images\":{{\"{image}\":\"{digest}\"}},\"built\":\"{}\"}},\
             \"state\":\"{state}\"",
            at(0)
        );
        let lines = format!(
            "{{\"v\":1,\"record\":\"deployment\",\"at\":\"{}\",{of},\"cause\":\"automation\",\"by\":\"towpath\"}}\n\
             {{\"v\":1,\"record\":\"verdict\",\"at\":\"{}\",{of},\"verdict\":\"healthy\",\"by\":\"towpath\"}}\n",
            at(1),
            at(31)
        );
        let (first, rest) = commit.split_at(2);
        let _ = write!(
            text,
            "M 100644 inline {first}/{rest}\ndata {}\n{lines}\n",
            lines.len()
        );
    }
    for (index, commit) in (1..).zip(commits) {
        let _ = write!(
            text,
            "tag deployment-{index:04}\nfrom {commit}\ntagger {ADA}\ndata 22\nSuccessfully Deployed\n\n"
        );
    }
    text
}
