//! Thousands of faults in a row: what they cost in descriptors and memory. Counted in a process of its own, which
//! does nothing else.

use std::time::Instant;

use towpath::clock;

use super::DEADLINE;
use super::proxy::Fault;
use super::site::{Server, Site};

/// Set where this process is the one that counts: how many faults.
const COUNTS: &str = "TOWPATH_WIRES_FAULTS";

/// How many, and how many where everything is asked for.
const SOME: usize = 300;
const MANY: usize = 10_002;

/// Those that come at once.
const FAULTS: [Fault; 4] = [
    Fault::CutRequest(20),
    Fault::CutAnswer(60),
    Fault::Reset,
    Fault::Refuse,
];

/// A cluster is watched, and asked no more often than it pauses: the matrix has it.
const SERVERS: [Server; 3] = [Server::Git, Server::Registry, Server::Forge];

/// How much more memory may be resident after all faults than after the first tenth: what the allocator keeps.
const GROWTH_KIB: u64 = 8 << 10;

/// What this process holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    descriptors: usize,
    resident_kib: u64,
}

impl Held {
    fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let resident = status.lines().find_map(|it| it.strip_prefix("VmRSS:"));
        let resident = resident.unwrap().trim().trim_end_matches(" kB");
        Self {
            descriptors: std::fs::read_dir("/proc/self/fd").unwrap().count(),
            resident_kib: resident.parse().unwrap(),
        }
    }
}

#[tokio::test]
async fn ten_thousand_faults_leave_nothing_behind() {
    if let Ok(count) = std::env::var(COUNTS) {
        return strike_often(count.parse().unwrap()).await;
    }
    let all = std::env::var("TOWPATH_WIRES").is_ok_and(|it| it == "all");
    let output = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "--nocapture",
            "wires::many::ten_thousand_faults_leave_nothing_behind",
        ])
        .env(COUNTS, if all { MANY } else { SOME }.to_string())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    println!("{told}");
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{told}{said}"
    );
}

async fn strike_often(count: usize) {
    for server in SERVERS {
        let Some(site) = Site::start(server, DEADLINE).await else {
            continue;
        };
        let reconciler = site.setup().await.reconciler(&[], clock::now()).unwrap();
        let look = async || {
            let observatory = reconciler.observatory();
            let name = site.struck_name();
            let now = clock::now();
            match server {
                Server::Git => {
                    let mut all = observatory.infra.iter();
                    let (_, it) = all.find(|(url, _)| url.as_str().contains(&name)).unwrap();
                    it.read(now).await;
                    it.source.observed().read().is_ok()
                }
                Server::Registry => {
                    let mut all = observatory.tags.iter();
                    let (_, it) = all.find(|(at, _)| at.to_string().contains(&name)).unwrap();
                    it.read(now).await;
                    it.source.observed().read().is_ok()
                }
                _ => {
                    let it = observatory.requests.values().next().unwrap();
                    it.read(now).await;
                    it.source.observed().read().is_ok()
                }
            }
        };
        assert!(look().await, "{server} answers at first");
        let began = Instant::now();
        let each = count / SERVERS.len();
        let mut first = None;
        for number in 0..each {
            let fault = FAULTS[number % FAULTS.len()];
            site.proxy().set(fault).await;
            assert!(!look().await, "{server} answers under {fault:?}");
            if number == each / 10 {
                site.proxy().set(Fault::Pass).await;
                assert!(look().await, "{server} answers in between");
                first = Some(Held::now());
            }
        }
        site.proxy().set(Fault::Pass).await;
        assert!(look().await, "{server} answers again");
        let (first, last) = (first.unwrap(), Held::now());
        println!(
            "{server:<9} {each:>6} faults in {:>5.1} s: {} -> {} descriptors, {} -> {} KiB resident",
            began.elapsed().as_secs_f32(),
            first.descriptors,
            last.descriptors,
            first.resident_kib,
            last.resident_kib
        );
        // A connection or two may be kept open for the next look.
        assert!(
            last.descriptors <= first.descriptors + 4,
            "{first:?} {last:?}"
        );
        let growth = last.resident_kib.saturating_sub(first.resident_kib);
        assert!(growth <= GROWTH_KIB, "{growth} KiB: {first:?} {last:?}");
    }
}
