//! Servers killed with SIGKILL under a steady stream of releases: anywhere, and inside what they are doing. Each stays
//! away for a while and is started again on the same port and data.

mod trap;
mod victim;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::ledger::{self, Found, Had, landed};
use super::site::{FAR, NEAR, Site};
use super::towing::Towing;
use victim::{Moment, Server, Victim};

/// What is killed, and inside what, in this order.
const KILLS: [(Server, &[Moment]); 5] = [
    (
        Server::Git,
        &[
            Moment::Any,
            Moment::Received,
            Moment::Locked,
            Moment::Torn,
            Moment::Moved,
            Moment::Any,
        ],
    ),
    (
        Server::Registry,
        &[
            Moment::Any,
            Moment::Reading,
            Moment::Reading,
            Moment::Any,
            Moment::Reading,
            Moment::Any,
        ],
    ),
    (
        Server::Gitea,
        &[
            Moment::Any,
            Moment::Received,
            Moment::Merging,
            Moment::Moved,
            Moment::Merged,
            Moment::Any,
        ],
    ),
    (
        Server::Api,
        &[
            Moment::Any,
            Moment::Applying,
            Moment::Applying,
            Moment::Any,
            Moment::Applying,
        ],
    ),
    (
        Server::Etcd,
        &[
            Moment::Any,
            Moment::Applying,
            Moment::Applying,
            Moment::Any,
            Moment::Applying,
        ],
    ),
];

/// What is killed at where not everything is asked for.
const FEW: (Server, &[Moment]) = (Server::Git, &[Moment::Locked]);

/// How long servers may be silent: some are slow where much else goes on, and die of nothing but being killed.
const SILENCE: Duration = Duration::from_secs(10);

/// How long it takes at most until everything is as it should be.
const SETTLE: Duration = Duration::from_secs(150);

/// Releases come so fast; where people merge, so that they can.
const PACE: Duration = Duration::from_millis(600);
const PACE_REVIEWED: Duration = Duration::from_secs(3);

/// How often somebody looks whether there is something to merge.
const LOOK: Duration = Duration::from_millis(300);

/// How long a server stays away, in milliseconds.
const AWAY_MIN: u64 = 500;
const AWAY_MAX: u64 = 2500;

/// Before one is killed anywhere, in milliseconds, at most.
const ANYWHERE: u64 = 1500;

/// What came of it.
struct Outcome {
    server: Server,
    moments: Vec<Moment>,
    releases: u64,
    /// How long after a server was there again something new was deployed there, at most.
    recovered: Duration,
    found: Found,
}

/// A number below this, another one each time.
fn drawn(below: u64) -> u64 {
    RandomState::new().hash_one(0) % below
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_are_killed_lose_and_double_nothing() {
    if victim::is_a_server() {
        return victim::serve().await;
    }
    let all = std::env::var("TOWPATH_WIRES").is_ok_and(|it| it == "all");
    let only = std::env::var("TOWPATH_WIRES_ONLY").ok();
    let killed = if all { &KILLS[..] } else { &[FEW] };
    let is_asked_for =
        |it: &&(Server, &[Moment])| only.as_ref().is_none_or(|only| it.0.to_string() == *only);
    let killed = killed.iter().filter(is_asked_for);
    let killed = killed.map(|(server, moments)| kill(*server, moments));
    let outcomes: Vec<Outcome> = join_all(killed).await.into_iter().flatten().collect();
    println!("{}", table(&outcomes));
    for it in &outcomes {
        assert_eq!(it.found, Found::default(), "{}", it.server);
    }
}

fn table(outcomes: &[Outcome]) -> String {
    let mut table = format!(
        "{:<9} {:>6} {:>8} {:>9} {:>5} {:>8} {:>10}  inside\n",
        "server", "killed", "releases", "recovered", "lost", "doubled", "left over"
    );
    for it in outcomes {
        let mut inside: BTreeMap<String, usize> = BTreeMap::new();
        for moment in &it.moments {
            *inside.entry(moment.to_string()).or_default() += 1;
        }
        let inside: Vec<_> = inside.iter().map(|(at, it)| format!("{it} {at}")).collect();
        writeln!(
            table,
            "{:<9} {:>6} {:>8} {:>9} {:>5} {:>8} {:>10}  {}",
            it.server,
            it.moments.len(),
            it.releases,
            format!("{:.1} s", it.recovered.as_secs_f32()),
            it.found.lost.len(),
            it.found.doubled.len(),
            it.found.left.len(),
            inside.join(", ")
        )
        .unwrap();
    }
    table
}

/// Kills one server again and again. `None` where it is not installed.
async fn kill(server: Server, moments: &[Moment]) -> Option<Outcome> {
    let (mut victim, given) = Victim::start(server).await?;
    let site = Site::around(given, SILENCE).await;
    let towing = site.tow().await;
    let what = format!("{server}: {NEAR} is adopted");
    let near = site.near_application();
    towing
        .until(&what, async || towing.runs(near, NEAR, 0))
        .await;
    let pace = match server {
        Server::Gitea => PACE_REVIEWED,
        _ => PACE,
    };
    let (newest, over) = (AtomicU64::new(0), CancellationToken::new());
    let stream = async {
        while !over.is_cancelled() {
            let number = newest.load(Ordering::Relaxed) + 1;
            // Whoever builds tries again where the registry is away.
            while !site.release(number).await {
                tokio::time::sleep(LOOK).await;
            }
            newest.store(number, Ordering::Relaxed);
            towing.hears_of_images();
            tokio::time::sleep(pace).await;
        }
    };
    let review = async {
        while !over.is_cancelled() {
            site.merge_open(None).await;
            tokio::time::sleep(LOOK).await;
        }
    };
    let kills = async {
        let mut slowest = Duration::ZERO;
        for moment in moments {
            victim
                .die(*moment, Duration::from_millis(drawn(ANYWHERE)))
                .await;
            let away = AWAY_MIN + drawn(AWAY_MAX - AWAY_MIN);
            tokio::time::sleep(Duration::from_millis(away)).await;
            let before = landed(&site.bare(NEAR)).await;
            victim.revive().await;
            let back = Instant::now();
            let what = format!("{server}, killed {moment}: goes on in {NEAR}");
            let bare = site.bare(NEAR);
            towing
                .until(&what, async || landed(&bare).await > before)
                .await;
            slowest = slowest.max(back.elapsed());
            println!("{server} killed {moment}");
        }
        over.cancel();
        slowest
    };
    let ((), (), recovered) = tokio::join!(stream, review, kills);
    let newest = newest.into_inner();
    settle(server, &site, &towing, newest).await;
    towing.end().await;
    let mut found = found(&site, newest).await;
    found.doubled.extend(victim.doubled());
    for environment in [NEAR, FAR] {
        assert_eq!(ledger::broken(&site.bare(environment)).await, "");
    }
    Some(Outcome {
        server,
        moments: moments.to_vec(),
        releases: newest,
        recovered,
        found,
    })
}

/// Waits until all is as the newest release implies.
async fn settle(server: Server, site: &Site, towing: &Towing, newest: u64) {
    let is = async || {
        site.merge_open(None).await;
        let runs = [
            (site.near_application(), NEAR),
            (site.far_application(), FAR),
        ];
        let runs = runs.map(|(application, at)| towing.runs(application, at, newest));
        runs == [true, true] && found(site, newest).await == Found::default()
    };
    let what = format!("{server}: all is as the releases imply");
    let settled = tokio::time::timeout(SETTLE, towing.until(&what, is)).await;
    // What is not there by then is told by who waits.
    if settled.is_err() {
        let found = found(site, newest).await;
        let far = ledger::unfinished(&site.bare(FAR), FAR).await;
        let near = ledger::unfinished(&site.bare(NEAR), NEAR).await;
        panic!("{what}: {found:#?}{}\n{far}\n{near}", towing.all());
    }
}

async fn found(site: &Site, newest: u64) -> Found {
    let mut found = ledger::compare(&site.bare(FAR), FAR, newest, Had::Newest).await;
    found.add(ledger::compare(&site.bare(NEAR), NEAR, newest, Had::Newest).await);
    found.add(left(site).await);
    found
}

/// What has served and is still there, and what was asked twice.
async fn left(site: &Site) -> Found {
    let mut found = Found {
        left: ledger::proposals(&site.bare(NEAR)).await,
        ..Found::default()
    };
    let open = site
        .ann(Method::GET, "pulls?state=open", &Value::Null)
        .await;
    let open = open.and_then(|(_, open)| open.as_array().cloned());
    for one in open.into_iter().flatten() {
        found.left.push(format!("the request {}", one["title"]));
    }
    let mut titles: BTreeMap<String, usize> = BTreeMap::new();
    for (title, _) in site.requests().await {
        *titles.entry(title).or_default() += 1;
    }
    for (title, times) in titles.into_iter().filter(|(_, times)| *times > 1) {
        found.doubled.push(format!("{times} requests `{title}`"));
    }
    found
}
