//! What happens beside Towpath: releases, what people do to repositories, requests and clusters, what they say with
//! commands, and trouble.

mod more;
mod word;

pub(super) use more::HOOK;

use std::sync::Arc;

use crate::git::memory::{Merge, Person as Committer};
use crate::model::Digest;
use crate::reconcile::Reconciler;
use crate::registry::ImageConfig;

use super::draw::{Dice, Gated, Place, Shape};
use super::ledger::{Build, Images, SECRET, Unit, Who};
use super::script::{Act, Event};
use super::site::Site;
use super::wire::{Fault, Strike};

/// What people know and made so far.
pub(super) struct People {
    /// Somebody's machine, with a view of its own.
    visitor: Arc<Reconciler>,
    /// How many releases each application had, by line.
    minor: u64,
    patch: u64,
    builds: u64,
    /// Digests of each release that was pushed, with its application.
    released: Vec<(&'static str, Images)>,
    said: usize,
}

/// How an image does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    Well,
    Broken,
    Hanging,
}

impl People {
    pub(super) fn new(site: &Site) -> Self {
        Self {
            visitor: site.start(Who::Person),
            minor: 0,
            patch: 0,
            builds: 0,
            released: Vec::new(),
            said: 0,
        }
    }

    /// Every application's first release, on every branch.
    pub(super) fn begin(&mut self, site: &Site) {
        let (shape, now) = (&site.shape, site.ledger().now);
        for application in shape.applications.iter().copied() {
            self.minor = 0;
            let images = self.push(site, application, "v1.0.0", [1, 0, 0], Made::Well);
            for place in &shape.places {
                let path = shape.manifest(place, application);
                let text = manifest(application, &images, "v1.0.0");
                let (beside, service) = (shape.service(place, application), service(application));
                let (kept, secret) = (shape.secret(place, application), secret(application));
                let secret = shape.secret.then_some(secret.as_str());
                let files = [
                    (path.as_str(), Some(text.as_str())),
                    (beside.as_str(), Some(service.as_str())),
                    (kept.as_str(), secret),
                ];
                let name = place.name;
                self.commits(site, place, |it| {
                    drop(it.commit("main", &files, &format!("{application}: {name}"), now));
                });
            }
        }
    }

    /// Does what an event says. What cannot be done now is not.
    pub(super) async fn act(&mut self, site: &Site, event: Event) {
        let mut dice = Dice::new(event.dice);
        let (shape, now, units) = (&site.shape, site.ledger().now, site.shape.units());
        let unit = *dice.pick(&units).unwrap_or(&(0, "shop"));
        let Some(place) = shape.places.get(unit.0) else {
            return;
        };
        site.ledger().seen.insert(format!("act {:?}", event.act));
        let manifest = shape.manifest(place, unit.1);
        let proposal = Shape::proposal(place, unit.1);
        match event.act {
            Act::Push | Act::PushBad | Act::PushHanging => {
                let made = match event.act {
                    Act::PushBad => Made::Broken,
                    Act::PushHanging => Made::Hanging,
                    _ => Made::Well,
                };
                (self.minor, self.patch) = match dice.one_in(3) {
                    true => (self.minor, self.patch + 1),
                    false => (self.minor + 1, 0),
                };
                let version = [1, self.minor, self.patch];
                self.release(site, unit.1, version, made);
            }
            Act::PushOlder => {
                let minor = dice.roll(self.minor as usize + 1) as u64;
                self.patch += 10;
                self.release(site, unit.1, [1, minor, self.patch], Made::Well);
            }
            Act::PushBranch => drop(self.build(site, unit.1, Made::Well)),
            Act::MoveTag => {
                let version = [1, self.minor, self.patch];
                self.release(site, unit.1, version, Made::Well);
            }
            Act::DeleteTag => {
                let tag = format!("v1.{}.{}", self.minor, self.patch);
                for repository in shape.repositories(unit.1) {
                    if let Ok(repository) = repository.parse() {
                        site.registry.untag(&repository, &tag);
                    }
                    site.ledger().loses_tag(&repository, &tag);
                }
            }
            Act::Merge | Act::Squash => {
                let how = match event.act {
                    Act::Merge => Merge::Commit,
                    _ => Merge::Squash,
                };
                self.merge(site, place, &proposal, how, dice.one_in(2));
            }
            Act::Decline => match site.forge(place) {
                Some(forge) if !dice.one_in(3) => forge.decline(&proposal),
                _ if place.gate != Gated::No => {
                    self.commits(site, place, |it| it.delete(&proposal));
                }
                _ => {}
            },
            Act::Revert => self.commits(site, place, |it| {
                if let Some(head) = it.head("main") {
                    drop(it.revert("main", head, now));
                }
            }),
            Act::HandBack | Act::HandForward | Act::HandUnknown => {
                let known = self.released.iter().filter(|(of, _)| *of == unit.1);
                let known: Vec<&Images> = known.map(|(_, images)| images).collect();
                let chosen = match event.act {
                    Act::HandBack => known.get(dice.roll(known.len())).copied().cloned(),
                    Act::HandForward => known.last().copied().cloned(),
                    _ => Some(self.unknown(site, unit.1)),
                };
                if let Some(chosen) = chosen {
                    self.puts(site, place, unit.1, &chosen);
                }
                // Somebody who edits by hand may leave what is no YAML.
                let broken = event.act == Act::HandUnknown && dice.one_in(3);
                if let Some(text) = read(site, place, &manifest).filter(|_| broken) {
                    self.writes(site, place, &manifest, Some(&format!("{text}  ]\n")));
                }
            }
            Act::ForceBack => self.commits(site, place, |it| {
                if let Some(parent) = it.head("main").and_then(|head| it.parent(head)) {
                    it.force("main", parent);
                }
            }),
            Act::EditProposal => self.commits(site, place, |it| {
                if it.head(&proposal).is_some() {
                    let files = [("notes.md", Some("looks good\n"))];
                    drop(it.commit(&proposal, &files, "a note", now));
                }
            }),
            Act::EditManifest => {
                let edit = |text: String| {
                    let replicas = 1 + dice.roll(4);
                    let before = text.lines().find(|line| line.contains("replicas:"));
                    let before = before.unwrap_or_default().to_owned();
                    text.replace(&before, &format!("  replicas: {replicas}"))
                };
                let text = read(site, place, &manifest).map(edit);
                if let Some(text) = text {
                    self.writes(site, place, &manifest, Some(&text));
                }
            }
            Act::DropService | Act::AddService => {
                let path = shape.service(place, unit.1);
                let text = (event.act == Act::AddService).then(|| service(unit.1));
                let is_there = read(site, place, &path).is_some();
                if is_there != text.is_some() {
                    self.writes(site, place, &path, text.as_deref());
                }
            }
            Act::Drift | Act::DeleteObject | Act::KeepObject => {
                self.kubectl(site, unit, event.act, &mut dice);
            }
            Act::Refuse => {
                if let Some(cluster) = site.cluster(place) {
                    let prevented = dice.one_in(2).then(|| "a quota is full".to_owned());
                    cluster.temper(|temper| temper.prevented = prevented);
                }
            }
            Act::FailBefore | Act::FailAfter | Act::DieBefore | Act::DieAfter | Act::Stale => {
                let fault = Fault {
                    strike: match event.act {
                        Act::FailBefore => Strike::Before,
                        Act::FailAfter => Strike::After,
                        Act::DieBefore => Strike::DieBefore,
                        Act::DieAfter => Strike::DieAfter,
                        _ => Strike::Stale,
                    },
                    writes: event.act != Act::Stale && dice.one_in(2),
                    after: dice.roll(3),
                };
                if let Some(server) = dice.pick(&site.servers()) {
                    site.wires.trip(server, fault);
                }
            }
            Act::GoDown => {
                let until = event.step + 1 + dice.roll(6);
                if let Some(server) = dice.pick(&site.servers()) {
                    site.wires.down(server, until);
                }
            }
            // The run itself starts processes anew.
            Act::Restart | Act::Reconfigure | Act::Burst => {}
            act if Act::MORE.iter().any(|(_, it)| *it == act) => {
                self.more(site, unit, place, event, &mut dice).await;
            }
            _ => self.say(site, unit, event.act, &mut dice).await,
        }
    }

    /// A newer version.
    pub(super) fn version(&mut self, site: &Site, application: &'static str, made: Made) -> Images {
        let tag = self.next_version();
        self.push(site, application, &tag, [1, self.minor, 0], made)
    }

    /// The tag of the next version.
    fn next_version(&mut self) -> String {
        (self.minor, self.patch) = (self.minor + 1, 0);
        format!("v1.{}.0", self.minor)
    }

    /// A build of a branch.
    pub(super) fn build(&mut self, site: &Site, application: &'static str, made: Made) -> Images {
        self.builds += 1;
        let tag = format!("feature-{:07x}", self.builds);
        self.push(site, application, &tag, [0, 0, 0], made)
    }

    /// A newer version, and a build of a branch.
    pub(super) fn bring(&mut self, site: &Site, application: &'static str, made: Made) {
        self.version(site, application, made);
        self.build(site, application, made);
    }

    /// Somebody writes these images into an environment's manifest.
    pub(super) fn puts(&self, site: &Site, place: &Place, application: &str, images: &Images) {
        let tag = site.ledger().name(images);
        let path = site.shape.manifest(place, application);
        let text = manifest(application, images, &tag);
        self.writes(site, place, &path, Some(&text));
    }

    /// A release under a version's tag.
    fn release(&mut self, site: &Site, application: &'static str, version: [u64; 3], made: Made) {
        let [major, minor, patch] = version;
        let tag = format!("v{major}.{minor}.{patch}");
        self.push(site, application, &tag, version, made);
    }

    fn push(
        &mut self,
        site: &Site,
        application: &'static str,
        tag: &str,
        version: [u64; 3],
        made: Made,
    ) -> Images {
        let mut ledger = site.ledger();
        let (now, repositories) = (ledger.now, ledger.shape.repositories(application));
        let mut images = Images::new();
        for repository in repositories {
            let salt = format!("{repository}:{tag} {now} {}", self.released.len());
            let digest = Digest::of(salt.as_bytes());
            let text = digest.to_string();
            let Ok(parsed) = repository.parse() else {
                continue;
            };
            let image = ImageConfig {
                created: Some(now),
                ..ImageConfig::default()
            };
            site.registry.push(&parsed, tag, digest, image);
            ledger.loses_tag(&repository, tag);
            if made != Made::Well {
                for cluster in site.clusters.values() {
                    cluster.behave(|it| match made {
                        Made::Broken => it.fail.push(text.clone()),
                        _ => it.hang.push(text.clone()),
                    });
                }
            }
            let build = Build {
                version: (version != [0, 0, 0]).then_some(version),
                built: now,
                repository: repository.clone(),
                tag: tag.to_owned(),
                is_broken: made != Made::Well,
            };
            ledger.builds.insert(text.clone(), build);
            images.insert(repository, text);
        }
        self.released.push((application, images.clone()));
        images
    }

    /// Images that no registry has under a tag.
    fn unknown(&mut self, site: &Site, application: &str) -> Images {
        let repositories = site.shape.repositories(application);
        self.builds += 1;
        let digest = |it: &str| Digest::of(format!("{it} {}", self.builds).as_bytes()).to_string();
        repositories
            .into_iter()
            .map(|it| (it.clone(), digest(&it)))
            .collect()
    }

    fn writes(&self, site: &Site, place: &Place, path: &str, text: Option<&str>) {
        let now = site.ledger().now;
        self.commits(site, place, |it| {
            drop(it.commit("main", &[(path, text)], &format!("write {path}"), now));
        });
    }

    fn merge(&self, site: &Site, place: &Place, proposal: &str, how: Merge, deletes: bool) {
        let now = site.ledger().now;
        let forge = site.forge(place).filter(|_| place.gate == Gated::Request);
        self.commits(site, place, |it| match forge {
            Some(forge) => forge.merge(proposal, how, deletes, now),
            None if place.gate == Gated::Branch => drop(it.merge(proposal, "main", how, now)),
            None => {}
        });
    }

    /// Somebody works on a repository: what moved there is told.
    fn commits(&self, site: &Site, place: &Place, work: impl FnOnce(&Committer)) {
        let Some(remote) = site.remote(place) else {
            return;
        };
        let before = remote.held();
        work(&remote.person("Ann"));
        let url = site.shape.repository(place);
        site.ledger().moved(Who::Person, remote, &url, &before);
    }

    fn kubectl(&self, site: &Site, unit: Unit, act: Act, dice: &mut Dice) {
        let (now, shape) = (site.ledger().now, &site.shape);
        let Some(cluster) = shape.places.get(unit.0).and_then(|it| site.cluster(it)) else {
            return;
        };
        let objects = cluster.everything(now);
        let names: Vec<_> = objects.iter().collect();
        let Some((object, found)) = dice.pick(&names).copied() else {
            return;
        };
        match act {
            Act::DeleteObject => cluster.delete(object),
            Act::KeepObject => {
                cluster.keep(object, Some("somebody needs it"));
                site.ledger().kept.insert((unit.0, found.uid.clone()));
            }
            _ => {
                let contest = crate::cluster::simulated::Contest {
                    field: ".spec.replicas".to_owned(),
                    by: "kubectl".to_owned(),
                    rounds: 1,
                };
                cluster.drift(object, &contest, now);
            }
        }
    }

    /// What is read on forges.
    pub(super) fn shown(site: &Site) -> Vec<String> {
        let shape = &site.shape;
        let shown = shape.units().into_iter().flat_map(|unit| {
            let place = shape.places.get(unit.0);
            let seen = place.and_then(|place| {
                let head = Shape::proposal(place, unit.1);
                Some(site.forge(place)?.see(&head))
            });
            seen.into_iter().flatten().map(|it| format!("{it:?}"))
        });
        shown.collect()
    }

    /// Every proposal branch of a unit, for whoever looks on.
    pub(super) fn opened_twice(site: &Site) -> Vec<Unit> {
        let shape = &site.shape;
        let twice = shape.units().into_iter().filter(|unit| {
            let Some(place) = shape.places.get(unit.0) else {
                return false;
            };
            let head = Shape::proposal(place, unit.1);
            let seen = site.forge(place).map(|forge| forge.see(&head));
            let open = seen.into_iter().flatten().filter(|it| it.state == "open");
            open.count() > 1
        });
        twice.collect()
    }
}

/// What a file on the branch says.
fn read(site: &Site, place: &Place, path: &str) -> Option<String> {
    site.remote(place)?.person("Ann").read("main", path)
}

fn service(application: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: {application}\nspec:\n  ports: [{{ port: 80 }}]\n"
    )
}

fn secret(application: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {application}\nstringData:\n  token: {SECRET}\n"
    )
}

/// A Deployment with these images.
fn manifest(application: &str, images: &Images, tag: &str) -> String {
    let containers = images.iter().enumerate();
    let containers: String = containers
        .map(|(index, (repository, digest))| {
            format!("        - name: c{index}\n          image: {repository}:{tag}@{digest}\n")
        })
        .collect();
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {application}\nspec:\n  replicas: 1\n  \
         template:\n    spec:\n      containers:\n{containers}"
    )
}
