//! Operators and a Towpath at one environment at once, each with a view of its own: holds, freezes, rollbacks,
//! promotions and releases, for many rounds. No word that was taken is lost, and what Towpath writes keeps to what
//! was recorded before it, told from the records' own history. Every plan is checked against the invariants, as in
//! every scenario.
//!
//! `TOWPATH_ROUNDS` sets how many rounds there are, `TOWPATH_SIGNED_ROUNDS` how many where everything is signed.

mod checks;
mod signed;

use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use towpath::model::{Author, EnvironmentName};
use towpath::plan::{Person, Promote, Scope, Step, Stop};

use super::commands::{Teller, signer};
use super::site::Towpath;
use super::{ending, story};

/// Rounds where nobody says how many.
const ROUNDS: usize = 150;

/// What each of them draws from.
const SEEDS: [u64; 3] = [
    0x9e37_79b9_7f4a_7c15,
    0xd1b5_4a32_d192_ed03,
    0x8cb9_2ba7_2f3d_8dd7,
];

const STORY: &str = "
applications
    applications:
      - name: shop
        images: [ { repository: registry.example.com/acme/shop, release-tag: '{tag}' } ]
        environments: [qa, production]
config qa
    cluster: { simulated: { ready-after: 2s } }
config production
    cluster: { simulated: { ready-after: 2s } }
    follow: { environment: qa, soak: 5s }
begin
";

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    /// From 0 to `sides - 1`.
    fn roll(&mut self, sides: u64) -> u64 {
        // Marsaglia's xorshift64.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Who takes part.
struct Cast {
    name: &'static str,
    /// Whose key among the fixtures they sign with.
    key: Option<&'static str>,
    /// Whether the git server takes their merges.
    merges: bool,
}

/// Somebody at a machine of their own.
struct Operator {
    name: &'static str,
    merges: bool,
    towpath: Towpath,
    dice: Dice,
    /// What was said and taken, by environment.
    taken: Vec<(EnvironmentName, String)>,
    said: usize,
}

impl Operator {
    /// Says something somewhere, on whatever was looked at last.
    async fn acts(&mut self, site: &View) {
        let environment: EnvironmentName = ["qa", "production"]
            [usize::from(self.dice.roll(2) == 1)]
        .parse()
        .unwrap();
        // What is looked at seldom is old by the time something is said.
        if self.dice.roll(3) == 0 {
            let observatory = self.towpath.reconciler.observatory();
            observatory.read_all(&site.pipelines, site.now).await;
        }
        self.said += 1;
        let reason = format!("{} {}", self.name, self.said);
        let by = format!("{}@example.com", self.name);
        let what = match self.dice.roll(12) {
            10 if !self.merges => 11,
            it => it,
        };
        let (ann, stop) = (
            Author {
                name: self.name.to_owned(),
                email: by.clone(),
            },
            Stop {
                reason: reason.clone(),
                until: None,
            },
        );
        let say = |it: &Person<'_>| -> Result<Step, String> {
            match what {
                0 => it.hold(Scope::Unit, &stop),
                1 | 2 => it.resume(Scope::Unit, &reason),
                3 => it.hold(Scope::Environment, &stop),
                4 | 5 => it.resume(Scope::Environment, &reason),
                6 => it.roll_back(None, &reason),
                7 => it.unpin(&reason),
                8 => it.freeze(&stop),
                9 => it.thaw(&reason),
                10 => it.merge(None, &ann),
                _ => it.promote(Promote {
                    release: None,
                    reason: &reason,
                    unproven: false,
                    during_freeze: true,
                    hotfix: false,
                    not_before: None,
                }),
            }
        };
        let application = "shop".parse().unwrap();
        let said = self
            .towpath
            .reconciler
            .say(&application, &environment, &by, say, site.now);
        if said.await.is_ok() && what != 10 {
            self.taken.push((environment, reason));
        }
    }
}

/// What operators know of the outside beside their repositories.
struct View {
    pipelines: Vec<std::sync::Arc<towpath::model::Pipeline>>,
    now: Timestamp,
}

async fn tell(teller: &mut Teller, text: &str) {
    for line in story::read(text) {
        if let story::Line::Command(command) = line {
            teller.run(&command).await;
        }
    }
}

/// How many rounds there are.
fn rounds(variable: &str, otherwise: usize) -> usize {
    let rounds = std::env::var(variable).ok();
    rounds.map_or(otherwise, |it| it.parse().unwrap())
}

/// Plays the rounds; then everything that still stops it is lifted, and it settles.
async fn hammered(story: &str, cast: &[Cast], rounds: usize) -> (Teller, Vec<Operator>) {
    let mut teller = Teller::new();
    tell(&mut teller, story).await;
    let mut operators: Vec<Operator> = cast
        .iter()
        .zip(SEEDS)
        .map(|(who, seed)| Operator {
            name: who.name,
            merges: who.merges,
            towpath: teller.site.visitor(who.key.map(signer)),
            dice: Dice(seed),
            taken: Vec::new(),
            said: 0,
        })
        .collect();
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    for number in 1..=rounds {
        if dice.roll(4) == 0 {
            tell(&mut teller, &format!("push shop v1.{number}.0\n")).await;
        }
        teller
            .site
            .pass(Duration::from_millis(500 + 500 * dice.roll(20)));
        let view = View {
            pipelines: teller.site.pipelines.clone(),
            now: teller.site.now,
        };
        let acting = join_all(operators.iter_mut().map(|it| it.acts(&view)));
        tokio::join!(teller.site.round(), acting);
    }
    let lift = "rounds\nresume-all qa shop\nresume-all production shop\nrounds\n";
    tell(&mut teller, lift).await;
    for _ in 0..20 {
        teller.site.pass(Duration::from_secs(60));
        teller.site.round().await;
    }
    tell(&mut teller, "rounds\n").await;
    let taken = operators.iter().map(|it| it.taken.len()).sum::<usize>();
    assert!(taken > rounds / 4, "only {taken} words were taken");
    (teller, operators)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_and_a_towpath_at_one_environment_lose_nothing() {
    let cast = ["ann", "bob"].map(|name| Cast {
        name,
        key: None,
        merges: true,
    });
    let rounds = rounds("TOWPATH_ROUNDS", ROUNDS);
    let (mut teller, operators) = hammered(STORY, &cast, rounds).await;
    for environment in ["qa", "production"] {
        let name: EnvironmentName = environment.parse().unwrap();
        let records = checks::in_order(&teller.site, &name).await;
        checks::nothing_is_lost(&records, &operators, &name);
        checks::respected(&records, environment == "production");
    }
    ending::check(&mut teller.site).await;
}
