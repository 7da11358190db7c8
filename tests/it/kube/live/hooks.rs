//! Jobs that run for each desired state: which have run is read off the cluster, and what a failed one
//! wrote is told with its failure.

use std::sync::Arc;

use serde_json::json;
use towpath::clock;
use towpath::cluster::Cluster as _;
use towpath::manifest::Rendered;
use towpath::model::{Digest, Health};
use towpath::plan::Live;

use super::super::Bed;
use super::super::audit::asked;
use super::super::logs::LAST_LINES;
use super::super::pods::Fate;
use super::site::{SHOP, Site, only};

fn job(image: &str, more: &str) -> String {
    format!(
        "{{ apiVersion: batch/v1, kind: Job, metadata: {{ name: migrate, annotations: {{ towpath.dev/run: before{more} }} }},
           spec: {{ backoffLimit: 0, template: {{ spec: {{ restartPolicy: Never, containers: [{{ name: run, image: {image} }}] }} }} }} }}"
    )
}

/// Makes the Job anew with this mark, as a plan does for a desired state.
async fn run(site: &Site, desired: &Arc<Rendered>, hash: Digest) {
    let unit = site.unit(SHOP);
    let live = site.live(desired).await;
    let mut step = site.step(&unit, desired, &live);
    for change in &mut step.change {
        (change.hash, change.anew) = (hash, true);
    }
    let applied = site.cluster.apply(&unit, &step, clock::now()).await;
    drop(applied.unwrap());
}

fn is_marked(live: &Live, hash: Digest) -> bool {
    let mut jobs = live.objects.values();
    jobs.any(|job| job.mark.as_ref().is_some_and(|mark| mark.hash == hash))
}

/// How often logs were asked for.
fn logs_read(bed: &Bed, site: &Site) -> usize {
    let asked = asked(&bed.plane, &site.user).into_iter();
    asked.filter(|it| it.uri.contains("/log?")).count()
}

#[tokio::test]
async fn a_job_carries_the_mark_of_its_desired_state_and_is_made_anew_for_another() {
    let Some(bed) = super::super::shared() else {
        return;
    };
    let site = Site::new(bed, "hook").await;
    let desired = site.rendered(&job("fine", ""));
    let mut uids = Vec::new();
    for state in ["one", "two"] {
        let hash = Digest::of(state.as_bytes());
        run(&site, &desired, hash).await;
        let done =
            |live: &Live| is_marked(live, hash) && only(live, "Job").health == Health::Current;
        let live = site.until(&desired, done).await;
        let job = only(&live, "Job");
        assert_eq!(job.drift, None);
        uids.push(job.uid.clone());
        // Whoever looks again sees the same, and asks nothing.
        let before = asked(&bed.plane, &site.user).len();
        for _ in 0..3 {
            assert_eq!(only(&site.live(&desired).await, "Job").uid, job.uid);
        }
        assert_eq!(asked(&bed.plane, &site.user).len(), before);
    }
    assert_ne!(uids[0], uids[1]);
}

#[tokio::test]
async fn what_a_failed_job_wrote_is_told_at_once_and_asked_for_once() {
    let Some(bed) = super::super::shared() else {
        return;
    };
    let mut site = Site::new(bed, "wrote").await;
    bed.fate(&site.namespace, "fails", Fate::Failed);
    let desired = site.rendered(&job("fails", ""));
    let failure = |live: &Live| match &only(live, "Job").health {
        Health::Failed(why) => Some(why.clone()),
        _ => None,
    };
    for (state, read) in [("one", 1), ("two", 2)] {
        let hash = Digest::of(state.as_bytes());
        run(&site, &desired, hash).await;
        let failed = |live: &Live| is_marked(live, hash) && failure(live).is_some();
        let live = site.until(&desired, failed).await;
        let why = failure(&live).unwrap();
        assert!(why.contains("BackoffLimitExceeded"), "{why}");
        assert!(why.ends_with(&format!("; it wrote: {LAST_LINES}")), "{why}");
        // Neither another look nor a change of the object has it asked for again.
        site.change(
            "Job migrate",
            "somebody",
            json!({ "metadata": { "labels": { "a": state } } }),
        )
        .await;
        site.until_seen(&desired, "Job migrate").await;
        assert_eq!(failure(&site.live(&desired).await), Some(why));
        assert_eq!(logs_read(bed, &site), read, "{state}");
    }
    site.restart();
    let why = failure(&site.live(&desired).await).unwrap();
    assert!(why.ends_with(LAST_LINES), "{why}");

    // One that keeps its log to itself.
    let before = logs_read(bed, &site);
    let desired = site.rendered(&job("fails", ", towpath.dev/logs: \"off\""));
    let hash = Digest::of(b"three");
    run(&site, &desired, hash).await;
    let failed = |live: &Live| is_marked(live, hash) && failure(live).is_some();
    let why = failure(&site.until(&desired, failed).await).unwrap();
    assert!(!why.contains("it wrote"), "{why}");
    assert_eq!(logs_read(bed, &site), before);
}
