//! A Towpath that runs for long, under releases and faults: what it holds, and whether it keeps its polling bound.
//! `TOWPATH_LONG` says for how many seconds.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use super::DEADLINE;
use super::ledger::{self, Found, Had, asks_for};
use super::proxy::Fault;
use super::site::{FAR, NEAR, POLL, Server, Site, tag};

/// For how long where nothing is said.
const SHORT: Duration = Duration::from_secs(5);

/// From here on it is long enough for faults that only the product's own deadlines end.
const LONG: Duration = Duration::from_secs(600);

/// How long a fault lasts at least.
const LASTS: Duration = Duration::from_millis(800);

/// What a look, a commit and a push take on a machine that does other things at the same time.
const WORK: Duration = Duration::from_secs(15);

/// What comes at most within this does come at the end.
const WAIT: Duration = Duration::from_secs(120);

const ASK: Duration = Duration::from_millis(20);

/// What Towpath says meanwhile.
const LOG: &str = "log";

/// So much of its end is told where something does not come.
const LOG_END: usize = 4 << 10;

/// After so many releases a Towpath is warm, on a disk that is empty.
const FRESH: u64 = 8;

/// What may be held more in the end than once it is warm: of memory, than by another that began with all releases
/// there. Both know as many.
const MORE_DESCRIPTORS: u64 = 8;
const MORE_THREADS: u64 = 4;
const MORE_OWN_KIB: u64 = 16 << 10;

/// What a process holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    /// Memory of its own: not what is mapped of files, of which the packs of its mirrors are most, to their bound.
    own_kib: u64,
    resident_kib: u64,
    threads: u64,
    descriptors: u64,
    mirror_kib: u64,
    /// How long the release before it took.
    landed: Duration,
}

impl Held {
    fn by(pid: u32, cache: &Path, landed: Duration) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let figure = |name: &str| {
            let line = status.lines().find_map(|it| it.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        Self {
            own_kib: figure("RssAnon:"),
            resident_kib: figure("VmRSS:"),
            threads: figure("Threads:"),
            descriptors: std::fs::read_dir(format!("/proc/{pid}/fd"))
                .unwrap()
                .count() as u64,
            mirror_kib: size(cache) >> 10,
            landed,
        }
    }
}

/// Bytes of all files below; what goes away meanwhile has none.
fn size(at: &Path) -> u64 {
    let entries = std::fs::read_dir(at).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(it) if it.is_dir() => size(&entry.path()),
        Ok(it) => it.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

fn fault(number: u64, long: bool) -> Fault {
    match number % 8 {
        1 => Fault::Reset,
        2 => Fault::Stall,
        3 => Fault::CutAnswer(60),
        4 => Fault::Delay(Duration::from_millis(50)),
        5 => Fault::Refuse,
        6 => Fault::CutRequest(200),
        7 if long => Fault::BlackHole,
        _ => Fault::Pass,
    }
}

fn run(site: &Site) -> Child {
    let log = site.folder.path().join(LOG);
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(log)
        .unwrap();
    Command::new(env!("CARGO_BIN_EXE_towpath"))
        .arg("--config")
        .arg(site.folder.path().join("config"))
        .arg("run")
        .env("HOME", site.folder.path())
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_run_grows_nowhere_and_keeps_its_bound() {
    let seconds = std::env::var("TOWPATH_LONG").ok();
    let lasts = seconds.map_or(SHORT, |it| Duration::from_secs(it.parse().unwrap()));
    let site = Site::start(Server::Git, DEADLINE).await.unwrap();
    let (near, far) = (site.bare(NEAR), site.bare(FAR));
    let cache = site.folder.path().join("cache");
    let child = run(&site);
    let pid = child.id().unwrap();
    for (bare, environment) in [(&near, NEAR), (&far, FAR)] {
        within(WAIT, "it is adopted", async || {
            ledger::compare(bare, environment, 0, Had::Newest).await == Found::default()
        })
        .await;
    }
    let (began, mut newest, mut slowest) = (Instant::now(), 0, Duration::ZERO);
    let mut samples = vec![Held::by(pid, &cache, Duration::ZERO)];
    while began.elapsed() < lasts {
        newest += 1;
        let fault = fault(newest, lasts >= LONG);
        let Some(landed) = lands(&site, &far, newest, fault, POLL + WORK).await else {
            tell(&samples);
            println!("{}", end_of(&site.folder.path().join(LOG)));
            panic!("{} is not in {FAR} in time", tag(newest));
        };
        slowest = slowest.max(landed);
        samples.push(Held::by(pid, &cache, landed));
    }
    for (bare, environment) in [(&near, NEAR), (&far, FAR)] {
        within(WAIT, "it ends as releases imply", async || {
            ledger::compare(bare, environment, newest, Had::Newest).await == Found::default()
        })
        .await;
        assert_eq!(ledger::broken(bare).await, "");
    }
    samples.push(Held::by(pid, &cache, Duration::ZERO));
    ends(child).await;
    let fresh = held_afresh(&site, &far, newest).await;
    println!(
        "{newest} releases in {} s; the slowest came after {:.1} s, with a poll of {} s",
        lasts.as_secs(),
        slowest.as_secs_f32(),
        POLL.as_secs()
    );
    tell(&samples);
    println!("one that begins then: {fresh} KiB");
    let (warm, last) = (samples[samples.len() / 4], samples[samples.len() - 1]);
    assert!(
        last.descriptors <= warm.descriptors + MORE_DESCRIPTORS,
        "{warm:?} {last:?}"
    );
    assert!(
        last.threads <= warm.threads + MORE_THREADS,
        "{warm:?} {last:?}"
    );
    assert!(
        last.own_kib <= fresh + MORE_OWN_KIB,
        "{last:?}, and {fresh} KiB by one that begins then"
    );
}

/// Releases under a fault, which passes then. Gives how long it took until the last environment asked for it.
async fn lands(
    site: &Site,
    far: &Path,
    number: u64,
    fault: Fault,
    within: Duration,
) -> Option<Duration> {
    let struck = Instant::now();
    site.proxy().set(fault).await;
    let wanted = tag(number);
    assert!(site.release(number).await, "{wanted} is there");
    let comes = comes_within(within, async || {
        let asked = asks_for(far, "shop").await;
        asked.contains(&format!(":{wanted}@"))
    });
    let comes = comes.await;
    let landed = struck.elapsed();
    tokio::time::sleep(LASTS.saturating_sub(landed)).await;
    site.proxy().set(Fault::Pass).await;
    comes.then_some(landed)
}

/// What one holds of its own, at most, that begins with an empty disk and nothing known.
async fn held_afresh(site: &Site, far: &Path, newest: u64) -> u64 {
    let cache = site.folder.path().join("cache");
    std::fs::remove_dir_all(&cache).unwrap();
    let child = run(site);
    let pid = child.id().unwrap();
    let mut most = 0;
    for number in newest + 1..=newest + FRESH {
        let landed = lands(site, far, number, Fault::Pass, WAIT).await;
        let landed = landed.unwrap_or_else(|| panic!("{} is not in {FAR} in time", tag(number)));
        most = most.max(Held::by(pid, &cache, landed).own_kib);
    }
    ends(child).await;
    most
}

async fn ends(mut child: Child) {
    child.kill().await.unwrap();
}

/// A tenth of the samples, and the slowest release until each.
fn tell(samples: &[Held]) {
    println!(
        "{:>9} {:>9} {:>8} {:>12} {:>9} {:>9}",
        "own", "resident", "threads", "descriptors", "mirrors", "slowest"
    );
    for part in samples.chunks(samples.len().div_ceil(10)) {
        let last = part[part.len() - 1];
        let slowest = part.iter().map(|it| it.landed).max().unwrap_or_default();
        println!(
            "{:>5} KiB {:>5} KiB {:>8} {:>12} {:>5} KiB {:>7.1} s",
            last.own_kib,
            last.resident_kib,
            last.threads,
            last.descriptors,
            last.mirror_kib,
            slowest.as_secs_f32()
        );
    }
}

/// The end of what was logged.
fn end_of(log: &Path) -> String {
    let text = std::fs::read(log).unwrap();
    let end = &text[text.len().saturating_sub(LOG_END)..];
    String::from_utf8_lossy(end).into_owned()
}

async fn within(time: Duration, what: &str, is: impl AsyncFnMut() -> bool) {
    assert!(comes_within(time, is).await, "{what}: not within {time:?}");
}

/// Whether it is so in time.
async fn comes_within(time: Duration, mut is: impl AsyncFnMut() -> bool) -> bool {
    let began = Instant::now();
    while !is().await {
        if began.elapsed() >= time {
            return false;
        }
        tokio::time::sleep(ASK).await;
    }
    true
}
