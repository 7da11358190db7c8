//! `/healthz` fails while a loop does not turn, says which, and is well again once it does. The loops have
//! threads of their own, so that one that computes without end keeps nobody from answering.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use towpath::observe::Intervals;
use towpath::serve::{self, Hooks};

use super::commands::Teller;
use super::story;

/// Longer than anything here takes, shorter than anybody waits for a test.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is answered at last, once the status is this one.
async fn until(address: SocketAddr, status: u16) -> String {
    let start = Instant::now();
    loop {
        let answer = reqwest::get(format!("http://{address}/healthz")).await;
        let answer = answer.unwrap();
        let (seen, said) = (answer.status().as_u16(), answer.text().await.unwrap());
        if seen == status {
            return said;
        }
        assert!(start.elapsed() < PATIENCE, "{seen}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loop_that_does_not_turn_is_told_until_it_does() {
    let mut teller = Teller::new();
    teller.site.intervals = Intervals {
        registry: Duration::from_millis(50),
        turn: Duration::from_millis(300),
        ..Intervals::default()
    };
    for line in story::read("begin\n") {
        if let story::Line::Command(command) = line {
            teller.run(&command).await;
        }
    }
    teller.site.restart();
    let reconciler = teller.site.towpaths[0].reconciler.clone();
    let hooks = Hooks::open();
    hooks.serve(&reconciler);
    let stop = CancellationToken::new();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let address = serve::listen(any, hooks, stop.clone()).await.unwrap();
    let loops = tokio::runtime::Runtime::new().unwrap();
    let running = loops.spawn(reconciler.run(stop.clone()));
    assert_eq!(until(address, 200).await, "ok\n");
    for _ in 0..2 {
        let stuck = teller.site.registry.stick();
        let said = until(address, 503).await;
        let whose = "stalled: the look at registry.example.com should have gone on ";
        assert!(said.contains(whose), "{said}");
        drop(stuck);
        assert_eq!(until(address, 200).await, "ok\n");
    }
    stop.cancel();
    let ended = tokio::time::timeout(PATIENCE, running).await;
    ended.expect("it does not end").unwrap();
    loops.shutdown_background();
}
