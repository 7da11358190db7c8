//! Two operators and a Towpath at one environment at once, each with a view of its own: holds, freezes, rollbacks,
//! promotions and releases, for many rounds. No word that was taken is lost, and what Towpath writes keeps to what
//! was recorded before it, told from the records' own history. Every plan is checked against the invariants, as in
//! every scenario.
//!
//! `TOWPATH_ROUNDS` sets how many rounds there are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use towpath::git::notes::{read_note, records_ref};
use towpath::model::record::{Cause, Record, Standing, Statement, UnitRecords};
use towpath::model::{Author, CommitId, EnvironmentName};
use towpath::plan::{Person, Promote, Scope, Step, Stop};

use super::commands::Teller;
use super::site::{Site, Towpath};
use super::{ending, show, story};

/// Rounds where nobody says how many.
const ROUNDS: usize = 150;

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

/// Somebody at a machine of their own.
struct Operator {
    name: &'static str,
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
        let what = self.dice.roll(12);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_and_a_towpath_at_one_environment_lose_nothing() {
    let rounds = std::env::var("TOWPATH_ROUNDS").ok();
    let rounds = rounds.map_or(ROUNDS, |it| it.parse().unwrap());
    let mut teller = Teller::new();
    tell(&mut teller, STORY).await;
    let mut operators: Vec<Operator> = ["ann", "bob"]
        .into_iter()
        .zip([0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03])
        .map(|(name, seed)| Operator {
            name,
            towpath: teller.site.visitor(),
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
        let [ann, bob] = &mut operators[..] else {
            panic!("there are two");
        };
        tokio::join!(teller.site.round(), ann.acts(&view), bob.acts(&view));
    }
    // Everything that still stops it is lifted, and it settles.
    let lift = "resume-all qa shop\nresume-all production shop\nrounds\n";
    tell(&mut teller, lift).await;
    for _ in 0..20 {
        teller.site.pass(Duration::from_secs(60));
        teller.site.round().await;
    }
    tell(&mut teller, "rounds\n").await;
    let taken = operators.iter().map(|it| it.taken.len()).sum::<usize>();
    assert!(taken > rounds / 4, "only {taken} words were taken");
    for environment in ["qa", "production"] {
        let name: EnvironmentName = environment.parse().unwrap();
        let records = in_order(&teller.site, &name).await;
        nothing_is_lost(&records, &operators, &name);
        respected(&records, environment == "production");
    }
    ending::check(&mut teller.site).await;
}

/// What was taken stands in the records, once per statement that it makes and what that is about.
fn nothing_is_lost(records: &[Record], operators: &[Operator], environment: &EnvironmentName) {
    let mut said: BTreeMap<String, BTreeSet<(&str, bool)>> = BTreeMap::new();
    for record in records {
        let reason = match &record.statement {
            Statement::Held { reason, .. }
            | Statement::Resumed { reason }
            | Statement::Pinned { reason, .. }
            | Statement::Unpinned { reason }
            | Statement::Withdrawn { reason, .. }
            | Statement::Frozen { reason, .. }
            | Statement::Thawed { reason } => reason.clone(),
            Statement::Promoted(promoted) => promoted.reason.clone(),
            _ => continue,
        };
        if record.by != "towpath" {
            let kinds = said.entry(reason.clone()).or_default();
            assert!(
                kinds.insert((record.statement.kind(), record.application.is_some())),
                "{reason} stands twice"
            );
        }
    }
    for operator in operators {
        let here = operator.taken.iter().filter(|(at, _)| at == environment);
        for (_, reason) in here {
            assert!(
                said.contains_key(reason),
                "`{reason}` in {environment} is lost"
            );
        }
    }
}

/// Whatever Towpath deployed was allowed by what was recorded before it.
fn respected(records: &[Record], is_followed: bool) {
    let (mut unit, mut standing) = (UnitRecords::default(), Standing::default());
    for record in records {
        if let Statement::Deployment {
            release: Some(release),
            state,
            cause: cause @ (Cause::Automation | Cause::Rollback),
            ..
        } = &record.statement
            // Behind the gate a person went back, by a merge: that may be recorded long after, once a hold ends.
            && !(is_followed && *cause == Cause::Rollback)
        {
            let shown = show::record(record);
            let digests = release.digests();
            let chosen = unit.pin.as_ref().and_then(|pin| pin.release.as_ref());
            let chosen = chosen.is_some_and(|it| it.is(&digests));
            let newer = unit.running().is_none_or(|it| release.is_newer_than(it));
            assert!(unit.hold.is_none(), "I5: under a hold: {shown}");
            assert!(
                standing.hold.is_none(),
                "I5: the environment is held: {shown}"
            );
            assert!(unit.pin.is_none() || chosen, "I5: over a pin: {shown}");
            assert!(newer || chosen, "I3: nobody asked to go back: {shown}");
            assert!(
                unit.failure(&digests, state).is_none() || *cause == Cause::Rollback,
                "I4: it failed with this state: {shown}"
            );
            assert!(!is_followed, "I2: past the gate: {shown}");
        }
        if record.application.is_some() {
            unit.take(record.clone());
        }
        standing.take(record);
    }
}

/// The records in the order in which they landed: from the history of their ref, not by their times.
async fn in_order(site: &Site, environment: &EnvironmentName) -> Vec<Record> {
    let mirror = show::mirror(site.remote(environment.as_str())).await;
    let mut commits = Vec::new();
    let mut next = Some(CommitId(mirror.seen()[&records_ref(environment)].id));
    while let Some(id) = next {
        let commit = mirror.commit(id).unwrap();
        next = commit.parents.first().copied();
        commits.push(commit);
    }
    commits.reverse();
    let mut records = Vec::new();
    let mut before = None;
    let mut known: BTreeMap<CommitId, usize> = BTreeMap::new();
    for commit in commits {
        for change in mirror.changed(before, Some(commit.tree)).unwrap() {
            let Ok(about) = change.path.replace('/', "").parse::<CommitId>() else {
                continue;
            };
            let note = read_note(&mirror, commit.tree, about).unwrap();
            let seen = known.insert(about, note.len()).unwrap_or_default();
            assert!(note.len() > seen, "records of {about} are gone");
            records.extend(note.into_iter().skip(seen));
        }
        before = Some(commit.tree);
    }
    records
}
