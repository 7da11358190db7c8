//! What must hold, told from what happened at the servers: each invariant by its name, each one on its own. None of
//! these knows how Towpath decides.

mod books;
mod explained;

use std::collections::BTreeMap;

use books::Books;

use super::draw::{Gated, Source};
use super::ledger::{Entry, Fact, Images, Ledger, Unit, Who};
use crate::model::record::{Cause, Record, Statement, Verdict};

/// The invariants that are checked by themselves; what else must hold at the end is in the run itself.
pub(super) const NAMES: [&str; 12] = [
    "I1", "I2", "I3", "I4", "I5", "I6", "I8", "I9", "I10", "I11", "I12", "I13",
];

/// An invariant that was broken, and the line that shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which: `I1` to `I13`, or `end` where a run does not come to one.
    pub name: &'static str,
    /// What happened.
    pub detail: String,
}

/// See the module.
pub(super) struct Checks {
    books: Books,
    /// What was proposed last.
    proposed: BTreeMap<Unit, Images>,
    /// The entries that were looked at.
    next: usize,
    /// The one invariant that is checked; `None`: all.
    only: Option<&'static str>,
}

impl Checks {
    pub(super) fn new(only: Option<&'static str>) -> Self {
        Self {
            books: Books::default(),
            proposed: BTreeMap::new(),
            next: 0,
            only,
        }
    }

    /// Looks at what is new.
    pub(super) fn look(&mut self, ledger: &Ledger) -> Option<Violation> {
        while let Some(entry) = ledger.entries.get(self.next) {
            let index = self.next;
            self.next += 1;
            let found = self.entry(ledger, index, entry);
            let found = found
                .into_iter()
                .find(|it| self.only.is_none_or(|only| only == it.name));
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn entry(&mut self, ledger: &Ledger, index: usize, entry: &Entry) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut say = |name, detail: String| {
            let step = entry.step;
            let detail = format!("step {step}, {:?}: {detail}", entry.who);
            found.push(Violation { name, detail });
        };
        match &entry.fact {
            Fact::Wrote {
                unit,
                before,
                after,
                forward,
                ..
            } => {
                let changed = before != after;
                self.books.of(*unit).moved();
                if let Who::Towpath(_) = entry.who {
                    if !forward {
                        say(
                            "I6",
                            format!("{}: the branch goes back", ledger.unit(*unit)),
                        );
                    }
                    if let (Some(after), true) = (after, changed) {
                        let wrote = Wrote {
                            unit: *unit,
                            before: before.as_ref(),
                            after,
                        };
                        for (name, detail) in self.wrote(ledger, index, entry, &wrote) {
                            say(name, detail);
                        }
                    }
                } else if !forward {
                    self.books.of(*unit).rewound();
                }
                if entry.who == Who::Person && changed {
                    // Where a push may break off between its refs, one that was forced back looks the same.
                    if *forward || ledger.shape.atomic {
                        self.by_hand(ledger, *unit, before.as_ref(), after.as_ref());
                    }
                }
            }
            Fact::Proposed {
                unit,
                images: Some(images),
            } if entry.who != Who::Person => {
                if let Some(why) = self.unproven(ledger, index, entry, *unit, images) {
                    say(
                        "I1",
                        format!("{} is proposed: {why}", ledger.named(*unit, images)),
                    );
                }
                if self.books.of(*unit).declined.contains(images) {
                    let named = ledger.named(*unit, images);
                    say("I5", format!("{named} was declined, and is proposed again"));
                }
                if self.books.is_held(*unit, entry.at) {
                    let named = ledger.named(*unit, images);
                    say("I5", format!("{named} is proposed under a hold"));
                }
                let before = self.proposed.insert(*unit, images.clone());
                if before.as_ref() != Some(images) && self.is_shut(ledger, entry, *unit, images) {
                    let named = ledger.named(*unit, images);
                    say("I5", format!("{named} is proposed during a freeze"));
                }
            }
            Fact::Proposed { .. } => {}
            Fact::Recorded { place, record } => {
                let unit = record.application.as_ref().and_then(|application| {
                    let units = ledger.shape.units().into_iter();
                    let mut of =
                        units.filter(|(at, name)| at == place && *name == application.as_str());
                    of.next()
                });
                for (name, detail) in self.recorded(ledger, entry, *place, unit, record) {
                    say(name, detail);
                }
                self.books.take(index, unit, *place, record);
            }
            Fact::Forgot { detail, .. } if entry.who != Who::Person => {
                say("I6", format!("records are lost: {detail}"));
            }
            Fact::Forgot { .. } => {}
            Fact::Pruned {
                unit,
                object,
                asked_for,
                kept,
            } => {
                let name = ledger.unit(*unit);
                if *asked_for {
                    say(
                        "I8",
                        format!("{name}: {object} is asked for, and was deleted"),
                    );
                }
                if *kept {
                    say(
                        "I8",
                        format!("{name}: {object} was to be kept, and was deleted"),
                    );
                }
            }
            Fact::PrunedAtOnce {
                unit,
                number,
                kinds,
            } => {
                if let Some(why) = self.too_much(ledger, *unit, *number, kinds) {
                    say("I8", format!("{}: {why}", ledger.unit(*unit)));
                }
            }
            Fact::SetBack { unit, object } => {
                let detail =
                    "a later commit had applied it, and an earlier one was applied over that";
                say("I6", format!("{}: {object}: {detail}", ledger.unit(*unit)));
            }
            Fact::Leaked { at } => say("I12", format!("a secret stands in {at}")),
            Fact::OpenedTwice { unit } => {
                say(
                    "I9",
                    format!("{}: two requests are open", ledger.unit(*unit)),
                );
            }
        }
        found
    }

    /// What a Towpath's write breaks.
    fn wrote(
        &mut self,
        ledger: &Ledger,
        index: usize,
        entry: &Entry,
        wrote: &Wrote<'_>,
    ) -> Vec<(&'static str, String)> {
        let mut broken = Vec::new();
        let (unit, after) = (wrote.unit, wrote.after);
        let Some(place) = ledger.shape.places.get(unit.0) else {
            return broken;
        };
        let named = ledger.named(unit, after);
        let is_held = self.books.is_held(unit, entry.at);
        if self.is_shut(ledger, entry, unit, after) {
            broken.push(("I5", format!("{named} is written during a freeze")));
        }
        if let Some(why) = self.unproven(ledger, index, entry, unit, after) {
            broken.push(("I1", format!("{named} is written: {why}")));
        }
        let book = self.books.of(unit);
        let goes_back = place.rolls_back && book.healthy.contains(after);
        let is_chosen = book.chosen.contains(after) || book.promoted.contains_key(after);
        if place.gate != Gated::No {
            let direct = place.direct && book.healthy.contains(after) && (is_chosen || goes_back);
            if !direct {
                broken.push(("I2", format!("{named} is written past the gate")));
            }
        }
        let older = wrote
            .before
            .is_some_and(|before| ledger.is_older(after, before));
        if older && !is_chosen && !goes_back {
            broken.push(("I3", format!("{named} replaces a newer release")));
        }
        if is_held {
            broken.push(("I5", format!("{named} is written under a hold")));
        }
        if let Some(pin) = &book.pin
            && pin.as_ref() != Some(after)
        {
            broken.push(("I5", format!("{named} is written over a pin")));
        }
        if let Some(before) = &book.put_back
            && Some(before) == wrote.before
            && !is_chosen
        {
            broken.push(("I5", format!("{named} overwrites what a person put back")));
        }
        broken
    }

    /// What a record breaks.
    fn recorded(
        &mut self,
        ledger: &Ledger,
        entry: &Entry,
        place: usize,
        unit: Option<Unit>,
        record: &Record,
    ) -> Vec<(&'static str, String)> {
        let mut broken = Vec::new();
        let Some(unit) = unit.filter(|_| entry.who != Who::Person) else {
            return broken;
        };
        let name = ledger.unit(unit);
        match &record.statement {
            Statement::Deployment {
                number,
                release,
                state,
                cause,
            } => {
                let commit = record.commit.to_string();
                let taken = self.books.numbers.entry((place, *number));
                let taken = taken.or_insert_with(|| commit.clone());
                if *taken != commit {
                    broken.push(("I9", format!("{name}: number {number} has two commits")));
                }
                let book = self.books.of(unit);
                // Where a server does not take records and branch at once, a push may break off between them. What was
                // recorded then never landed. Somebody else who writes the same in the same second makes the same
                // commit of it, and records that as a deployment of their own: it is the first to land.
                let broke_off = |it: &books::Judged| it.is_awaited && !ledger.shape.atomic;
                let mut same = book.numbers.values().filter(|it| it.commit == commit);
                if same.any(|it| !broke_off(it)) {
                    broken.push(("I9", format!("{name}: {commit} is deployed twice")));
                }
                let images = release.as_ref().map(books::images);
                if let (Some(images), Cause::Automation) = (images, cause)
                    && book.failed.contains(&(images.clone(), *state))
                {
                    let named = ledger.named(unit, &images);
                    broken.push(("I4", format!("{named} failed here, and is tried again")));
                }
            }
            Statement::Verdict {
                number,
                release,
                verdict,
                ..
            } => {
                let judged = self.books.of(unit).numbers.get(number);
                match judged.map(|it| it.verdicts) {
                    None => broken.push((
                        "I9",
                        format!("{name}: {number} is judged, and was never deployed"),
                    )),
                    Some(0) => {}
                    Some(_) => broken.push(("I9", format!("{name}: {number} is judged twice"))),
                }
                if let (Verdict::Healthy { .. }, Some(release)) = (verdict, release) {
                    let digests = books::images(release);
                    let mut builds = digests.values().filter_map(|it| ledger.builds.get(it));
                    if builds.any(|build| build.is_broken) {
                        let named = ledger.named(unit, &digests);
                        broken.push(("I1", format!("{named} is judged healthy, and is not")));
                    }
                }
            }
            _ => {}
        }
        broken
    }

    /// Why a release may not come to an environment that follows others.
    fn unproven(
        &mut self,
        ledger: &Ledger,
        index: usize,
        entry: &Entry,
        unit: Unit,
        images: &Images,
    ) -> Option<String> {
        let place = ledger.shape.places.get(unit.0)?;
        let book = self.books.of(unit);
        let forced = book.promoted.get(images) == Some(&true);
        let back =
            book.healthy.contains(images) && (place.rolls_back || book.chosen.contains(images));
        if forced || back || book.chosen.contains(images) {
            return None;
        }
        if let Some(age) = place.policy.evidence
            && !book.is_backed(images, age, entry.at)
        {
            return Some("it lacks evidence".to_owned());
        }
        let Source::Proven(upstreams) = &place.source else {
            return None;
        };
        for upstream in upstreams {
            let from = ledger.shape.places.get(*upstream)?;
            let url = ledger.shape.repository(from);
            // What was said against it counts once it could be known.
            let known = entry.known.get(&url).copied().unwrap_or(index);
            let book = self.books.of((*upstream, unit.1));
            if !book.is_proven(images, place.soak, entry.at, known) {
                return Some(format!("it is not proven in {}", from.name));
            }
        }
        None
    }

    /// Whether a freeze keeps the release from coming by itself.
    fn is_shut(&mut self, ledger: &Ledger, entry: &Entry, unit: Unit, images: &Images) -> bool {
        let Some(place) = ledger.shape.places.get(unit.0) else {
            return false;
        };
        let frozen = self.books.is_frozen(entry.at, unit.0, &place.policy);
        let book = self.books.of(unit);
        let goes_back = place.rolls_back && book.healthy.contains(images);
        let is_asked = book.chosen.contains(images) || book.over_freeze.contains(images);
        frozen && !goes_back && !is_asked
    }

    /// Why more went than may without a yes.
    fn too_much(
        &mut self,
        ledger: &Ledger,
        unit: Unit,
        number: u64,
        kinds: &[String],
    ) -> Option<String> {
        let policy = &ledger.shape.places.get(unit.0)?.policy;
        let approved = self.books.of(unit).approved.contains(&number);
        let asks = policy.confirms && kinds.iter().any(|kind| kind == "ConfigMap");
        let (count, limit) = (kinds.len(), policy.limit());
        match (count > limit, asks) {
            _ if approved => None,
            (true, _) => Some(format!(
                "{count} objects went, and {limit} may without a yes"
            )),
            (false, true) => Some("a ConfigMap went without a yes".to_owned()),
            (false, false) => None,
        }
    }

    /// What has been deployed of a unit, and whether it was judged healthy.
    pub(super) fn deployed(&mut self, unit: Unit) -> (Option<Images>, bool) {
        let book = self.books.of(unit);
        let deployed = book.deployed.clone();
        let healthy = deployed
            .as_ref()
            .is_some_and(|it| book.healthy.contains(it));
        (deployed, healthy)
    }

    /// Whether that invariant is checked.
    pub(super) fn looks_at(&self, name: &str) -> bool {
        self.only.is_none_or(|only| only == name)
    }

    /// A person changed what a branch asks for.
    fn by_hand(
        &mut self,
        ledger: &Ledger,
        unit: Unit,
        before: Option<&Images>,
        after: Option<&Images>,
    ) {
        let back = match (before, after) {
            (Some(before), Some(after)) => ledger.is_older(after, before),
            _ => false,
        };
        let book = self.books.of(unit);
        // What came and went before anybody recorded it was never there.
        let known = book.deployed.as_ref() == before;
        book.put_back = after.filter(|_| back && known).cloned();
    }
}

/// A write of a Towpath.
struct Wrote<'a> {
    unit: Unit,
    before: Option<&'a Images>,
    after: &'a Images,
}
