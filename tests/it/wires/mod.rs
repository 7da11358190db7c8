//! What breaks on the wire: a proxy in front of git, registry, forge and cluster, and every fault it knows.
//!
//! `cargo test` strikes with a few of them; with `TOWPATH_WIRES=all`, each server with each.

mod gone;
mod killed;
mod ledger;
mod long;
mod many;
#[path = "../../testbed/proxy.rs"]
mod proxy;
mod site;
mod strike;
mod towing;

use std::fmt::Write as _;
use std::time::Duration;

use futures_util::future::join_all;
use site::{FAR, NEAR, Server, Site};
use strike::{FAULTS, Outcome, Struck, strike};

/// How long servers may be silent here. The product's own deadlines are longer, and the same code.
const DEADLINE: Duration = Duration::from_millis(2500);

const SERVERS: [Server; 4] = [
    Server::Git,
    Server::Registry,
    Server::Forge,
    Server::Cluster,
];

/// What is struck with where not everything is asked for.
const FEW: [&str; 2] = ["cut answer at 60", "stall"];

async fn strike_each(server: Server, all: bool) -> Vec<Outcome> {
    let Some(site) = Site::start(server, DEADLINE).await else {
        return Vec::new();
    };
    let towing = site.tow().await;
    for (application, environment) in [
        (site.near_application(), NEAR),
        (site.far_application(), FAR),
    ] {
        let what = format!("{server}: {environment} is adopted");
        towing
            .until(&what, async || towing.runs(application, environment, 0))
            .await;
    }
    let chosen = |it: &&Struck| all || FEW.contains(&it.name);
    let (mut newest, mut outcomes) = (0, Vec::new());
    for struck in FAULTS.iter().filter(chosen) {
        outcomes.push(strike(&site, &towing, *struck, &mut newest, DEADLINE).await);
    }
    towing.end().await;
    for environment in [NEAR, FAR] {
        assert_eq!(ledger::broken(&site.bare(environment)).await, "");
    }
    outcomes
}

fn table(outcomes: &[Outcome]) -> String {
    let mut table = format!(
        "{:<9} {:<18} {:>8} {:>10} {:>10} {:>5} {:>8}\n",
        "server", "fault", "told", "elsewhere", "recovered", "lost", "doubled"
    );
    for it in outcomes {
        let told = it.told.map_or("bears it".to_owned(), |it| {
            format!("{:.1} s", it.as_secs_f32())
        });
        writeln!(
            table,
            "{:<9} {:<18} {told:>8} {:>10} {:>10} {:>5} {:>8}",
            it.server,
            it.fault,
            format!("{} of {}", it.elsewhere.0, it.elsewhere.1),
            format!("{:.1} s", it.recovered.as_secs_f32()),
            it.found.lost.len(),
            it.found.doubled.len()
        )
        .unwrap();
    }
    table
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_is_told_borne_and_survived() {
    let all = std::env::var("TOWPATH_WIRES").is_ok_and(|it| it == "all");
    let struck = SERVERS.map(|server| strike_each(server, all));
    let outcomes: Vec<_> = join_all(struck).await.into_iter().flatten().collect();
    println!("{}", table(&outcomes));
    for it in outcomes.iter().filter(|it| !it.said.is_empty()) {
        println!("{} {}: {}", it.server, it.fault, it.said);
    }
    for it in &outcomes {
        let (landed, of) = it.elsewhere;
        assert!(
            landed as u64 >= of,
            "{} {}: {landed} of {of}",
            it.server,
            it.fault
        );
        assert_eq!(
            it.found,
            ledger::Found::default(),
            "{} {}",
            it.server,
            it.fault
        );
    }
}
