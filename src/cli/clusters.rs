//! From the environments of a configuration to their clusters.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use url::Url;

use crate::cluster::SharedCluster;
use crate::cluster::kubernetes::connect::Access;
use crate::cluster::kubernetes::health::Rules;
use crate::cluster::kubernetes::{KubernetesCluster, Place, Policy};
use crate::cluster::simulated::SimulatedCluster;
use crate::config::Config;
use crate::model::{ApplicationName, ClusterSpec, Environment, Kubernetes};

/// Makes clusters: environments on one and the same share its connections.
pub(super) struct Clusters<'a> {
    pub(super) config: &'a Config,
    /// Where simulated clusters are kept.
    pub(super) cache: &'a Path,
    places: Vec<(Access, Arc<Place>)>,
}

impl<'a> Clusters<'a> {
    pub(super) fn new(config: &'a Config, cache: &'a Path) -> Self {
        Self {
            config,
            cache,
            places: Vec::new(),
        }
    }

    /// The cluster of an environment. To be called within the async runtime.
    ///
    /// # Errors
    /// The file of a simulated one cannot be read, or a health rule cannot be used.
    pub(super) fn of(&mut self, environment: &Environment) -> Result<SharedCluster> {
        let name = &environment.name;
        match &environment.cluster {
            ClusterSpec::Simulated(simulated) => {
                let file = simulated
                    .state
                    .clone()
                    .unwrap_or_else(|| self.cache.join("clusters").join(format!("{name}.json")));
                let shown = file.display().to_string();
                let cluster = SimulatedCluster::open(name, simulated.clone(), Some(file));
                let cluster = cluster.with_context(|| {
                    format!(
                        "the state of the simulated cluster of {name} cannot be read from {shown}"
                    )
                })?;
                Ok(Arc::new(cluster))
            }
            ClusterSpec::Kubernetes(cluster) => {
                let units = self.units(environment)?;
                let place = self.place(cluster);
                let namespace = &cluster.namespace;
                let cluster = KubernetesCluster::new(&place, name, namespace, units);
                Ok(Arc::new(cluster))
            }
        }
    }

    fn place(&mut self, cluster: &Kubernetes) -> Arc<Place> {
        let proxy: Option<Url> = self.config.settings.proxy.clone();
        let access = Access {
            target: cluster.found.clone(),
            timeout: cluster.timeout,
            proxy,
        };
        let known = self.places.iter().find(|(known, _)| *known == access);
        if let Some((_, place)) = known {
            return place.clone();
        }
        let place = Place::new(access.clone());
        self.places.push((access, place.clone()));
        place
    }

    /// What the environment states for each of its applications.
    fn units(&self, environment: &Environment) -> Result<BTreeMap<ApplicationName, Policy>> {
        let mut units = BTreeMap::new();
        for pipeline in &self.config.pipelines {
            let Some(stated) = pipeline.environment(&environment.name) else {
                continue;
            };
            let rules = Rules::new(&stated.health.rules).map_err(|mistakes| {
                let mistakes = mistakes.iter().map(ToString::to_string);
                anyhow!(
                    "{}: {}",
                    stated.name,
                    mistakes.collect::<Vec<_>>().join("; ")
                )
            })?;
            let policy = Policy {
                conflicts: stated.conflicts,
                engines: stated.adopt.engines.clone(),
                access: stated.access.clone(),
                rules,
            };
            units.insert(pipeline.application.name.clone(), policy);
        }
        Ok(units)
    }
}
