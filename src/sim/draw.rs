//! What a run is made of, all of it drawn from the seed before it begins: environments and how they follow
//! each other, applications, processes and their clocks, and the script of what happens when.

use std::fmt;
use std::path::PathBuf;

use super::ledger::Unit;

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
    /// Whether the git servers take several refs as one.
    pub(super) atomic: bool,
}

/// Something that happens at a step. What it happens to is told by `dice`, among what is there then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    pub(super) step: usize,
    pub(super) act: Act,
    pub(super) dice: u64,
}

/// Declares the acts once, so that what happened can be counted by name.
macro_rules! acts {
    ($($weight:literal $name:ident,)*) => {
        /// What happens in a run beside Towpath.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Act { $($name,)* }

        impl Act {
            pub(super) const ALL: &[(u32, Act)] = &[$(($weight, Act::$name),)*];
        }
    };
}

acts! {
    12 Push,
    2 PushOlder,
    3 PushBad,
    2 PushHanging,
    5 PushBranch,
    1 MoveTag,
    1 DeleteTag,
    10 Merge,
    3 Squash,
    3 Decline,
    2 Revert,
    2 HandBack,
    1 HandForward,
    1 HandUnknown,
    1 ForceBack,
    1 EditProposal,
    2 EditManifest,
    2 DropService,
    2 AddService,
    1 Hold,
    1 HoldAll,
    3 Resume,
    3 ResumeAll,
    3 RollBack,
    3 Unpin,
    2 Promote,
    1 PromoteUnproven,
    1 Freeze,
    3 Thaw,
    2 Retry,
    1 SayDecline,
    2 Approve,
    1 Drift,
    1 DeleteObject,
    2 KeepObject,
    1 Refuse,
    3 FailBefore,
    3 FailAfter,
    2 DieBefore,
    2 DieAfter,
    2 GoDown,
    2 Stale,
    1 Restart,
}

impl Act {
    /// Whether it is trouble, not somebody's word or work.
    pub(super) fn is_fault(self) -> bool {
        matches!(
            self,
            Self::FailBefore
                | Self::FailAfter
                | Self::DieBefore
                | Self::DieAfter
                | Self::GoDown
                | Self::Stale
                | Self::Restart
        )
    }
}

/// A run before it begins.
#[derive(Debug, Clone)]
pub(super) struct Drawn {
    pub(super) shape: Shape,
    pub(super) script: Vec<Event>,
    /// How many seconds pass before each step.
    pub(super) pauses: Vec<i64>,
}

impl Drawn {
    /// The run of a seed, of so many steps.
    pub(super) fn new(seed: u64, steps: usize) -> Self {
        let mut dice = Dice::new(seed);
        let shape = Shape::new(&mut dice);
        let faults = *dice.pick(&[0, 0, 1, 2]).unwrap_or(&0);
        let chance = 1 + dice.roll(4);
        let pauses = (0..steps).map(|_| match dice.roll(8) {
            0 => 1 + dice.roll(5),
            1 => 60 + dice.roll(240),
            _ => 5 + dice.roll(40),
        });
        let pauses = pauses.map(|it| it as i64).collect();
        let weights: Vec<(u32, Act)> = Act::ALL
            .iter()
            .map(|(weight, act)| match act.is_fault() {
                true => (weight * faults, *act),
                false => (*weight, *act),
            })
            .collect();
        let total: u32 = weights.iter().map(|(weight, _)| weight).sum();
        let mut script = Vec::new();
        for step in 0..steps {
            while script.len() < 4 * steps && dice.one_in(1 + chance) {
                let mut left = dice.roll(total as usize) as u32;
                let drawn = weights.iter().find(|(weight, _)| {
                    let here = left < *weight;
                    left = left.saturating_sub(*weight);
                    here
                });
                if let Some((_, act)) = drawn {
                    let (act, dice) = (*act, dice.number());
                    script.push(Event { step, act, dice });
                }
            }
        }
        Self {
            shape,
            script,
            pauses,
        }
    }
}

impl Shape {
    fn new(dice: &mut Dice) -> Self {
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
            atomic: !dice.one_in(4),
        }
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
        format!("{}/{application}/app.yaml", self.directory(place))
    }

    /// The file of an object that an application may have, or not.
    pub(super) fn service(&self, place: &Place, application: &str) -> String {
        format!("{}/{application}/service.yaml", self.directory(place))
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
        let names: Vec<&str> = self.places.iter().map(|it| it.name).collect();
        for application in &self.applications {
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
            atomic,
        } = self;
        write!(
            f,
            "{applications:?} of {images} images, together: {together}, atomic: {atomic}, clocks: {clocks:?}"
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
        }
    }
}
