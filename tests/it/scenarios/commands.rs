//! What the commands of a scenario do.

mod look;
mod person;
mod record;
mod time;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use towpath::git::RefUpdate;
use towpath::git::memory::{Call, Merge, Strike};
use towpath::model::{Digest, proposal_branch};
use towpath::registry::ImageConfig;

use super::site::Site;
use super::story::Command;
use super::{cluster, committer, ending, forge};
use towpath::registry::simulated::Mood;

pub(super) use record::signer;
pub(super) use time::manifest;

/// See the module.
pub(super) struct Teller {
    pub(super) site: Site,
    begun: bool,
    shown: BTreeMap<String, String>,
    events: Vec<String>,
    /// What a person was answered.
    answer: String,
    pushes: BTreeMap<String, usize>,
    asked: usize,
}

impl Teller {
    pub(super) fn new() -> Self {
        Self {
            site: Site::new(),
            begun: false,
            shown: BTreeMap::new(),
            events: Vec::new(),
            answer: String::new(),
            pushes: BTreeMap::new(),
            asked: 0,
        }
    }

    pub(super) async fn run(&mut self, command: &Command) -> String {
        let words: Vec<String> = command.words.iter().map(|word| self.fill(word)).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let block = self.fill(&command.block);
        match self.try_run(&words, &block).await {
            Some(output) => output,
            None => panic!("line {}: `{}` is no command", command.number, command.text),
        }
    }

    async fn try_run(&mut self, words: &[&str], block: &str) -> Option<String> {
        if let Some(output) = self.configure(words, block) {
            return Some(output);
        }
        if !self.begun {
            self.begun = true;
            self.site.open();
            if self.site.towpaths.is_empty() {
                self.site.start();
            }
        }
        if self.outside(words) || self.person(words, block).await || self.record(words).await {
            return Some(std::mem::take(&mut self.answer));
        }
        if let Some(output) = self.time(words).await {
            return Some(output);
        }
        self.look(words).await
    }

    /// `$name` is what was remembered under that name, such as a commit's short id.
    fn fill(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, value) in &self.site.labels {
            text = text.replace(&format!("${name}"), value);
        }
        text
    }

    fn configure(&mut self, words: &[&str], block: &str) -> Option<String> {
        match words {
            ["config", environment] => self.site.configure(environment, block),
            ["applications"] => block.clone_into(&mut self.site.applications),
            ["settings"] => block.clone_into(&mut self.site.settings),
            ["pipeline", environments @ ..] => {
                let list = format!("environments: [{}]", environments.join(", "));
                let (before, _) = self.site.applications.split_once("environments:")?;
                self.site.applications = format!("{before}{list}\n");
            }
            ["only", environments @ ..] => {
                self.site.only = environments.iter().map(|it| it.parse().unwrap()).collect();
            }
            _ => return None,
        }
        // A configuration that changes is a process that starts anew.
        if self.begun {
            self.site.open();
            self.site.restart();
        }
        Some(String::new())
    }

    /// Servers and clusters.
    fn outside(&mut self, words: &[&str]) -> bool {
        let site = &mut self.site;
        if cluster::run(site, words) || forge::run(site, words) {
            return true;
        }
        match words {
            ["push", image, tag, rest @ ..] => push(site, image, tag, rest),
            ["untag", image, tag] => {
                for repository in images(site, image) {
                    site.registry.untag(&repository, tag);
                }
            }
            ["delete-image", image, tag] => {
                for repository in images(site, image) {
                    site.registry.delete(&repository, tag);
                }
            }
            ["registry", mood] => site.registry.set(match *mood {
                "up" => Mood::Up,
                "down" => Mood::Down,
                "429" => Mood::TooMany,
                "401" => Mood::Unauthorized,
                other => panic!("no mood `{other}`"),
            }),
            ["answer", address, status, body @ ..] => {
                let body = body.first().unwrap_or(&"");
                site.endpoints
                    .answer(address, status.parse().unwrap(), body);
            }
            ["refuse", environment, part, message] => {
                let (part, message) = ((*part).to_owned(), (*message).to_owned());
                site.remote(environment)
                    .set_hook(Some(Arc::new(move |updates| {
                        let named = |it: &towpath::git::RefUpdate| {
                            it.name.contains(&part) && it.old != it.new
                        };
                        match updates.iter().any(named) {
                            true => Err(message.clone()),
                            false => Ok(()),
                        }
                    })));
            }
            ["accept", environment] => site.remote(environment).set_hook(None),
            ["non-atomic", environment] => site.remote(environment).set_atomic(false),
            ["cut", environment, what, when] => {
                let remote = site.remote(environment);
                let call = match *what {
                    "push" => Call::Push,
                    "fetch" => Call::Fetch,
                    "look" => Call::Advertise,
                    other => panic!("no call `{other}`"),
                };
                let strike = match *when {
                    "before" => Strike::Before,
                    "after" => Strike::After,
                    other => panic!("no moment `{other}`"),
                };
                remote.fail_next(call, strike, remote.cut());
            }
            ["committer", environment, mood] => {
                site.committer(environment).set(match *mood {
                    "well" => committer::Mood::Well,
                    "down" => committer::Mood::Down,
                    "silent" => committer::Mood::Silent,
                    "inventive" => committer::Mood::Inventive,
                    "raced" => committer::Mood::Raced,
                    other => panic!("no mood `{other}`"),
                });
            }
            ["cut-source"] => {
                let url = &site.pipelines[0].application.source.as_ref().unwrap().url;
                let remote = &site.remotes[url];
                remote.fail_next(Call::Advertise, Strike::Before, remote.cut());
            }
            ["race", environment, path, old, new] => {
                race(site, environment, path, old, new);
            }
            ["race-merge", environment] => race_merge(site, environment),
            // What a webhook says: that a check of the first application's source was reported, or an image pushed.
            ["webhook", "check", name] => {
                let url = &site.pipelines[0].application.source.as_ref().unwrap().url;
                for towpath in &site.towpaths {
                    towpath.reconciler.hear_of_check(url, name);
                }
            }
            ["webhook", "image", image] => {
                for repository in images(site, image) {
                    for towpath in &site.towpaths {
                        towpath.reconciler.hear_of_images(&repository, None);
                    }
                }
            }
            ["restart"] => {
                site.restart();
                self.shown.clear();
            }
            ["second", "towpath"] => site.start(),
            ["slow-git", state] => site.slow_git = *state == "on",
            ["clock", change] => {
                let change: SignedDuration = change.parse().unwrap();
                site.now = site.now.checked_add(change).unwrap();
            }
            _ => return false,
        }
        true
    }

    pub(super) fn source(&self) -> &towpath::git::memory::MemoryRemote {
        let source = self.site.pipelines[0].application.source.as_ref().unwrap();
        &self.site.remotes[&source.url]
    }

    pub(super) fn branch(&self, environment: &str) -> String {
        self.site.environment(environment).branch.clone()
    }

    pub(super) fn proposal(&self, environment: &str, application: &str) -> String {
        proposal_branch(&environment.parse().unwrap(), &application.parse().unwrap())
    }

    /// What the runner adds to every scenario.
    pub(super) async fn end(mut self) {
        if !self.begun {
            return;
        }
        self.rounds().await;
        ending::check(&mut self.site).await;
    }
}

pub(super) fn images(site: &Site, name: &str) -> Vec<towpath::model::ImageRepository> {
    let (application, image) = match name.split_once('/') {
        Some((application, image)) => (application, Some(image)),
        None => (name, None),
    };
    let images = &site.pipeline(application).application.images;
    let repositories = images.iter().map(|image| image.repository.clone());
    repositories
        .filter(|it| image.is_none_or(|image| it.to_string().ends_with(image)))
        .collect()
}

pub(super) fn digest_of(repository: &str, tag: &str, salt: &str) -> Digest {
    Digest::of(format!("{repository}:{tag}{salt}").as_bytes())
}

/// `push shop v1.1.0`, `… like v1.0.0`, `… built -1h`, `… built never`, `… of <commit>`, `… anew`.
fn push(site: &Site, image: &str, tag: &str, rest: &[&str]) {
    for repository in images(site, image) {
        let mut image = ImageConfig {
            created: Some(site.now),
            ..ImageConfig::default()
        };
        let mut digest = digest_of(&repository.to_string(), tag, "");
        let mut words = rest.iter();
        while let Some(word) = words.next() {
            match (*word, words.next()) {
                ("like", Some(other)) => digest = site.registry.digest(&repository, other).unwrap(),
                ("built", Some(&"never")) => image.created = None,
                ("built", Some(change)) => {
                    let change: SignedDuration = change.parse().unwrap();
                    image.created = site.now.checked_add(change).ok();
                }
                ("of", Some(commit)) => image.revision = Some((*commit).to_owned()),
                ("from", Some(source)) => image.source = Some((*source).to_owned()),
                ("as", Some(salt)) => digest = digest_of(&repository.to_string(), tag, salt),
                (word, _) => panic!("no way to push `{word}`"),
            }
        }
        site.registry.push(&repository, tag, digest, image);
    }
}

/// Merges the request of the proposal branch when that is about to be written.
fn race_merge(site: &Site, environment: &str) {
    let (forge, now) = (site.forge(environment).clone(), site.now);
    let head = proposal_branch(&environment.parse().unwrap(), &"shop".parse().unwrap());
    let name = format!("refs/heads/{head}");
    let done = std::sync::atomic::AtomicBool::new(false);
    let hook = move |updates: &[RefUpdate]| {
        let writes = updates.iter().any(|it| it.name == name && it.old != it.new);
        if writes && !done.swap(true, std::sync::atomic::Ordering::Relaxed) {
            forge.merge(&head, Merge::Commit, false, now);
        }
        Ok(())
    };
    site.remote(environment).set_hook(Some(Arc::new(hook)));
}

/// A person edits between the plan and its push, once.
pub(super) fn race(site: &Site, environment: &str, path: &str, old: &str, new: &str) {
    let remote = site.remote(environment).clone();
    let (branch, now) = (site.environment(environment).branch.clone(), site.now);
    let (path, old, new) = (path.to_owned(), old.to_owned(), new.to_owned());
    let done = std::sync::atomic::AtomicBool::new(false);
    let hook_remote = remote.clone();
    remote.set_hook(Some(Arc::new(move |_| {
        if !done.swap(true, std::sync::atomic::Ordering::Relaxed) {
            let person = hook_remote.person("Ann");
            let text = person.read(&branch, &path).unwrap().replace(&old, &new);
            let files = [(path.as_str(), Some(text.as_str()))];
            person.commit(&branch, &files, "in between", now).unwrap();
        }
        Ok(())
    })));
}
