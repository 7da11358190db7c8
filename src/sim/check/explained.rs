//! I11, at the end of a run: each idle unit has one reason, and what it says is so. What is so is told from the
//! servers and the books, never from what a Towpath believes.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Checks, Violation, books};
use crate::plan::{Decision, Reason, Unproven, World, journey, stand};
use crate::reconcile::Posted;
use crate::sim::draw::{Gated, Place, Shape, Source};
use crate::sim::ledger::{self, Images, Ledger, Unit};
use crate::sim::site::Site;

/// All that is looked at.
struct Truth<'a> {
    site: &'a Site,
    ledger: &'a Ledger,
    books: &'a mut books::Books,
    now: Timestamp,
}

impl Checks {
    /// What a process says of its units once nothing goes wrong and nothing is left to do: which of it is not so.
    pub(in crate::sim) fn explained(
        &mut self,
        site: &Site,
        ledger: &Ledger,
        process: usize,
        posted: &[Arc<Posted>],
        now: Timestamp,
    ) -> Option<Violation> {
        if !self.looks_at("I11") {
            return None;
        }
        let mut said: BTreeMap<(String, String), Vec<&Decision>> = BTreeMap::new();
        for posted in posted {
            for unit in &posted.plan.units {
                let key = (
                    unit.environment.to_string(),
                    posted.plan.application.to_string(),
                );
                said.entry(key).or_default().push(&unit.decision);
            }
        }
        let mut truth = Truth {
            site,
            ledger,
            books: &mut self.books,
            now,
        };
        let wrong = ledger.shape.units().into_iter().find_map(|unit| {
            let place = ledger.shape.places.get(unit.0)?;
            // Of what is taken out, something is said as long as something is left.
            if ledger.shape.gone.contains(&unit) {
                return None;
            }
            let said = said.get(&(place.name.to_owned(), unit.1.to_owned()));
            let why = match said.map(Vec::as_slice) {
                Some([Decision::Step(_)]) => None,
                Some([Decision::Waiting(waiting)]) if !ledger.shape.acts(process, unit.0) => {
                    let is_told = matches!(waiting.reason, Reason::NotOurs);
                    (!is_told)
                        .then(|| format!("another acts there, and said is: {}", waiting.reason))
                }
                Some([Decision::Waiting(waiting)]) => {
                    let why = truth.not_so(unit, place, &waiting.reason);
                    why.map(|why| format!("it is said that {}: {why}", waiting.reason))
                }
                Some(several) => Some(format!("{} things are said of it", several.len())),
                None => Some("nothing is said of it".to_owned()),
            };
            why.map(|why| format!("{}: {why}", ledger.unit(unit)))
        });
        let all = || {
            let all = said.iter().flat_map(|((place, application), said)| {
                let told = said.iter();
                told.map(move |it| format!("{application} in {place}: {it}"))
            });
            Vec::from_iter(all).join("; ")
        };
        wrong.map(|wrong| Violation {
            name: "I11",
            detail: format!("{wrong}; all that is said: {}", all()),
        })
    }

    /// Of the newest release of an application it must be told why it does not get through, where it does not.
    pub(in crate::sim) fn untold(
        &self,
        posted: &Posted,
        world: &World,
        now: Timestamp,
    ) -> Option<Violation> {
        if !self.looks_at("I11") {
            return None;
        }
        let pipeline = &posted.pipeline;
        let catalogue = world.catalogue.read().ok()?;
        let newest = catalogue.all().max_by(|a, b| a.compare(b))?;
        let stands = pipeline.environments.iter().map(|it| {
            let stand = stand(pipeline, world, &it.name, &newest, None, now);
            (it.name.clone(), stand)
        });
        let journey = journey(
            pipeline,
            world,
            &posted.plan,
            &newest,
            stands.collect(),
            now,
        );
        let stopped = journey.stopped?;
        let nothing =
            stopped.state == "not-there" && stopped.sentence.contains(" did not come there yet: ");
        nothing.then(|| Violation {
            name: "I11",
            detail: format!(
                "{} in {}: {}",
                posted.plan.application, stopped.environment, stopped.sentence
            ),
        })
    }
}

impl Truth<'_> {
    /// Why what is said is not so.
    fn not_so(&mut self, unit: Unit, place: &Place, reason: &Reason) -> Option<String> {
        let is_held = self.books.is_held(unit, self.now);
        let says_held = matches!(reason, Reason::Held { .. });
        if is_held != says_held {
            let not = if is_held { "" } else { "not " };
            return Some(format!("it is {not}held"));
        }
        let book = self.books.of(unit);
        let holds = match reason {
            Reason::Pinned { .. } => book.is_pinned,
            Reason::Failed {
                release: Some(release),
                ..
            } => book.has_failed.contains(&books::images(release)),
            Reason::Declined { release } => book.declined.contains(&books::images(release)),
            Reason::Frozen { .. } => self.books.is_frozen(self.now, unit.0, &place.policy),
            Reason::Evidence { release, .. } => match place.policy.evidence {
                Some(age) => !book.is_backed(&books::images(release), age, self.now),
                None => false,
            },
            Reason::LineStopped { .. } => place.policy.stops,
            Reason::Drifted { .. } => place.policy.reports,
            Reason::Gate { release, .. } => self.is_proposed(unit, place, &books::images(release)),
            Reason::Paced { .. } => place.paced,
            Reason::Upstream {
                environment,
                release: Some(release),
                why,
            } => {
                let mut places = self.ledger.shape.places.iter();
                let upstream = places.position(|it| it.name == environment.as_str())?;
                let images = books::images(release);
                // What was proven there and is rolled out once more waits for its verdict again.
                let again = *why == Unproven::RollingOut
                    && self.asked((upstream, unit.1)) == Some(images.clone());
                again || !self.is_proven((upstream, unit.1), place.soak, &images)
            }
            Reason::UpToDate { .. } => return self.newer(unit, place),
            Reason::NotOurs => false,
            _ => true,
        };
        (!holds).then(|| "it is not so".to_owned())
    }

    /// Whether what is proposed stands where a person can merge it.
    fn is_proposed(&self, unit: Unit, place: &Place, images: &Images) -> bool {
        let branch = Shape::proposal(place, unit.1);
        let path = self.ledger.shape.manifest(place, unit.1);
        let person = self.site.remote(place).map(|it| it.person("Ann"));
        let text = person.and_then(|person| person.read(&branch, &path));
        let asks = text.is_some_and(|text| ledger::images(&text) == *images);
        let forge = self.site.forge(place);
        let forge = forge.filter(|_| place.gate == Gated::Request);
        let open = forge.is_none_or(|forge| {
            let mut seen = forge.see(&branch).into_iter();
            seen.any(|it| matches!(it.state, "open" | "draft"))
        });
        asks && open
    }

    /// What the branch asks for.
    fn asked(&self, unit: Unit) -> Option<Images> {
        let place = self.ledger.shape.places.get(unit.0)?;
        let path = self.ledger.shape.manifest(place, unit.1);
        let text = self.site.remote(place)?.person("Ann").read("main", &path)?;
        Some(ledger::images(&text))
    }

    fn is_proven(&mut self, unit: Unit, soak: i64, images: &Images) -> bool {
        let book = self.books.of(unit);
        book.is_surely_proven(images, soak, self.now)
    }

    /// A newer release that could come.
    fn newer(&mut self, unit: Unit, place: &Place) -> Option<String> {
        let running = self.asked(unit)?;
        let candidates: Vec<Images> = match &place.source {
            Source::Tags | Source::Branches => {
                self.newest_tagged(unit.1, place).into_iter().collect()
            }
            Source::Proven(upstreams) => {
                let first = upstreams.first()?;
                let runs = self.books.of((*first, unit.1)).runs.clone();
                let mut images: Vec<Images> = runs.into_iter().map(|run| run.images).collect();
                images.retain(|it| {
                    let mut all = upstreams.iter();
                    all.all(|upstream| self.is_proven((*upstream, unit.1), place.soak, it))
                });
                // The newest comes. Of what lost its tag nobody knows when it was built: it may be that one, by the
                // version that stands in the manifest, and older than what runs by its time.
                if images.iter().any(|it| self.ledger.is_unknown(it)) {
                    return None;
                }
                images
            }
        };
        let mut newer = candidates.iter();
        let newer = newer.find(|it| self.ledger.is_older(&running, it));
        newer.map(|it| {
            let (it, running) = (self.ledger.name(it), self.ledger.name(&running));
            format!("{it} could come, and {running} is there")
        })
    }

    /// The newest release that is tagged for this environment: it alone comes from there. Tags are told apart by their
    /// versions, a tag and a branch's build by when they were built: an older tag may be newer than what runs where the
    /// newest is not.
    fn newest_tagged(&self, application: &str, place: &Place) -> Option<Images> {
        let tagged = self.tagged(application, place).into_iter();
        tagged.reduce(|one, other| match self.ledger.is_older(&one, &other) {
            true => other,
            false => one,
        })
    }

    /// The releases that are tagged for this environment.
    fn tagged(&self, application: &str, place: &Place) -> Vec<Images> {
        let repositories = self.ledger.shape.repositories(application);
        let tags = self.ledger.builds.values().filter(|build| {
            let is_version = build.version.is_some();
            is_version == (place.source == Source::Tags)
        });
        let tags = tags.map(|build| build.tag.as_str());
        let tags: std::collections::BTreeSet<&str> = tags.collect();
        let images = tags.into_iter().filter_map(|tag| {
            let images = repositories.iter().map(|repository| {
                let digest = self.site.registry.digest(&repository.parse().ok()?, tag)?;
                Some((repository.clone(), digest.to_string()))
            });
            images.collect::<Option<Images>>()
        });
        images.collect()
    }
}
