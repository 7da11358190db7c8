//! One fault at one server, from its beginning until everything is as if it had never been.

use std::time::{Duration, Instant};

use towpath::clock;
use towpath::observe::Intervals;

use super::ledger::{self, Found, Had, landed};
use super::proxy::Fault;
use super::site::{FAR, NEAR, POLL, Server, Site, tag};
use super::towing::Towing;

/// Releases that come while the fault lasts.
const MEANWHILE: u64 = 2;

/// How a server is struck.
#[derive(Debug, Clone, Copy)]
pub(super) struct Struck {
    pub(super) name: &'static str,
    pub(super) fault: Fault,
    /// Whether everything still comes, only later.
    pub(super) bearable: bool,
}

/// Every fault of the proxy.
pub(super) const FAULTS: [Struck; 8] = [
    Struck {
        name: "delay 100 ms",
        fault: Fault::Delay(Duration::from_millis(100)),
        bearable: true,
    },
    Struck {
        name: "throttle 64 KiB/s",
        fault: Fault::Throttle(64 << 10),
        bearable: true,
    },
    Struck {
        name: "cut request at 20",
        fault: Fault::CutRequest(20),
        bearable: false,
    },
    Struck {
        name: "cut answer at 60",
        fault: Fault::CutAnswer(60),
        bearable: false,
    },
    Struck {
        name: "reset",
        fault: Fault::Reset,
        bearable: false,
    },
    Struck {
        name: "refuse",
        fault: Fault::Refuse,
        bearable: false,
    },
    Struck {
        name: "stall",
        fault: Fault::Stall,
        bearable: false,
    },
    Struck {
        name: "black hole",
        fault: Fault::BlackHole,
        bearable: false,
    },
];

/// What came of it.
pub(super) struct Outcome {
    pub(super) server: Server,
    pub(super) fault: &'static str,
    /// How long until the struck unit said so; `None`: it had nothing to say.
    pub(super) told: Option<Duration>,
    /// Commits that landed in the other environment meanwhile, of how many.
    pub(super) elsewhere: (usize, u64),
    /// How long after the fault's end all was as it should be.
    pub(super) recovered: Duration,
    pub(super) found: Found,
    /// What was said of it.
    pub(super) said: String,
}

/// Strikes once. `newest` is the last release so far, and then the new one.
pub(super) async fn strike(
    site: &Site,
    towing: &Towing,
    struck: Struck,
    newest: &mut u64,
    deadline: Duration,
) -> Outcome {
    let far = site.bare(FAR);
    let before = landed(&far).await;
    site.proxy().set(struck.fault).await;
    let began = Instant::now();
    let since = clock::now();
    for _ in 0..MEANWHILE {
        *newest += 1;
        assert!(site.release(*newest).await, "{} is there", tag(*newest));
        towing.hears_of_images();
        let what = format!(
            "{} under {}: {} in {FAR}",
            site.server,
            struck.name,
            tag(*newest)
        );
        towing
            .until(&what, async || {
                towing.runs(site.far_application(), FAR, *newest)
            })
            .await;
    }
    let elsewhere = (landed(&far).await - before, MEANWHILE);
    let (mut told, mut said) = (None, String::new());
    // How often clusters are asked, beside being watched, nobody sets.
    let poll = match site.server {
        Server::Cluster => Intervals::default().cluster,
        _ => POLL,
    };
    if struck.bearable {
        settle(site, towing, struck, *newest).await;
    } else {
        let what = format!("{} under {}: said so", site.server, struck.name);
        towing
            .until(&what, async || towing.struck(site).is_some())
            .await;
        told = Some(began.elapsed());
        // A look and then an effect may each take its whole time.
        let bound = (poll + deadline) * 2 + SLACK;
        assert!(
            began.elapsed() < bound,
            "{what}: after {:?}",
            began.elapsed()
        );
        let waiting = towing.struck(site).unwrap();
        let sentence = waiting.reason.to_string();
        assert!(sentence.contains(&site.sentence()), "{what}: {sentence}");
        assert!(
            waiting.since.is_some_and(|it| it >= since - SLACK),
            "{waiting:?}"
        );
        // A server that is there again is asked within one poll.
        let asked = waiting.next.unwrap();
        assert!(
            asked <= clock::now() + poll + deadline,
            "{what}: {waiting:?}"
        );
        // Whoever asks now is told the same, by a process of their own.
        let explained = site.explained().await;
        for told in [
            &site.struck_name(),
            "  since: ",
            "  looked at next: ",
            "  unblocked by: ",
        ] {
            assert!(
                explained.contains(told),
                "{what}: explain has no `{told}`: {explained}"
            );
        }
        said = sentence;
    }
    site.proxy().set(Fault::Pass).await;
    let healed = Instant::now();
    settle(site, towing, struck, *newest).await;
    let recovered = healed.elapsed();
    let mut found = ledger::compare(&far, FAR, *newest, Had::Each).await;
    found.add(ledger::compare(&site.bare(NEAR), NEAR, *newest, Had::Newest).await);
    found.add(requests(site, *newest).await);
    Outcome {
        server: site.server,
        fault: struck.name,
        told,
        elsewhere,
        recovered,
        found,
        said,
    }
}

/// How much later than its deadline something may be told of, on a machine that does other things.
pub(super) const SLACK: Duration = Duration::from_secs(20);

/// Waits until both environments run the release, with its tags.
async fn settle(site: &Site, towing: &Towing, struck: Struck, newest: u64) {
    site.merge(towing, newest).await;
    for (application, environment) in [
        (site.near_application(), NEAR),
        (site.far_application(), FAR),
    ] {
        let what = format!(
            "{} after {}: {} in {environment}",
            site.server,
            struck.name,
            tag(newest)
        );
        let bare = site.bare(environment);
        towing
            .until(&what, async || {
                towing.runs(application, environment, newest)
                    && ledger::is_tagged(&bare, environment).await
            })
            .await;
    }
}

/// Of every release at most one request, all of them merged.
async fn requests(site: &Site, newest: u64) -> Found {
    let mut found = Found::default();
    let all = site.requests().await;
    for number in 0..=newest {
        let title = format!("near: shop {}", tag(number));
        let of = all.iter().filter(|(it, _)| *it == title).count();
        if of > 1 {
            found.doubled.push(format!("{of} requests `{title}`"));
        }
    }
    for (title, merged) in &all {
        if !merged {
            found.doubled.push(format!("`{title}` was not merged"));
        }
    }
    found
}
