//! A place where releases are towed: an infra repository, a registry and a configuration, as a folder
//! of `fixtures/looks` describes them.

#![allow(
    clippy::disallowed_methods,
    reason = "programs run here one after the other, and nothing waits beside them"
)]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;
use towpath::demo::image::{ImageSpec, Target};
use towpath::demo::registry::{Access, DemoRegistry};
use towpath::http::{HttpSettings, client};

use crate::cli::towpath;

/// See the module.
pub(crate) struct Site {
    pub(crate) folder: TempDir,
    fixture: PathBuf,
    /// What is written in place of what.
    written: Vec<(String, String)>,
    pub(crate) registry: DemoRegistry,
}

/// The folder of the fixtures.
pub(crate) fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/looks")
}

impl Site {
    /// A site made of this folder, with more to write in place of names in braces. Nothing is
    /// committed yet.
    pub(crate) async fn start(fixture: &str, more: &[(&str, &str)]) -> Self {
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
            fixture: fixtures().join(fixture),
            registry,
        };
        for (name, value) in more {
            site.written
                .push((format!("{{{name}}}"), (*value).to_owned()));
        }
        for (application, tag) in [
            ("shop", "v1.0.0"),
            ("operator", "v0.1.0"),
            ("old", "v3.0.0"),
        ] {
            let image = site.push(application, tag).await;
            site.written.push((format!("{{{application}}}"), image));
        }
        site.copy("environments");
        site
    }

    /// What manifests call an application's first image.
    pub(crate) fn image(&self, application: &str) -> &str {
        let name = format!("{{{application}}}");
        let mut written = self.written.iter();
        &written.find(|(known, _)| *known == name).unwrap().1
    }

    /// Pushes an image; gives what manifests call it.
    pub(crate) async fn push(&self, application: &str, tag: &str) -> String {
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

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A folder of the fixture, or one file, with the site's own names in it.
    pub(crate) fn copy(&self, name: &str) {
        let mut open = vec![self.fixture.join(name)];
        while let Some(from) = open.pop() {
            if from.is_dir() {
                open.extend(fs::read_dir(from).unwrap().map(|it| it.unwrap().path()));
                continue;
            }
            let mut text = fs::read_to_string(&from).unwrap();
            for (name, value) in &self.written {
                text = text.replace(name, value);
            }
            let to = self.path(from.strip_prefix(&self.fixture).unwrap().to_str().unwrap());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(to, text).unwrap();
        }
    }

    /// Makes the branch ask for this.
    pub(crate) fn commit(&self, name: &str) {
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
    pub(crate) fn run(&self, arguments: &[&str], code: i32) -> String {
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
}
