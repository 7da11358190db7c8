//! Commands that look at a cluster, at a site where something runs and the branch asks for more.
//!
//! `fixtures/looks/site`: what the branch asked for at `first`, which was towed; what it asks for
//! since (`second`), and the configuration, from which the application of `old.yaml` was taken out in
//! between. `fixtures/looks/*.txt` are transcripts as in `fixtures/cli`. What differs from machine to
//! machine is replaced: the registry's address, commits, and the hashes of manifests that hold the
//! address.

#![allow(
    clippy::disallowed_methods,
    reason = "these tests run programs one after the other, and nothing waits beside them"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use towpath::demo::image::{ImageSpec, Target};
use towpath::demo::registry::{Access, DemoRegistry};
use towpath::http::{HttpSettings, client};

use crate::cli::{compare, towpath, transcript_of};

struct Site {
    folder: TempDir,
    /// What is written in place of what.
    written: Vec<(String, String)>,
    registry: DemoRegistry,
}

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/looks")
}

impl Site {
    async fn start() -> Self {
        let registry = DemoRegistry::start(Access::Open, None).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let address = registry.address().to_string();
        let path = folder.path().display().to_string();
        let mut site = Self {
            written: vec![
                ("{site}".to_owned(), path),
                ("{registry}".to_owned(), address),
            ],
            folder,
            registry,
        };
        for (application, tag) in [
            ("shop", "v1.0.0"),
            ("operator", "v0.1.0"),
            ("old", "v3.0.0"),
        ] {
            let image = site.push(application, tag).await;
            site.written.push((format!("{{{application}}}"), image));
        }
        site.copy("environments");
        site.commit("first");
        site
    }

    /// Pushes an image; gives what manifests call it.
    async fn push(&self, application: &str, tag: &str) -> String {
        let content = format!("{application} {tag}");
        let image = ImageSpec {
            content,
            created: Some("2026-01-01T00:00:00Z".parse().unwrap()),
            ..ImageSpec::default()
        };
        let repository = format!("acme/{application}");
        let target = Target {
            registry: &self.registry.url(),
            repository: &repository,
            tag,
            authorization: None,
        };
        let http = client(&HttpSettings::default()).unwrap();
        let digest = image.build().push(&http, &target).await.unwrap();
        format!("{}/{repository}:{tag}@{digest}", self.registry.address())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A folder of the fixture, or one file, with the site's own names in it.
    fn copy(&self, name: &str) {
        let mut open = vec![fixtures().join("site").join(name)];
        while let Some(from) = open.pop() {
            if from.is_dir() {
                open.extend(fs::read_dir(from).unwrap().map(|it| it.unwrap().path()));
                continue;
            }
            let mut text = fs::read_to_string(&from).unwrap();
            for (name, value) in &self.written {
                text = text.replace(name, value);
            }
            let to = self.path(
                from.strip_prefix(fixtures().join("site"))
                    .unwrap()
                    .to_str()
                    .unwrap(),
            );
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(to, text).unwrap();
        }
    }

    /// Makes the branch ask for this.
    fn commit(&self, name: &str) {
        self.copy(name);
        let work = self.path(name);
        let script = "git init --quiet --initial-branch=master . \
            && git add . && tree=$(git write-tree) \
            && if [ -d ../infra.git ]; then parent=\"-p $(git -C ../infra.git rev-parse master)\"; \
               else git init --quiet --bare --initial-branch=master ../infra.git; fi \
            && git fetch --quiet ../infra.git '+refs/*:refs/all/*' \
            && commit=$(git commit-tree $parent -m \"$0\" \"$tree\") \
            && git push --quiet ../infra.git \"$commit:refs/heads/master\"";
        let output = Command::new("sh")
            .args(["-c", script, name])
            .current_dir(&work)
            .envs([
                ("GIT_CONFIG_GLOBAL", "/dev/null"),
                ("GIT_CONFIG_NOSYSTEM", "1"),
            ])
            .envs([
                ("GIT_AUTHOR_NAME", "x"),
                ("GIT_AUTHOR_EMAIL", "x@example.com"),
            ])
            .envs([
                ("GIT_COMMITTER_NAME", "x"),
                ("GIT_COMMITTER_EMAIL", "x@example.com"),
            ])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// What the program answers, and how it ends.
    fn run(&self, arguments: &[&str], code: i32) -> String {
        let mut program = towpath(self.folder.path());
        let output = program
            .current_dir(&self.folder)
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What differs from machine to machine, and what stands for it.
    fn replaced(&self) -> Vec<(String, String)> {
        let mut replaced = vec![
            (
                self.registry.address().to_string(),
                "registry.example.com".to_owned(),
            ),
            (self.folder.path().display().to_string(), "SITE".to_owned()),
        ];
        let inventory: Value =
            serde_json::from_str(&self.run(&["inventory", "-o", "json"], 0)).unwrap();
        let mut stand_in = |value: &str, name: String| {
            if replaced.iter().all(|(known, _)| known != value) {
                replaced.push((value[..name.len()].to_owned(), name.clone()));
                // The whole is replaced before its beginning.
                replaced.insert(0, (value.to_owned(), name));
            }
        };
        for (index, member) in inventory.as_array().unwrap().iter().enumerate() {
            let hash = member["hash"].as_str().unwrap();
            stand_in(
                hash.trim_start_matches("sha256:"),
                format!("manifest-{index:03}"),
            );
            stand_in(member["commit"].as_str().unwrap(), "commit0".to_owned());
        }
        replaced
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_commands_show_of_a_cluster_is_as_recorded() {
    let site = Site::start().await;
    let file = site.path("environments/applications/old.yaml");
    site.copy("old.yaml");
    fs::rename(site.path("old.yaml"), &file).unwrap();
    let events = site.run(
        &[
            "run", "--once", "--wait", "20s", "--only", "qa", "-o", "yaml",
        ],
        0,
    );
    every_event_is_a_document(&events);
    site.run(&["run", "--once", "--only", "slow"], 4);
    a_rollout_tells_its_progress(&site);
    fs::remove_file(file).unwrap();
    site.commit("second");
    site.push("shop", "v1.1.0").await;
    let replaced = site.replaced();
    let mut wrong = Vec::new();
    for entry in fs::read_dir(fixtures()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "txt") {
            wrong.extend(compare(&path, &now(&path, site.folder.path(), &replaced)));
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\nTOWPATH_UPDATE=1 records what is now",
        wrong.join("\n")
    );
}

fn now(path: &Path, site: &Path, replaced: &[(String, String)]) -> String {
    let text = fs::read_to_string(path).unwrap();
    let (title, _) = text.split_once("\n\n").unwrap();
    let mut now = format!("{title}\n");
    for command in text.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let mut program = towpath(site);
        program.current_dir(site);
        now.push('\n');
        now.push_str(&transcript_of(program, command));
    }
    for (value, name) in replaced {
        now = now.replace(value, name);
    }
    now
}

fn every_event_is_a_document(events: &str) {
    let (before, documents) = events.split_once("---\n").unwrap();
    assert_eq!(before, "");
    let events = documents.split("---\n").map(|document| {
        let event: Value = serde_yaml::from_str(document).unwrap();
        format!(
            "{} {}",
            event["event"].as_str().unwrap(),
            event["application"].as_str().unwrap()
        )
    });
    let events: Vec<_> = events.collect();
    for event in ["applied shop", "applied old", "healthy platform"] {
        assert!(events.iter().any(|it| it == event), "{event}: {events:?}");
    }
}

fn a_rollout_tells_its_progress(site: &Site) {
    let units: Value =
        serde_json::from_str(&site.run(&["status", "shop", "-o", "json"], 0)).unwrap();
    let slow = units
        .as_array()
        .unwrap()
        .iter()
        .find(|unit| unit["environment"] == "slow");
    let slow = slow.unwrap();
    assert_eq!(slow["state"], "converging", "{slow}");
    assert_eq!(
        slow["progress"],
        "Deployment.apps default/web: 0 of 1 ready"
    );
    assert!(
        slow["deadline"].as_str().unwrap() > slow["since"].as_str().unwrap(),
        "{slow}"
    );
    let table = site.run(&["status", "shop"], 0);
    let row = table.lines().find(|line| line.contains(" slow ")).unwrap();
    assert!(
        row.contains("Deployment.apps default/web: 0 of 1 ready; 23h left"),
        "{row}"
    );
}
