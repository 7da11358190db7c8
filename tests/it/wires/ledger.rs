//! What stands in a repository afterwards, compared with what the releases imply. Reads git alone.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::site::tag;

/// What is not as the releases imply, a sentence each.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// What should be there and is not.
    pub(super) lost: Vec<String>,
    /// What is there more than once.
    pub(super) doubled: Vec<String>,
    /// What has served and is still there.
    pub(super) left: Vec<String>,
}

impl Found {
    pub(super) fn add(&mut self, other: Self) {
        self.lost.extend(other.lost);
        self.doubled.extend(other.doubled);
        self.left.extend(other.left);
    }
}

/// Which releases an environment must have had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Had<'a> {
    /// Every one.
    Each,
    /// Every one but these, which newer ones took the place of.
    EachBut(&'a [u64]),
    /// The newest, and none twice: others may have been passed over.
    Newest,
}

/// What the records of an environment tell of one deployment.
#[derive(Debug, Default)]
struct Told {
    release: Option<String>,
    by_hand: bool,
    deployments: usize,
    verdicts: Vec<String>,
}

/// Compares an environment with the releases up to this one. Verdicts of what was passed over may be
/// `superseded`; that of the newest is `healthy`.
pub(super) async fn compare(bare: &Path, environment: &str, newest: u64, had: Had<'_>) -> Found {
    let mut found = Found::default();
    let told = told(bare, environment).await;
    let commits = commits(bare).await;
    let count = told.len();
    let at = |what: String| format!("{environment}: {what}");
    if commits > count {
        found
            .doubled
            .push(at(format!("{commits} commits for {count} deployments")));
    }
    if commits < count {
        found
            .lost
            .push(at(format!("{commits} commits for {count} deployments")));
    }
    let tags = git(
        bare,
        &[
            "for-each-ref",
            "--format=%(refname:short) %(contents:subject)",
            "refs/tags",
        ],
    )
    .await;
    let tags: Vec<&str> = tags.lines().collect();
    let mut releases: BTreeMap<&str, usize> = BTreeMap::new();
    let mut before = None;
    for (index, (number, one)) in told.iter().enumerate() {
        if *number != index as u64 + 1 {
            found
                .lost
                .push(at(format!("deployment {} comes as {number}", index + 1)));
        }
        if one.deployments != 1 {
            found.doubled.push(at(format!(
                "{} records of deployment {number}",
                one.deployments
            )));
        }
        match one.verdicts.as_slice() {
            [] => found
                .lost
                .push(at(format!("the verdict on deployment {number}"))),
            [one] if one == "healthy" || one == "superseded" => {}
            [one] => found.lost.push(at(format!("deployment {number} is {one}"))),
            many => found
                .doubled
                .push(at(format!("deployment {number} has the verdicts {many:?}"))),
        }
        let name = format!("deployment-{number:04} ");
        match tags.iter().filter(|it| it.starts_with(&name)).count() {
            1 => {}
            0 => found
                .lost
                .push(at(format!("the tag of deployment {number}"))),
            _ => found
                .doubled
                .push(at(format!("the tag of deployment {number}"))),
        }
        if let Some(release) = &one.release {
            // A person who changes something else deploys what runs once more.
            let same = one.by_hand && before == Some(release);
            *releases.entry(release).or_default() += usize::from(!same);
            before = Some(release);
        }
    }
    if tags.len() > count {
        found
            .doubled
            .push(at(format!("{} tags for {count} deployments", tags.len())));
    }
    for (release, times) in &releases {
        if *times > 1 {
            found
                .doubled
                .push(at(format!("{release} was deployed {times} times")));
        }
    }
    for number in 0..=newest {
        let wanted = match had {
            Had::Each => true,
            Had::EachBut(passed) => !passed.contains(&number),
            Had::Newest => number == newest,
        };
        if wanted && !releases.contains_key(tag(number).as_str()) {
            found
                .lost
                .push(at(format!("{} was never deployed", tag(number))));
        }
    }
    let last = told.values().last();
    if last
        .is_none_or(|it| it.release.as_deref() != Some(&tag(newest)) || it.verdicts != ["healthy"])
    {
        found
            .lost
            .push(at(format!("{} does not run healthy", tag(newest))));
    }
    found
}

/// The manifest that the branch has of an application.
pub(super) async fn asks_for(bare: &Path, application: &str) -> String {
    git(bare, &["show", &format!("master:{application}/web.yaml")]).await
}

/// What is written down of an environment and not done with, and which tags there are: for who wonders why one does
/// not come.
pub(super) async fn unfinished(bare: &Path, environment: &str) -> String {
    let standing = format!("refs/notes/towpath/{environment}:present/environment");
    let standing = git(bare, &["show", &standing]).await;
    let format = "--format=%(refname) %(objectname:short)";
    let refs = git(bare, &["for-each-ref", format]).await;
    format!("{environment}: {standing}\n{refs}")
}

/// What git itself finds wrong.
pub(super) async fn broken(bare: &Path) -> String {
    git(bare, &["fsck", "--strict", "--no-dangling"]).await
}

/// How many commits the branch has beside the first.
pub(super) async fn landed(bare: &Path) -> usize {
    commits(bare).await - 1
}

async fn commits(bare: &Path) -> usize {
    let asked = ["rev-list", "--first-parent", "--count", "master"];
    let (told, said) = git_says(bare, &asked).await;
    let count = told.trim().parse();
    count.unwrap_or_else(|_| panic!("{}: {said}", bare.display()))
}

/// Proposal branches that are there.
pub(super) async fn proposals(bare: &Path) -> Vec<String> {
    let named = git(
        bare,
        &["for-each-ref", "--format=%(refname)", "refs/heads/towpath/"],
    )
    .await;
    named.lines().map(str::to_owned).collect()
}

/// Whether the commit of every release says once that it was deployed.
pub(super) async fn marks(source: &Path, newest: u64) -> Found {
    let mut found = Found::default();
    let shown = ["log", "--notes=commits", "--format=%x01%D%x02%N", "master"];
    let log = git(source, &shown).await;
    for number in 1..=newest {
        let name = format!("tag: {}", tag(number));
        let mut commits = log.split('\u{1}').filter_map(|it| it.split_once('\u{2}'));
        let noted = commits.find(|(names, _)| names.split(", ").any(|it| it == name));
        let noted = noted.map_or("", |(_, note)| note);
        match noted.lines().filter(|it| *it == "state: deployed").count() {
            1 => {}
            0 => found.lost.push(format!("the mark on {}", tag(number))),
            _ => found.doubled.push(format!("the mark on {}", tag(number))),
        }
    }
    found
}

/// All refs, for who asks whether anything was written.
pub(super) async fn refs(bare: &Path) -> String {
    git(bare, &["for-each-ref"]).await
}

/// Whether a tag stands for each deployment that is judged.
pub(super) async fn is_tagged(bare: &Path, environment: &str) -> bool {
    let told = told(bare, environment).await;
    let tags = git(bare, &["for-each-ref", "--format=x", "refs/tags"]).await;
    let judged = told.values().filter(|it| !it.verdicts.is_empty());
    judged.count() == told.len() && tags.lines().count() >= told.len()
}

/// What the records say, by the deployment's number.
async fn told(bare: &Path, environment: &str) -> BTreeMap<u64, Told> {
    let records = format!("refs/notes/towpath/{environment}");
    // The present repeats what the notes of commits say.
    let lines = git(
        bare,
        &[
            "grep",
            "-h",
            "-F",
            "\"record\"",
            &records,
            "--",
            ":!present",
        ],
    )
    .await;
    let mut told: BTreeMap<u64, Told> = BTreeMap::new();
    for line in lines.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let Some(number) = record["number"].as_u64() else {
            continue;
        };
        let one = told.entry(number).or_default();
        match record["record"].as_str() {
            Some("deployment") => {
                one.deployments += 1;
                one.release = record["release"]["name"].as_str().map(str::to_owned);
                one.by_hand = record["cause"] == "hand";
            }
            Some("verdict") => {
                let verdict = record["verdict"].as_str().unwrap_or_default();
                one.verdicts.push(verdict.to_owned());
            }
            _ => {}
        }
    }
    told
}

async fn git(bare: &Path, arguments: &[&str]) -> String {
    git_says(bare, arguments).await.0
}

/// What git prints, and what it says beside that.
async fn git_says(bare: &Path, arguments: &[&str]) -> (String, String) {
    let output = tokio::process::Command::new("git")
        .arg("--git-dir")
        .arg(bare)
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr))
}
