//! What happened at the servers, in the order in which it did, and by whom: what all checks go by. Of what a
//! Towpath means or knows nothing stands here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::draw::Shape;
use crate::git::memory::MemoryRemote;
use crate::model::CommitId;
use crate::model::record::{Record, Statement};

/// Image repositories and the digests that are asked for.
pub(super) type Images = BTreeMap<String, String>;

/// Who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    /// A process, by place.
    Towpath(usize),
    /// Somebody.
    Person,
}

/// Below this stand the records.
pub(super) const RECORDS: &str = "refs/notes/towpath/";

/// One application in one environment, by place and by name.
pub(super) type Unit = (usize, &'static str);

/// What happened.
#[derive(Debug, Clone)]
pub(super) enum Fact {
    /// A branch asks for other images, or for none any more.
    Wrote {
        unit: Unit,
        before: Option<Images>,
        after: Option<Images>,
        commit: CommitId,
        /// Whether the branch went on from where it was.
        forward: bool,
    },
    /// A proposal branch asks for these images; `None`: it is gone.
    Proposed { unit: Unit, images: Option<Images> },
    /// Records landed.
    Recorded { place: usize, record: Record },
    /// Records were lost.
    Forgot { place: usize, detail: String },
    /// An object was deleted in a cluster.
    Pruned {
        unit: Unit,
        object: String,
        asked_for: bool,
        kept: bool,
    },
    /// Objects of these kinds went with one apply.
    PrunedAtOnce {
        unit: Unit,
        /// The deployment that no longer asks for them.
        number: u64,
        kinds: Vec<String>,
    },
    /// A request was opened while another one was open.
    OpenedTwice { unit: Unit },
    /// An object that a later commit had marked was applied as an earlier one has it.
    SetBack { unit: Unit, object: String },
    /// A secret stands where it is read by others.
    Leaked { at: String },
}

/// A fact, when it was one, and by whom.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) step: usize,
    /// By the clock of whoever did it.
    pub(super) at: Timestamp,
    pub(super) who: Who,
    /// Up to which entry they knew of each repository then.
    pub(super) known: BTreeMap<String, usize>,
    pub(super) fact: Fact,
}

/// What an image is in truth.
#[derive(Debug, Clone)]
pub(super) struct Build {
    /// Where it was tagged with one.
    pub(super) version: Option<[u64; 3]>,
    pub(super) built: Timestamp,
    pub(super) repository: String,
    pub(super) tag: String,
    /// Whether it never becomes healthy.
    pub(super) is_broken: bool,
}

/// What nobody is to read anywhere but where it belongs.
pub(super) const SECRET: &str = "plantedsecret1";

/// Commits of one push that are looked at.
const COMMITS: usize = 50;

/// See the module.
pub(super) struct Ledger {
    pub(super) shape: Arc<Shape>,
    pub(super) entries: Vec<Entry>,
    /// By digest.
    pub(super) builds: BTreeMap<String, Build>,
    /// Up to which entry somebody may know of a repository.
    known: BTreeMap<Who, BTreeMap<String, usize>>,
    /// Records that landed, by environment: so many lines of each note.
    lines: BTreeMap<(usize, String), usize>,
    pub(super) step: usize,
    pub(super) now: Timestamp,
    /// Digests whose tag went before they were deployed anywhere: nobody knows which release they are.
    untagged: BTreeSet<String>,
    /// Objects that somebody said are to be kept, by place and uid. The word stands on that very object: what is made
    /// in its place, as a hook's Job is for each desired state, is another one, and nobody said it of that.
    pub(super) kept: BTreeSet<(usize, String)>,
    /// Names of what was seen to happen.
    pub(super) seen: BTreeSet<String>,
}

impl Ledger {
    pub(super) fn new(shape: Arc<Shape>, now: Timestamp) -> Self {
        Self {
            shape,
            entries: Vec::new(),
            builds: BTreeMap::new(),
            known: BTreeMap::new(),
            lines: BTreeMap::new(),
            step: 0,
            now,
            untagged: BTreeSet::new(),
            kept: BTreeSet::new(),
            seen: BTreeSet::new(),
        }
    }

    /// The clock of whoever it is.
    pub(super) fn clock(&self, who: Who) -> Timestamp {
        let beside = match who {
            Who::Towpath(index) => self.shape.clocks.get(index).copied().unwrap_or(0),
            Who::Person => 0,
        };
        let beside = jiff::SignedDuration::from_millis(beside);
        self.now.checked_add(beside).unwrap_or(self.now)
    }

    pub(super) fn note(&mut self, who: Who, fact: Fact) {
        let (step, at) = (self.step, self.clock(who));
        self.entries.push(Entry {
            step,
            at,
            who,
            known: self.known.get(&who).cloned().unwrap_or_default(),
            fact,
        });
    }

    /// A tag no longer leads to what it led to. Of what was deployed by then the records go on saying which release
    /// it is.
    pub(super) fn loses_tag(&mut self, repository: &str, tag: &str) {
        let builds = self.builds.iter();
        let led_to = builds.filter(|(_, it)| it.repository == repository && it.tag == tag);
        let unknown =
            led_to.filter(|(digest, _)| !self.entries.iter().any(|it| deploys(it, digest)));
        let unknown: Vec<String> = unknown.map(|(digest, _)| digest.clone()).collect();
        self.untagged.extend(unknown);
    }

    /// Somebody saw what a repository holds, as it was at that entry.
    pub(super) fn saw(&mut self, who: Who, repository: &str, until: usize) {
        let known = self.known.entry(who).or_default();
        let known = known.entry(repository.to_owned()).or_default();
        *known = (*known).max(until);
    }

    /// What moved on a server, from what it held to what it holds.
    pub(super) fn moved(&mut self, who: Who, remote: &MemoryRemote, url: &str, before: &Held) {
        let after = remote.held();
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let mut names: Vec<&String> = names
            .into_iter()
            .filter(|name| before.get(*name) != after.get(*name))
            .collect();
        // What was recorded in the same push allows what was written.
        names.sort_by_key(|name| !name.starts_with("refs/notes/"));
        for name in names {
            self.search(who, remote, name, before.get(name), after.get(name));
            let old = before.get(name).copied().map(CommitId);
            let new = after.get(name).copied().map(CommitId);
            if name == "refs/heads/main" {
                self.branch(who, remote, url, old, new);
            } else if let Some(environment) = name.strip_prefix(RECORDS) {
                self.records(who, remote, environment, old, new);
            } else if let Some(of) = name.strip_prefix("refs/heads/towpath/") {
                self.proposal(who, remote, of, new);
            }
        }
    }

    /// What a Towpath said with what moved.
    fn search(
        &mut self,
        who: Who,
        remote: &MemoryRemote,
        name: &str,
        old: Option<&gix::ObjectId>,
        new: Option<&gix::ObjectId>,
    ) {
        let mut next = new.copied().filter(|_| who != Who::Person);
        for _ in 0..COMMITS {
            let Some(id) = next.filter(|id| Some(id) != old) else {
                return;
            };
            let said = remote.said(id).unwrap_or_default();
            self.look_for_secrets(who, name, &said);
            next = remote.person("Ann").parent(CommitId(id)).map(|it| it.0);
        }
    }

    /// Whether a text that others read has the secret in it.
    pub(super) fn look_for_secrets(&mut self, who: Who, at: &str, text: &str) {
        if text.contains(SECRET) {
            let at = at.to_owned();
            self.note(who, Fact::Leaked { at });
        }
    }

    fn branch(
        &mut self,
        who: Who,
        remote: &MemoryRemote,
        url: &str,
        old: Option<CommitId>,
        new: Option<CommitId>,
    ) {
        let Some(new) = new else { return };
        let forward = old.is_none_or(|old| remote.follows(new, old));
        for unit in self.shape.units() {
            let Some(place) = self.shape.places.get(unit.0) else {
                continue;
            };
            if self.shape.repository(place) != url {
                continue;
            }
            let path = self.shape.manifest(place, unit.1);
            let read = |commit| remote.read(commit, &path).map(|text| images(&text));
            let (before, after) = (old.and_then(read), read(new));
            if before != after || !forward {
                let fact = Fact::Wrote {
                    unit,
                    before,
                    after,
                    commit: new,
                    forward,
                };
                self.note(who, fact);
            }
        }
    }

    fn proposal(&mut self, who: Who, remote: &MemoryRemote, of: &str, new: Option<CommitId>) {
        let found = self.shape.units().into_iter().find(|(place, application)| {
            let name = self.shape.places.get(*place).map_or("", |it| it.name);
            of == format!("{name}/{application}")
        });
        let Some(unit) = found else { return };
        let Some(place) = self.shape.places.get(unit.0) else {
            return;
        };
        let path = self.shape.manifest(place, unit.1);
        let images = new.and_then(|new| remote.read(new, &path));
        let images = images.map(|text| self::images(&text));
        self.note(who, Fact::Proposed { unit, images });
    }

    fn records(
        &mut self,
        who: Who,
        remote: &MemoryRemote,
        environment: &str,
        old: Option<CommitId>,
        new: Option<CommitId>,
    ) {
        let mut places = self.shape.places.iter();
        let Some(place) = places.position(|it| it.name == environment) else {
            return;
        };
        let Some(new) = new else {
            let detail = "the records are gone".to_owned();
            return self.note(who, Fact::Forgot { place, detail });
        };
        for change in remote.changed(old, new) {
            if change.path.starts_with("present/") {
                continue;
            }
            let text = remote.read(new, &change.path).unwrap_or_default();
            let key = (place, change.path.clone());
            let known = self.lines.insert(key, text.lines().count()).unwrap_or(0);
            if text.lines().count() < known {
                let detail = format!("{} lost lines", change.path);
                self.note(who, Fact::Forgot { place, detail });
            }
            for line in text.lines().skip(known) {
                self.look_for_secrets(who, &change.path, line);
                match Record::from_line(line) {
                    Ok(record) => {
                        self.seen
                            .insert(format!("record {}", record.statement.kind()));
                        self.note(who, Fact::Recorded { place, record });
                    }
                    Err(error) => {
                        let detail = format!("{}: {error}", change.path);
                        self.note(who, Fact::Forgot { place, detail });
                    }
                }
            }
        }
    }

    /// A unit, for people.
    pub(super) fn unit(&self, unit: Unit) -> String {
        let place = self.shape.places.get(unit.0);
        format!("{} in {}", unit.1, place.map_or("?", |it| it.name))
    }

    /// A release of a unit, for people.
    pub(super) fn named(&self, unit: Unit, images: &Images) -> String {
        format!("{} of {}", self.name(images), self.unit(unit))
    }

    /// Whether what is asked for is older than the other: by version where both have one, else by when it was built.
    /// Not, where either is unknown.
    pub(super) fn is_older(&self, images: &Images, than: &Images) -> bool {
        let newest = |images: &Images| {
            let digests = images.values();
            let known = digests.filter(|it| !self.untagged.contains(*it));
            let builds = known.filter_map(|digest| self.builds.get(digest));
            builds.max_by_key(|build| build.built)
        };
        let (Some(build), Some(than)) = (newest(images), newest(than)) else {
            return false;
        };
        let by_version = match (build.version, than.version) {
            (Some(version), Some(than)) => version.cmp(&than),
            _ => std::cmp::Ordering::Equal,
        };
        by_version.then(build.built.cmp(&than.built)).is_lt()
    }

    /// Whether nobody knows which release it is.
    pub(super) fn is_unknown(&self, images: &Images) -> bool {
        images.values().any(|it| self.untagged.contains(it))
    }

    /// How people call it.
    pub(super) fn name(&self, images: &Images) -> String {
        let first = images.values().next();
        let build = first.and_then(|digest| self.builds.get(digest));
        let unknown = || {
            let digest = first.and_then(|it| it.strip_prefix("sha256:"));
            format!(
                "unknown-{}",
                digest.and_then(|it| it.get(..7)).unwrap_or("0")
            )
        };
        build.map_or_else(unknown, |build| build.tag.clone())
    }
}

/// Whether it says that the image was deployed.
fn deploys(entry: &Entry, digest: &str) -> bool {
    let Fact::Recorded { record, .. } = &entry.fact else {
        return false;
    };
    match &record.statement {
        Statement::Deployment {
            release: Some(release),
            ..
        } => {
            let mut images = release.images.values();
            images.any(|it| it.digest.to_string() == digest)
        }
        _ => false,
    }
}

/// What a server's refs hold.
pub(super) type Held = BTreeMap<String, gix::ObjectId>;

/// The images that a manifest names, read as text: `image: REPOSITORY:TAG@DIGEST`.
pub(super) fn images(text: &str) -> Images {
    let lines = text.lines().filter_map(|line| {
        let (_, image) = line.split_once("image: ")?;
        let (named, digest) = image.trim().split_once('@')?;
        let (repository, _) = named.rsplit_once(':')?;
        Some((repository.to_owned(), digest.to_owned()))
    });
    lines.collect()
}
