//! What happens beside Towpath: releases, what people do to repositories, requests and clusters, what they say with
//! commands, and trouble.

use std::sync::Arc;

use crate::git::memory::{Merge, Person as Committer};
use crate::model::{Author, Digest, proposal_branch};
use crate::plan::{Person, Promote, Scope, Step, Stop};
use crate::reconcile::Reconciler;
use crate::registry::ImageConfig;

use super::draw::{Act, Dice, Event, Gated, Place};
use super::ledger::{Build, Images, Unit, Who};
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
enum Made {
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
                let files = [
                    (path.as_str(), Some(text.as_str())),
                    (beside.as_str(), Some(service.as_str())),
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
        let proposal = format!("towpath/{}/{}", place.name, unit.1);
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
            Act::PushBranch => {
                self.builds += 1;
                let tag = format!("feature-{:07x}", self.builds);
                self.push(site, unit.1, &tag, [0, 0, 0], Made::Well);
            }
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
                    let tag = site.ledger().name(&chosen);
                    let text = self::manifest(unit.1, &chosen, &tag);
                    self.writes(site, place, &manifest, Some(&text));
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
            Act::Restart => {}
            _ => self.say(site, unit, event.act, &mut dice).await,
        }
    }

    /// What people say with commands, on what they looked at last.
    async fn say(&mut self, site: &Site, unit: Unit, act: Act, dice: &mut Dice) {
        let (now, shape) = (site.ledger().now, &site.shape);
        let name = shape.places.get(unit.0).map_or("", |it| it.name);
        let (Ok(application), Ok(environment)) = (unit.1.parse(), name.parse()) else {
            return;
        };
        if !dice.one_in(3) {
            let observatory = self.visitor.observatory();
            observatory.read_all(&site.pipelines, now).await;
        }
        self.said += 1;
        let reason = format!("word {}", self.said);
        let until = dice.one_in(2).then(|| {
            let after = jiff::SignedDuration::from_secs(30 + dice.roll(600) as i64);
            now.checked_add(after).unwrap_or(now)
        });
        let stop = Stop {
            reason: reason.clone(),
            until,
        };
        let known: Vec<String> = {
            let ledger = site.ledger();
            let of = self.released.iter().filter(|(of, _)| *of == unit.1);
            of.map(|(_, images)| ledger.name(images)).collect()
        };
        let named = dice.pick(&known).cloned();
        let named = named.as_deref().filter(|_| !dice.one_in(3));
        let asked = Promote {
            release: named,
            reason: &reason,
            unproven: act == Act::PromoteUnproven,
            during_freeze: dice.one_in(2),
            hotfix: false,
            not_before: None,
        };
        let ann = Author {
            name: "Ann".to_owned(),
            email: "ann@example.com".to_owned(),
        };
        let say = |it: &Person<'_>| -> Result<Step, String> {
            match act {
                Act::Hold => it.hold(Scope::Unit, &stop),
                Act::HoldAll => it.hold(Scope::Environment, &stop),
                Act::Resume => it.resume(Scope::Unit, &reason),
                Act::ResumeAll => it.resume(Scope::Environment, &reason),
                Act::RollBack => it.roll_back(named, &reason),
                Act::Unpin => it.unpin(&reason),
                Act::Freeze => it.freeze(&stop),
                Act::Thaw => it.thaw(&reason),
                Act::Retry => it.retry(None),
                Act::SayDecline => it.decline(),
                Act::Approve => it.merge(None, &ann),
                _ => it.promote(asked),
            }
        };
        let by = "ann@example.com";
        let said = self.visitor.say(&application, &environment, by, say, now);
        if said.await.is_ok() {
            site.ledger().seen.insert(format!("said {act:?}"));
        }
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
        let names: Vec<_> = objects.into_keys().collect();
        let Some(object) = dice.pick(&names) else {
            return;
        };
        match act {
            Act::DeleteObject => cluster.delete(object),
            Act::KeepObject => {
                cluster.keep(object, "somebody needs it");
                site.ledger().kept.insert((unit.0, object.to_string()));
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

    /// Every proposal branch of a unit, for whoever looks on.
    pub(super) fn opened_twice(site: &Site) -> Vec<Unit> {
        let shape = &site.shape;
        let twice = shape.units().into_iter().filter(|unit| {
            let Some(place) = shape.places.get(unit.0) else {
                return false;
            };
            let (Ok(environment), Ok(application)) = (place.name.parse(), unit.1.parse()) else {
                return false;
            };
            let head = proposal_branch(&environment, &application);
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
