//! What every scenario must come to, whatever its story.

use std::collections::{BTreeMap, BTreeSet};

use towpath::model::record::Statement;

use super::show;
use super::site::Site;

/// One more round writes nothing, and neither does a process that starts anew; nothing is double.
pub(super) async fn check(site: &mut Site) {
    let before = site.writes();
    let round = site.round().await;
    assert!(round.steps.is_empty(), "one more round: {:?}", round.steps);
    assert_eq!(before, site.writes(), "one more round writes");

    let refs = |site: &Site| {
        let refs = site.remotes.values().map(|remote| remote.refs());
        let applied: u64 = site.clusters.values().map(|cluster| cluster.writes()).sum();
        (refs.collect::<Vec<_>>(), applied)
    };
    let before = refs(site);
    site.restart();
    for _ in 0..3 {
        site.round().await;
    }
    let after = refs(site);
    assert_eq!(before.0, after.0, "a process that starts anew moves refs");
    assert_eq!(before.1, after.1, "a process that starts anew applies");
    for pipeline in site.pipelines.clone() {
        for environment in &pipeline.environments {
            ledger(site, &environment.name).await;
        }
    }
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
