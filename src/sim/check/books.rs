//! What the records came to, told from the ledger alone: who was proven, failed, chosen and stopped, and since when.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::model::record::{Cause, Record, Statement, Verdict};
use crate::model::{Digest, EvidenceResult, Release};
use crate::sim::ledger::{Images, Unit};
use crate::sim::policy::Policy;

/// A run that was judged healthy.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) images: Images,
    pub(super) since: Timestamp,
    /// When something else was deployed, and the entry that says so.
    pub(super) until: Option<(Timestamp, usize)>,
    /// When the same was deployed again: it soaks anew.
    again: Option<Timestamp>,
    /// The entry at which something was said against it.
    pub(super) tainted: Option<usize>,
}

/// What holds for one unit.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) runs: Vec<Run>,
    /// Whoever was healthy here once.
    pub(super) healthy: BTreeSet<Images>,
    /// What failed with which desired state.
    pub(super) failed: BTreeSet<(Images, Digest)>,
    /// What a person chose; `Some(None)`: something that nobody knows.
    pub(super) pin: Option<Option<Images>>,
    /// Whom a person ever asked for, and whether without proof.
    pub(super) promoted: BTreeMap<Images, bool>,
    /// Whom a person ever chose, retried or put back.
    pub(super) chosen: BTreeSet<Images>,
    /// Whom a person declined.
    pub(super) declined: BTreeSet<Images>,
    pub(super) hold: Option<Option<Timestamp>>,
    /// Deployments by number, and how many verdicts each has.
    pub(super) numbers: BTreeMap<u64, Judged>,
    /// What a person put back, and nobody took that word away.
    pub(super) put_back: Option<Images>,
    /// What was deployed last.
    pub(super) deployed: Option<Images>,
    /// Whoever failed here once.
    pub(super) has_failed: BTreeSet<Images>,
    /// Whom a person asked for in spite of a freeze.
    pub(super) over_freeze: BTreeSet<Images>,
    /// What was found out about images last, whether it speaks for them, and when.
    pub(super) found: BTreeMap<String, (bool, Timestamp)>,
    /// Deployments whose deletions a person said yes to.
    pub(super) approved: BTreeSet<u64>,
    /// Whether a pin was said, and nobody ended it.
    pub(super) is_pinned: bool,
}

/// A deployment.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub(super) commit: String,
    pub(super) verdicts: usize,
    /// Whether a Towpath recorded it, and the branch has not moved since.
    pub(super) is_awaited: bool,
}

/// The books of a whole run.
#[derive(Debug, Default)]
pub(super) struct Books {
    units: BTreeMap<Unit, Book>,
    /// Holds of whole environments.
    pub(super) holds: BTreeMap<usize, Option<Timestamp>>,
    /// What people said of environments' freezes.
    pub(super) freezes: BTreeMap<usize, Option<Timestamp>>,
    /// Which commit has a number.
    pub(super) numbers: BTreeMap<(usize, u64), String>,
}

/// A release's images, as the ledger writes them.
pub(super) fn images(release: &Release) -> Images {
    let images = release.images.iter();
    images
        .map(|(repository, image)| (repository.to_string(), image.digest.to_string()))
        .collect()
}

impl Books {
    pub(super) fn of(&mut self, unit: Unit) -> &mut Book {
        self.units.entry(unit).or_default()
    }

    /// Whether a person stopped the unit at that moment.
    pub(super) fn is_held(&mut self, unit: Unit, at: Timestamp) -> bool {
        let holds = |until: Option<Timestamp>| until.is_none_or(|until| at < until);
        let everywhere = self.holds.get(&unit.0).copied().is_some_and(holds);
        everywhere || self.of(unit).hold.is_some_and(holds)
    }

    /// Whether the environment takes nothing by itself at that moment.
    pub(super) fn is_frozen(&self, at: Timestamp, place: usize, policy: &Policy) -> bool {
        let said = self.freezes.get(&place);
        let said = said.is_some_and(|until| until.is_none_or(|until| at < until));
        said || policy.is_frozen(at)
    }

    /// Takes a record.
    pub(super) fn take(&mut self, index: usize, unit: Option<Unit>, place: usize, record: &Record) {
        let Some(unit) = unit else {
            match &record.statement {
                Statement::Held { until, .. } => drop(self.holds.insert(place, *until)),
                Statement::Resumed { .. } => drop(self.holds.remove(&place)),
                Statement::Frozen { until, .. } => drop(self.freezes.insert(place, *until)),
                Statement::Thawed { .. } => drop(self.freezes.remove(&place)),
                _ => {}
            }
            return;
        };
        self.of(unit).take(index, record);
    }
}

impl Book {
    fn take(&mut self, index: usize, record: &Record) {
        match &record.statement {
            Statement::Deployment {
                number,
                release,
                cause,
                ..
            } => {
                let images = release.as_ref().map(images);
                self.deployed.clone_from(&images);
                for run in self.runs.iter_mut().filter(|run| run.until.is_none()) {
                    if Some(&run.images) != images.as_ref() {
                        run.until = Some((record.at, index));
                    }
                    run.again.get_or_insert(record.at);
                }
                self.numbers.insert(
                    *number,
                    Judged {
                        commit: record.commit.to_string(),
                        verdicts: 0,
                        is_awaited: matches!(cause, Cause::Automation | Cause::Rollback),
                    },
                );
                // A newer release that a person merged ends a pin.
                if *cause == Cause::Merge {
                    self.pin = None;
                    self.put_back = None;
                }
            }
            Statement::Verdict {
                number,
                release,
                state,
                verdict,
            } => {
                if let Some(judged) = self.numbers.get_mut(number) {
                    judged.verdicts += 1;
                }
                let Some(images) = release.as_ref().map(images) else {
                    return;
                };
                match verdict {
                    Verdict::Healthy { exercised } => {
                        self.healthy.insert(images.clone());
                        if *exercised {
                            self.runs.push(Run {
                                images,
                                since: record.at,
                                until: None,
                                again: None,
                                tainted: None,
                            });
                        }
                    }
                    Verdict::Failed { .. } => {
                        self.taint(&images, index);
                        self.has_failed.insert(images.clone());
                        self.failed.insert((images, *state));
                    }
                    Verdict::Superseded => {}
                }
            }
            Statement::Degraded { release, .. } => {
                if let Some(images) = release.as_ref().map(images) {
                    self.taint(&images, index);
                }
            }
            Statement::Withdrawn {
                release,
                proposal: None,
                ..
            } => self.taint(&images(release), index),
            Statement::Pinned { release, .. } => {
                let images = release.as_ref().map(images);
                self.chosen.extend(images.clone());
                if let Some(images) = &images {
                    self.failed.retain(|(failed, _)| failed != images);
                }
                self.pin = Some(images);
                self.is_pinned = true;
            }
            Statement::Unpinned { .. } => {
                self.is_pinned = false;
                self.pin = None;
                self.put_back = None;
            }
            Statement::Promoted(promoted) => {
                self.is_pinned = false;
                let images = images(&promoted.release);
                self.failed.retain(|(failed, _)| *failed != images);
                self.declined.remove(&images);
                if promoted.during_freeze {
                    self.over_freeze.insert(images.clone());
                }
                let unproven = self.promoted.entry(images).or_default();
                *unproven |= promoted.unproven;
                self.pin = None;
                self.put_back = None;
            }
            Statement::Retried { release } => {
                let images = images(release);
                self.failed.retain(|(failed, _)| *failed != images);
                self.declined.remove(&images);
                self.chosen.insert(images);
                for judged in self.numbers.values_mut() {
                    judged.verdicts = 0;
                }
            }
            Statement::Evidence { digest, finding } => {
                let speaks = finding.result == EvidenceResult::Pass;
                self.found.insert(digest.to_string(), (speaks, record.at));
            }
            Statement::ApprovedPrune { number } => drop(self.approved.insert(*number)),
            Statement::Declined { release } => drop(self.declined.insert(images(release))),
            Statement::Held { until, .. } => self.hold = Some(*until),
            Statement::Resumed { .. } => self.hold = None,
            _ => {}
        }
    }

    /// Whether something was found out that speaks for each image, not longer ago than so many seconds.
    pub(super) fn is_backed(&self, images: &Images, age: Option<i64>, at: Timestamp) -> bool {
        images.values().all(|digest| {
            let found = self.found.get(digest);
            found.is_some_and(|(speaks, since)| {
                let old = at.duration_since(*since).as_secs();
                *speaks && age.is_none_or(|age| old < age)
            })
        })
    }

    /// Whether it ran healthy for so many seconds, and nothing that was said against it up to that entry.
    pub(super) fn is_proven(
        &self,
        images: &Images,
        soak: i64,
        at: Timestamp,
        known: usize,
    ) -> bool {
        self.runs.iter().any(|run| {
            let ended = run.until.filter(|(_, at)| *at < known);
            let until = ended.map_or(at, |(until, _)| until);
            let soaked = until.duration_since(run.since).as_secs() >= soak;
            let tainted = run.tainted.is_some_and(|at| at < known);
            run.images == *images && soaked && !tainted
        })
    }

    /// Whether one of its runs alone soaked: only then it must count as proven.
    pub(super) fn is_surely_proven(&self, images: &Images, soak: i64, at: Timestamp) -> bool {
        self.runs.iter().any(|run| {
            let until = run.again.unwrap_or(at);
            let soaked = until.duration_since(run.since).as_secs() >= soak;
            run.images == *images && soaked && run.tainted.is_none()
        })
    }

    /// The branch moved: what was recorded before that has landed, or never will.
    pub(super) fn moved(&mut self) {
        for judged in self.numbers.values_mut() {
            judged.is_awaited = false;
        }
    }

    /// A person set the branch back: what stood there before may be deployed again.
    pub(super) fn rewound(&mut self) {
        for judged in self.numbers.values_mut() {
            judged.commit.clear();
        }
    }

    fn taint(&mut self, images: &Images, index: usize) {
        for run in self.runs.iter_mut().filter(|run| run.images == *images) {
            run.tainted.get_or_insert(index);
        }
    }
}
