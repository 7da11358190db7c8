//! The kinds that a cluster serves: asked for once
//! ([aggregated discovery](https://kubernetes.io/docs/concepts/overview/kubernetes-api/#aggregated-discovery):
//! two requests), kept, and asked for again when one is missing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::client::{APIGroupDiscovery, APIGroupDiscoveryList, APIResourceDiscovery};

/// A kind that was missing just now is not asked for again for so long.
const REST: Duration = Duration::from_secs(2);

/// A kind as the cluster serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// The API group; empty for the core group.
    pub group: String,
    /// The kind, as in `Deployment`.
    pub kind: String,
    /// The name in addresses, as in `deployments`.
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// The versions that serve it, the preferred one first. Never empty.
    pub versions: Vec<String>,
    /// What may be asked of it.
    pub verbs: Vec<String>,
}

impl Kind {
    /// The resource as a role names it: `deployments.apps`.
    pub fn resource(&self) -> String {
        match self.group.as_str() {
            "" => self.plural.clone(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// Whether it is served in this version.
    pub fn serves(&self, version: &str) -> bool {
        self.versions.iter().any(|known| known == version)
    }

    /// Whether it can be listed and watched.
    pub fn is_watchable(&self) -> bool {
        ["list", "watch"]
            .iter()
            .all(|verb| self.verbs.iter().any(|known| known == verb))
    }

    /// What kube calls it in one version; in the preferred one where none is named.
    pub fn api_resource(&self, version: Option<&str>) -> ApiResource {
        let version = version.or(self.versions.first().map(String::as_str));
        let version = version.unwrap_or("v1").to_owned();
        ApiResource {
            api_version: match self.group.as_str() {
                "" => version.clone(),
                group => format!("{group}/{version}"),
            },
            group: self.group.clone(),
            version,
            kind: self.kind.clone(),
            plural: self.plural.clone(),
        }
    }

    /// The address of its objects in a namespace, or in all of them, in the preferred version.
    pub fn collection(&self, namespace: Option<&str>) -> String {
        let version = self.versions.first().map_or("v1", String::as_str);
        let group = match self.group.as_str() {
            "" => format!("/api/{version}"),
            group => format!("/apis/{group}/{version}"),
        };
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("{group}/namespaces/{namespace}/{}", self.plural),
            None => format!("{group}/{}", self.plural),
        }
    }

    /// Its objects in a namespace, or in all of them.
    pub fn api(
        &self,
        client: Client,
        version: Option<&str>,
        namespace: Option<&str>,
    ) -> Api<DynamicObject> {
        let resource = self.api_resource(version);
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        }
    }
}

/// See the module.
pub struct Kinds {
    client: Client,
    known: Mutex<Option<Known>>,
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Known {
    kinds: Arc<BTreeMap<(String, String), Arc<Kind>>>,
    at: Instant,
}

impl Kinds {
    /// Asks nothing yet.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            known: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// A kind, if the cluster serves it: from what is kept, or asked anew where it is missing there.
    ///
    /// # Errors
    /// The cluster cannot be asked.
    pub async fn find(&self, group: &str, kind: &str) -> Result<Option<Arc<Kind>>, kube::Error> {
        let key = (group.to_owned(), kind.to_owned());
        if let Some(known) = self.known()
            && let Some(found) = known.kinds.get(&key)
        {
            return Ok(Some(found.clone()));
        }
        let known = self.newer_than(Instant::now().checked_sub(REST)).await?;
        Ok(known.kinds.get(&key).cloned())
    }

    /// Asks anew: something was applied that brings kinds.
    ///
    /// # Errors
    /// The cluster cannot be asked.
    pub async fn refresh(&self) -> Result<(), kube::Error> {
        self.newer_than(Some(Instant::now())).await.map(drop)
    }

    fn known(&self) -> Option<Known> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }

    /// What was asked after that moment. Whoever waits for another's question takes its answer.
    async fn newer_than(&self, moment: Option<Instant>) -> Result<Known, kube::Error> {
        let _asking = self.asking.lock().await;
        if let Some(known) = self.known()
            && moment.is_none_or(|moment| known.at >= moment)
        {
            return Ok(known);
        }
        let at = Instant::now();
        let (core, groups) = tokio::try_join!(
            self.client.list_core_api_versions_aggregated(),
            self.client.list_api_groups_aggregated(),
        )?;
        let known = Known {
            kinds: Arc::new(read([core, groups])),
            at,
        };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known.clone());
        Ok(known)
    }
}

fn read(lists: [APIGroupDiscoveryList; 2]) -> BTreeMap<(String, String), Arc<Kind>> {
    let mut kinds: BTreeMap<(String, String), Kind> = BTreeMap::new();
    for group in lists.into_iter().flat_map(|list| list.items) {
        let name = group_name(&group);
        for version in group.versions {
            let Some(number) = version.version else {
                continue;
            };
            for resource in version.resources {
                let Some(kind) = resource
                    .response_kind
                    .as_ref()
                    .and_then(|it| it.kind.clone())
                else {
                    continue;
                };
                let key = (name.clone(), kind.clone());
                match kinds.get_mut(&key) {
                    Some(known) if known.plural == *resource.resource.as_deref().unwrap_or("") => {
                        known.versions.push(number.clone());
                    }
                    // The first resource of a kind is the one that manifests mean.
                    Some(_) => {}
                    None => drop(kinds.insert(key, kind_of(&name, kind, &number, resource))),
                }
            }
        }
    }
    let shared = kinds.into_iter().map(|(key, kind)| (key, Arc::new(kind)));
    shared.collect()
}

fn group_name(group: &APIGroupDiscovery) -> String {
    let metadata = group.metadata.as_ref();
    metadata
        .and_then(|metadata| metadata.name.clone())
        .unwrap_or_default()
}

fn kind_of(group: &str, kind: String, version: &str, resource: APIResourceDiscovery) -> Kind {
    Kind {
        group: group.to_owned(),
        kind,
        plural: resource.resource.unwrap_or_default(),
        namespaced: resource.scope.as_deref() == Some("Namespaced"),
        versions: vec![version.to_owned()],
        verbs: resource.verbs,
    }
}
