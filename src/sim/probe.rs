//! What is tried once a run has come to its end, and nothing else goes on: whether environments wait for each other,
//! and whether a newer release waits for an older one.

use std::collections::BTreeSet;

use super::Stage;
use super::act::Made;
use super::check::Violation;
use super::draw::{Dice, Gated, Place, Shape, Source};
use super::ledger::{Fact, Images, Who};
use super::script::Probe;

/// Seconds within which a release must be healthy that came while another one was rolled out: less than that one
/// has.
const SOON: usize = 60;

impl Stage {
    pub(super) async fn probe(&mut self, probe: (Probe, u64)) -> Option<Violation> {
        let mut dice = Dice::new(probe.1);
        match probe.0 {
            Probe::None => None,
            Probe::Apart if self.checks.looks_at("I10") => self.apart(&mut dice).await,
            Probe::Overtake if self.checks.looks_at("I13") => self.overtake(&mut dice).await,
            Probe::Apart | Probe::Overtake => None,
        }
    }

    /// A server of one environment is gone, and a release comes to all. Once it is back, nothing is left to do
    /// where nobody had to wait for it.
    async fn apart(&mut self, dice: &mut Dice) -> Option<Violation> {
        let shape = self.site.shape.clone();
        let at = dice.roll(shape.places.len());
        let place = shape.places.get(at)?;
        let (server, struck) = struck(&shape, at, place, dice);
        let concerned = shape.with_followers(struck);
        self.site.wires.down(&server, usize::MAX);
        for application in shape.applications.iter().copied() {
            self.people.bring(&self.site, application, Made::Well);
        }
        self.seen("probe apart");
        if let Some(violation) = self.settle().await {
            return Some(violation);
        }
        let before = self.site.ledger().entries.len();
        self.site.wires.heal();
        if let Some(violation) = self.settle().await {
            return Some(violation);
        }
        let ledger = self.site.ledger();
        let mut later = ledger.entries.iter().skip(before);
        let late = later.find(|entry| {
            let place = match &entry.fact {
                Fact::Wrote { unit, .. } | Fact::Proposed { unit, .. } => unit.0,
                Fact::Recorded { place, .. } => *place,
                _ => return false,
            };
            entry.who != Who::Person && !concerned.contains(&place)
        });
        late.map(|late| Violation {
            name: "I10",
            detail: format!("`{server}` was waited for: {}", late.fact.line(&ledger)),
        })
    }

    /// A release that never gets ready is rolled out, and a newer one comes. Where nothing takes the first, nothing
    /// is told.
    async fn overtake(&mut self, dice: &mut Dice) -> Option<Violation> {
        let shape = self.site.shape.clone();
        let units = shape.units();
        let unit = *dice.pick(&units)?;
        let place = shape.places.get(unit.0)?;
        let comes = !matches!(place.source, Source::Proven(_)) && place.gate == Gated::No;
        let comes = comes && place.policy.is_quick();
        let by_hand = !comes || place.paced || dice.one_in(3);
        let bring = |stage: &mut Self, made| -> Images {
            let (site, people) = (&stage.site, &mut stage.people);
            match (by_hand, &place.source) {
                (false, Source::Branches) => people.build(site, unit.1, made),
                _ => {
                    let images = people.version(site, unit.1, made);
                    if by_hand {
                        people.puts(site, place, unit.1, &images);
                    }
                    images
                }
            }
        };
        // What somebody else put there waits for a yes.
        let now = self.site.ledger().now;
        let there = self.site.cluster(place)?.everything(now);
        if there.values().any(|found| found.mark.is_none()) {
            return None;
        }
        let older = bring(self, Made::Hanging);
        for _ in 0..6 {
            self.pass(1);
            self.turns(None).await;
            if let Some(violation) = self.look() {
                return Some(violation);
            }
        }
        if self.checks.deployed(unit).0 != Some(older.clone()) {
            return None;
        }
        let newer = bring(self, Made::Well);
        self.seen(match by_hand {
            true => "probe overtake by hand",
            false => "probe overtake",
        });
        for _ in 0..SOON / 3 {
            self.pass(3);
            self.turns(None).await;
            if let Some(violation) = self.look() {
                return Some(violation);
            }
        }
        let (deployed, healthy) = self.checks.deployed(unit);
        if deployed.as_ref() == Some(&newer) && healthy {
            return None;
        }
        let ledger = self.site.ledger();
        let (newer, older) = (ledger.name(&newer), ledger.named(unit, &older));
        Some(Violation {
            name: "I13",
            detail: format!(
                "{newer} is not healthy {SOON} s after it came: {older} was rolled out"
            ),
        })
    }

    fn seen(&self, what: &str) {
        self.site.ledger().seen.insert(what.to_owned());
    }
}

/// A server of an environment, and the environments that need it.
fn struck(shape: &Shape, at: usize, place: &Place, dice: &mut Dice) -> (String, BTreeSet<usize>) {
    let url = shape.repository(place);
    let beside = shape.places.iter().enumerate();
    let beside = beside.filter(|(_, it)| shape.repository(it) == url);
    match dice.roll(3) {
        0 => (format!("git {url}"), beside.map(|(at, _)| at).collect()),
        1 if place.gate == Gated::Request => {
            let asking = beside.filter(|(_, it)| it.gate == Gated::Request);
            (format!("forge {url}"), asking.map(|(at, _)| at).collect())
        }
        _ => (format!("cluster {}", place.name), BTreeSet::from([at])),
    }
}
