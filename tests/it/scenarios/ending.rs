//! What every scenario must come to, whatever its story.

use std::collections::{BTreeMap, BTreeSet};

use towpath::forge::simulated::SimulatedForge;
use towpath::git::memory::{Call, Strike};
use towpath::model::record::Statement;

use super::show;
use super::site::Site;

/// One more round writes nothing, and neither does a process that starts anew; nothing is double.
pub(super) async fn check(site: &mut Site) {
    let before = site.writes();
    let round = site.round().await;
    assert!(round.steps.is_empty(), "one more round: {:?}", round.steps);
    assert_eq!(before, site.writes(), "one more round writes");

    starts_anew(site, "a process that starts anew").await;
    for pipeline in site.pipelines.clone() {
        for environment in &pipeline.environments {
            ledger(site, &environment.name).await;
        }
    }
    if site.forges.is_empty() {
        return;
    }
    for url in site.remotes.keys().cloned().collect::<Vec<_>>() {
        let remote = &site.remotes[&url];
        remote.fail_next(Call::Advertise, Strike::Before, remote.cut());
        starts_anew(site, &format!("one that cannot read {url} at first")).await;
    }
}

/// It finds everything as it is to be.
async fn starts_anew(site: &mut Site, who: &str) {
    let made = |site: &Site| {
        let refs = site.remotes.values().map(|remote| remote.refs());
        let applied: u64 = site.clusters.values().map(|cluster| cluster.writes()).sum();
        let told: usize = site.forges.values().map(SimulatedForge::writes).sum();
        (refs.collect::<Vec<_>>(), applied, told)
    };
    let before = made(site);
    site.restart();
    for _ in 0..3 {
        site.round().await;
    }
    let after = made(site);
    assert_eq!(before.0, after.0, "{who} moves refs");
    assert_eq!(before.1, after.1, "{who} applies");
    assert_eq!(before.2, after.2, "{who} tells the forge what it knows");
}

/// One commit per number, one verdict per deployment, one branch per proposal.
async fn ledger(site: &Site, environment: &towpath::model::EnvironmentName) {
    let remote = site.remote(environment.as_str());
    let mut numbers = BTreeMap::new();
    let (mut deployments, mut verdicts) = (BTreeSet::new(), BTreeSet::new());
    for record in show::records(remote, environment).await {
        let shown = show::record(&record);
        match record.statement {
            Statement::Deployment { number, .. } => {
                let commit = *numbers.entry(number).or_insert(record.commit);
                assert_eq!(commit, record.commit, "a number with two commits: {shown}");
                deployments.insert((number, record.application));
            }
            Statement::Verdict { number, .. } => {
                let key = (number, record.application);
                assert!(deployments.contains(&key), "a verdict of nothing: {shown}");
                assert!(verdicts.insert(key), "a second verdict: {shown}");
            }
            // A person asked for a second one.
            Statement::Retried { .. } => verdicts.clear(),
            _ => {}
        }
    }
}
