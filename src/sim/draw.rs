//! What a run is made of, all of it drawn from the seed before it begins: environments and how they follow
//! each other, applications, processes and their clocks. What happens when stands in [`super::script`].

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use super::ledger::Unit;
use super::policy::Policy;

/// Names of environments, in the order in which they come.
const NAMES: [&str; 8] = ["staging", "qa", "pre", "eu", "us", "asia", "edge", "dr"];

/// Numbers that look random and are the same for the same seed.
pub(super) struct Dice(fastrand::Rng);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// From 0 to `sides - 1`; 0 where there are none.
    pub(super) fn roll(&mut self, sides: usize) -> usize {
        match sides {
            0 => 0,
            _ => self.0.usize(..sides),
        }
    }

    /// Whether one of so many times.
    pub(super) fn one_in(&mut self, times: usize) -> bool {
        self.roll(times) == 0
    }

    /// One of these.
    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.roll(from.len()))
    }

    pub(super) fn number(&mut self) -> u64 {
        self.0.u64(..)
    }
}

/// Where an environment's releases come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// Version tags.
    Tags,
    /// Builds of branches.
    Branches,
    /// What is proven in all of these, by place.
    Proven(Vec<usize>),
}

/// How an environment lets releases in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gated {
    No,
    Branch,
    Request,
}

/// An environment as it is configured.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) name: &'static str,
    pub(super) source: Source,
    pub(super) gate: Gated,
    /// Seconds.
    pub(super) soak: i64,
    pub(super) rolls_back: bool,
    pub(super) direct: bool,
    pub(super) paced: bool,
    pub(super) policy: Policy,
}

/// What stands during a whole run.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) places: Vec<Place>,
    pub(super) applications: Vec<&'static str>,
    /// How many images each application has.
    pub(super) images: usize,
    /// Whether all environments stand in one repository.
    pub(super) together: bool,
    /// Each process's clock, in milliseconds beside the others'.
    pub(super) clocks: Vec<i64>,
    /// Whether each environment has one process that acts for it, as with `run --only`.
    pub(super) divided: bool,
    /// Whether the git servers take several refs as one.
    pub(super) atomic: bool,
    /// Whether each application has a Secret among its manifests.
    pub(super) secret: bool,
    /// What the configuration takes nowhere any more.
    pub(super) gone: BTreeSet<Unit>,
}

impl Shape {
    pub(super) fn new(dice: &mut Dice) -> Self {
        let count = match dice.roll(12) {
            0 => 1,
            1 => 5 + dice.roll(4),
            _ => 2 + dice.roll(3),
        };
        let places = (0..count).map(|place| Place::new(place, dice)).collect();
        let applications = match dice.one_in(4) {
            true => vec!["shop", "cart"],
            false => vec!["shop"],
        };
        let processes = match dice.roll(6) {
            0 => 3,
            1 | 2 => 2,
            _ => 1,
        };
        let clock = |dice: &mut Dice| match dice.one_in(3) {
            true => dice.roll(20_000) as i64 - 10_000,
            false => 0,
        };
        Self {
            places,
            applications,
            images: 1 + usize::from(dice.one_in(4)),
            together: dice.one_in(4),
            clocks: (0..processes)
                // Two processes never act at the very same moment, or their commits would be the same.
                .map(|it| clock(dice) + 300 * it as i64)
                .collect(),
            divided: false,
            atomic: !dice.one_in(4),
            secret: false,
            gone: BTreeSet::new(),
        }
    }

    /// These environments and all that follow them.
    pub(super) fn with_followers(&self, mut of: BTreeSet<usize>) -> BTreeSet<usize> {
        // Each stands after those it follows.
        for (at, place) in self.places.iter().enumerate() {
            if let Source::Proven(upstreams) = &place.source
                && upstreams.iter().any(|it| of.contains(it))
            {
                of.insert(at);
            }
        }
        of
    }

    /// Whether a process acts for an environment.
    pub(super) fn acts(&self, process: usize, place: usize) -> bool {
        !self.divided || place % self.clocks.len() == process
    }

    /// Every unit there is.
    pub(super) fn units(&self) -> Vec<Unit> {
        let places = 0..self.places.len();
        let of = |place| self.applications.iter().map(move |it| (place, *it));
        places.flat_map(of).collect()
    }

    /// Where an environment's repository is.
    pub(super) fn repository(&self, place: &Place) -> String {
        match self.together {
            true => "https://git.example.com/acme/infra".to_owned(),
            false => format!("https://git.example.com/acme/infra-{}", place.name),
        }
    }

    /// The file that an application's images stand in.
    pub(super) fn manifest(&self, place: &Place, application: &str) -> String {
        self.beside(place, application, "app")
    }

    /// The file of an object that an application may have, or not.
    pub(super) fn service(&self, place: &Place, application: &str) -> String {
        self.beside(place, application, "service")
    }

    /// The file of an application's Secret.
    pub(super) fn secret(&self, place: &Place, application: &str) -> String {
        self.beside(place, application, "secret")
    }

    /// Another file beside an application's manifest.
    pub(super) fn beside(&self, place: &Place, application: &str, name: &str) -> String {
        format!("{}/{application}/{name}.yaml", self.directory(place))
    }

    /// The branch on which something is proposed for a unit.
    pub(super) fn proposal(place: &Place, application: &str) -> String {
        format!("towpath/{}/{application}", place.name)
    }

    /// The same with something else in its configuration.
    pub(super) fn reconfigured(&self, dice: &mut Dice) -> Self {
        let mut shape = self.clone();
        let at = dice.roll(shape.places.len());
        let is_followed = shape.with_followers(BTreeSet::from([at])).len() > 1;
        let application = dice.pick(&self.applications).copied();
        let Some(place) = shape.places.get_mut(at) else {
            return shape;
        };
        match dice.roll(6) {
            0 | 1 => place.policy = Policy::new(dice),
            2 => place.soak = *dice.pick(&[0, 30, 120]).unwrap_or(&0),
            3 => {
                place.rolls_back = dice.one_in(2);
                place.direct = dice.one_in(2);
                place.paced = dice.one_in(3);
            }
            _ => {
                let unit = application.map(|it| (at, it));
                if let Some(unit) = unit.filter(|_| at > 0 && !is_followed)
                    && !shape.gone.remove(&unit)
                {
                    shape.gone.insert(unit);
                }
            }
        }
        if at > 0
            && dice.one_in(3)
            && let Some(place) = shape.places.get_mut(at)
        {
            let gates = [Gated::No, Gated::Branch, Gated::Request];
            place.gate = *dice.pick(&gates).unwrap_or(&place.gate);
        }
        shape
    }

    fn directory(&self, place: &Place) -> &'static str {
        match self.together {
            true => place.name,
            false => "kubernetes",
        }
    }

    /// An application's image repositories.
    pub(super) fn repositories(&self, application: &str) -> Vec<String> {
        let name = |image| match image {
            0 => format!("registry.example.com/acme/{application}"),
            _ => format!("registry.example.com/acme/{application}-worker"),
        };
        (0..self.images).map(name).collect()
    }

    /// The configuration, file by file.
    pub(super) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut applications = String::from("applications:\n");
        for application in &self.applications {
            let places = self.places.iter().enumerate();
            let there = places.filter(|(at, _)| !self.gone.contains(&(*at, *application)));
            let names: Vec<&str> = there.map(|(_, it)| it.name).collect();
            applications += &format!("  - name: {application}\n    images:\n");
            for repository in self.repositories(application) {
                applications += &format!(
                    "      - {{ repository: {repository}, branch-tag: '{{branch}}-{{commit:7}}', release-tag: '{{tag}}' }}\n"
                );
            }
            applications += &format!("    environments: [{}]\n", names.join(", "));
        }
        let mut files = vec![(PathBuf::from("applications/all.yaml"), applications)];
        for place in &self.places {
            let path = PathBuf::from(format!("{}/environment.yaml", place.name));
            files.push((path, self.environment(place)));
        }
        files
            .into_iter()
            .map(|(path, text)| (path, text.into_bytes()))
            .collect()
    }

    fn environment(&self, place: &Place) -> String {
        let follow = match &place.source {
            Source::Tags => "tags: '>=1.0.0'".to_owned(),
            Source::Branches => "branches: ['*', '!master']".to_owned(),
            Source::Proven(of) => {
                let names = of.iter().filter_map(|it| self.places.get(*it));
                let names: Vec<&str> = names.map(|it| it.name).collect();
                format!("all: [{}], soak: {}s", names.join(", "), place.soak)
            }
        };
        let gate = match place.gate {
            Gated::No => "none",
            Gated::Branch => "branch",
            Gated::Request => "pull-request",
        };
        let mut text = format!(
            "repository: {{ url: '{}', branch: main, forge: github }}\n\
             manifests: ['{}/{{application}}']\n\
             cluster: {{ simulated: {{ ready-after: 10s }} }}\n\
             health: {{ timeout: 2m }}\n\
             follow: {{ {follow} }}\n\
             gate: {gate}\n",
            self.repository(place),
            self.directory(place),
        );
        if place.rolls_back {
            text += "on-failure: rollback\n";
        }
        if place.direct {
            text += "rollback: direct\n";
        }
        if place.paced {
            text += "pace: proven\n";
        }
        text += &place.policy.text();
        text
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            places,
            applications,
            images,
            together,
            clocks,
            divided,
            atomic,
            secret,
            gone: _,
        } = self;
        write!(
            f,
            "{applications:?} of {images} images, together: {together}, atomic: {atomic}, secret: {secret}, clocks: {clocks:?}, divided: {divided}"
        )?;
        for place in places {
            write!(f, "; {place:?}")?;
        }
        Ok(())
    }
}

impl Place {
    fn new(place: usize, dice: &mut Dice) -> Self {
        let source = match dice.roll(8) {
            _ if place == 0 && dice.one_in(4) => Source::Branches,
            _ if place == 0 => Source::Tags,
            0 => Source::Tags,
            1 if place > 1 => Source::Proven(vec![place - 2, place - 1]),
            _ => Source::Proven(vec![place - 1]),
        };
        let gate = match dice.roll(4) {
            0 if place > 0 => Gated::Branch,
            1 if place > 0 => Gated::Request,
            _ => Gated::No,
        };
        Self {
            name: NAMES.get(place).copied().unwrap_or("more"),
            soak: match source {
                Source::Proven(_) => *dice.pick(&[0, 0, 30, 120]).unwrap_or(&0),
                _ => 0,
            },
            source,
            gate,
            rolls_back: dice.one_in(5),
            direct: dice.one_in(4),
            paced: dice.one_in(6),
            policy: Policy::default(),
        }
    }
}
