//! A newer release does not wait for the answer to an older one's smoke test (I13). Told to the loop
//! that runs by itself, since only there effects are on their way while rounds go on.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use towpath::model::record::{Statement, Verdict};

use super::commands::Teller;
use super::{show, story};

/// Longer than anything here takes, shorter than anybody waits for a test.
const PATIENCE: Duration = Duration::from_secs(20);

const STORY: &str = "
applications
    applications:
      - name: shop
        images: [ { repository: registry.example.com/acme/shop, release-tag: '{tag}' } ]
        environments: [qa]
config qa
    cluster: { simulated: { ready-after: 0s } }
    smoke: [ { get: 'https://shop.example.com/healthz' } ]
answer https://shop.example.com/healthz 200
begin
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_release_does_not_wait_for_an_answer() {
    let mut teller = Teller::new();
    for line in story::read(STORY) {
        if let story::Line::Command(command) = line {
            teller.run(&command).await;
        }
    }
    teller.site.endpoints.hang();
    let mut hanging = teller.site.endpoints.hanging();
    teller.site.restart();
    let reconciler = teller.site.towpaths[0].reconciler.clone();
    let stop = CancellationToken::new();
    let running = tokio::spawn(reconciler.clone().run(stop.clone()));
    let repository = "registry.example.com/acme/shop".parse().unwrap();
    for (tag, older) in [("v1.1.0", None), ("v1.2.0", Some("v1.1.0"))] {
        let before = *hanging.borrow_and_update();
        assert_eq!(before, usize::from(older.is_some()));
        let pushed = story::read(&format!("push shop {tag}\n"));
        let [story::Line::Command(push)] = &pushed[..] else {
            panic!("one command");
        };
        teller.run(push).await;
        reconciler.hear_of_images(&repository, None);
        if older.is_some() {
            settles(&mut hanging, 0).await;
        }
        settles(&mut hanging, 1).await;
    }
    // An answer that nobody will look at does not hold up the end either.
    stop.cancel();
    let ended = tokio::time::timeout(PATIENCE, running).await;
    ended.expect("it does not end").unwrap();
    let name = "qa".parse().unwrap();
    let records = show::records(teller.site.remote("qa"), &name).await;
    let superseded = records.iter().filter(|record| {
        let verdict = match &record.statement {
            Statement::Verdict {
                release, verdict, ..
            } => release.as_ref().zip(Some(verdict)),
            _ => None,
        };
        verdict.is_some_and(|(release, verdict)| {
            release.name == "v1.1.0" && *verdict == Verdict::Superseded
        })
    });
    assert_eq!(superseded.count(), 1, "{records:#?}");
}

async fn settles(hanging: &mut watch::Receiver<usize>, count: usize) {
    let there = hanging.wait_for(|hanging| *hanging == count);
    let there = tokio::time::timeout(PATIENCE, there).await;
    there
        .unwrap_or_else(|_| panic!("there were never {count} waiting"))
        .unwrap();
}
