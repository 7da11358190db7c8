//! Whether clusters can be reached, and grant what [`crate::cli::rbac`] prints.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::{Level, Question, Said};
use crate::cli::rbac;
use crate::cli::setup::Setup;
use crate::clock;
use crate::cluster::ReadCluster;
use crate::cluster::rbac::{Holder, Right, Scope, rights};
use crate::model::{ClusterSpec, EnvironmentName};
use crate::observe::Outside;

/// The cluster of each environment.
pub(super) fn all<'a>(setup: &'a Setup, outside: &'a Outside) -> Vec<Question<'a>> {
    let ask = |name: &'a EnvironmentName| {
        Question::new("cluster", name.as_str(), async move {
            match outside.clusters.get(name) {
                Some(cluster) => one(setup, outside, name, cluster.as_ref()).await,
                None => Vec::new(),
            }
        })
        .patient()
    };
    setup.config.environments.iter().map(ask).collect()
}

async fn one(
    setup: &Setup,
    outside: &Outside,
    name: &EnvironmentName,
    cluster: &dyn ReadCluster,
) -> Vec<Said> {
    // Whether it is there is told apart from what a repository does not let us know.
    if let Err(error) = cluster.lacks(&[]).await {
        return vec![Said::new(Level::Error, error.to_string())];
    }
    if let Err(error) = cluster.served("", "ConfigMap").await {
        return vec![Said::new(Level::Error, error.to_string())];
    }
    if is_simulated(setup, name) {
        return vec![Said::new(Level::Ok, "simulated")];
    }
    let needed = match needed(setup, outside, name, cluster).await {
        Ok(needed) => needed,
        Err(error) => {
            let what = format!("it answers, and which rights are needed is not known: {error:#}");
            return vec![Said::new(Level::Unknown, what)];
        }
    };
    match cluster.lacks(&needed).await {
        Err(error) => vec![Said::new(Level::Error, error.to_string())],
        Ok(lacking) if lacking.is_empty() => {
            let what = format!("it grants all {} rights that are needed", needed.len());
            vec![Said::new(Level::Ok, what)]
        }
        Ok(lacking) => {
            let instead = format!("towpath rbac {name} | kubectl apply -f -");
            let say = |what| Said::new(Level::Error, what).or(instead.clone());
            lines(&lacking).into_iter().map(say).collect()
        }
    }
}

fn is_simulated(setup: &Setup, name: &EnvironmentName) -> bool {
    let environments = setup
        .config
        .pipelines
        .iter()
        .flat_map(|it| &it.environments);
    let mut of_name = environments.filter(|it| it.name == *name);
    of_name.any(|it| matches!(it.cluster, ClusterSpec::Simulated(_)))
}

/// The rights that the environment needs: where all its applications name their namespaces, in those alone.
async fn needed(
    setup: &Setup,
    outside: &Outside,
    name: &EnvironmentName,
    cluster: &dyn ReadCluster,
) -> Result<Vec<Right>> {
    let now = clock::now();
    let units = rbac::units(setup, outside, std::slice::from_ref(name), now).await?;
    let units: Vec<&rbac::Unit> = units.iter().collect();
    let namespaces = rbac::followed(name, &units).ok();
    let roles = rbac::roles(name, &units, Some(cluster), namespaces.as_ref()).await?;
    Ok(rights(&roles))
}

/// What is lacking, a line for each holder, place and set of verbs.
fn lines(lacking: &[Right]) -> Vec<String> {
    let mut verbs: BTreeMap<(&Holder, &Scope, String), Vec<&str>> = BTreeMap::new();
    for right in lacking {
        let key = (&right.holder, &right.scope, right.of_what());
        verbs.entry(key).or_default().push(right.verb);
    }
    let mut by_verbs: BTreeMap<(&Holder, &Scope, Vec<&str>), BTreeSet<String>> = BTreeMap::new();
    for ((holder, scope, what), verbs) in verbs {
        by_verbs
            .entry((holder, scope, verbs))
            .or_default()
            .insert(what);
    }
    let line =
        |((holder, scope, verbs), what): ((&Holder, &Scope, Vec<&str>), BTreeSet<String>)| {
            let who = match holder {
                Holder::Towpath => "Towpath".to_owned(),
                Holder::Account(account) => format!("`{}`", account.user()),
            };
            let what: Vec<String> = what.into_iter().collect();
            format!(
                "{who} may not {} {} {scope}",
                verbs.join(", "),
                what.join(", ")
            )
        };
    by_verbs.into_iter().map(line).collect()
}
